#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031,SC2034
load helper
load peers

# What is measured here is held up by a busy machine, and by nothing else: so
# one good measurement of three shows that it can be done, and what is wrong
# fails all three.
ONE_OF=20

setup_file() {
	make_streams
	seq 100000000 | head -c 75M >huge.img
	head -c 8M huge.img >some.img
	pm-snapshot -o huge.pms huge.img
	pm-snapshot -o some.pms some.img
	rm huge.img
}

setup() {
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	PATH="${PATH%%:*}/tests/helpers:$PATH"
	cd "$BATS_TEST_TMPDIR" || return
	ulimit -c 0
	dir=$BATS_FILE_TMPDIR
}

teardown() {
	local pid
	# One that was stopped would not end.
	for pid in $(jobs -p); do
		kill -CONT "$pid" 2>/dev/null || :
	done
	end_jobs
}

counted() { # STATS NAME
	sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

size_is_above() { # FILE BYTES
	[ "$(size "$1" 2>/dev/null || echo 0)" -gt "$2" ]
}

# Start a receiver, and before it one that notes what arrives, and when.
watch() {
	listen unix:s -o /dev/null
	rm -f p ready
	arrivals p s seen >ready 3>&- &
	watcher=$!
	until_true grep -q ready ready
}

# All has arrived: the bytes a second of it are in measured.
measure() {
	local bytes us
	wait "$receiver"
	wait "$watcher"
	read -r bytes us _ <seen.total
	measured=$((bytes * 1000000 / (us + 1)))
	echo "$bytes bytes in $us us, $measured a second"
}

# Within 3 %, and evenly: at most 5 % of all 10 ms have more than three times
# their share.  The sender lets out no more than 10 ms' worth at once, which
# may come together with those before and behind it, but a reader that is late
# finds more.
is_kept() { # RATE
	measure
	[ "$measured" -ge $(($1 * 97 / 100)) ] || return 1
	[ "$measured" -le $(($1 * 103 / 100)) ] || return 1
	awk -v most=$(($1 * 3 / 100)) '
		$1 > most { bursts++ }
		END {
			printf "%d of %d in bursts\n", bursts, NR
			exit bursts * 20 > NR
		}' seen.windows
}

keeps() { # RATE FILE [ARGUMENT...]
	local rate=$1 file=$2 i
	shift 2
	for ((i = 0; i < ONE_OF; i++)); do
		watch
		pm-send --rate "$rate" --stats stats "$@" unix:p <"$file"
		if is_kept "$rate"; then
			return 0
		fi
	done
	return 1
}

@test "--rate is kept, within 3 % and evenly" {
	keeps 5000000 "$dir/some.pms"
	# What the sender says of itself is the same.
	[ "$(counted stats rate)" -ge 4000000 ]
	[ "$(counted stats rate)" -le 5300000 ]
	keeps 50000000 "$dir/huge.pms"
}

@test "--rate is that of all connections together" {
	keeps 20000000 "$dir/big.pms" --connections 3
	[ "$(cut -d ' ' -f 3 seen.total)" -eq 3 ]
}

@test "--rate 0 is no limit, and what is no rate is wrong usage" {
	for rate in 0 @zero; do
		echo 0 >zero
		watch
		pm-send --rate "$rate" unix:p <"$dir/big.pms"
		measure
		[ "$measured" -gt 10000000 ]
	done
	echo fast >fast
	: >empty
	for bad in '' x -1 1.5 1MB @ @nowhere @fast @empty; do
		run -2 timeout 5 pm-send --rate "$bad" unix:s <"$dir/full.pms"
		[[ "$output" == "pm-send: --rate: "* ]]
	done
	run -2 timeout 5 pm-send --raw --rate 1M unix:s <"$dir/full.pms"
}

@test "--rate @FILE is read again when it changes" {
	echo 2M >rate
	watch
	pm-send -v --rate @rate unix:p <"$dir/big.pms" 2>err 3>&- &
	sender=$!
	until_true size_is_above seen.forth 300000
	# What says no rate changes nothing, nor does it when the file goes.
	echo quickly >rate
	sleep 0.3
	rm rate
	sleep 0.3
	[ "$(size seen.forth)" -lt 12000000 ]
	run ! grep -q 'the rate is' err
	echo 4M >new
	mv new rate
	until_true grep -qx \
	    'pm-send: the rate is 4194304 bytes a second' err
	# Written in place, it is empty for a moment.
	echo 60M >rate
	until_true grep -qx \
	    'pm-send: the rate is 62914560 bytes a second' err
	wait "$sender"
	measure
	# At the first rate it would have been 12 seconds.
	[ "$measured" -gt 4200000 ]
}

takes() { # MS MS COMMAND...: at least, at most
	local least=$1 most=$2 begun=$EPOCHREALTIME ms
	shift 2
	"$@"
	ms=$(((${EPOCHREALTIME/./} - ${begun/./}) / 1000))
	echo "$ms ms"
	[ "$ms" -ge "$least" ] && [ "$ms" -le "$most" ]
}

@test "--count-zero: pages of zeroes take the time of whole ones" {
	truncate -s 20000000 zero.img
	pm-snapshot zero.img >zero.pms
	[ "$(size zero.pms)" -lt 100000 ]
	zeroes() {
		# No disk is waited for.
		listen unix:s -- cmp - zero.pms
		pm-send --keep-alive 1s --rate 10000000 --stats stats "$@" \
		    unix:s <zero.pms
		wait "$receiver"
		[ "$(counted stats breaks)" -eq 0 ]
	}
	takes 1900 9000 zeroes --count-zero
	takes 0 1899 zeroes
}

@test "--count-zero: a long debt is no silence" {
	(head -c 1500000 "$dir/big.img"; head -c 25000000 /dev/zero
	head -c 1500000 "$dir/big.img") >mixed.img
	pm-snapshot mixed.img >mixed.pms
	listen unix:s --keep-alive 1s --stats got.stats -o out
	takes 2500 9000 pm-send --count-zero --keep-alive 1s --rate 10000000 \
	    --stats stats unix:s <mixed.pms
	wait "$receiver"
	cmp out mixed.pms
	[ "$(counted stats breaks)" -eq 0 ]
	[ "$(counted got.stats breaks)" -eq 0 ]
}

has_read() { # BYTES: of its input, has the sender
	[ "$(sed -n 's/^pos:[^0-9]*//p' "/proc/$sender/fdinfo/0")" -gt "$1" ]
}

# A transfer in which one end will be stopped; it lasts two seconds if not.
begin() { # BREAK: how long it may last at both ends
	reconnect=$1
	listen "$at" --keep-alive 1s -v -o out
	pm-send -v --reconnect "$1" --keep-alive 1s --rate 12M --stats stats \
	    "$address" <"$dir/big.pms" 2>err 3>&- &
	sender=$!
	# It is in the middle of it.
	until_true has_read 5000000
}

@test "an end that is stopped fell silent, and goes on when it does" {
	at=127.0.0.1:0
	begin 20s
	kill -STOP "$receiver"
	until_true grep -q 'connection 1: fell silent; connects' err
	kill -CONT "$receiver"
	wait "$sender"
	wait "$receiver"
	cmp out "$dir/big.pms"
	[ "$(counted stats breaks)" -ge 1 ]
	rm out
	at=unix:s
	begin 20s
	kill -STOP "$sender"
	until_true grep -q 'connection 1: fell silent; waits' got.err
	kill -CONT "$sender"
	wait "$sender"
	wait "$receiver"
	cmp out "$dir/big.pms"
}

@test "an end that is stopped for too long is a failure, in time" {
	at=127.0.0.1:0
	begin 1s
	kill -STOP "$receiver"
	begun=$EPOCHREALTIME
	ends_with 1 "$sender"
	[ $((${EPOCHREALTIME/./} - ${begun/./})) -lt 15000000 ]
	tail -n 1 err
	[[ "$(tail -n 1 err)" == "pm-send: $address: "*", and it did not come \
back in time" ]]
	kill -CONT "$receiver"
	ends_with 3 "$receiver"
	begin 1s
	kill -STOP "$sender"
	begun=$EPOCHREALTIME
	ends_with 3 "$receiver"
	[ $((${EPOCHREALTIME/./} - ${begun/./})) -lt 15000000 ]
	[[ "$(tail -n 1 got.err)" == "pm-recv: $at: the sender vanished in \
the middle, and did not come back in time" ]]
	kill -CONT "$sender"
	ends_with 1 "$sender"
	[ ! -e out ]
}

@test "who rests is not silent: a source, a consumer, a command" {
	local -a senders receivers
	alive=(--keep-alive 1s --reconnect 20s)
	for who in source consumer command; do
		case $who in
		consumer)
			(pm-recv "${alive[@]}" --stats "got.$who" \
			    unix:$who | (sleep 2.5; cat) >"out.$who") 3>&- &
			;;
		source)
			pm-recv "${alive[@]}" --stats "got.$who" \
			    -o "out.$who" unix:$who 3>&- & ;;
		command)
			pm-recv "${alive[@]}" --stats "got.$who" unix:$who \
			    -- sh -c 'cat >out.command; sleep 2.5' 3>&- & ;;
		esac
		receivers+=($!)
		until_true test -S $who
		if [ $who = source ]; then
			(head -c 9000000 "$dir/big.pms"; sleep 2.5
			tail -c +9000001 "$dir/big.pms") |
			    pm-send "${alive[@]}" --stats "sent.$who" \
			    unix:$who 3>&- &
		else
			pm-send "${alive[@]}" --stats "sent.$who" unix:$who \
			    <"$dir/big.pms" 3>&- &
		fi
		senders+=($!)
	done
	for pid in "${senders[@]}" "${receivers[@]}"; do
		wait "$pid"
	done
	for who in source consumer command; do
		cmp "out.$who" "$dir/big.pms"
		[ "$(counted "sent.$who" breaks)" -eq 0 ]
		[ "$(counted "got.$who" breaks)" -eq 0 ]
	done
}
