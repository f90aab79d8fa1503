#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Watching a process while it works: what it takes, what it costs the
# process, and how a live copy of one that writes without rest comes to an
# end.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

turns=7
link=3.2e9		# bits a second: 400 MB

# Of lines with two numbers: medians of both, and of their ratio, which is
# theirs by ours, or the other way where more is better.
medians() { # FILE OURS THEIRS less|more
	awk -v a="$2" -v b="$3" -v more="$4" '{
		r = more == "more" ? $a / ($b + 1e-9) : $b / ($a + 1e-9)
		printf "%s %s %.4f\n", $a, $b, r
	}' "$1" >pairs
	ours=$(sort -n pairs | middle 1)
	theirs=$(sort -n -k 2,2 pairs | middle 2)
	sort -n -k 3,3 pairs >sorted
	ratio=$(middle 3 <sorted)
	lowest=$(head -n 1 sorted | cut -d' ' -f3)
	highest=$(tail -n 1 sorted | cut -d' ' -f3)
}

middle() { # COLUMN
	awk -v c="$1" '{ v[NR] = $c } END { print v[int((NR + 1) / 2)] }'
}

# A row of the two numbers, and one of ours beside what it is to be.
pair_row() { # WHAT FORMAT SCALE PEER TARGET
	row "$1" "$(calc "$2" "$ours * $3")" "$4" \
	    "$(calc "$2" "$theirs * $3")" "$ratio" "$lowest" "$highest" "$5"
}

aim_row() { # WHAT FORMAT OURS AIM: less is better
	row "$1" "$(calc "$2" "$3")" 'at most' "$(calc "$2" "$4")" \
	    "$(calc %.4f "$4 / ($3 + 1e-9)")" - - 1
}

idle_rows() {
	local kind
	part 'an idle round, for each GiB, caches cold'
	for kind in anon shared thp; do
		tracker idle $kind 1024 "$turns" >told
		medians told 1 2 less
		case $kind in
		anon) what='pages of 4K' ;;
		shared) what='shared memory' ;;
		thp) what='huge pages' ;;
		esac
		pair_row "$what" '%.2f ms' 1e-3 '/proc/PID/pagemap' \
		    "$([ $kind = anon ] && echo 8 || echo -)"
		[ $kind != anon ] ||
		    aim_row "$what" '%.2f ms' "$ours * 1e-3" 1.5
	done
}

cost_rows() {
	local kind
	part 'what it costs the process'
	tracker write anon 512 "$turns" >told
	medians told 1 2 less
	pair_row 'first write to a page that is watched' '%.3f us' 1e-3 \
	    'one to a page that is not' -
	aim_row 'first write to a page that is watched' '%.3f us' \
	    "$ours * 1e-3" 2
	medians told 1 3 less
	pair_row 'first write to a page that is watched' '%.3f us' 1e-3 \
	    'first touch of a page' -
	for kind in anon thp; do
		tracker work $kind 512 "$turns" >told
		medians told 1 2 more
		pair_row "writes a second to 64 of 512 MiB, $kind" \
		    '%.1f M' 1e-6 'not watched' -
	done
}

# Copies of a process with 512 MiB.
subject() { # HOT: MiB that it writes
	rm -f said
	rewriter 512 "$1" >said &
	pid=$!
	until grep -qs ready said; do
		kill -0 "$pid" || failed rewriter
		sleep 0.1
	done
}

end_subject() {
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || :
}

# What the process itself has seen since it was asked last.
ask_subject() { # NUMBER of lines then
	kill -USR1 "$pid"
	until [ "$(wc -l <said)" -ge "$1" ]; do
		kill -0 "$pid" || failed rewriter
		sleep 0.01
	done
	tail -n 1 said
}

# A line of rounds, bytes, downtime, the longest gap and expected downtime.
copy() { # OPTIONS...
	local lines gap
	lines=$(wc -l <said)
	ask_subject $((lines + 1)) >/dev/null
	pm-snapshot --pid "$pid" --live --stats counts "$@" 2>log |
	    pace "$link" passed >/dev/null || failed "pm-snapshot --live $*"
	read -r gap _ < <(ask_subject $((lines + 2)))
	echo "$(counter counts rounds) $(cat passed) $(counter counts downtime_us) $gap $(counter counts expected_downtime_us)"
}

copies() { # HOT OPTIONS...
	local turn
	subject "$1"
	shift
	: >copies
	for ((turn = 0; turn < ${PM_BENCH_MOVES:-5}; turn++)); do
		copy "$@" >>copies
		sleep 0.5
	done
}

median_of() { # COLUMN, of copies
	sort -n -k "$1,$1" copies | middle "$1"
}

converge_rows() { # WHAT ROUNDS TIMES
	aim_row "$1, rounds" %d "$(median_of 1)" "$2"
	aim_row "$1, bytes by memory" %.2f "$(median_of 2) / 512 / 1048576" "$3"
	aim_row "$1, downtime" '%.0f ms' "$(median_of 3) / 1000" 300
	medians copies 3 4 more
	pair_row "$1, downtime" '%.0f ms' 1e-3 'longest gap in its work' -
	medians copies 3 5 more
	pair_row "$1, downtime" '%.0f ms' 1e-3 'as was expected' -
}

# A group for a process to be slowed down, where one can be made.
make_group() {
	local at

	for at in /sys/fs/cgroup/cpu /sys/fs/cgroup/cpu,cpuacct \
	    /sys/fs/cgroup; do
		group=$at/pm-bench.$$
		mkdir "$group" 2>/dev/null || continue
		if [ -e "$group/cpu.max" ] || [ -e "$group/cpu.cfs_quota_us" ]
		then
			return 0
		fi
		rmdir "$group"
	done
	group=''
	return 1
}

group=''
drop_group() {
	[ -z "$group" ] || rmdir "$group" || :
	group=''
}
trap 'leave; drop_group' EXIT

convergence_rows() {
	part 'a live copy of 512 MiB, written without rest, at 400 MB/s'
	copies 64
	end_subject
	converge_rows '64 MiB of it' 4 2.2
	make_group || {
		say '%-41s %s' 'all of it, --throttle' \
		    'no control group can be made here'
		return 0
	}
	subject 512
	end_subject
	rm -f copies
	throttled
	converge_rows 'all of it, --throttle' 6 3
	drop_group
}

# Each time anew: a copy leaves a process that was slowed down cold.
throttled() {
	local turn
	: >copies.new
	for ((turn = 0; turn < ${PM_BENCH_MOVES:-5}; turn++)); do
		subject 512
		echo "$pid" >"$group/cgroup.procs"
		copy --throttle --cgroup "$group" >>copies.new
		end_subject
	done
	mv copies.new copies
}

still_rows() {
	part 'standing still to be watched'
	tracker still anon 512 "$turns" >told
	medians told 1 2 less
	pair_row 'stopped, of a process at work' '%.2f ms' 1e-3 \
	    'all that it takes to watch' -
	subject 64
	for ((turn = 0; turn < turns; turn++)); do
		pm-snapshot --pid "$pid" --stats counts >/dev/null
		echo "$(sed -n "$((turn + 1))p" told | cut -f1) $(counter counts frozen_us)"
	done >frozen
	end_subject
	medians frozen 1 2 less
	pair_row 'stopped, of a process at work' '%.2f ms' 1e-3 \
	    'pm-snapshot --pid, 512 MiB' -
}

case " ${PM_BENCH_PARTS:-tracker} " in
*' tracker '*) ;;
*) exit 0 ;;
esac
enter
begin_table tracker
environment
tracker idle anon 64 1 >/dev/null 2>log || {
	say 'no process can be watched here: %s' "$(cat log)"
	exit 0
}
say 'ratio: how many times better than what stands beside it, the median of several'
say 'turns; of writes a second, and of a downtime beside another time, ours by theirs.'
idle_rows
cost_rows
convergence_rows
still_rows
