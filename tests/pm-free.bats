#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# Pages that a bitmap says are free.
load helper
load images
load process
load live

teardown() {
	end_started
	[ -z "$shm" ] || rm -rf "$shm"
}

shm='' tracker=()

# bitmap PAGES ORDER FIRST-LAST...: with these pages free
bitmap() {
	printf '%s\n' "${@:3}" | awk -F- -v pages="$1" -v order="$2" '
	{ for (i = $1; i <= $NF; i++) free[i] = 1 }
	END {
		for (i = 0; i < pages; i += 8) {
			byte = 0
			for (j = 0; j < 8; j++)
				if (i + j in free)
					byte += 2 ^ (order == "lsb" ? j : 7 - j)
			printf "%02x", byte
		}
	}' | xxd -r -p
}

# The same of all pages, however many.
ones() { # PAGES
	head -c $(($1 / 8)) /dev/zero | tr '\0' '\377'
	[ $(($1 % 8)) -eq 0 ] || bitmap $(($1 % 8)) lsb "0-$(($1 % 8 - 1))"
}

free_in() { # FILE FIRST-LAST...: nothing is there
	local file=$1 run

	shift
	for run; do
		punch "$file" $((${run%-*} * 4096)) \
		    $(((${run#*-} - ${run%-*} + 1) * 4096))
	done
}

# An image of 1000 pages, those that are free, and what is to come of both.
some=(3-40 64-64 100-227 990-999)
some_count=177
draw() {
	image a $((1000 * 4096))
	bitmap 1000 lsb "${some[@]}" >map
	cp a wants
	free_in wants "${some[@]}"
}

@test "free pages are gone, and holes where they arrive" {
	draw
	pm-snapshot --free-bitmap map --stats stats a -o a.pms
	[ "$(value stats pages_free)" -eq $some_count ]
	[ "$(value stats pages_gone)" -eq $some_count ]
	[ "$(value stats pages_raw)" -eq $((1000 - some_count)) ]
	[ "$(value stats pages_read)" -eq $((1000 - some_count)) ]
	[ "$(pm-apply b <a.pms)" = "$(value stats to)" ]
	cmp b wants
	[ "$(blocks b)" -lt "$(blocks a)" ]
	[ "$(pm-info --id b)" = "$(value stats to)" ]
	pm-info --verify a.pms
	# What was there before is there no more.
	cp a b
	pm-apply --in-place b <a.pms
	cmp b wants
	[ "$(blocks b)" -lt "$(blocks a)" ]
	# There is nothing that could be free.
	: >none
	pm-snapshot --free-bitmap /dev/null none >none.pms
	[ "$(pm-info --json none.pms | grep -o '"gone":[0-9]*')" = '"gone":0' ]
}

@test "bits are in one order or in the other" {
	draw
	pm-snapshot --free-bitmap map a -o a.pms
	pm-snapshot --free-bitmap map --bit-order lsb a | cmp - a.pms
	pm-snapshot --free-bitmap map --bit-order msb a | pm-apply b
	run -1 cmp b wants
	bitmap 1000 msb "${some[@]}" >map
	pm-snapshot --free-bitmap map --bit-order msb a | cmp - a.pms
	# In whole words, and from a pipe.
	truncate -s 128 map
	pm-snapshot --free-bitmap map --bit-order=msb a | cmp - a.pms
	pm-snapshot --free-bitmap <(cat map) --bit-order=msb a | cmp - a.pms
}

@test "a bitmap is of a region" {
	local cut=(--region low:0x0:256K --region high:0x100000:)

	draw
	bitmap 64 lsb 5-9 >low
	bitmap 936 lsb 0-99 900-935 >high
	cp a low.wants
	free_in low.wants 5-9
	cp a high.wants
	free_in high.wants 64-163 964-999
	pm-snapshot "${cut[@]}" --free-bitmap low:low a | pm-apply b
	cmp b low.wants
	pm-snapshot "${cut[@]}" --free-bitmap high:high a | pm-apply b
	cmp b high.wants
	# That with most pages, unless named.
	pm-snapshot "${cut[@]}" --free-bitmap high a | pm-apply b
	cmp b high.wants
	# A file goes by its whole name if it is there.
	cp low high:low
	run -1 --separate-stderr pm-snapshot "${cut[@]}" --free-bitmap \
	    high:low -o out a
	[[ $stderr == *'high:low: has 8 bytes, and a bitmap of 936 pages'* ]]
	pm-snapshot "${cut[@]}" --free-bitmap high:low:low a | pm-apply b
	cmp b low.wants
	run -1 --separate-stderr pm-snapshot "${cut[@]}" --free-bitmap \
	    high:higher -o out a
	[[ $stderr == *'no region higher, only low, high' ]]
	[ ! -e out ]
}

@test "what is no such bitmap is refused" {
	local size

	draw
	for size in 0 1 124 126 127 129 1000000; do
		head -c "$size" /dev/zero >bad
		run -1 --separate-stderr pm-snapshot --free-bitmap bad -o out a
		[[ $stderr == *"bad: has $size bytes, and a bitmap of 1000 pages has 125" ]]
	done
	# As long as it takes, a word more, and without end.
	run -1 --separate-stderr timeout 10 pm-snapshot -o out a \
	    --free-bitmap /dev/zero
	[[ $stderr == *'has at least'* ]]
	bitmap 1008 lsb 1000-1000 >bad
	truncate -s 128 bad
	run -1 --separate-stderr pm-snapshot --free-bitmap bad -o out a
	[[ $stderr == *'bad: has bits behind those of 1000 pages' ]]
	run -1 --separate-stderr pm-snapshot --free-bitmap . -o out a
	[[ $stderr == *': Is a directory' ]]
	run -1 --separate-stderr pm-snapshot --free-bitmap nothing -o out a
	[[ $stderr == *'nothing: No such file or directory' ]]
	run -1 mortal pm-snapshot --free-bitmap <(cat map) -o /dev/full a
	[ ! -e out ]
}

@test "options that make no sense are refused" {
	draw
	run -2 pm-snapshot --bit-order lsb -o out a
	run -2 pm-snapshot --free-bitmap map --bit-order big -o out a
	run -2 pm-snapshot --free-bitmap map: -o out a
	run -2 pm-snapshot --free-bitmap map -o map a
	run -2 --separate-stderr pm-snapshot --live --verify --free-bitmap \
	    map -o out a
	[[ $stderr == *'--verify, which trusts no tracker'* ]]
	[ ! -e out ]
}

@test "an incremental stream tells of free pages that had content" {
	local how

	draw
	# Pages that had nothing: some of those that are free, and others.
	cp a old
	punch old $((100 * 4096)) $((50 * 4096))
	punch old $((800 * 4096)) $((10 * 4096))
	poke a $((64 * 4096)) 'a free page that changed'
	poke a $((500 * 4096)) 'another that did'
	cp a wants
	free_in wants "${some[@]}"
	pm-snapshot --save-table t old >/dev/null
	for how in base=old since=t; do
		pm-snapshot --"$how" --free-bitmap map --save-table t2 -j 1 \
		    --stats stats a -o i.pms
		[ "$(value stats pages_gone)" -eq $((some_count - 50)) ]
		[ "$(value stats pages_raw)" -eq 11 ]
		cp old b
		[ "$(pm-apply b <i.pms)" = "$(value stats to)" ]
		cmp b wants
		pm-snapshot --"$how" --free-bitmap map -j 4 a | cmp - i.pms
		# The table is of what was sent.
		pm-snapshot --since t2 wants --stats stats >/dev/null
		[ "$(value stats from)" = "$(value stats to)" ]
		[ "$(value stats records)" -eq 3 ]
		pm-snapshot --since t2 --free-bitmap map a --stats stats \
		    >/dev/null
		[ "$(value stats from)" = "$(value stats to)" ]
		[ "$(value stats pages_gone)" -eq 0 ]
	done
}

@test "pages of a migration file" {
	helper ramfile 1 a.mr a.qemu
	pm-snapshot a.mr | pm-apply --region pc.ram a
	ones $(($(size a) / 4096)) >map
	pm-snapshot --free-bitmap map:pc.ram --stats stats a.mr -o b.pms
	[ "$(value stats pages_gone)" -eq $(($(size a) / 4096)) ]
	pm-apply --region pc.ram b <b.pms
	cmp b <(head -c "$(size a)" /dev/zero)
	# And QEMU is never told of them.
	pm-apply --format=qemu <b.pms >b.qemu
	pm-snapshot a.mr --stats stats >/dev/null
	[ $(($(size b.qemu) + 4096 * 50)) -lt "$(size a.qemu)" ]
	pm-snapshot b.qemu | pm-apply --region pc.ram c
	cmp b c
}

@test "pages of a migration stream" {
	helper migration 64 1 >m
	pm-snapshot m | pm-apply --region pc.ram wants
	bitmap 64 lsb 0-7 20-23 63-63 >map
	free_in wants 0-7 20-23 63-63
	pm-snapshot --free-bitmap map --stats stats m -o m.pms
	[ "$(value stats pages_free)" -eq 13 ]
	[ "$(value stats pages_gone)" -eq 13 ]
	[ "$(value stats pages_raw)" -eq 51 ]
	[ "$(pm-apply --region pc.ram b <m.pms)" = "$(value stats to)" ]
	cmp b wants
	pm-snapshot --free-bitmap map:pc.ram m | cmp - m.pms
	# shellcheck disable=SC2002
	cat m | pm-snapshot --free-bitmap <(cat map) - |
	    pm-apply --region pc.ram b
	cmp b wants
	pm-apply --format=qemu <m.pms | pm-snapshot - |
	    pm-apply --region pc.ram b
	cmp b wants
	run -1 --separate-stderr pm-snapshot --free-bitmap map:ram m -o out
	[[ $stderr == *'no region ram, only pc.ram' ]]
	run -1 pm-snapshot --free-bitmap m m -o out
	[ ! -e out ]
}

@test "a page that a migration sends again is in use" {
	helper migration 64 2 >m
	pm-snapshot m | pm-apply --region pc.ram wants
	bitmap 64 lsb 0-7 20-23 >map
	pm-snapshot --free-bitmap map --stats stats m -o m.pms
	[ "$(value stats pages_free)" -eq 12 ]
	[ "$(value stats pages_gone)" -eq 0 ]
	[ "$(value stats pages_raw)" -eq 116 ]
	pm-apply --region pc.ram b <m.pms
	cmp b wants
}

@test "pages of a migration that an earlier one had" {
	helper migration 64 1 >m
	bitmap 64 lsb 0-7 20-23 >map
	pm-snapshot --save-table t m -o a.pms
	pm-snapshot --since t --save-table t2 --free-bitmap map --stats stats \
	    m -o b.pms
	[ "$(value stats pages_gone)" -eq 12 ]
	[ "$(value stats pages_raw)" -eq 0 ]
	cat a.pms b.pms | pm-apply --region pc.ram b
	pm-apply --region pc.ram wants <a.pms
	free_in wants 0-7 20-23
	cmp b wants
	pm-snapshot --since t2 --free-bitmap map --stats stats m -o c.pms
	[ "$(value stats from)" = "$(value stats to)" ]
	[ "$(value stats pages_gone)" -eq 0 ]
}

# The pages of the target's memory, in one line.
line() { # OPTIONS...
	local said

	said=$(snapshot --pid "$target" --free-bitmap /dev/null "$@" 2>&1 \
	    >/dev/null) || :
	sed -n 's/.*bitmap of \([0-9]*\) pages.*/\1/p' <<<"$said"
}

@test "pages of a process" {
	local count

	chance
	track file-shared 2000 file
	[ "$(line --map '*/file')" -eq 2048 ]
	bitmap 2048 lsb 0-99 1000-1999 >map
	kill -STOP "$target"
	eventually in_state T
	snapshot --pid "$target" --map '*/file' | pm-apply wants
	snapshot --pid "$target" --map '*/file' --free-bitmap map \
	    --stats stats -o a.pms
	[ "$(value stats pages_free)" -eq 1100 ]
	[ $(($(value stats pages_raw) + $(value stats pages_zero))) -eq 948 ]
	[ "$(value stats frozen_us)" -gt 0 ]
	[ "$(pm-apply b <a.pms)" = "$(value stats to)" ]
	# The 8 MiB stand at the end of the core file.
	count=$(($(size wants) / 4096 - 2048))
	cp wants holes
	free_in holes $count-$((count + 99)) $((count + 1000))-$((count + 1999))
	cmp b holes
	# A core file goes by its mappings just as well.
	pm-snapshot --free-bitmap map --stats stats wants -o c.pms
	[ "$(value stats pages_free)" -eq 1100 ]
	pm-apply c <c.pms
	cmp c holes
	# A process has no regions.
	run -1 --separate-stderr snapshot --pid "$target" --map '*/file' \
	    --free-bitmap map:process -o out
	[[ $stderr == *'region process: '*' has mappings'* ]]
	[ ! -e out ]
	kill -CONT "$target"
	is_intact
}

@test "free pages of a process are not spooled" {
	chance
	track file-shared 2000 file
	ones 2048 >map
	kill -STOP "$target"
	eventually in_state T
	snapshot --pid "$target" --map '*/file' --free-bitmap map |
	    pm-apply direct
	# Nobody but the spool has a limit.
	(
		ulimit -f 1024
		snapshot --pid "$target" --map '*/file' --free-bitmap map \
		    --spool . | cat
	) >spooled
	pm-apply b <spooled
	cmp b direct
	# And it would meet it.
	# shellcheck disable=SC2016
	run ! bash -o pipefail -c 'ulimit -f 1024
	    timeout 30 pm-snapshot --pid "$1" --map "*/file" --spool . |
	    cat >/dev/null' bash "$target"
	kill -CONT "$target"
	is_intact
}

# A page is what it was at the stop, or it is gone and was not written since
# its bit was given away.
is_right() { # BEFORE TRUTH GOT
	helper differ "$2" "$3" >differing
	helper differ "$1" "$2" | cut -d' ' -f1 >written
	cut -d' ' -f1 differing | comm -12 - written >wrong
	[ ! -s wrong ]
	# Those that differ hold nothing.
	run ! grep -v ' zero$' differing
	[ -s written ]
}

# Another process, which writes to the same memory, is brought to rest.
rest() { # KIND
	[ "$1" = other ] || return 0
	read -r other <told
	end_later "$other"
	stop=(--stop-command "kill -STOP $other
	    until grep -q '^State:.*T' /proc/$other/status; do :; done")
}

# leaves_out KIND [MOST [OPTIONS...]]: all of a process is free when the
# bitmap is asked for, and no more than so many pages are sent at first
leaves_out() {
	local pages writer other='' stop=()

	chance
	track "$1" 1000 ${mem:+"$mem"}
	rest "$1"
	pages=$(line "${@:3}")
	mkfifo map
	(
		exec 9>map
		snapshot --pid "$target" "${@:3}" >before.pms
		ones "$pages" >&9
	) 3>&- &
	writer=$!
	end_later "$writer"
	(
		set -o pipefail
		live --max-rounds 4 --force --then stop --free-bitmap map \
		    --stats stats "${stop[@]}" "${tracker[@]}" "${@:3}" | helper slow 65536 1 >live.pms
	)
	wait "$writer"
	eventually in_state T
	snapshot --pid "$target" "${@:3}" >full.pms
	[ "$(pm-apply live.core <live.pms)" = "$(value stats to)" ]
	pm-apply before.core <before.pms
	pm-apply full.core <full.pms
	[ "$(value stats pages_free)" -eq "$pages" ]
	[ "$(first_round stats)" -le "${2-$pages}" ]
	is_right before.core full.core live.core
	[ -z "$other" ] || kill -CONT "$other"
	is_intact
}

# Of its first round; the list begins with it.
first_round() { grep -o '"round_pages":\[[0-9]*' "$1" | grep -o '[0-9]*$'; }

# What is written to free pages is sent, and nothing else, if a tracker knows.

@test "free pages of a live process: anonymous memory" { leaves_out anon 1500; }

@test "free pages of a live process: huge pages" { leaves_out thp; }

@test "free pages of a live process: shared memory" { leaves_out shared 1500; }

@test "free pages of a live process: a file without a name" {
	leaves_out memfd 1500 --map '/memfd*'
}

@test "free pages of a live process: a file, private" {
	mem=$PWD/file
	leaves_out file-private
}

@test "free pages of a live process: dropped ones" { leaves_out dropped; }

@test "free pages of a live process: freed ones" { leaves_out freed; }

@test "free pages of a live process: mapped twice" { leaves_out twice; }

@test "free pages of a live process: others write" { leaves_out other; }

@test "free pages of a live process: pinned" {
	mem=$PWD/file
	leaves_out uring
}

# A file in use, of which the target has touched nearly all.
in_use() {
	chance
	shm=$(mktemp -d /dev/shm/pm-test-XXXXXX)
	mem=$shm/file
	track file-shared 3000 "$mem"
	eventually is_touched
}

is_touched() {
	[ "$(sed -n '/file$/,/^Rss:/s/^Rss: *\([0-9]*\) .*/\1/p' \
	    "/proc/$target/smaps" | head -n 1)" -gt 7500 ]
}

# The same of a file, by its name.
leaves_out_of_file() { # OPTIONS...
	local writer

	in_use
	mkfifo map
	(
		exec 9>map
		cp "$mem" before
		ones 2048 >&9
	) 3>&- &
	writer=$!
	end_later "$writer"
	(
		set -o pipefail
		snapshot --live "$mem" --max-downtime 0ms --max-rounds 4 \
		    --force --then stop --free-bitmap map --stats stats "$@" |
		    helper slow 65536 1 >live.pms
	)
	wait "$writer"
	eventually in_state T
	cp "$mem" truth
	[ "$(value stats pages_free)" -eq 2048 ]
}

# Whoever asks for the tracker answers for processes that are not seen.
@test "free pages of a file in use" {
	leaves_out_of_file --tracker uffd
	[ "$(pm-apply got <live.pms)" = "$(value stats to)" ]
	is_right before truth got
	[ -s differing ]
	[ "$(first_round stats)" -lt 1500 ]
	is_intact
}

@test "free pages of a file in use, which a table has" {
	local how

	in_use
	ones 2048 >map
	kill -STOP "$target"
	eventually in_state T
	pm-snapshot --save-table table "$mem" -o old.pms
	cp "$mem" truth
	for how in base=truth since=table; do
		snapshot --live "$mem" --tracker uffd --"$how" \
		    --free-bitmap map --stats stats --stop-command true \
		    -o live.pms
		[ "$(value stats pages_gone)" -gt 1700 ]
		[ "$(value stats pages_raw)" -eq 0 ]
		rm -f got
		cat old.pms live.pms | pm-apply got
		helper differ truth got >differing
		[ -s differing ]
		run ! grep -v ' zero$' differing
	done
	kill -CONT "$target"
	is_intact
}

@test "where no tracker knows, free pages are sent" {
	leaves_out_of_file --tracker hash 2>said
	grep -q 'free pages were sent too' said
	[ "$(value stats pages_gone)" -eq 0 ]
	pm-apply got <live.pms
	cmp got truth
	is_intact
}

@test "free pages by soft-dirty bits" {
	chance
	track anon 3000
	snapshot --pid "$target" --live --tracker soft-dirty >/dev/null ||
	    skip 'the kernel has no soft-dirty bits'
	end_started
	tracker=(--tracker soft-dirty)
	leaves_out anon 1500
}
