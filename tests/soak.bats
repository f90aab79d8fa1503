#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# What takes too long for each check; see "make soak".
load helper
load images
load pipeline
load process
load live
load peers
load line
load breaks

teardown() {
	end_jobs
	line_end
	[ -z "$shm" ] || rm -rf "$shm"
	end_started
}

shm=''

@test "killed hundreds of times, it leaves the old image or the new" {
	kill_at_random 400
}

@test "hundreds of pipelines of chance" {
	seed=${PM_SEED:-$RANDOM}
	echo "# PM_SEED=$seed"
	for ((i = 0; i < 500; i++)); do
		random_pipeline $((seed + i))
	done
}

@test "every bit of a stream" {
	small_streams
	for xor in 1 2 4 8 16 32 64 128 255; do
		for stream in coded.pms:other deltas.pms:new; do
			cp old target
			run -0 helper mutate $xor "${stream%:*}" 1 target old \
			    "${stream#*:}" pm-apply target
			run -0 helper mutate $xor "${stream%:*}" 1 target old \
			    "${stream#*:}" pm-compress -d '|' pm-delta -d \
			    --base old '|' pm-apply target
		done
	done
}

@test "20 GB take no more memory than 200 MB" {
	is_flat 321 120
}

@test "mappings that never rest, copied again and again" {
	churned 30
}

@test "migrations of chance by the thousand" {
	seed=${PM_SEED:-$RANDOM}
	echo "# PM_SEED=$seed"
	for ((i = 0; i < 25; i++)); do
		PM_SEED=$((seed + i * 120)) "${PATH%%:*}/tests/unit/qemu_emit"
	done
}

@test "hundreds of breaks" {
	make_streams
	cd "$BATS_FILE_TMPDIR"
	seed=${PM_SEED:-$RANDOM}
	echo "# PM_SEED=$seed"
	pm-send --make-key key
	for ((i = 0; breaks < 400; i++)); do
		through_breaks $((seed + i)) $((1000000 + RANDOM * 200)) \
		    +--connections +$((i % 4 + 1))
		through_breaks $((seed + i)) $((4000000 + RANDOM * 100)) \
		    --tls-psk key +--connections +$((i % 3 + 1))
	done
	line_start delay=5 loss=20 rate=20000000
	for i in 1 2 3 4 5; do
		over_line strike_all --connections $((i % 4 + 1))
		over_line pull_cable --connections $((i % 4 + 1))
		over_line strike_one --connections $((i % 3 + 2))
	done
	echo "# $breaks breaks"
}
