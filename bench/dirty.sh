#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The map of dirty pages beside a bitmap without a summary and a map with a
# byte for each page.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

bitmap_rows() {
	part 'finding the dirty pages of 512 GiB'
	while IFS=$'\t' read -r what ours unit peer theirs ratio lowest \
	    highest; do
		row "$what" "$ours $unit" "$peer" "$theirs $unit" "$ratio" \
		    "$lowest" "$highest" "$(target_of "$what, $peer")"
	done < <(bitmap)
}

target_of() { # WHAT, PEER
	case $1 in
	'memory, byte map') echo 7 ;;
	'walk, none dirty, flat bitmap') echo 20 ;;
	'walk, 0.001 % dirty, flat bitmap') echo 4 ;;
	*) echo - ;;
	esac
}

case " ${PM_BENCH_PARTS:-bitmap} " in
*' bitmap '*) ;;
*) exit 0 ;;
esac
enter
begin_table dirty
environment
say 'ratio: theirs by ours, the median of those of 9 turns.'
say 'A walk visits all pages that are dirty; find next begins anywhere.'
bitmap_rows
