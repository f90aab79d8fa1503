# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Loaded by the .bats files that work on images, after helper.

helper() { # NAME ARGUMENTS...: a program that was built for the tests alone
	"${PATH%%:*}/tests/helpers/$1" "${@:2}"
}

image() { # FILE BYTES: text that nowhere repeats
	seq 100000000 | head -c "$2" >"$1"
}

poke() { # FILE OFFSET TEXT
	printf %s "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

flip() { # FILE OFFSET: one bit of that byte
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "\\0$(printf %o $((byte ^ 16)))" |
	    dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

zero() { # FILE OFFSET BYTES: written, where that is whole pages
	head -c "$3" /dev/zero |
	    dd of="$1" bs=4096 seek="$(($2 / 4096))" conv=notrunc status=none
}

punch() { fallocate -p -o "$2" -l "$3" "$1"; } # FILE OFFSET BYTES

# All names here, but for what bats keeps in the same directory.
names() { ls -A --ignore='separate-stderr-*'; }

size() { stat -c %s "$1"; }

blocks() { stat -c %b "$1"; }

value() { # FILE KEY: of --stats or --json
	grep -o "\"$2\":\"\?[0-9a-f]*" "$1" | head -n 1 | sed 's/.*[:"]//'
}

is_root() { [ "$(id -u)" -eq 0 ]; }

mortal() { # COMMAND...: that even root may not do what modes forbid
	if is_root; then
		setpriv --bounding-set=-dac_override,-dac_read_search "$@"
	else
		"$@"
	fi
}
