#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Send an image to another host, encrypted with a key for this copy alone.
# Only the key goes through ssh; the image takes the direct way, and as many
# connections as are good for it.
# usage: ship.sh HOST IMAGE TARGET [OPTION OF pm-send...]
# It prints the id of what arrived.
set -euo pipefail
host=$1 image=$2 target=$3
shift 3

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pm-send --make-key "$dir/key"

# What is done there: listen on a port of the system's choice, and tell it.
# shellcheck disable=SC2016
receive='set -e; umask 077; dir=$(mktemp -d); trap "rm -rf $dir" EXIT
    cat >"$dir/key"
    pm-recv --tls-psk "$dir/key" --timeout 60 --port-file "$dir/port" :0 \
	-- pm-apply '$(printf %q "$target")' >"$dir/id" & receiver=$!
    until [ -s "$dir/port" ]; do kill -0 $receiver; sleep 0.1; done
    cat "$dir/port"; wait $receiver'
mkfifo "$dir/port"
${SSH:-ssh} "$host" "$receive" <"$dir/key" >"$dir/port" &
there=$!
read -r port <"$dir/port"

pm-snapshot "$image" | pm-compress |
    pm-send --tls-psk "$dir/key" "$@" "$host:$port"
wait $there
