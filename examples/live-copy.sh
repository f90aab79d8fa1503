#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Copy a process into a core file while it works, and see that nothing is
# missing: it is left stopped behind the last page, read once more in the
# plain way, and goes on when both are compared.
# usage: live-copy.sh PID CORE
set -euo pipefail
pid=$1 core=$2

dir=$(mktemp -d)
# Whatever fails, it is not to stay stopped.
trap 'kill -CONT "$pid" 2>/dev/null || :; rm -rf "$dir"' EXIT

number() { # KEY: a number of the --stats
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$dir/stats"
}

live=$(pm-snapshot --live --then stop --stats "$dir/stats" --pid "$pid" |
    pm-apply "$core")
plain=$(pm-snapshot --pid "$pid" | pm-apply "$dir/core")
kill -CONT "$pid"

echo "It was copied in $(number rounds) rounds and $(number total_us) us," \
    "and stood still for $(number downtime_us) us of them."
cmp "$core" "$dir/core"
[ "$live" = "$plain" ]
echo "Both copies hold generation $live, byte for byte."
