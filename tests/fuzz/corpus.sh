#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Write the corpus of a fuzz target into a directory, as bytes: the texts in
# corpus/ and, for streams, the golden ones.
# usage: corpus.sh stream|xbzrle|codec|qemu|wire|guest DIRECTORY
set -e
here=$(dirname "$0")
mkdir -p "$2"
set -- "$1" "$2" "$here"/corpus/"$1"-*.hex
if [ "$1" = stream ]; then
	set -- "$@" "$here"/../golden/*.hex
fi
target=$2
shift 2
for text; do
	name=$(basename "$text" .hex)
	"$here"/../unhex.sh <"$text" >"$target/$name"
done
