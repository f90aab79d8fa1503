#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A stream from one program to another over a network: on loopback beside
# socat and ssh, and over a line that is long and loses packets, with one
# connection and with several.
#
# A time is that from the start of the sender to the end of both.  Input is a
# file in the page cache, output /dev/null.
# shellcheck source=bench/lib.sh disable=SC2154
. "$(dirname "$0")/lib.sh"
# shellcheck disable=SC1091
. "$bench/../tests/line.bash"

case " ${PM_BENCH_PARTS:-net} " in
*' net '*) ;;
*) exit 0 ;;
esac

skip() {
	say '(no line can be made: %s)' "$*"
	exit 0
}

leave_line() {
	line_end || :
	[ -z "${sshd:-}" ] || kill "$sshd" 2>/dev/null || :
	leave
}
trap leave_line EXIT

buffer=262144		# of socat, as large as our records
port=27000		# the next is of the next transfer

listens() { # PORT OR PATH
	case $1 in
	/*) [ -S "$1" ] ;;
	*) [ -n "$(ss -Hltn "sport = :$1")" ] ;;
	esac
}

# Run a receiver and a sender, and print the seconds that the bytes took.
carry() { # AT RECEIVER SENDER
	local from to receiver
	# shellcheck disable=SC2086	# they are words
	$2 >/dev/null &
	receiver=$!
	until listens "$1"; do
		kill -0 $receiver || return
		sleep 0.01
	done
	from=$EPOCHREALTIME
	# shellcheck disable=SC2086
	$3 <net.pms >/dev/null
	wait "$receiver"
	to=$EPOCHREALTIME
	calc '%.6f\n' "$to - $from"
}

ours() { # HOW CONNECTIONS OPTION...
	local at=127.0.0.1:$((++port)) where=$port many="--connections $2"
	if [ "$1" = unix ]; then
		at=unix:$PWD/sock where=$PWD/sock
	fi
	shift 2
	carry "$where" "pm-recv $* $at" "pm-send $many $* $at"
}

socat_plain() {
	port=$((port + 1))
	carry $port "socat -u -b $buffer TCP-LISTEN:$port,reuseaddr -" \
	    "socat -u -b $buffer - TCP:127.0.0.1:$port"
}

socat_unix() {
	rm -f other
	carry "$PWD/other" "socat -u -b $buffer UNIX-LISTEN:other -" \
	    "socat -u -b $buffer - UNIX-CONNECT:other"
}

socat_tls() {
	port=$((port + 1))
	carry $port "socat -u -b $buffer \
	    OPENSSL-LISTEN:$port,reuseaddr,cert=both.pem,cafile=cert.pem -" \
	    "socat -u -b $buffer - OPENSSL:localhost:$port,pf=ip4,$(:
	    )cert=both.pem,cafile=cert.pem"
}

start_sshd() {
	have ssh && [ -x /usr/sbin/sshd ] && [ "$(id -u)" -eq 0 ] || return 1
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f ssh_key
	cp ssh_key.pub authorized
	printf '%s\n' "HostKey $PWD/ssh_key" "PidFile none" \
	    "AuthorizedKeysFile $PWD/authorized" 'StrictModes no' \
	    'UsePAM no' 'PermitRootLogin yes' >sshd_config
	/usr/sbin/sshd -D -e -f "$PWD/sshd_config" -p 26999 2>sshd.log &
	sshd=$!
	until listens 26999; do
		kill -0 $sshd || return 1
		sleep 0.05
	done
}

over_ssh() {
	local from=$EPOCHREALTIME
	ssh -q -F none -i ssh_key -p 26999 -o StrictHostKeyChecking=no \
	    -o UserKnownHostsFile=/dev/null 127.0.0.1 'cat >/dev/null' <net.pms
	calc '%.6f\n' "$EPOCHREALTIME - $from"
}

loopback() {
	part 'a stream over loopback, beside others'
	group
	timed '@ours tcp 1'
	timed '@socat_plain'
	timed '@ours unix 1'
	timed '@socat_unix'
	timed '@ours tcp 1 --tls-psk psk'
	timed '@socat_tls'
	timed '@ours tcp 2 --tls-psk psk'
	! start_sshd || timed '@over_ssh'
	in_turn
	rate_row 'TCP, in the clear' 1 'socat -u' 2 0.9 "$bytes"
	rate_row 'unix socket' 3 'socat -u' 4 - "$bytes"
	rate_row 'TCP, TLS with a key' 5 'socat, OpenSSL' 6 1.0 "$bytes"
	rate_row '  two connections' 7 'socat, OpenSSL' 6 - "$bytes"
	[ ${#command[@]} -le 8 ] || {
		rate_row 'TCP, TLS with a key' 5 ssh 8 - "$bytes"
		rate_row 'TCP, in the clear' 1 ssh 8 - "$bytes"
	}
}

# Over the line; the receiver is in one namespace, the sender in the other.
far() { # CONNECTIONS
	local from receiver
	port=$((port + 1))
	"${line_b[@]}" pm-recv --insecure --window 64M "10.77.0.2:$port" \
	    >/dev/null &
	receiver=$!
	until "${line_b[@]}" ss -Hltn "sport = :$port" | grep -q .; do
		sleep 0.01
	done
	from=$EPOCHREALTIME
	"${line_a[@]}" pm-send --insecure --window 64M --connections "$1" \
	    "10.77.0.2:$port" <far.pms
	wait "$receiver"
	calc '%.6f\n' "$EPOCHREALTIME - $from"
}

long_line() { # CONGESTION CONTROL
	local side
	for side in a b; do
		local -n there=line_$side
		"${there[@]}" sysctl -qw \
		    "net.ipv4.tcp_congestion_control=$1" 2>/dev/null || return 0
	done
	part "100 MB/s, 40 ms, 0.1 % lost each way, $1"
	group
	timed '@far 1'
	timed '@far 2'
	timed '@far 4'
	in_turn
	rate_row '2 connections' 2 '1 connection' 1 - "$far_bytes"
	rate_row '4 connections' 3 '1 connection' 1 - "$far_bytes"
}

enter
begin_table net
environment
head -c 512M /dev/urandom >net.img
pm-snapshot -o net.pms net.img
head -c 48M net.img >far.img
pm-snapshot -o far.pms far.img
rm -f net.img far.img psk
bytes=$(size_of net.pms)
far_bytes=$(size_of far.pms)
warm net.pms far.pms
pm-send --make-key psk

if have socat && have openssl; then
	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost \
	    -addext subjectAltName=DNS:localhost -keyout key.pem \
	    -out cert.pem 2>/dev/null
	cat cert.pem key.pem >both.pem
	loopback
else
	missing socat 'a stream over loopback'
fi
line_start delay=20 loss=10 rate=100000000
long_line reno
long_line bbr
