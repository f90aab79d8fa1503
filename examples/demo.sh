#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Move the memory of a live process: a first snapshot whole, a second one as
# compressed differences over a socket into another file, and a proof that
# both ends hold the same.
set -euo pipefail

PATH="$(cd "${PM_BUILD:-$(dirname "$0")/../build}" && pwd):$PATH"
dir=$(mktemp -d)
workload=''
trap '[ -z "$workload" ] || kill "$workload" 2>/dev/null || :; rm -rf "$dir"' EXIT

stat() { # FILE KEY: a number of the --stats in FILE
	sed -n "s/.*\"$2\":\"\{0,1\}\([0-9a-f]*\).*/\1/p" "$dir/$1"
}

row() { # STAGE PAGES BYTES MICROSECONDS: the rate is that of all memory
	awk -v stage="$1" -v pages="$2" -v bytes="$3" -v us="$4" -v of="$size" '
	BEGIN {
		printf "%-34s %8d %9.1f MB %8.3f s %8.0f MB/s\n", stage,
		    pages, bytes / 1e6, us / 1e6, us ? of / us : 0
	}'
}

# A program that knows nothing of us builds a large table and keeps editing.
awk 'BEGIN {
	srand(1)
	for (i = 0; i < 700000; i++)
		table[i] = "row " i " holds " rand()
	print "ready"
	fflush()
	for (;;)
		for (n = 0; n < 100; n++) {
			i = int(rand() * 30000)
			table[i] = "row " i " holds " rand()
		}
}' >"$dir/said" &
workload=$!
until grep -q ready "$dir/said"; do
	kill -0 "$workload"
	sleep 0.1
done

# The first snapshot: whole, into a core file here, of which there is a
# copy there.  The table of its page hashes is all that --since needs.
pm-snapshot --pid "$workload" --save-table "$dir/table" \
    --stats "$dir/first" | pm-apply --stats "$dir/apply1" "$dir/here.core" \
    >"$dir/id1"
cp "$dir/here.core" "$dir/there.core"
size=$(stat first bytes_out)
pages=$(stat first pages)

sleep 2		# the process works on; it was never told to stop

# There: a receiver that applies what comes.
pm-recv "unix:$dir/socket" -- pm-apply --stats "$dir/apply2" \
    "$dir/there.core" >"$dir/received" &
receiver=$!

# Here: what changed since, as differences, compressed, sent.
before=$(date +%s%N)
pm-snapshot --pid "$workload" --since "$dir/table" --stats "$dir/second" |
    tee "$dir/changes" |
    pm-delta --base "$dir/here.core" --stats "$dir/delta" |
    pm-compress --stats "$dir/compress" |
    pm-send --stats "$dir/send" "unix:$dir/socket" >"$dir/sent"
wait "$receiver"
elapsed=$((($(date +%s%N) - before) / 1000))
kill "$workload"
workload=''

printf '%-34s %8s %12s %10s %13s\n' stage pages bytes time rate
row 'first snapshot, whole' "$pages" "$size" "$(stat first elapsed_us)"
row 'second: pages that changed' "$(stat second pages_raw)" \
    "$(stat second bytes_out)" "$(stat second elapsed_us)"
row '  their differences (pm-delta)' "$(stat delta pages)" \
    "$(stat delta bytes_out)" "$(stat delta elapsed_us)"
row '  compressed (pm-compress)' "$(stat compress pages)" \
    "$(stat compress bytes_out)" "$(stat compress elapsed_us)"
row '  received and applied, in all' "$(stat send pages)" \
    "$(stat send bytes_out)" "$elapsed"
echo "The process stood still for $(stat first frozen_us) us and" \
    "$(stat second frozen_us) us."

# The proof: the id that the source worked out while it read is the one that
# the far end worked out from its file; and the bytes are the same as when
# the changes are applied here, without delta, compression or socket.
pm-apply "$dir/here.core" <"$dir/changes" >"$dir/id2"
id=$(stat second to)
[ "$(cat "$dir/sent")" = "$id" ]
[ "$(cat "$dir/id2")" = "$id" ]
[ "$(pm-info --id "$dir/there.core")" = "$id" ]
cmp "$dir/here.core" "$dir/there.core"
echo "Both ends hold generation $id, byte for byte."
