#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031,SC2034
load helper
load peers

setup_file() {
	make_streams
	# Another stream, of as many bytes and more, that begins otherwise.
	tr 0-9 a-j <big.img >other.img
	pm-snapshot -o other.pms other.img
}

size_is_above() { # FILE BYTES
	[ "$(size "$1" 2>/dev/null || echo 0)" -gt "$2" ]
}

# Start pm-recv where it listened, and keep what there is.
listen_again() {
	listen "$address" --resume -o out --stats got.stats
}

strike() { # kill it as hard as can be
	kill -9 "$receiver"
	ends_with 137 "$receiver"
}

counted() { # STATS NAME
	sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

# A transfer whose receiver is killed again and again.
survives() { # ADDRESS CONNECTIONS INPUT
	local reconnect=20s
	rm -f out
	address=$1
	listen_again
	pm-send --reconnect 20s --rate 12M --connections "$2" --stats stats \
	    "$address" <"$3" 3>&- &
	sender=$!
	local had=0
	for more in 0 2000000 3000000 3000000; do
		until_true size_is_above out $((had + more))
		strike
		had=$(size out)
		[ "$had" -lt "$(size big.pms)" ]
		listen_again
	done
	wait "$sender"
	wait "$receiver"
	cmp out big.pms
	[ "$(counted stats breaks)" -ge 2 ]
	[ "$(counted stats bytes_again)" -gt 0 ]
	# What it had was not sent again.
	[ "$(counted stats bytes_again)" -lt 9000000 ]
	[ "$(counted stats wire_bytes)" -lt $(($(size big.pms) + 9000000)) ]
	[ "$(counted got.stats bytes_kept)" -gt $((had - 1000000)) ]
}

@test "a receiver that is killed goes on: a file is read again" {
	stage big.pms
	survives unix:s 1 big.pms
	survives 127.0.0.1:0 3 big.pms
}

@test "a receiver that is killed goes on: of a pipe enough is kept" {
	stage big.pms
	mkfifo pipe
	cat big.pms >pipe 3>&- &
	survives 127.0.0.1:0 1 pipe
	cat big.pms >pipe 3>&- &
	survives unix:s 3 pipe
}

@test "a receiver that is killed with all of it has only the end to hear" {
	stage full.pms
	reconnect=20s
	mkfifo pipe
	address=unix:s
	listen_again
	pm-send --reconnect 20s --stats stats unix:s <pipe 3>&- &
	sender=$!
	exec 4>pipe
	cat full.pms >&4
	until_true cmp -s out full.pms
	strike
	listen_again 4>&-
	exec 4>&-
	wait "$sender"
	wait "$receiver"
	cmp out full.pms
	[ "$(counted got.stats bytes_kept)" -eq "$(size full.pms)" ]
}

@test "both may be killed and started again" {
	stage big.pms
	address=unix:s
	for bytes in 1000000 9000000; do
		listen_again
		pm-send --reconnect 20s --rate 8M unix:s <big.pms 3>&- &
		sender=$!
		until_true size_is_above out "$bytes"
		# Each would end by itself without the other.
		kill -STOP "$sender" "$receiver"
		kill -9 "$sender" "$receiver"
		ends_with 137 "$sender"
		ends_with 137 "$receiver"
	done
	# Or the sender alone, which ends the other, and what came stays.
	listen_again
	pm-send --reconnect 20s --rate 8M unix:s <big.pms 3>&- &
	sender=$!
	until_true size_is_above out 15000000
	kill -9 "$sender"
	ends_with 137 "$sender"
	ends_with 3 "$receiver"
	size_is_above out 15000000
	listen_again
	pm-send --stats stats unix:s < <(cat big.pms)
	wait "$receiver"
	cmp out big.pms
	[ "$(counted stats bytes_skipped)" -gt 14000000 ]
	[ "$(counted stats wire_bytes)" -lt 12000000 ]
}

@test "a file that was cut anywhere is completed" {
	stage full.pms chain.pms
	address=unix:s
	whole=$(size full.pms)
	for cut in 0 1 7 8 9 31 32 33 100 150 200 5000 70000 262144 300000 \
	    $((whole - 1)) "$whole" $((whole + 1)) $((whole + 9)) \
	    $((whole + 100)) $((whole + 1000)) $(($(size chain.pms) - 1)); do
		for way in file pipe; do
			head -c "$cut" chain.pms >out
			listen_again
			case $way in
			file) pm-send --stats stats unix:s <chain.pms ;;
			pipe) pm-send --stats stats unix:s < <(cat chain.pms) ;;
			esac
			wait "$receiver"
			cmp out chain.pms
			kept=$(counted got.stats bytes_kept)
			[ "$kept" -le "$cut" ]
			[ "$(counted stats bytes_skipped)" -eq "$kept" ]
		done
	done
	[ "$kept" -gt "$whole" ]
	# It keeps what it is for its owner alone.
	rm out
	listen_again
	pm-send unix:s <chain.pms
	wait "$receiver"
	[ "$(stat -c %a out)" = 600 ]
}

@test "a file that is whole is a success, and nothing is sent" {
	stage chain.pms
	address=unix:s
	cp chain.pms out
	for way in file pipe; do
		listen_again
		case $way in
		file) pm-send --stats stats unix:s <chain.pms ;;
		pipe) pm-send --stats stats unix:s < <(cat chain.pms) ;;
		esac
		wait "$receiver"
		cmp out chain.pms
		[ "$(counted stats wire_bytes)" -lt 1000 ]
		[ "$(counted stats bytes_skipped)" -eq "$(size chain.pms)" ]
	done
}

refuses_other() { # WORDS FILE: the source; then the file is as it was
	local words=$1 source=$2
	for way in file pipe; do
		cp before out
		listen_again
		case $way in
		file)
			run -3 --separate-stderr timeout 20 pm-send \
			    --reconnect 5s unix:s <"$source" ;;
		pipe)
			run -3 --separate-stderr timeout 20 pm-send \
			    --reconnect 5s unix:s < <(cat "$source") ;;
		esac
		echo "$stderr"
		# shellcheck disable=SC2053
		[[ "$stderr" == "pm-send: "$words ]]
		ends_with 3 "$receiver"
		grep -q '^pm-recv: unix:s: the sender gave up: ' got.err
		# A part of a record may go, and nothing else.
		cmp -n "$(size out)" out before
		[ "$(size out)" -gt $(($(size before) - 270000)) ]
	done
}

@test "a file that begins otherwise is refused, and stays as it is" {
	stage big.pms other.pms full.pms
	address=unix:s
	head -c 5000000 other.pms >before
	begin='<stdin>: does not begin with the * bytes that the receiver has'
	refuses_other "$begin; what a live source said *" big.pms
	# More than the source has, and the beginning of more.
	refuses_other "$begin: it ends before" full.pms
	head -c -10 "$BATS_FILE_TMPDIR/chain.pms" >before
	refuses_other "$begin: it ends before" full.pms
}

@test "a file that is no stream is refused, and stays as it is" {
	stage full.pms
	printf 'x\n' >short
	seq 1000 >long
	printf '\211PMX' >like
	head -c 100 full.pms | tr '\r' '\n' >mangled
	for file in short long like mangled; do
		cp "$file" out
		run -3 --separate-stderr timeout 5 pm-recv --resume -o out unix:s
		[[ "$stderr" == "pm-recv: out: "* ]]
		cmp out "$file"
	done
	# One that is damaged behind a whole record says up to where it is not.
	(cat full.pms; echo nothing) >out
	cp out before
	run -3 --separate-stderr timeout 5 pm-recv --resume -o out unix:s
	[[ "$stderr" == "pm-recv: out: "*"to go on before that, truncate -s \
$(size full.pms)" ]]
	cmp out before
	truncate -s "$(size full.pms)" out
	address=unix:s
	listen_again
	pm-send unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
}

@test "a file is kept by one pm-recv alone, and untouched until it is sent to" {
	stage big.pms
	head -c 3000000 big.pms >out
	address=unix:s
	listen_again
	run -1 --separate-stderr timeout 5 pm-recv --resume -o out unix:other
	[ "$stderr" = "pm-recv: out: another pm-recv writes to it" ]
	[ "$(size out)" -eq 3000000 ]
	pm-send unix:s <big.pms
	wait "$receiver"
	cmp out big.pms
	# A bare stream begins at its beginning, and can't be asked for more.
	head -c 3000000 big.pms >out
	listen unix:s --resume --timeout 2 -o out
	until_true test -S s
	socat -u OPEN:big.pms UNIX-CONNECT:s || :
	ends_with 1 "$receiver"
	[ "$(size out)" -eq 3000000 ]
	# Nobody came: all is as it was.
	head -c 3000000 big.pms >out
	run -1 pm-recv --resume --timeout 1 -o out unix:s
	[ "$(size out)" -eq 3000000 ]
}

@test "reading what is there already is no silence" {
	stage big.pms
	command -v strace >/dev/null || skip "strace is not here"
	head -c 20000000 big.pms >out
	address=unix:s
	reconnect=1s listen unix:s --resume --keep-alive 1s -o out
	strace -qq -o /dev/null -e trace=read \
	    -e inject=read:delay_exit=10000 pm-send --reconnect 1s \
	    --stats stats unix:s <big.pms
	wait "$receiver"
	cmp out big.pms
	[ "$(counted stats breaks)" -eq 0 ]
}

@test "a token resumes without a question, over the wire and --raw" {
	stage chain.pms full.pms
	address=unix:s
	for cut in 0 9 100000 "$(size full.pms)" $(($(size full.pms) + 500)); do
		head -c "$cut" chain.pms >out
		cp out raw
		token=$(pm-info --token out)
		listen_again
		pm-send --resume "$token" --stats stats unix:s <chain.pms
		wait "$receiver"
		cmp out chain.pms
		truncate -s "${token%%:*}" raw
		rm -f s
		nc -l -U s >>raw 3>&- &
		until_true test -S s
		pm-send -q --raw --resume "$token" unix:s <chain.pms
		wait $!
		cmp raw chain.pms
	done
	# From a pipe too.
	head -c 100000 chain.pms >out
	token=$(pm-info --token out)
	listen_again
	pm-send --resume "$token" unix:s < <(cat chain.pms)
	wait "$receiver"
	cmp out chain.pms
}

@test "a token of something else is refused" {
	stage full.pms big.pms other.pms
	address=unix:s
	head -c 100000 full.pms >out
	cp out before
	token=$(pm-info --token out)
	wrong=$(pm-info --token full.pms)
	for bad in "$wrong" "${token%????}0000"; do
		listen_again
		run -3 --separate-stderr timeout 10 pm-send --resume "$bad" \
		    unix:s <full.pms
		[[ "$stderr" == "pm-send: unix:s: has "*" bytes, and not \
those of the token" ]]
		ends_with 3 "$receiver"
		grep -q '^pm-recv: unix:s: the sender gave up: ' got.err
		cmp -n "$(size out)" out before
	done
	# A source that is another one, or has fewer bytes.
	head -c 5000000 big.pms >part
	token=$(pm-info --token part)
	for source in other.pms full.pms; do
		cp part out
		listen_again
		run -3 --separate-stderr timeout 10 pm-send \
		    --resume "$token" unix:s <"$source"
		[[ "$stderr" == "pm-send: "*"does not begin with the "* ]]
		ends_with 3 "$receiver"
		cmp -n "$(size out)" out big.pms
		rm -f s
		nc -l -U s >raw 3>&- &
		peer=$!
		until_true test -S s
		run -3 --separate-stderr timeout 10 pm-send -q --raw \
		    --resume "$token" unix:s <"$source"
		[[ "$stderr" == "pm-send: "*"does not begin with the "* ]]
		wait "$peer"
		[ ! -s raw ]
	done
}

@test "a token that is none is wrong usage" {
	stage full.pms
	token=$(pm-info --token full.pms)
	for bad in '' x 1 1:1 "$token " " $token" "0$token" "${token%?}" \
	    "${token}0" "${token^^}" "-$token" "1:0:${token##*:}" \
	    "99999999999999999999:5:${token##*:}"; do
		run -2 --separate-stderr timeout 5 pm-send --resume "$bad" \
		    unix:s <full.pms
		[[ "$stderr" == "pm-send: --resume: $bad: not a token"* ]]
	done
}

@test "--resume wants a file, and no command" {
	is_misused() {
		run -2 --separate-stderr timeout 5 pm-recv "$@"
		[[ "$stderr" == "pm-recv: --resume: "* ]]
		[ ! -e s ]
	}
	is_misused --resume unix:s
	is_misused --resume -o - unix:s
	is_misused --resume -o out unix:s -- cat
	[ ! -e out ]
	is_misused --resume -o /dev/null unix:s
	mkfifo fifo
	is_misused --resume -o fifo unix:s
	run -1 timeout 5 pm-recv --resume -o nowhere/out unix:s
}

@test "a pipe cannot be read twice: a receiver without what it had is told" {
	stage big.pms
	mkfifo pipe
	whole=$(head -c 12000000 big.pms | pm-info --token)
	whole=${whole%%:*}
	for kept in none other; do
		reconnect=20s
		rm -f out
		address=unix:s
		listen_again
		pm-send --reconnect 20s --window 5M unix:s <pipe 2>err 3>&- &
		sender=$!
		exec 4>pipe
		head -c 12000000 big.pms >&4
		until_true size_is_above out $((whole - 1))
		strike
		rm out
		# Nor with something else of that size.
		[ "$kept" = none ] ||
		    head -c 12000000 "$BATS_FILE_TMPDIR/other.pms" >out
		listen_again 4>&-
		case $kept in
		none)
			ends_with 1 "$sender"
			[ "$(tail -n 1 err)" = "pm-send: unix:s: was started \
again without what it had, and the input cannot be read twice" ]
			# It waits for another sender.
			kill "$receiver"
			ends_with 143 "$receiver"
			;;
		other)
			ends_with 3 "$sender"
			grep -q 'does not begin with the ' err
			ends_with 3 "$receiver"
			;;
		esac
		exec 4>&-
	done
}

@test "a file can be: a receiver without what it had is sent all" {
	stage big.pms
	reconnect=20s
	address=unix:s
	listen_again
	pm-send --reconnect 20s --rate 10M unix:s <big.pms 3>&- &
	sender=$!
	until_true size_is_above out 8000000
	strike
	rm out
	listen_again
	wait "$sender"
	wait "$receiver"
	cmp out big.pms
}

@test "a chain goes on where it was cut in the second stream" {
	stage big.pms
	# Both streams are long: the second goes on from the first.
	tr 1 2 <"$BATS_FILE_TMPDIR/big.img" >second.img
	pm-snapshot --base "$BATS_FILE_TMPDIR/big.img" second.img >second.pms
	cat big.pms second.pms >chain.pms
	reconnect=20s
	address=127.0.0.1:0
	listen_again
	pm-send --reconnect 20s --rate 15M "$address" <chain.pms 3>&- &
	sender=$!
	until_true size_is_above out $(($(size big.pms) + 5000000))
	strike
	[ "$(size out)" -lt "$(size chain.pms)" ]
	listen_again
	wait "$sender"
	wait "$receiver"
	cmp out chain.pms
	[ "$(counted got.stats bytes_kept)" -gt "$(size big.pms)" ]
	pm-apply image <out >/dev/null
	cmp image second.img
}
