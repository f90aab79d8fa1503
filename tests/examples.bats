# SPDX-License-Identifier: GPL-2.0-or-later
# The examples do what they say.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154
load helper
load process

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

teardown() { end_started; }

needs_to_trace() {
	if [ "$(id -u)" -ne 0 ] &&
	    [ "$(cat /proc/sys/kernel/yama/ptrace_scope 2>/dev/null)" != 0 ]
	then
		skip "needs root, or kernel.yama.ptrace_scope=0"
	fi
}

# A process that holds a table, and the text needle42x, and keeps editing.
worker() {
	awk 'BEGIN {
		for (i = 0; i < 30000; i++)
			table[i] = "row " i " holds " rand()
		text = "needle" 6 * 7 "x"
		print "ready"
		fflush()
		for (;;) {
			i = int(rand() * 3000)
			table[i] = "row " i " holds " rand()
		}
	}' >ready 3>&- &
	target=$!
	started+=("$target")
	disown "$target"
	wait_for ready
}

works_on() { # PID: it runs, and nobody traces it
	grep -q '^State:.[RSD]' "/proc/$1/status"
	grep -q '^TracerPid:.0$' "/proc/$1/status"
}

id_of() { # STREAM: what it leads to
	pm-info "$1" | sed -n 's/^ *to *//p'
}

wait_for() { # FILE: made by a program in the background
	local tries=0
	until [ -s "$1" ]; do
		((++tries < 1200)) || return 1
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
	port=$(awk 'BEGIN { srand(); print 10000 + int(rand() * 10000) }')
	example nc.sh from "$port" there >id 3>&- &
	tries=0
	until nc -N 127.0.0.1 "$port" <stream; do
		((++tries < 600))
		sleep 0.05
	done
	wait $!
	cmp new there
}

# Stands in for ssh: runs the command as the shell of the far end does.
stand_in() {
	printf '#!/bin/sh\nshift\nexec sh -c "$*"\n' >ssh
	chmod +x ssh
	export SSH=$PWD/ssh
}

@test "ship.sh sends over TLS, with a key of its own" {
	image new 1
	stand_in
	run -0 example ship.sh localhost new "the re" --connections 2
	cmp new "the re"
	[ "$output" = "$(pm-info --id new)" ]
	run ! example ship.sh localhost new nowhere/there
}

@test "evacuate.sh sends many images" {
	command -v parallel >/dev/null || skip "GNU parallel is not here"
	stand_in
	mkdir there
	for i in 1 2 3 4 5; do
		image "vm$i" "$i"
	done
	run -0 --separate-stderr example evacuate.sh localhost "$PWD/there" 2 vm?
	[ "${#lines[@]}" -eq 5 ]
	for i in 1 2 3 4 5; do
		cmp "vm$i" "there/vm$i"
		[[ "$output" == *"vm$i	$(pm-info --id "vm$i")"* ]]
	done
	run ! example evacuate.sh localhost "$PWD/there" 2 vm1 nowhere
}

@test "socat.sh sends through TLS of socat" {
	command -v socat >/dev/null || skip "socat is not here"
	command -v openssl >/dev/null || skip "openssl is not here"
	image new 1
	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost \
	    -addext subjectAltName=DNS:localhost -keyout key -out cert \
	    2>/dev/null
	cat cert key >both
	port=$(awk 'BEGIN { srand(); print 10000 + int(rand() * 10000) }')
	(socat -u "OPENSSL-LISTEN:$port,reuseaddr,cert=both,cafile=cert" - |
	    pm-apply there >id) 3>&- &
	tries=0
	until example socat.sh "localhost:$port" both cert new 2>/dev/null; do
		((++tries < 600))
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
	needs_to_trace
	run -0 example demo.sh
	[[ ${lines[-1]} == "Both ends hold generation "*", byte for byte." ]]
}

@test "live-copy.sh copies a process that works, and misses nothing" {
	needs_to_trace
	worker
	run -0 timeout 60 "$BATS_TEST_DIRNAME/../examples/live-copy.sh" \
	    "$target" core
	[[ ${lines[0]} =~ ^"It was copied in "[2-9] ]]
	[ "${lines[1]}" = \
	    "Both copies hold generation $(pm-info --id core), byte for byte." ]
	grep -q needle42x core
	works_on "$target"
}

@test "live-copy.sh leaves nothing stopped when it fails" {
	needs_to_trace
	worker
	# Stands in for one whose disk gets full in the end, when the process
	# stands already.
	mkdir bin
	printf '#!/bin/sh\ncat >stream\nexit 1\n' >bin/pm-apply
	chmod +x bin/pm-apply
	PATH=$PWD/bin:$PATH run -1 timeout 60 \
	    "$BATS_TEST_DIRNAME/../examples/live-copy.sh" "$target" core
	pm-info stream
	works_on "$target"
}

@test "dump.sh dumps a process that works" {
	needs_to_trace
	worker
	run -0 timeout 60 "$BATS_TEST_DIRNAME/../examples/dump.sh" \
	    "$target" core 2s
	[[ $output =~ ^"core: "[0-9]+" pages in "[0-9]+" us; process $target stood \
still for "[1-9][0-9]*" us"$ ]]
	grep -q needle42x core
	readelf -hl core >elf
	grep -q 'CORE (Core file)' elf
	grep -q LOAD elf
	works_on "$target"
}

@test "watch.sh keeps states of a process until it ends, and restores each" {
	needs_to_trace
	worker
	"$BATS_TEST_DIRNAME/../examples/watch.sh" watch 0.1 "$target" kept \
	    >said 2>complained 3>&- &
	watcher=$!
	started+=("$watcher")
	wait_for kept/000003.pms
	kill "$target"
	wait "$watcher"
	count=$(find kept -name '*.pms' | wc -l)
	[ "$count" -ge 3 ]
	[ "$(grep -c 'pages, and the process stood still for' said)" \
	    -eq "$count" ]
	[ "$(tail -n 1 said)" = \
	    "The process ended; $count states of it are kept." ]
	for number in 1 2 3; do
		run -0 example watch.sh restore kept $number core.$number
		[ "$(pm-info --id core.$number)" = \
		    "$(id_of kept/00000$number.pms)" ]
		grep -q needle42x core.$number
	done
	run ! cmp -s core.1 core.2
	run ! cmp -s core.2 core.3
	# What changed is less than all.
	[ "$(pm-info kept/000002.pms | grep -c full)" -eq 0 ]
	run ! example watch.sh restore kept $((count + 1)) none
	[ ! -e none ]
}

@test "watch.sh goes on where it was, and without its table anew" {
	needs_to_trace
	worker
	mkdir kept
	for number in 1 2 3; do
		# In a group of its own, which is killed as by Ctrl-C.
		setsid "$BATS_TEST_DIRNAME/../examples/watch.sh" watch 30 \
		    "$target" kept >said 3>&- &
		watcher=$!
		started+=("$watcher")
		wait_for kept/00000$number.pms
		wait_for said
		kill -- "-$watcher"
		wait "$watcher" || :
		[ "$number" -ne 2 ] || rm kept/*.table
	done
	run -0 bash -c 'for part in kept/*.pms; do pm-info "$part" |
	    grep -c ", full"; done'
	[ "$output" = $'1\n0\n1' ]
	run -0 example watch.sh restore kept 3 core
	[ "$(pm-info --id core)" = "$(id_of kept/000003.pms)" ]
}
