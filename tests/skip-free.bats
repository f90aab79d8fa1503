#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Guests of Linux whose free pages are found in their memory, are left out,
# and are not missed.
load helper
load process
load images
load breaks
load guest
load qemu
load free-guest
load skip-free

# A guest keeps files; a job fills most of its memory, and ends.  What it is
# then stays here: vm.mem, and the same as a stream, vm.stream.
setup_file() {
	local build

	build=$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd)
	export why='' kept=$BATS_FILE_TMPDIR kernels=$build/guest
	if why=$(qemu_can); then
		guest_kernel "$kernels" || why='there is no kernel'
	fi
	[ -z "$why" ] || return 0
	cd "$kept" || return
	free_prepare "$build/tests/helpers/hog"
	(trap free_end EXIT && make_vm) 3>&- && return
	tail -n 30 -- *.console *.log >&2
	return 1
}

needs_guest() {
	[ -z "$why" ] || skip "$why"
	ln -s "$kept/initrd" .
	vm=$kept/vm
}

teardown() {
	tail -n 5 -- *.log 2>/dev/null || :
	free_end
	# Guests are large.
	rm -f -- *.mem *.pms *.stream
}

# Another of its kind, into which it comes.
machine() { # NAME URI
	free_machine "$1" "$kernels/kernel" 512 '' -incoming "$2"
}

# What is left of the memory is as it was, and the rest is holes.
is_left() { # FILE WHOLE
	pm-snapshot --base "$2" --stats left "$1" >/dev/null
	[ "$(counted left pages_raw)" -eq 0 ]
	[ $(($(stat -c %b "$1") * 512)) -le $(($(stat -c %b "$2") * 512 / 4)) ]
}

@test "what is found agrees with what the guest says" {
	needs_guest
	agrees_with "$kernels/kernel" 350
	grep -q ' shifted by 0,' info
}

@test "image and stream tell the same of a guest" {
	needs_guest
	pm-info --guest "$vm.mem" >of-image
	pm-info --guest "$vm.stream" >of-stream
	cmp of-image of-stream
	pm-info --guest "$vm.mem" --json |
	    grep -q "\"free\":$(($(finds "$vm.mem" free) / 4)),"
	pm-info --guest "$vm.mem" | grep -q '^Linux 6\.[0-9.]*-'
}

@test "an image without its free pages is what it was, but for them" {
	needs_guest
	pm-snapshot --skip-free=linux --stats stats "$vm.mem" >free.pms
	pm-snapshot "$vm.mem" >whole.pms
	echo "# $(size free.pms) of $(size whole.pms) bytes"
	[ $(($(size free.pms) * 4)) -lt "$(size whole.pms)" ]
	[ "$(counted stats pages_free)" -eq $(($(finds "$vm.mem" free) / 4)) ]
	[ "$(counted stats pages_gone)" -eq "$(counted stats pages_free)" ]
	pm-apply new.mem <free.pms
	is_left new.mem "$vm.mem"
	# On any threads, and through everything, it is the same.
	cmp free.pms <(pm-snapshot --skip-free=linux -j 1 "$vm.mem")
	pm-delta <free.pms | pm-compress | pm-apply other.mem
	cmp new.mem other.mem
	# Where the whole was there before, the rest is taken from it.
	pm-apply other.mem <whole.pms
	pm-snapshot --skip-free=linux --base "$vm.mem" "$vm.mem" |
	    pm-apply other.mem
	cmp new.mem other.mem
	[ "$(pm-info --id other.mem)" = "$(pm-info --id new.mem)" ]
}

@test "RAM that is cut in regions is put together by their addresses" {
	needs_guest
	cut=(--region low:0:200M --region high:200M:312M)
	pm-info --guest "$vm.mem" >of-whole
	pm-info --guest "$vm.mem" "${cut[@]}" >of-parts
	cmp of-whole of-parts
	pm-snapshot --skip-free=linux --stats stats "${cut[@]}" "$vm.mem" >cut.pms
	[ "$(counted stats pages_gone)" -eq $(($(finds "$vm.mem" free) / 4)) ]
	# At other addresses, there is no guest.
	run -0 --separate-stderr pm-snapshot --skip-free=linux \
	    --region low:0:200M --region high:1G:312M -o cut.pms "$vm.mem"
	[[ "$stderr" == "pm-snapshot: --skip-free: all pages are sent: "* ]]
}

@test "a guest goes on from a stream without its free pages" {
	needs_guest
	pm-snapshot --skip-free=linux --stats stats "$vm.stream" |
	    pm-delta | pm-compress | pm-compress -d | pm-delta -d |
	    pm-apply --format=qemu >free.stream
	[ $(($(size free.stream) * 4)) -lt "$(size "$vm.stream")" ]
	[ "$(counted stats pages_free)" -eq $(($(finds "$vm.mem" free) / 4)) ]
	machine vm 'exec:cat free.stream'
	qemu_arrived vm
	free_cont vm
	goes_on vm
}

@test "a guest goes on with a memory without its free pages" {
	needs_guest
	# Its devices are those of the stream, which then brings no memory.
	pm-snapshot --skip-free=linux "$vm.mem" | pm-apply there.mem
	is_left there.mem "$vm.mem"
	machine there defer
	qemu_capability there x-ignore-shared
	machine here "exec:cat $vm.stream"
	qemu_arrived here
	qemu_capability here x-ignore-shared
	qemu_migrate here 'exec:cat >devices.stream'
	qemu_migrated here
	free_end here
	qemu_tell there migrate-incoming '{"uri":"exec:cat devices.stream"}'
	qemu_arrived there
	free_cont there
	goes_on there
}

@test "the guest of a hypervisor is looked into where it is" {
	needs_guest
	machine vm "exec:cat $vm.stream"
	qemu_arrived vm
	pm-snapshot --pid "${qemu_pids[vm]}" --map '*/vm.mem' \
	    --skip-free=linux --stats stats |
	    pm-apply vm.core
	[ "$(counted stats pages_gone)" -ge $(($(finds "$vm.mem" free) / 4)) ]
	[ "$(finds vm.core free)" -eq "$(finds "$vm.mem" free)" ]
	pm-snapshot --pid "${qemu_pids[vm]}" --map '*/vm.mem' --spool . \
	    --skip-free=linux --stats stats >vm.pms
	[ "$(counted stats pages_gone)" -ge $(($(finds "$vm.mem" free) / 4)) ]
	free_cont vm
	free_keeps vm
}

@test "what is not known is sent, and it is said why" {
	needs_guest
	release=$(pm-info --guest "$vm.mem" | sed -n 's/^Linux //p')
	cp --sparse=always "$vm.mem" strange.mem
	# In all places where it stands, as if it were another.
	LC_ALL=C grep -abo "OSRELEASE=$release" "$vm.mem" | cut -d: -f1 |
	    while read -r at; do
		printf 7 | dd of=strange.mem bs=1 seek=$((at + 10)) \
		    conv=notrunc status=none
	    done
	run -0 --separate-stderr pm-snapshot --skip-free=linux \
	    -o strange.pms strange.mem
	[[ "$stderr" == "pm-snapshot: --skip-free: all pages are sent: \
7${release#6} is not a kernel that is known here"* ]]
	cmp strange.pms <(pm-snapshot strange.mem)
	run -1 --separate-stderr pm-info --guest strange.mem
	[[ "$stderr" == "pm-info: strange.mem: 7${release#6} is not a "* ]]
	# What is no guest at all.
	head -c 3000000 /dev/urandom >noise.mem
	run -0 --separate-stderr pm-snapshot --skip-free=linux \
	    -o noise.pms noise.mem
	[[ "$stderr" == *"all pages are sent: no Linux kernel is found"* ]]
	cmp noise.pms <(pm-snapshot noise.mem)
	# A stream that nobody can look into twice.
	run -0 --separate-stderr pm-snapshot --skip-free=linux \
	    -o piped.pms < <(cat "$vm.stream")
	[[ "$stderr" == *"all pages are sent: "*"only in a file"* ]]
	# Where a record ends may depend on when what came.
	pm-apply --format=qemu <piped.pms | cmp - "$vm.stream"
	# One that was cut is what it is without looking into it.
	head -c 20000000 "$vm.stream" >cut.stream
	run -3 --separate-stderr pm-snapshot --skip-free=linux cut.stream
	[[ "$stderr" == *"all pages are sent: "*"the migration stream ends early" ]]
}

@test "wrong use is told" {
	seq 1000 >image
	run -2 --separate-stderr pm-snapshot --skip-free=windows image
	[[ "$stderr" == "pm-snapshot: --skip-free: windows: not linux"* ]]
	run -2 --separate-stderr pm-snapshot --skip-free=linux --live image
	[[ "$stderr" == "pm-snapshot: --skip-free is not for --live"* ]]
	run -2 --separate-stderr pm-info --guest image --id image
	run -2 --separate-stderr pm-info --guest image stream
	run -2 --separate-stderr pm-info --guest image --verify
	run -2 --separate-stderr pm-info --guest image --token
	run -1 --separate-stderr pm-info --guest nowhere
	[[ "$stderr" == "pm-info: nowhere: "* ]]
	run -1 --separate-stderr pm-info --guest image
	[[ "$stderr" == "pm-info: image: no Linux kernel is found"* ]]
}

@test "a kernel at an address of chance, with RAM on both sides of a hole" {
	needs_guest
	kernel=$(guest_kernel_of '6\.[0-9.]*-[0-9]*-cloud-amd64' "$kernels") ||
	    skip "there is no kernel to fetch: $(tail -n 1 "$kernels/log")"
	agrees_with "$kernel" 4700
	run -1 grep -q ' shifted by 0,' info
	grep -q '^  ram     3145728 KiB at 0$' info
}
