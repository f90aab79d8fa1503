#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
# Live copies of guests of QEMU that are at work, and within one.
load helper
load process
load guest

# A kernel that had to be fetched is kept with what was built.
setup_file() {
	local keep

	keep=$(cd "${PM_BUILD:-$BATS_TEST_DIRNAME/../build}" && pwd)/guest
	export why kernel=$keep/kernel
	if why=$(guest_can); then
		guest_kernel "$keep" || why='there is no kernel'
	fi
}

needs_guest() { [ -z "$why" ] || skip "$why"; }

teardown() {
	end_started
	rm -f "/dev/shm/pm-live-guest.$BATS_ROOT_PID"
}

within() { # SECONDS COMMAND...
	local i tries=$(($1 * 50))

	shift
	for ((i = 0; i < tries; i++)); do
		if "$@"; then return 0; fi
		sleep 0.02
	done
	return 1
}

# A guest writes files, and says so; before it writes one again, it checks
# that the file is as it was written.
worker() { # the init of it
	cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
cd /tmp
n=0
while :; do
	i=$((n % 8))
	if [ -e $i ] && ! md5sum -c -s $i.sum; then
		echo "broken $n" >/dev/console
	fi
	head -c 600000 /dev/urandom >$i
	md5sum $i >$i.sum
	n=$((n + 1))
	echo "count $n" >/dev/console
done
INIT
}

# Start QEMU with these options besides; its process is $target.
boot() {
	qemu-system-x86_64 -accel tcg -cpu max -smp 2 -nodefaults \
	    -display none -serial file:console -kernel "$kernel" \
	    -initrd initrd -append \
	    'console=ttyS0 quiet mitigations=off random.trust_cpu=on' \
	    "$@" >log 2>&1 </dev/null 3>&- &
	target=$!
	started+=("$target")
	disown "$target"
}

work() {
	mkdir root
	worker >root/init
	guest_pack root initrd
	boot "$@"
	within 180 counted 4
}

count() { sed -n 's/^count \([0-9]*\).*/\1/p' console 2>/dev/null | tail -n 1; }

counted() { # NUMBER: the guest has come so far
	[ "$(count)" -ge "$1" ] 2>/dev/null
}

# Long enough for every file to have been checked.
goes_on() {
	within 30 counted $(($(count) + 10))
	! grep -q broken console
}

number() { # NAME FILE: of a --stats
	grep -o "\"$1\":[0-9]*" "$2" | cut -d: -f2
}

text() { # NAME FILE: of a --stats
	sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" "$2"
}

@test "a guest in the memory of QEMU is copied exactly, and goes on" {
	needs_guest
	work -m 192M
	timeout 60 pm-snapshot --pid "$target" --live --max-downtime 1ms \
	    --max-rounds 6 --force --then stop -o live.pms --stats live
	eventually in_state T
	[ "$(number rounds live)" -ge 4 ]
	timeout 60 pm-snapshot --pid "$target" -o full.pms --stats full
	eventually in_state T
	[ "$(text to live)" = "$(text to full)" ]
	pm-apply live.core <live.pms
	pm-apply full.core <full.pms
	cmp live.core full.core
	kill -CONT "$target"
	goes_on
}

@test "a guest in a file is copied exactly, by its own monitor" {
	local at=/dev/shm/pm-live-guest.$BATS_ROOT_PID
	local monitor="source $BATS_TEST_DIRNAME/guest.bash; guest_qmp monitor"

	needs_guest
	command -v nc >/dev/null || skip 'there is no nc'
	[ "$(df --output=avail -m /dev/shm | tail -n 1)" -ge 256 ] ||
	    skip '/dev/shm has no room for a guest'
	work -sandbox on -m 192M -qmp unix:monitor,server=on,wait=off \
	    -object "memory-backend-file,id=m,size=192M,mem-path=$at,share=on" \
	    -machine pc,memory-backend=m
	grep -qx 'Seccomp:[[:space:]]*2' "/proc/$target/status"
	timeout 60 pm-snapshot --live --tracker uffd --max-downtime 1ms \
	    --max-rounds 5 --force --save-table table \
	    --stop-command "bash -c '$monitor stop'" \
	    --resume-command "bash -c '$monitor cont'" \
	    -o one.pms --stats one "$at"
	[ "$(number rounds one)" -ge 4 ]
	[ "$(text tracker one)" = uffd ]
	goes_on
	timeout 60 pm-snapshot --live --tracker uffd --since table \
	    --stop-command "bash -c '$monitor stop'" --then stop \
	    -o two.pms --stats two "$at"
	cat one.pms two.pms | pm-apply copy
	cmp copy "$at"
	[ "$(text to two)" = "$(pm-info --id "$at")" ]
	before=$(count)
	sleep 0.5
	[ "$(count)" -eq "$before" ]
	guest_qmp monitor cont
	goes_on
}

# In a guest whose kernel has no more than soft-dirty bits, processes are
# copied while they write, and again when they stand still.
copier() { # the init of it
	cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /tmp
/bin/busybox --install -s /usr/bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
exec >/dev/console 2>&1
cd /tmp
copy() { # KIND TRACKER OPTIONS...
	kind=$1 name=$1-$2
	shift 2
	tracked $kind 1 1500 >said &
	pid=$!
	until grep -q ready said; do usleep 10000; done
	pm-snapshot --pid $pid --live --max-downtime 1ms --max-rounds 4 \
	    --force --then stop "$@" -v -o live.pms 2>live ||
	    echo "$name failed"
	sed -n "s/^pm-snapshot: \(tracker\|to\|rounds\) /$name \1 /p" live
	pm-snapshot --pid $pid -v -o full.pms 2>full
	sed -n "s/^pm-snapshot: to /$name to /p" full
	pm-apply live.core <live.pms >ids && pm-apply full.core <full.pms >ids &&
	    cmp live.core full.core >&2 && echo "$name same"
	kill -CONT $pid
	kill -USR1 $pid
	wait $pid
	echo "$name $(tail -n 1 said)"
	rm -f live* full* ids said
}
uname -r | sed 's/^/release /'
copy anon best
copy dropped soft --tracker soft-dirty
copy mremap soft --tracker soft-dirty
echo end
poweroff -f
INIT
}

# Programs, and the libraries that they need; threads look for one of them
# only when they are ended.
put() { # PROGRAM...
	local file

	mkdir -p root/bin root/usr/bin
	cp "$@" root/bin
	for file in $({
		ldd "$@"
		ldconfig -p | grep 'libgcc_s.*x86-64'
	} | grep -o '[[:space:]]/[^ :]*\.so[^ :]*' | sort -u); do
		mkdir -p "root/${file%/*}"
		cp -L "$file" "root/$file"
	done
}

ended() { grep -qs '^end' console || ! kill -0 "$target"; }

@test "in a guest of Linux 6.1, soft-dirty bits serve" {
	local build

	needs_guest
	build=$(dirname "$(command -v pm-snapshot)")
	put "$build"/pm-{snapshot,apply} "$build/tests/helpers/tracked"
	copier >root/init
	guest_pack root initrd
	boot -m 256M -no-reboot
	within 300 ended
	tr -d '\r' <console >told
	cat told
	grep -q '^end' told
	# What is newer has better than that.
	sed -n '$a 6.7
	    s/^release //p' told | sort -CV ||
	    skip 'the kernel has more than soft-dirty bits'
	grep -q '^anon-best .*tracker soft-dirty: not uffd: .*PAGEMAP_SCAN' told
	for name in anon-best dropped-soft mremap-soft; do
		grep -q "^$name rounds 5" told
		grep -q "^$name same" told
		grep -q "^$name intact" told
		run -0 sed -n "s/^$name to //p" told
		[ "${#lines[@]}" -eq 2 ]
		[ "${lines[0]}" = "${lines[1]}" ]
	done
}
