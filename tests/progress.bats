# SPDX-License-Identifier: GPL-2.0-or-later
# What is shown on a terminal while a program works.
load helper

setup_file() {
	cd "$BATS_FILE_TMPDIR" || return
	head -c 8000000 /dev/urandom >image
	"${PM_BUILD:-$BATS_TEST_DIRNAME/../build}/pm-snapshot" image >stream
}

on_terminal() { # COMMAND: what it shows there, a line each
	script -qec "$1" /dev/null 3>&- </dev/null | tr '\r' '\n'
}

# A reader that takes its time keeps any of them busy for two seconds.
slowly='{ sleep 2.3; cat >/dev/null; }'

@test "with -v it shows rate, percent and time left, where the end is known" {
	cp "$BATS_FILE_TMPDIR/image" "$BATS_FILE_TMPDIR/stream" .
	on_terminal "pm-snapshot -v -o - image | $slowly" >shown
	grep -qE 'pm-snapshot: .* MB/s, [0-9]+ %, ETA [0-9]+ s' shown
	on_terminal "pm-compress -v -c lz4 -o - stream | $slowly" >shown
	grep -qE 'pm-compress: .* MB/s, [0-9]+ %, ETA [0-9]+ s' shown
}

@test "where the end is not known it shows the rate alone" {
	cp "$BATS_FILE_TMPDIR/stream" .
	on_terminal "cat stream | pm-delta -v -o - | $slowly" >shown
	grep -qE 'pm-delta: [0-9]+ records, .* MB/s' shown
	! grep -q ETA shown || false
}

@test "it shows nothing without -v, with -q, or where no terminal is" {
	cp "$BATS_FILE_TMPDIR/image" .
	on_terminal "pm-snapshot -o - image | $slowly" >shown
	! grep -q MB/s shown || false
	on_terminal "pm-snapshot -v -q -o - image | $slowly" >shown
	! grep -q 'MB/s' shown || false
	bash -c "pm-snapshot -v image 2>shown | $slowly"
	! grep -q 'MB/s' shown || false
}

@test "in the background it does not write over the terminal" {
	cp "$BATS_FILE_TMPDIR/image" .
	on_terminal "bash -c 'set -m; (pm-snapshot -v -o - image | $slowly) &
	    wait'" >shown
	! grep -q 'MB/s' shown || false
}
