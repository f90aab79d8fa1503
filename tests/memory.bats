#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# What memory the programs take; sanitizers take more, and keep what is freed.
load helper
load images
load pipeline
load process

teardown() {
	[ -z "$shm" ] || rm -rf "$shm"
	end_started
}

shm=''

@test "no program takes more memory as the stream gets longer" {
	is_flat 15 15
}

# In MiB, of records of 1 MiB on two threads, a cache of 16, and a window of 5.
@test "every program keeps to the memory that pm(7) gives it" {
	long_streams
	took 7 3 >is
	printf '%s\n' 10 14 21.2 19 21.2 14 10 4 8 | paste is - >both
	cat both
	awk '$1 > $2 * 1048576 { exit 1 }' both
	[ "$(wc -l <is)" -eq 9 ]
}

@test "the cache of pm-delta takes what --cache-size says" {
	seq 20000000 | head -c 112M >image
	pm-snapshot -o stream image
	for size in 32M 96M; do
		pm-delta --cache-size $size --stats stats -o /dev/null stream
		value stats peak_rss >$size
		[ "$(value stats evictions)" = 0 ]
	done
	# One round admits what there is room for, so both are full.
	awk -v a="$(cat 32M)" -v b="$(cat 96M)" 'BEGIN {
		is = (b - a) / 67108864
		print is
		exit is < 0.95 || is > 1.05
	}'
}

@test "a live copy takes 16 bytes a page, and little more" {
	for size in 64 576; do
		# Half of it has content.
		"$PM_BUILD/tests/helpers/giver" - $size 999999 \
		    >told.$size 3>&- &
		started+=("$!")
		eventually grep -q ready told.$size
		pm-snapshot --pid $! --live --stats $size -o /dev/null
		kill -9 $!
	done
	# 65536 pages more of content.
	awk -v a="$(value 64 peak_rss)" -v b="$(value 576 peak_rss)" 'BEGIN {
		is = (b - a) / 1048576
		print is
		exit is < 0.7 || is > 1.4
	}'
}

@test "a migration stream takes 16 bytes a page, however often it is sent" {
	sizes() { # PAGES PASSES: what both ends took
		helper migration "$1" "$2" >m
		pm-snapshot --format=qemu --stats from m |
		    pm-apply --format=qemu --stats to | cmp - m
		value from peak_rss
		value to peak_rss
	}
	{
		sizes 1000 1
		sizes 1000 40
		sizes 41000 1
	} >is
	paste - - <is
	# In MiB; 40000 pages more take 0.6, and a bitmap and pages of memory
	# that they stand in some more.
	awk '
	    NR > 2 && $1 - was[NR % 2] > (NR < 5 ? 0.5 : 1.5) * 1048576 { bad = 1 }
	    NR <= 2 { was[NR % 2] = $1 }
	    $1 > 12 * 1048576 { bad = 1 }
	    END { exit bad }' is
	[ "$(wc -l <is)" -eq 6 ]
}
