#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2030,SC2031,SC2154
# Whole pipes: their bytes, their statuses and what they do with bad streams.
load helper
load images
load pipeline

@test "every prefix of a stream is refused by every program" {
	small_streams
	every=$(step 1)
	cut() { # STREAM COMMAND...: which leaves target as it is
		cp old target
		run -0 helper mutate cut "$1" "$every" target old old "${@:2}"
		echo "# ${*:2}: $output"
		[[ "$output" == "taken 0 refused "* ]]
	}
	cut coded.pms pm-apply target
	cut coded.pms pm-apply --trust-table target
	cut coded.pms pm-info
	cut coded.pms pm-info --list --verify --json
	cut coded.pms pm-compress
	cut coded.pms pm-compress -j 1
	cut coded.pms pm-compress -d
	cut coded.pms pm-delta
	cut deltas.pms pm-delta -d --base old
	cut deltas.pms pm-compress '|' pm-delta '|' pm-apply target
	[ "$(names | grep -c pm-)" -eq 0 ]
}

@test "a prefix of a stream is refused across a socket" {
	small_streams
	bytes=$(size coded.pms)
	cp old target
	for at in 0 1 7 8 30 88 100 200 "$((bytes - 96))" "$((bytes - 1))"; do
		head -c "$at" coded.pms >part
		pm-recv --timeout 5 unix:s -- pm-apply target \
		    <&- >told 2>err 3>&- &
		run -3 pm-send --timeout 5 unix:s <part
		status=0
		wait $! || status=$?
		echo "# $at: pm-recv $status $(cat err)"
		[ $status -eq 3 ]
		cmp old target
		[ ! -s told ]
		rm -f s
	done
}

@test "a byte that changed is refused, or does not matter" {
	small_streams
	flips() { # STREAM NEW COMMAND...
		cp old target
		for xor in 1 128; do
			run -0 helper mutate $xor "$1" "$(step "$every")" \
			    target old "$2" "${@:3}"
			echo "# ${*:3}: $output"
			[[ "$output" == "taken "* ]]
			# Little of a stream does not matter.
			[[ "$output" =~ ^taken\ (.|1.)\ refused ]]
		done
	}
	every=1
	flips coded.pms other pm-apply target
	flips deltas.pms new pm-apply target
	flips coded.pms other pm-compress -d '|' pm-delta -d --base old '|' \
	    pm-apply target
	every=2
	flips coded.pms other pm-compress -d '|' pm-apply target
	flips coded.pms other pm-compress -c zlib '|' pm-apply target
	flips deltas.pms new pm-delta -d --base old '|' pm-compress '|' \
	    pm-apply target
	every=3
	flips coded.pms other pm-delta '|' pm-compress -j 1 '|' \
	    pm-apply --trust-table target
}

@test "no byte of a stream without deltas escapes pm-info --verify" {
	small_streams
	run -0 helper mutate 1 small.pms "$(step 7)" - - - pm-info --verify
	[[ "$output" == "taken 0 refused "* ]]
	pm-compress -o packed.pms small.pms
	[ "$(size packed.pms)" -lt 3000 ]
	for xor in 2 64; do
		run -0 helper mutate $xor packed.pms "$(step 3)" - - - \
		    pm-info --verify
		echo "# $output"
		# Not each bit of a compressed payload has a meaning.
		[[ "$output" == "taken "[0-3]" refused "* ]]
	done
	# Of deltas, it covers what is not their content.
	for command in "pm-info --verify" "pm-info --verify --list"; do
		# shellcheck disable=SC2086
		run -0 helper mutate 4 deltas.pms "$(step 2)" - - - $command
		[[ "$output" == "taken "[0-9]" refused "* ]]
	done
}

@test "pipelines of chance bring the right image" {
	seed=${PM_SEED:-$RANDOM}
	echo "# PM_SEED=$seed"
	for ((i = 0; i < 25; i++)); do
		random_pipeline $((seed + i))
	done
}

@test "chains of chance, through all stages" {
	seed=${PM_SEED:-$RANDOM}
	echo "# PM_SEED=$seed"
	for ((i = 0; i < 5; i++)); do
		RANDOM=$((seed + i))
		random_images $((seed + i))
		cp --sparse=always new last
		helper scatter "$i" $((RANDOM * 100 + 1)) last -
		cp --sparse=always old final
		{
			pm-snapshot --save-table t old
			pm-snapshot --since t --save-table t new
			pm-snapshot --base new last
			pm-snapshot --base last final
		} >chain.pms
		for each in old new last final; do pm-info --id $each; done >ids
		rm -f target
		pm-delta --cache-size 256K chain.pms | pm-compress -j 2 |
		    pm-apply target >told
		cmp final target
		cmp ids told
		rm target
		pm-compress -c lz4 chain.pms | pm-compress -d | pm-delta |
		    pm-delta -d | tee back.pms | pm-apply --trust-table target \
		    >told
		cmp ids told
		cmp chain.pms back.pms
	done
}

@test "the number of threads does not change a byte" {
	helper scatter 1 20000000 old
	cp --sparse=always old new
	helper scatter 2 20000000 new -
	for codec in zstd lz4 zlib; do
		for threads in 1 2 5; do
			pm-snapshot --base old new | pm-delta --base old |
			    pm-compress -c $codec -j $threads -o $threads.pms
			pm-compress -d -j $threads $threads.pms |
			    pm-delta -d --base old -o back.$threads.pms
		done
		cmp 1.pms 2.pms
		cmp 1.pms 5.pms
		cmp back.1.pms back.2.pms
		cmp back.1.pms back.5.pms
	done
	pm-snapshot --base old new | cmp - back.1.pms
}

@test "1 TiB of nothing goes through a whole pipe" {
	truncate -s 1T old
	poke old 700000000000 here
	cp --sparse=always old new
	poke new 300000000000 there
	run -0 timeout 20 bash -c 'set -o pipefail
	    pm-snapshot old | pm-delta | pm-compress | pm-compress -d |
	    pm-delta -d | pm-apply target'
	[ "$output" = "$(pm-info --id old)" ]
	[ "$(pm-info --id target)" = "$output" ]
	[ "$(size target)" -eq "$(size old)" ]
	[ "$(blocks target)" -lt 64 ]
	run -0 timeout 20 bash -c 'set -o pipefail
	    pm-snapshot --base old new | pm-delta --base old | pm-compress |
	    pm-apply --trust-table target'
	[ "$output" = "$(pm-info --id new)" ]
	[ "$(pm-info --id target)" = "$output" ]
	[ "$(blocks target)" -lt 64 ]
	[ "$(blocks target.pm-table)" -lt 128 ]
}
