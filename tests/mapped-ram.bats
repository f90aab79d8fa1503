#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# Migration files with pages at fixed places.  They are built by a helper from
# QEMU's description of them; no QEMU had a part in it.
load helper
load images
load process
load pipeline

teardown() {
	[ -z "${fed-}" ] || kill -9 "$fed" 2>/dev/null || :
}

guest() { # SEED: a.mr and b.mr, some pages later, and streams of both
	helper ramfile "$1" a.mr a.qemu
	helper ramfile "$1" b.mr b.qemu changed
}

map() { pm-snapshot --format=mapped-ram "$@"; }

id() { pm-info --format=mapped-ram --id "$1"; }

@test "a file gives the stream that QEMU writes without the capability" {
	guest 1
	map a.mr | pm-apply --format=qemu | cmp - a.qemu
	map a.mr | pm-delta | pm-compress | pm-compress -d | pm-delta -d |
	    pm-apply --format=qemu | cmp - a.qemu
	map - <a.mr | pm-apply --format=qemu | cmp - a.qemu
	pm-snapshot a.mr | cmp - <(map a.mr)
	[ "$(id a.mr)" = "$(pm-snapshot --format=qemu a.qemu |
	    pm-info --json | sed 's/.*"to":"\([0-9a-f]*\)".*/\1/')" ]
}

@test "a sparse save image of libvirt is such a file" {
	helper ramfile 2 l.mr l.qemu libvirt
	map l.mr | pm-apply --format=qemu | cmp - l.qemu
	run -1 --separate-stderr pm-snapshot l.mr
	[[ "$stderr" == *"is a sparse save image, whose pages stand apart from the stream: --format=mapped-ram reads it" ]]
}

@test "what differs is sent, by a base and by a table" {
	guest 3
	map --save-table t a.mr -o full.pms
	map --since t --save-table t2 --stats stats b.mr -o since.pms
	[ "$(value stats pages_raw)" -gt 0 ]
	[ "$(value stats pages_raw)" -lt 200 ]
	[ "$(value stats from)" = "$(id a.mr)" ]
	map --base a.mr -o base.pms b.mr
	[ "$(pm-info --json base.pms | sed 's/.*"to":"\([0-9a-f]*\)".*/\1/')" \
	    = "$(id b.mr)" ]
	# One table and another file are as good as a whole file.
	map --since t2 --stats stats b.mr >/dev/null
	[ "$(value stats pages_raw)" -eq 0 ]
	for inc in since base; do
		cat full.pms $inc.pms | pm-apply --format=mapped-ram made.mr
		[ "$(id made.mr)" = "$(id b.mr)" ]
	done
	cat full.pms since.pms | pm-apply --region pc.bios bios
	map b.mr | pm-apply --region pc.bios bios2
	cmp bios bios2
	[ "$(size bios)" -eq $((130 * 4096)) ]
}

@test "a stream becomes a file, which gives the same memory and devices" {
	guest 4
	map a.mr | pm-delta | pm-compress |
	    pm-apply --format=mapped-ram made.mr >told
	[ "$(cat told)" = "$(id a.mr)" ]
	[ "$(id made.mr)" = "$(id a.mr)" ]
	[ "$(stat -c %a made.mr)" = 600 ]
	[ "$(blocks made.mr)" -le "$(blocks a.mr)" ]
	# It has one empty section more, where the stream had its pages.
	map made.mr | pm-apply --format=qemu -o made.qemu
	[ "$(size made.qemu)" -eq $(($(size a.qemu) + 18)) ]
	tail -c 400000 made.qemu | cmp - <(tail -c 400000 a.qemu)
	# From a migration stream it is the same file.
	pm-snapshot --format=qemu a.qemu |
	    pm-apply --format=mapped-ram other.mr
	cmp made.mr other.mr
	# What is there is replaced, and keeps its mode.
	chmod 640 made.mr
	map b.mr | pm-apply --format=mapped-ram made.mr
	[ "$(id made.mr)" = "$(id b.mr)" ]
	[ "$(stat -c %a made.mr)" = 640 ]
	[ "$(names | sort | xargs)" = \
	    'a.mr a.qemu b.mr b.qemu made.mr made.qemu other.mr told' ]
}

@test "a stream that is cut makes no file, and leaves the one there" {
	guest 5
	map --save-table t a.mr -o full.pms
	map --since t -o inc.pms b.mr
	image made.mr 5000
	before=$(sha256sum <made.mr)
	for ((at = 100; at < $(size full.pms); at += 200003)); do
		head -c "$at" full.pms >cut.pms
		run -3 --separate-stderr pm-apply --format=mapped-ram made.mr \
		    <cut.pms
		[ -z "$output" ]
		[ "$(sha256sum <made.mr)" = "$before" ]
	done
	# Of a chain, the last stream counts, or none.
	cat full.pms inc.pms | head -c -1 >cut.pms
	run -3 pm-apply --format=mapped-ram made.mr <cut.pms
	[ "$(sha256sum <made.mr)" = "$before" ]
	run -3 --separate-stderr pm-apply --format=mapped-ram made.mr <inc.pms
	[[ "$stderr" == *"the stream is not a full one; put that before it" ]]
	[ "$(sha256sum <made.mr)" = "$before" ]
}

@test "one that is killed leaves nothing" {
	guest 6
	map a.mr -o full.pms
	mkfifo feed
	pm-apply --format=mapped-ram made.mr <feed >told 3>&- &
	fed=$!
	exec 6>feed
	head -c 2000000 full.pms >&6
	eventually has_file
	kill -9 "$fed"
	wait "$fed" || :
	exec 6>&-
	[ ! -s told ]
	[ "$(names | sort | xargs)" = 'a.mr a.qemu b.mr b.qemu feed full.pms told' ]
}

@test "where files must have names, one that fails leaves none of them" {
	guest 6
	map a.mr | head -c -1 >cut.pms
	run -3 --separate-stderr timeout 60 strace -f -o trace -P . \
	    -e trace=openat -e inject=openat:error=EOPNOTSUPP \
	    pm-apply --format=mapped-ram made.mr <cut.pms
	# The file itself, and what it takes for foreign bytes.
	[ "$(grep -c 'O_TMPFILE.*INJECTED' trace)" -eq 2 ]
	[ "$(names | sort | xargs)" = 'a.mr a.qemu b.mr b.qemu cut.pms trace' ]
}

has_file() { find "/proc/$fed/fd" -lname '*(deleted)' | grep -q .; }

@test "what cannot be done is refused" {
	guest 7
	helper ramfile 8 l.mr l.qemu libvirt
	image img 50000
	refused() { # STATUS MESSAGE COMMAND...
		run "-$1" --separate-stderr "${@:3}"
		echo "$stderr"
		[[ "${stderr_lines[0]}" == *"$2"* ]]
	}
	refused 1 "img: is no migration of QEMU" map img
	refused 1 "without the capability mapped-ram; --format=qemu reads it" \
	    map a.qemu
	refused 1 "is a migration file, which nobody has in use as memory" \
	    map --live a.mr
	refused 2 "--region: a.mr is a migration file" \
	    map --region a:0: a.mr
	refused 2 "not auto, raw, core or mapped-ram" \
	    pm-info --format=none --id a.mr
	map -o a.pms a.mr
	for how in --in-place --trust-table; do
		refused 2 "--format=mapped-ram replaces TARGET without reading it; leave $how out" \
		    pm-apply --format=mapped-ram $how made.mr <a.pms
	done
	refused 2 "--region is for images" \
	    pm-apply --format=mapped-ram --region pc.ram made.mr <a.pms
	pm-snapshot -o img.pms img
	refused 1 "has no foreign bytes of QEMU, which a migration file needs" \
	    pm-apply --format=mapped-ram made.mr <img.pms
	refused 1 "holds foreign bytes that an image has no place for" \
	    pm-apply made <a.pms
	head -c -1 a.mr >cut.mr
	refused 3 "cut.mr: the migration ends early" map cut.mr
	refused 3 "<stdin>: the migration ends early" map - <cut.mr
	for file in a.mr l.mr; do
		refused 1 "$file: is a migration file in which pages have places, which --format=mapped-ram reads; --format=raw takes" \
		    pm-info --id $file
	done
	[ ! -e made.mr ]
}
