#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that just booted, and the same after a job that filled its memory
# and ended, with and without its free pages: the two cases of the proposal to
# QEMU, in 2016, that a driver in the guest should tell of them.  There a
# guest of 8 GiB went from 398,017 to 353,242 KB and from 1894 to 421 ms when
# it was idle, and from 8,146,291 to 361,375 KB and from 7436 to 552 ms after
# the job.
#
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091
. "$bench/../tests/guest.bash"
. "$bench/../tests/qemu.bash"
. "$bench/../tests/free-guest.bash"

case " ${PM_BENCH_PARTS:-free} " in
*' free '*) ;;
*) exit 0 ;;
esac

size=2048	# MiB of the guest
job=1750	# of them that the job fills

leave_machines() {
	free_end
	leave
}
trap leave_machines EXIT

# What QEMU itself sends while the guest stands: bytes, and seconds.
migrate_plain() { # NAME
	local from
	from=$(now)
	qemu_migrate "$1" 'exec:cat >plain.stream'
	qemu_migrated "$1" 120
	plain_time=$(calc %.6f "($(now) - $from) / 1e6")
	plain_size=$(size_of plain.stream)
	rm -f plain.stream
}

# The guest stands, and its memory is in a file.
measure() { # WHAT TARGET
	local all='pm-snapshot vm.mem' free
	free='pm-snapshot --skip-free=linux vm.mem'
	free_stop vm
	migrate_plain vm
	$all >all.pms
	$free --stats stats >free.pms
	say '%s: %s of %s pages are free' "$1" "$(counter stats pages_free)" \
	    $((size * 256))
	bytes_row "$1, stream" "$(size_of free.pms)" 'all pages' \
	    "$(size_of all.pms)" "$2"
	bytes_row "$1, stream" "$(size_of free.pms)" 'QEMU, plain' \
	    "$plain_size" -
	pm-compress <all.pms >all.small
	pm-compress <free.pms >free.small
	bytes_row "$1, packed" "$(size_of free.small)" 'all pages, packed' \
	    "$(size_of all.small)" -
	rm -f ./*.pms ./*.small
	warm vm.mem
	group
	timed "$free | cat"
	timed "$all | cat"
	timed "$free | pm-compress | pm-apply out.mem" 'rm -f out.mem'
	timed "$all | pm-compress | pm-apply out.mem" 'rm -f out.mem'
	in_turn
	time_row "$1, stream" 1 'all pages' 2 -
	row "$1, stream" "$(calc '%.3f s' "$(time_of 1)")" 'QEMU, plain' \
	    "$(calc '%.3f s' "$plain_time")" \
	    "$(calc %.2f "$plain_time / $(time_of 1)")" - - -
	time_row "$1, packed and applied" 3 'all pages' 4 -
	rm -f out.mem
	free_cont vm
}

enter
begin_table free
part 'free pages of a guest'
why=$(qemu_can) || {
	say '%s' "$why"
	exit 0
}
guest_kernel "$build/guest" || {
	say 'there is no kernel for a guest'
	exit 0
}
free_prepare "$build/tests/helpers/hog"
free_start vm "$build/guest/kernel" "$size" ''
measure 'idle after boot' -
free_say vm "hog $job" >/dev/null
measure 'after the job' '<0.125'
