#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Make bytes of hexadecimal text on stdin: pairs of digits with blanks between
# them, "41 x 4096" for a run of one byte, "#" to the end of a line a comment.
LC_ALL=C exec awk '
function fail(what) {
	printf "unhex: line %d: %s\n", NR, what >"/dev/stderr"
	failed = 1
	exit 1
}
function value(pair,	high, low) {
	high = index("0123456789abcdef", substr(pair, 1, 1))
	low = index("0123456789abcdef", substr(pair, 2, 1))
	if (length(pair) != 2 || !high || !low)
		fail("not a byte: " pair)
	return 16 * (high - 1) + low - 1
}
{
	sub(/#.*/, "")
	for (i = 1; i <= NF; i += count > 0 ? 3 : 1) {
		count = $(i + 1) == "x" ? $(i + 2) + 0 : 0
		if ($(i + 1) == "x" && count <= 0)
			fail("not a count: " $(i + 2))
		byte = value($i)
		for (n = count > 0 ? count : 1; n > 0; n--)
			printf "%c", byte
	}
}
END { exit failed }'
