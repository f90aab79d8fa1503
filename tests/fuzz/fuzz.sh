#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzz each reader of foreign bytes, from the corpus on; needs clang.
# usage: fuzz.sh [SECONDS]	for each target
set -eu
cd "$(dirname "$0")/../.."
dir=build/fuzz
flags='-O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all'

make -s B="$dir" CC=clang HARDEN= LDHARD= CFLAGS="$flags" "$dir/libpm.a"
for target in stream xbzrle codec qemu wire guest; do
	make -s B="$dir" CC=clang HARDEN= LDHARD= CFLAGS="$flags" \
	    "$dir/tests/fuzz/$target.o"
	clang++ -fsanitize=address,undefined,fuzzer -o "$dir/$target" \
	    "$dir/tests/fuzz/$target.o" "$dir/libpm.a" -lz -llz4 -lzstd \
	    -Wl,--as-needed -lgnutls -pthread
	tests/fuzz/corpus.sh "$target" "$dir/corpus/$target"
	"$dir/$target" -max_total_time="${1:-60}" -print_final_stats=1 \
	    "$dir/corpus/$target"
done
