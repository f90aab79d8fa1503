# SPDX-License-Identifier: GPL-2.0-or-later
# The format: the golden streams, and the examples in pm-stream(5).
# shellcheck disable=SC2154	# run sets stderr and stderr_lines
load helper

built() { # PROGRAM: one that was built for the tests alone
	echo "${PATH%%:*}/tests/$1"
}

golden() { # NAME: the bytes of that golden stream
	"$BATS_TEST_DIRNAME/unhex.sh" <"$BATS_TEST_DIRNAME/golden/$1.hex"
}

extract() { # NAME: that example of pm-stream(5)
	"$BATS_TEST_DIRNAME/extract.sh" "$1"
}

each() { # PATTERN: names of golden streams
	local text
	for text in "$BATS_TEST_DIRNAME"/golden/$1.hex; do
		basename "$text" .hex
	done
}

message() { # NAME: words that our reader refuses that stream with
	sed -n 's/^# message: //p' "$BATS_TEST_DIRNAME/golden/$1.hex"
}

build_zero() {
	extract zero.c >filter.c
	"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Werror -o zero filter.c
}

@test "the library writes the golden streams byte by byte" {
	mkdir made
	"$(built golden/make)" made
	for file in made/*; do
		cmp "$file" "$BATS_TEST_DIRNAME/golden/${file#made/}"
	done
	[ "$(each '*' | wc -l)" -eq "$(find made -name '*.hex' | wc -l)" ]
}

@test "good streams are taken" {
	for name in $(each 'good-*'); do
		golden "$name" >in
		echo "# $name"
		run -0 --separate-stderr pm-info --verify in
		[ -z "$stderr" ]
		run -0 pm-info --list in
		run -0 pm-info --list --json in
	done
}

@test "bad streams are refused, and it is said why" {
	for name in $(each 'bad-*'); do
		golden "$name" >in
		echo "# $name"
		run -3 --separate-stderr pm-info --verify in
		[ "${#stderr_lines[@]}" -eq 1 ]
		[[ $stderr == "pm-info: in: "*"$(message "$name")"* ]]
		[[ $stderr != *newer* ]]
	done
}

@test "streams of a newer version are refused as such" {
	for name in $(each 'unsupported-*'); do
		golden "$name" >in
		echo "# $name"
		run -3 --separate-stderr pm-info --verify in
		[ "${#stderr_lines[@]}" -eq 1 ]
		[[ $stderr == "pm-info: in: "*"$(message "$name")"*newer* ]]
	done
}

@test "the README names every golden stream, in a line each" {
	for name in $(each '*'); do
		grep -q "^$name.hex  *[^ ]" "$BATS_TEST_DIRNAME/golden/README"
	done
}

@test "the streams in the manual page are the golden ones" {
	for name in full incremental; do
		extract "$name" | "$BATS_TEST_DIRNAME/unhex.sh" >page
		golden "good-$name" >want
		cmp page want
	done
}

@test "the streams in the manual page are a chain that applies" {
	for name in full incremental; do
		extract "$name" | "$BATS_TEST_DIRNAME/unhex.sh"
	done >chain
	run -0 pm-info --verify chain
	pm-apply image <chain
	{
		head -c 4096 /dev/zero
		head -c 200 /dev/zero | tr '\0' A
		printf 'newAAAAAAAAAA!'
		head -c 3882 /dev/zero | tr '\0' A
		head -c 4096 /dev/zero | tr '\0' B
		head -c 20480 /dev/zero
	} >want
	cmp image want
}

@test "the digests in the manual page are right" {
	extract digests >page
	cmp page "$BATS_TEST_DIRNAME/golden/digests.txt"
	golden good-full >in
	run -0 pm-info in
	[[ $output == *"$(sed -n 's/^to *\([0-9a-f]*\) .*/\1/p' page)"* ]]
}

@test "the delta in the manual page is the one in its stream" {
	# shellcheck disable=SC2016	# for the inner shell
	run -0 bash -c '"$1"/extract.sh delta | "$1"/unhex.sh | xxd -p' - \
	    "$BATS_TEST_DIRNAME"
	golden good-incremental | xxd -p | tr -d '\n' >stream
	grep -q "0050$output" stream
}

@test "the constants in the manual page are those of the library" {
	page=$BATS_TEST_DIRNAME/../man/pm-stream.5
	header=$BATS_TEST_DIRNAME/../lib/record.h
	grep -q 'define PM_ENTRIES_MAX.*4096u' "$header"
	grep -q 'define PM_PAYLOAD_MAX.*1u << 20' "$header"
	grep -q 'define PM_REGIONS_MAX.*1024u' "$header"
	grep -q 'define PM_NAME_MAX.*255u' "$header"
	grep -q 'define PM_MAPPINGS_MAX.*1u << 20' "$header"
	grep -q 'define PM_MAPPING_NAME_MAX.*4095u' "$header"
	grep -q 'entries of a record Ta 4096' "$page"
	grep -q 'stored and decoded Ta 1048576 bytes' "$page"
	grep -q 'regions of a stream Ta 1024' "$page"
	grep -q 'name of a region Ta 1 to 255 bytes' "$page"
	grep -q 'mappings of a list Ta 1048576' "$page"
	grep -q 'name of a mapping Ta 4095 bytes' "$page"
}

@test "the filter in the manual page makes runs of zeroes" {
	build_zero
	golden good-raw-zeroes >in
	golden good-no-raw-zeroes >want
	./zero <in >out
	cmp out want
	pm-apply image <in
	pm-apply again <out
	cmp image again
}

@test "the filter in the manual page passes all other streams on" {
	build_zero
	for name in $(each 'good-*'); do
		[ "$name" = good-raw-zeroes ] && continue
		golden "$name" >in
		echo "# $name"
		./zero <in >out
		cmp in out
	done
}

@test "the filter in the manual page makes no bad stream good" {
	build_zero
	for name in $(each 'bad-*') $(each 'unsupported-*'); do
		golden "$name" >in
		echo "# $name"
		status=0
		./zero <in >out 2>messages || status=$?
		if [ "$status" -eq 0 ]; then
			run -3 pm-info --verify out
		else
			[ "$status" -eq 3 ]
		fi
	done
}

@test "the filter in the manual page refuses a stream cut anywhere" {
	build_zero
	golden good-raw-zeroes >in
	size=$(wc -c <in)
	for at in 0 1 7 8 9 55 56 87 88 100 "$((size - 97))" \
	    "$((size - 96))" "$((size - 1))"; do
		head -c "$at" in >part
		run -3 --separate-stderr bash -c './zero <part >out'
		[ "$stderr" = "zero: stream ends early" ]
	done
}

@test "no byte of the corpus harms a decoder" {
	for target in stream xbzrle codec; do
		"$BATS_TEST_DIRNAME/fuzz/corpus.sh" "$target" "corpus-$target"
		"$(built "fuzz/replay-$target")" "corpus-$target"/*
	done
}

@test "the text of a stream is checked as it is made bytes" {
	unhex=$BATS_TEST_DIRNAME/unhex.sh
	[ "$(printf '41 x 3 42 # comment\n43\n' | "$unhex")" = AAABC ]
	run -1 "$unhex" <<<'4'
	run -1 "$unhex" <<<'4G'
	run -1 "$unhex" <<<'41 x'
	run -1 "$unhex" <<<'41 x 0'
	run -1 extract nothing
}
