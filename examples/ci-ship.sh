#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A CI job that keeps the memory image of a test machine: the first run
# stores all of it, each later run what changed since, next to a table of 16
# bytes a page; the old image itself need not be kept.
# usage: ci-ship.sh store IMAGE DIRECTORY
#	 ci-ship.sh restore DIRECTORY IMAGE
set -euo pipefail

store() { # IMAGE DIRECTORY
	local since=() number
	mkdir -p "$2"
	number=$(find "$2" -name '*.pms' | wc -l)
	[ "$number" -eq 0 ] || since=(--since "$2/table")
	# -o: a part file or table appears whole, or not at all.
	pm-snapshot "${since[@]}" --save-table "$2/table.new" "$1" |
	    pm-compress -o "$2/$(printf %06d "$number").pms"
	mv "$2/table.new" "$2/table"
}

restore() { # DIRECTORY IMAGE
	cat "$1"/*.pms | pm-apply "$2"
}

command=$1
shift
"$command" "$@"
