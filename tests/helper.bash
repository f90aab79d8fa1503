# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Shared by the .bats files: where the programs are, and where tests work.
bats_require_minimum_version 1.5.0

setup() {
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	cd "$BATS_TEST_TMPDIR" || return
	ulimit -c 0
}
