#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Migrate a guest of QEMU through the programs into a second QEMU, while its
# console goes on, and prove that nothing was lost.
# shellcheck disable=SC2154	# qemu.bash says how large a machine is
set -euo pipefail

examples=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${PM_BUILD:-$examples/../build}" && pwd)
PATH="$build:$PATH"
# shellcheck disable=SC1091
. "$examples/../tests/guest.bash"
# shellcheck disable=SC1091
. "$examples/../tests/qemu.bash"

dir=$(mktemp -d)
trap 'qemu_end; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

why=$(qemu_can) || {
	echo "demo-qemu: $why; \"make deps-qemu\" installs what it takes" >&2
	exit 1
}
guest_kernel "$build/guest" || {
	echo 'demo-qemu: there is no kernel; "make deps-qemu" fetches one' >&2
	exit 1
}
cd "$dir"
qemu_prepare "$build/guest/kernel"

# Show what the guest prints until it has come to that tick.
shown=0
show() { # NAME TICK
	local line until=$((SECONDS + 60))

	until qemu_ticked "$1" "$2"; do
		[ $SECONDS -lt $until ] || break
		sleep 0.05
		print_new "$1"
	done
	print_new "$1"
	qemu_runs "$1" && qemu_reaches "$1" "$2"
}

print_new() { # NAME
	while read -r line; do
		printf '  %-5s | %s\n' "$1" "${line%$'\r'}"
		shown=$((shown + 1))
	done < <(tail -n "+$((shown + 1))" "$1.console" 2>/dev/null)
}

value() { # FILE KEY: a number of the --stats in FILE
	sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

row() { # WHAT BYTES
	printf '  %-46s %8.1f MB   %5.1f %%\n' "$1" \
	    "$(awk "BEGIN { print $2 / 1e6 }")" \
	    "$(awk "BEGIN { print 100 * $2 / $plain }")"
}

echo "A guest with $qemu_size MiB, a disk, a network card and a screen boots"
echo 'here.  At each tick it looks whether its files are as it wrote them.'
qemu_start here q35 -
show here 5

echo
echo 'A second QEMU waits there, behind pm-recv; here, QEMU is told to'
echo 'migrate into pm-snapshot:'
echo
echo '  migrate "exec:pm-snapshot --format=qemu | pm-delta | pm-compress |'
echo '           pm-send unix:wire"'
echo '  -incoming "exec:pm-recv unix:wire | pm-compress -d | pm-delta -d |'
echo '             pm-apply --format=qemu"'
echo
qemu_start there q35 - -incoming \
    'exec:pm-recv unix:wire | pm-compress -d | pm-delta -d |
    pm-apply --format=qemu'
qemu_within 10 test -S wire
# The emulated processor of this QEMU must stand while it migrates; one of
# KVM goes on until the last moment.
qemu_tell here stop
print_new here
from=$(qemu_ticks here)
before=${EPOCHREALTIME/./}
qemu_migrate here "exec:pm-snapshot --format=qemu --stats snapshot | \
pm-delta | pm-compress | pm-send --stats send unix:wire >sent"
qemu_migrated here
qemu_arrived there
after=${EPOCHREALTIME/./}
qemu_same here there
plain=$(($(qemu_number here transferred) + $(value snapshot device_bytes)))
qemu_end here
qemu_tell there cont
shown=0
show there $((from + 5))

echo
row 'what QEMU sent, and would have by itself' "$plain"
row 'what went over the wire' "$(value send bytes_out)"
awk "BEGIN { printf \"\nIt took %.2f s. \", ($after - $before) / 1e6 }"
echo 'The memory of both was compared: not a byte differs.'
echo "The guest was at tick $from when it left, and is at tick \
$(qemu_ticks there)."
