#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
load helper
load images

golden() { # NAME
	"$BATS_TEST_DIRNAME/unhex.sh" <"$BATS_TEST_DIRNAME/golden/$1.hex"
}

# json FILE: every line of it is an object
json() {
	if command -v python3 >/dev/null; then
		python3 -c 'import json, sys
for line in open(sys.argv[1]):
	assert isinstance(json.loads(line), dict)' "$1"
		return
	fi
	# Strings become "", and then only our few forms are left.
	sed 's/"\([^"\\]\|\\["\\]\|\\u00[0-9a-f][0-9a-f]\)*"/""/g' "$1" |
	    grep -Evq '^\{"":[]["{}:,0-9]*\}$' && return 1
	return 0
}

streams() { # full.pms, one.pms with deltas, chain.pms
	image old 300000
	truncate -s 400000 old
	cp old new
	poke new 5000 changed
	zero new 40960 8192
	pm-snapshot --save-table t -o full.pms old
	pm-snapshot --since t -o plain.pms new
	pm-delta --base old -o one.pms plain.pms
	cat full.pms one.pms | pm-compress -o chain.pms
}

@test "a stream is summed up" {
	streams
	run -0 --separate-stderr pm-info full.pms
	[ -z "$stderr" ]
	[[ "${lines[0]}" == "stream 1: "*" KiB, 5 records, full" ]]
	[ "${lines[1]}" = "  from    00000000000000000000000000000000" ]
	[ "${lines[2]}" = "  to      $(pm-info --id old)" ]
	[ "${lines[3]}" = "  region  0 memory, block at 0, 390.6 KiB" ]
	[ "${lines[4]}" = "  pages   raw 74 zero 24 of 4096 bytes" ]
	[[ "${lines[5]}" == "  ratio   296.0 KiB of content in "* ]]
	run -0 pm-info chain.pms
	[[ "$output" == *$'\nstream 2: '*' records, incremental'* ]]
	[[ "$output" == *"to      $(pm-info --id new)"* ]]
	[[ "$output" == *"pages   delta 1 zero 2 of 4096 bytes"* ]]
	[[ "$output" == *"coded   "* ]]
}

@test "input comes from anywhere, output goes to a file" {
	streams
	pm-info full.pms >want
	pm-info <full.pms | cmp - want
	pm-info - <full.pms | cmp - want
	# shellcheck disable=SC2002
	cat full.pms | pm-info -o got
	cmp got want
	run -1 bash -c 'pm-info full.pms >/dev/full'
	run -1 --separate-stderr pm-info missing
	[ "$stderr" = "pm-info: missing: No such file or directory" ]
	run -2 pm-info full.pms one.pms
}

@test "every record is listed in a line" {
	streams
	run -0 pm-info --list chain.pms
	[ "$(grep -c '^[0-9]' <<<"$output")" -eq 9 ]
	[[ "${lines[0]}" == "0 8 stream from 0000"*" page-size 4096 needs 0 may 0 cache 0" ]]
	[ "${lines[1]}" = "1 88 region region 0 address 0 length 400000 was 0 name memory" ]
	[[ "${lines[2]}" == "2 174 pages region 0 first 0 entries 64 codec zstd stored "*" decoded 262144 raw 64 digest "* ]]
	# Each stands where the list says that it does.
	while read -r _ at type _; do
		[ "$(od -An -tu1 -j "$at" -N 1 chain.pms)" -eq "$(type "$type")" ]
	done < <(pm-info --list chain.pms | grep '^[0-9]')
}

type() {
	case $1 in
	stream) echo 1 ;; region) echo 2 ;; map) echo 3 ;; pages) echo 4 ;;
	round) echo 5 ;; opaque) echo 6 ;; end) echo 7 ;;
	esac
}

@test "all golden streams are listed, and are JSON" {
	for file in "$BATS_TEST_DIRNAME"/golden/good-*.hex; do
		name=$(basename "$file" .hex)
		golden "$name" >in
		echo "# $name"
		pm-info --list in >out
		pm-info --json in >out
		json out
		[ "$(wc -l <out)" -eq "$(grep -c ': STREAM' "$file")" ]
		pm-info --json --list --verify in >out
		json out
		[ "$(wc -l <out)" -eq "$(grep -c '^# record ' "$file")" ]
		pm-info --json --verify in | grep -q '"proved_records":'
	done
}

@test "the JSON says what the stream holds" {
	streams
	pm-info --json one.pms >out
	json out
	[ "$(value out to)" = "$(pm-info --id new)" ]
	[ "$(value out from)" = "$(pm-info --id old)" ]
	[ "$(value out bytes)" -eq "$(size one.pms)" ]
	[ "$(value out raw)$(value out delta)$(value out zero)" = 012 ]
	[ "$(value out page_size)" -eq 4096 ]
	[ "$(value out length)" -eq 400000 ]
	[ "$(value out needs)" -eq 1 ]
	pm-info --json --list chain.pms >out
	json out
	[ "$(wc -l <out)" -eq 9 ]
}

@test "the id of an image is what its stream leads to" {
	for bytes in 0 1 4096 100001; do
		helper scatter $bytes $bytes img
		run -0 pm-info --id img
		id=$output
		[ "${#id}" -eq 32 ]
		pm-snapshot img | pm-info --json >out
		[ "$(value out to)" = "$id" ]
		pm-info --json --id img >out
		json out
		[ "$(value out id)" = "$id" ]
	done
	truncate -s 0 img
	[ "$(pm-info --id img)" = 00000000000000000000000000000000 ]
	golden good-process | pm-apply core >id
	[ "$(pm-info --id core)" = "$(cat id)" ]
	run -2 pm-info --id img out
	run -1 pm-info --id missing
	run -1 pm-info --id .
}

@test "damage is found, and said where" {
	streams
	pm-info --verify full.pms >/dev/null
	# In a page: only --verify looks at pages.
	cp full.pms bad
	flip bad 100000
	pm-info bad >/dev/null
	run -3 --separate-stderr pm-info --verify bad
	[ "$stderr" = "pm-info: bad: record 2 at byte 174: region memory, pages 0 to 63: were damaged on the way" ]
	# In what is compressed, likewise.
	cp chain.pms bad
	flip bad 2000
	run -3 --separate-stderr pm-info --verify bad
	[[ "$stderr" == "pm-info: bad: record 2 at byte 174: "* ]]
	# In a head or a table it is always found.
	cp full.pms bad
	flip bad 190
	run -3 --separate-stderr pm-info bad
	[[ "$stderr" == "pm-info: bad: record 2 at byte 174: check of the record does not match" ]]
	head -c -1 full.pms >bad
	run -3 --separate-stderr pm-info bad
	[[ "$stderr" == "pm-info: bad: stream ends early, in record 4 at byte "* ]]
	{ cat full.pms; echo; } >bad
	run -3 --separate-stderr pm-info bad
	[[ "$stderr" == *"bytes behind the end record are no stream"* ]]
	# What came before is told.
	run -3 --separate-stderr pm-info --list bad
	[ "${#lines[@]}" -ge 5 ]
}

@test "records with deltas are counted, for they cannot be proved here" {
	streams
	pm-info --verify --json chain.pms >out
	grep -o '"proved_records".*' out >counts
	diff counts - <<-'END'
	"proved_records":2,"unproved_records":0}
	"proved_records":0,"unproved_records":1}
	END
	run -0 pm-info --verify chain.pms
	[[ "$output" == *"proved  0 records; 1 with deltas need the target"* ]]
}

@test "names stay in their line, whatever they hold" {
	image img 5000
	name=$'a"b\\c\nd\te\x7f\xff\xc3\xa9 f'
	pm-snapshot --region "$name:0:" -o s.pms img
	run -0 pm-info s.pms
	[ "${#lines[@]}" -eq 6 ]
	[ "${lines[3]}" = '  region  0 a"b\\c\x0ad\x09e\x7f\xff\xc3\xa9 f, block at 0, 4.9 KiB' ]
	run -0 pm-info --list s.pms
	[ "$(grep -c '^[0-9]' <<<"$output")" -eq 4 ]
	[[ "${lines[1]}" == *' name a"b\\c\x0ad\x09e\x7f\xff\xc3\xa9 f' ]]
	pm-info --json s.pms >out
	[ "$(wc -l <out)" -eq 1 ]
	json out
	grep -Fq '"name":"a\"b\\c\u000ad\u0009e\u007f\u00ff\u00c3\u00a9 f"' out
	# A message that names the region stays one line too.
	flip s.pms 1000
	run -3 --separate-stderr pm-info --verify s.pms
	[ "${#stderr_lines[@]}" -eq 1 ]
	run -3 --separate-stderr pm-apply target <s.pms
	[ "${#stderr_lines[@]}" -eq 1 ]
}

@test "names of mappings stay in their line" {
	golden good-process >s.pms
	run -0 pm-info --list s.pms
	[[ "$output" == *$'\n    000000400000-000000402000 r-xp  00000000 /bin/true\n'* ]]
	[[ "$output" == *$'\n    00ff00001000-00ff00003000 rw-p+ 00000000 [stack]\n'* ]]
}

@test "--id takes an image as pm-snapshot does" {
	image img 40000
	cut=(--region low:0:16K --region high:0x100000000:)
	for way in "" "--page-size 8K" "${cut[*]}"; do
		# shellcheck disable=SC2086	# words of options
		pm-snapshot $way --stats stats img >stream
		# shellcheck disable=SC2086
		run -0 pm-info $way --id img
		[[ $(cat stats) == *"\"to\":\"$output\""* ]]
	done
	run -2 pm-info "${cut[@]}" stream
	[[ ${lines[0]} == "pm-info: --region is for --id and --guest" ]]
}

whole() { # FILE BYTES: its token, made of what --list says
	pm-info --list "$1" | grep '^[0-9]' | awk -v size="$(size "$1")" \
	    -v cut="$2" '{
		# A record ends where the next begins, but for a signature.
		if (NR > 1)
			end[NR - 1] = $2 - ($3 == "stream" ? 8 : 0)
	} END {
		end[NR] = size
		for (n = NR; n > 0 && end[n] > cut; n--)
			;
		print (n > 0 ? end[n] : 0), n
	}'
}

@test "--token says how much of a cut stream there is" {
	streams
	cat full.pms one.pms >both.pms
	for cut in 0 5 8 100 300 100000 "$(size full.pms)" \
	    $(($(size full.pms) + 8)) $(($(size both.pms) - 1)) \
	    "$(size both.pms)"; do
		head -c "$cut" both.pms >part
		run -0 --separate-stderr pm-info --token part
		[ -z "$stderr" ]
		IFS=: read -r offset records hash <<<"$output"
		[ "$offset $records" = "$(whole both.pms "$cut")" ]
		[[ $hash =~ ^[0-9a-f]{32}$ ]]
		# What stands before and behind it makes no difference.
		[ "$(head -c "$offset" both.pms | pm-info --token)" = "$output" ]
		! command -v xxhsum >/dev/null ||
		    [[ $(head -c "$offset" both.pms | xxhsum -H2) == "$hash "* ]]
	done
	# The rest goes where the sound part ends.
	head -c 100000 full.pms >part
	at=$(pm-info --token part | cut -d : -f 1)
	truncate -s "$at" part
	tail -c "+$((at + 1))" full.pms >>part
	cmp part full.pms
	pm-info --token --json part >out
	json out
	[ "$(cat out)" = "{\"token\":\"$(pm-info --token full.pms)\"}" ]
	pm-info --token -o out part
	[ "$(cat out)" = "$(pm-info --token - <full.pms)" ]
}

@test "--token is that of what stands before damage, with a warning" {
	streams
	good=$(pm-info --list full.pms | awk '$1 == 3 { print $2 ":3:" }')
	# Zeroes that a power cut left.
	cp chain.pms bad
	truncate -s "$(size full.pms)" bad
	run -0 --separate-stderr pm-info --token bad
	[[ "$output" == "$(pm-info --token chain.pms)" ]]
	[[ "$stderr" == "pm-info: bad: "*"bytes behind the end record are no stream"*"; the token is that of what stands before" ]]
	cp full.pms bad
	flip bad $((${good%%:*} + 4200))
	run -0 --separate-stderr pm-info --token <bad
	[[ "$output" == "$good"* ]]
	[[ "$stderr" == "pm-info: <stdin>: record 3 at byte ${good%%:*}: region memory, pages "*" were damaged on the way; the token is that of what stands before" ]]
	run -0 --separate-stderr pm-info -q --token bad
	[[ "$output" == "$good"* && -z $stderr ]]
	# What is no stream from the start has none.
	image bad 5000
	run -3 --separate-stderr pm-info --token bad
	[ -z "$output" ]
	[ "$stderr" = "pm-info: bad: not a page-record stream" ]
	run -1 pm-info --token missing
	run -1 --separate-stderr pm-info --token .
	[ -z "$output" ]
	for other in --list --verify '--id full.pms'; do
		# shellcheck disable=SC2086	# words of options
		run -2 pm-info --token $other
		[[ ${lines[0]} == "pm-info: --token goes with no "* ]]
	done
}
