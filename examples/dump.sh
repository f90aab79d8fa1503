#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A core file of a process that has no time to be dumped: it works on while
# its memory is copied, and stands still for the last pages only.  20 ms will
# do for about 4 GiB with content; more of it takes more.
# usage: dump.sh PID CORE [TIME]		then: gdb -c CORE
set -euo pipefail
pid=$1 core=$2 time=${3:-20ms}

stats=$(mktemp)
trap 'rm -f "$stats"' EXIT

number() { # KEY: a number of the --stats
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$stats"
}

pm-snapshot --live --max-downtime "$time" --stats "$stats" --pid "$pid" |
    pm-apply "$core" >/dev/null
echo "$core: $(number pages) pages in $(number total_us) us;" \
    "process $pid stood still for $(number downtime_us) us"
