#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Measure ourselves beside peers on the same images in one run: everything
# is warmed first, ours and theirs run in turn, and medians are shown with
# their spread.  Ratios are what counts; absolute times belong to a machine.
# Results go to build/bench.txt too.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=${PM_BUILD:-$top/build}
PATH="$build:$PATH"
turns=${PM_BENCH_TURNS:-5}
dir=$(mktemp -d "${PM_BENCH_DIR:-/var/tmp}/pm-bench.XXXXXX")
workload=''
trap '[ -z "$workload" ] || kill "$workload" 2>/dev/null || :; rm -rf "$dir"' EXIT
cd "$dir"

# A pair of images of a real process, some seconds of its work apart.
make_pair() {
	awk 'BEGIN {
		srand(1)
		for (i = 0; i < 2000000; i++)
			table[i] = "row " i " holds " rand()
		print "ready"
		fflush()
		for (;;)
			for (n = 0; n < 100; n++) {
				i = int(rand() * 100000)
				table[i] = "row " i " holds " rand()
			}
	}' >said &
	workload=$!
	until grep -q ready said; do sleep 0.2; done
	pm-snapshot --pid "$workload" --save-table table | pm-apply A >idA
	sleep 3
	pm-snapshot --pid "$workload" | pm-apply B >idB
	kill "$workload"
	wait "$workload" 2>/dev/null || :
	workload=''
}

have() {
	command -v "$1" >/dev/null
}

# Run each command of the arguments in turn; the median times, in seconds,
# go to the array median, and the spread in percent to spread.
in_turn() {
	local i turn began
	rm -f times.*
	for i in "$@"; do eval "$i" >/dev/null 2>log || { cat log; exit 1; }; done
	for ((turn = 0; turn < turns; turn++)); do
		for ((i = 1; i <= $#; i++)); do
			began=$EPOCHREALTIME
			eval "${!i}" >/dev/null 2>&1
			awk -v a="$began" -v b="$EPOCHREALTIME" \
			    'BEGIN { printf "%.6f\n", b - a }' >>"times.$i"
		done
	done
	median=() spread=()
	for ((i = 1; i <= $#; i++)); do
		median[i]=$(sort -n "times.$i" | awk '{ t[NR] = $1 }
		    END { print t[int((NR + 1) / 2)] }')
		spread[i]=$(sort -n "times.$i" | awk '{ t[NR] = $1 }
		    END { printf "%.0f", 100 * (t[NR] - t[1]) / t[int((NR + 1) / 2)] }')
	done
}

calc() {
	awk "BEGIN { printf \"$1\", $2 }"
}

rate_row() { # NAME BYTES COMMAND: beside the same bytes through cat
	in_turn "$3" 'cat stream | cat | cat'
	printf '%-36s %6.2f GB/s  cat %6.2f GB/s  ratio %5.2f  (+-%s %%)\n' \
	    "$1" "$(calc %.3f "$2 / ${median[1]} / 1e9")" \
	    "$(calc %.3f "$size / ${median[2]} / 1e9")" \
	    "$(calc %.3f "($2 / ${median[1]}) / ($size / ${median[2]})")" \
	    "${spread[1]}"
}

peer_row() { # NAME PEER-COMMAND PEER-OUTPUT OUR-COMMAND OUR-OUTPUT
	have "${2%% *}" || { echo "$1: not installed (make deps-bench)"; return; }
	in_turn "$4" "$2"
	printf '%-36s %7.3f s %9d bytes   ours %7.3f s %9d bytes   %5.1f times as fast, %4.2f of the bytes (+-%s %%)\n' \
	    "$1" "${median[2]}" "$(size_of "$3")" "${median[1]}" \
	    "$(size_of "$5")" "$(calc %.2f "${median[2]} / ${median[1]}")" \
	    "$(calc %.3f "$(size_of "$5") / ($(size_of "$3") + 0.001)")" \
	    "${spread[1]}"
}

size_of() {
	if [ -e "$1" ]; then stat -c %s "$1"; else echo 0; fi
}

run() {
	make_pair
	pm-snapshot B >stream
	size=$(stat -c %s stream)
	pm-compress stream >packed
	pm-compress -c lz4 stream >packed4
	echo "pm $(pm-info --version | cut -d' ' -f2) on $(uname -m), $(nproc) processors, Linux $(uname -r)"
	echo "image: $(stat -c %s A) bytes of a process; $turns turns, medians (spread)"
	echo
	echo '-- inner loops: name, GB/s, beside, GB/s, ratio'
	"$build/bench/kernels" A B | awk -F'\t' '{
		printf "%-28s %7.2f  %-10s %7.2f  ratio %5.2f\n", $1, $2, $3, $4, $5 }'
	echo
	echo '-- each program alone, bytes of the whole stream a second, beside cat'
	rate_row 'pm-snapshot' "$size" 'pm-snapshot B | cat'
	rate_row 'pm-snapshot --base, nothing new' "$size" 'pm-snapshot --base B B | cat'
	rate_row 'pm-delta, cache of 64M' "$size" 'cat stream | pm-delta | cat'
	rate_row 'pm-delta --base' "$size" 'cat stream | pm-delta --base A | cat'
	rate_row 'pm-compress lz4' "$size" 'cat stream | pm-compress -c lz4 | cat'
	rate_row 'pm-compress lz4 -j1' "$size" 'cat stream | pm-compress -c lz4 -j1 | cat'
	rate_row 'pm-compress zstd' "$size" 'cat stream | pm-compress | cat'
	rate_row 'pm-compress zstd -j1' "$size" 'cat stream | pm-compress -j1 | cat'
	rate_row 'pm-compress -d, zstd' "$size" 'cat packed | pm-compress -d | cat'
	rate_row 'pm-compress -d, lz4' "$size" 'cat packed4 | pm-compress -d | cat'
	rate_row 'pm-send to pm-recv, unix socket' "$size" \
	    'pm-recv unix:sock -o received & pm-send unix:sock <stream; wait'
	rate_row 'pm-info --verify' "$size" 'cat stream | pm-info --verify'
	rate_row 'pm-apply, a new file' "$size" 'rm -f new; cat stream | pm-apply new'
	echo
	echo '-- the change from A to B, beside peers'
	ours='pm-snapshot --base A B | pm-delta --base A | pm-compress >changes'
	peer_row 'xdelta3 -1' 'xdelta3 -e -f -1 -s A B B.xdelta' B.xdelta "$ours" changes
	peer_row 'zstd -1 --patch-from' 'zstd -q -f -1 --long=30 --patch-from=A B -o B.zst' B.zst "$ours" changes
	rsync_bytes
	peer_row 'rsync --inplace, and applied' 'cp A C; rsync --inplace --no-whole-file -q B C' rsync.sent \
	    'cp A C; pm-snapshot --base A B | pm-delta --base A | pm-compress | tee changes | pm-apply C' changes
	peer_row 'rsync --inplace, ours --in-place' \
	    'cp A C; rsync --inplace --no-whole-file -q B C' rsync.sent \
	    'cp A C; pm-snapshot --since table B | pm-delta --base A | pm-compress | tee changes | pm-apply --in-place C' changes
	ours='pm-snapshot --since table B | pm-delta --base A | pm-compress >changes'
	peer_row 'xdelta3 -1, ours by --since' 'xdelta3 -e -f -1 -s A B B.xdelta' B.xdelta "$ours" changes
	echo
	echo '-- all of B, beside peers'
	peer_row 'zstd -1 -T2' 'zstd -q -f -1 -T2 B -o B.zst' B.zst \
	    'pm-snapshot B | pm-compress >whole' whole
	peer_row 'lz4 -1' 'lz4 -q -f -1 B B.lz4' B.lz4 \
	    'pm-snapshot B | pm-compress -c lz4 >whole' whole
	peer_row 'pigz -1 -p2' 'pigz -1 -p2 -k -f B' B.gz \
	    'pm-snapshot B | pm-compress -c zlib >whole' whole
}

# What rsync sent, as a file of that size, for the table.
rsync_bytes() {
	have rsync || return 0
	cp A C
	truncate -s "$(rsync --inplace --no-whole-file --stats B C |
	    awk '/Total bytes sent/ { gsub(",", "", $4); print $4 }')" rsync.sent
}

run | tee "$build/bench.txt"
