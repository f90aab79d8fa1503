#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2034,SC2154
# Processes that are copied while they write, each to one kind of memory.
load helper
load images
load process
load live

teardown() {
	end_started
	[ -z "$shm" ] || rm -rf "$shm"
	[ -z "$huge" ] || echo "$huge" >/proc/sys/vm/nr_hugepages
}

shm='' huge=''

in_shm() {
	shm=$(mktemp -d /dev/shm/pm-test-XXXXXX)
	mem=$shm/file
}

# So many huge pages that a target has what it takes.
hugepages() {
	local was

	read -r was </proc/sys/vm/nr_hugepages || skip 'there are no huge pages'
	{ echo $((was + 8)) >/proc/sys/vm/nr_hugepages; } 2>/dev/null ||
	    skip 'huge pages cannot be had'
	huge=$was
	[ "$(cat /proc/sys/vm/nr_hugepages)" -ge $((was + 4)) ] ||
	    skip 'there is no memory for huge pages'
}

@test "anonymous memory" { exactly anon; }

@test "transparent huge pages" { exactly thp; }

@test "shared anonymous memory" { exactly shared; }

@test "a file in memory, mapped by name" {
	in_shm
	exactly file-shared "$mem"
}

@test "a file in memory without a name" { exactly memfd; }

@test "a file on disk, shared" { exactly file-shared file; }

@test "a file on disk, private" { exactly file-private file; }

@test "private pages that become the file's again" {
	exactly file-dropped file
	in_shm
	exactly file-dropped "$mem"
}

@test "private pages of a file that changes" { exactly file-under file; }

@test "huge pages" {
	hugepages
	exactly huge-private
}

@test "huge pages, shared" {
	hugepages
	exactly huge-shared
}

@test "pages that are dropped" { exactly dropped; }

@test "pages that are freed" { exactly freed; }

@test "holes that are made in shared memory" { exactly punched; }

@test "a heap that grows and shrinks" {
	compare=:
	exactly heap
}

@test "a stack that grows" { exactly stack; }

@test "what read(2) writes" { exactly read file; }

@test "what read(2) writes past the page cache" { exactly direct file; }

@test "what io_uring writes to registered buffers" { exactly uring file; }

@test "what workers of io_uring write" { exactly uring-workers file; }

@test "one memory at two addresses" { exactly twice; }

@test "children that write to their copies" { exactly fork; }

@test "memory that moves, grows and shrinks" {
	compare=:
	exactly mremap
}

@test "pages that change places" {
	compare=:
	exactly swap
}

@test "protection that changes" {
	compare=:
	exactly mprotect
}

@test "other memory at the same address" {
	compare=:
	exactly remap file
}

# The other one is stopped by the command before the target is, and so nobody
# writes from then on.
@test "memory that another process writes to" {
	chance
	track other 20000
	read -r other <told
	for _ in 1 2; do
		exact --stop-command "kill -STOP $other
		    until grep -q '^State:.*T' /proc/$other/status; do :; done"
		cmp live.core full.core
		kill -CONT "$other"
	done
	is_intact
}

@test "what nobody can know of is found by --verify" {
	exactly file-written file --verify
	exactly punched-read '' --verify
}

@test "hashes find the same" {
	exactly anon '' --tracker hash
	compare=:
	exactly remap file --tracker hash
}

@test "soft-dirty bits find the same, or are refused by name" {
	track anon 20000
	run --separate-stderr live --tracker soft-dirty --max-rounds 3 --force \
	    -o live.pms
	if [ "$status" -eq 0 ]; then
		exactly anon '' --tracker soft-dirty
		exactly file-dropped file --tracker soft-dirty
		return
	fi
	[ "$status" -eq 1 ]
	[ "$stderr" = "pm-snapshot: the kernel has no soft-dirty bits" ]
	[ ! -e live.pms ]
	is_intact
}

@test "mappings that never rest" {
	churned 4
}

@test "deltas and compression of it are as exact" {
	chance
	track anon 20000
	forced --then stop | timeout 30 pm-delta | timeout 30 pm-compress |
	    timeout 30 pm-apply live.core
	eventually in_state T
	snapshot --pid "$target" | timeout 30 pm-apply full.core
	cmp live.core full.core
	is_intact
}

@test "a stream for what it was before brings that up to date" {
	chance
	track anon 20000
	forced --save-table table -o first.pms
	timeout 30 pm-apply base.core <first.pms
	runs
	forced --since table --save-table table.2 --then stop -o more.pms \
	    --stats more.stats
	snapshot --pid "$target" | timeout 30 pm-apply full.core
	cat first.pms more.pms | timeout 30 pm-apply chain.core
	cmp chain.core full.core
	[ "$(value more.stats from)" = "$(pm-info --id base.core)" ]
	[ "$(value more.stats to)" = "$(pm-info --id full.core)" ]
	# The table of a live copy is as good for one at rest.
	kill -CONT "$target"
	runs
	kill -STOP "$target"
	eventually in_state T
	snapshot --pid "$target" --since table.2 -o last.pms
	timeout 30 pm-apply chain.core <last.pms
	snapshot --pid "$target" | timeout 30 pm-apply last.core
	cmp chain.core last.core
	is_intact
}

@test "a core file to start from leaves only what differs" {
	chance
	track anon 1000
	snapshot --pid "$target" | timeout 30 pm-apply base.core
	cp base.core new.core
	runs
	forced --base base.core --then stop -o live.pms --stats live.stats
	timeout 30 pm-apply new.core <live.pms
	snapshot --pid "$target" | timeout 30 pm-apply full.core
	cmp new.core full.core
	[ "$(value live.stats pages_raw)" -lt 2000 ]
	is_intact
}

@test "little in a lot of memory takes little, of the target too" {
	tables() { sed -n 's/^VmPTE:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$target/status"; }

	chance
	track sparse 20000
	before=$(tables)
	exact
	[ "$(tables)" -le $((before + 200)) ]
	exact --tracker hash
	[ "$(tables)" -le $((before + 200)) ]
	is_intact
}
