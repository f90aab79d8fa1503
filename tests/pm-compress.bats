#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
load helper
load peers

setup_file() { # streams of pages that compress well, or not, or are holes
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	cd "$BATS_FILE_TMPDIR" || return
	seq 100000 | head -c 500000 >a.img
	head -c 300000 /dev/urandom >>a.img
	truncate -s 1000000 a.img
	cp a.img b.img
	printf changed | dd of=b.img bs=1 seek=9999 conv=notrunc status=none
	cp b.img c.img
	head -c 8192 /dev/zero | dd of=c.img bs=4096 seek=20 conv=notrunc \
	    status=none
	seq 10000000 | head -c 8M >big.img
	head -c 500000 /dev/urandom >noise.img
	pm-snapshot -o full.pms a.img
	pm-snapshot -o one.pms --base a.img b.img
	pm-snapshot -o two.pms --base b.img c.img
	pm-snapshot -o big.pms big.img
	pm-snapshot -o noise.pms noise.img
	cat full.pms one.pms two.pms >chain.pms
}

counter() { # NAME: its value in the file stats
	sed "s/.*\"$1\":\([0-9]*\).*/\1/" stats
}

@test "what was compressed comes back, for each codec and level" {
	stage chain.pms
	for way in zstd:1 zstd:2 zstd:19 lz4:1 lz4:2 lz4:3 lz4:12 zlib:1 \
	    zlib:9; do
		pm-compress -c "${way%:*}" -l "${way#*:}" -o wire.pms \
		    chain.pms
		[ "$(size wire.pms)" -lt "$(($(size chain.pms) * 9 / 10))" ]
		pm-compress -d -o back.pms wire.pms
		cmp chain.pms back.pms
	done
}

@test "pages and records of all sizes come back" {
	stage a.img
	for how in "64K 64K" "4K 4K" "4K 1M" "64K 1M" "8K 100K"; do
		# shellcheck disable=SC2086
		set -- $how
		pm-snapshot --page-size "$1" --record-size "$2" -o in.pms \
		    a.img
		for codec in zstd lz4 zlib; do
			pm-compress -c $codec in.pms |
			    pm-compress -d | cmp - in.pms
		done
	done
	truncate -s 0 empty.img
	truncate -s 1T huge.img
	for image in empty huge; do
		pm-snapshot -o in.pms $image.img
		pm-compress in.pms | cmp - in.pms
	done
}

@test "pm-apply understands it as it is" {
	stage chain.pms c.img
	for codec in zstd lz4 zlib; do
		pm-compress -c $codec chain.pms | pm-apply target.img
		cmp c.img target.img
		rm target.img
	done
}

@test "the defaults are zstd 1, lz4 2 and zlib 1" {
	stage chain.pms
	pm-compress chain.pms >want
	pm-compress -c zstd -l 1 chain.pms | cmp - want
	pm-compress -c lz4 chain.pms >want
	pm-compress -c lz4 -l 2 chain.pms | cmp - want
	pm-compress -c zlib chain.pms >want
	pm-compress --codec=zlib --level=1 chain.pms | cmp - want
	pm-info want | grep -q 'coded'
	# And a higher level is tighter, mostly.
	for codec in zstd:19 lz4:12; do
		pm-compress -c ${codec%:*} -o fast.pms chain.pms
		pm-compress -c ${codec%:*} -l ${codec#*:} -o small.pms \
		    chain.pms
		[ "$(size small.pms)" -lt "$(size fast.pms)" ]
	done
}

@test "level 0 stores" {
	stage chain.pms
	for codec in zstd lz4 zlib; do
		for threads in 1 4; do
			pm-compress -c $codec -l 0 -j $threads chain.pms |
			    cmp - chain.pms
		done
	done
}

@test "any number of threads gives the same bytes" {
	stage big.pms
	for codec in zstd lz4 zlib; do
		pm-compress -c $codec -j 1 -o want.pms big.pms
		for threads in 2 4 8 64; do
			pm-compress -c $codec -j $threads big.pms |
			    cmp - want.pms
			pm-compress -d -j $threads want.pms | cmp - big.pms
		done
	done
}

@test "a record that saves less than 1/16 stays as it is" {
	stage noise.pms full.pms
	for codec in zstd lz4 zlib; do
		for threads in 1 2; do
			pm-compress -c $codec -j $threads --stats stats \
			    noise.pms | cmp - noise.pms
			[ "$(counter coded)" -eq 0 ]
			[ "$(counter kept)" -eq 2 ]
			[ "$(counter payload_in)" -eq \
			    "$(counter payload_out)" ]
		done
		# Text, text and noise, noise, noise and zeroes.
		pm-compress -c $codec --stats stats -o wire.pms full.pms
		[ "$(counter coded)" -eq 3 ]
		[ "$(counter kept)" -eq 1 ]
		[ "$(counter bytes_in)" -eq "$(size full.pms)" ]
		[ "$(counter bytes_out)" -eq "$(size wire.pms)" ]
	done
}

@test "what is compressed already passes as it is" {
	stage chain.pms
	pm-compress -c lz4 -o wire.pms chain.pms
	for codec in zstd lz4; do
		pm-compress -c $codec -l 9 -o again.pms wire.pms
		pm-compress -d again.pms | cmp - chain.pms
		pm-info --list again.pms | grep -q 'codec lz4'
		run ! bash -c 'pm-info --list again.pms | grep "codec zstd"'
	done
}

@test "-d restores a mix of codecs" {
	stage full.pms one.pms two.pms chain.pms
	{
		pm-compress -c zlib full.pms
		cat one.pms
		pm-compress -c lz4 two.pms
	} >mix.pms
	{
		pm-compress -c lz4 -l 12 full.pms
		pm-compress -c zstd -l 19 one.pms
		pm-compress -c zlib two.pms
	} >another.pms
	for threads in 1 2 4; do
		pm-compress -d -j $threads mix.pms | cmp - chain.pms
		pm-compress -d -j $threads another.pms | cmp - chain.pms
		pm-compress -d -j $threads chain.pms | cmp - chain.pms
	done
}

damage() { # FILE RECORD OFFSET: at so many bytes into the payload
	local at entries
	read -r at entries < <(pm-info --list "$1" |
	    sed -n "s/^$2 \([0-9]*\) pages .* entries \([0-9]*\) .*/\1 \2/p")
	printf 'DAMAGEDDAMAGEDDAMAGED' | dd of="$1" bs=1 conv=notrunc \
	    seek=$((at + 48 + 8 * entries + $3)) status=none
	place="record $2 at byte $at"
}

@test "a damaged payload is named, whatever the codec and the threads" {
	stage full.pms
	for codec in zstd lz4 zlib; do
		pm-compress -c $codec -o wire.pms full.pms
		for record in 2 3; do
			cp wire.pms bad.pms
			damage bad.pms $record 0
			for threads in 1 2 4; do
				run -3 --separate-stderr pm-compress -d \
				    -j $threads -o out bad.pms
				[[ "$stderr" == "pm-compress: bad.pms: \
$place: $codec payload "* ]]
				[ "${#stderr_lines[@]}" -eq 1 ]
				[ ! -e out ]
			done
			# It passes who does not look into it.
			pm-compress bad.pms | cmp - bad.pms
		done
	done
}

@test "damage in the midst of a payload stops here or at the sink" {
	stage full.pms
	for codec in zstd lz4 zlib; do
		pm-compress -c $codec -o wire.pms full.pms
		for at in 1 10 1000 5000; do
			cp wire.pms bad.pms
			damage bad.pms 2 $at
			run bash -c 'set -o pipefail
			    pm-compress -d bad.pms | pm-apply target.img'
			[ "$status" -eq 3 ]
			[ ! -e target.img ]
			run -3 bash -c 'pm-apply target.img <bad.pms'
			[[ "$output" == "pm-apply: <stdin>: $place: "* ]]
			run -3 pm-info --verify bad.pms
			[ ! -e target.img ]
		done
	done
}

@test "of two damaged records the first is told, each time" {
	stage big.pms
	pm-compress -c lz4 -o bad.pms big.pms
	damage bad.pms 21 0
	damage bad.pms 20 0
	for _ in {1..15}; do
		run -3 pm-compress -d -j 8 -o out bad.pms
		[[ "$output" == "pm-compress: bad.pms: $place: lz4 "* ]]
	done
	# The same with an input that ends too early behind it.
	head -c "$(($(size bad.pms) - 10))" bad.pms >cut.pms
	for _ in {1..15}; do
		run -3 pm-compress -d -j 8 -o out cut.pms
		[[ "$output" == "pm-compress: cut.pms: $place: lz4 "* ]]
	done
}

@test "what came before a failure is written, for any number of threads" {
	stage big.pms
	pm-compress -o bad.pms big.pms
	damage bad.pms 25 0
	for threads in 1 2 8; do
		run -3 bash -c "pm-compress -d -j $threads bad.pms \
		    2>err >out.$threads"
	done
	[ "$(size out.1)" -gt 5000000 ]
	cmp -n "$(size out.1)" out.1 big.pms
	cmp out.1 out.2
	cmp out.1 out.8
}

@test "wrong options are refused before anything is read" {
	for bad in "-c gzip" "-c ZSTD" "-c zstd1" "-l x" "-j x" "-l 20" \
	    "-c lz4 -l 13" "-c zlib -l 10" "-j 0" "--best"; do
		# shellcheck disable=SC2086
		run -2 --separate-stderr pm-compress $bad -o out nowhere
		[ -z "$output" ]
		[ "${#stderr_lines[@]}" -eq 2 ]
	done
	run -2 pm-compress -c "" nowhere
	[[ "$output" == *"not zstd, lz4 or zlib"* ]]
}

@test "memory does not grow with the stream" {
	stage big.img
	cat big.img big.img big.img big.img big.img >long.img
	pm-snapshot -o short.pms big.img
	pm-snapshot -o long.pms long.img
	for how in "-j 1" "-j 2" "-d -j 1" "-d -j 2"; do
		for stream in short long; do
			pm-compress -c lz4 -o wire.pms $stream.pms
			# shellcheck disable=SC2086
			pm-compress $how --stats stats -o out wire.pms
			counter peak_rss >$stream.rss
		done
		# All the slots may not have been used for the short one.
		[ "$(cat long.rss)" -lt $(($(cat short.rss) + 3000000)) ]
	done
}

allocations() { # ARGUMENT...: of pm-compress
	COUNT_MALLOC=count LD_PRELOAD=./count_malloc.so \
	    pm-compress -o out "$@"
	cat count
}

@test "nothing is allocated while records flow" {
	if readelf -Ws "$(command -v pm-compress)" | grep -q '__[at]san_init'
	then
		skip "a sanitizer has an allocator of its own"
	fi
	"${CC:-cc}" -shared -fPIC -o count_malloc.so \
	    "$BATS_TEST_DIRNAME/preload/count_malloc.c" -ldl
	seq 10000000 | head -c "$((2000 * 4096))" >long.img
	head -c "$((200 * 4096))" long.img >short.img
	for length in short long; do
		pm-snapshot --record-size 4K -o $length.pms $length.img
	done
	for codec in zstd lz4 zlib; do
		for threads in 1 2; do
			few=$(allocations -c $codec -j $threads short.pms)
			mv out short.wire
			many=$(allocations -c $codec -j $threads long.pms)
			[ "$few" -gt 0 ]
			# Not every thread may have had a record to code.
			[ "$many" -le $((few + 8)) ]
			few=$(allocations -d -j $threads short.wire)
			pm-compress -c $codec -o long.wire long.pms
			many=$(allocations -d -j $threads long.wire)
			[ "$many" -le $((few + 8)) ]
			cmp out long.pms
		done
	done
}
