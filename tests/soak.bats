#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# What takes too long for each check; see "make soak".
load helper
load images
load pipeline
load process
load live

teardown() {
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
