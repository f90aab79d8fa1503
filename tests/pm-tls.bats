#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016,SC2030,SC2031,SC2034
load helper
load peers

# A certificate NAME.crt with NAME.key, signed by an authority.
certify() { # NAME AUTHORITY LINE...: the lines of certtool's template
	local name=$1 authority=$2
	shift 2
	printf '%s\n' "cn = $name" "$@" >"$name.cfg"
	certtool --generate-privkey --key-type ecdsa --curve secp256r1 \
	    --outfile "$name.key"
	if [ "$name" = "$authority" ]; then
		certtool --generate-self-signed --load-privkey "$name.key" \
		    --template "$name.cfg" --outfile "$name.crt"
	else
		certtool --generate-certificate --load-privkey "$name.key" \
		    --load-ca-certificate "$authority.crt" \
		    --load-ca-privkey "$authority.key" \
		    --template "$name.cfg" --outfile "$name.crt"
	fi
	chmod 600 "$name.key"
}

make_certificates() {
	local both='tls_www_client
tls_www_server
signing_key' past='activation_date = "2020-01-01 00:00:00"'
	local days='expiration_days = 30'
	certify ca ca ca cert_signing_key "$days"
	certify ca2 ca2 ca cert_signing_key "$days"
	certify sender ca "$both" 'dns_name = sender.test' "$days"
	certify receiver ca "$both" 'dns_name = receiver.test' \
	    'dns_name = localhost' 'ip_address = 127.0.0.1' "$days"
	certify expired ca "$both" 'dns_name = sender.test' \
	    'dns_name = receiver.test' "$past" \
	    'expiration_date = "2020-02-01 00:00:00"'
	certify early ca "$both" 'dns_name = sender.test' \
	    'dns_name = receiver.test' \
	    'activation_date = "2200-01-01 00:00:00"' \
	    'expiration_date = "2201-01-01 00:00:00"'
	certify misnamed ca "$both" 'dns_name = mallory.test' "$days"
	certify foreign ca2 "$both" 'dns_name = sender.test' \
	    'dns_name = receiver.test' "$days"
}

setup_file() {
	make_streams
	pm-send --make-key "$BATS_FILE_TMPDIR/key"
	pm-send --make-key "$BATS_FILE_TMPDIR/wrong"
	if command -v certtool >/dev/null; then
		make_certificates 2>certtool.err || {
			cat certtool.err
			return 1
		}
	fi
}

setup() {
	PATH="$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd):$PATH"
	PATH="${PATH%%:*}/tests/helpers:$PATH"
	cd "$BATS_TEST_TMPDIR" || return
	ulimit -c 0
	dir=$BATS_FILE_TMPDIR
	psk=(--tls-psk "$dir/key")
	stage full.pms
}

teardown() {
	local name
	end_jobs
	for name in "pm-a-$BATS_TEST_NUMBER-$$" "pm-b-$BATS_TEST_NUMBER-$$"; do
		if [ -e "/run/netns/$name" ]; then
			ip netns del "$name"
		fi
	done
}

# What shows the certificate NAME, and expects that PEER has one.
shows() { # NAME PEER [AUTHORITY]
	echo "--tls-cert $dir/$1.crt --tls-key $dir/$1.key \
--tls-ca $dir/${3:-ca}.crt --tls-peer $2"
}

needs_certificates() {
	[ -e "$dir/sender.crt" ] || skip "needs certtool"
}

# Start a helper that passes connections to unix:p on to unix:s.
watch() { # NAME: of the files it writes
	rm -f p ready
	arrivals p s "$1" >ready 3>&- &
	watcher=$!
	until_true grep -q ready ready
}

@test "--make-key writes a key for its owner, and replaces nothing" {
	(umask 0; run -0 --separate-stderr pm-send --make-key new
	[ -z "$output$stderr" ])
	[ "$(stat -c %a new)" = 600 ]
	grep -qxE '[0-9a-f]{64}' new
	[ "$(wc -l <new)" -eq 1 ]
	run ! cmp new "$dir/key"
	cp new old
	run --separate-stderr pm-send --make-key new
	[ "$status" -ne 0 ]
	[ "$stderr" = \
	    "pm-send: new: is there already, and a key is never replaced" ]
	cmp new old
	ln -s nowhere link
	run ! pm-send --make-key link
	[ ! -e nowhere ]
	run -1 pm-send --make-key none/new
	# It is one line that ends the program: no address fits to it.
	run -2 pm-send --make-key another unix:s
	[ ! -e another ]
}

@test "a key encrypts, over one connection and over several" {
	stage chain.pms big.pms a.id b.id b.img
	for at in unix:s 127.0.0.1:0; do
		for n in 1 4; do
			listen "$at" -o out "${psk[@]}"
			run -0 --separate-stderr pm-send "${psk[@]}" \
			    --connections "$n" "$address" <big.pms
			[ -z "$output$stderr" ]
			wait "$receiver"
			cmp out big.pms
		done
		rm -f image
		listen "$at" "${psk[@]}" -- pm-apply image
		pm-send "${psk[@]}" "$address" <chain.pms >sent
		wait "$receiver"
		cat a.id b.id | cmp - sent
		cmp sent got
		cmp image b.img
	done
}

# One that is turned away before the ten seconds for a hello are over, after
# which the right one is taken by the same listener.
is_refused() { # WORDS HEARD [ARGUMENT...]: what both say; of the wrong one
	local words=$1 heard=$2 begun=$EPOCHREALTIME
	shift 2
	rm -f out
	listen unix:s -v -o out "${taker[@]}"
	run -1 --separate-stderr timeout 10 pm-send "$@" unix:s <full.pms
	[ $((${EPOCHREALTIME/./} - ${begun/./})) -lt 9000000 ]
	echo "$stderr"
	[ -z "$output" ]
	[ "$stderr" = "pm-send: unix:s: $words" ]
	pm-send "${giver[@]}" unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
	cat got.err
	grep -qx "pm-recv: $heard, turned away" got.err
	grep -qE '^pm-recv: strangers [14]$' got.err
}

@test "another key, or none, is turned away at once" {
	giver=("${psk[@]}")
	taker=("${psk[@]}")
	is_refused 'refused our key' 'does not have our key' \
	    --tls-psk "$dir/wrong"
	is_refused 'speaks TLS, and no key was given here' \
	    'does not speak TLS'
	giver=()
	taker=()
	is_refused 'does not speak TLS' \
	    'speaks TLS, and no key was given here' "${psk[@]}"
}

@test "a file that holds no key, or not for its owner alone, is wrong usage" {
	line=$(cat "$dir/key")
	is_no_key() { # WORDS
		local program
		for program in pm-send pm-recv; do
			run -2 --separate-stderr timeout 5 "$program" \
			    --tls-psk bad unix:s <full.pms
			[[ "$stderr" == "$program: bad: "*"$1"* ]]
			[[ "$stderr" != *"${line:0:8}"* ]]
		done
		rm -rf bad
	}
	shape='not one line of 64 to 128 hexadecimal digits'
	(umask 077; printf %s "${line%?}" >bad); is_no_key "$shape"
	(umask 077; : >bad); is_no_key "$shape"
	(umask 077; printf '%s\n\n' "$line" >bad); is_no_key "$shape"
	(umask 077; printf '%s x\n' "$line" >bad); is_no_key "$shape"
	(umask 077; printf 'g%s\n' "${line#?}" >bad); is_no_key "$shape"
	(umask 077; printf '%s%s%s\n' "$line" "$line" "$line" >bad)
	is_no_key "$shape"
	(umask 077; head -c 2M /dev/zero >bad); is_no_key 'too long'
	for mode in 640 604 620 602 610 644; do
		cp "$dir/key" bad
		chmod "$mode" bad
		is_no_key 'may be read by others'
	done
	mkfifo -m 600 bad; is_no_key 'no regular file'
	mkdir -m 700 bad; is_no_key 'no regular file'
	run -1 pm-send --tls-psk nowhere unix:s <full.pms
	[[ "$output" == "pm-send: nowhere: No such file or directory" ]]
	[ ! -e s ]
}

@test "certificates: both ends show theirs, and check the name" {
	needs_certificates
	stage chain.pms big.pms a.id b.id
	# shellcheck disable=SC2046
	for n in 1 4; do
		listen unix:s -o out $(shows receiver sender.test)
		run -0 --separate-stderr pm-send --connections "$n" \
		    $(shows sender receiver.test) unix:s <big.pms
		[ -z "$output$stderr" ]
		wait "$receiver"
		cmp out big.pms
	done
	# Without --tls-peer it is the host of the address.
	for host in 127.0.0.1 localhost; do
		# shellcheck disable=SC2046
		listen "$host:0" $(shows receiver sender.test) -- pm-apply image
		pm-send --tls-cert "$dir/sender.crt" \
		    --tls-key "$dir/sender.key" --tls-ca "$dir/ca.crt" \
		    "$address" <chain.pms >sent
		wait "$receiver"
		cat a.id b.id | cmp - sent
		cmp sent got
	done
}

@test "certificates: one that does not fit is turned away" {
	needs_certificates
	# shellcheck disable=SC2207
	giver=($(shows sender receiver.test))
	# shellcheck disable=SC2207
	taker=($(shows receiver sender.test))
	untimely='refused our certificate: it has expired or is not yet valid'
	# shellcheck disable=SC2046
	{
		is_refused "$untimely" 'its certificate has expired' \
		    $(shows expired receiver.test)
		is_refused "$untimely" 'its certificate is not yet valid' \
		    $(shows early receiver.test)
		is_refused 'refused our certificate: it is for another name' \
		    'its certificate is not for sender.test' \
		    $(shows misnamed receiver.test)
		is_refused 'refused our certificate: it is of an unknown authority' \
		    'its certificate is of an unknown authority' \
		    $(shows foreign receiver.test)
		# The sender refuses, and the receiver is told why.
		is_refused 'its certificate is not for mallory.test' \
		    'refused our certificate: it is for another name' \
		    $(shows sender mallory.test)
		is_refused 'its certificate is of an unknown authority' \
		    'refused our certificate: it is of an unknown authority' \
		    $(shows sender receiver.test ca2)
	}
	is_refused 'speaks TLS, and no key was given here' \
	    'does not speak TLS'
	is_refused 'does not have our key' \
	    'refused our certificate or key' "${psk[@]}"
}

@test "certificates: who was turned away while it spoke is told why" {
	needs_certificates
	strace -o trace true || skip "needs strace"
	for at in unix:s 127.0.0.1:0; do
		# shellcheck disable=SC2046
		listen "$at" $(shows receiver sender.test)
		# shellcheck disable=SC2046
		run -1 --separate-stderr timeout 10 strace -o trace \
		    -e trace=sendto -e inject=sendto:delay_enter=30000 \
		    pm-send $(shows misnamed receiver.test) "$address" \
		    <full.pms
		[ "$stderr" = "pm-send: $address: refused our certificate: \
it is for another name" ]
		kill "$receiver"
		ends_with 143 "$receiver"
	done
}

@test "certificates: a receiver that does not fit is sent nothing" {
	needs_certificates
	is_avoided() { # WORDS NAME
		# shellcheck disable=SC2046
		listen unix:s -o out $(shows "$2" sender.test)
		# shellcheck disable=SC2046
		run -1 --separate-stderr timeout 10 pm-send \
		    $(shows sender receiver.test) unix:s <full.pms
		[ "$stderr" = "pm-send: unix:s: $1" ]
		# It waits for the right one.
		kill "$receiver"
		ends_with 143 "$receiver"
		[ ! -e out ]
	}
	is_avoided 'its certificate has expired' expired
	is_avoided 'its certificate is not yet valid' early
	is_avoided 'its certificate is not for receiver.test' misnamed
	is_avoided 'its certificate is of an unknown authority' foreign
}

@test "a client without a certificate is turned away" {
	needs_certificates
	command -v openssl >/dev/null || skip "needs openssl"
	# shellcheck disable=SC2046
	listen unix:s -v -o out $(shows receiver sender.test)
	timeout 10 openssl s_client -unix s -tls1_3 -CAfile "$dir/ca.crt" \
	    <full.pms >answer 2>&1 || :
	# shellcheck disable=SC2046
	pm-send $(shows sender receiver.test) unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
	grep -qx 'pm-recv: has no certificate, turned away' got.err
}

@test "options that do not go together are wrong usage" {
	touch bad.crt
	certs=(--tls-cert bad.crt --tls-key bad.crt --tls-ca bad.crt)
	is_misused() { # WORDS PROGRAM ARGUMENT...
		local words=$1
		shift
		run -2 --separate-stderr timeout 5 "$@" unix:s <full.pms
		[[ "$stderr" == "$1: $words"* ]]
		[ ! -e s ]
	}
	for program in pm-send pm-recv; do
		is_misused '--tls-psk: not with certificates' "$program" \
		    "${psk[@]}" "${certs[@]}" --tls-peer x
		is_misused '--tls-psk: not with certificates' "$program" \
		    "${psk[@]}" --tls-peer x
		for part in cert key ca peer; do
			is_misused \
			    '--tls-cert, --tls-key and --tls-ca need each' \
			    "$program" "--tls-$part" bad.crt
		done
		is_misused '--tls-cert, --tls-key and --tls-ca need each' \
		    "$program" "${certs[@]:0:4}" --tls-peer x
		is_misused '--tls-cert: needs --tls-peer' "$program" \
		    "${certs[@]}" --tls-peer ''
		is_misused 'bad.crt: ' "$program" "${certs[@]}" --tls-peer x
	done
	is_misused '--tls-cert: needs --tls-peer' pm-recv "${certs[@]}"
	# A path of a socket is no name.
	is_misused '--tls-cert: needs --tls-peer' pm-send "${certs[@]}"
	is_misused '--raw: is never encrypted' pm-send --raw "${psk[@]}"
	is_misused '--raw: is never encrypted' pm-send --raw "${certs[@]}" \
	    --tls-peer x
}

@test "a key of a certificate that others may read is wrong usage" {
	needs_certificates
	cp "$dir/sender.key" open.key
	chmod 644 open.key
	for program in pm-send pm-recv; do
		run -2 --separate-stderr timeout 5 "$program" --tls-cert \
		    "$dir/sender.crt" --tls-key open.key \
		    --tls-ca "$dir/ca.crt" --tls-peer x unix:s <full.pms
		[[ "$stderr" == \
		    "$program: open.key: may be read by others"* ]]
		run -2 --separate-stderr timeout 5 "$program" --tls-cert \
		    "$dir/sender.crt" --tls-key "$dir/receiver.key" \
		    --tls-ca "$dir/ca.crt" --tls-peer x unix:s <full.pms
		[[ "$stderr" == "$program: $dir/receiver.key: is not the \
key of that certificate"* ]]
	done
}

@test "nothing of the stream can be read on the way, or sent again later" {
	# In the clear it can be read: so the search finds what there is.
	listen unix:s -o out
	watch clear
	pm-send unix:p <full.pms
	wait "$receiver" "$watcher"
	grep -qaF 34567 clear.forth
	cmp out full.pms
	rm out
	listen unix:s -o out "${psk[@]}"
	watch secret
	pm-send "${psk[@]}" unix:p <full.pms
	wait "$receiver" "$watcher"
	cmp out full.pms
	[ "$(size secret.forth)" -gt "$(size full.pms)" ]
	run ! grep -qaF -e 34567 -e PMW secret.forth
	run ! grep -qaF -e "$(cat a.id 2>/dev/null || echo id=)" secret.back
	rm out
	# A listener with that key takes no notice of a recording.
	listen unix:s -v -o out "${psk[@]}"
	timeout 10 nc -N -U s <secret.forth >answer || :
	until_true grep -q 'turned away' got.err
	[ ! -e out ]
	pm-send "${psk[@]}" unix:s <full.pms
	wait "$receiver"
	cmp out full.pms
	grep -qx 'pm-recv: strangers 1' got.err
	grep -qx 'pm-recv: breaks 0' got.err
}

size_is_above() { # FILE BYTES
	[ "$(size "$1")" -gt "$2" ]
}

@test "a session that is cut in the middle is told at both ends" {
	stage big.pms
	mkfifo pipe
	listen unix:s -o out "${psk[@]}"
	watch cut
	pm-send "${psk[@]}" --reconnect 0 unix:p <pipe 2>err 3>&- &
	sender=$!
	exec 4>pipe
	head -c 5000000 big.pms >&4
	until_true size_is_above cut.forth 4000000
	kill -9 "$watcher"
	ends_with 137 "$watcher"
	ends_with 3 "$receiver"
	# It may write before it hears that nobody is there.
	ends_with 1 "$sender"
	exec 4>&-
	# Which of these is told is up to what was on its way.
	cut='(was cut off in the middle|Broken pipe|Connection reset by peer)'
	said() { # FILE HOW
		cat "$1"
		grep -qxE "$2: $cut" "$1"
		[ "$(wc -l <"$1")" -eq 1 ]
	}
	said got.err 'pm-recv: unix:s: the sender vanished in the middle'
	said err 'pm-send: unix:p'
	[ ! -e out ]
}

peak() { # kB of memory that pm-recv had at most
	sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$receiver/status"
}

@test "strangers keep the right one out no more than they fill memory" {
	listen 127.0.0.1:0 -v -o out "${psk[@]}"
	port=$(cat port)
	before=$(peak)
	for _ in {1..200}; do
		exec 5<>"/dev/tcp/127.0.0.1/$port"
		exec 5>&-
	done
	for _ in {1..20}; do
		head -c 100000 /dev/urandom |
		    timeout 5 nc -N 127.0.0.1 "$port" >/dev/null || :
	done
	# A record that never becomes whole, a byte a second, by more than it
	# listens to, who come again when they are turned away.
	(
		trap '' PIPE
		while :; do
			fds=()
			for _ in {1..40}; do
				exec {fd}<>"/dev/tcp/127.0.0.1/$port" || exit
				printf '\026\003\001\002\000\001' >&"$fd"
				fds+=("$fd")
			done
			touch crowd
			for _ in 1 2; do
				sleep 1
				for fd in "${fds[@]}"; do
					printf x >&"$fd" || :
				done
			done
			for fd in "${fds[@]}"; do
				exec {fd}>&-
			done
		done
	) >/dev/null 2>&1 3>&- &
	crowd=$!
	until_true test -e crowd
	until_true grep -q 'took too long to say hello' got.err
	[ "$(peak)" -lt $((before + 12000)) ]
	begun=$EPOCHREALTIME
	# In a crowd it has a second to say hello, of which others take some.
	tries=1
	until timeout 20 pm-send "${psk[@]}" --reconnect 0 "$address" <full.pms
	do
		[ $((++tries)) -le 3 ]
	done
	[ $((${EPOCHREALTIME/./} - ${begun/./})) -lt 19000000 ]
	kill "$crowd" 2>/dev/null || :
	wait "$receiver"
	cmp out full.pms
	[ "$(sed -n 's/^pm-recv: strangers //p' got.err)" -ge 220 ]
}

@test "other machines are spoken to, without --insecure" {
	[ "$(id -u)" -eq 0 ] || skip "only root may make network namespaces"
	command -v ip >/dev/null || skip "iproute2 is not here"
	local a="pm-a-$BATS_TEST_NUMBER-$$" b="pm-b-$BATS_TEST_NUMBER-$$"
	if ! { ip netns add "$a" && ip netns add "$b" &&
	    ip link add pm0 netns "$a" type veth peer name pm1 netns "$b" &&
	    ip netns exec "$a" true
	} 2>/dev/null; then
		skip "network namespaces or veth are not here"
	fi
	ip -n "$a" addr add 10.77.0.1/24 dev pm0
	ip -n "$b" addr add 10.77.0.2/24 dev pm1
	ip -n "$a" link set pm0 up
	ip -n "$b" link set pm1 up
	for at in 10.77.0.2:7000 :7000; do
		rm -f port
		ip netns exec "$b" pm-recv "${psk[@]}" --port-file port \
		    -o out "$at" 2>got.err 3>&- &
		receiver=$!
		until_true test -s port
		ip netns exec "$a" pm-send "${psk[@]}" 10.77.0.2:7000 \
		    <full.pms
		wait "$receiver"
		cmp out full.pms
		rm out
	done
	run -2 ip netns exec "$a" pm-send 10.77.0.2:7000 <full.pms
	[[ "$output" == *"is not this machine, "* ]]
}
