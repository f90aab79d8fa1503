# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Guests of QEMU, for tests and measurements.  The kernel is that of the
# system, or one that is unpacked and not installed; all else in a guest is
# busybox and what it is given to run.  Nothing is accelerated, so that a
# guest does the same work on any machine that has QEMU.

# Fail, and say why, where there can be no guest.
guest_can() {
	local program

	[ "$(uname -m)" = x86_64 ] || {
		echo "guests are for x86_64"
		return 1
	}
	for program in qemu-system-x86_64 cpio busybox; do
		command -v "$program" >/dev/null || {
			echo "there is no $program"
			return 1
		}
	done
	! ldd "$(command -v busybox)" >/dev/null 2>&1 || {
		echo "busybox is not static"
		return 1
	}
}

# Find a kernel, or fetch one as a package; it goes to DIR/kernel, where it is
# found the next time.
guest_kernel() { # DIR
	local installed package

	[ ! -e "$1/kernel" ] || return 0
	mkdir -p "$1"
	for installed in /boot/vmlinuz-*; do
		[ -r "$installed" ] || continue
		guest_unpack "$installed" "$1/kernel"
		return
	done
	command -v apt-get >/dev/null || return
	package=$(apt-cache depends linux-image-amd64 2>/dev/null |
	    awk '$1 == "Depends:" && $2 ~ /^linux-image/ { print $2; exit }')
	[ -n "$package" ] || return
	rm -rf "$1/package"
	mkdir "$1/package"
	(cd "$1/package" && timeout 120 apt-get download "$package") \
	    >"$1/log" 2>&1 &&
	    guest_take "$1"/package/*.deb "$1/package" &&
	    guest_unpack "$1"/package/boot/vmlinuz-* "$1/kernel" || return
	rm -rf "$1/package"
}

# Of a package the kernel alone, behind which the rest is not even unpacked.
guest_take() { # PACKAGE DIR
	dpkg --fsys-tarfile "$1" 2>/dev/null |
	    tar -x -C "$2" --wildcards --occurrence '*/vmlinuz*' || :
	[ -n "$(find "$2" -name 'vmlinuz*')" ]
}

# The newest kernel of that kind, packed as it comes, by which a guest unpacks
# it and puts it at a random address.  PATTERN is an extended regular
# expression of all that follows linux-image- in the name of a package; that
# is of the archive that apt knows, or of another suite of the same mirror.
# The file is printed, DIR/NAME.vmlinuz, and is found there the next time;
# DIR/log says why there is none.
guest_kernel_of() { # PATTERN DIR [SUITE]
	local name work status=0

	mkdir -p "$2"
	name=$(find "$2" -maxdepth 1 -name '*.vmlinuz' -printf '%f\n' |
	    sed 's/\.vmlinuz$//' | grep -Ex -- "$1" | sort -V | tail -n 1) || :
	if [ -z "$name" ]; then
		work=$(mktemp -d "$2/work.XXXXXX") || return
		guest_fetch "$1" "$work" "${3-}" >"$2/log" 2>&1 &&
		    name=$(cat "$work/name") &&
		    mv "$work/vmlinuz" "$2/$name.vmlinuz" || status=1
		rm -rf "$work"
	fi
	[ $status -ne 0 ] || echo "$2/$name.vmlinuz"
	return $status
}

# Lists of another suite go to WORK, and those of the system stay as they are.
guest_fetch() { # PATTERN WORK SUITE: make WORK/vmlinuz and WORK/name
	local -a apt=()
	local names name package mirror

	command -v apt-get >/dev/null || return
	if [ -n "$3" ]; then
		# shellcheck disable=SC2016	# apt replaces it
		mirror=$(apt-get indextargets --format '$(REPO_URI)' \
		    'Created-By: Packages' 'Component: main' |
		    grep -m 1 '/debian/$') || return
		mkdir "$2/lists" "$2/cache"
		echo "deb [arch=amd64] $mirror $3 main" >"$2/sources.list"
		apt=(-o "Dir::Etc::SourceList=$(realpath "$2/sources.list")"
		    -o Dir::Etc::SourceParts=-
		    -o "Dir::State::Lists=$(realpath "$2/lists")"
		    -o "Dir::Cache=$(realpath "$2/cache")"
		    -o Acquire::Languages=none)
		timeout 300 apt-get "${apt[@]}" update || return
	fi
	names=$(apt-cache "${apt[@]}" search --names-only \
	    "^linux-(image|binary)-($1)\$" | cut -d' ' -f1)
	name=$(cut -d- -f3- <<<"$names" | sort -V | tail -n 1)
	[ -n "$name" ] || return
	# Since 6.19 a linux-image has it come with a linux-binary.
	package=linux-image-$name
	! grep -qxF "linux-binary-$name" <<<"$names" ||
	    package=linux-binary-$name
	(cd "$2" && timeout 300 apt-get "${apt[@]}" download "$package" &&
	    mkdir package && guest_take ./*.deb package &&
	    find package -type f -exec mv {} vmlinuz \;) || return
	echo "$name" >"$2/name"
	[ -s "$2/vmlinuz" ]
}

# A kernel that unpacks itself takes seconds for that in a guest.  QEMU starts
# what is in it as well, if a note in it says where; else it stays as it is.
guest_unpack() { # KERNEL COPY
	local at

	at=$(LC_ALL=C grep -abo -m 1 -P '\xfd7zXZ\x00' "$1" | head -n 1 |
	    cut -d: -f1) || :
	rm -f "$2.new"
	# Behind what is packed there is more, of which xz complains.
	[ -z "$at" ] || tail -c "+$((at + 1))" "$1" |
	    xz -dcq >"$2.new" 2>/dev/null || :
	readelf -n "$2.new" 2>/dev/null | grep -q '0x00000012' ||
	    cp "$1" "$2.new" || return
	mv "$2.new" "$2"
}

# What a guest boots from: busybox, and what is in ROOT besides; its init is
# ROOT/init.
guest_pack() { # ROOT INITRD
	mkdir -p "$1/bin"
	cp "$(command -v busybox)" "$1/bin/busybox"
	chmod 755 "$1/init"
	(cd "$1" && find . | cpio -o -H newc --quiet) | gzip -1 >"$2"
}

# One command to a monitor; what it returns is printed, as one line of JSON.
guest_ask() { # SOCKET COMMAND [ARGUMENTS, as JSON]
	local line status=1 arguments='{}'

	[ -z "${3-}" ] || arguments=$3
	coproc says { exec timeout 20 nc -U "$1" 2>/dev/null; }
	exec 5<&"${says[0]}" 6>&"${says[1]}"
	echo "{\"execute\":\"qmp_capabilities\"}
	    {\"execute\":\"$2\",\"arguments\":$arguments,\"id\":1}" >&6
	while read -r line <&5; do
		case $line in
		*'"id": 1, "error"'*) break ;;
		*'"id": 1'*)
			status=0
			break
			;;
		esac
	done
	exec 5<&- 6>&-
	# shellcheck disable=SC2154	# coproc sets it
	kill "$says_PID" 2>/dev/null || :
	wait "$says_PID" 2>/dev/null || :
	echo "$line"
	return $status
}

# The same, where nothing but whether it was done matters.
guest_qmp() { # SOCKET COMMAND [ARGUMENTS]
	guest_ask "$@" >/dev/null
}
