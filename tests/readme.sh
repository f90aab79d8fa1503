#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Render pm(7) as plain text: the README.  Without the head and foot of a
# page, which differ between systems.
set -eu
LC_ALL=C
export LC_ALL
page=$(dirname "$0")/../man/pm.7
erased=".$(printf '\010')"

text=$(mandoc -Tascii -Ios=pm -Owidth=78 "$page")
printf '%s\n' "$text" | sed -e "s/$erased//g" -e '1,2d;$d' | sed -e '$d'
