#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# What every program owes its neighbours in a pipe; see pm(7).
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031
load helper
load peers

FILTERS='pm-delta pm-compress'
READERS="$FILTERS pm-info pm-apply pm-send"	# of a stream on stdin
ALL="pm-snapshot $READERS pm-recv"

setup_file() { # a.img to b.img, and streams of them
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	cd "$BATS_FILE_TMPDIR" || return
	seq 100000 | head -c 200000 >a.img
	truncate -s 300000 a.img
	cp a.img b.img
	printf changed | dd of=b.img bs=1 seek=100000 conv=notrunc status=none
	seq 1000000 | head -c 4M >big.img
	pm-snapshot -o full.pms a.img
	pm-snapshot -o inc.pms --base a.img b.img
	pm-snapshot -o big.pms big.img
	cat full.pms inc.pms >chain.pms
}

# Run a program on $IN, with what it needs at the other end.  A peer that is
# still there when the program ended was of no use, and is ended too.
drive() { # PROGRAM ARGUMENT...
	local program=$1 status=0 peer
	shift
	case $program in
	pm-snapshot) pm-snapshot "$@" "${IMAGE-a.img}" || status=$? ;;
	pm-apply) pm-apply "$@" t.img <"$IN" || status=$? ;;
	pm-send)
		pm-recv unix:s -- sh -c 'cat >took; echo taken' \
		    </dev/null >/dev/null 2>&1 3>&- &
		peer=$!
		pm-send "$@" unix:s <"$IN" || status=$?
		;;
	pm-recv)
		pm-send -q unix:s <"$IN" >/dev/null 2>&1 3>&- &
		peer=$!
		pm-recv "$@" unix:s || status=$?
		;;
	*) "$program" "$@" <"$IN" || status=$? ;;
	esac
	if [ -n "${peer-}" ]; then
		if [ "$status" -ne 0 ]; then
			end "$peer"
		else
			wait "$peer" || :
		fi
		rm -f s
	fi
	return "$status"
}

afresh() { # undo what the last drive left
	rm -f t.img took s out err
	IN=full.pms
}

# Start a program that waits for its neighbours: on a pipe that descriptor 7
# holds open, or for a connection.  It is run by way of the command in "by".
start_blocked() { # PROGRAM ARGUMENT...; sets pid
	local program=$1
	shift
	rm -f pipe
	mkfifo pipe
	exec 7<>pipe
	case $program in
	pm-snapshot)
		"${by[@]}" pm-snapshot "$@" big.img >pipe 2>err 7>&- 3>&- & ;;
	pm-recv)
		"${by[@]}" pm-recv "$@" unix:s >out 2>err 7>&- 3>&- & ;;
	pm-send)
		"${by[@]}" pm-send "$@" unix:s <pipe >out 2>err 7>&- 3>&- & ;;
	pm-apply)
		"${by[@]}" pm-apply "$@" t.img <pipe >out 2>err 7>&- 3>&- & ;;
	*)
		"${by[@]}" "$program" "$@" <pipe >out 2>err 7>&- 3>&- & ;;
	esac
	pid=$!
	until_true sleeps "$pid" "$program"
}

unblock() { # PROGRAM: give it what it waits for; it succeeds
	case $1 in
	pm-snapshot)
		exec 8<pipe 7>&-
		cat <&8 >out
		exec 8<&-
		;;
	pm-recv) pm-send unix:s <full.pms >/dev/null ;;
	pm-send)
		pm-recv -o took unix:s 3>&- 7>&- &
		cat full.pms >&7
		;;
	*) cat full.pms >&7 ;;
	esac
	exec 7>&-
	wait "$pid"
}

files() { # what is here, but for the list itself
	find . ! -name before | sort
}

@test "standard input and output are the default, and - names them" {
	stage a.img full.pms
	for program in $FILTERS pm-info; do
		"$program" <full.pms >want
		"$program" - <full.pms | cmp - want
		"$program" full.pms | cmp - want
		"$program" -- full.pms | cmp - want
		"$program" -o - full.pms | cmp - want
		"$program" -o out full.pms
		cmp out want
	done
	pm-snapshot <a.img | cmp - full.pms
	pm-snapshot - <a.img | cmp - full.pms
	pm-snapshot -o - -- a.img | cmp - full.pms
	for program in pm-apply pm-send pm-recv; do
		afresh
		drive "$program" >want
		[ -s want ]
		afresh
		drive "$program" -o - | cmp - want
		afresh
		drive "$program" -o out | cmp - /dev/null
		cmp out want
	done
}

@test "there is one operand at most, and inputs stay" {
	stage a.img full.pms
	cksum a.img full.pms >before
	for program in $FILTERS pm-info; do
		run -2 "$program" full.pms a.img
		[[ "$output" == "$program: a.img: one operand too many"* ]]
	done
	run -2 pm-snapshot a.img full.pms
	for program in pm-apply pm-send pm-recv; do
		run -2 bash -c "$program <full.pms"
		[[ "$output" == "$program: "*" is missing"* ]]
		run -2 bash -c "$program unix:x y <full.pms"
	done
	for program in $ALL; do
		afresh
		drive "$program" >/dev/null
	done
	cksum a.img full.pms | cmp - before
}

on_terminal() { # COMMAND: run it on a terminal of its own
	script -qec "$1" /dev/null </dev/null
}

@test "a terminal is refused, unless it was named" {
	stage a.img full.pms
	for command in 'pm-snapshot a.img' 'pm-delta full.pms' \
	    'pm-compress full.pms' 'pm-recv unix:s'; do
		run -2 on_terminal "$command"
		[[ "$output" == *"not written to a terminal"*"-o -"* ]]
	done
	for command in pm-delta pm-compress pm-info 'pm-apply t.img' \
	    'pm-send unix:s'; do
		run -2 on_terminal "$command >out"
		[[ "$output" == *"not read from a terminal"* ]]
	done
	run -2 on_terminal 'pm-snapshot >out'
	for command in 'pm-snapshot -o - a.img' 'pm-delta -o - full.pms' \
	    'pm-compress -o - full.pms'; do
		run -0 on_terminal "$command"
	done
	# Text may go there.
	run -0 on_terminal 'pm-info full.pms'
	[[ "$output" == "stream 1: "* ]]
	run -0 on_terminal 'pm-apply t.img <full.pms'
}

same() { # COMMAND: refused, for it would write what it reads
	run -2 bash -c "$1"
	[[ "$output" == *": is "* ]]
	cksum a.img full.pms t.img | cmp - before
}

@test "input and output the same file is refused" {
	stage a.img full.pms
	pm-apply t.img <full.pms >/dev/null
	ln full.pms hard
	ln -s full.pms soft
	cksum a.img full.pms t.img >before
	for program in $FILTERS pm-info; do
		same "$program -o full.pms full.pms"
		same "$program -o full.pms <full.pms"
		same "$program -o hard full.pms"
		same "$program -o full.pms soft"
		same "$program full.pms >>full.pms"
		same "$program <full.pms >>full.pms"
		same "$program - <full.pms >>hard"
		same "$program -o - full.pms >>full.pms"
		same "$program -o out --stats full.pms hard"
	done
	same "pm-snapshot -o a.img a.img"
	same "pm-snapshot a.img >>a.img"
	same "pm-snapshot <a.img >>a.img"
	same "pm-apply -o t.img t.img <full.pms"
	same "pm-apply -o full.pms t.img <full.pms"
	same "pm-apply t.img <full.pms >>t.img"
	same "pm-apply t.img <full.pms >>full.pms"
	same "pm-apply full.pms <full.pms"
	same "pm-apply --in-place full.pms <full.pms"
	same "pm-send -o full.pms unix:s <full.pms"
	same "pm-send unix:s <full.pms >>full.pms"
}

@test "exit status 0 is success, and every program has it" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		run -0 --separate-stderr drive "$program" -o out
		[ -z "$output$stderr" ]
		[ -s out ]
	done
}

@test "exit status 1 is the system's failure" {
	stage full.pms
	for program in $FILTERS pm-info pm-snapshot; do
		run -1 --separate-stderr "$program" nowhere
		[ -z "$output" ]
		[ "$stderr" = \
		    "$program: nowhere: No such file or directory" ]
	done
	run -1 bash -c 'pm-apply nowhere/t.img <full.pms'
	[[ "$output" == "pm-apply: nowhere/t.img: "* ]]
	run -1 bash -c 'pm-send --timeout 0 unix:nowhere <full.pms'
	[[ "$output" == "pm-send: unix:nowhere: "* ]]
	run -1 pm-recv -o out unix:nowhere/s
	[[ "$output" == "pm-recv: unix:nowhere/s: "* ]]
	for program in $FILTERS pm-info; do
		run -1 "$program" .
		[ "$output" = "$program: .: Is a directory" ]
	done
}

@test "exit status 2 is a wrong command line: two lines on stderr" {
	stage a.img full.pms
	for program in $ALL; do
		for bad in --bogus -Z --verb --stat=x --output -o --quiet=1 \
		    --progress=x --progress=-1 --progress=99 --progress=1; do
			afresh
			run -2 --separate-stderr drive "$program" $bad
			echo "$program $bad: $output$stderr"
			[ -z "$output" ]
			[[ "$stderr" == "$program: "* ]]
			[ "${#stderr_lines[@]}" -eq 2 ]
			[ "${stderr_lines[1]}" = \
			    "Try '$program --help'." ]
		done
	done
	[ ! -e x ]
}

@test "exit status 3 is a bad stream" {
	head -c 4096 /dev/urandom >garbage
	for program in $READERS; do
		afresh
		IN=garbage
		run -3 --separate-stderr drive "$program"
		[ -z "$output" ]
		[ "$stderr" = \
		    "$program: <stdin>: not a page-record stream" ]
	done
	pm-recv -o out unix:s 2>err 3>&- &
	until_true test -S s
	stage full.pms
	{ head -c 8 full.pms; cat garbage; } | nc -N -U s
	ends_with 3 $!
	grep -q '^pm-recv: unix:s: record 0 at byte 8: ' err
}

receive_cut() { # BYTES [OPTION...]: what nc sends of full.pms
	pm-recv "${@:2}" -o out unix:s 2>err 3>&- &
	until_true test -S s
	head -c "$1" full.pms | nc -N -U s
	wait $!
}

@test "a stream cut anywhere is a bad stream" {
	stage full.pms chain.pms a.img
	size=$(wc -c <full.pms)
	pm-compress -o compressed.pms full.pms
	for cut in 0 1 7 8 9 55 56 57 104 2000 $((size / 2)) \
	    $((size - 49)) $((size - 1)) $((size + 1)) $((size + 60)); do
		head -c "$cut" chain.pms >cut.pms
		for program in $READERS 'pm-compress -d' 'pm-delta -d'; do
			afresh
			IN=cut.pms
			# shellcheck disable=SC2086
			run -3 drive $program -o out
			[[ "$output" == *"stream ends early"* ]]
			[ ! -e out ]
		done
	done
	for cut in 8 2000 $((size - 1)); do
		run -3 receive_cut "$cut"
		[ ! -e out ]
		[ "$(wc -l <err)" -eq 1 ]
	done
	# What is too short to be known is a stranger, and no sender came.
	for cut in 0 1 7; do
		run -1 receive_cut "$cut" --timeout 1
		[ ! -e out ]
		grep -q 'nobody connected' err
	done
	head -c 3000 compressed.pms >cut.pms
	for threads in 1 2; do
		run -3 pm-compress -d -j $threads -o out cut.pms
	done
}

@test "anything behind the end but the next of a chain is a bad stream" {
	stage full.pms inc.pms a.img
	cat full.pms full.pms >twice
	{ cat full.pms; printf x; } >letter
	{ cat full.pms; head -c 8 full.pms; } >begun
	{ cat full.pms; head -c 100 /dev/zero; } >zeroes
	for program in $READERS; do
		for IN in twice letter begun zeroes; do
			rm -f t.img
			# pm-info tells each stream that was whole.
			run -3 drive "$program" -o out
			[ ! -e out ]
		done
	done
}

@test "a full disk is a failure, wherever the bytes go" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		full() { drive "$program" "$@" >/dev/full; }
		run -1 full
		echo "$output"
		[[ "$output" == \
		    "$program: <stdout>: "*"No space left on device" ]]
		for option in --help --version; do
			run -1 full $option
			[ "$output" = \
			    "$program: <stdout>: No space left on device" ]
		done
		afresh
		run -1 drive "$program" -o /dev/full
		[[ "$output" == \
		    "$program: /dev/full: "*"No space left on device" ]]
		[ -c /dev/full ]
		afresh
		run -1 drive "$program" -o out --stats /dev/full
		[ "$output" = "$program: /dev/full: No space left on device" ]
	done
}

@test "a closed standard output is a failure" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		closed() { drive "$program" "$@" >&-; }
		run -1 --separate-stderr closed
		[[ "$stderr" == "$program: <stdout>: "*[a-z] ]]
		[ "${#stderr_lines[@]}" -eq 1 ]
		run -1 closed --help
		run -1 closed --version
	done
}

@test "closed descriptors do not corrupt files opened later" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		drive "$program" -o want
		afresh
		drive "$program" -v --stats stats -o out >&- 2>&-
		cmp out want
		[ "$(wc -l <stats)" -eq 1 ]
	done
	for program in $FILTERS pm-info; do
		"$program" -o want full.pms
		"$program" -v -o out full.pms <&- >&- 2>&-
		cmp out want
		run -1 bash -c "$program <&-"
		[ "$output" = "$program: <stdin>: Bad file descriptor" ]
	done
	pm-snapshot -v -o out a.img <&- >&- 2>&-
	cmp out full.pms
	# These speak while their output is open.
	pm-delta -o delta.pms full.pms
	pm-delta -o out delta.pms 2>&-
	cmp out delta.pms
	drive_port() {
		pm-recv -v --port-file port -o out :0 2>&- 3>&- &
		until_true test -s port
		pm-send ":$(cat port)" <full.pms
		wait $!
	}
	drive_port
	cmp out full.pms
}

@test "short reads and writes go on" {
	stage full.pms a.img
	helper="${PATH%%:*}/tests/helpers/nonblock"
	[ -x "$helper" ]
	for program in $FILTERS; do
		"$program" full.pms >want
		# In pieces, and into a pipe that is full at first.
		{ head -c 5000 full.pms; sleep 0.1; tail -c +5001 full.pms |
		    dd bs=333 status=none; } | "$helper" "$program" |
		    { sleep 0.3; dd bs=777 status=none; } >out
		cmp out want
	done
	"$helper" pm-snapshot a.img | { sleep 0.1; cat; } | cmp - full.pms
	{ sleep 0.1; dd bs=333 if=full.pms status=none; } |
	    "$helper" pm-apply t.img
	cmp a.img t.img
	{ sleep 0.1; cat full.pms; } | "$helper" pm-info --verify
	pm-recv unix:s 3>&- | { sleep 0.2; cat; } >out &
	{ sleep 0.1; cat full.pms; } | "$helper" pm-send unix:s
	wait $!
	cmp out full.pms
}

leave_early() { # PROGRAM: its status when nobody reads what it writes
	local status=0
	mkfifo gone
	: <gone &
	exec 9>gone
	wait $!
	drive "$1" >&9 || status=$?
	exec 9>&-
	rm gone
	echo "$status"
}

@test "a reader that leaves ends us by SIGPIPE, silently" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		run -0 --separate-stderr leave_early "$program"
		echo "$program: $output $stderr"
		[ "$output" = 141 ]
		[ -z "$stderr" ]
	done
}

@test "and also when our parent ignored SIGPIPE" {
	stage a.img full.pms
	trap '' PIPE
	for program in $ALL; do
		afresh
		run -0 leave_early "$program"
		[ "$output" = 141 ]
	done
}

@test "SIGTERM and SIGINT end a program, which says nothing" {
	stage full.pms big.img
	# The shell has its background ignore SIGINT.
	by=(env --default-signal=INT)
	for program in $ALL; do
		for signal in TERM:143 INT:130; do
			afresh
			start_blocked "$program" -v
			kill -"${signal%:*}" "$pid"
			ends_with "${signal#*:}" "$pid"
			exec 7>&-
			[ ! -s err ]
		done
	done
}

@test "signals that were ignored stay ignored, as nohup has it" {
	stage full.pms big.img
	by=(env "--ignore-signal=HUP,INT,TERM")
	for program in $ALL; do
		afresh
		start_blocked "$program"
		kill -HUP "$pid"
		kill -INT "$pid"
		kill -TERM "$pid"
		unblock "$program"
		[ ! -s err ]
	done
}

@test "SIGUSR1 has one line told, and all goes on" {
	stage full.pms big.img
	for program in $ALL; do
		afresh
		start_blocked "$program" -q
		kill -USR1 "$pid"
		until_true test -s err
		unblock "$program"
		[ "$(wc -l <err)" -eq 1 ]
		grep -Eq "^$program: [0-9]+ records, [0-9]+ pages, \
[0-9.]+ MB in, [0-9.]+ MB out, [0-9.]+ MB/s" err
		case $program in
		pm-snapshot) cmp out "$BATS_FILE_TMPDIR/big.pms" ;;
		pm-compress) pm-compress full.pms | cmp out ;;
		pm-recv) cmp out full.pms ;;
		pm-send) cmp took full.pms ;;
		esac
	done
}

@test "SIGUSR1 is answered when our parent ignored or blocked it" {
	stage full.pms
	for by in ignore-signal block-signal; do
		by=(env "--$by=USR1")
		start_blocked pm-compress
		kill -USR1 "$pid"
		until_true test -s err
		unblock pm-compress
		[ "$(wc -l <err)" -eq 1 ]
	done
}

@test "--progress writes lines of JSON, also while nothing moves" {
	stage full.pms big.img
	for program in $ALL; do
		afresh
		: >lines
		start_blocked "$program" --progress 9 9>>lines
		[ "$program" != pm-delta ] || until_true test -s lines
		unblock "$program"
		[ ! -s err ]
		run ! grep -Evx '\{"program":"'"$program"'","seconds":[0-9.]+,'\
'"records":[0-9]+,"pages":[0-9]+,"total_pages":[0-9]+,'\
'"bytes_in":[0-9]+,"total_bytes":[0-9]+,"bytes_out":[0-9]+\}' lines
		case $program in
		pm-delta) [ "$(wc -l <lines)" -ge 2 ] ;;
		*) [ "$(wc -l <lines)" -ge 1 ] ;;
		esac
	done
	tail -n 1 lines | grep -q "\"bytes_in\":$(wc -c <full.pms),"
}

@test "a reader of --progress that leaves does not matter" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		mkfifo gone
		: <gone &
		exec 9>gone
		wait $!
		rm gone
		run -0 --separate-stderr drive "$program" --progress 9 -o out
		[ -z "$stderr" ]
		exec 9>&-
	done
}

@test "-o makes new files for their owner alone, and keeps other modes" {
	stage a.img full.pms
	umask 0
	for program in $ALL; do
		for mode in none 644 400 4711; do
			afresh
			if [ $mode != none ]; then
				echo old >out
				chmod $mode out
			fi
			if [ $mode = 400 ] && [ "$(id -u)" -ne 0 ]; then
				run -1 drive "$program" -o out
				[ "$(cat out)" = old ]
				chmod 600 out
				continue
			fi
			drive "$program" -o out
			[ "$(stat -c %a out)" = ${mode/none/600} ]
			! grep -q old out || false
		done
	done
}

@test "-o keeps the old file when something fails" {
	stage full.pms
	head -c 5000 full.pms >cut.pms
	for program in $ALL; do
		afresh
		IN=cut.pms IMAGE=nowhere
		echo precious >out
		chmod 640 out
		files >before
		run drive "$program" -o out --stats stats
		[ "$status" -ne 0 ]
		[ "$(cat out)" = precious ]
		[ "$(stat -c %a out)" = 640 ]
		rm -f took
		files | cmp - before
	done
}

@test "-o follows symbolic links" {
	stage a.img full.pms
	mkdir there
	ln -s there/real link
	for program in $ALL; do
		afresh
		echo old >there/real
		drive "$program" -o link
		[ -L link ]
		[ -f there/real ]
		! grep -q old there/real || false
		[ "$(ls there)" = real ]
	done
}

@test "-o writes to a pipe or a device as it is" {
	stage a.img full.pms
	if [ "$(id -u)" -eq 0 ]; then
		mknod null c 1 3 || :
	fi
	for program in $ALL; do
		afresh
		drive "$program" >want
		afresh
		mkfifo out
		cat out >got &
		drive "$program" -o out
		wait $!
		[ -p out ]
		cmp got want
		# One of our own: nothing here could replace /dev/null.
		if : 2>/dev/null >null && [ -c null ]; then
			afresh
			drive "$program" -o null
			[ -c null ]
		fi
	done
}

@test "-o into no directory, or onto one, is a failure" {
	stage a.img full.pms
	mkdir there
	for program in $ALL; do
		afresh
		run -1 drive "$program" -o nowhere/out
		[ "$output" = \
		    "$program: nowhere/out: No such file or directory" ]
		run -1 drive "$program" -o there
		[ "$output" = "$program: there: Is a directory" ]
	done
}

@test "nothing has a name before it is whole, and a kill leaves nothing" {
	stage full.pms big.img
	for program in $READERS pm-recv; do
		afresh
		start_blocked "$program" -o new
		[ ! -e new ]
		rm pipe
		files >before
		kill -9 "$pid"
		ends_with 137 "$pid"
		exec 7>&-
		files | cmp - before
	done
	# It never waits for its source, so the kernel kills it on its way.
	files >before
	(ulimit -f 1024; exec pm-snapshot -o new big.img) &
	ends_with 153 $!
	files | cmp - before
}

@test "-q and -v change neither bytes nor status" {
	stage a.img full.pms
	head -c 5000 full.pms >cut.pms
	for program in $ALL; do
		afresh
		drive "$program" -o want
		for option in -q -v -qv; do
			afresh
			run -0 --separate-stderr drive "$program" $option \
			    -o out
			[ -z "$output" ]
			cmp out want
			case $option in
			-q) [ -z "$stderr" ] ;;
			*) [[ "$stderr" == *"$program: elapsed_us "* ]] ;;
			esac
			# Each line says who speaks.
			printf %s "$stderr" >err
			! grep -v "^$program: " err || false
			[ "$program" != pm-snapshot ] || continue
			afresh
			IN=cut.pms
			[ "$program" != pm-recv ] || continue
			run -3 --separate-stderr drive "$program" $option \
			    -o out
			[ "${#stderr_lines[@]}" -eq 1 ]
		done
	done
}

@test "--stats writes one JSON object of integers and texts" {
	stage a.img full.pms
	integer='"[a-z_0-9]+":[0-9]+' text='"[a-z_]+":"[0-9a-z-]+"'
	for program in $ALL; do
		afresh
		drive "$program" -o out --stats stats
		[ "$(wc -l <stats)" -eq 1 ]
		grep -Eqx "\{\"program\":\"$program\"(,($integer|$text))*,\
\"elapsed_us\":[0-9]+,\"peak_rss\":[1-9][0-9]+\}" stats
		# Each key once.
		[ -z "$(grep -Eo '"[a-z_0-9]+":' stats | sort | uniq -d)" ]
		if command -v python3 >/dev/null; then
			python3 -c 'import json; json.load(open("stats"))'
		fi
		# -v tells the same, but for how long it took.
		afresh
		rm stats
		drive "$program" -v -o out --stats stats 2>err
		tr ',' '\n' <stats | tr -d '{}"' | tr : ' ' |
		    sed "1d; s/^/$program: /" | cmp - err
	done
}

@test "--help fits 80 columns and lists all, --version tells the version" {
	for program in $ALL; do
		run -0 --separate-stderr "$program" --help
		[ -z "$stderr" ]
		[[ "$output" == "$program - "* ]]
		run ! grep -q '.\{81\}' <<<"$output"
		for option in "-o, --output=" --stats= --progress= \
		    "-v, --verbose" "-q, --quiet" "-h, --help" \
		    "-V, --version" \
		    'Memory: ' 'Exit status: '; do
			[[ "$("$program" -h)" == *"$option"* ]]
		done
		run -0 --separate-stderr "$program" --version
		[ -z "$stderr" ]
		[[ "$output" =~ ^"$program "[0-9]+\.[0-9]+\.[0-9]+$ ]]
		[ "$("$program" -V)" = "$output" ]
	done
}

@test "numbers are decimal, and out of range says the range" {
	stage full.pms a.img
	for bad in "-j 0" "-j 65" "-j -1" "-l 20" "-l -1" "-l 13 -c lz4" \
	    "-l 10 -c zlib"; do
		# shellcheck disable=SC2086
		run -2 pm-compress $bad full.pms
		[[ "$output" =~ ": not in "[01]"..64"|": not in 0.."(19|12|9) ]]
	done
	for bad in "" 1x 0x2 1.5 " 2" +2 2K 99999999999999999999999; do
		run -2 pm-compress -j "$bad" full.pms
		[[ "$output" == "pm-compress: --threads: $bad: not "* ]]
		run -2 pm-compress -l "$bad" full.pms
		[[ "$output" == "pm-compress: --level: $bad: not "* ]]
		run -2 bash -c 'pm-send --timeout "$0" unix:s <full.pms' "$bad"
		run -2 pm-recv -o out --timeout "$bad" unix:s
		run -2 pm-delta --progress "$bad" full.pms
	done
	run -2 pm-recv -o out --timeout 86401 unix:s
	[[ "$output" == *": not in 0..86400"* ]]
	# 010 is ten, not eight.
	run -2 pm-compress -c zlib -l 010 full.pms
	[[ "$output" == *"010: not in 0..9"* ]]
	for bad in "" 1x 1KB -1 1.5M 64k 8E; do
		run -2 pm-delta --cache-size "$bad" full.pms
		run -2 pm-snapshot --record-size "$bad" a.img
	done
	run -2 pm-snapshot --record-size 2M a.img
	[[ "$output" == *"not in one page..1M"* ]]
	[ ! -e out ]
}

@test "PM_THREADS and PM_LEVEL are defaults, and options beat them" {
	stage full.pms
	for level in 1 19; do
		pm-compress -l $level -o want full.pms
		PM_LEVEL=$level pm-compress full.pms | cmp - want
		PM_LEVEL=3 pm-compress -l $level full.pms | cmp - want
		PM_LEVEL=x pm-compress -l $level full.pms | cmp - want
	done
	pm-compress full.pms >want
	PM_LEVEL='' PM_THREADS='' pm-compress full.pms | cmp - want
	for threads in 1 3; do
		PM_THREADS=$threads pm-compress --stats stats -o out full.pms
		grep -q "\"threads\":$threads," stats
		PM_THREADS=7 pm-compress -j $threads --stats stats -o out \
		    full.pms
		grep -q "\"threads\":$threads," stats
	done
	for bad in x 0 65 -1 1x ' 1'; do
		PM_THREADS=$bad run -2 pm-compress full.pms
		[[ "$output" == "pm-compress: PM_THREADS: $bad: not "* ]]
		PM_THREADS=$bad run -0 pm-compress -j 1 -o out full.pms
	done
	PM_LEVEL=20 run -2 pm-compress full.pms
	[[ "$output" == "pm-compress: PM_LEVEL: 20: not in 0..19"* ]]
}

@test "nothing else of the environment changes what a program does" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		drive "$program" -o want
		"$program" --help >help
		# popt would read this, if it were told to.
		printf '%s alias --quiet --bogus\n%s alias -q --bogus\n' \
		    "$program" "$program" >.popt
		(
			export HOME=$PWD XDG_CONFIG_HOME=$PWD LANGUAGE=de
			# The shell warns if it does not have these.
			export LANG=tr_TR.UTF-8 LC_ALL=de_DE.UTF-8 COLUMNS=20
			export POSIXLY_CORRECT=1 POSIX_ME_HARDER=1 TERM=none
			export PM_QUIET=1 PM_CODEC=lz4 PM_OUTPUT=x TZ=Asia/Tokyo
			afresh
			drive "$program" -q -o out
			cmp out want
			"$program" --help | cmp - help
		)
	done
	# Options may stand behind the operand all the same.
	POSIXLY_CORRECT=1 pm-delta full.pms -d -o out
	cmp out full.pms
}

@test "control bytes in names do not reach the terminal" {
	stage full.pms
	name=$'a\e[31m\nb\x7f'
	for program in $FILTERS pm-info pm-snapshot; do
		run -1 "$program" "$name"
		[ "$output" = \
		    "$program: a?[31m?b?: No such file or directory" ]
	done
	run -2 pm-delta "--bogus$name"
	[[ "${lines[0]}" == "pm-delta: --bogusa?[31m?b?: "* ]]
	run -1 bash -c 'pm-apply "$0/t" <full.pms' "$name"
	[[ "$output" == "pm-apply: a?[31m?b?/t: "* ]]
	run -1 bash -c 'pm-send --timeout 0 "unix:$0" <full.pms' "$name"
	[[ "$output" == "pm-send: unix:a?[31m?b?: "* ]]
	run -1 pm-recv -o out "unix:$name/s"
	[[ "$output" == "pm-recv: unix:a?[31m?b?/s: "* ]]
}

@test "equal input gives equal bytes" {
	stage a.img full.pms
	for program in $ALL; do
		afresh
		drive "$program" -o want
		mkdir "in.$program"
		cp a.img full.pms "in.$program"
		(
			cd "in.$program"
			touch -d 1999-01-01 a.img
			afresh
			TZ=UTC drive "$program" -o ../out
		)
		cmp out want
	done
}

@test "what was read is written before more is awaited" {
	stage full.pms
	# Up to the last page record, which stands before the end record.
	read -r at < <(pm-info --list full.pms |
	    sed -n 's/^[0-9]* \([0-9]*\) end .*/\1/p')
	for command in "pm-delta -d" "pm-compress -d -j 1" "pm-compress -d -j 4" \
	    "pm-compress -l 0"; do
		# shellcheck disable=SC2086
		start_blocked $command
		head -c "$at" full.pms >&7
		written() { [ "$(wc -c <out)" -eq "$at" ]; }
		until_true written
		end "$pid"
		exec 7>&-
	done
}

@test "messages of neighbours stay whole lines" {
	stage full.pms
	head -c 5000 full.pms >cut.pms
	for _ in {1..10}; do
		pm-delta -o out cut.pms &
		pm-compress -o out cut.pms &
		pm-info -o out cut.pms &
	done 2>lines
	wait
	[ "$(grep -Ecx 'pm-[a-z]+: cut.pms: stream ends early, in record '\
'[0-9]+ at byte [0-9]+' lines)" -eq 30 ]
}
