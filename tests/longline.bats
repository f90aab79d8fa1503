#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154,SC2317
# The line that other tests use is as it says; see helpers/longline.c.
load helper
load images
load line

setup_file() {
	export PORT=7000
}

teardown() {
	[ -z "${server-}" ] || kill "$server" 2>/dev/null || :
	line_end
}

# Listen in b, and write what comes to the file got.
serve() {
	"${line_b[@]}" timeout 60 nc -l -N "$PORT" </dev/null >got 3>&- &
	server=$!
	line_await b "$PORT"
}

# In a, with a connection to b on descriptor 4.
dial() { # COMMANDS
	"${line_a[@]}" timeout 60 bash -c \
	    'exec 4<>/dev/tcp/10.77.0.2/'"$PORT"' && '"$1" 3>&-
}

carry() { # the file sent, to the file got
	serve
	dial 'cat >&4' <sent
	wait "$server"
}

soon() { # COMMAND...: it comes true
	local tries

	for ((tries = 0; tries < 1000; tries++)); do
		! "$@" || return 0
		sleep 0.01
	done
	return 1
}

counted() { # WAY WHAT NUMBER: more than that
	[ "$(line_count "$1" "$2")" -gt "$3" ]
}

us() { # COMMAND...: how long it takes
	local from=${EPOCHREALTIME/./}

	"$@" >&2
	echo $((${EPOCHREALTIME/./} - from))
}

@test "what goes in comes out, and is counted" {
	line_start
	serve
	image sent 3000000
	dial 'cat >&4' <sent
	wait "$server"
	cmp sent got
	[ "$(line_count forth bytes)" -gt 3000000 ]
	[ "$(line_count back bytes)" -lt 300000 ]
	[ "$(line_count forth lost)" -eq 0 ]
	[ "$(line_count forth full)" -eq 0 ]
	[ "$(line_count forth cut)" -eq 0 ]
	run ! line_say 'jump 3'
	run ! line_say 'loss 10001'
	# At the end it writes that by itself.
	rm line.count
	line_end
	grep -q '^forth packets [0-9]* bytes [3-9]' line.count
	grep -q '^resets 0$' line.count
}

@test "it takes as long as was asked" {
	line_start delay=60
	serve
	took=$(us dial true)
	[ "$took" -ge 120000 ]
	wait "$server"
	line_say 'delay 200'
	serve
	took=$(us dial true)
	[ "$took" -ge 400000 ]
	wait "$server"
}

@test "it loses packets, the same with the same seed" {
	went() {
		[ $(($(line_count forth packets) +
		    $(line_count forth lost))) -ge "$1" ]
	}
	udp() { # how many of 1000 arrive
		line_start loss=2000 seed="$1" mtu=1500
		# Nobody listens: an answer to the last fails the next.
		"${line_a[@]}" bash -c 'exec 4>/dev/udp/10.77.0.2/9
		for ((i = 0; i < 1000; i++)); do
			until echo $i >&4; do :; done
		done' 2>/dev/null 3>&-
		soon went 1000
		line_count forth packets
		line_end
	}
	udp 1 >first
	udp 1 >again
	udp 2 >other
	cmp first again
	run ! cmp first other
	[ "$(cat first)" -ge 740 ] && [ "$(cat first)" -le 860 ]
}

@test "what is lost is sent again" {
	line_start loss=300 delay=2 mtu=1500
	serve
	image sent 1000000
	dial 'cat >&4' <sent
	wait "$server"
	cmp sent got
	[ "$(line_count forth lost)" -gt 5 ]
}

sample() { # BYTES: how many have passed when these have, and the time
	local at bytes

	passed() {
		at=${EPOCHREALTIME/./}
		bytes=$(line_count forth bytes)
		[ "$bytes" -ge "$1" ]
	}
	soon passed "$1"
	echo "$bytes" "$at"
}

@test "it is as fast as was asked, all the time" {
	line_start rate=2000000 delay=1
	image sent 3000000
	carry &
	carrier=$!
	read -r from began < <(sample 100000)
	read -r to ended < <(sample 2900000)
	wait "$carrier"
	cmp sent got
	rate=$(((to - from) * 1000000 / (ended - began)))
	echo "# $rate bytes a second"
	[ "$rate" -ge 1600000 ]
	[ "$rate" -le 2400000 ]
	line_say 'rate 20000000'
	image sent 12000000
	took=$(us carry)
	[ "$took" -ge 600000 ]
	[ "$took" -lt 5900000 ]
}

@test "what a slow line cannot hold is dropped" {
	line_start rate=1000000 delay=10
	# It ends early when it hears that nobody listens.
	floods() {
		"${line_a[@]}" bash -c 'head -c 3000000 /dev/zero |
		    dd bs=8000 status=none >/dev/udp/10.77.0.2/9' \
		    2>/dev/null 3>&- || :
		counted forth full 0
	}
	soon floods
}

@test "a pulled cable lets nothing through, and is mended" {
	line_start
	serve
	mkfifo in
	dial 'cat in >&4' &
	client=$!
	exec 5>in
	echo one >&5
	soon grep -q one got
	line_say down
	cut=$(line_count forth cut)
	echo two >&5
	soon counted forth cut "$cut"
	run ! grep -q two got
	line_say up
	soon grep -q two got
	exec 5>&-
	wait "$client"
	wait "$server"
}

declare -A served

# A connection from an end to the other, traced; both have said hello.
connect_traced() { # NAME a|b a|b COMMANDS
	local -n dials="line_$2" serves="line_$3"
	local address=10.77.0.1

	[ "$3" = a ] || address=10.77.0.2
	"${serves[@]}" strace -f -e trace=poll -o "$1.server" timeout 60 \
	    nc -l -d "$PORT" >"$1.got" 2>/dev/null 3>&- &
	served[$1]=$!
	line_await "$3" "$PORT"
	"${dials[@]}" strace -f -e trace=read,write -o "$1.client" timeout 60 \
	    bash -c "exec 4<>/dev/tcp/$address/$PORT
	    echo hello >&4; $4" >/dev/null 2>&1 3>&- &
	soon grep -q hello "$1.got"
}

was_reset() { # NAME: at both ends
	soon grep -q ECONNRESET "$1.client"
	# Nc asks for errors and reads none.
	soon grep -q POLLERR "$1.server"
	# It leaves the port then.
	wait "${served[$1]}" || :
}

@test "a connection is reset at both ends" {
	command -v strace >/dev/null || skip "needs strace"
	line_start delay=3
	connect_traced one a b 'cat <&4'
	connect_traced two b a 'cat <&4'
	[ "$(line_say 'reset one')" -eq 1 ]
	was_reset two
	run ! grep -q -e ECONNRESET -e POLLERR one.client one.server
	[ "$(line_say reset)" -eq 1 ]
	was_reset one
	[ "$(line_say reset)" -eq 0 ]
	# The line is as good as before.
	image sent 100000
	carry
	cmp sent got
}

@test "a connection is reset in the midst of a flood with losses" {
	command -v strace >/dev/null || skip "needs strace"
	line_start delay=5 loss=100 rate=20000000
	connect_traced flood a b 'cat /dev/zero >&4'
	soon counted forth bytes 3000000
	[ "$(line_say reset)" -eq 1 ]
	was_reset flood
}
