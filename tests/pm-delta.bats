#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
load helper

image() { # FILE SIZE: text that nowhere repeats, with a hole behind it
	seq 1000000 | head -c "$2" >"$1"
	truncate -s "$(($2 + 65536))" "$1"
}

poke() { # FILE OFFSET TEXT
	printf %s "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

generations() { # a.img to c.img, a full stream and two increments
	image a.img 300000
	cp a.img b.img
	poke b.img 5000 changed
	poke b.img 200000 here
	cp b.img c.img
	poke c.img 5003 again
	head -c 8192 /dev/zero | dd of=c.img bs=4096 seek=20 conv=notrunc \
	    status=none
	pm-snapshot "$@" -o full.pms a.img
	pm-snapshot "$@" -o one.pms --base a.img b.img
	pm-snapshot "$@" -o two.pms --base b.img c.img
	cat full.pms one.pms two.pms >chain.pms
}

size() { wc -c <"$1"; }

@test "a chain becomes smaller, is applied as it is, and comes back" {
	generations
	run -0 --separate-stderr pm-delta -o delta.pms chain.pms
	[ -z "$output$stderr" ]
	[ "$(size delta.pms)" -lt "$(($(size full.pms) + 2048))" ]
	pm-delta -d -o back.pms delta.pms
	cmp chain.pms back.pms
	pm-apply target.img <delta.pms
	cmp c.img target.img
}

@test "it works on standard input and output" {
	generations
	run -0 bash -c 'set -o pipefail
	    pm-delta <chain.pms | pm-delta -d - | cmp - chain.pms'
	run -0 bash -c 'pm-delta -o - -- chain.pms | pm-delta --decode |
	    cmp - chain.pms'
}

@test "pages of all sizes" {
	for pages in 4K 8K 16K 32K 64K; do
		generations --page-size $pages
		pm-delta --cache-size 64K -o delta.pms chain.pms
		pm-delta -d -o back.pms delta.pms
		cmp chain.pms back.pms
	done
}

@test "a base stands in for a cache" {
	generations
	pm-delta --base a.img --cache-size 0 -o delta.pms one.pms
	[ "$(size delta.pms)" -lt 512 ]
	pm-delta -d --base a.img -o back.pms delta.pms
	cmp one.pms back.pms
	cp a.img target.img
	pm-apply target.img <delta.pms
	cmp b.img target.img
}

@test "a base serves a chain, whatever passed" {
	generations
	cat one.pms two.pms >chain.pms
	for cache in 0 4K 1M; do
		pm-delta --base a.img --cache-size $cache -o delta.pms chain.pms
		pm-delta -d --base a.img -o back.pms delta.pms
		cmp chain.pms back.pms
		cp a.img target.img
		pm-apply target.img <delta.pms
		cmp c.img target.img
	done
}

@test "the image may grow and shrink from its base" {
	generations
	cp a.img long.img
	printf tail >>long.img
	truncate -s +10000 long.img
	head -c 150001 a.img >short.img
	for pair in "a.img long.img" "long.img a.img" "a.img short.img" \
	    "short.img long.img"; do
		read -r from to <<<"$pair"
		pm-snapshot --base "$from" -o in.pms "$to"
		pm-delta --base "$from" -o delta.pms in.pms
		pm-delta -d --base "$from" -o back.pms delta.pms
		cmp in.pms back.pms
		cp "$from" target.img
		pm-apply target.img <delta.pms
		cmp "$to" target.img
	done
}

@test "a full stream against a base" {
	generations
	pm-snapshot -o new.pms b.img
	pm-delta --base a.img -o delta.pms new.pms
	[ "$(size delta.pms)" -lt 1024 ]
	pm-delta -d --base a.img -o back.pms delta.pms
	cmp new.pms back.pms
}

@test "a wrong base is named" {
	generations
	pm-delta --base a.img -o delta.pms one.pms
	run -3 --separate-stderr pm-delta -d --base c.img -o out delta.pms
	[[ "$stderr" == "pm-delta: c.img: record "*"region 0"* ]]
	[ ! -e out ]
	head -c 4096 a.img >short.img
	run -3 --separate-stderr pm-delta -d --base short.img -o out delta.pms
	[[ "$stderr" == "pm-delta: short.img: "*"page 1 of region 0"* ]]
}

@test "without its base a stream is not decoded" {
	generations
	pm-delta --base a.img -o delta.pms one.pms
	run -3 --separate-stderr pm-delta -d -o out delta.pms
	[[ "$stderr" == "pm-delta: delta.pms: "*"page 1 of region 0"* ]]
	[[ "$stderr" == *"a base may have it" ]]
	[ ! -e out ]
}

@test "a base that cannot be read is named" {
	generations
	run -1 --separate-stderr pm-delta --base nowhere -o out one.pms
	[ "$stderr" = "pm-delta: nowhere: No such file or directory" ]
	run -1 --separate-stderr pm-delta --base . -o out one.pms
	[[ "$stderr" == "pm-delta: .: "* ]]
	[ ! -e out ]
}

@test "a cache beyond --max-memory is refused" {
	generations
	pm-delta --cache-size 4M -o delta.pms chain.pms
	run -1 --separate-stderr pm-delta -d --max-memory 4M -o out delta.pms
	[[ "$stderr" == *"takes 42"*" bytes, 4194304 are allowed" ]]
	[ ! -e out ]
	pm-delta -d --max-memory 5M -o back.pms delta.pms
	cmp chain.pms back.pms
	pm-delta --cache-size 2G -o delta.pms chain.pms
	run -1 pm-delta -d -o out delta.pms
}

@test "a cache must hold a page" {
	generations --page-size 64K
	run -2 --separate-stderr pm-delta --cache-size 4095 -o out full.pms
	[[ "$stderr" == "pm-delta: --cache-size: 4095: less than a page"* ]]
	run -1 --separate-stderr pm-delta --cache-size 4K -o out full.pms
	[[ "$stderr" == *"a cache of 4096 bytes holds no page of 65536" ]]
	run -2 pm-delta --cache-size 12X -o out full.pms
	run -2 pm-delta -d --cache-size 1M -o out full.pms
	run -2 pm-delta --max-memory 1M -o out full.pms
	run -2 pm-delta -o out full.pms one.pms
	[ ! -e out ]
}

@test "a stream that holds deltas passes unchanged, with a warning" {
	generations
	pm-delta -o delta.pms chain.pms
	run -0 --separate-stderr pm-delta -o again.pms delta.pms
	[[ "$stderr" == "pm-delta: 3 of 3 streams held deltas already"* ]]
	cmp delta.pms again.pms
	run -0 --separate-stderr pm-delta -q -o again.pms delta.pms
	[ -z "$stderr" ]
}

@test "in a chain each stream passes or not by itself" {
	generations
	pm-delta --base a.img -o delta.pms one.pms
	cat delta.pms two.pms >mixed.pms
	run -0 --separate-stderr pm-delta -o again.pms mixed.pms
	[[ "$stderr" == "pm-delta: 1 of 2 streams held deltas already"* ]]
	pm-delta -d --base a.img -o back.pms again.pms
	cat one.pms two.pms | cmp - back.pms
}

@test "a stream without deltas passes -d unchanged" {
	generations
	run -0 --separate-stderr pm-delta -d -o out chain.pms
	[ -z "$stderr" ]
	cmp chain.pms out
}

@test "compression goes around it" {
	generations
	pm-delta chain.pms | pm-compress -o wire.pms
	pm-compress -d wire.pms | pm-delta -d -o back.pms
	cmp chain.pms back.pms
	run -1 --separate-stderr pm-delta -d -o out wire.pms
	[[ "$stderr" == *"put pm-compress -d before" ]]
}

@test "compressed pages are refused, unless their stream passes" {
	generations
	pm-compress -o wire.pms chain.pms
	run -1 --separate-stderr pm-delta -o out wire.pms
	[[ "$stderr" == *"put pm-compress -d before" ]]
	[ ! -e out ]
	pm-delta chain.pms | pm-compress -o coded.pms
	pm-delta -q coded.pms | cmp - coded.pms
	pm-delta -d wire.pms | cmp - wire.pms
}

@test "a base is laid out as the first stream of a chain has it" {
	cut() { # A-SIZE FILE: regions a, of so much, and b
		echo --region "a:0:$1" --region b:0x100000: "$2"
	}
	head -c 65536 /dev/urandom >old
	{ head -c 16384 old; tail -c 32768 old; } >shrunk
	cp shrunk changed
	printf changed | dd of=changed bs=1 seek=24576 conv=notrunc status=none
	# shellcheck disable=SC2046	# words of options
	pm-snapshot --save-table t0 $(cut 32K old) >/dev/null
	# shellcheck disable=SC2046
	pm-snapshot --since t0 --save-table t1 $(cut 16K shrunk) >one.pms
	# shellcheck disable=SC2046
	pm-snapshot --since t1 $(cut 16K changed) >two.pms
	cp old target
	cat one.pms two.pms | pm-delta --base old | pm-apply target
	cmp changed target
	cat one.pms two.pms >chain
	pm-delta --base old chain | pm-delta -d --base old | cmp - chain
}

@test "a delta that was damaged is found" {
	generations
	pm-delta -o delta.pms chain.pms
	cp delta.pms bad.pms
	poke bad.pms "$(grep -abo changed delta.pms | cut -d: -f1)" CHANGED
	run -3 --separate-stderr pm-delta -d -o out bad.pms
	[[ "$stderr" == "pm-delta: bad.pms: record "*"pages 1 to 48"* ]]
}

@test "a stream that was cut is an error, both ways" {
	generations
	pm-delta -o delta.pms chain.pms
	for stream in delta.pms chain.pms; do
		bytes=$(size $stream)
		for cut in 0 5 8 60 200 "$((bytes / 2))" "$((bytes - 1))"; do
			head -c "$cut" $stream >cut.pms
			run -3 pm-delta -o out cut.pms
			run -3 pm-delta -d -o out cut.pms
		done
	done
	[ ! -e out ]
}

@test "both ends count the same" {
	generations
	pm-delta --stats encode -o delta.pms chain.pms
	pm-delta -d --stats decode -o back.pms delta.pms
	grep -q '"hits":3,"misses":74,"overflows":0,"unchanged":0' encode
	counts='"hits".*"evictions":[0-9]*'
	[ "$(grep -o "$counts" encode)" = "$(grep -o "$counts" decode)" ]
}

@test "an image of 1 TiB that is empty takes no time" {
	truncate -s 1T big.img
	pm-snapshot -o big.pms big.img
	pm-delta --base big.img -o delta.pms big.pms
	pm-delta -d --base big.img -o back.pms delta.pms
	cmp big.pms back.pms
}

@test "its base is not overwritten" {
	seq 1 5000 >image
	cp image base
	pm-snapshot image >in
	run -2 pm-delta --base base -o base in
	[[ ${lines[0]} == "pm-delta: --base: base: is the output" ]]
	cmp image base
}
