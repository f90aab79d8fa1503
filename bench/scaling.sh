#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How cost grows: with threads, and with the size of the memory.  Time and
# processor time are told for each page, and beside that as a multiple of
# the least that a page costs in the smallest memory and those up to this one;
# where nothing grows but the memory, that stays at 1.  Peak memory stands
# below what the program says of itself.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/guest.sh
. "$bench/guest.sh"
# shellcheck source=bench/inputs.sh
. "$bench/inputs.sh"

seconds=${PM_BENCH_SECONDS:-4}
threads=4
spread=16		# pages with content in each GiB of a sparse image

# A group of one command on 1 to 4 threads; the text has -j%d in it.
threads_row() { # NAME BYTES COMMAND
	local j line=''
	group
	for ((j = 1; j <= threads; j++)); do
		timed "${3//%d/$j}"
	done
	in_turn
	for ((j = 2; j <= threads; j++)); do
		ratio_of 1 $j
		line+=$(calc '  %5.2f (%.2f..%.2f)' \
		    "$ratio, $lowest, $highest")
		printf '%s\t-j%d\t%s\t%s\t%s\n' "$1" $j "$ratio" "$lowest" \
		    "$highest" >>"$values"
	done
	say '%-34s %8.2f GB/s%s' "$1" \
	    "$(calc %f "$2 / $(time_of 1) / 1e9")" "$line"
}

thread_rows() {
	local record codec bytes
	say ''
	say '-- threads: GB/s of pages on one, and how many times as fast on 2, 3 and 4'
	for record in 256K 1M; do
		pm-snapshot --format raw --record-size $record dense.A >stream
		bytes=$(size_of stream)
		for codec in zstd lz4; do
			pm-compress -c $codec stream >packed
			warm stream packed
			threads_row "compress -c $codec, records of $record" \
			    "$bytes" "pm-compress -c $codec -j%d stream"
			threads_row "compress -d, $codec, records of $record" \
			    "$bytes" 'pm-compress -d -j%d packed'
		done
	done
	rm -f stream packed
}

# What a program says of its memory.
says() { # PROGRAM
	say ''
	say '%s: %s' "$1" "$("$1" --help | sed -n 's/^Memory: //p')"
	say '%-28s %10s %12s %7s %12s %7s %10s' '' pages 'ns a page' '' \
	    'ns of CPU' '' 'peak'
}

# Run a pipeline some times, whose stage of that number writes its --stats
# to counts; costs of a page go to wall and cpu, in ns, and memory to peak.
# A turn that others disturbed is taken again, once; if that does not help,
# the row says so.
cost() { # TURNS STAGE PAGES COMMAND...
	local turn again=0 rounds=$1 stage=$2 pages=$3
	shift 3
	rm -f costs
	noisy=''
	for ((turn = 0; turn < rounds; turn++)); do
		eval "$prepare"
		watch_others
		stages costs.log 20 "$@" >/dev/null
		count_others
		if [ $others -ge 10 ] && [ $((again++)) -lt 1 ]; then
			turn=$((turn - 1))
			continue
		fi
		[ "$others" -lt 10 ] || noisy=' others at work'
		echo "$(counter counts elapsed_us) $(tail -n 1 costs.log |
		    cut -d' ' -f$((2 * stage))) $(counter counts peak_rss)" \
		    >>costs
	done
	read -r wall cpu peak < <(sort -n costs | awk -v pages="$pages" '
	    { wall[NR] = $1; cpu[NR] = $2; peak = $3 > peak ? $3 : peak }
	    END { i = int((NR + 1) / 2); printf "%.4f %.4f %d\n", \
		wall[i] * 1e3 / pages, cpu[i] * 1e9 / pages, peak }')
	rm -f costs costs.log
}

prepare=:
cost_row() { # SIZE PAGES
	[ -n "$least_wall" ] || least_wall=$wall least_cpu=$cpu
	least_wall=$(calc %f "$wall < $least_wall ? $wall : $least_wall")
	least_cpu=$(calc %f "$cpu < $least_cpu ? $cpu : $least_cpu")
	say '%-28s %10d %12.2f %6.2fx %12.2f %6.2fx %6.1f MiB%s' "$1" "$2" \
	    "$wall" "$(calc %f "$wall / $least_wall")" "$cpu" \
	    "$(calc %f "$cpu / ($least_cpu + 1e-9)")" \
	    "$(calc %f "$peak / 1048576")" "$noisy"
	printf '%s\t%s\t%s\t%s\t%s\n' "$name, $1" "$2" "$wall" "$cpu" \
	    "$peak" >>"$values"
}

# One program over sparse images; %s in the command is the size in GiB.
sparse() { # PROGRAM ARGUMENTS...
	local size
	name="$*"
	least_wall=''
	for size in $sparse_sizes; do
		cost 5 1 $((size << 18)) "${@//%s/$size}" --stats counts
		cost_row "$size GiB, sparse" $((size << 18))
	done
}

# The same over streams without zero pages, which come by a pipe.
dense() { # PROGRAM SIZES ARGUMENTS...
	local program=$1 size
	name="$program ${*:3}"
	least_wall=''
	for size in $2; do
		cost $((size > 4 ? 1 : 3)) 2 $((size << 18)) \
		    generate dense pool $((size << 10)) 262144 '|' \
		    "$program" "${@:3}" --stats counts
		cost_row "$size GiB, dense" $((size << 18))
	done
}

# What it takes to make a dense stream and throw it away.
pipe_row() { # SIZE
	local pages=$(($1 << 18))
	stages costs.log 20 generate dense pool $(($1 << 10)) 262144 '|' \
	    cat >/dev/null
	read -r wall cpu < <(tail -n 1 costs.log | awk -v pages=$pages \
	    '{ print $1 * 1e9 / pages, $4 * 1e9 / pages }')
	say '%-28s %10d %12.2f %7s %12.2f' "$1 GiB, dense" $pages "$wall" '' \
	    "$cpu"
	printf '%s\t%s\t%s\t%s\t-\n' "cat, $1 GiB, dense" $pages "$wall" \
	    "$cpu" >>"$values"
	rm -f costs.log
}

size_rows() {
	local size
	# From the middle, where pages are of all sorts.
	dd if=dense.A of=pool bs=4096 skip=20000 count=4096 2>log
	for size in $sparse_sizes; do
		generate sparse pool "$size" $spread "sparse.$size"
		pm-snapshot --save-table "table.$size" "sparse.$size" \
		    >"stream.$size"
	done
	say ''
	say '-- size: sparse images with %d pages with content in each GiB; dense streams' \
	    $spread
	says pm-snapshot
	sparse pm-snapshot sparse.%s
	say '  with --save-table'
	sparse pm-snapshot --save-table new.table sparse.%s
	say '  with --since'
	sparse pm-snapshot --since table.%s sparse.%s
	rm -f new.table
	say ''
	say 'generate | cat, for what the machine itself does over that time:'
	for size in $dense_sizes; do
		pipe_row "$size"
	done
	says pm-delta
	sparse pm-delta stream.%s
	dense pm-delta "$dense_sizes"
	says pm-compress
	sparse pm-compress stream.%s
	dense pm-compress "$dense_sizes"
	says pm-info
	say '  with --id'
	sparse pm-info --id sparse.%s
	say '  with --verify'
	sparse pm-info --verify stream.%s
	dense pm-info "$dense_sizes" --verify
	says pm-apply
	prepare='rm -f new'
	name=pm-apply least_wall=''
	for size in $sparse_sizes; do
		cost 3 2 $((size << 18)) cat "stream.$size" '|' \
		    pm-apply new --stats counts
		cost_row "$size GiB, sparse" $((size << 18))
	done
	dense pm-apply '1 4' new
	prepare=:
	rm -f new pool sparse.* table.* stream.* counts
}

enter
make_inputs
begin_table scaling
environment
sparse_sizes=${PM_BENCH_SPARSE:-1 16 64 256 1024}
dense_sizes=${PM_BENCH_DENSE:-1 4 16 64}
thread_rows
size_rows
