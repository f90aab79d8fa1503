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
load guest
load qemu
load free-guest
load skip-free

teardown() {
	end_jobs
	free_end
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

# Guests of the archive's kernels, at addresses of chance and not, small and
# large; of those that are not known, it is said so.
@test "guests of many kernels and sizes" {
	why=$(qemu_can) || skip "$why"
	kernels=${PATH%%:*}/guest
	free_prepare "${PATH%%:*}/tests/helpers/hog"
	for from in '6\.1\.0-[0-9]*-amd64' '6\.1\.0-[0-9]*-cloud-amd64' \
	    '6\.1\.0-[0-9]*-rt-amd64' \
	    '6\.12\.[0-9.]*[+]deb12-amd64 bookworm-backports' \
	    '6\.12\.[0-9.]*[+]deb12-cloud-amd64 bookworm-backports' \
	    '6\.16\.[0-9.]*[+]deb13-cloud-amd64 trixie-backports' \
	    '6\.19\.[0-9.]*[+]deb13-cloud-amd64 trixie-backports'; do
		# shellcheck disable=SC2086	# a pattern and a suite
		set -- $from
		kernel=$(guest_kernel_of "$1" "$kernels" "${2-}")
		for size in 400 1500 4700; do
			echo "# $kernel, $size MiB"
			agrees_with "$kernel" $size
			run -1 grep -q ' shifted by 0,' info
			rm -f ./*.mem
		done
		echo "# $kernel, not shifted"
		agrees_with "$kernel" 700 nokaslr
		grep -q ' shifted by 0,' info
		rm -f ./*.mem
	done
	for from in '5\.10\.0-[0-9]*-cloud-amd64 bullseye' \
	    '7\.[0-9.]*[+]deb14-cloud-amd64 sid'; do
		# shellcheck disable=SC2086
		set -- $from
		kernel=$(guest_kernel_of "$1" "$kernels" "$2")
		free_start strange "$kernel" 400 ''
		free_stop strange
		run -1 --separate-stderr pm-info --guest strange.mem
		[[ "$stderr" == *"is not a kernel that is known here"* ]]
		free_end strange
	done
	kernel=$(guest_kernel_of '6\.1\.0-[0-9]*-amd64' "$kernels")
	for option in page_poison=1 init_on_free=1; do
		free_start vm "$kernel" 400 $option
		free_stop vm
		run -1 --separate-stderr pm-info --guest vm.mem
		[[ "$stderr" =~ \ (poisons|zeroes)\ free\ pages ]]
		free_end vm
	done
	# Nodes, zones that are empty, huge pages, and what looks at pages.
	for options in numa=fake=3 'movablecore=400M crashkernel=128M' \
	    'hugepages=100 hugetlb_free_vmemmap=on' \
	    'slub_debug=FZP page_owner=on'; do
		echo "# $options"
		agrees_with "$kernel" 1200 "$options"
		rm -f ./*.mem
	done
}

@test "a guest without its free pages goes on for minutes" {
	why=$(qemu_can) || skip "$why"
	kernels=${PATH%%:*}/guest
	guest_kernel "$kernels" || skip 'there is no kernel'
	free_prepare "${PATH%%:*}/tests/helpers/hog"
	make_vm
	free_end vm
	pm-snapshot --skip-free=linux vm.stream |
	    pm-apply --format=qemu >free.stream
	free_machine there "$kernels/kernel" 512 '' \
	    -incoming 'exec:cat free.stream'
	qemu_arrived there
	free_cont there
	SECONDS=0
	while [ $SECONDS -lt 300 ]; do
		goes_on there
	done
}

# Stopped anywhere while it takes memory and gives it back, a guest is found
# or, at worst, found in the middle of a change.
@test "a busy guest is found whenever it stands" {
	why=$(qemu_can) || skip "$why"
	kernels=${PATH%%:*}/guest
	guest_kernel "$kernels" || skip 'there is no kernel'
	free_prepare "${PATH%%:*}/tests/helpers/hog"
	free_start vm "$kernels/kernel" 512 ''
	free_say vm 'keep 16; (while :; do hog 100; done) >/dev/null &'
	found=0
	for ((i = 0; i < 200; i++)); do
		free_stop vm
		pm-info --guest vm.mem >info 2>err && found=$((found + 1)) ||
		    sed 's/^/# /' err
		free_cont vm
		sleep "0.0$((RANDOM % 90 + 10))"
	done
	echo "# found $found times of 200"
	[ $found -ge 180 ]
}
