# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The images that are measured with; to be sourced.  What is there already
# is taken as it is.
#
#	busy.A busy.B		a guest at work, some seconds apart
#	idle.A idle.B		a guest that only booted
#	process.A process.B	a process at work, as core files
#	dense.A			the pages of the first pair that are not zero
#	NAME.table		page table of NAME.A

# A pair of images of two guests, at the same time.
make_guests() {
	local busy idle guest_pid
	guest_start busy busy.memory
	busy=$guest_pid
	guest_wait busy.memory
	guest_start idle idle.memory
	idle=$guest_pid
	guest_wait idle.memory
	sleep 4
	guest_copy "$busy" busy.memory busy.A
	guest_copy "$idle" idle.memory idle.A
	sleep 10
	guest_copy "$idle" idle.memory idle.B
	sleep 3
	guest_copy "$busy" busy.memory busy.B
	guest_end "$busy"
	guest_end "$idle"
	rm -f busy.memory* idle.memory*
}

# A process that builds a table and goes on to change it.  A core file is
# written in place only where no mapping has changed, so that is waited for.
make_process() {
	local pid tries
	awk 'BEGIN {
		srand(1)
		for (i = 0; i < 1500000; i++)
			table[i] = "row " i " holds " rand()
		print "ready"
		fflush()
		for (;;)
			for (n = 0; n < 100; n++) {
				i = int(rand() * 200000)
				table[i] = "row " i " holds " rand()
			}
	}' >said &
	pid=$!
	until grep -qs ready said; do sleep 0.2; done
	sleep 3
	for ((tries = 0; tries < 5; tries++)); do
		pm-snapshot --pid "$pid" --save-table process.table |
		    pm-apply process.A >said
		sleep 3
		pm-snapshot --pid "$pid" | pm-apply process.B >said
		cp process.A C
		! pm-snapshot --since process.table process.B |
		    pm-apply --in-place C >said 2>log || break
	done
	rm -f C C.pm-torn
	kill "$pid"
	wait "$pid" 2>/dev/null || :
}

# Sets pairs, the best one first.
make_inputs() {
	pairs=()
	if guest_prepare; then
		[ -e idle.table ] || {
			rm -f dense.A
			make_guests
			pm-snapshot --save-table busy.table busy.A >stream
			pm-snapshot --save-table idle.table idle.A >stream
			rm stream
		}
		pairs+=(busy idle)
	else
		echo 'bench: no QEMU, busybox-static, cpio or kernel (make deps-bench): no guests' >&2
	fi
	[ -e process.table ] || make_process
	pairs+=(process)
	[ -e dense.A ] || dense "${pairs[0]}".[AB] >dense.A
}

# What differs, as a share of all pages.
describe_pair() { # NAME WHAT
	local pages zero changed
	pm-snapshot --stats counts "$1.B" >/dev/null
	pages=$(counter counts pages)
	zero=$(counter counts pages_zero)
	pm-snapshot --stats counts --base "$1.A" "$1.B" >/dev/null
	changed=$(($(counter counts pages_raw) + $(counter counts pages_zero)))
	say '%-8s %s: %s pages of 4096 bytes, %.1f %% zero, %.1f %% changed (%s)' \
	    "$1" "$2" "$pages" "$(calc %f "100 * $zero / $pages")" \
	    "$(calc %f "100 * $changed / $pages")" "$changed"
}

# Make C, a copy of A, for changes to be applied to.  The command in $reset
# brings it back: what A holds, in the same blocks, with a table that is
# trusted, and all of it on the disk.
make_target() { # NAME
	rm -f C C.pm-table
	cp --sparse=always "$1.A" C
	pm-snapshot --save-table back.table "$1.B" >/dev/null
	pm-snapshot --since back.table "$1.A" >back
	pm-snapshot --since "$1.table" "$1.A" >still
	# shellcheck disable=SC2034	# for the caller
	reset="{ [ \$(pm-info --id C) = $(pm-info --id "$1.A") ] ||
	    pm-apply --in-place --trust-table C <back; } && sync C"
	pm-apply --in-place --trust-table C <still >said
}
