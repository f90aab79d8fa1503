#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Cut an example out of pm-stream(5): what stands between the comments
# "BEGIN name" and "END name" of the page.
# usage: extract.sh zero.c|full|incremental|delta|digests
page=$(dirname "$0")/../man/pm-stream.5
awk -v name="$1" '
$1 == ".\\\"" && $2 == "END" { inside = 0 }
inside && !/^\.(Bd|Ed)/ {
	sub(/^\\&/, "")
	gsub(/\\e/, "\\")
	print
	found = 1
}
$1 == ".\\\"" && $2 == "BEGIN" && $3 == name { inside = 1 }
END { exit !found }' "$page"
