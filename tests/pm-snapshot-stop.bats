#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
# What a live copy does to others: how they are stopped, slowed and let go,
# and that nothing of it stays behind.
load helper
load images
load process

groups=()

teardown() {
	local group

	for group in "${groups[@]}"; do
		thaw "$group"
	done
	end_started
	for group in "${groups[@]}"; do
		eventually rmdir "$group"
	done
}

# A process that writes here and there: ARGUMENTS OF giver.
giver() {
	rm -f told
	"${PATH%%:*}/tests/helpers/giver" "$@" >told 3>&- &
	target=$!
	end_later "$target"
	disown "$target"
	eventually grep -q ready told
}

is_gone() { [ ! -e "/proc/$target" ] || in_state Z; }

to() { pm-info "$1" | sed -n 's/^  to *//p'; }

# A group of its own for the target: KIND freezer or cpu, in $group.
group() {
	local at

	[ "$(id -u)" -eq 0 ] || skip 'needs root'
	at=$(sed -n "s/^cgroup \([^ ]*\) cgroup [^ ]*\b$1\b.*/\1/p" \
	    /proc/self/mounts | head -n 1)
	if [ -z "$at" ]; then
		at=$(sed -n 's/^[^ ]* \([^ ]*\) cgroup2 .*/\1/p' \
		    /proc/self/mounts | head -n 1)
		[ -n "$at" ] || skip 'there are no control groups'
	fi
	group=$at/pm-test-$$-$1
	mkdir "$group" || skip 'a control group cannot be made'
	groups+=("$group")
	case $1 in
	cpu)
		[ -e "$group/cpu.max" ] || [ -e "$group/cpu.cfs_quota_us" ] ||
		    skip 'no control group can limit processors' ;;
	esac
	echo "$target" >"$group/cgroup.procs"
}

thaw() { # GROUP
	if [ -e "$1/freezer.state" ]; then echo THAWED >"$1/freezer.state"; fi
	if [ -e "$1/cgroup.freeze" ]; then echo 0 >"$1/cgroup.freeze"; fi
}

is_thawed() {
	if [ -e "$group/freezer.state" ]; then
		grep -qx THAWED "$group/freezer.state"
	else
		grep -qx 'frozen 0' "$group/cgroup.events"
	fi
}

quota() {
	if [ -e "$group/cpu.max" ]; then
		cat "$group/cpu.max"
	else
		cat "$group/cpu.cfs_quota_us" "$group/cpu.cfs_period_us"
	fi
}

has_quota() { [ "$(quota)" = "$1" ]; }

# The copy is what the target, which stands still, holds.
is_exact() { # STREAM
	pm-snapshot --pid "$target" -o still.pms
	[ "$(to "$1")" = "$(to still.pms)" ]
}

@test "a process gives its userfaultfd, and nothing is traced" {
	giver - 16 100 socket
	group freezer
	timeout 60 strace -f -e trace=ptrace -o trace pm-snapshot \
	    --pid "$target" --live --uffd-socket socket --cgroup "$group" \
	    --max-downtime 1ms --max-rounds 3 --force --then stop \
	    --stats stats -o live.pms
	run ! grep -q ptrace trace
	grep -q '"tracker":"uffd"' stats
	[ "$(value stats rounds)" -gt 1 ]
	run ! is_thawed
	# Where it is frozen it is stopped, before it runs on.
	kill -STOP "$target"
	thaw "$group"
	eventually in_state T
	is_exact live.pms
	kill -CONT "$target"
	runs
}

@test "a socket of another, and one that gives nothing, are refused" {
	giver - 1 100 socket
	other=$target
	giver - 1 100 empty nothing
	run -1 --separate-stderr pm-snapshot --pid "$target" --live \
	    --uffd-socket socket -o x.pms
	[[ $stderr == *"is served by process $other, not $target"* ]]
	run -1 --separate-stderr pm-snapshot --pid "$target" --live \
	    --uffd-socket empty -o x.pms
	[[ $stderr == *"sent no descriptor"* ]]
	giver - 1 100 file file
	run -1 --separate-stderr pm-snapshot --pid "$target" --live \
	    --uffd-socket file -o x.pms
	[[ $stderr == *"no userfaultfd"* ]]
	run -1 --separate-stderr pm-snapshot --pid "$target" --live \
	    --uffd-socket nowhere -o x.pms
	[[ $stderr == *"nowhere: No such file"* ]]
	[ ! -e x.pms ]
	runs
}

@test "memory that another userfaultfd has goes by its content" {
	giver - 16 100 socket own
	timeout 60 pm-snapshot --pid "$target" --live --tracker uffd \
	    --max-downtime 1us --max-rounds 3 --force --then stop -o live.pms
	is_exact live.pms
	kill -CONT "$target"
	runs
}

@test "a group is frozen for the last pages, and goes on" {
	giver - 16 100
	group freezer
	timeout 60 pm-snapshot --pid "$target" --live --cgroup "$group" \
	    --stats stats -o live.pms
	is_thawed
	runs
	[ "$(value stats downtime_us)" -gt 0 ]
	[ "$(value stats downtime_us)" -eq "$(value stats frozen_us)" ]
	pm-info --verify live.pms
}

@test "a group stays frozen, or is killed, if that is asked for" {
	giver - 16 100
	group freezer
	timeout 60 pm-snapshot --pid "$target" --live --cgroup "$group" \
	    --then stop -o live.pms
	run ! is_thawed
	thaw "$group"
	runs
	timeout 60 pm-snapshot --pid "$target" --live --cgroup "$group" \
	    --then kill -o live.pms
	eventually is_gone
	is_thawed
}

@test "a group that holds others is refused before anything is done" {
	giver - 1 100
	group freezer
	sleep 60 3>&- &
	end_later $!
	disown $!
	echo $! >"$group/cgroup.procs"
	run -1 --separate-stderr timeout 60 pm-snapshot --pid "$target" \
	    --live --cgroup "$group" -o x.pms
	[[ $stderr == *"$!"* ]]
	is_thawed
	[ ! -e x.pms ]
	runs
	run -1 --separate-stderr timeout 60 pm-snapshot --pid "$target" \
	    --live --cgroup / -o x.pms
	[[ $stderr == *"/: "* ]]
}

@test "who writes too much is slowed down, and gets back what it had" {
	giver - 32 0
	group cpu
	before=$(quota)
	# A reader of at most 300 MB/s.
	mkfifo pipe
	"${PATH%%:*}/tests/helpers/slow" 1000000 3 <pipe 3>&- |
	    pm-info >info &
	timeout 100 pm-snapshot --pid "$target" --live --throttle \
	    --cgroup "$group" --max-downtime 60ms --stats stats >pipe
	wait $!
	[ "$(value stats share_permille)" -lt 1000 ]
	[ "$(value stats rounds)" -gt 2 ]
	has_quota "$before"
	runs
}

@test "it gets it back as well when that is not enough" {
	giver - 64 0
	group cpu
	before=$(quota)
	run -1 --separate-stderr timeout 100 bash -c 'set -o pipefail
	    pm-snapshot --pid "$0" --live --throttle --cgroup "$1" \
	    --max-downtime 1us --max-rounds 3 | cat >x.pms' "$target" \
	    "$group"
	[[ $stderr == *"not converging"* ]]
	has_quota "$before"
	runs
	run -3 pm-info x.pms
}

@test "killed at any point, a group is thawed and has its processors" {
	giver - 8 0
	group freezer
	freezer=$group
	if [ -e "$freezer/cgroup.freeze" ] && [ ! -e "$freezer/cpu.max" ]; then
		skip 'no control group can limit processors'
	fi
	group cpu
	before=$(quota)
	ended=
	# Its writes are those to the groups and to the guardian.
	for ((point = 1; point < 40; point++)); do
		status=0
		# The shell tells that it was killed: not here.
		{ timeout 60 strace -o trace -e trace=write \
		    -e inject=write:signal=KILL:when="$point" \
		    pm-snapshot --pid "$target" --live --throttle --force \
		    --cgroup "$group" --cgroup "$freezer" \
		    --max-downtime 1us --max-rounds 3 >out.pms 2>err 3>&- ||
		    status=$?; } 2>/dev/null
		eventually has_quota "$before"
		group=$freezer eventually is_thawed
		runs
		# One that others keep from running is not slowed down.
		if [ "$status" -eq 0 ] && [ "$(grep -c ^write trace)" -gt 4 ]
		then
			ended=$point
			break
		fi
		# Behind its end record a stream is whole.
		pm-info out.pms >info || [ $? -eq 3 ]
	done
	[ "$ended" -gt 4 ]
}

stops() { # while some of the stream is read
	head -c 200000 <&8 >part
	sleep 0.02
	in_state t
}

@test "killed while all is frozen, ptrace or not, it goes on" {
	giver - 8 0
	mkfifo pipe
	pm-snapshot --pid "$target" --live --max-downtime 1us --max-rounds 1 \
	    --force >pipe 2>err 3>&- &
	snapshot=$!
	end_later "$snapshot"
	# The rest does not fit into the pipe.
	exec 8<pipe
	eventually stops
	kill -9 "$snapshot"
	eventually in_state RSD
	runs
	exec 8<&-
}

@test "a disk that is full when all is frozen lets it go on" {
	[ "$(id -u)" -eq 0 ] || skip 'needs root'
	giver - 16 0
	mkdir small
	# All of it, and little of what changes meanwhile.
	size=$(pm-snapshot --pid "$target" | wc -c)
	mount -t tmpfs -o size=$((size + 524288)) small small ||
	    skip 'nothing can be mounted'
	run -1 --separate-stderr timeout 60 bash -c 'pm-snapshot --pid "$0" \
	    --live --max-downtime 1us --max-rounds 1 --force >small/x' \
	    "$target"
	cp small/x cut.pms
	umount small
	[[ $stderr == *"No space left on device"* ]]
	runs
	run -3 pm-info cut.pms
}

@test "commands stop it and have it go on, and write nothing to the stream" {
	giver - 8 100
	timeout 60 pm-snapshot --pid "$target" --live \
	    --stop-command 'echo stopping; echo stop >>log' \
	    --resume-command 'echo resuming; echo resume >>log' \
	    >live.pms 2>err
	[ "$(cat log)" = $'stop\nresume' ]
	grep -qx stopping err
	grep -qx resuming err
	pm-info --verify live.pms
	runs
	timeout 60 pm-snapshot --pid "$target" --live --then stop \
	    --stop-command 'echo stop >>log' \
	    --resume-command 'echo resume >>log' >live.pms
	[ "$(tail -n 1 log)" = stop ]
	eventually in_state T
	is_exact live.pms
}

@test "a stop command that fails is a failure, and is undone" {
	giver - 8 100
	run -1 --separate-stderr timeout 60 pm-snapshot --pid "$target" \
	    --live --stop-command 'exit 7' \
	    --resume-command 'echo resume >>log' -o x.pms
	[[ $stderr == *7* ]]
	[ "$(cat log)" = resume ]
	[ ! -e x.pms ]
	runs
}

@test "killed behind the stop command, the guardian has it go on" {
	giver - 8 100
	run -137 timeout 60 pm-snapshot --pid "$target" --live -o x.pms \
	    --stop-command 'echo stop >>log; kill -9 $PPID' \
	    --resume-command 'echo resume >>log'
	eventually grep -qx resume log
	runs
}

@test "a limit on its own processor time is kept" {
	giver - 64 100
	timeout 100 pm-snapshot --pid "$target" --live --cpu-limit 20 \
	    --max-downtime 10s --stats stats -o live.pms
	# What it used beside what went by, but for the last round.
	elapsed=$(value stats total_us)
	down=$(value stats downtime_us)
	used=$(value stats cpu_us)
	[ $(((used - down) * 100)) -le $(((elapsed - down) * 30)) ]
}

@test "a file that others write is copied while they do" {
	giver "$BATS_TEST_TMPDIR/memory" 32 100
	first=$target
	giver "$BATS_TEST_TMPDIR/memory" 32 200
	timeout 60 pm-snapshot --live memory --tracker uffd \
	    --max-downtime 1us --max-rounds 3 --force --then stop \
	    --stats stats -o live.pms
	grep -q '"tracker":"uffd"' stats
	[ "$(value stats rounds)" -eq 4 ]
	eventually in_state T
	target=$first eventually in_state T
	pm-apply image <live.pms
	cmp image memory
	pm-snapshot memory -o still.pms
	[ "$(to live.pms)" = "$(to still.pms)" ]
	kill -CONT "$first" "$target"
	runs
}

@test "a process that begins to write the file meanwhile is found" {
	giver "$BATS_TEST_TMPDIR/memory" 32 100
	first=$target
	mkfifo pipe
	timeout 60 pm-snapshot --live memory --tracker uffd --max-rounds 4 \
	    --max-downtime 1us --force --then stop \
	    --stop-command 'kill -STOP $(cat pids)' >pipe 2>err 3>&- &
	snapshot=$!
	end_later "$snapshot"
	# Until somebody reads on, it is in the first round.
	exec 8<pipe
	giver "$BATS_TEST_TMPDIR/memory" 32 50
	echo "$first $target" >pids
	cat <&8 >live.pms
	exec 8<&-
	wait "$snapshot"
	pm-snapshot memory -o still.pms
	[ "$(to live.pms)" = "$(to still.pms)" ]
}

@test "a file goes by its content where writers are not all seen" {
	giver "$BATS_TEST_TMPDIR/memory" 8 100
	exec 8<>memory
	timeout 60 pm-snapshot --live memory -v --max-downtime 1us \
	    --max-rounds 2 --force --then stop -o live.pms 2>err 8>&-
	exec 8>&-
	grep -q 'tracker hash: ' err
	pm-snapshot memory -o still.pms
	[ "$(to live.pms)" = "$(to still.pms)" ]
	kill -9 "$target"
	eventually is_gone
	timeout 60 pm-snapshot --live memory -v -o live.pms 2>err
	grep -q 'tracker hash: no process has mapped it' err
	pm-snapshot memory -o still.pms
	[ "$(to live.pms)" = "$(to still.pms)" ]
}

@test "regions of a file are those of a copy that is not live" {
	giver "$BATS_TEST_TMPDIR/memory" 8 100
	cut=(--region low:0:3M --region high:0x100000000:)
	timeout 60 pm-snapshot --live memory "${cut[@]}" --tracker uffd \
	    --max-downtime 1us --max-rounds 2 --force --then stop -o live.pms
	pm-snapshot memory "${cut[@]}" -o still.pms
	[ "$(to live.pms)" = "$(to still.pms)" ]
	pm-apply image <live.pms
	cmp image memory
}

@test "a live chain of a file applies" {
	giver "$BATS_TEST_TMPDIR/memory" 8 100
	timeout 60 pm-snapshot --live memory --save-table t -o 1.pms
	timeout 60 pm-snapshot --live memory --since t --save-table t2 \
	    -o 2.pms
	timeout 60 pm-snapshot --live memory --since t2 --then stop -o 3.pms
	cat 1.pms 2.pms 3.pms | pm-apply image
	cmp image memory
	pm-apply first <1.pms
	kill -CONT "$target"
	timeout 60 pm-snapshot --live memory --base first --then stop -o 4.pms
	pm-apply first <4.pms
	cmp first memory
}
