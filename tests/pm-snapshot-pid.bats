#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
load helper
load process

teardown() { end_started; }

# A target that holds a text which is on nobody's command line, and 8 MB;
# it answers each line of the fifo "ask" in the file "told".
talker() {
	mkfifo ask
	# On one CPU, for the kernel notes in a thread's memory where it runs.
	taskset -c "$(cpu)" awk 'BEGIN {
		text = "needle" 6 * 7 "x"
		fill = sprintf("%8000000s", "y")
		print "ready" >"told"; close("told")
		while ((getline line <"ask") > 0) {
			text = text line
			print length(text) >"told"; close("told")
		}
	}' 3>&- &
	target=$!
	started+=("$target")
	disown "$target"
	exec 7>ask
	eventually grep -q ready told
	eventually in_state S
}

cpu() { taskset -cp $$ | sed 's/.*: //; s/[^0-9].*//'; }

# A target that is always busy.
spinner() {
	awk 'BEGIN { fill = sprintf("%8000000s", "y"); while (1) n++ }' 3>&- &
	target=$!
	started+=("$target")
	disown "$target"
	eventually grep -Eq 'VmRSS:\s+[0-9]{5,}' "/proc/$target/status"
}

ended_with() { # STATUS: the snapshot did
	local status=0

	wait "$snapshot" || status=$?
	[ "$status" -eq "$1" ]
}

no_spool_left() {
	local name

	for name in .pm-spool*; do
		[ ! -e "$name" ] || return 1
	done
}

talks() { # the number of letters that awk is to have by then
	echo "${1//?/}z" >&7
	eventually grep -qx "$2" told
	eventually in_state S
}

number() { # NAME FILE: of a --stats
	grep -o "\"$1\":[0-9]*" "$2" | cut -d: -f2
}

# Start a snapshot that nobody reads, so that the target stays frozen.
stall() {
	mkfifo pipe
	pm-snapshot --pid "$target" "$@" >pipe 3>&- &
	snapshot=$!
	started+=("$snapshot")
	exec 8<pipe
}

@test "what a process holds is in the core file, and it goes on" {
	talker
	run -0 --separate-stderr pm-snapshot --pid "$target" -o full.pms \
	    --stats stats
	[ -z "$output$stderr" ]
	[ "$(number frozen_us stats)" -gt 0 ]
	talks "" 10
	pm-apply core <full.pms
	grep -q needle42x core
	pm-info full.pms | grep -q 'region.*process, address space at 0'
}

@test "a process that did nothing gives the same bytes again" {
	talker
	pm-snapshot --pid "$target" -o one.pms
	pm-snapshot --pid "$target" -o two.pms
	pm-snapshot --pid "$target" --spool . -o three.pms
	cmp one.pms two.pms
	cmp one.pms three.pms
	no_spool_left
}

@test "only mappings that were named are carried" {
	talker
	pm-snapshot --pid "$target" --map '[heap]' -o heap.pms
	pm-apply heap.core <heap.pms
	grep -q needle42x heap.core
	pm-snapshot --pid "$target" --map '*/libc*' --map '/no/such' \
	    -o libc.pms
	pm-apply libc.core <libc.pms
	run -1 grep -q needle42x libc.core
	grep -q 'GNU C Library' libc.core
	pm-snapshot --pid "$target" --map /no/such -o none.pms --stats stats
	[ "$(number pages_read stats)" -eq 0 ]
	talks "" 10
}

@test "an increment brings the core file up to date" {
	talker
	pm-snapshot --pid "$target" --save-table table -o full.pms
	pm-apply core <full.pms
	talks "" 10
	pm-snapshot --pid "$target" --since table -o more.pms --stats stats
	[ "$(number pages_raw stats)" -lt 500 ]
	pm-apply core <more.pms
	grep -q needle42xz core
	pm-snapshot --pid "$target" -o again.pms
	pm-apply other <again.pms
	[ "$(pm-info --id core)" = "$(pm-info --id other)" ]
}

@test "a busy process stands still while it is read, and only then" {
	spinner
	stall
	eventually in_state t
	before=$(ticks)
	sleep 0.1
	[ "$(ticks)" -eq "$before" ]
	cat <&8 >late.pms
	ended_with 0
	runs
	pm-apply core <late.pms
}

@test "a spool lets it go before the stream is read" {
	spinner
	stall --spool "$PWD" --stats stats
	eventually in_state R
	runs
	sleep 1
	cat <&8 >late.pms
	ended_with 0
	[ "$(number frozen_us stats)" -lt 1000000 ]
	pm-apply core <late.pms
	no_spool_left
}

@test "it goes on when the snapshot is killed or nobody reads it" {
	spinner
	stall
	eventually in_state t
	kill -9 "$snapshot"
	runs
	rm pipe
	stall
	eventually in_state t
	exec 8<&-
	ended_with 141
	runs
	run bash -c 'pm-snapshot --pid "$1" | head -c 100000 >short
	    echo "${PIPESTATUS[0]}"' - "$target"
	[ "$output" = 141 ]
	runs
}

@test "a process that is killed meanwhile leaves no whole stream" {
	spinner
	stall
	eventually in_state t
	kill -9 "$target"
	cat <&8 >late.pms 3>&- &
	ended_with 1
	run -3 pm-info late.pms
}

@test "a stopped process stays stopped" {
	spinner
	kill -STOP "$target"
	eventually in_state T
	pm-snapshot --pid "$target" -o full.pms
	eventually in_state T
	sleep 0.05
	eventually in_state T
	kill -CONT "$target"
	runs
}

@test "a disk that cannot take the spool is named, and nothing stays frozen" {
	spinner
	run -1 --separate-stderr pm-snapshot --pid "$target" \
	    --spool /no/such/place -o full.pms
	[ "$stderr" = "pm-snapshot: /no/such/place: No such file or directory" ]
	run -1 --separate-stderr bash -c 'trap "" XFSZ; ulimit -f 1000
	    pm-snapshot --pid "$1" --spool "$PWD" -o full.pms' - "$target"
	[ "$stderr" = "pm-snapshot: $PWD: File too large" ]
	[ ! -e full.pms ]
	runs
}

@test "a process that is not there, or is not another, is refused" {
	sleep 100 3>&- &
	gone=$!
	kill "$gone"
	wait "$gone" || :
	run -1 --separate-stderr pm-snapshot --pid "$gone" -o x.pms
	[ "$stderr" = "pm-snapshot: process $gone does not exist" ]
	run -1 --separate-stderr sh -c 'exec pm-snapshot --pid $$ -o x.pms'
	[[ $stderr == "pm-snapshot: process "*" is this one" ]]
	run -2 pm-snapshot --pid 0 -o x.pms
	run -2 pm-snapshot --pid 1x -o x.pms
	[ ! -e x.pms ]
}

@test "a process that is traced already is refused, naming who traces it" {
	spinner
	stall
	eventually in_state t
	run -1 --separate-stderr pm-snapshot --pid "$target" -o x.pms
	[ "$stderr" = "pm-snapshot: process $target may not be traced: process\
 $snapshot does already" ]
	in_state t
}

@test "a thread of the kernel has no memory" {
	grep -q '^Kthread:.*1' /proc/2/status 2>/dev/null ||
	    skip "process 2 is no thread of the kernel"
	run -1 --separate-stderr pm-snapshot --pid 2 -o x.pms
	[ "$stderr" = "pm-snapshot: process 2 has no memory" ]
}

@test "a process of another user is refused" {
	[ "$(id -u)" -eq 0 ] || skip "needs root, to become someone else"
	command -v setpriv >/dev/null || skip "needs setpriv"
	spinner
	run -1 --separate-stderr bash -c 'setpriv --reuid 65534 --regid 65534 \
	    --clear-groups /dev/fd/9 --pid "$1" 9<"$(command -v pm-snapshot)" |
	    wc -c; exit "${PIPESTATUS[0]}"' - "$target"
	[[ $stderr == *"process $target may not be traced: Operation not\
 permitted" ]]
	[ "$output" -eq 0 ]
	runs
}
