#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2030,SC2031,SC2154
# How live copies end, and what they leave behind.
load helper
load images
load process
load live

teardown() { end_started; }

# A copy without end to a reader who takes his time, until a round is over.
endless() { # ROUND OPTIONS...
	rm -f err
	mkfifo pipe
	helper slow 131072 1 <pipe >live.pms 3>&- &
	reader=$!
	timeout 30 pm-snapshot --pid "$target" --live --max-downtime 0ms \
	    --max-rounds 1000 -v "${@:2}" >pipe 2>err 3>&- &
	snapshot=$!
	started+=("$snapshot" "$reader")
	eventually grep -q "round $1:" err
}

ended_with() { # STATUS: the copy did
	local status=0

	wait "$snapshot" || status=$?
	wait "$reader"
	tail -n 1 err
	[ "$status" -eq "$1" ]
}

# Where it was met by the death is a matter of chance.
tells_of_death() { grep -Eq "^pm-snapshot: .*($target|a process died)" err; }

is_no_whole_stream() { run -3 pm-info "$1"; }

# It runs by itself, and nobody watches its memory.
is_free() {
	runs
	grep -q '^TracerPid:[[:space:]]*0$' "/proc/$target/status"
	run ! grep -q userfaultfd <(readlink "/proc/$target/fd/"*)
	run ! grep -Eq '^VmFlags:.* (uw|um)( |$)' "/proc/$target/smaps"
}

@test "one that is done leaves its target as it was" {
	track anon 20000
	forced -o live.pms
	is_free
	is_intact
	pm-info --verify live.pms
}

@test "a target is stopped in the end, or killed, if that is asked for" {
	track anon 20000
	forced --then stop -o live.pms
	eventually in_state T
	kill -CONT "$target"
	is_free
	forced --then kill -o live.pms
	eventually ended "$target"
	pm-info --verify live.pms
}

@test "a target that is stopped stays stopped" {
	track anon 20000
	kill -STOP "$target"
	eventually in_state T
	live -o live.pms --max-rounds 2 --force
	eventually in_state T
	is_intact
}

@test "a target that is killed in the first round" {
	track anon 20000
	mkfifo pipe
	timeout 30 pm-snapshot --pid "$target" --live >pipe 2>err 3>&- &
	snapshot=$!
	exec 8<pipe
	# It blocks at a pipe that is full, and has begun therefore.
	eventually grep -q pipe_write "/proc/$(pgrep -P "$snapshot")/wchan" ||
	    sleep 0.2
	kill -9 "$target"
	cat <&8 >live.pms 3>&- &
	reader=$!
	ended_with 1
	tells_of_death
	is_no_whole_stream live.pms
}

@test "a target that is killed in a later round" {
	track anon 20000
	endless 3
	kill -9 "$target"
	ended_with 1
	tells_of_death
	is_no_whole_stream live.pms
}

@test "a target that ends by itself" {
	track anon 20000
	endless 2
	kill -USR1 "$target"
	ended_with 1
	tells_of_death
	is_no_whole_stream live.pms
	grep -q intact told
}

@test "a target that runs another program" {
	mkfifo go
	bash -c 'fill=$(head -c 8000000 /dev/zero | tr "\0" x)
	    exec 9<>go; echo ready
	    until read -r -t 0.01 <&9; do fill=${fill/x/y}; done
	    exec 9<&- sleep 60' >told 3>&- &
	target=$!
	started+=("$target")
	eventually grep -q ready told
	endless 2
	echo >go
	ended_with 1
	grep -q "process $target ended, or runs another program" err
	is_no_whole_stream live.pms
	[ "$(cat "/proc/$target/comm")" = sleep ]
	in_state S
}

@test "a file is there only once all was written to it" {
	track anon 20000
	run -1 live --max-rounds 2 -o live.pms
	[ ! -e live.pms ]
	kill -9 "$target"
	eventually ended "$target"
	run -1 live --max-rounds 2 --force -o live.pms
	[ ! -e live.pms ]
}

@test "one that does not converge says so, and lets its target go on" {
	track anon 0
	endless 1 --max-rounds 4
	ended_with 1
	grep -q 'pm-snapshot: not converging: after 4 rounds' err
	is_no_whole_stream live.pms
	is_free
	is_intact
}

@test "rounds are no more than allowed, and one more" {
	track anon 0
	live --max-rounds 1 --force -o live.pms --stats stats
	[ "$(value stats rounds)" -eq 2 ]
	live --max-rounds 5 --force -o live.pms --stats stats
	[ "$(value stats rounds)" -eq 6 ]
	pm-info --verify live.pms | grep -q 'rounds *6'
	is_intact
}

@test "a deadline ends what does not converge" {
	track anon 0
	run -1 --separate-stderr live --deadline 200ms --max-rounds 1000 \
	    -o live.pms
	[[ $stderr == "pm-snapshot: not converging: "* ]]
	live --deadline 200ms --max-rounds 1000 --force -o live.pms \
	    --stats stats
	[ "$(value stats rounds)" -lt 1000 ]
	is_free
	is_intact
}

@test "what converges takes as many rounds as it needs" {
	track anon 1000
	snapshot --pid "$target" --live -o live.pms --stats stats
	[ "$(value stats rounds)" -le 5 ]
	is_free
	is_intact
}

@test "a reader that leaves lets the target go on" {
	track anon 20000
	run bash -c 'pm-snapshot --pid "$1" --live | head -c 100000 >short
	    echo "${PIPESTATUS[0]}"' - "$target"
	[ "$output" = 141 ]
	is_free
	is_intact
}

@test "a disk that is full lets the target go on" {
	[ -w /dev/full ] || skip 'there is no /dev/full'
	track anon 20000
	run -1 live --max-rounds 2 --force -o /dev/full
	is_free
	is_intact
}

@test "killed at any moment, it leaves its target running" {
	track anon 20000
	chance
	for ((i = 0; i < 30; i++)); do
		pm-snapshot --pid "$target" --live --max-downtime 0ms \
		    --max-rounds 3 --force >/dev/null 3>&- &
		snapshot=$!
		sleep "0.0$((RANDOM % 90 + 10))"
		kill -9 "$snapshot" 2>/dev/null || :
		wait "$snapshot" || :
		runs
	done
	grep -q '^TracerPid:[[:space:]]*0$' "/proc/$target/status"
	forced -o live.pms
	is_intact
}

@test "interrupted, it leaves its target running" {
	track anon 20000
	for signal in INT TERM HUP; do
		endless 1
		kill "-$signal" "$snapshot"
		wait "$snapshot" || :
		wait "$reader" || :
		rm pipe
		is_free
		is_no_whole_stream live.pms
	done
	is_intact
}

@test "a target that is traced is refused, naming who traces it" {
	command -v strace >/dev/null || skip 'needs strace'
	track anon 20000
	strace -qq -o /dev/null -p "$target" 3>&- &
	tracer=$!
	started+=("$tracer")
	eventually grep -q "^TracerPid:[[:space:]]*$tracer$" \
	    "/proc/$target/status"
	run -1 --separate-stderr forced -o live.pms
	[ "$stderr" = "pm-snapshot: process $target may not be traced: process\
 $tracer does already" ]
	run -1 --separate-stderr forced --tracker uffd -o live.pms
	[ "$stderr" = "pm-snapshot: process $target may not be traced: process\
 $tracer does already" ]
	[ ! -e live.pms ]
}

@test "a process that is not there, or is this one" {
	sleep 100 3>&- &
	target=$!
	kill "$target"
	wait "$target" || :
	run -1 --separate-stderr forced -o live.pms
	[ "$stderr" = "pm-snapshot: process $target does not exist" ]
	run -1 --separate-stderr sh -c 'exec pm-snapshot --pid $$ --live -o x'
	[[ $stderr == "pm-snapshot: process "*" is this one" ]]
	[ ! -e x ]
}

usage() { # MESSAGE OPTIONS...
	run -2 --separate-stderr pm-snapshot "${@:2}"
	[ "${stderr_lines[0]}" = "pm-snapshot: $1" ]
	[ ! -e x ]
}

@test "options that make no sense are refused" {
	image img 10000
	for option in --verify --force --throttle --tracker=hash \
	    --uffd-socket=x --deadline=1s --cgroup=x --stop-command=x \
	    --resume-command=x --cpu-limit=10 --then=stop --max-rounds=3 \
	    --max-downtime=1s; do
		usage "${option%=*} is for --live" --pid $$ "$option" -o x
	done
	usage '--tracker: guess: not uffd, soft-dirty or hash' --pid $$ \
	    --live --tracker guess -o x
	usage '--uffd-socket is for --pid' img --live --uffd-socket s -o x
	usage '--uffd-socket is for --tracker=uffd' --pid $$ --live \
	    --uffd-socket s --tracker hash -o x
	usage '--throttle takes a --cgroup' --pid $$ --live --throttle -o x
	usage '--resume-command takes a --stop-command' --pid $$ --live \
	    --resume-command true -o x
	usage '--then: wait: not resume, stop or kill' --pid $$ --live \
	    --then wait -o x
	usage '--max-rounds: 0: not in 1..1000' --pid $$ --live \
	    --max-rounds 0 -o x
	usage '--max-rounds: many: not a number' --pid $$ --live \
	    --max-rounds many -o x
	usage '--cpu-limit: 101: not in 1..100' --pid $$ --live \
	    --cpu-limit 101 -o x
	for time in 5 5x ms -1ms ''; do
		usage "--max-downtime: $time: not a time, such as 300ms, 2s, 5m\
 or 1h" --pid $$ --live --max-downtime "$time" -o x
		usage "--deadline: $time: not a time, such as 300ms, 2s, 5m or\
 1h" --pid $$ --live --deadline "$time" -o x
	done
	usage '--spool and --threads are not for --live' --pid $$ --live \
	    --spool . -o x
	usage '--spool and --threads are not for --live' img --live -j1 -o x
	usage '--base and --since exclude each other' --pid $$ --live \
	    --base img --since img -o x
	usage '--map and --spool are for --pid' img --live --map '*' -o x
}
