# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What all measurements share: where they work, how they time, how they tell.
# To be sourced, by a script in bench/.
#
# Times are taken in turn: all commands of a group run once to warm up, and
# then one after the other, again and again.  A ratio is taken in each turn,
# and its median is what counts; the lowest and the highest show how far to
# trust it.
set -euo pipefail
export LC_ALL=C

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${PM_BUILD:-$bench/../build}" && pwd)
PATH="$build:$build/bench:$PATH"

have() {
	command -v "$1" >/dev/null
}

# Work where the inputs are, or in a directory that goes when we end, as
# does whatever still runs in the background.
own=''
leave() {
	local pid
	for pid in $(jobs -p); do
		kill -KILL "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	[ -z "$own" ] || rm -rf "$own"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

enter() {
	if [ -z "${PM_BENCH_KEEP:-}" ]; then
		own=$(mktemp -d "${PM_BENCH_DIR:-/var/tmp}/pm-bench.XXXXXX")
		export PM_BENCH_KEEP=$own
	fi
	mkdir -p "$PM_BENCH_KEEP"
	cd "$PM_BENCH_KEEP"
}

calc() { # FORMAT EXPRESSION
	awk "BEGIN { printf \"$1\", $2 }"
}

size_of() {
	stat -c %s "$1"
}

# A number of the --stats in FILE.
counter() { # FILE KEY
	sed -n "s/.*\"$2\":\"\{0,1\}\([0-9a-f]*\).*/\1/p" "$1"
}

# Bring files into the page cache; it is reclaimed behind one's back.
warm() {
	cat "$@" >/dev/null
}

now() { # microseconds
	local t=$EPOCHREALTIME
	echo "${t/./}"
}

# A group of commands to be timed, numbered from 1: what each runs is the
# text of a shell command, and so is what is to be done before it, outside
# of its time.  One that begins with @ prints its own seconds, first.
command=() before=()
group() {
	command=('') before=('')
}
timed() { # COMMAND [BEFORE]
	command+=("$1")
	before+=("${2:-}")
}

declare -A times		# microseconds of command, turn
turns=0
run_one() { # NUMBER TURN
	local i=$1 from to spent
	if [ -n "${before[i]}" ]; then
		eval "${before[i]}" >log 2>&1 || failed "${before[i]}"
	fi
	from=$EPOCHREALTIME
	if [ "${command[i]:0:1}" = @ ]; then
		eval "${command[i]:1}" >said 2>log || failed "${command[i]}"
		read -r spent _ <said
		times[$i,$2]=$(calc %d "$spent * 1e6")
	else
		eval "${command[i]}" >/dev/null 2>log ||
		    failed "${command[i]}"
		to=$EPOCHREALTIME
		times[$i,$2]=$((${to/./} - ${from/./}))
	fi
}

failed() {
	echo "bench: failed: $1" >&2
	cat log >&2
	exit 1
}

# Microseconds of processor time that all took, and that we and those we
# waited for took.
processor_time() {
	local -a field
	read -ra field </proc/stat
	all_time=$(((field[1] + field[2] + field[3] + field[6] + field[7] + \
	    field[8]) * 10000))
	times >log
	own_time=$(tr 'ms' '  ' <log | awk '{ t += $1 * 60 + $2 + $3 * 60 + $4 }
	    END { printf "%d", t * 1e6 }')
}

# Between the two, what share of the processors, in percent, others took.
# The system counts in steps of 10 ms, so nothing is said of a short time.
watch_others() {
	processor_time
	watched=$(now) all_before=$all_time own_before=$own_time
}
count_others() {
	others=0
	[ $(($(now) - watched)) -ge 100000 ] || return 0
	processor_time
	others=$((100 * (all_time - all_before - own_time + own_before) /
	    (processors * ($(now) - watched + 1))))
}
processors=$(nproc)

# Run the group: for about that many seconds, but 3 turns at least and 15 at
# most.  A turn in which others took a tenth of the processors does not
# count, unless there are hardly any others.
seconds=${PM_BENCH_SECONDS:-8}
in_turn() {
	local i turn=0 wanted calm=0
	local -a calm_turn=('')
	watch_others
	for ((i = 1; i < ${#command[@]}; i++)); do
		run_one "$i" 0
	done
	wanted=$((seconds * 1000000 / ($(now) - watched + 1)))
	[ "$wanted" -ge 3 ] || wanted=3
	[ "$wanted" -le 15 ] || wanted=15
	while [ $calm -lt "$wanted" ] && [ $turn -lt $((2 * wanted)) ]; do
		turn=$((turn + 1))
		watch_others
		for ((i = 1; i < ${#command[@]}; i++)); do
			run_one "$i" "$turn"
		done
		count_others
		[ "$others" -ge 10 ] || calm_turn[++calm]=$turn
	done
	if [ $calm -ge 3 ]; then
		turns=$calm
		for ((turn = 1; turn <= turns; turn++)); do
			for ((i = 1; i < ${#command[@]}; i++)); do
				times[$i,$turn]=${times[$i,${calm_turn[turn]}]}
			done
		done
	else
		turns=$turn
		say '(others were at work in %d of %d turns)' \
		    $((turns - calm)) "$turns"
	fi
}

# The median of the microseconds of a command, in seconds.
time_of() { # NUMBER
	local turn
	for ((turn = 1; turn <= turns; turn++)); do
		echo "${times[$1,$turn]}"
	done | sort -n | awk '{ t[NR] = $1 }
	    END { printf "%.6f\n", (t[int((NR + 1) / 2)] + \
	    t[int(NR / 2) + 1]) / 2e6 }'
}

# How many times longer THEIRS takes than OURS: ratio, lowest and highest.
ratio_of() { # THEIRS OURS
	local turn
	read -r ratio lowest highest < <(
		for ((turn = 1; turn <= turns; turn++)); do
			echo "${times[$1,$turn]} ${times[$2,$turn]}"
		done | awk '{ printf "%.4f\n", $1 / ($2 + 1e-9) }' |
		    sort -n | awk '{ r[NR] = $1 }
		    END { print (r[int((NR + 1) / 2)] + \
		    r[int(NR / 2) + 1]) / 2, r[1], r[NR] }')
}

# A table goes to the terminal, to NAME.txt and, one line for each row, to
# NAME.tsv.
begin_table() { # NAME
	mkdir -p "$build/bench"
	text="$build/bench/$1.txt"
	values="$build/bench/$1.tsv"
	: >"$text"
	printf 'part\twhat\tours\tpeer\ttheirs\tratio\tlowest\thighest\ttarget\treached\n' \
	    >"$values"
}

say() { # FORMAT ARGUMENTS...
	local fmt=$1
	shift
	# shellcheck disable=SC2059	# it is a format
	printf -- "$fmt\n" "$@" | tee -a "$text"
}

part() { # TITLE
	part=$1
	say ''
	say '-- %s' "$part"
	say '%-41s %11s %-26s %11s %7s %15s  %s' '' ours 'beside' theirs \
	    ratio lowest..highest target
}

# A row of the table.  A target of X is reached by a ratio of at least X, one
# of <X by less; - is none.
row() { # WHAT OURS PEER THEIRS RATIO LOWEST HIGHEST TARGET
	local reached='' target=''
	case $8 in
	-) ;;
	'<'*)
		target="below ${8#<}"
		reached=$(calc %d "$5 < ${8#<}")
		;;
	*)
		target="at least $8"
		reached=$(calc %d "$5 >= $8")
		;;
	esac
	printf '%s\t' "$part" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" \
	    >>"$values"
	case $reached in
	1) reached=reached ;;
	0) reached='short of it' ;;
	esac
	echo "${reached:--}" >>"$values"
	say '%-41s %11s %-26s %11s %7.2f %15s  %s' "$1" "$2" "$3" "$4" "$5" \
	    "$([ "$6" = - ] || calc '%.2f..%.2f' "$6, $7")" \
	    "$target${reached:+, $reached}"
}

# A row of times in the group, whose ratio is THEIRS by OURS.
time_row() { # WHAT OURS PEER THEIRS TARGET
	ratio_of "$4" "$2"
	row "$1" "$(calc '%.3f s' "$(time_of "$2")")" "$3" \
	    "$(calc '%.3f s' "$(time_of "$4")")" \
	    "$ratio" "$lowest" "$highest" "$5"
}

# The same as bytes a second, of as many bytes.
rate_row() { # WHAT OURS PEER THEIRS TARGET BYTES
	ratio_of "$4" "$2"
	row "$1" "$(calc '%.2f GB/s' "$6 / $(time_of "$2") / 1e9")" "$3" \
	    "$(calc '%.2f GB/s' "$6 / $(time_of "$4") / 1e9")" \
	    "$ratio" "$lowest" "$highest" "$5"
}

megabytes() { # BYTES
	if [ "$1" -ge 1000000 ]; then
		calc '%.2f MB' "$1 / 1e6"
	else
		calc '%.2f kB' "$1 / 1e3"
	fi
}

# A row of bytes, whose ratio is ours by theirs.
bytes_row() { # WHAT OURS PEER THEIRS TARGET
	row "$1" "$(megabytes "$2")" "$3" "$(megabytes "$4")" \
	    "$(calc %.4f "$2 / $4")" - - "$5"
}

missing() { # PEER WHAT
	say '%-41s %s' "$2" "$1 is not installed (make deps-bench)"
}

environment() {
	say 'pm %s on %s, %s processors, Linux %s, %s' \
	    "$(pm-info --version | cut -d' ' -f2)" "$(uname -m)" \
	    "$(nproc)" "$(uname -r)" "$(date +%Y-%m-%d)"
}
