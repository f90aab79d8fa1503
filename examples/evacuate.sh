#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Empty a host: send many images to another one, some at a time, with GNU
# parallel.  The first failure stops what has not begun.
# usage: evacuate.sh HOST DIRECTORY JOBS IMAGE...
# It prints a line for each image that arrived: its name and its id.
set -euo pipefail
host=$1 directory=$2 jobs=$3
shift 3
ship=$(dirname "$0")/ship.sh

parallel --will-cite -j "$jobs" --halt soon,fail=1 --tag \
    "$ship" "$host" {} "$directory/{/}" ::: "$@"
