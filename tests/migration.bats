#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# Migration streams through the programs, without a QEMU: one that a helper
# writes, and what QEMU 7.2 wrote, shortened.
load helper
load images
load process

teardown() { end_started; }

guest() { # SEED: a.qemu and, some pages later, b.qemu
	helper ramfile "$1" a.mr a.qemu
	helper ramfile "$1" b.mr b.qemu changed
}

written() { # NAME: what QEMU wrote, of the fuzzers' corpus
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/fuzz/corpus/qemu-$1.hex" | tail -c +2
}

id() { # STREAM
	pm-snapshot --format=qemu "$1" | pm-info --json |
	    sed 's/.*"to":"\([0-9a-f]*\)".*/\1/'
}

give() { pm-apply --format=qemu "$@"; }

@test "what QEMU wrote comes back through any filters, and its pages are seen" {
	local name

	for name in pc q35 old shared bitmaps; do
		written "$name" >m
		pm-snapshot m >m.pms
		pm-snapshot --format=qemu <m | cmp - m.pms
		pm-snapshot - <m | cmp - m.pms
		# shellcheck disable=SC2002
		cat m | pm-snapshot --record-size 4K | give | cmp - m
		give <m.pms | cmp - m
		# No page comes twice, so there is no delta to be seen.
		pm-delta m.pms | pm-compress -j 3 | give | cmp - m
		pm-compress -c lz4 m.pms | pm-compress -d | pm-delta |
		    pm-delta -d | give -j 2 | cmp - m
		[ "$(pm-info --json m.pms | grep -o '"raw":[0-9]*')" != '"raw":0' ]
		pm-info m.pms | grep -q '^  foreign [1-9]'
	done
}

@test "a machine of old has no footers, and may describe nothing" {
	written old | head -c -39 >m
	pm-snapshot m -o m.pms
	give <m.pms | cmp - m
	head -c 50000 m >short
	run -3 pm-snapshot -o out short
	[ ! -e out ]
}

@test "through a socket it is the same bytes" {
	guest 1
	pm-recv unix:s -- sh -c 'pm-compress -d | pm-delta -d |
	    pm-apply --format=qemu -o b' 3>&- &
	started+=("$!")
	eventually test -S s
	pm-snapshot a.qemu | pm-delta | pm-compress | pm-send unix:s
	wait "$!"
	cmp a.qemu b
}

@test "a chain is written as the last guest of it" {
	guest 2
	pm-snapshot --save-table t a.qemu -o a.pms
	pm-snapshot --since t --save-table t2 --stats stats b.qemu -o b.pms
	[ "$(value stats pages_equal)" -gt 0 ]
	[ "$(value stats pages_raw)" -gt 0 ]
	[ $(($(size b.pms) * 2)) -lt "$(size a.pms)" ]
	cat a.pms b.pms | give --stats stats -o c
	[ "$(value stats generations)" -eq 2 ]
	[ "$(value stats device_bytes)" -gt 0 ]
	[ "$(id c)" = "$(id b.qemu)" ]
	# The table of the second is as good as one of all.
	pm-snapshot --since t2 --stats stats c >/dev/null
	[ "$(value stats to)" = "$(value stats from)" ]
	pm-snapshot --since t2 --stats stats b.qemu >/dev/null
	[ "$(value stats pages_raw)" -eq 0 ]
	cat a.pms b.pms | pm-delta | pm-compress | pm-compress -d |
	    pm-delta -d | give | cmp - c
	# An image of it, and one stream alone.
	cat a.pms b.pms | pm-apply --region pc.ram one
	pm-snapshot b.qemu | pm-apply --region pc.ram two
	cmp one two
	run -3 --separate-stderr give -o d <b.pms
	[[ $stderr == *"put the streams before it in front"* ]]
	[ ! -e d ]
	# What was passed on is not gone on from.
	pm-snapshot a.qemu >plain.pms
	run -1 bash -c 'cat plain.pms b.pms | pm-apply --format=qemu -o d'
	[ ! -e d ]
	run -3 bash -c 'cat plain.pms plain.pms | pm-apply --format=qemu -o d'
	[ ! -e d ]
}

@test "a chain that goes on in the block where it was is understood" {
	helper migration 40 1 >a.qemu
	helper migration 40 2 >b.qemu
	pm-snapshot --save-table t a.qemu -o a.pms
	pm-snapshot --since t b.qemu -o b.pms
	cat a.pms b.pms | give -o c
	pm-snapshot --format=qemu c 2>err >c.pms
	cat err
	[ ! -s err ]
	[ "$(id c)" = "$(id b.qemu)" ]
}

@test "a table is of a guest that was understood" {
	written pc | head -c 1000 >m
	run -3 pm-snapshot --save-table t -o out m
	[ ! -e t ]
	[ ! -e out ]
	# A page that came as XBZRLE already.
	"$BATS_TEST_DIRNAME/unhex.sh" <<<"$(sed '0,/ 28 /s// 60 /' \
	    "$BATS_TEST_DIRNAME/fuzz/corpus/qemu-pc.hex")" | tail -c +2 >m
	pm-snapshot m -o out.pms 2>said
	grep -q 'passed on as it is.*xbzrle off' said
	give <out.pms | cmp - m
	run -0 --separate-stderr pm-snapshot -q m -o out.pms
	[ -z "$stderr" ]
	run -1 --separate-stderr pm-snapshot --save-table t -o out m
	[[ $stderr == *"can't be part of a chain: "*"xbzrle off"* ]]
	[ ! -e t ]
	[ ! -e out ]
}

@test "a stream that was cut is no stream, at either end" {
	local at

	guest 3
	pm-snapshot a.qemu >a.pms
	for at in 0 3 4 60 5000 $(($(size a.qemu) - 1)); do
		head -c "$at" a.qemu >short
		run -3 pm-snapshot --format=qemu -o out short
		[ ! -e out ]
		run -3 bash -c "head -c $at a.qemu | pm-snapshot --format=qemu"
	done
	for at in 0 7 60 5000 $(($(size a.pms) - 1)); do
		head -c "$at" a.pms >short
		run -3 bash -c 'pm-apply --format=qemu -o out <short'
		[ ! -e out ]
	done
}

@test "nothing that is damaged gets as far as device state" {
	local at seen=0 size

	guest 4
	pm-snapshot --stats stats a.qemu >a.pms
	size=$(($(size a.qemu) - $(value stats device_bytes)))
	for ((at = 20; at < $(size a.pms) - 2000; at += 94997)); do
		cp a.pms b.pms
		flip b.pms "$at"
		run -3 bash -c 'pm-apply --format=qemu <b.pms >out'
		[ "$(size out)" -le "$size" ]
		cmp -n "$(size out)" out a.qemu
		seen=$((seen + 1))
		# A delta is made only of what was verified.
		run -3 bash -c 'set -o pipefail
		    pm-delta <b.pms 2>/dev/null | pm-apply --format=qemu >out'
		[ "$(size out)" -le "$size" ]
	done
	[ "$seen" -gt 10 ]
}

@test "what stands in the way is told" {
	guest 5
	pm-snapshot a.qemu >a.pms
	run -2 pm-snapshot --format=qemu --base a.qemu -o out a.qemu
	run -2 pm-snapshot --format=qemu --region a:0:4K -o out a.qemu
	run -2 pm-snapshot --format=qemu --page-size 5K -o out a.qemu
	run -2 pm-snapshot --format=qemu -j 2 -o out a.qemu
	run -2 give a.qemu <a.pms
	run -2 give --in-place <a.pms
	run -2 give --region pc.ram <a.pms
	run -2 pm-apply --format=qcow2 image <a.pms
	run -2 pm-apply <a.pms
	run -1 pm-snapshot --format=qemu -o out nothing
	cp a.qemu c.qemu
	run -2 pm-snapshot --save-table c.qemu -o out c.qemu
	run -2 bash -c 'pm-snapshot --save-table c.qemu -o out <c.qemu'
	cmp a.qemu c.qemu
	run -1 --separate-stderr pm-snapshot --format=qemu -o out a.mr
	[[ $stderr == *"--format=mapped-ram"* ]]
	run -1 --separate-stderr pm-apply image <a.pms
	[[ $stderr == *"--region NAME, or --format=qemu"* ]]
	truncate -s 64K img
	run -3 --separate-stderr bash -c \
	    'pm-snapshot img | pm-apply --format=qemu -o out'
	[[ $stderr == *"pages stand where a migration stream of QEMU has none"* ]]
	[ ! -e out ]
	[ ! -e image ]
}

@test "a file that libvirt saved is read, from a pipe too, and its program named" {
	word() { printf '%b' "\\x$(printf %x "$1")\\0\\0\\0"; }

	guest 6
	{
		printf LibvirtQemudSave
		word 2
		word 20
		word 1
		word 1
		head -c 60 /dev/zero
		printf '<domain>  </domain> '
		gzip -1 <a.qemu
	} >guest.save
	pm-snapshot guest.save | give | cmp - a.qemu
	# shellcheck disable=SC2002
	cat guest.save | pm-snapshot | give | cmp - a.qemu
	head -c "$(($(size guest.save) - 9))" guest.save >cut.save
	run -3 --separate-stderr pm-snapshot -o out cut.save
	[[ $stderr == *gzip* ]]
	[ ! -e out ]
	# What gzip finds wrong at its end is told before the stream has one.
	cp guest.save cut.save
	flip cut.save $(($(size cut.save) - 6))
	run -3 --separate-stderr bash -c 'set -o pipefail
	    pm-snapshot cut.save | pm-apply --region pc.ram image'
	[[ $stderr == *gzip* ]]
	[ ! -e image ]
}

@test "an image is made only of what was understood" {
	"$BATS_TEST_DIRNAME/unhex.sh" <<<"$(sed '0,/ 28 /s// 60 /' \
	    "$BATS_TEST_DIRNAME/fuzz/corpus/qemu-pc.hex")" | tail -c +2 >m
	pm-snapshot -q m -o m.pms
	run -1 --separate-stderr pm-apply --region pc.ram image <m.pms
	[[ $stderr == *"did not understand all of the migration stream"* ]]
	[ ! -e image ]
	run -1 pm-apply --format=mapped-ram image <m.pms
	[ ! -e image ]
	written shared >m
	pm-snapshot m -o m.pms
	run -1 pm-apply --region m image <m.pms
	[ ! -e image ]
}

@test "a reader that leaves ends pm-snapshot, and that its writer" {
	guest 7
	run -0 bash -c 'while cat a.qemu; do :; done 2>/dev/null |
	    (pm-snapshot --format=qemu; echo "$?" >status) | head -c 100000 >out'
	[ "$(cat status)" -eq 141 ]
}
