# SPDX-License-Identifier: GPL-2.0-or-later
# The examples do what they say.
# shellcheck disable=SC2154	# run sets stderr
load helper

example() { # NAME ARG...
	local name=$1
	shift
	"$BATS_TEST_DIRNAME/../examples/$name" "$@"
}

image() { # FILE SEED
	awk -v seed="$2" 'BEGIN { srand(seed); for (i = 0; i < 60000; i++)
		print "line " i " says " (i % 50 ? 0 : rand()) }' >"$1"
	truncate -s 3M "$1"
}

wait_for() { # FILE: made by a program in the background
	local tries=0
	until [ -s "$1" ]; do
		((++tries < 200)) || return 1
		sleep 0.05
	done
}

@test "ssh.sh brings an image on another host up to date" {
	image old 1
	image new 2
	cp old there
	# Stands in for ssh: runs the command as the shell of the far end does.
	printf '#!/bin/sh\nshift\nexec sh -c "$*"\n' >ssh
	chmod +x ssh
	SSH=./ssh run -0 example ssh.sh somewhere new old there
	cmp new there
	SSH=./ssh run -3 example ssh.sh somewhere new old there
	cmp new there
}

@test "nc.sh sends to nc" {
	image new 1
	(nc -v -l 127.0.0.1 0 2>said | pm-apply there >id) 3>&- &
	wait_for said
	port=$(sed -n 's/.*[^0-9]\([0-9][0-9]*\)$/\1/p' said)
	run -0 example nc.sh to 127.0.0.1 "$port" new
	wait $!
	cmp new there
}

@test "nc.sh receives from nc" {
	image new 1
	pm-snapshot new >stream
	port=$(awk 'BEGIN { srand(); print 20000 + int(rand() * 20000) }')
	example nc.sh from "$port" there >id 3>&- &
	tries=0
	until nc -N 127.0.0.1 "$port" <stream; do
		((++tries < 100))
		sleep 0.05
	done
	wait $!
	cmp new there
}

@test "ci-ship.sh keeps a chain and restores its end" {
	for seed in 1 2 3; do
		image memory "$seed"
		run -0 example ci-ship.sh store memory kept
	done
	[ "$(find kept -name '*.pms' | wc -l)" -eq 3 ]
	run -0 example ci-ship.sh restore kept restored
	[ "${#lines[@]}" -eq 3 ]
	cmp memory restored
}

@test "the demo moves a process and proves it" {
	if [ "$(id -u)" -ne 0 ] &&
	    [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null)" != 0 ]
	then
		skip "needs root, or kernel.yama.ptrace_scope=0"
	fi
	run -0 example demo.sh
	[[ ${lines[-1]} == "Both ends hold generation "*", byte for byte." ]]
}
