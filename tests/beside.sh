#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run commands beside each other.  What the first says is seen at once, what
# the others say when those before them have ended.  Fails when one does.
# usage: beside.sh DIRECTORY FIRST COMMAND...
set -u
kept=$1/beside
first=$2
shift 2

pids=
number=0
for command; do
	number=$((number + 1))
	sh -c "$command" >"$kept.$number" 2>&1 &
	pids="$pids $!"
done
# shellcheck disable=SC2064
trap "kill $pids" HUP INT TERM
status=0
sh -c "$first" || status=1
number=0
for pid in $pids; do
	number=$((number + 1))
	wait "$pid" || status=1
	cat "$kept.$number"
done
exit $status
