#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
# Images as sources; processes have a file of their own.
load helper
load images

pages() { # STREAM: its records of pages, without where they stand
	pm-info --list "$1" | awk '$3 == "pages" { $1 = $2 = ""; print }'
}

arrives() { # IMAGE OPTION...: as it is, through a stream of those options
	rm -f copy
	pm-snapshot "${@:2}" "$1" | pm-apply copy >id
	cmp "$1" copy
}

@test "an image of any size comes back" {
	for bytes in 0 1 63 64 4095 4096 4097 262143 262144 262145 266240 \
	    1048575 1048577; do
		image img $bytes
		run -0 --separate-stderr bash -c 'pm-snapshot img >s.pms'
		[ -z "$output$stderr" ]
		pm-info --verify s.pms >/dev/null
		arrives img
	done
}

@test "pages and records of all sizes" {
	image img 1000001
	truncate -s 3M img
	for page in 4K 8K 16K 32K 64K; do
		for record in 64K 65537 256K 1M; do
			arrives img --page-size $page --record-size $record
		done
	done
	arrives img --record-size 4096
	pm-snapshot --page-size 64K --record-size 1M -o s.pms img
	run -0 pm-info --json s.pms
	[[ "$output" == *'"page_size":65536'*'"raw":16,'*'"zero":32,'* ]]
}

@test "sizes that cannot be are told apart from those that can" {
	image img 10000
	run -2 pm-snapshot -o out --page-size 128K img
	run -2 pm-snapshot -o out --page-size 5000 img
	run -2 pm-snapshot -o out --page-size 2K img
	run -2 pm-snapshot -o out --record-size 4095 img
	run -2 pm-snapshot -o out --record-size 1048577 img
	run -2 pm-snapshot -o out --page-size 64K --record-size 32K img
	run -2 pm-snapshot -o out --page-size x img
	[ ! -e out ]
}

@test "holes are not read, and pages of zeroes are found" {
	truncate -s 64M img
	poke img 20000000 here
	zero img 40960000 40960
	pm-snapshot --stats stats -o s.pms img
	# A file system may keep more than a page together.
	[ "$(value stats pages_read)" -le 32 ]
	[ "$(value stats pages_raw)" -eq 1 ]
	[ "$(value stats pages_zero)" -eq 16383 ]
	[ "$(value stats pages)" -eq 16384 ]
	[ "$(size s.pms)" -lt 5000 ]
	arrives img
}

@test "no byte of a hole is asked for" {
	command -v strace >/dev/null || skip "needs strace"
	truncate -s 1G img
	poke img 500000000 here
	strace -f -e trace=pread64,read -o trace pm-snapshot -o s.pms img ||
	    skip "strace does not work here"
	[ "$(grep -c 'pread64(.*, 0x*[0-9]*) = [1-9]' trace)" -lt 20 ] ||
	    [ "$(grep -c pread64 trace)" -lt 20 ]
	[ "$(awk '/pread64/ { sum += $NF } END { print sum }' trace)" \
	    -lt 200000 ]
}

@test "1 TiB of nothing takes no time and no room" {
	truncate -s 1T img
	pm-snapshot --stats stats -o s.pms img
	[ "$(value stats elapsed_us)" -lt 10000000 ]
	[ "$(size s.pms)" -lt 500 ]
	pm-snapshot --stats stats --base img -o none.pms img
	[ "$(value stats elapsed_us)" -lt 10000000 ]
	pm-snapshot --save-table t -o /dev/null img
	[ "$(blocks t)" -lt 64 ]
	poke img 500000000000 here
	pm-snapshot --since t --stats stats -o one.pms img
	[ "$(value stats elapsed_us)" -lt 10000000 ]
	[ "$(value stats pages_raw)" -eq 1 ]
}

@test "equal input gives equal bytes" {
	helper scatter 1 3000000 img
	cp img other
	fallocate -d other
	pm-snapshot -o a.pms img
	pm-snapshot -o b.pms img
	(exec -a zzz pm-snapshot -o c.pms - <other)
	pm-snapshot <img >d.pms
	cmp a.pms b.pms
	cmp a.pms c.pms
	cmp a.pms d.pms
}

@test "standard input is a file or refused" {
	image img 10000
	pm-snapshot -o want.pms img
	pm-snapshot - <img | cmp - want.pms
	# From its start, wherever the descriptor is.
	{ head -c 5000 >/dev/null; pm-snapshot -o got.pms; } <img
	cmp got.pms want.pms
	run -2 --separate-stderr bash -c 'cat img | pm-snapshot >out'
	[[ "$stderr" == *"standard input is not a file"* ]]
}

@test "what is not there, or no file, is refused" {
	mkfifo pipe
	image img 5000
	run -1 --separate-stderr pm-snapshot -o out missing
	[ "$stderr" = "pm-snapshot: missing: No such file or directory" ]
	run -1 --separate-stderr pm-snapshot -o out .
	[ "$stderr" = "pm-snapshot: .: is not a regular file" ]
	run -1 --separate-stderr timeout 5 pm-snapshot -o out pipe
	[ "$stderr" = "pm-snapshot: pipe: is not a regular file" ]
	run -1 --separate-stderr pm-snapshot -o out --format raw /dev/zero
	[ "$stderr" = "pm-snapshot: /dev/zero: is not a regular file" ]
	run -1 --separate-stderr pm-snapshot -o out --base missing img
	[ "$stderr" = "pm-snapshot: missing: No such file or directory" ]
	run -2 pm-snapshot -o out img img
	[ ! -e out ]
}

@test "what may not be read is refused" {
	image img 5000
	chmod 0 img
	run -1 --separate-stderr mortal pm-snapshot -o out img
	[ "$stderr" = "pm-snapshot: img: Permission denied" ]
}

@test "a format that is known is refused by its name, unless it is raw" {
	known() { # BYTES NAME [STATUS: pm-snapshot tries to read it]
		printf '%b%01000d' "$1" 0 >img
		if [ -n "${3-}" ]; then
			run "-$3" --separate-stderr pm-snapshot -o out img
		else
			run -1 --separate-stderr pm-snapshot -o out img
			[[ "$stderr" == "pm-snapshot: img: is $2, "* ]]
			[[ "$stderr" == *"--format=raw"* ]]
		fi
		run -1 --separate-stderr pm-info --id img
		[[ "$stderr" == "pm-info: img: is $2, "* ]]
		[ ! -e out ]
		arrives img --format raw
		cp img new
		poke new 600 other
		pm-snapshot --format raw --base img new | pm-apply copy
		cmp copy new
	}
	known 'QEVM\0\0\0\03' "a QEMU migration stream" 3
	known LibvirtQemudSave "a libvirt save image" 3
	known LibvirtQemudPart "a libvirt save image" 1
	known makedumpfile "a flattened kdump file"
	known 'KDUMP   ' "a kdump file"
	known EMiL "a LiME dump"
	known AVML "an AVML dump"
	known '\x89PMS\r\n\x1a\n' "a page-record stream"
	known '\x89PMT\r\n\x1a\n' "a page table"
	run -2 pm-snapshot -o out --format cow img
}

@test "a core file of others is refused, unless it is raw" {
	printf '\x7fELF\x02\x01\x01%09d\x04\x00\x3e%01000d' 0 0 >img
	printf '\x00' | dd of=img bs=1 seek=7 conv=notrunc status=none
	run -1 --separate-stderr pm-snapshot -o out img
	[[ "$stderr" == *"is not a core file that pm-apply wrote" ]]
	run -1 pm-snapshot -o out --format core img
	arrives img --format raw
	cp img new
	poke new 600 other
	pm-snapshot --format raw --base img -o one.pms new
	pm-delta --base img <one.pms | pm-apply copy
	cmp copy new
	image img 5000
	run -1 pm-snapshot -o out --format core img
}

# changing HOW: while the snapshot waits for its reader, change its image
changing() {
	image img 8000000
	mkfifo pipe
	pm-snapshot "${@:2}" img >pipe 2>err 3>&- &
	local pid=$! status=0
	exec 5<pipe
	head -c 100 <&5 >/dev/null
	$1
	cat <&5 >/dev/null
	exec 5<&-
	wait $pid || status=$?
	[ "$status" -eq 1 ]
	[ "$(wc -l <err)" -eq 1 ]
	rm pipe
}

grow() { printf more >>img; }
shrink() { truncate -s 7000000 img; }
grow_base() { printf more >>old; }

@test "an image that grows while it is read is an error" {
	changing grow
	grep -q 'img: grew from 8000000 to 8000004 bytes while' err
}

@test "an image that shrinks while it is read is an error" {
	changing shrink
	grep -q 'img: shrank from 8000000 to 7000000 bytes while' err
}

@test "a base that grows while it is read is an error" {
	truncate -s 8000000 old
	changing grow_base --base old
	grep -q 'old: grew from 8000000 to 8000004 bytes while' err
}

@test "a stream that was not taken to its end leaves no table" {
	changing grow --save-table t
	[ ! -e t ]
	image img 8000000
	run -1 bash -c 'pm-snapshot --save-table t img >/dev/full'
	[ ! -e t ]
	[ "$(names)" = "$(printf 'err\nimg')" ]
}

@test "a base: the same, longer, shorter, with holes on either side" {
	image full 300000
	cp full changed
	poke changed 70000 changed
	cp full longer
	image more 500000
	tail -c 100000 more >>longer
	head -c 150001 full >shorter
	cp full holed
	punch holed 65536 65536
	cp full zeroed
	zero zeroed 65536 65536
	truncate -s 300000 nothing
	truncate -s 0 empty
	for from in full changed longer shorter holed zeroed nothing empty; do
		for to in full changed longer shorter holed zeroed nothing \
		    empty; do
			echo "# $from $to"
			pm-snapshot --base $from --stats stats -o s.pms $to
			[ "$(value stats from)" = "$(pm-info --id $from)" ]
			[ "$(value stats to)" = "$(pm-info --id $to)" ]
			cp --sparse=always $from target
			pm-apply target <s.pms
			cmp $to target
		done
	done
}

@test "an image that did not change makes a stream of no pages" {
	helper scatter 2 1000000 img
	pm-snapshot --base img --stats stats -o s.pms img
	[ "$(value stats pages_raw)$(value stats pages_zero)" = 00 ]
	[ "$(size s.pms)" -lt 500 ]
	[ "$(value stats pages_equal)" -eq "$(value stats pages_read)" ]
}

@test "a page table sends the same pages as its image" {
	for seed in 1 2 3 4 5 6; do
		helper scatter $seed 3000000 old
		cp --sparse=always old new
		helper scatter $((seed + 100)) $((2000001 + 500000 * seed)) new -
		pm-snapshot --save-table t --stats stats -o /dev/null old
		pm-snapshot --base old -o base.pms new
		pm-snapshot --since t --stats since -o since.pms new
		[ "$(value stats to)" = "$(value since from)" ]
		pages base.pms >a
		pages since.pms >b
		cmp a b
		[ -s a ]
		cp old target
		pm-apply --in-place target <since.pms
		cmp target new
	done
}

@test "a page table goes on from itself" {
	helper scatter 7 2000000 img
	pm-snapshot --save-table t -o chain.pms img
	for seed in 11 12 13 14; do
		helper scatter $seed $((1500000 + seed * 40000)) img -
		pm-snapshot --since t --save-table t img >>chain.pms
	done
	[ "$(pm-apply copy <chain.pms | tail -n 1)" = "$(pm-info --id img)" ]
	cmp img copy
	[ "$(names)" = "$(printf 'chain.pms\ncopy\nimg\nt')" ]
}

@test "a table of an empty image leads to a full stream" {
	truncate -s 0 img
	pm-snapshot --save-table t -o /dev/null img
	truncate -s 100000 img
	poke img 50000 here
	pm-snapshot --since t -o s.pms img
	pm-snapshot -o want.pms img
	cmp s.pms want.pms
}

@test "a table that is damaged, foreign or cut is refused" {
	image img 3000000
	pm-snapshot --save-table t -o /dev/null img
	bytes=$(size t)
	for at in 0 8 12 16 24 32 60 88 90 100 383 4096 5000 "$((bytes - 1))"; do
		cp t bad
		flip bad $at
		echo "# byte $at"
		run -1 --separate-stderr pm-snapshot -o out --since bad img
		[ "$stderr" = \
		    "pm-snapshot: bad: is not a page table, or damaged" ]
	done
	for cut in 0 7 95 400 4096 "$((bytes - 1))"; do
		head -c $cut t >bad
		run -1 pm-snapshot -o out --since bad img
	done
	cp t bad
	printf x >>bad
	run -1 pm-snapshot -o out --since bad img
	run -1 pm-snapshot -o out --since img img
	run -1 pm-snapshot -o out --since . img
	run -1 --separate-stderr pm-snapshot -o out --since missing img
	[ "$stderr" = "pm-snapshot: missing: No such file or directory" ]
	[ ! -e out ]
}

@test "old and new must have pages of one size" {
	image img 300000
	pm-snapshot --page-size 64K --save-table t -o /dev/null img
	run -1 --separate-stderr pm-snapshot --since t -o out img
	[[ "$stderr" == *"pages of 65536 bytes, not 4096" ]]
	pm-snapshot --page-size 64K --since t -o out img
}

@test "options that exclude each other" {
	image img 5000
	pm-snapshot --save-table t -o /dev/null img
	run -2 --separate-stderr pm-snapshot --base img --since t -o out img
	[[ "$stderr" == *"--base and --since exclude each other"* ]]
	run -2 pm-snapshot --map x -o out img
	run -2 pm-snapshot --spool . -o out img
	run -2 pm-snapshot --pid 1 -o out img
	cp img keep
	run -2 pm-snapshot --save-table img -o out img
	run -2 pm-snapshot --save-table img -o out --base img keep
	run -2 pm-snapshot --save-table /dev/null -o out img
	cmp img keep
	[ ! -e out ]
}

@test "regions are cut in order and come back as one file" {
	image img 300001
	truncate -s 400001 img
	cut=(--region low:0x0:64K --region mid:64K:131072
	    --region high:0x100000000:)
	pm-snapshot "${cut[@]}" -o s.pms img
	run -0 pm-info --json s.pms
	[[ "$output" == *'"name":"low","kind":"block","address":0,"length":65536,'* ]]
	[[ "$output" == *'"name":"mid","kind":"block","address":65536,"length":131072,'* ]]
	[[ "$output" == *'"name":"high","kind":"block","address":4294967296,"length":203393,'* ]]
	arrives img "${cut[@]}"
	# Names and addresses are part of what the memory is.
	[ "$(cat id)" != "$(pm-info --id img)" ]
	pm-snapshot "${cut[@]:0:4}" --region high:0x200000000: img |
	    pm-apply other >other.id
	cmp img other
	[ "$(cat id)" != "$(cat other.id)" ]
}

@test "regions change, and the last one grows and shrinks" {
	cut=(--region low:0:64K --region high:0x100000000:)
	helper scatter 3 400001 img
	pm-snapshot "${cut[@]}" --save-table t img | pm-apply target
	for seed in 4 5 6 7; do
		cp --sparse=always img old
		helper scatter $seed $((200000 + seed * 50001)) img -
		pm-snapshot "${cut[@]}" --base old -o base.pms img
		pm-snapshot "${cut[@]}" --since t --save-table t -o s.pms img
		pages base.pms >a
		pages s.pms >b
		cmp a b
		pm-apply target <s.pms
		cmp img target
	done
}

@test "regions come and go" {
	image img 300000
	a=(--region a:0:64K)
	ab=(--region a:0:64K --region b:1M:64K)
	head -c 65536 img >one
	head -c 131072 img >two
	poke two 70000 other
	pm-snapshot "${a[@]}" --save-table a.table one | pm-apply target
	pm-snapshot "${ab[@]}" --save-table b.table --since a.table two |
	    pm-apply target
	cmp two target
	poke one 5 changed
	pm-snapshot "${a[@]}" --since b.table one | pm-apply --in-place target
	cmp one target
	# Nothing of it goes on.
	pm-snapshot --region c:2M:64K --since a.table -o s.pms one
	run -0 pm-info --list s.pms
	[[ "$output" == *"length 0 was 65536 name a"* ]]
}

@test "regions that do not fit are refused" {
	image img 100000
	refused() { # STATUS MESSAGE OPTION...
		run "-$1" --separate-stderr pm-snapshot -o out "${@:3}" img
		[[ "$stderr" == *"$2"* ]]
		[ ! -e out ]
	}
	refused 1 "holds 100000 bytes, its regions 65536" --region a:0:64K
	refused 1 "holds 100000 bytes, its regions 131072" --region a:0:128K
	refused 1 "holds 100000 bytes, its regions 200704" \
	    --region a:0:200704 --region b:1M:
	refused 1 "region a is not a whole number of pages" \
	    --region a:0:50000 --region b:64K:
	refused 1 "region a is not a whole number of pages" \
	    --region a:0: --region b:64K:
	refused 2 "a: named twice" --region a:0:64K --region a:64K:
	refused 2 "bad address" --region a:0x1001:64K
	refused 2 "bad address" --region a:0x:64K
	refused 2 "bad address" --region a:0xffffffffffff0000:64K
	refused 2 "not NAME:ADDRESS:SIZE" --region a
	refused 2 "not NAME:ADDRESS:SIZE" --region a:0
	refused 2 "not NAME:ADDRESS:SIZE" --region :0:64K
	refused 2 "not a size" --region a:0:64Q
	refused 2 "not a size" --region a:x:64K
	refused 2 "not NAME:ADDRESS:SIZE" \
	    --region "$(printf 'a%.0s' {1..256}):0:"
	for ((i = 0; i < 1025; i++)); do many+=(--region "r$i:0:4K"); done
	refused 2 "more than 1024" "${many[@]}"
}

@test "regions in the middle come and go, but do not change places" {
	image img 196608
	abc=(--region a:0:64K --region b:1M:64K --region c:2M:64K)
	ac=(--region a:0:64K --region c:2M:64K)
	{ head -c 65536 img; tail -c 65536 img; } >two
	poke two 100000 other
	pm-snapshot "${abc[@]}" --save-table abc -o full.pms img
	pm-snapshot "${ac[@]}" --since abc --save-table ac -o 1.pms two
	pm-snapshot "${abc[@]}" --since ac -o 2.pms img
	pm-apply target <full.pms
	pm-apply target <1.pms
	cmp two target
	pm-apply target <2.pms
	cmp img target
	cat full.pms 1.pms 2.pms | pm-delta | pm-apply chain
	cmp img chain
	run -1 --separate-stderr pm-snapshot --region c:2M:64K \
	    --region a:0:64K --since abc -o out two
	[[ "$stderr" == *"regions changed places; only a full stream"* ]]
	[ ! -e out ]
}

@test "a region that moved is refused before it is sent" {
	image img 65536
	pm-snapshot --region a:0:64K --save-table t -o /dev/null img
	run -1 --separate-stderr \
	    pm-snapshot --region a:64K:64K --since t -o out img
	[[ "$stderr" == *"region a had another address"* ]]
}

@test "more regions than a stream can name are refused" {
	truncate -s 4M img
	for ((i = 0; i < 1024; i++)); do
		old+=(--region "a$i:0:4K")
		new+=(--region "b$i:0:4K")
	done
	pm-snapshot "${old[@]}" --save-table t -o full.pms img
	pm-info --verify full.pms >/dev/null
	run -1 --separate-stderr pm-snapshot "${new[@]}" --since t -o out img
	[[ "$stderr" == *"more than 1024 regions" ]]
}

@test "a record holds 4096 entries at most" {
	{ head -c 4096 /dev/zero | tr '\0' a; head -c 4096 /dev/zero; } >new
	tr '\0' b <new >old
	for ((i = 0; i < 13; i++)); do
		for file in old new; do
			cat $file $file >double
			mv double $file
		done
	done
	pm-snapshot --base old --stats stats -o s.pms new
	[ "$(value stats pages_zero)" -eq 8192 ]
	[ "$(pages s.pms | wc -l)" -eq 2 ]
	pm-info --verify s.pms >/dev/null
	pm-apply old <s.pms
	cmp old new
}

@test "the core file of a process is a source, whatever its pages are" {
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-process.hex" >s.pms
	pm-apply core <s.pms >id
	pm-snapshot -o again.pms core
	pm-apply other <again.pms >other.id
	cmp core other
	cmp id other.id
	[ "$(pm-info --id core)" = "$(cat id)" ]
	run -2 pm-snapshot --region a:0: -o out core
	run -1 pm-snapshot --base core -o out s.pms
}

@test "what it compares with is not overwritten" {
	image img 5000
	cp img old
	pm-snapshot --save-table table old >/dev/null
	for option in "--base old" "--since table"; do
		kept=${option#* }
		cp "$kept" before
		# shellcheck disable=SC2086	# two words
		run -2 --separate-stderr pm-snapshot $option -o "$kept" img
		[[ $stderr == *"${option% *}: $kept: is the output"* ]]
		cmp "$kept" before
	done
}
