# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Streams over links that break.  Loaded after helper and peers; make_streams
# has been called.

counted() { # STATS NAME
	sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

# Send big.pms through a link that breaks after so many bytes on average, and
# find that it arrived; the breaks of both ends are added to breaks.
breaks=0
through_breaks() { # SEED MEAN OPTION...: of both ends, and "+" OPTION of one
	local seed=$1 mean=$2 breaker sender between
	# shellcheck disable=SC2034	# listen has it
	local reconnect=30s
	local -a both=(--keep-alive 700ms) own=()
	shift 2
	for option; do
		case $option in
		+*) own+=("${option#+}") ;;
		*) both+=("$option") ;;
		esac
	done
	rm -f out ready
	listen 127.0.0.1:0 --stats got.stats "${both[@]}" -o out
	between=$((20000 + (BASHPID + RANDOM) % 10000))
	"${PATH%%:*}/tests/helpers/breaker" "$seed" "$mean" "$between" \
	    "$(cat port)" >ready 3>&- &
	breaker=$!
	until_true test -s ready
	timeout 120 pm-send --reconnect 30s "${both[@]}" "${own[@]}" \
	    --stats stats "127.0.0.1:$between" <big.pms 3>&- &
	sender=$!
	wait "$sender"
	wait "$receiver"
	kill "$breaker"
	wait "$breaker" || :
	cmp out big.pms
	[ "$(counted stats breaks)" -gt 0 ]
	breaks=$((breaks + $(counted stats breaks)))
}

# The same over a line, while something happens to that again and again.  Who
# says nothing for so long is taken for lost.
silence=700ms
over_line() { # EVENT OPTION...
	local event=$1 sender
	shift
	rm -f out port
	"${line_b[@]}" "$(command -v pm-recv)" --insecure --reconnect 30s \
	    --keep-alive $silence --stats got.stats -o out 10.77.0.2:7000 3>&- &
	receiver=$!
	line_await b 7000
	"${line_a[@]}" "$(command -v pm-send)" --insecure --reconnect 30s \
	    --keep-alive $silence "$@" --stats stats 10.77.0.2:7000 \
	    <big.pms 3>&- &
	sender=$!
	while ! has_ended "$sender"; do
		sleep "0.$((RANDOM % 500 + 100))"
		"$event"
	done
	line_say up
	wait "$sender"
	wait "$receiver"
	cmp out big.pms
	breaks=$((breaks + $(counted stats breaks)))
}

strike_all() {
	line_say reset >/dev/null
}

strike_one() {
	line_say 'reset one' >/dev/null
}

pull_cable() {
	line_say down
	sleep 1.5
	line_say up
	sleep 0.5
}

nothing() {
	:
}
