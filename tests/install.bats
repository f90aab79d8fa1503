# SPDX-License-Identifier: GPL-2.0-or-later
# What make install puts where, and that others can build on it.
load helper

top() {
	cd "$BATS_TEST_DIRNAME/.." && pwd
}

install_to() { # DIRECTORY
	make -s -C "$(top)" B="${PM_BUILD:-build}" DESTDIR="$1" PREFIX=/usr install
}

installed() { # DIRECTORY: every file below it
	(cd "$1" && find . ! -type d | LC_ALL=C sort)
}

expected() {
	local name
	for name in snapshot delta compress send recv apply info; do
		echo "./usr/bin/pm-$name"
		echo "./usr/share/bash-completion/completions/pm-$name"
		echo "./usr/share/fish/vendor_completions.d/pm-$name.fish"
		echo "./usr/share/man/man1/pm-$name.1"
	done
	echo ./usr/lib/libpm.a
	echo ./usr/lib/pkgconfig/libpm.pc
	echo ./usr/share/man/man5/pm-stream.5
	echo ./usr/share/man/man7/pm.7
	echo ./usr/share/man/man7/pm-link.7
	echo ./usr/share/man/man7/pm-qemu.7
	echo ./usr/share/zsh/site-functions/_pm
	(cd "$(top)/lib" && printf './usr/include/pm/%s\n' *.h)
}

@test "install puts exactly the list there, and uninstall removes it" {
	install_to "$PWD/root"
	expected | LC_ALL=C sort >wanted
	installed root | diff wanted -
	make -s -C "$(top)" B="${PM_BUILD:-build}" DESTDIR="$PWD/root" \
	    PREFIX=/usr uninstall
	[ -z "$(installed root)" ]
}

@test "a program of others builds with the installed library" {
	install_to "$PWD/root"
	cat >count.c <<-'END'
	#include <stdio.h>
	#include <unistd.h>

	#include <pm/stream.h>
	#include <pm/version.h>

	int
	main(void)
	{
		struct pm_fault fault = { .error = 0 };
		struct pm_record *rec = pm_record_new();
		struct pm_reader in;
		enum pm_status status;
		unsigned long pages = 0;

		status = pm_reader_open(&in, STDIN_FILENO, &fault);
		while (status == PM_OK &&
		    (status = pm_reader_next(&in, rec)) == PM_OK)
			pages += (unsigned long)pm_record_pages(rec);
		if (status != PM_END)
			fprintf(stderr, "%s\n", fault.text);
		else
			printf("%s %lu\n", pm_version(), pages);
		pm_reader_close(&in);
		pm_record_free(rec);
		return status != PM_END;
	}
	END
	pc=root/usr/lib/pkgconfig/libpm.pc
	cflags=$(sed -n 's/^Cflags: //p' "$pc" |
	    sed "s|\${includedir}|$PWD/root/usr/include|")
	libs=$(sed -n 's/^Libs: //p' "$pc" |
	    sed "s|\${libdir}|$PWD/root/usr/lib|")
	# shellcheck disable=SC2086	# words of the .pc file
	"${CC:-cc}" -std=c11 -Wall -Wextra -Werror $cflags -o count count.c $libs
	truncate -s 12345 image
	pm-snapshot image >stream
	run -0 bash -c './count <stream'
	[[ $output == *.*.*" 4" ]]
	head -c 100 stream >part
	run -1 bash -c './count <part'
	[[ $output == "stream ends early"* ]]
}

@test "every header stands on its own" {
	for header in "$(top)"/lib/*.h; do
		echo "#include \"$header\"" >one.c
		"${CC:-cc}" -std=c11 -Wall -Wextra -Werror \
		    -D_POSIX_C_SOURCE=200809L -fsyntax-only one.c
	done
}

@test "pkg-config finds it" {
	command -v pkg-config >/dev/null || skip "needs pkg-config"
	install_to "$PWD/root"
	export PKG_CONFIG_PATH=$PWD/root/usr/lib/pkgconfig
	run -0 pkg-config --modversion libpm
	[ "$output" = "$(pm-info --version | cut -d' ' -f2)" ]
}

@test "building twice gives the same bytes" {
	for dir in one two; do
		make -s -j2 -C "$(top)" B="$PWD/$dir" CFLAGS='-O0 -g' \
		    "$PWD/$dir/pm-info" >/dev/null
	done
	cmp one/pm-info two/pm-info
	cmp one/libpm.a two/libpm.a
}
