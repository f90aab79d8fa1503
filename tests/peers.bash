# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034
# Shared by the .bats files that run programs beside each other.

# Wait until a command succeeds, at most ten seconds.
until_true() { # COMMAND...
	local i
	for ((i = 0; i < 1000; i++)); do
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
listen() { # ADDRESS [ARGUMENT...]
	rm -f port
	pm-recv --port-file port "$@" >got 2>got.err 3>&- &
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

# A hello of pm-send or pm-recv, and the head of a frame.
hello() { # NEWEST OLDEST: versions, below 8
	printf '\211PMW\r\n\032\n'
	printf '%b' "\\x0$1\\0\\x0$2\\0\\0\\0\\0\\0"
}

frame() { # TYPE SIZE: size below 256
	printf '%b' "$(printf '\\x%02x\\0\\0\\0\\x%02x\\0\\0\\0' "$1" "$2")"
}

has_ipv6() {
	grep -qs '^0*1 ' /proc/net/if_inet6
}
