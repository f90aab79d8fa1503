# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Loaded by the .bats files that start processes, after helper.

started=()

# Whatever was started is ended, however a test ends.
end_started() {
	local pid

	for pid in "${started[@]}"; do
		kill -9 "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
}

end_later() { started+=("$1"); } # PID

in_state() { # LETTERS: the target is
	grep -q "^State:[[:space:]]*[$1]" "/proc/$target/status"
}

# The target works on: it takes time of a processor.
ticks() { sed 's/.*) //' "/proc/$target/stat" | cut -d' ' -f12; }

ticked() { [ "$(ticks)" -gt "$1" ]; }

runs() { eventually ticked "$(ticks)"; }

eventually() { # COMMAND...: it succeeds within half a minute
	local tries

	for ((tries = 0; tries < 3000; tries++)); do
		if "$@"; then return 0; fi
		sleep 0.01
	done
	return 1
}
