# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Loaded by the .bats files that copy processes while they run, after images
# and process.
#
# What must come of it is known by another way: the live copy leaves its
# target stopped, and so it can be read once more, all of it, at rest.

# Each run can be had again with the number that a failed one prints.
chance() {
	RANDOM=${PM_SEED:-$$}
	echo "# PM_SEED=${PM_SEED:-$$}"
}

# start HELPER ARGUMENTS...: one that says when it is ready, in the file told
start() {
	rm -f told
	# A function would be run by a shell of its own.
	"${PATH%%:*}/tests/helpers/$1" "${@:2}" >told 3>&- &
	target=$!
	started+=("$target")
	disown "$target"
	eventually has_started
	if grep '^not here' told >why; then skip "$(cat why)"; fi
	grep -q ready told
}

has_started() { ended "$target" || grep -Eq '^(ready|not here)' told; }

track() { # KIND RATE [FILE]
	[ -z "${3-}" ] || head -c 8M /dev/urandom >"$3"
	start tracked "$1" "$RANDOM" "${@:2}"
}

# It has given up or been given the processor since.
switches() {
	cat "/proc/$target/task/"*/status |
	    awk '/ctxt_switches/ { n += $2 } END { print n }'
}

has_switched() { [ "$(switches)" -gt "$1" ]; }

runs() { eventually has_switched "$(switches)" && in_state RSD; }

# All that it wrote is there.  The target ends.
is_intact() {
	kill -CONT "$target"
	kill -USR1 "$target"
	eventually ended "$target"
	cat told
	grep -qx intact told
}

ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }

snapshot() { timeout 30 pm-snapshot "$@"; }

# Rounds without end, but for what options follow.
live() { snapshot --pid "$target" --live --max-downtime 0ms "$@"; }

forced() { live --max-rounds "$((RANDOM % 6 + 1))" --force "$@"; }

# What is in live.pms is the memory of the target, which is stopped.
is_exact() {
	eventually in_state T
	snapshot --pid "$target" -o full.pms --stats full.stats
	rm -f live.core full.core
	[ "$(timeout 30 pm-apply live.core <live.pms)" = \
	    "$(value full.stats to)" ]
	timeout 30 pm-apply full.core <full.pms
	kill -CONT "$target"
}

exact() { # OPTIONS...
	forced --then stop -o live.pms --stats live.stats "$@"
	is_exact
	[ "$(value live.stats to)" = "$(value full.stats to)" ]
}

# The same to a reader who takes his time, so that much is written meanwhile.
exact_slowly() { # OPTIONS...
	(
		set -o pipefail
		forced --then stop "$@" | helper slow 131072 1 >live.pms
	)
	is_exact
}

# exactly KIND [FILE [OPTIONS...]], PM_TIMES at full speed and once slowly
exactly() {
	local times

	chance
	track "$1" 20000 ${2:+"$2"}
	for ((times = 0; times < ${PM_TIMES:-1}; times++)); do
		exact "${@:3}"
		"$compare" live.core full.core
	done
	exact_slowly "${@:3}"
	"$compare" live.core full.core
	is_intact
}

# Mappings of which a part was new while others were watched may be one as
# soon as nothing is watched, and core files list mappings: where those change,
# only what is in them can be compared.
compare='cmp'

# A target whose mappings never rest.
churned() { # TIMES
	local times

	chance
	start churn "$RANDOM" file
	for ((times = 0; times < $1; times++)); do
		exact
	done
	is_intact
}
