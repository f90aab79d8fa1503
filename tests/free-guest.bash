# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Guests that do what they are told, by a serial console; to be sourced after
# guest.bash and qemu.bash, whose names for machines are those here too.  In
# the directory where we work NAME.mem is the memory of one, NAME.console what
# it prints, NAME.in what it is told, NAME.qmp its monitor, NAME.log what QEMU
# says.
#
# What a guest can be told is any line of busybox's shell, and besides:
#	hog MIB [SEED]	fill so much of its memory, check it, and let it go
#	keep MIB	keep files of so many MiB in all, and change them by
#			and by, while other lines are told
#	kept		how many times these were looked at; 1 if ever one
#			was not as it was written

free_seconds=120	# that a guest may take for a line, or to start

free_init() {
	cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /sys /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
mount -t tmpfs -o size=95% tmp /tmp
cd /tmp

fill() {
	head -c $((each << 10)) /dev/urandom >$1.file && md5sum $1.file >$1.sum
}
keep() {
	each=$(($1 * 128))
	for i in 0 1 2 3 4 5 6 7; do fill $i || return; done
	echo 0 >ticks
	change >/dev/null 2>&1 &
}
change() {
	n=0
	while :; do
		n=$((n + 1))
		cat ?.sum | md5sum -c -s || touch broken
		echo $n >ticks.new
		mv ticks.new ticks
		fill $((n % 8))
		usleep 100000
	done
}
kept() {
	cat ticks && [ ! -e broken ]
}

# What a line prints stands between two that nothing else prints.
stty -echo -onlcr
echo "<0:0>"
while read -r number line; do
	echo "<$number"
	eval "$line" </dev/null 2>&1
	printf '\n<%s:%s>\n' "$number" $?
done
INIT
}

# What such guests boot from, in this directory; HOG is the helper.
free_prepare() { # HOG
	mkdir -p root/bin
	free_init >root/init
	cp "$1" root/bin/hog
	guest_pack root initrd
	rm -r root
}

# Have a machine with that kernel, and what is behind these words on its
# command line.  A kernel that panics ends it.
#
# Its processors lack what QEMU 7.2 emulates wrongly now and then, cmpxchg16b;
# and have random numbers, so that no code is changed when there are enough,
# where another processor may then meet half of the change.
free_machine() { # NAME KERNEL MIB APPEND [OPTIONS...]
	local name=$1 kernel=$2 size=$3 append=$4
	local backend=memory-backend-file,id=pc.ram,share=on
	local boot='console=ttyS0 quiet panic=-1 mitigations=off '

	boot+=random.trust_cpu=on
	shift 4
	rm -f "$name".{qmp,in,console}
	mkfifo "$name.in"
	setsid qemu-system-x86_64 -name "$name" -accel tcg -smp 2 -m "$size" \
	    -cpu qemu64,-cx16,+rdrand \
	    -machine pc,memory-backend=pc.ram -object \
	    "$backend,mem-path=$name.mem,size=${size}M" -nodefaults \
	    -vga none -display none -no-reboot \
	    -chardev stdio,id=console,signal=off -serial chardev:console \
	    -global migration.x-max-bandwidth=0 \
	    -qmp "unix:$name.qmp,server=on,wait=off" \
	    -kernel "$kernel" -initrd initrd -append "$boot $append" "$@" \
	    <>"$name.in" >"$name.console" 2>"$name.log" 3>&- &
	# shellcheck disable=SC2004,SC2034	# that of qemu.bash
	qemu_pids[$name]=$!
	disown "$!"
	qemu_within 10 qemu_listens "$name" && qemu_runs "$name"
}

# Start a guest, and wait until it listens.
free_start() { # NAME KERNEL MIB APPEND [OPTIONS...]
	rm -f "$1.mem"
	free_machine "$@" && qemu_within "$free_seconds" free_said "$1" 0 &&
	    qemu_runs "$1"
}

free_said() { # NAME NUMBER: all of that line, or it is over
	grep -qE "^<$2:[0-9]+>" "$1.console" || qemu_ended "$1"
}

# Have it run that line, and print what that prints.  The status is that of
# the line, and 125 if the guest did not come to its end.
free_say() { # NAME LINE
	local number=${EPOCHREALTIME/./} status

	# This does not wait where nobody reads any more.
	echo "$number $2" 1<>"$1.in"
	qemu_within "$free_seconds" free_said "$1" "$number" || return 125
	# A line of its own ends what may not end in one.
	sed -n "/^<$number\$/,/^<$number:/{
	    /^<$number\$/d
	    /^<$number:/d
	    p
	}" "$1.console" | sed '${/^$/d}'
	status=$(sed -n "s/^<$number:\([0-9]*\)>.*/\1/p" "$1.console")
	return "${status:-125}"
}

# Files that it keeps are as they were written, and were looked at since.
free_keeps() { # NAME
	local was

	was=$(free_say "$1" kept) &&
	    qemu_within "$free_seconds" free_kept "$1" $((was + 2)) &&
	    free_say "$1" kept >/dev/null
}

free_kept() { # NAME TIMES: or one was broken, or it is over
	local times

	times=$(free_say "$1" kept) || return 0
	[ "$times" -ge "$2" ]
}

free_stop() { qemu_tell "$1" stop; }	# NAME

free_cont() { qemu_tell "$1" cont; }	# NAME

free_end() { qemu_end "$@"; }		# [NAME...]: these, or all
