#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031
load helper
load peers

setup_file() {
	make_streams
}

teardown() {
	end_jobs
	if mountpoint -q "$BATS_TEST_TMPDIR/small" 2>/dev/null; then
		umount "$BATS_TEST_TMPDIR/small"
	fi
}

passes() { # ADDRESS: a chain arrives as it was sent
	listen "$1"
	run -0 --separate-stderr pm-send "$address" <chain.pms
	[ -z "$output$stderr" ]
	wait "$receiver"
	cmp got chain.pms
	[ ! -s got.err ]
}

@test "a chain arrives, through a unix socket and TCP" {
	stage chain.pms
	passes unix:s
	passes "unix:$PWD/s"
	passes 127.0.0.1:0
	passes localhost:0
	passes :0
	[ "$(cat port)" -gt 0 ]
}

@test "and through IPv6" {
	has_ipv6 || skip "there is no IPv6 on this machine"
	stage chain.pms
	passes '[::1]:0'
}

@test "more than sockets hold arrives" {
	stage big.pms
	for at in unix:s 127.0.0.1:0; do
		listen "$at" -o out
		pm-send "$address" <big.pms
		wait "$receiver"
		cmp out big.pms
		[ ! -s got ]
	done
}

@test "-o has the stream whole or not at all" {
	stage full.pms
	listen unix:s -o out
	mkfifo pipe
	pm-send unix:s <pipe 3>&- &
	exec 4>pipe
	head -c 70000 full.pms >&4
	until_true sleeps $! pm-send
	[ ! -e out ]
	tail -c +70001 full.pms >&4
	exec 4>&-
	wait $!
	wait "$receiver"
	cmp out full.pms
	[ "$(stat -c %a out)" = 600 ]
}

@test "a command consumes it, and both ends print what it printed" {
	stage chain.pms a.id b.id b.img
	listen 127.0.0.1:0 -- pm-apply image
	run -0 --separate-stderr pm-send "$address" <chain.pms
	[ "$output" = "$(cat a.id b.id)" ]
	[ -z "$stderr" ]
	wait "$receiver"
	cat a.id b.id | cmp - got
	cmp image b.img
	# And with -o it goes there.
	rm image
	listen unix:s -o ids -- pm-apply image
	pm-send -o sent unix:s <chain.pms
	wait "$receiver"
	cmp ids sent
	[ ! -s got ]
	[ "$(wc -l <ids)" -eq 2 ]
}

fails() { # STATUS WORDS COMMAND...: of the command; both ends tell
	local expected=$1 words=$2
	shift 2
	listen unix:s -- "$@"
	run --separate-stderr -"$expected" pm-send unix:s <"${IN:-full.pms}"
	[ -z "$output" ]
	[[ "$stderr" == "pm-send: unix:s: the receiver failed: "*"$words" ]]
	ends_with "$expected" "$receiver"
	[ ! -s got ]
	[[ "$(tail -n 1 got.err)" == "pm-recv: "*"$words" ]]
	[ ! -e s ]
}

@test "a command that fails makes both ends fail" {
	stage full.pms one.pms
	fails 1 'sh: ended with status 1' sh -c 'cat >/dev/null; exit 1'
	fails 3 'sh: ended with status 3' sh -c 'cat >/dev/null; exit 3'
	fails 1 'sh: ended with status 42' sh -c 'cat >/dev/null; exit 42'
	fails 1 'sh: ended with status 2' sh -c 'exit 2'
	fails 1 'sh: ended with status 137' sh -c 'kill -9 $$'
	fails 1 'sh: ended with status 143' sh -c \
	    'cat >/dev/null; echo lost; kill $$'
	# Its own words stood on standard error already.
	echo nothing >image
	IN=one.pms fails 3 'pm-apply: ended with status 3' pm-apply image
	grep -q '^pm-apply: image: ' got.err
	[ "$(cat image)" = nothing ]
}

@test "a command that cannot be run is told to both" {
	stage full.pms
	listen unix:s -- ./nowhere argument
	run -1 --separate-stderr pm-send unix:s <full.pms
	[ "$stderr" = "pm-send: unix:s: the receiver failed: ./nowhere: \
No such file or directory" ]
	ends_with 2 "$receiver"
	grep -qx 'pm-recv: ./nowhere: No such file or directory' got.err
}

@test "a command that reads nothing of a small stream is a failure too" {
	stage full.pms
	head -c 9000 /dev/zero >small.img
	pm-snapshot small.img >small.pms
	timeout 20 pm-recv unix:s -- true 2>got.err 3>&- &
	run -1 --separate-stderr pm-send unix:s <small.pms
	[[ "$stderr" == *": true: ended before the stream did, 0 bytes in" ]]
	status=0
	wait $! || status=$?
	[ "$status" -eq 1 ]
}

@test "a command that leaves early is a failure, though it says success" {
	stage big.pms
	listen 127.0.0.1:0 -- sh -c 'head -c 1000 >head; echo done'
	run -1 --separate-stderr pm-send "$address" <big.pms
	[ -z "$output" ]
	[[ "$stderr" == *": sh: ended before the stream did, "*" bytes in" ]]
	ends_with 1 "$receiver"
	grep -q '^pm-recv: sh: ended before the stream did' got.err
	# As much as it took, however much of a record that is.
	for bytes in 0 1000 500000; do
		listen unix:s -- sh -c "head -c $bytes >head; sleep 0.2"
		run -1 --separate-stderr pm-send unix:s <big.pms
		[[ "$stderr" == *", $bytes bytes in" ]]
		ends_with 1 "$receiver"
	done
	listen unix:s -- sh -c 'exit 7'
	run -1 --separate-stderr pm-send unix:s <big.pms
	[[ "$stderr" == *": sh: ended with status 7" ]]
	ends_with 1 "$receiver"
}

@test "what a command prints is cut at 64 KiB, with a warning" {
	stage full.pms
	for bytes in 65536 65537 200000; do
		listen unix:s -- sh -c \
		    "cat >/dev/null; seq 100000 | head -c $bytes"
		pm-send -o sent unix:s <full.pms
		wait "$receiver"
		seq 100000 | head -c 65536 >want
		cmp sent want
		cmp got want
		case $bytes in
		65536) [ ! -s got.err ] ;;
		*) grep -q 'wrote more than 65536 bytes' got.err ;;
		esac
	done
}

@test "a command gets no descriptor of ours, and plain signals" {
	stage full.pms
	listen 127.0.0.1:0 -o out --stats stats -- bash -c \
	    'cat >/dev/null; readlink /proc/$$/fd/*
	    sed -n "s/^Sig\(Blk\|Ign\):.*\(....\)$/\1 \2/p" /proc/$$/status'
	pm-send "$address" <full.pms >/dev/null
	wait "$receiver"
	[ "$(grep -c '^/memfd:pm-recv' out)" -eq 1 ]
	run ! grep -E 'socket:|/#[0-9]+ \(deleted\)|stats' out
	grep -qx 'Blk 0000' out
	# Neither SIGPIPE nor SIGUSR1; the shell ignores others.
	[ $((0x$(sed -n 's/^Ign //p' out) & 0x1200)) -eq 0 ]
}

@test "a sender that is killed in the middle leaves nothing" {
	stage big.pms
	echo precious >image
	for way in "-o out" "-- pm-apply image" "-- sh -c 'cat >all'"; do
		mkfifo pipe
		eval "listen 127.0.0.1:0 $way"
		pm-send "$address" <pipe 2>/dev/null 3>&- &
		sender=$!
		exec 4>pipe
		head -c 10000000 big.pms >&4
		kill -9 "$sender"
		ends_with 137 "$sender"
		exec 4>&-
		ends_with 3 "$receiver"
		grep -q '^pm-recv: 127.0.0.1:0: the sender vanished' got.err
		[ ! -e out ]
		[ "$(cat image)" = precious ]
		rm pipe
	done
	[ ! -e image.pm-torn ]
	# The command was given what there was, and the end of its input.
	cmp -n "$(size all)" all big.pms
}

@test "a receiver that ends leaves no process behind" {
	stage full.pms big.pms
	consumer='echo $$ >pid; exec cat >/dev/null'
	listen unix:s -- sh -c "$consumer"
	pm-send unix:s <full.pms
	wait "$receiver"
	until_true has_ended "$(cat pid)"
	# And one that is killed: its command sees its input end.
	rm pid
	listen unix:s -- sh -c "$consumer"
	mkfifo pipe
	pm-send unix:s <pipe 2>/dev/null 3>&- &
	sender=$!
	exec 4>pipe
	head -c 70000 full.pms >&4
	until_true test -s pid
	kill -9 "$receiver"
	ends_with 137 "$receiver"
	until_true has_ended "$(cat pid)"
	exec 4>&-
	wait "$sender" || :
}

@test "an output that is closed is told to the sender, and is a signal" {
	stage big.pms
	(
		set +e
		pm-recv unix:s 2>/dev/null
		echo $? >status
	) 3>&- | head -c 10 >/dev/null &
	until_true test -S s
	run -1 --separate-stderr pm-send unix:s <big.pms
	[[ "$stderr" == *": the receiver failed: <stdout>: Broken pipe" ]]
	wait $!
	[ "$(cat status)" -eq 141 ]
	[ ! -e s ]
}

@test "a full disk is told to the sender" {
	[ "$(id -u)" -eq 0 ] || skip "only root may mount"
	stage big.pms
	mkdir small
	mount -t tmpfs -o size=4m none small || skip "there is no tmpfs"
	listen 127.0.0.1:0 -o small/out
	run -1 --separate-stderr pm-send "$address" <big.pms
	[ "$stderr" = "pm-send: $address: the receiver failed: No space left \
on device" ]
	ends_with 1 "$receiver"
	grep -qx 'pm-recv: small/out: No space left on device' got.err
	[ -z "$(ls -A small)" ]

	listen unix:s -- pm-apply small/image
	run -1 pm-send unix:s <big.pms
	ends_with 1 "$receiver"
	grep -q '^pm-apply: .*No space left on device' got.err
	[ -z "$(ls -A small)" ]
}

@test "an output that cannot be written is told to the sender" {
	stage full.pms
	listen unix:s -o /dev/full
	run -1 --separate-stderr pm-send unix:s <full.pms
	[[ "$stderr" == *": the receiver failed: No space left on device" ]]
	ends_with 1 "$receiver"
	listen unix:s -o /dev/full -- pm-apply image
	run -1 --separate-stderr pm-send unix:s <full.pms
	[ -z "$output" ]
	[[ "$stderr" == *": the receiver failed: No space left on device" ]]
	ends_with 1 "$receiver"
	grep -qx 'pm-recv: /dev/full: No space left on device' got.err
}

hears() { # STATUS WORDS: what it makes of what comes on standard input
	listen unix:s -o out
	nc -N -U s >answer 2>/dev/null || :
	ends_with "$1" "$receiver"
	# shellcheck disable=SC2053
	[[ "$(cat got.err)" == "pm-recv: unix:s: "$2 ]]
	[ ! -e out ]
	[ ! -e s ]
}

turns_away() { # WORDS: it says of what comes on standard input, and goes on
	listen unix:s -v -o out
	nc -N -U s >answer 2>/dev/null || :
	pm-send unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
	rm out
	# shellcheck disable=SC2053
	[[ "$(sed -n 1p got.err)" == "pm-recv: $1, turned away" ]]
	grep -qx 'pm-recv: strangers 1' got.err
}

@test "what is no stream and no sender is turned away" {
	stage full.pms
	nonsense='sent neither a page stream nor the hello of pm-send'
	printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' | turns_away "$nonsense"
	head -c 100000 /dev/zero | turns_away "$nonsense"
	head -c 8 full.pms | tr '\r' '\n' | turns_away "$nonsense"
	: | turns_away 'left without a word'
	printf '\211PM' | turns_away 'left without a word'
	hello 2 2 | head -c 12 | turns_away 'left without a word'
	{ hello 2 2 0; } | turns_away 'sent a hello that makes no sense'
	printf '\026\003\001\002\000\001\000\001' |
	    turns_away 'speaks TLS, and no key was given here'
}

@test "a crowd of strangers keeps nobody out" {
	stage full.pms
	listen unix:s -v -o out
	crowd=''
	for _ in {1..70}; do
		nc -U s < <(exec sleep 60 3>&-) >/dev/null 2>&1 3>&- &
		crowd="$crowd $!"
	done
	until_true grep -q 'took too long to say hello' got.err
	SECONDS=0
	pm-send unix:s <full.pms
	[ "$SECONDS" -le 20 ]
	wait "$receiver"
	cmp out full.pms
	grep -q 'took too long to say hello, turned away' got.err
	# shellcheck disable=SC2086
	kill $crowd 2>/dev/null || :
}

@test "frames that make no sense are refused" {
	stage full.pms
	cut='the sender vanished in the middle: '
	nonsense="${cut}sent a frame that makes no sense"
	hello 2 2 | hears 3 "${cut}closed the connection"
	{ hello 2 2; frame 9 1; printf x; } | hears 3 "$nonsense"
	{ hello 2 2; frame 4 4; printf xxxx; } | hears 3 "$nonsense"
	{ hello 2 2; frame 1 0; } | hears 3 "$nonsense"
	{ hello 2 2; printf '\1\0\1\0\1\0\0\0xxxxxxxxx'; } |
	    hears 3 "$nonsense"
	{ hello 2 2; frame 1 4294967295; printf x; } | hears 3 "$nonsense"
	{ hello 2 2; frame 1 1 1000000000; printf x; } |
	    hears 3 "${cut}sent a frame from nowhere"
	{ hello 2 2; frame 2 0 9; frame 1 10; printf 0123456789; } |
	    hears 3 "${cut}sent a frame from nowhere"
	{ hello 2 2; frame 2 0 9; frame 2 0 8; } |
	    hears 3 "${cut}sent an end that makes no sense"
	# A stream that has no end record, though the sender says it is all.
	{ hello 2 2; frame 1 200; head -c 200 full.pms; frame 2 0 200; } |
	    hears 3 'stream ends early, in record 2 at byte '*
	{ hello 2 2; frame 2 0; } | hears 3 'stream ends early, '*
	{ hello 2 2; frame 3 5; printf 'wh\033[y'; } |
	    hears 3 'the sender gave up: wh?[y'
}

@test "what the sender said is told, though it left at once" {
	listen unix:s -o out
	mkfifo words
	nc -N -U s <words >answer 2>/dev/null 3>&- &
	exec 4>words
	hello 2 2 >&4
	until_true test -s answer
	kill -STOP "$receiver"
	{ frame 3 5; printf xyzzy; } >&4
	exec 4>&-
	sleep 0.3
	kill -CONT "$receiver"
	ends_with 3 "$receiver"
	[ "$(cat got.err)" = \
	    'pm-recv: unix:s: the sender gave up: xyzzy' ]
}

@test "frames are put in order, and those that come twice are taken once" {
	stage full.pms
	part() { # OFFSET SIZE
		frame 1 "$2" "$1"
		tail -c +$(($1 + 1)) full.pms | head -c "$2"
	}
	answered() {
		tail -c 20 answer | xxd -p | grep -q ^04000000
	}
	size=$(size full.pms)
	listen unix:s -o out
	{
		hello 2 2
		part 1000 50000
		part 200 30000
		part 0 100
		part 50 200
		part 30200 20000
		part 1000 50000
		frame 2 0 "$size"
		for ((at = size - size % 9999; at >= 40000; at -= 9999)); do
			part "$at" $((size - at < 9999 ? size - at : 9999))
		done
		part 0 30
		part 45000 9999
		until_true answered
		frame 5 0
		until_true has_ended "$receiver"
	} | nc -N -U s >answer
	wait "$receiver"
	cmp out full.pms
}

@test "another version of the protocol is named, and answered" {
	stage full.pms
	hello 4 3 | turns_away \
	    'speaks versions 3 to 4 of the protocol, this program 2'
	[ "$(head -c 16 answer | xxd -p)" = \
	    89504d570d0a1a0a0200020002000000 ]
	hello 1 1 | turns_away \
	    'speaks versions 1 to 1 of the protocol, this program 2'
	# One that speaks older ones too is welcome.
	{ hello 5 1; frame 2 0; } | hears 3 'stream ends early, '*
}

@test "a bare stream from nc is taken" {
	stage chain.pms b.img a.id b.id
	listen 127.0.0.1:0 --stats stats
	nc -N 127.0.0.1 "$(cat port)" <chain.pms >answer
	wait "$receiver"
	cmp got chain.pms
	[ ! -s answer ]
	grep -q '"confirmed":0,' stats
	listen unix:s -- pm-apply image
	nc -N -U s <chain.pms
	wait "$receiver"
	cat a.id b.id | cmp - got
	cmp image b.img
	# Cut anywhere, it is none.
	for cut in 8 100 5000 "$(($(size chain.pms) - 1))"; do
		head -c "$cut" chain.pms | hears 3 'stream ends early, '*
	done
	{ cat chain.pms; printf x; } |
	    hears 3 'bytes behind the end record are no stream, '*
}

@test "only this machine is listened to, unless --insecure" {
	for at in 0.0.0.0:0 192.0.2.1:7000 '[::]:0' '[2001:db8::1]:7000'; do
		run -2 --separate-stderr pm-recv -o out "$at"
		[[ "$stderr" == \
		    "pm-recv: $at: is not this machine, "*"--insecure"* ]]
		[ ! -e out ]
	done
	command -v ss >/dev/null || skip "iproute2 is not here"
	listen :0 -o out
	run ! grep -Ev '^(127\.0\.0\.1|\[::1\]):' \
	    <(ss -Hltn "sport = :$(cat port)" | awk '{ print $4 }')
	[ -n "$(ss -Hltn "sport = :$(cat port)")" ]
	kill "$receiver"
	ends_with 143 "$receiver"
	listen :0 --insecure -o out
	ss -Hltn "sport = :$(cat port)" | grep -qE '(0\.0\.0\.0|\*|\[::\]):'
	kill "$receiver"
	ends_with 143 "$receiver"
}

@test "the file of a socket is for its owner, and goes away" {
	stage full.pms
	(
		umask 0
		listen unix:s -o out
		[ "$(stat -c %a s)" = 600 ]
		pm-send unix:s <full.pms
		[ ! -e s ]
		wait "$receiver"
	)
	cmp out full.pms
	run -1 pm-recv --timeout 1 -o out unix:s
	[ ! -e s ]
}

passes_to() { # ADDRESS
	listen "$1" -o out
	pm-send "$address" <full.pms
	wait "$receiver"
	cmp out full.pms
}

@test "a socket that was left behind is replaced, one that lives is not" {
	stage full.pms
	listen unix:s -o out
	kill -9 "$receiver"
	ends_with 137 "$receiver"
	[ -S s ]
	passes_to unix:s
	listen unix:s -o out
	run -1 pm-recv -o another unix:s
	[ "$output" = "pm-recv: unix:s: Address already in use" ]
	[ -S s ]
	pm-send unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
	# What is no socket is nobody's to replace.
	echo precious >s
	run -1 pm-recv -o out unix:s
	[ "$(cat s)" = precious ]
	rm s
	ln -s nowhere s
	run -1 pm-recv -o out unix:s
	[ -L s ]
}

@test "a port that is taken is a failure" {
	listen 127.0.0.1:0 -o out
	run -1 pm-recv -o another "127.0.0.1:$(cat port)"
	[[ "$output" == *": Address already in use" ]]
	run -1 pm-recv -o another "localhost:$(cat port)"
	kill "$receiver"
	ends_with 143 "$receiver"
}

@test "addresses that are none are wrong usage" {
	for bad in '' x 7000 localhost localhost: localhost:x localhost:-1 \
	    localhost:70000 localhost:65536 localhost:0x10 localhost:1:2 ::1 \
	    ::1:7000 '[::1]' '[::1:7000' '[::1]7000' '[::1]:' unix: unix \
	    "unix:$(printf '%0108d' 0)" "$(printf '%0300d' 0):7000"; do
		run -2 --separate-stderr pm-recv -o out "$bad"
		[ "${#stderr_lines[@]}" -eq 2 ]
		[[ "$stderr" == "pm-recv: ${bad:0:200}"*": "* ]]
	done
	run -2 pm-recv -o out
	run -2 pm-recv -o out unix:s --
	[[ "$output" == "pm-recv: --: no command follows"* ]]
	run -2 pm-recv -o out -- cat
	run -1 pm-recv -o out host.invalid:7000
	[[ "$output" == "pm-recv: host.invalid:7000: "* ]]
	[ ! -e out ]
}

@test "nobody connects in time" {
	for at in unix:s 127.0.0.1:0; do
		SECONDS=0
		run -1 pm-recv --timeout 1 -o out "$at"
		[ "$output" = "pm-recv: nobody connected within 1 s" ]
		[ "$SECONDS" -ge 1 ]
		[ "$SECONDS" -le 10 ]
	done
	[ ! -e out ]
}

@test "-v tells the port, --stats what came" {
	stage full.pms
	listen 127.0.0.1:0 -v --stats stats
	grep -qx "pm-recv: listens on port $(cat port)" got.err
	pm-send "$address" <full.pms
	wait "$receiver"
	grep -q "\"bytes_in\":$(size full.pms),\"confirmed\":1," stats
	grep -qx 'pm-recv: confirmed 1' got.err
	[ "$(stat -c %a port)" = 600 ]
}
