# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
# Shared by the .bats files that run programs beside each other.

# Wait until a command succeeds, at most a minute.
until_true() { # COMMAND...
	local i
	for ((i = 0; i < 6000; i++)); do
		if "$@"; then
			return 0
		fi
		sleep 0.01
	done
	echo "never: $*"
	return 1
}

sleeps() { # PID NAME: it is that program, and waits
	[ "$(cat "/proc/$1/comm")" = "$2" ] &&
	    grep -q '^State:.S' "/proc/$1/status"
}

ends_with() { # STATUS PID: a child of the shell that calls this
	local status=0
	wait "$2" || status=$?
	echo "ended with $status"
	[ "$status" -eq "$1" ]
}

# End a child.  One that is not the program yet, but still a copy of the
# shell, may lose the signal.
end() { # PID
	while kill "$1" 2>/dev/null; do
		sleep 0.01
	done
	wait "$1" || :
}

# A test that failed may have left some that would wait for ever.
end_jobs() {
	local pid
	for pid in $(jobs -p); do
		kill "$pid" 2>/dev/null || :
	done
}

teardown() {
	end_jobs
}

has_ended() { # PID
	! kill -0 "$1" 2>/dev/null
}

size() { wc -c <"$1"; }

stage() { # FILE...: copies of what the file's setup made
	local file
	for file; do
		cp "$BATS_FILE_TMPDIR/$file" .
	done
}

# Start pm-recv in the background.  Its pid is in receiver, its address in
# address, with the port that it was given; its output in got and got.err.
# A break is the end, unless reconnect says how long one may last.
listen() { # ADDRESS [ARGUMENT...]
	rm -f port
	pm-recv --reconnect "${reconnect:-0}" --port-file port "$@" \
	    >got 2>got.err 3>&- &
	receiver=$!
	until_true test -s port
	address=${1/%:0/:$(cat port)}
}

# Streams: full.pms of a.img, one.pms from there to b.img, both in chain.pms,
# and big.pms, which is more than sockets and pipes hold.
make_streams() {
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	cd "$BATS_FILE_TMPDIR" || return
	seq 100000 | head -c 300000 >a.img
	truncate -s 400000 a.img
	cp a.img b.img
	printf changed | dd of=b.img bs=1 seek=9999 conv=notrunc status=none
	seq 10000000 | head -c 24M >big.img
	pm-snapshot -o full.pms a.img
	pm-snapshot -o one.pms --base a.img b.img
	pm-snapshot -o big.pms big.img
	cat full.pms one.pms >chain.pms
	pm-info --id a.img >a.id
	pm-info --id b.img >b.id
}

le() { # BYTES NUMBER: little-endian
	local i number=$2
	for ((i = 0; i < $1; i++)); do
		printf '%b' "\\x$(printf %02x $((number & 255)))"
		number=$((number >> 8))
	done
}

# A hello of pm-send, or a reply of pm-recv, which welcomes it.
hello() { # NEWEST OLDEST: versions
	printf '\211PMW\r\n\032\n'
	le 2 "$1"
	le 2 "$2"
	le 4 0
	printf %-16s name
	le 4 0			# the connection, or flags
	le 4 "${3:-1}"		# how many
	le 4 64			# frames
	le 4 0			# a break
	le 4 20000		# silence
	le 4 0
	le 8 0			# from where on
	le 8 0
	le 8 0
}

frame() { # TYPE SIZE [OFFSET]: the head of a frame
	le 4 "$1"
	le 4 "$2"
	le 8 "${3:-0}"
}

has_ipv6() {
	grep -qs '^0*1 ' /proc/net/if_inet6
}
