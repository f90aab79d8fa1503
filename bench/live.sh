#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Move the memory of something that goes on working, over a link of 1 Gbit/s,
# without and with compression: how long that takes in all, how long the
# subject stands still, and how many bytes pass.
#
# It repeats what was measured in 2015 for QEMU, when compression on several
# threads was new there: a guest that is idle, and one that writes random
# numbers.  The memory of the guest is a file.  It is read in rounds while
# the guest runs, then the guest stops, and what is left is sent.  Beside that
# stands pm-snapshot --live, which makes the rounds by itself.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=bench/guest.sh
. "$bench/guest.sh"

link=1e9		# bits a second
little=1000		# pages; when a round has fewer, the guest is stopped
most=10			# rounds
hows='plain compressed'
! tracker idle anon 64 1 >/dev/null 2>&1 || hows+=' live live-compressed'

# Read the memory again and again, and at last when it stands still.
rounds() { # PID MEMORY
	local round pages
	pm-snapshot --save-table live.0 "$2"
	for ((round = 1; round < most; round++)); do
		pm-snapshot --since "live.$((round - 1))" \
		    --save-table "live.$round" --stats counts "$2"
		pages=$(counter counts pages_raw)
		[ "$pages" -gt "$little" ] || break
	done
	[ "$round" -lt "$most" ] || round=$((round - 1))
	kill -STOP "$1"
	now >stopped
	pm-snapshot --since "live.$round" "$2"
	echo $((round + 2)) >passes
}

# The same by one program; it is stopped in the same way.
live_copy() { # PID MEMORY
	pm-snapshot --live --tracker uffd --force --then stop \
	    --stop-command "kill -STOP $1; date +%s%6N >stopped" \
	    --stats counts "$2"
	counter counts rounds >passes
}

stamp() {
	local id
	while read -r id; do
		echo "$(now) $id"
	done
}

# Move it once.  What comes of it goes to the end of the file live-HOW.
move() { # PID MEMORY HOW
	local began end id
	rm -f target target.* live.[0-9]*
	began=$(now)
	case $3 in
	plain) rounds "$1" "$2" ;;
	compressed) rounds "$1" "$2" | pm-compress -j2 ;;
	live) live_copy "$1" "$2" ;;
	live-compressed) live_copy "$1" "$2" | pm-compress -j2 ;;
	esac | pace "$link" passed | pm-apply --in-place target | stamp >ids
	read -r end id < <(tail -n 1 ids)
	[ "$id" = "$(pm-info --id "$2")" ] || {
		echo 'live: the target does not hold what the subject held' >&2
		exit 1
	}
	kill -CONT "$1"
	echo "$((end - began)) $((end - $(cat stopped))) $(cat passed) $(cat passes)" >>"live-$3"
	sleep 1
}

# Megabytes a second that change, of whole pages.
rate_of() { # MEMORY
	local began
	began=$(now)
	pm-snapshot --save-table live.0 "$1" >/dev/null
	sleep 1
	pm-snapshot --since live.0 --stats counts "$1" >/dev/null
	calc %.1f "$(counter counts pages_raw) * 4096 / ($(now) - $began)"
}

median() { # FILE COLUMN
	sort -n -k "$2,$2" "$1" | awk -v c="$2" '{ v[NR] = $c }
	    END { print v[int((NR + 1) / 2)] }'
}

range() { # FILE COLUMN
	sort -n -k "$2,$2" "$1" | awk -v c="$2" '{ v[NR] = $c }
	    END { printf "%.2f..%.2f", v[1] / 1e6, v[NR] / 1e6 }'
}

subject_rows() { # NAME PID MEMORY
	local how turn total bytes rate
	for how in $hows; do
		rm -f "live-$how"
	done
	rate=$(rate_of "$3")
	for ((turn = 0; turn < ${PM_BENCH_MOVES:-3}; turn++)); do
		for how in $hows; do
			move "$2" "$3" "$how"
		done
	done
	for how in $hows; do
		total=$(median "live-$how" 1)
		bytes=$(median "live-$how" 3)
		printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$how" "$total" \
		    "$(median "live-$how" 2)" "$bytes" \
		    "$(median "live-$how" 4)" >>"$values"
		say '%-16s %-15s %8.2f s %12s %8.3f s %12s %9.1f MB %8.0f Mbit/s %6d %6s MB/s' \
		    "$1" "$how" "$(calc %f "$total / 1e6")" \
		    "$(range "live-$how" 1)" \
		    "$(calc %f "$(median "live-$how" 2) / 1e6")" \
		    "$(range "live-$how" 2)" \
		    "$(calc %f "$bytes / 1e6")" \
		    "$(calc %f "$bytes * 8 / $total")" \
		    "$(median "live-$how" 4)" "$rate"
		rm -f "live-$how"
	done
	rm -f live.[0-9]* target target.*
}

enter
begin_table live
printf 'subject\tcompression\ttotal us\tfreeze us\tbytes\trounds\n' >"$values"
say ''
say '-- moving what goes on working, over 1 Gbit/s'
if guest_prepare; then
	say 'a guest with 2 processors and %s, idle; and while it writes random numbers' "$guest_size"
	say 'in hexadecimal to random places of 128 MiB'
else
	say 'a process with 512 MiB of shared memory, a third of them filled, idle; and while'
	say 'it writes random numbers in hexadecimal to random places of 128 MiB'
fi
say '%-16s %-15s %10s %12s %10s %12s %12s %15s %6s %11s' '' '' total range freeze \
    range bytes throughput rounds changes
for subject in idle random; do
	if [ -e guest/initrd ]; then
		guest_start $subject live.memory
		guest_wait live.memory
		pid=$guest_pid
	else
		rm -f live.ready
		writer live.memory 512 128 \
		    "$([ $subject = idle ] && echo 0 || echo 20)" >live.ready &
		pid=$!
		until grep -qs ready live.ready; do sleep 0.2; done
	fi
	sleep 2
	subject_rows "$([ $subject = idle ] && echo idle ||
	    echo 'writes randomly')" "$pid" live.memory
	guest_end "$pid"
	rm -f live.*
done
