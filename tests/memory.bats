#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2030,SC2031,SC2154
# What memory the programs take; sanitizers take more, and keep what is freed.
load helper
load images
load pipeline

teardown() { [ -z "$shm" ] || rm -rf "$shm"; }

shm=''

@test "no program takes more memory as the stream gets longer" {
	is_flat 31 31
}
