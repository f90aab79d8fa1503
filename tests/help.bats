# SPDX-License-Identifier: GPL-2.0-or-later
# --help, the manual and the completions name the same options.
# shellcheck disable=SC2154	# run sets stderr
load helper

# Options are listed as lines of a letter, or "-" for none, and a long name.

top() {
	cd "$BATS_TEST_DIRNAME/.." && pwd
}

programs() {
	local source
	for source in "$(top)"/cmd/pm-*.c; do
		basename "$source" .c
	done
}

in_source() { # PROGRAM: options in its tables
	local shared=()
	! grep -q IMAGE_OPTIONS "$(top)/cmd/$1.c" ||
	    shared+=("$(top)/cmd/image_options.h")
	! grep -q LIVE_OPTIONS "$(top)/cmd/$1.c" ||
	    shared+=("$(top)/cmd/live_options.h")
	! grep -q FREE_OPTIONS "$(top)/cmd/$1.c" ||
	    shared+=("$(top)/cmd/free_options.h")
	! grep -q NET_OPTIONS "$(top)/cmd/$1.c" ||
	    shared+=("$(top)/cmd/net_options.h")
	cat "$(top)/cmd/$1.c" "${shared[@]}" "$(top)"/cmd/cli*.c |
	    sed -n "s/.*{ \"\([a-z-]*\)\", '\(\\\\0\|.\)', POPT.*/\2 \1/p" |
	    sed 's/^\\0/-/' | LC_ALL=C sort
}

listed() { # lines of --help in, options out
	sed -n -e 's/^ \{1,\}-\(.\), --\([a-z-]*\).*/\1 \2/p' \
	    -e 's/^ \{1,\}--\([a-z-]*\).*/- \1/p' | LC_ALL=C sort
}

in_help() { # PROGRAM
	"$1" --help | listed
}

common_in_help() { # PROGRAM: those that every program has
	"$1" --help | sed '1,/^Common options:/d' | listed
}

in_page() { # PAGE: options that it explains
	awk '
	function take(	i, letter) {
		letter = "-"
		for (i = 1; i < NF; i++) {
			if ($i !~ /^\.?Fl$/)
				continue
			if ($(i + 1) ~ /^-/)
				print letter, substr($(i + 1), 2)
			else
				letter = $(i + 1)
		}
	}
	/^\.It Fl / || (inside && /^\.Fl /) { take() }
	/^\.It Xo/ { inside = 1 }
	/^\.Xc/ { inside = 0 }' "$(top)/man/$1" | LC_ALL=C sort
}

in_synopsis() { # PROGRAM: names as they stand there, a letter or long
	awk '
	/^\.Sh / { inside = $2 == "SYNOPSIS" }
	inside {
		for (i = 1; i < NF; i++) {
			if ($i !~ /^\.?Fl$/)
				continue
			if ($(i + 1) ~ /^-/)
				print substr($(i + 1), 2)
			else
				for (n = 1; n <= length($(i + 1)); n++)
					print substr($(i + 1), n, 1)
		}
	}' "$(top)/man/$1.1" | LC_ALL=C sort -u
}

names() { # options in, "-o" and "--output" out
	awk '$1 != "-" { print "-" $1 } { print "--" $2 }' | LC_ALL=C sort
}

# shellcheck disable=SC2016	# for the shell that runs it
in_bash() { # PROGRAM
	bash -c '. "$1"
	COMP_WORDS=("$2" -) COMP_CWORD=1
	_pm "$2"
	printf "%s\n" "${COMPREPLY[@]}"' bash \
	    "$(top)/cmd/completion/pm.bash" "$1" | LC_ALL=C sort
}

# shellcheck disable=SC2016
in_zsh() { # PROGRAM
	zsh -fc '_arguments() { shift; print -rl -- "$@" }
	complete_it() { local service=$2; . $1 }
	complete_it $1 $2' zsh "$(top)/cmd/completion/_pm" "$1" |
	    sed -n -e 's/^([^)]*)//' -e 's/^\*//' \
	    -e 's/^\(--\{0,1\}[A-Za-z][a-z-]*\).*/\1/p' | LC_ALL=C sort
}

# shellcheck disable=SC2016
in_fish() { # PROGRAM
	HOME=$PWD fish --no-config -c 'source $argv[1]
	complete -C "$argv[2] -"' "$(top)/cmd/completion/pm.fish" "$1" |
	    cut -f1 | LC_ALL=C sort
}

same() { # WHAT WANTED GOT: files with lists
	diff -u "$2" "$3" || {
		echo "# $1 differs: - stands in $2, + in $3"
		return 1
	}
}

@test "--help goes to standard output alone and fits 80 columns" {
	for program in $(programs); do
		run -0 --separate-stderr "$program" --help
		[ -z "$stderr" ]
		[[ ${lines[0]} == "$program - "* ]]
		[[ ${lines[1]} == "Usage: $program [OPTION...]"* ]]
		[ "$(wc -L <<<"$output")" -le 80 ]
		[ "$output" = "$("$program" -h)" ]
	done
}

@test "--help lists every option" {
	for program in $(programs); do
		in_source "$program" >source
		[ -s source ]
		in_help "$program" >help
		same "$program" source help
	done
}

@test "a letter is one option, and an option has one letter, everywhere" {
	for program in $(programs); do
		in_help "$program"
	done | LC_ALL=C sort -u >all
	[ -s all ]
	[ -z "$(awk '$1 != "-" { print $1 }' all | sort | uniq -d)" ]
	[ -z "$(awk '{ print $2 }' all | sort | uniq -d)" ]
}

@test "the manual explains the options of --help and no others" {
	for program in $(programs); do
		in_help "$program" >help
		in_page "$program.1" >page
		same "$program" help page
		common_in_help "$program" >common.help
		in_page pm.7 >common.page
		same pm.7 common.help common.page
	done
}

@test "each synopsis has each option once, by letter or by name" {
	for program in $(programs); do
		in_help "$program" >help
		in_synopsis "$program" >names
		while read -r letter long; do
			grep -qx -e "$long" -e "$letter" names || {
				echo "# $program: --$long is not in it"
				return 1
			}
		done <help
		while read -r name; do
			grep -q -e " $name\$" -e "^$name " help || {
				echo "# $program: $name is no option"
				return 1
			}
		done <names
	done
}

@test "--help and the manual give a program the same purpose" {
	for program in $(programs); do
		run -0 sed -n 's/^\.Nd //p' "$(top)/man/$program.1"
		[ "$("$program" --help | head -n 1)" = "$program - $output" ]
	done
}

@test "bash completes the options of --help" {
	bash -n "$(top)/cmd/completion/pm.bash"
	for program in $(programs); do
		in_help "$program" | names >help
		in_bash "$program" >bash
		same "$program" help bash
	done
}

@test "zsh completes the options of --help" {
	command -v zsh >/dev/null || skip "needs zsh"
	zsh -n "$(top)/cmd/completion/_pm"
	for program in $(programs); do
		head -n 1 "$(top)/cmd/completion/_pm" | grep -qw "$program"
		in_help "$program" | names >help
		in_zsh "$program" >zsh
		same "$program" help zsh
	done
}

@test "fish completes the options of --help" {
	command -v fish >/dev/null || skip "needs fish"
	fish -n "$(top)/cmd/completion/pm.fish"
	for program in $(programs); do
		in_help "$program" | names >help
		in_fish "$program" >fish
		same "$program" help fish
	done
}

@test "every program has a page, and every page of section 1 a program" {
	programs >listed
	for page in "$(top)"/man/*.1; do
		basename "$page" .1
	done | diff listed -
	for program in $(programs); do
		for section in 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
			grep -qx "\.Sh $section" "$(top)/man/$program.1"
		done
		sed '1,/^\.Sh EXAMPLES/d' "$(top)/man/$program.1" |
		    grep -q ' | \| |$'
	done
}

@test "the pages are clean, and what they refer to is there" {
	command -v mandoc >/dev/null || skip "needs mandoc"
	for page in "$(top)"/man/*.[157]; do
		run -0 mandoc -Tlint -Wwarning "$page"
		[ -z "$output" ]
	done
	cd "$(top)/man"
	awk '$1 ~ /^\.(It|Xr)$/ {
		for (i = 1; i <= NF - 2; i++)
			if ($i ~ /^\.?Xr$/ && $(i + 1) ~ /^pm(-|$)/)
				print $(i + 1) "." $(i + 2)
	}' ./*.[157] | sort -u >"$BATS_TEST_TMPDIR/pages"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/pages")" -gt 1 ]
	while read -r page; do
		[ -f "$page" ] || {
			echo "# $page is not there"
			return 1
		}
	done <"$BATS_TEST_TMPDIR/pages"
}

@test "the pages speak of no option that no program has" {
	command -v mandoc >/dev/null || skip "needs mandoc"
	for program in $(programs); do
		in_help "$program" | names
	done | LC_ALL=C sort -u >all
	for page in "$(top)"/man/*.[157]; do
		mandoc -Tascii "$page" | sed "s/.$(printf '\010')//g"
	done | grep -o -e '--[a-z][a-z-]*' | LC_ALL=C sort -u >told
	[ -s told ]
	[ -z "$(LC_ALL=C comm -23 told all)" ]
}

@test "README is pm(7)" {
	command -v mandoc >/dev/null || skip "needs mandoc"
	"$(top)/tests/readme.sh" >README
	[ -s README ]
	diff -u README "$(top)/README"
}
