# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# The programs that have threads, at work: run under the thread sanitizer.
load helper
load images

@test "compression on threads, both ways, with all that looks at it" {
	head -c 6000000 /dev/urandom >noise
	seq 1 1500000 >text
	cat noise text >image
	pm-snapshot --record-size 16K image >stream
	for codec in zstd lz4 zlib; do
		pm-compress -j4 -c "$codec" --progress 9 <stream >packed 9>lines &
		pid=$!
		# Before it blocks the signal, that would end it.
		until grep -q '^SigBlk:.*2..$' "/proc/$pid/status"; do :; done
		for _ in 1 2 3 4 5; do
			kill -USR1 "$pid" 2>/dev/null || :
		done
		wait "$pid"
		pm-compress -j3 -d packed | cmp - stream
	done
}

@test "errors on threads" {
	seq 1 900000 >image
	pm-snapshot --record-size 16K image | pm-compress >stream
	for at in 100 5000 300000 500000; do
		head -c "$at" stream >part
		run -3 pm-compress -j4 -d -o out part
	done
	run -1 bash -c 'pm-compress -d -j4 stream >/dev/full'
	pm-compress -d -j4 stream | head -c 100000 >out
}

@test "pm-apply on threads, a chain of rounds with deltas, compressed" {
	head -c 3000000 /dev/urandom >noise
	seq 1 900000 | cat - noise >one
	sed 's/7/8/' one >two
	seq 2 900001 | cat - noise >three
	pm-snapshot --record-size 16K --save-table t1 -o full.pms one
	pm-snapshot --record-size 16K --since t1 --save-table t2 two |
	    pm-delta --base one >first.pms
	pm-snapshot --record-size 16K --since t2 three |
	    pm-delta --base two >second.pms
	cat full.pms first.pms second.pms | pm-compress >chain
	for threads in 1 2 4; do
		pm-apply -j "$threads" --trust-table target <chain
		cmp three target
		pm-apply -j "$threads" --in-place target <full.pms
		cmp one target
		head -c 2000000 chain >part
		run -3 pm-apply -j "$threads" target <part
		cmp one target
	done
}

@test "pm-snapshot on threads, of images that differ in every way" {
	for seed in 1 2 3; do
		helper scatter "$seed" 4000000 old
		cp --sparse=always old new
		helper scatter "$((seed + 10))" $((2500000 + seed * 700000)) new -
		pm-snapshot --save-table t -o /dev/null old
		for how in '--base old' '--since t' '--base old --page-size 64K' \
		    '--base old --record-size 16K' ''; do
			# shellcheck disable=SC2086
			pm-snapshot -j 1 $how -o want new
			for threads in 2 8; do
				# shellcheck disable=SC2086
				pm-snapshot -j "$threads" $how new | cmp - want
			done
		done
		pm-snapshot -j 1 --since t --save-table t1 -o /dev/null new
		pm-snapshot -j 4 --since t --save-table t4 -o /dev/null new
		cmp t1 t4
	done
	run -1 bash -c 'pm-snapshot -j4 --base old new >/dev/full'
	# More than a pipe holds, and a reader that leaves.
	head -c 4000000 /dev/urandom >noise
	# shellcheck disable=SC2016
	run -141 bash -c 'pm-snapshot -j4 --base old noise | head -c 50000 >out
	    exit "${PIPESTATUS[0]}"'
}

@test "what fails is told, though the input is open and silent" {
	image img 2000000
	pm-snapshot img >stream
	flip stream 700000
	for threads in 2 4; do
		mkfifo "input.$threads" "other.$threads"
		exec 9<>"input.$threads" 8<>"other.$threads"
		head -c 1200000 stream >&9 &
		run -3 --separate-stderr timeout 60 pm-apply -j "$threads" \
		    target <"input.$threads" 9>&- 8>&-
		[[ "$stderr" == *"pages 128 to 191: were damaged on the way" ]]
		head -c 600000 stream >&8 &
		run -1 --separate-stderr timeout 60 bash -c \
		    "pm-compress -j $threads >/dev/full" \
		    <"other.$threads" 9>&- 8>&-
		[[ "$stderr" == *"No space left on device" ]]
		exec 9>&- 8>&-
		wait || :
	done
}
