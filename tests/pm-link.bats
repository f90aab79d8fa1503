#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2030,SC2031,SC2034
# Breaks, losses and delays between pm-send and pm-recv.
load helper
load peers
load line
load breaks

setup_file() {
	make_streams
	pm-info --id big.img >big.id
}

teardown() {
	end_jobs
	line_end
}

@test "resets, ends and silence at any moment change no byte" {
	stage big.pms
	through_breaks 1 4000000
	through_breaks 2 3000000 +--connections +3
	pm-send --make-key key
	through_breaks 3 6000000 --tls-psk key +--connections +2
	through_breaks 4 2000000 --window 5M
	echo "# $breaks breaks"
}

@test "a command sees nothing of breaks but time" {
	stage big.pms big.id big.img
	local reconnect=30s at
	listen 127.0.0.1:0 --keep-alive 700ms -- pm-apply image
	at=$((20000 + (BASHPID + RANDOM) % 10000))
	"${PATH%%:*}/tests/helpers/breaker" 5 4000000 $at "$(cat port)" \
	    >ready 3>&- &
	until_true test -s ready
	timeout 60 pm-send --keep-alive 700ms --reconnect 30s --stats stats \
	    127.0.0.1:$at < <(cat big.pms) >id
	wait "$receiver"
	cmp id big.id
	cmp image big.img
	[ "$(counted stats breaks)" -gt 0 ]
}

@test "over a long line that loses packets, on one connection and four" {
	stage big.pms
	line_start delay=15 loss=50 rate=40000000
	silence=20s
	over_line nothing
	over_line nothing --connections 4 --window 64M
	[ "$breaks" -eq 0 ]
	[ "$(line_count forth lost)" -gt 0 ]
}

@test "over a line whose connections are reset" {
	stage big.pms
	line_start delay=3 rate=20000000
	over_line strike_all
	[ "$breaks" -gt 0 ]
	over_line strike_one --connections 3
	echo "# $breaks breaks"
}

@test "over a line whose cable is pulled" {
	stage big.pms
	line_start delay=2 rate=15000000
	over_line pull_cable --connections 2
	[ "$breaks" -gt 0 ]
}

has_passed() { # BYTES
	[ "$(line_count forth bytes)" -gt "$1" ]
}

@test "a cable that stays pulled is a failure, in time, at both ends" {
	stage big.pms
	line_start delay=2 rate=5000000
	"${line_b[@]}" "$(command -v pm-recv)" --insecure --reconnect 2s \
	    --keep-alive 500ms -o out 10.77.0.2:7000 2>got.err 3>&- &
	receiver=$!
	line_await b 7000
	"${line_a[@]}" "$(command -v pm-send)" --insecure --reconnect 20s \
	    10.77.0.2:7000 <big.pms 2>err 3>&- &
	sender=$!
	until_true has_passed 500000
	line_say down
	SECONDS=0
	ends_with 1 "$sender"
	ends_with 3 "$receiver"
	[ "$SECONDS" -le 15 ]
	grep -q '^pm-send: 10.77.0.2:7000: [^,]*[^ ,], and it did not come back in time$' err
	grep -q '^pm-recv: .* vanished .* did not come back in time$' got.err
	[ ! -e out ]
}
