#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2030,SC2031
# Payloads that are moved through the stages, and not copied.
load helper
load peers
load images

setup_file() {
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	cd "$BATS_FILE_TMPDIR" || return
	image img 128M
	pm-snapshot -o full.pms img
	pm-info --id img >id
}

teardown() {
	end_jobs
}

here() { # FILE...: the setup's own, for they are large
	local file
	for file; do
		ln "$BATS_FILE_TMPDIR/$file" "$file"
	done
}

# A stage that moves pages on, at once or with a rest before each 64 KiB.
move() {
	helper splicer "$@"
}

can_widen() {
	: | helper splicer | cat || skip "pipes cannot be made large"
}

arrived() {
	cmp img copy
	cmp id got
}

@test "pages that all who stand between move on arrive whole" {
	can_widen
	here img id
	set -o pipefail
	for rest in 0 1; do
		pm-snapshot img | move | move | pm-compress -l 0 | move |
		    move "$rest" | pm-apply copy >got
		arrived
	done
}

@test "and through a connection" {
	can_widen
	here img id full.pms
	set -o pipefail
	for at in unix:s 127.0.0.1:0; do
		rm -f port
		pm-recv --reconnect 0 --port-file port "$at" 3>&- | move | move 1 |
		    pm-apply copy >got 3>&- &
		sink=$!
		until_true test -s port
		pm-snapshot img | move | move |
		    pm-send "${at/%:0/:$(cat port)}"
		wait "$sink"
		arrived
		# And from a file, and to a command.
		rm -f port copy
		pm-recv --reconnect 0 --port-file port "$at" -- bash -c "
		    '${PATH%%:*}/tests/helpers/splicer' |
		    '${PATH%%:*}/tests/helpers/splicer' 1 |
		    pm-apply copy" >got 3>&- &
		sink=$!
		until_true test -s port
		pm-send "${at/%:0/:$(cat port)}" <full.pms | cmp - id
		wait "$sink"
		arrived
	done
}

@test "pages that were used again too early do not" {
	can_widen
	here img id full.pms
	# As it would be, were any of our programs to do that.
	helper splicer --hazard full.pms | move | move 1 | cat >wrong
	[ "$(size wrong)" -eq "$(size full.pms)" ]
	differ=$(cmp -l -n 8M full.pms wrong | awk '
	    int($1 / 4096) != page { page = int($1 / 4096); pages++ }
	    END { print pages + 0 }')
	echo "$differ pages differ"
	[ "$differ" -gt 1000 ] || skip "the kernel keeps them apart"
	run -3 pm-apply copy <wrong
	status=0
	helper splicer --hazard full.pms | move | move |
	    pm-compress -l 0 2>err | move | move 1 | pm-apply copy || status=$?
	[ "$status" -eq 3 ]
	[ ! -e copy ]
}

# The kernel locks a pipe while it moves something into it or out of it; who
# waited for a connection at that time would make the neighbours hang.
@test "who stands around a connection that rests can be killed" {
	here full.pms
	mkfifo in out
	for at in unix:s 127.0.0.1:0; do
		# The consumer takes nothing: the source has to wait.
		rm -f port
		sh -c 'exec sleep 60' <out 3>&- &
		consumer=$!
		pm-recv --reconnect 0 --port-file port "$at" >out 2>err 3>&- &
		receiver=$!
		until_true test -s port
		cat full.pms >in 3>&- &
		source=$!
		pm-send "${at/%:0/:$(cat port)}" <in 2>err 3>&- &
		sender=$!
		sleep 0.3
		until_true sleeps "$receiver" pm-recv
		until_true sleeps "$sender" pm-send
		kill -9 "$source"
		until_true has_ended "$source"
		end "$consumer"
		ends_with 141 "$receiver"
		wait "$sender" || :

		# The sender rests in the middle of a record.
		rm -f port
		cat <out >part 3>&- &
		consumer=$!
		pm-recv --reconnect 0 --port-file port "$at" >out 2>err 3>&- &
		receiver=$!
		until_true test -s port
		case $at in
		unix:*) nc -N -U s <in 3>&- & ;;
		*) nc -N 127.0.0.1 "$(cat port)" <in 3>&- & ;;
		esac
		sender=$!
		exec 4>in
		head -c 400000 full.pms >&4
		until_true test -s part
		sleep 0.3
		until_true sleeps "$receiver" pm-recv
		kill -9 "$consumer"
		until_true has_ended "$consumer"
		exec 4>&-
		wait "$sender" || :
		wait "$receiver" || :
	done
}
