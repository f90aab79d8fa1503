# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Guests of QEMU whose memory is a file; to be sourced, after lib.sh.
# shellcheck disable=SC1091,SC2154	# lib.sh says where we are
. "$bench/../tests/guest.bash"

guest_size=512M

# What a guest does is chosen by its command line.
guest_init() {
	cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=384m tmp /tmp
cd /tmp

# Rows of a table and an index change, some much more often than others,
# and a log of that is rotated, packed and pruned.
busy() {
	: >log
	(
		n=0
		while sleep 1; do
			cp log log.$n
			: >log
			gzip log.$n
			rm -f log.$((n - 20)).gz
			n=$((n + 1))
		done
	) &
	exec awk 'BEGIN {
		srand(1)
		rows = 700000
		for (i = 0; i < rows; i++)
			row[i] = "user " i " balance " int(rand() * 100000) \
			    " last " rand()
		for (i = 0; i < rows / 4; i++)
			key["key" int(rand() * 1000000)] = i
		print "ready" >"/dev/console"
		fflush()
		for (n = 0;; n++) {
			i = int(rand() * rand() * rand() * rows)
			row[i] = "user " i " balance " \
			    int(rand() * 100000) " last " rand()
			if (n % 7 == 0)
				key["key" int(rand() * 1000000)] = n
			if (n % 10 == 0) {
				print n, row[i] >>"/tmp/log"
				fflush("/tmp/log")
			}
		}
	}'
}

# Random numbers, in hexadecimal, are written to random places of a buffer
# of 128 MiB, some 20 MiB a second.
random() {
	head -c 8388608 /dev/urandom | hexdump -v -e '/2 "%04x"' >numbers
	for i in 1 2 3 4 5 6 7 8; do
		cat numbers
	done >buffer
	echo ready >/dev/console
	awk 'BEGIN {
		srand(2)
		for (;;)
			print int(rand() * 16), int(rand() * 128)
	}' | while read -r from to; do
		dd if=numbers of=buffer bs=1024k count=1 skip="$from" \
		    seek="$to" conv=notrunc 2>/dev/null
		usleep 25000
	done
}

case $(cat /proc/cmdline) in
*pm=busy*) busy ;;
*pm=random*) random ;;
esac
echo ready >/dev/console
while :; do
	sleep 1000
done
INIT
}

# Make what all guests boot from; fails where that cannot be.
guest_prepare() {
	[ ! -e guest/initrd ] || return 0
	guest_can >/dev/null || return
	rm -rf guest
	mkdir -p guest/root
	guest_kernel guest || return
	guest_init >guest/root/init
	guest_pack guest/root guest/initrd
}

# Start a guest with that work; the file of that name is its memory.  Its
# process is guest_pid.
guest_start() { # WORK MEMORY
	rm -f "$2" "$2.console"
	qemu-system-x86_64 -accel tcg -smp 2 -m "$guest_size" \
	    -object "memory-backend-file,id=m,size=$guest_size,mem-path=$2,share=on" \
	    -machine pc,memory-backend=m -nodefaults -display none \
	    -serial "file:$2.console" -kernel guest/kernel \
	    -initrd guest/initrd \
	    -append "console=ttyS0 quiet random.trust_cpu=on pm=$1" \
	    >guest/log 2>&1 </dev/null &
	guest_pid=$!
}

guest_wait() { # MEMORY: until the guest says that it is ready
	local seconds
	for ((seconds = 0; seconds < 120; seconds++)); do
		! grep -q ready "$1.console" 2>/dev/null || return 0
		kill -0 "$guest_pid" || break
		sleep 1
	done
	echo "$1: the guest does not start; see $PWD/guest/log" >&2
	return 1
}

guest_end() { # PID
	kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null || :
}

# Stand still for a copy, and go on.
guest_copy() { # PID MEMORY COPY
	kill -STOP "$1"
	cp --sparse=always "$2" "$3"
	kill -CONT "$1"
}
