#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031
load helper
load peers

setup_file() {
	make_streams
}

teardown() {
	local name
	end_jobs
	for name in "pm-a-$BATS_TEST_NUMBER-$$" "pm-b-$BATS_TEST_NUMBER-$$"; do
		if [ -e "/run/netns/$name" ]; then
			ip netns del "$name"
		fi
	done
}

@test "it waits for the receiver to be there" {
	stage full.pms
	pm-send unix:s <full.pms 3>&- &
	sender=$!
	until_true sleeps "$sender" pm-send
	listen unix:s -o out
	wait "$sender"
	wait "$receiver"
	cmp out full.pms
	# And at a port, which somebody has to be given first.
	listen 127.0.0.1:0 -o /dev/null
	kill "$receiver"
	ends_with 143 "$receiver"
	pm-send "$address" <full.pms 3>&- &
	sender=$!
	until_true sleeps "$sender" pm-send
	listen "$address" -o out2
	wait "$sender"
	wait "$receiver"
	cmp out2 full.pms
}

@test "it does not wait for ever" {
	stage full.pms
	for at in unix:s 127.0.0.1:1; do
		SECONDS=0
		run -1 pm-send --timeout 1 "$at" <full.pms
		[[ "$output" == "pm-send: $at: "* ]]
		[ "$SECONDS" -ge 1 ]
		[ "$SECONDS" -le 10 ]
	done
	SECONDS=0
	run -1 pm-send --timeout 0 127.0.0.1:1 <full.pms
	[ "$output" = "pm-send: 127.0.0.1:1: Connection refused" ]
	[ "$SECONDS" -le 10 ]
	# But 0 is enough for a receiver that is there.
	listen 127.0.0.1:0 -o out
	pm-send --timeout 0 "$address" <full.pms
	wait "$receiver"
	cmp out full.pms
}

@test "the id comes back, or goes where -o says" {
	stage full.pms a.id a.img
	listen unix:s -- pm-apply image
	pm-send --stats stats unix:s <full.pms | cmp - a.id
	wait "$receiver"
	grep -q "\"bytes_in\":$(size full.pms),\
\"bytes_out\":$(size full.pms),\"confirmed\":1," stats
	listen unix:s -- pm-apply image2
	run -0 --separate-stderr pm-send -o id unix:s <full.pms
	[ -z "$output$stderr" ]
	wait "$receiver"
	cmp id a.id
	cmp image2 a.img
}

@test "an input that is cut is told to both ends" {
	stage full.pms
	for cut in 0 5 8 100 70000 200000 "$(($(size full.pms) - 1))"; do
		head -c "$cut" full.pms >cut.pms
		for way in "-o out" "-- pm-apply image" "-- cat"; do
			# shellcheck disable=SC2086
			listen unix:s $way
			run -3 --separate-stderr pm-send unix:s <cut.pms
			[[ "$stderr" == "pm-send: <stdin>: "*"ends early"* ]]
			ends_with 3 "$receiver"
			# From a pipe too, in the same words.
			said=$stderr
			# shellcheck disable=SC2086
			listen unix:s $way
			run -3 --separate-stderr pm-send unix:s \
			    < <(cat cut.pms)
			[ "$stderr" = "$said" ]
			ends_with 3 "$receiver"
			grep -q "^pm-recv: unix:s: the sender gave up: \
.*stream ends early" got.err
			[ ! -e out ]
			[ ! -e image ]
		done
	done
}

@test "an input that is corrupt is told to both ends" {
	stage full.pms
	printf X | dd of=full.pms bs=1 seek=150 conv=notrunc status=none
	listen unix:s -o out
	run -3 --separate-stderr pm-send unix:s <full.pms
	[[ "$stderr" == "pm-send: <stdin>: record 1 at byte "* ]]
	ends_with 3 "$receiver"
	grep -q '^pm-recv: unix:s: the sender gave up: record 1 at' got.err
}

@test "that an input is cut is told in spite of a rate" {
	stage full.pms
	head -c 200000 full.pms >cut.pms
	SECONDS=0
	listen unix:s -o out
	run -3 --separate-stderr pm-send --rate 4K unix:s <cut.pms
	[[ "$stderr" == *"ends early"* ]]
	ends_with 3 "$receiver"
	grep -q '^pm-recv: unix:s: the sender gave up: ' got.err
	[ "$SECONDS" -le 20 ]
}

@test "a receiver that is killed is a failure" {
	stage big.pms
	for at in unix:s 127.0.0.1:0; do
		rm -f pid
		listen "$at" -- sh -c 'echo $$ >pid; exec sleep 600'
		pm-send --timeout 5 "$address" <big.pms >sent 2>err 3>&- &
		sender=$!
		until_true test -s pid
		kill -9 "$receiver"
		ends_with 137 "$receiver"
		ends_with 1 "$sender"
		kill "$(cat pid)"
		[ "$(wc -l <err)" -eq 1 ]
		grep -q "^pm-send: $address: " err
		[ ! -s sent ]
	done
}

@test "a receiver that failed is heard, though the input goes on" {
	stage full.pms
	mkfifo pipe
	for at in unix:s 127.0.0.1:0; do
		rm -f pid
		listen "$at" -- sh -c 'echo $$ >pid; exit 9'
		pm-send "$address" <pipe 2>err 3>&- &
		sender=$!
		exec 4>pipe
		# It may have ended before it was given all.
		head -c 70000 full.pms >&4 2>/dev/null || :
		until_true test -s pid
		tail -c +70001 full.pms >&4 2>/dev/null || :
		exec 4>&-
		ends_with 1 "$sender"
		ends_with 1 "$receiver"
		grep -qx "pm-send: $address: the receiver failed: sh: ended \
with status 9" err
	done
}

@test "--raw sends the bare stream" {
	stage chain.pms
	nc -l -U s >out 3>&- &
	until_true test -S s
	run -0 --separate-stderr pm-send --raw unix:s <chain.pms
	[ -z "$output" ]
	[ "$stderr" = \
	    "pm-send: --raw: nobody will confirm that it arrived" ]
	wait $!
	cmp out chain.pms
	rm -f s
	nc -l -U s >out 3>&- &
	until_true test -S s
	run -0 --separate-stderr pm-send -q --raw --stats stats unix:s \
	    <chain.pms
	[ -z "$stderr" ]
	wait $!
	cmp out chain.pms
	grep -q '"confirmed":0,' stats
	# pm-recv takes it too.
	listen 127.0.0.1:0
	pm-send -q --raw "$address" <chain.pms
	wait "$receiver"
	cmp got chain.pms
}

@test "--raw to one that leaves is a failure, and a cut input too" {
	stage big.pms
	mkfifo never
	nc -l -U s >never 3>&- &
	peer=$!
	exec 4<>never
	until_true test -S s
	pm-send -q --raw unix:s <big.pms 2>err 3>&- 4>&- &
	sender=$!
	until_true sleeps "$sender" pm-send
	kill -9 "$peer"
	ends_with 137 "$peer"
	ends_with 1 "$sender"
	grep -q '^pm-send: unix:s: ' err
	exec 4>&-
	head -c 5000 big.pms >cut.pms
	listen 127.0.0.1:0 -o out
	run -3 pm-send -q --raw "$address" <cut.pms
	ends_with 3 "$receiver"
	[ ! -e out ]
}

says() { # WORDS [SECONDS]: what it makes of what another end says on standard input
	rm -f s
	nc -N -l -U s <&0 >/dev/null 3>&- &
	peer=$!
	until_true test -S s
	run -1 --separate-stderr pm-send --reconnect 0 \
	    --timeout "${2:-10}" unix:s <full.pms
	[ -z "$output" ]
	[ "$stderr" = "pm-send: unix:s: $1" ]
	end "$peer"
}

@test "an end that is no pm-recv is named" {
	stage full.pms
	says 'is not a pm-recv; --raw sends to anything' \
	    < <(printf 'SSH-2.0-OpenSSH_9.2 and so on\r\n'; sleep 0.2)
	says 'does not answer' 1 < <(sleep 3)
	says 'closed the connection without a word' </dev/null
	says 'closed the connection without a word' < <(hello 2 2 | head -c 9)
	says 'speaks versions 5 to 7 of the protocol, this program 2' \
	    < <(hello 7 5)
}

@test "an answer that makes no sense is a failure" {
	stage full.pms
	nonsense='sent a frame that makes no sense'
	says "$nonsense" < <(hello 2 2; frame 4 3; printf xxx)
	says "$nonsense" < <(hello 2 2; frame 1 8; printf xxxxxxxx)
	says "$nonsense" < <(hello 2 2; frame 4 4294967295; printf xxxxxxxx)
	says "$nonsense" < <(hello 2 2; frame 0 0)
	says "$nonsense" < <(hello 2 2; frame 6 1; printf x)
	says 'the receiver failed: y?[mx' \
	    < <(hello 2 2; frame 4 10; printf '\1\0\0\0y\033[mx\n')
	# It may say how it ends, and only 3 has a meaning.
	says 'the receiver failed: x' \
	    < <(hello 2 2; frame 4 5; printf '\377\377\377\377x')
}

@test "a success of what was not sent is none" {
	stage full.pms
	nc -N -l -U s < <(hello 2 2; frame 4 4; le 4 0; sleep 3) >/dev/null \
	    3>&- &
	until_true test -S s
	run -1 --separate-stderr pm-send unix:s \
	    < <(head -c 70000 full.pms; exec sleep 20 3>&-)
	[ "$stderr" = 'pm-send: unix:s: sent a result that makes no sense' ]
}

@test "nothing is sent to other machines, unless --insecure" {
	stage full.pms
	for at in 192.0.2.1:7000 10.0.0.1:7000 '[2001:db8::1]:7000' \
	    '[::ffff:192.0.2.1]:7000' 0.0.0.0:7000; do
		run -2 --separate-stderr pm-send "$at" <full.pms
		[[ "$stderr" == \
		    "pm-send: $at: is not this machine, "*"--insecure"* ]]
		run -2 pm-send --raw "$at" <full.pms
	done
}

@test "addresses that are none are wrong usage" {
	stage full.pms
	for bad in '' x 7000 localhost localhost: localhost:x localhost:0 :0 \
	    :00 localhost:70000 localhost:65536 localhost:1:2 ::1 ::1:7000 \
	    '[::1]' '[::1:7000' '[::1]7000' '[::1]:' unix: \
	    "unix:$(printf '%0108d' 0)" "$(printf '%0300d' 0):7000"; do
		run -2 --separate-stderr pm-send "$bad" <full.pms
		[ "${#stderr_lines[@]}" -eq 2 ]
		[[ "$stderr" == "pm-send: ${bad:0:200}"*": "* ]]
	done
	run -1 pm-send host.invalid:7000 <full.pms
	[[ "$output" == "pm-send: host.invalid:7000: "* ]]
}

@test "--insecure sends to another machine" {
	[ "$(id -u)" -eq 0 ] || skip "only root may make network namespaces"
	command -v ip >/dev/null || skip "iproute2 is not here"
	local a="pm-a-$BATS_TEST_NUMBER-$$" b="pm-b-$BATS_TEST_NUMBER-$$"
	if ! { ip netns add "$a" && ip netns add "$b" &&
	    ip link add pm0 netns "$a" type veth peer name pm1 netns "$b" &&
	    ip netns exec "$a" true
	} 2>/dev/null; then
		ip netns del "$a" 2>/dev/null || :
		ip netns del "$b" 2>/dev/null || :
		skip "network namespaces or veth are not here"
	fi
	stage big.pms
	ip -n "$a" addr add 10.77.0.1/24 dev pm0
	ip -n "$b" addr add 10.77.0.2/24 dev pm1
	ip -n "$a" link set pm0 up
	ip -n "$b" link set pm1 up
	for at in 10.77.0.2:7000 :7000; do
		rm -f port
		ip netns exec "$b" pm-recv --insecure --port-file port \
		    -o out "$at" 2>got.err 3>&- &
		receiver=$!
		until_true test -s port
		run -2 ip netns exec "$a" pm-send 10.77.0.2:7000 <big.pms
		ip netns exec "$a" pm-send --insecure 10.77.0.2:7000 <big.pms
		wait "$receiver"
		cmp out big.pms
	done
	# Without it, a receiver that listens is not there for others.
	ip netns exec "$b" ip link set lo up
	rm port
	ip netns exec "$b" pm-recv --port-file port -o out :7000 3>&- &
	receiver=$!
	until_true test -s port
	run -1 ip netns exec "$a" pm-send --insecure --timeout 0 \
	    10.77.0.2:7000 <big.pms
	[[ "$output" == *"Connection refused" ]]
	kill "$receiver"
	ends_with 143 "$receiver"
}

@test "it waits for the receiver where IPv6 is switched off" {
	[ "$(id -u)" -eq 0 ] || skip "needs root, for a network of its own"
	stage full.pms
	unshare -n bash -c 'ip link set lo up
	    echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	    (until [ -e tried ]; do :; done; sleep 0.3
	    exec pm-recv -o out :7000) 3>&- &
	    touch tried
	    pm-send --timeout 10 :7000 <full.pms && wait $!'
	cmp full.pms out
}
