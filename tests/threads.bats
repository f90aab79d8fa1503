# SPDX-License-Identifier: GPL-2.0-or-later
# The programs that have threads, at work: run under the thread sanitizer.
load helper

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
