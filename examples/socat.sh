#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Send an image through TLS of socat.  Nothing is confirmed, and a break is
# the end: the far end's own status tells whether it arrived.
# usage: socat.sh HOST:PORT CERTIFICATE-WITH-KEY AUTHORITY IMAGE
# there: socat -u OPENSSL-LISTEN:PORT,reuseaddr,cert=PEM,cafile=PEM - |
#	 pm-apply IMAGE
set -euo pipefail

pm-snapshot "$4" | pm-compress | socat -u - "OPENSSL:$1,cert=$2,cafile=$3"
