#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The main table: our speed and our bytes beside those of peers.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/guest.sh
. "$bench/guest.sh"
# shellcheck source=bench/inputs.sh
. "$bench/inputs.sh"

kernel_rows() {
	part 'inner loops'
	while IFS=$'\t' read -r name ours peer theirs ratio target; do
		row "$name" "$ours GB/s" "$peer" "$theirs GB/s" "$ratio" - - \
		    "${target:--}"
	done < <(kernels "$pair.A" "$pair.B")
}

# From source to sink, with no step between, and beside that what moves
# bytes and looks at none of them.
source_rows() {
	local bytes
	part 'source to sink over one pipe, hashing included'
	warm dense.A "$pair.B"
	bytes=$(size_of dense.A)
	group
	timed 'wide cat dense.A | cat'
	timed 'pm-snapshot --format raw dense.A | pm-info'
	timed 'pm-snapshot --format raw dense.A | pm-info --verify'
	have pv && timed 'pv -q dense.A | cat'
	in_turn
	rate_row 'snapshot | info, no zero pages' 2 'cat | cat' 1 0.9 "$bytes"
	rate_row 'snapshot | info --verify' 3 'cat | cat' 1 - "$bytes"
	if have pv; then
		rate_row 'snapshot | info' 2 'pv | cat' 4 - "$bytes"
	else
		missing pv 'snapshot | info'
	fi
	bytes=$(size_of "$pair.B")
	group
	timed "wide cat $pair.B | cat"
	timed "pm-snapshot $pair.B | pm-info"
	timed "pm-snapshot $pair.B | pm-info --verify"
	in_turn
	rate_row "snapshot | info, image $pair.B" 2 'cat | cat' 1 0.9 "$bytes"
	rate_row 'snapshot | info --verify' 3 'cat | cat' 1 - "$bytes"
}

# Each program alone, in the bytes of the whole stream.
program_rows() {
	local bytes i
	local -a names=() pipes=()
	part "each program alone, bytes of the whole stream of $pair.B"
	pm-snapshot "$pair.B" >stream
	pm-compress stream >packed
	pm-compress -c lz4 stream >packed4
	bytes=$(size_of stream)
	warm stream packed packed4 "$pair".[AB]
	group
	timed 'wide cat stream | cat'
	timed 'wide cat stream | wide cat | cat'
	program 'snapshot' 1 "pm-snapshot $pair.B | cat"
	program 'snapshot --base, nothing new' 1 \
	    "pm-snapshot --base $pair.B $pair.B | cat"
	program 'snapshot --since' 1 \
	    "pm-snapshot --since $pair.table $pair.B | cat"
	program 'delta, cache of 64M' 2 'wide cat stream | pm-delta | cat'
	program 'delta --base' 2 \
	    "wide cat stream | pm-delta --base $pair.A | cat"
	program 'compress -c lz4' 2 'wide cat stream | pm-compress -c lz4 | cat'
	program 'compress -c lz4 -j1' 2 \
	    'wide cat stream | pm-compress -c lz4 -j1 | cat'
	program 'compress' 2 'wide cat stream | pm-compress | cat'
	program 'compress -j1' 2 'wide cat stream | pm-compress -j1 | cat'
	program 'compress -d, of lz4' 2 'wide cat packed4 | pm-compress -d | cat'
	program 'compress -d, of zstd' 2 'wide cat packed | pm-compress -d | cat'
	program 'send to recv, unix socket' 2 \
	    'pm-recv unix:sock | cat & pm-send unix:sock <stream; wait $!'
	program 'info' 1 'wide cat stream | pm-info'
	program 'info --verify' 1 'wide cat stream | pm-info --verify'
	program 'apply, a new file' 1 'wide cat stream | pm-apply new' \
	    'rm -f new'
	in_turn
	for ((i = 3; i < ${#command[@]}; i++)); do
		rate_row "${names[i]}" "$i" \
		    "$([ "${pipes[i]}" = 1 ] && echo 'cat | cat' ||
		    echo 'cat | cat | cat')" "${pipes[i]}" - "$bytes"
	done
	rm -f stream packed packed4 new
}

# One of them; what stands beside it has as many pipes.
program() { # NAME PIPES COMMAND [BEFORE]
	names[${#command[@]}]=$1
	pipes[${#command[@]}]=$2
	timed "$3" "${4:-}"
}

# Outputs are written over files that are there, and in memory, already.
# The command itself says how many bytes it gave.
bytes_of() { # COMMAND
	eval "$1" | wc -c
}

# The change from A to B, without its being applied.
change_rows() { # PAIR NAME-OF-TARGETS
	local a=$1.A b=$1.B table=$1.table ours since xdelta zstd i
	local -a target=(- - - - -)
	[ "$1" != "$pair" ] || target=(12 10 15 12 '<1')
	part "the change from $a to $b"
	ours="pm-snapshot --base $a $b | pm-delta --base $a | pm-compress"
	since="pm-snapshot --since $table $b | pm-delta --base $a | pm-compress"
	xdelta="xdelta3 -c -e -1 -s $a $b"
	zstd="zstd -q -c -1 --long=30 --patch-from=$a $b"
	warm "$a" "$b"
	for i in ours since xdelta zstd; do
		case $i in
		xdelta) have xdelta3 || continue ;;
		zstd) have zstd || continue ;;
		esac
		eval "${!i}" >"out.$i"
	done
	group
	timed "$ours 1<>out.ours"
	timed "$since 1<>out.since"
	have xdelta3 && timed "$xdelta 1<>out.xdelta"
	have zstd && timed "$zstd 1<>out.zstd"
	in_turn
	i=3
	if have xdelta3; then
		time_row '--base' 1 'xdelta3 -1' $i "${target[0]}"
		time_row '--since' 2 'xdelta3 -1' $i "${target[2]}"
		bytes_row 'bytes' "$(size_of out.ours)" 'xdelta3 -1' \
		    "$(size_of out.xdelta)" "${target[4]}"
		i=4
	else
		missing xdelta3 '--base, --since'
	fi
	if have zstd; then
		time_row '--base' 1 'zstd -1 --patch-from' $i "${target[1]}"
		time_row '--since' 2 'zstd -1 --patch-from' $i "${target[3]}"
		bytes_row 'bytes' "$(size_of out.ours)" 'zstd -1 --patch-from' \
		    "$(size_of out.zstd)" "${target[4]}"
	else
		missing zstd '--base, --since'
	fi
	rm -f out.*
}

# The same, applied to a copy of A.
apply_rows() { # PAIR
	local a=$1.A b=$1.B table=$1.table reset sent
	local -a target=(- - -)
	[ "$1" != "$pair" ] || target=(4 5 '<1')
	part "the change from $a to $b, applied to a copy of $a"
	have rsync || {
		missing rsync 'apply'
		return
	}
	make_target "$1"
	warm "$a" "$b" C
	group
	timed "pm-snapshot --base $a $b | pm-delta --base $a | pm-compress | pm-apply C" "$reset"
	timed "pm-snapshot --since $table $b | pm-delta --base $a | pm-compress | pm-apply --in-place --trust-table C" "$reset"
	timed "rsync --inplace --no-whole-file -q $b C" "$reset"
	timed "rsync --inplace --no-whole-file -q $b C; sync C" "$reset"
	in_turn
	time_row '--base, apply' 1 'rsync --inplace' 3 "${target[0]}"
	time_row '--base, apply' 1 'rsync, sync' 4 -
	time_row '--since, apply --in-place' 2 'rsync --inplace' 3 \
	    "${target[1]}"
	time_row '--since, apply --in-place' 2 'rsync, sync' 4 -
	eval "$reset" >said
	sent=$(rsync --inplace --no-whole-file --stats "$b" C |
	    awk '/Total bytes sent/ { gsub(",", "", $4); print $4 }')
	bytes_row 'bytes' "$(bytes_of "pm-snapshot --base $a $b |
	    pm-delta --base $a | pm-compress")" 'rsync, sent' "$sent" \
	    "${target[2]}"
}

full_rows() { # PAIR
	local b=$1.B i=4
	local -a target=(- -)
	[ "$1" != "$pair" ] || target=(1.4 2.2)
	part "all of $b"
	warm "$b"
	pm-snapshot "$b" | pm-compress >out.1
	pm-snapshot "$b" | pm-compress -c lz4 >out.2
	pm-snapshot "$b" | pm-compress -c zlib >out.3
	group
	timed "pm-snapshot $b | pm-compress 1<>out.1"
	timed "pm-snapshot $b | pm-compress -c lz4 1<>out.2"
	timed "pm-snapshot $b | pm-compress -c zlib 1<>out.3"
	full_peer zstd "zstd -q -c -1 -T2 $b"
	full_peer lz4 "lz4 -q -c -1 $b"
	full_peer pigz "pigz -c -1 -p2 $b"
	in_turn
	full_pair zstd 'zstd -1 -T2' 1 'compress' "${target[0]}"
	full_pair lz4 'lz4 -1' 2 'compress -c lz4' "${target[1]}"
	full_pair pigz 'pigz -1 -p2' 3 'compress -c zlib' -
	rm -f out.*
}

full_peer() { # PROGRAM COMMAND
	have "$1" || return 0
	eval "$2" >"out.$1"
	timed "$2 1<>out.$1"
}

full_pair() { # PROGRAM NAME OURS WHAT TARGET
	have "$1" || {
		missing "$1" "$4"
		return
	}
	time_row "$4" "$3" "$2" "$i" "$5"
	bytes_row 'bytes' "$(size_of "out.$3")" "$2" "$(size_of "out.$1")" -
	i=$((i + 1))
}

thread_rows() {
	local record codec target
	if [ "$processors" -lt 2 ]; then
		say ''
		say '-- compression with 2 threads: there is one processor'
		return
	fi
	part 'compression with 2 threads beside 1, no zero pages'
	for record in 256K 1M; do
		pm-snapshot --format raw --record-size "$record" \
		    dense.A >stream
		warm stream
		target=1.6
		[ "$record" = 256K ] || target=1.75
		for codec in lz4 zstd; do
			group
			timed "pm-compress -c $codec -j1 stream"
			timed "pm-compress -c $codec -j2 stream"
			timed "pm-compress -c $codec -j1 stream & pm-compress -c $codec -j1 stream; wait \$!"
			in_turn
			time_row "compress -c $codec, records of $record" 2 \
			    '-j1' 1 "$target"
			capacity
		done
	done
	rm -f stream
}

# What the machine has to give: two of the same at once, beside one.
capacity() {
	ratio_of 1 3
	row '  two with -j1 at once, each a half' \
	    "$(calc '%.3f s' "$(time_of 3) / 2")" '-j1' \
	    "$(calc '%.3f s' "$(time_of 1)")" "$(calc %f "2 * $ratio")" \
	    "$(calc %f "2 * $lowest")" "$(calc %f "2 * $highest")" -
}

write_rows() {
	local reset
	part "writing the changes of $pair.B in place, on the disk"
	make_target "$pair"
	pm-snapshot --since "$pair.table" "$pair.B" |
	    pm-delta --base "$pair.A" >change
	warm "$pair.A" "$pair.B" C change
	group
	timed 'pm-apply --in-place --trust-table C <change' "$reset"
	timed "@pwrite $pair.A $pair.B C" "$reset"
	in_turn
	time_row 'apply --in-place --trust-table' 1 'pwrite, ascending' 2 0.5
}

process_rows() {
	local reset faster=2
	part "four programs beside one with the same work"
	make_target "$pair"
	warm "$pair.A" "$pair.B" C
	group
	timed "pm-snapshot --since $pair.table $pair.B | pm-delta --base $pair.A | pm-compress | pm-apply --in-place --trust-table C" "$reset"
	timed "one 1 $pair.table $pair.A $pair.B C" "$reset"
	timed "one 2 $pair.table $pair.A $pair.B C" "$reset"
	in_turn
	[ "$(calc %d "$(time_of 3) < $(time_of 2)")" = 0 ] || faster=3
	time_row 'snapshot | delta | compress | apply' 1 'one thread' 2 \
	    "$([ $faster = 2 ] && echo 0.8 || echo -)"
	time_row 'snapshot | delta | compress | apply' 1 'two threads' 3 \
	    "$([ $faster = 3 ] && echo 0.8 || echo -)"
}

enter
make_inputs
pair=${pairs[0]}
begin_table table
environment
say 'ratio: how many times as fast as what stands beside it; of bytes, ours by theirs.'
say 'It is the median of those of 3 to 15 turns; all files are in the page cache.'
for i in "${pairs[@]}"; do
	case $i in
	busy) describe_pair busy 'guest with a table, an index and a log' ;;
	idle) describe_pair idle 'guest that does nothing' ;;
	process) describe_pair process 'awk with a table' ;;
	esac
done
parts=${PM_BENCH_PARTS:-kernel source program change apply full thread write process}
for rows in $parts; do
	case $rows in
	change | apply | full)
		for name in "${pairs[@]}"; do
			"${rows}_rows" "$name"
		done
		;;
	bitmap | tracker | qemu) ;;	# of others
	*) "${rows}_rows" ;;
	esac
done
