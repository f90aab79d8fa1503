#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Keep what a process holds, every so many seconds until it ends: first all
# of it, then what changed since, beside a table of 16 bytes a page.  Each
# state that was kept can be had again.
# usage: watch.sh watch SECONDS PID DIRECTORY
#	 watch.sh restore DIRECTORY NUMBER CORE
set -euo pipefail

part() { # DIRECTORY NUMBER
	printf '%s/%06d' "$1" "$2"
}

lives() { # PID: the dead that nobody waited for run no program
	[ -e "/proc/$1/exe" ]
}

# What changed since the part LAST becomes the part NEXT.  The table counts
# only where its part is, and -o makes that appear whole or not at all.  A
# part without a table was kept in the very moment of an end, such as Ctrl-C;
# the next one is whole.
keep() { # PID LAST NEXT
	local since=()
	[ ! -e "$2.table" ] || since=(--since "$2.table")
	pm-snapshot --live --pid "$1" "${since[@]}" --save-table "$3.table" \
	    --stats "$3.stats" | pm-compress -o "$3.pms" || return
	rm -f "$2.table"
	sed "s|.*\"downtime_us\":\([0-9]*\).*\"pages_raw\":\([0-9]*\).*|$3: \2 \
pages, and the process stood still for \1 us|" "$3.stats"
	rm "$3.stats"
}

watch() { # SECONDS PID DIRECTORY
	local seconds=$1 pid=$2 dir=$3 count
	mkdir -p "$dir"
	count=$(find "$dir" -name '*.pms' | wc -l)
	while lives "$pid"; do
		if keep "$pid" "$(part "$dir" "$count")" \
		    "$(part "$dir" $((count + 1)))"; then
			count=$((count + 1))
			sleep "$seconds"
		elif lives "$pid"; then
			return 1
		fi
	done
	echo "The process ended; $count states of it are kept."
}

# Streams behind each other are a chain, which begins with a whole one and
# goes as far as is wanted.
restore() { # DIRECTORY NUMBER CORE
	local parts=() at file what
	for at in $(seq "$2"); do
		file=$(part "$1" "$at").pms
		what=$(pm-info "$file")
		[[ $what != *", full"* ]] || parts=()
		parts+=("$file")
	done
	cat "${parts[@]:?are counted from 1}" | pm-apply "$3"
}

command=$1
shift
"$command" "$@"
