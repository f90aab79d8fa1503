#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Install those of the Debian packages named that are missing.
set -eu

missing=''
for package in "$@"; do
	dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok' ||
	    missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=''
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || {
		echo "deps: install as root:$missing" >&2
		exit 1
	}
	as_root=sudo
fi
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086	# a list of words, each a package
$as_root apt-get install -y -qq --no-install-recommends $missing \
    >/dev/null 2>&1 || {
	$as_root apt-get update -qq
	$as_root apt-get install -y -qq --no-install-recommends $missing \
	    >/dev/null
}
