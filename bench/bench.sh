#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Measure ourselves beside peers on the same images in one run.  Ratios are
# what counts; absolute times belong to a machine.  What is written goes to
# bench/ in the build directory too.
#
#	PM_BENCH_KEEP=DIR	make the images in DIR, keep them, and take
#				those that are there
#	PM_BENCH_DIR=DIR	else, make them in a directory in DIR
#	PM_BENCH_SECONDS=N	about so long for each group of commands
#	PM_BENCH_PARTS=...	parts of the tables, in words
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

enter
"$bench/table.sh"
"$bench/dirty.sh"
"$bench/tracker.sh"
"$bench/live.sh"
"$bench/net.sh"
"$bench/qemu.sh"
"$bench/free.sh"
"$bench/plots.sh"
