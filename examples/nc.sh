#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Send an image to a receiver that has nothing but nc, or from a sender that
# has nothing but nc.  Nobody confirms a bare stream: the far end's own
# status tells whether it arrived.
# usage: nc.sh to HOST PORT IMAGE		there: nc -l PORT | pm-apply IMAGE
#	 nc.sh from PORT IMAGE		there: nc HOST PORT <STREAM
set -euo pipefail

case $1 in
to)	pm-snapshot "$4" | pm-compress | pm-send -q --raw "$2:$3" ;;
from)	pm-recv ":$2" -- pm-apply "$3" ;;
esac
