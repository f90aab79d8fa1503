#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
# Machines of QEMU move through the programs into others.
load helper
load process
load guest
load qemu

# Guests boot once; tests start from the state that they had then.
setup_file() {
	local keep pids=() pid

	keep=$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd)/guest
	export why='' kept=$BATS_FILE_TMPDIR
	if why=$(qemu_can); then
		guest_kernel "$keep" || why='there is no kernel'
	fi
	[ -z "$why" ] || return 0
	cd "$kept" || return
	qemu_prepare "$keep/kernel"
	(trap qemu_end EXIT && qemu_keep pc) 3>&- &
	pids+=("$!")
	(trap qemu_end EXIT && qemu_keep q35) 3>&- &
	pids+=("$!")
	for pid in "${pids[@]}"; do
		wait "$pid" || why='no guest boots here'
	done
	[ -z "$why" ] || tail "$kept"/*.console "$kept"/*.log >&2
	[ -z "$why" ]
}

needs_qemu() {
	[ -z "$why" ] || skip "$why"
	ln -s "$kept/kernel" "$kept/initrd" .
}

teardown() {
	tail -n 3 -- *.log 2>/dev/null || :
	qemu_end
	end_started
	# Guests are large.
	rm -f -- *.memory *.ram *.pms *.stream
}

# The pipelines, by which a stream goes from one to the other.
wire='unix:wire'
forth='pm-snapshot --format=qemu | pm-delta --stats delta | pm-compress'
back='pm-compress -d | pm-delta -d | pm-apply --format=qemu'
native="${forth%|*} | pm-apply --format=qemu"

# A guest that stands, at a tick that was kept; its name is here.
here() { # KIND MEMORY [OPTIONS...]
	qemu_resume here "$1" "$2" "$kept" "${@:3}"
}

# Where it is to go to.
there() { # KIND MEMORY COMMAND [CAPABILITIES...]
	local capability

	qemu_start there "$1" "$2" -incoming defer
	for capability in "${@:4}"; do
		qemu_capability there "$capability"
	done
	qemu_tell there migrate-incoming "{\"uri\":\"exec:$3\"}"
}

moves() { # COMMAND
	qemu_within 10 test -S wire
	qemu_migrate here "exec:$1"
	qemu_migrated here
	qemu_arrived there
}

# What it was is there now, and works on.
is_there() {
	qemu_same here there
	qemu_tell there cont
	qemu_goes_on there 2
}

# The source is as good as before.
stays() {
	qemu_tell here cont
	qemu_goes_on here 2
}

# It did not get there, and nobody took it for a guest.
is_not_there() { qemu_refused there; }

@test "a guest moves to another QEMU, bit for bit" {
	needs_qemu
	there pc - "pm-recv $wire | $back | tee there.stream"
	here pc -
	moves "tee here.stream | $forth | pm-send $wire >sent"
	cmp here.stream there.stream
	is_there
}

@test "one with many devices moves, from a file to anonymous memory" {
	needs_qemu
	there q35 - "pm-recv $wire | $back | tee there.stream"
	here q35 here.ram
	moves "tee here.stream | $forth | pm-send $wire >sent"
	cmp here.stream there.stream
	qemu_memory there there.memory
	# Where firmware lies, the machine sees no memory.
	cmp -i 1048576 here.ram there.memory
	is_there
}

@test "the other end needs nothing of ours, and its memory may hold anything" {
	needs_qemu
	head -c "${qemu_size}M" /dev/urandom >there.ram
	there pc there.ram 'nc -l -U wire </dev/null | gzip -dc'
	here pc -
	moves "$native | gzip -1 | nc -N -U wire"
	is_there
}

# Memory of the guest here is written while it moves, in pass after pass,
# and once more when it is about to stop.
many_passes() { # COMMAND
	"${PATH%%:*}/tests/helpers/dirtier" here.qtest \
	    $(((qemu_own + 8) << 20)) 24 mixed "${PM_SEED:-1}" 3000 \
	    >dirtied 3>&- &
	dirtier=$!
	started+=("$dirtier")
	qemu_within 30 grep -q ready dirtied
	qemu_capability here pause-before-switchover
	qemu_parameter here max-bandwidth 50000000
	qemu_parameter here downtime-limit 1
	qemu_within 10 test -S wire
	qemu_migrate here "exec:$1"
	qemu_within 30 qemu_is_past here
	kill "$dirtier"
	wait "$dirtier"
	cat dirtied
	[ "$(sed -n 's/^changed //p' dirtied)" -gt 3000 ]
	[ "$(qemu_number here dirty-sync-count)" -ge 3 ]
	qemu_continue here
	qemu_migrated here
	qemu_arrived there
}

sent_deltas() {
	[ "$(sed -n 's/.*"hits":\([0-9]*\).*/\1/p' delta)" -gt 1000 ]
}

@test "memory that changes on the way is sent as differences" {
	needs_qemu
	there pc - "pm-recv $wire | $back | tee there.stream"
	here pc -
	many_passes "tee here.stream | $forth | pm-send $wire >sent"
	cmp here.stream there.stream
	is_there
	sent_deltas
}

@test "and so it is when only QEMU is at the other end" {
	needs_qemu
	there pc - 'nc -l -U wire </dev/null | tee there.stream'
	here pc -
	many_passes "tee here.stream | $native | nc -N -U wire"
	is_there
	sent_deltas
	[ "$(wc -c <there.stream)" -lt "$(wc -c <here.stream)" ]
}

@test "what QEMU makes small by itself passes, bit for bit" {
	needs_qemu
	there pc - "pm-recv $wire | $back | tee there.stream" compress
	here pc -
	qemu_capability here xbzrle
	qemu_capability here compress
	many_passes "tee here.stream | $forth | pm-send $wire >sent"
	cmp here.stream there.stream
	is_there
}

@test "and so it does behind differences of ours" {
	needs_qemu
	there pc - 'nc -l -U wire </dev/null | tee there.stream'
	here pc -
	qemu_capability here xbzrle
	many_passes "tee here.stream | $native | nc -N -U wire"
	is_there
}

@test "memory that both share does not move" {
	needs_qemu
	here pc both.ram
	there pc both.ram "pm-recv $wire | $back" x-ignore-shared
	qemu_capability here x-ignore-shared
	moves "tee here.stream | $forth | pm-send $wire >sent"
	[ "$(wc -c <here.stream)" -lt 2000000 ]
	is_there
}

@test "a guest is saved to a file, and comes back" {
	needs_qemu
	here q35 -
	qemu_migrate here "exec:pm-snapshot --format=qemu | pm-compress >guest.pms"
	qemu_migrated here
	there q35 - 'pm-apply --format=qemu <guest.pms'
	qemu_arrived there
	is_there
	# And its memory is an image.
	pm-apply --region pc.ram image.ram <guest.pms
	qemu_memory here here.memory
	cmp -i 1048576 image.ram here.memory
}

@test "a guest is saved again as what changed, and comes back" {
	needs_qemu
	here pc -
	qemu_migrate here "exec:pm-snapshot --format=qemu --save-table table \
| pm-compress >one.pms"
	qemu_migrated here
	qemu_tell here cont
	qemu_goes_on here 2
	qemu_tell here stop
	qemu_migrate here "exec:pm-snapshot --format=qemu --since table \
| pm-compress >two.pms"
	qemu_migrated here
	[ $(($(wc -c <two.pms) * 2)) -lt "$(wc -c <one.pms)" ]
	there pc - 'cat one.pms two.pms | pm-apply --format=qemu'
	qemu_arrived there
	qemu_same here there
	qemu_tell there cont
	qemu_goes_on there "$(qemu_ticks here)"
}

@test "a guest is saved as it was, and goes on meanwhile" {
	needs_qemu
	here q35 -
	qemu_tell here cont
	qemu_goes_on here 2
	qemu_capability here background-snapshot ||
	    skip 'QEMU cannot watch its guest write here'
	qemu_migrate here "exec:tee here.stream | pm-snapshot --format=qemu \
| pm-compress >guest.pms"
	qemu_migrated here
	was=$(qemu_ticks here)
	there q35 - 'pm-apply --format=qemu <guest.pms | tee there.stream'
	qemu_arrived there
	cmp here.stream there.stream
	[ "$(qemu_state there)" = running ]
	qemu_goes_on there 4
	qemu_goes_on here "$was"
}

@test "a source whose filter is killed goes on" {
	needs_qemu
	there pc - "pm-recv $wire | $back"
	here pc -
	qemu_parameter here max-bandwidth 20000000
	qemu_within 10 test -S wire
	qemu_migrate here "exec:pm-snapshot --format=qemu | sh -c \
'echo \$\$ >pid; exec pm-delta' | pm-compress | pm-send $wire >sent"
	qemu_within 10 far
	kill -9 "$(cat pid)"
	qemu_failed here
	stays
	is_not_there
}

@test "a destination that is killed, or is another machine, harms no source" {
	needs_qemu
	there pc - "pm-recv $wire | $back"
	here pc -
	qemu_parameter here max-bandwidth 8000000
	qemu_within 10 test -S wire
	qemu_migrate here "exec:$forth | pm-send --reconnect 2s $wire >sent"
	qemu_within 10 far
	qemu_end there
	qemu_failed here
	rm -f wire
	there q35 - "pm-recv $wire | $back"
	qemu_within 10 test -S wire
	qemu_migrate here "exec:$forth | pm-send --reconnect 2s $wire >sent"
	qemu_within 30 qemu_is_past here
	is_not_there
	stays
}

far() {
	[ "$(qemu_number here transferred)" -gt 20000000 ] 2>/dev/null
}

@test "a stream that was cut or damaged starts no guest" {
	local size at

	needs_qemu
	pm-snapshot --format=qemu "$kept/pc.state" >whole.pms
	size=$(stat -c %s whole.pms)
	for at in 1000 $((size / 2)) $((size - 60000)); do
		head -c "$at" whole.pms >cut.pms
		there pc - 'pm-apply --format=qemu <cut.pms'
		is_not_there
		cp whole.pms cut.pms
		printf '\377\0\377' |
		    dd of=cut.pms bs=1 seek="$at" conv=notrunc status=none
		there pc - 'pm-apply --format=qemu <cut.pms'
		is_not_there
	done
	there pc - 'pm-apply --format=qemu <whole.pms'
	qemu_arrived there
}

@test "garbage is no guest" {
	head -c 1000000 /dev/urandom >garbage
	run -3 pm-apply --format=qemu -o out <garbage
	[ ! -e out ]
	run -3 pm-snapshot --format=qemu -o out garbage
	[ ! -e out ]
}

@test "with a return path the source learns that all arrived" {
	needs_qemu
	there pc - "nc -l -U wire | $back"
	here pc -
	qemu_capability here return-path
	moves "$forth | nc -U wire"
	is_there
}

@test "with a return path the source learns that nothing arrived" {
	needs_qemu
	there q35 - "nc -l -U wire | $back"
	here pc -
	qemu_capability here return-path
	qemu_within 10 test -S wire
	qemu_migrate here "exec:$forth | nc -U wire"
	qemu_failed here
	stays
	is_not_there
}

number() { # VALUE: of four bytes, as this machine writes it
	printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) 0 0)"
}

@test "a guest that libvirt saved starts" {
	needs_qemu
	text='<domain><name>guest</name></domain>'
	{
		printf LibvirtQemudSave
		number 2
		number ${#text}
		number 1
		number 1
		head -c 60 /dev/zero
		printf %s "$text"
		gzip -1 <"$kept/pc.state"
	} >guest.save
	pm-snapshot --format=qemu guest.save | pm-compress >guest.pms
	there pc - 'pm-apply --format=qemu <guest.pms'
	qemu_arrived there
	qemu_tell there cont
	qemu_goes_on there 2
}

@test "the demo moves a guest and proves it" {
	needs_qemu
	run -0 timeout 300 "$BATS_TEST_DIRNAME/../examples/demo-qemu.sh"
	[[ $output == *'there | tick '*'not a byte differs'* ]]
	[[ ${lines[-1]} =~ ^'The guest was at tick '[0-9]+' when it left' ]]
}
