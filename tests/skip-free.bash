# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Guests whose free pages are looked for; loaded after free-guest.  In kernels
# there is the kernel that guest_kernel found.

# A guest keeps files; a job fills most of its memory, and ends.  What it is
# then is vm.mem, and the same as a stream, vm.stream.
make_vm() {
	free_start vm "$kernels/kernel" 512 '' &&
	    free_say vm 'keep 16' &&
	    free_say vm 'hog 380' &&
	    free_stop vm &&
	    qemu_migrate vm 'exec:cat >vm.stream' &&
	    qemu_migrated vm 60
}

# A figure of pm-info --guest, in KiB; and of the guest's own, by its name.
finds() { # FILE FIGURE
	pm-info --guest "$1" | sed -n "s/^  $2 .* \([0-9]*\) KiB\$/\1/p"
}

has() { # MEMINFO NAME
	sed -n "s/^$2: *\([0-9]*\) kB\$/\1/p" "$1"
}

# Two figures differ by no more than pages in the lists of single processors,
# and by what it takes to print one of them.
agrees() { # ZONEINFO KIB KIB
	local listed

	listed=$(awk '$1 == "high:" { sum += $2 } END { print sum * 4 }' "$1")
	echo "# $2 and $3 KiB, lists of at most $listed KiB"
	[ "$2" -le $(($3 + listed + 1024)) ] &&
	    [ "$3" -le $(($2 + listed + 1024)) ]
}

# The guest goes on, uses most of its memory anew, and nothing is wrong.
goes_on() { # NAME
	free_say "$1" 'hog 380 2'
	free_keeps "$1"
	free_say "$1" 'ls -lR /proc/1 /sys/kernel >/dev/null; dmesg' >dmesg
	! grep -E 'BUG|Oops|[Bb]ad page|corrupt|Call Trace' dmesg
}

# Boot one with so many MiB, have it use some of them, and compare figures.
agrees_with() { # KERNEL MIB [APPEND]
	free_start "by-$2" "$1" "$2" "${3-}"
	free_say "by-$2" "hog $(($2 / 2 < 400 ? $2 / 2 : 400))"
	free_say "by-$2" 'head -c 20000000 /dev/urandom >some'
	free_say "by-$2" 'cat /proc/meminfo' >meminfo
	free_say "by-$2" 'cat /proc/zoneinfo' >zoneinfo
	free_stop "by-$2"
	pm-info --guest "by-$2.mem" >info
	agrees zoneinfo "$(finds "by-$2.mem" free)" "$(has meminfo MemFree)"
	[ "$(finds "by-$2.mem" pages)" -eq "$(has meminfo MemTotal)" ]
	agrees zoneinfo "$(finds "by-$2.mem" cache)" \
	    $(($(has meminfo Cached) + $(has meminfo Buffers)))
	free_end "by-$2"
}
