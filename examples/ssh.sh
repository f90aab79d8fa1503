#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bring an image on another host up to date: only what differs goes there.
# usage: ssh.sh HOST NEW OLD TARGET
#	NEW and OLD are images here; TARGET, there, holds what OLD holds
# The status is that of the copy: without pipefail a failure of the first
# commands would still be noticed there, as a stream that was cut.
set -euo pipefail
host=$1 new=$2 old=$3 target=$4

pm-snapshot --base "$old" "$new" | pm-delta --base "$old" | pm-compress |
    ${SSH:-ssh} "$host" pm-apply "$target"
