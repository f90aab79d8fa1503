#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Build the library for 32 bits and run those of its tests that link: the
# compressors' 32-bit libraries are seldom there, and most tests need none.
set -eu
cd "$(dirname "$0")/.."
dir=build/thirty-two
mkdir -p "$dir"

if ! echo 'int main(void) { return 0; }' |
    ${CC:-cc} -m32 -x c -o "$dir/probe" - 2>/dev/null; then
	echo '1..0 # SKIP the compiler has no 32-bit libraries'
	exit 0
fi
flags='-O1 -m32 -Wno-psabi'
build() { # ARGUMENT...
	make -s B="$dir" CPPFLAGS='-DPM_PORTABLE -DCHECK_STRIDE=7u' \
	    CFLAGS="$flags" CODECS= TLS= "$@"
}

build -j"$(nproc)" CFLAGS="$flags -Werror" "$dir/libpm.a"
programs=$(printf "$dir/%s\n" tests/unit/*.c | sed 's/\.c$//')
# shellcheck disable=SC2086
rm -f $programs
# shellcheck disable=SC2086
build -j"$(nproc)" -k $programs >/dev/null 2>&1 || :
for program in $programs; do
	name=${program##*/}
	if [ -x "$program" ]; then
		case $name in
		cgroup | freeze | guardian | *inject* | session*)
			continue ;;	# they wait, and build is the question
		esac
		echo "# $program"
		"$program"
		continue
	fi
	build "$program" >"$dir/$name.log" 2>&1 || :
	if grep -q 'undefined reference' "$dir/$name.log"; then
		echo "ok 1 - $name # SKIP needs libraries for 32 bits"
	else
		cat "$dir/$name.log"
		exit 1
	fi
done
