# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A line between two network namespaces, for tests: see helpers/longline.c.
# Loaded after helper.  Who makes one says in teardown: line_end.
#
#	line_start delay=20 rate=1000000
#	"${line_b[@]}" pm-recv --insecure 0.0.0.0:7000 >stream &
#	line_await b 7000
#	"${line_a[@]}" pm-send --insecure 10.77.0.2:7000 <stream &
#	line_say down

# Fail, and say why, where there can be no line.
line_can() {
	local program

	[ "$(id -u)" -eq 0 ] || {
		echo "needs root"
		return 1
	}
	for program in ip nsenter; do
		command -v "$program" >/dev/null || {
			echo "needs $program"
			return 1
		}
	done
	# It may be there, and still not be for us.
	# shellcheck disable=SC2188	# to open it is all
	(: <>/dev/net/tun) 2>/dev/null || {
		echo "needs /dev/net/tun"
		return 1
	}
	# A namespace may be forbidden, as in a container.
	unshare -n true 2>/dev/null || {
		echo "needs namespaces"
		return 1
	}
}

# Make a line, or skip the test.  Its ends are 10.77.0.1 and 10.77.0.2, and
# line_a and line_b are what to put before a command to run it there; what it
# counts goes to the file line.count.
line_start() { # [delay=MS] [loss=N] [rate=N] [seed=N] [mtu=N]
	local why said

	why=$(line_can) || skip "$why"
	line_ns=pm-$BASHPID-$RANDOM
	ip netns add "$line_ns-a" && ip netns add "$line_ns-b" || return
	# shellcheck disable=SC2034	# whoever loads this uses them
	line_a=(nsenter "--net=/run/netns/$line_ns-a")
	# shellcheck disable=SC2034
	line_b=(nsenter "--net=/run/netns/$line_ns-b")
	mkfifo line.in line.out
	"${PATH%%:*}/tests/helpers/longline" "$line_ns-a" "$line_ns-b" \
	    line.count "$@" <line.in >line.out 3>&- &
	line_pid=$!
	# Each opens what the other waits for.
	exec {line_to}>line.in {line_from}<line.out
	read -r -t 10 said <&"$line_from"
	[ "$said" = ready ]
}

# Tell the line; what it answers behind "ok" is printed.
line_say() { # COMMAND
	local said

	echo "$1" >&"$line_to"
	read -r -t 10 said <&"$line_from"
	[[ $said == ok* ]] || return
	said=${said#ok}
	[ -z "$said" ] || echo "${said# }"
}

# What the line has counted so far.
line_count() { # forth|back packets|bytes|lost|full|cut
	line_say count
	awk -v way="$1" -v what="$2" '$1 == way {
		for (i = 2; i < NF; i += 2)
			if ($i == what)
				print $(i + 1)
	}' line.count
}

# Wait until a port is listened on at one end.
line_await() { # a|b PORT
	local tries port

	port=$(printf ':%04X' "$2")
	for ((tries = 0; tries < 1000; tries++)); do
		# shellcheck disable=SC2016	# fields of awk's
		! nsenter "--net=/run/netns/$line_ns-$1" \
		    awk -v port="$port\$" '$2 ~ port && $4 == "0A" { found = 1 }
		    END { exit !found }' /proc/net/tcp /proc/net/tcp6 ||
		    return 0
		sleep 0.01
	done
	return 1
}

# Take it all down; it may never have been there.
line_end() {
	[ -n "${line_ns-}" ] || return 0
	[ -z "${line_to-}" ] || exec {line_to}>&- {line_from}<&-
	# Who was started since may hold its input open.
	if [ -n "${line_pid-}" ]; then
		kill "$line_pid" 2>/dev/null || :
		wait "$line_pid" 2>/dev/null || :
	fi
	ip netns del "$line_ns-a" 2>/dev/null || :
	ip netns del "$line_ns-b" 2>/dev/null || :
	rm -f line.in line.out
	unset line_ns line_pid line_to line_from
}
