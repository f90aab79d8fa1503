#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Migrations of machines of QEMU whose memory changes on the way, in its own
# ways and through ours, over one link: bytes, time, and whether they end.
#
# The machine has a guest, which stands: QEMU loses some of what emulated
# processors write.  Memory that the guest does not use is filled and changed
# from outside, a few words in each of many pages, until a migration is about
# to stop the machine.  All bytes pass a process that limits their rate and
# counts them.  In the end the memory of both machines is compared.
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091
. "$bench/../tests/guest.bash"
. "$bench/../tests/qemu.bash"

case " ${PM_BENCH_PARTS:-qemu} " in
*' qemu '*) ;;
*) exit 0 ;;
esac

helpers=$build/tests/helpers
qemu_size=384
at=$((128 << 20))	# what is filled, and how many MiB
filled=96
pace=8000		# pages a second, of which four words change
limit=40		# seconds; what takes longer does not converge
modes='plain xbzrle compress multifd one-sided two-sided'

leave_machines() {
	qemu_end
	leave
}
trap leave_machines EXIT

# What each mode is, in words of the table.
words() { # MODE
	case $1 in
	plain) echo 'QEMU, plain' ;;
	xbzrle) echo 'QEMU, xbzrle, 256 MiB' ;;
	compress) echo 'QEMU, compress, 2 threads' ;;
	multifd) echo 'QEMU, multifd, 2 x zstd -1' ;;
	one-sided) echo 'ours, at the source alone' ;;
	two-sided) echo 'ours, at both ends' ;;
	esac
}

# Capabilities and parameters, at both ends as users have to set them.
prepare() { # MODE NAME
	case $1 in
	xbzrle)
		qemu_capability "$2" xbzrle
		qemu_parameter "$2" xbzrle-cache-size $((256 << 20))
		;;
	compress)
		qemu_capability "$2" compress
		qemu_parameter "$2" compress-threads 2
		qemu_parameter "$2" decompress-threads 2
		qemu_parameter "$2" compress-level 1
		;;
	multifd)
		qemu_capability "$2" multifd
		qemu_parameter "$2" multifd-channels 2
		qemu_parameter "$2" multifd-compression '"zstd"'
		qemu_parameter "$2" multifd-zstd-level 1
		;;
	esac
}

# Where the source sends to, and what the destination takes it from.
source_of() { # MODE
	local ours='pm-snapshot --format=qemu --stats snapshot | pm-delta'
	case $1 in
	one-sided)
		echo "exec:$ours | pm-apply --format=qemu | zstd -q -1 |" \
		    'nc -N -U wire'
		;;
	two-sided) echo "exec:$ours | pm-compress | pm-send unix:wire >sent" ;;
	*) echo unix:wire ;;
	esac
}
target_of() { # MODE
	case $1 in
	one-sided) echo 'exec:nc -l -U far </dev/null | zstd -q -dc' ;;
	two-sided)
		echo 'exec:pm-recv unix:far | pm-compress -d | pm-delta -d |' \
		    'pm-apply --format=qemu'
		;;
	*) echo unix:far ;;
	esac
}

ready() { # FILE
	qemu_within 60 grep -qs ready "$1"
}

# Both machines, what changes the memory of one, and the link.
set_up() { # MODE KIND RATE
	rm -f wire far count snapshot sent dirtied linked
	qemu_start there pc - -incoming defer
	qemu_resume here pc - .
	prepare "$1" there
	prepare "$1" here
	qemu_capability here pause-before-switchover
	qemu_tell there migrate-incoming "{\"uri\":\"$(target_of "$1")\"}"
	"$helpers/dirtier" here.qtest $at $filled "$2" 1 $pace >dirtied &
	dirtier=$!
	"$helpers/link" "$3" count unix:wire unix:far >linked &
	link=$!
	ready dirtied && ready linked && qemu_within 10 test -S far
}

stop_changes() {
	kill "$dirtier" 2>/dev/null || :
	wait "$dirtier" || :
}

is_equal() {
	qemu_same here there >&2 || {
		echo "qemu: the memory of both machines differs: $1" >&2
		exit 1
	}
}

# Move it once: bytes, microseconds, whether it converged, milliseconds that
# QEMU says the machine stood, and that device state took on its way through
# ours.
move() { # MODE KIND RATE
	local began end ended=no downtime=- device=-
	set_up "$@" || {
		cat here.log there.log >&2
		echo "qemu: $1 cannot begin" >&2
		exit 1
	}
	began=$(now)
	qemu_migrate here "$(source_of "$1")"
	if qemu_within $limit qemu_is_past here &&
	    [ "$(qemu_phase here)" = pre-switchover ]; then
		stop_changes
		qemu_continue here
		if qemu_migrated here && qemu_arrived there; then
			ended=yes
		fi
		end=$(now)
		downtime=$(qemu_number here downtime)
	else
		end=$(now)
		stop_changes
	fi
	if [ $ended = yes ]; then
		is_equal "$1"
		[ ! -s snapshot ] ||
		    device=$(calc %.0f "$(counter snapshot device_us) / 1e3")
	elif qemu_runs here && [ "$(qemu_phase here)" = failed ]; then
		ended=failed
		cat here.log there.log >&2
	fi
	qemu_end
	kill "$link" 2>/dev/null || :
	wait "$link" || :
	read -r bytes _ <count
	moved="$bytes $((end - began)) $ended $downtime $device"
}

move_rows() { # KIND WORDS RATE WORDS
	local mode bytes us ended downtime device
	say ''
	say '-- %s, over %s' "$2" "$4"
	say '%-28s %12s %9s %10s %13s %13s' '' bytes time converges \
	    'stood, ms' 'devices, ms'
	for mode in $modes; do
		move "$mode" "$1" "$3"
		read -r bytes us ended downtime device <<<"$moved"
		moved_bytes[$mode]=$bytes moved_how[$mode]=$ended
		printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$3" "$mode" \
		    "$bytes" "$us" "$ended" "$downtime" "$device" >>"$moves"
		say '%-28s %12s %7.2f s %10s %13s %13s' "$(words "$mode")" \
		    "$(megabytes "$bytes")" "$(calc %f "$us / 1e6")" \
		    "$ended" "$downtime" "$device"
	done
}

# How many times fewer bytes ours are, if it converges.
aim_rows() { # TIMES
	local mode ratio
	for mode in one-sided two-sided; do
		ratio=0
		[ "${moved_how[$mode]}" != yes ] || ratio=$(calc %.4f \
		    "${moved_bytes[xbzrle]} / ${moved_bytes[$mode]}")
		row "bytes, $(words "$mode")" \
		    "$(megabytes "${moved_bytes[$mode]}")" 'xbzrle' \
		    "$(megabytes "${moved_bytes[xbzrle]}")" "$ratio" - - "$1"
	done
}

# A stream of a machine of that many mebibytes with that much text.
capture() { # FILE MIB FILLED
	local qemu_size=$2
	rm -f dirtied
	qemu_start here bare -
	"$helpers/dirtier" here.qtest $((16 << 20)) "$3" text 1 0 >dirtied &
	dirtier=$!
	ready dirtied
	stop_changes
	qemu_migrate here "exec:cat >$1"
	qemu_migrated here
	qemu_end
}

# The filter alone, on one processor, by the memory of the machine.
filter_rows() {
	part 'QEMU'\''s stream to ours, on one processor, by the size of memory'
	capture zeroes.stream 2048 16
	capture text.stream 512 480
	warm zeroes.stream text.stream
	group
	timed 'taskset -c 0 pm-snapshot --format=qemu zeroes.stream'
	timed 'taskset -c 0 pm-snapshot --format=qemu text.stream'
	timed 'taskset -c 0 cat text.stream | taskset -c 0 cat'
	timed 'taskset -c 0 pm-snapshot --format=qemu text.stream |
	    taskset -c 0 cat'
	in_turn
	aim_row 'most of it zeroes' 1 $((2048 << 20)) 1e9 '1 GB/s'
	aim_row 'all of it text' 2 $((512 << 20)) 5e8 '0.5 GB/s'
	rate_row 'all of it text' 4 'cat | cat' 3 - $((512 << 20))
	rm -f zeroes.stream text.stream
}

aim_row() { # WHAT OURS BYTES AIM WORDS
	local rate
	rate=$(calc %f "$3 / $(time_of "$2")")
	row "$1" "$(calc '%.2f GB/s' "$rate / 1e9")" 'what it should be' "$5" \
	    "$(calc %.4f "$rate / $4")" - - 1
}

enter
begin_table qemu
environment
qemu_can >why || {
	say '%s (make deps-qemu)' "$(cat why)"
	exit 0
}
have zstd || {
	missing zstd 'migrations'
	exit 0
}
say '%s; a guest in a machine of %s MiB, and %s MiB besides in which' \
    "$(qemu-system-x86_64 --version | sed -n '1s/ *(.*//p')" \
    $qemu_size $filled
say 'four words change in each of %s pages a second.  What took %s s did not' \
    $pace $limit
say 'converge.  Bytes are those on the socket, and the time is until the'
say 'machine can run there.  QEMU says for how many ms it stood; pm-snapshot,'
say 'in how many of them it passed on the state of devices.'
if ! guest_kernel "$build/guest" || ! qemu_prepare "$build/guest/kernel" ||
    ! qemu_keep pc; then
	say 'no guest boots here'
	exit 0
fi
moves="$build/bench/qemu-moves.tsv"
printf 'kind\trate\tmode\tbytes\tus\tconverged\tdowntime ms\tdevices ms\n' \
    >"$moves"
declare -A moved_bytes moved_how
move_rows text 'text that changes' 0 'a link without limit'
move_rows random 'random bytes that change' 0 'a link without limit'
move_rows text 'text that changes' $((24 << 20)) '24 MiB/s'
part 'the same: times fewer bytes'
aim_rows 4
move_rows random 'random bytes that change' $((24 << 20)) '24 MiB/s'
part 'the same: times fewer bytes'
aim_rows 2
filter_rows
