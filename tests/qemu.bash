# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
# Machines of QEMU that migrate, for tests, measurements and the demo; to be
# sourced after guest.bash.  A machine has a name, and in the directory where
# we work NAME.console is what it prints, NAME.qmp its monitor, NAME.qtest a
# socket by which its memory is written from outside, NAME.log what QEMU says.
#
# While the processor of a guest is emulated, QEMU 7.2 loses some of what it
# writes during a migration.  So a guest is stopped before it migrates, and
# memory that changes on the way is changed from outside, where the guest has
# none.

qemu_size=144		# MiB of a machine
qemu_own=96		# of them the guest takes for itself
declare -gA qemu_pids=()

qemu_can() {
	guest_can || return
	command -v nc >/dev/null || {
		echo 'there is no nc'
		return 1
	}
}

# The guest keeps files, looks whether each is as it was written, and says
# so; then it writes one of them anew.
qemu_init() {
	cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
cd /tmp
fill() {
	head -c 200000 /dev/urandom >$1
	ps | head -n 20 >>$1
	md5sum $1 >$1.sum
}
for i in 0 1 2 3 4 5 6 7; do fill $i; done
n=0
while :; do
	n=$((n + 1))
	if cat ?.sum | md5sum -c -s; then
		echo "tick $n ok" >/dev/console
	else
		echo "tick $n broken" >/dev/console
	fi
	fill $((n % 8))
	usleep 100000
done
INIT
}

# What machines boot from: kernel and initrd, in this directory.
qemu_prepare() { # KERNEL
	ln -sf "$1" kernel
	mkdir -p root
	qemu_init >root/init
	guest_pack root initrd
	rm -r root
}

# What makes a machine of this kind: pc has next to no devices, q35 some;
# bare has none and nothing to boot.
qemu_machine() { # KIND
	case $1 in
	bare)
		echo -S -machine pc -nodefaults -vga none
		return
		;;
	pc) echo -machine pc -nodefaults -vga none ;;
	q35)
		echo -machine q35 -nodefaults -vga std \
		    -netdev user,id=net -device virtio-net-pci,netdev=net \
		    -blockdev null-co,node-name=disk,read-zeroes=on,size=65536 \
		    -device virtio-blk-pci,drive=disk \
		    -device virtio-rng-pci -device qemu-xhci
		;;
	esac
	echo -kernel kernel -initrd initrd
}

# Start one; its memory is a file, if MEMORY is one that does not exist yet or
# has its size, and else anonymous.  What is called pc.ram is so in all.
qemu_start() { # NAME KIND MEMORY|- [OPTIONS...]
	local name=$1 memory=() boot='console=ttyS0 quiet mitigations=off'
	local -a machine
	local backend=memory-backend-file,id=pc.ram,share=on

	read -r -d '' -a machine < <(qemu_machine "$2") || :
	[ "$3" = - ] || memory=(-machine memory-backend=pc.ram -object
	    "$backend,mem-path=$3,size=${qemu_size}M")
	[ "$2" = bare ] || memory+=(-append
	    "$boot random.trust_cpu=on mem=${qemu_own}M")
	shift 3
	rm -f "$name".{qmp,qtest,console}
	setsid qemu-system-x86_64 -name "$name" -accel tcg -smp 1 \
	    -m "$qemu_size" -display none -global migration.x-max-bandwidth=0 \
	    -serial "file:$name.console" \
	    -qmp "unix:$name.qmp,server=on,wait=off" \
	    -qtest "unix:$name.qtest,server=on,wait=off" \
	    -qtest-log /dev/null "${machine[@]}" "${memory[@]}" "$@" \
	    >"$name.log" 2>&1 </dev/null 3>&- &
	qemu_pids[$name]=$!
	disown "$!"
	qemu_within 10 qemu_listens "$name" && qemu_runs "$name"
}

qemu_listens() { [ -S "$1.qmp" ] || qemu_ended "$1"; } # NAME

qemu_within() { # SECONDS COMMAND...: it succeeds
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))

	shift
	until "$@"; do
		[ "${EPOCHREALTIME/./}" -lt $end ] || return
		sleep 0.02
	done
}

# One that has ended may wait for us to take note.
qemu_runs() { # NAME
	grep -qs '^State:[[:space:]]*[^ZX]' "/proc/${qemu_pids[$1]}/status"
}

qemu_ended() { ! qemu_runs "$1"; } # NAME

qemu_end() { # [NAME...]: these, or all
	local name

	[ $# -gt 0 ] || set -- "${!qemu_pids[@]}"
	for name; do
		# And what it runs.
		kill -9 -- "-${qemu_pids[$name]}" "${qemu_pids[$name]}" \
		    2>/dev/null || :
		qemu_within 10 qemu_ended "$name" || :
		unset "qemu_pids[$name]"
	done
}

qemu_ask() { # NAME COMMAND [ARGUMENTS]
	guest_ask "$1.qmp" "${@:2}"
}

qemu_tell() { # NAME COMMAND [ARGUMENTS]
	guest_qmp "$1.qmp" "${@:2}"
}

# How many times the guest has looked, and found all as it should be.
qemu_ticks() { # NAME
	sed -n 's/^tick \([0-9]*\) ok.*/\1/p' "$1.console" 2>/dev/null |
	    tail -n 1
}

qemu_ticked() { # NAME NUMBER
	[ "$(qemu_ticks "$1")" -ge "$2" ] 2>/dev/null || qemu_ended "$1"
}

# It comes that far, and nothing was ever broken.
qemu_reaches() { # NAME NUMBER
	qemu_within 180 qemu_ticked "$@" && qemu_runs "$1" &&
	    ! grep -qE 'broken|panic' "$1.console"
}

# It goes on from where it stands, or from the tick that another has come to.
qemu_goes_on() { # NAME [FROM]
	local from=${2:-$(qemu_ticks "$1")}

	qemu_reaches "$1" $((from + 3))
}

# Have a guest of this kind boot, and keep it as it is then: the stream of
# its migration is KIND.state.
qemu_keep() { # KIND
	qemu_start "kept-$1" "$1" - &&
	    qemu_reaches "kept-$1" 2 &&
	    qemu_tell "kept-$1" stop &&
	    qemu_migrate "kept-$1" "exec:cat >$1.state" &&
	    qemu_migrated "kept-$1" &&
	    mv "kept-$1.console" "$1.console"
	qemu_end "kept-$1"
	[ -s "$1.console" ]
}

# Start one in the state that was kept, as if it had booted.  It stands.
qemu_resume() { # NAME KIND MEMORY|- DIR [OPTIONS...]
	qemu_start "$1" "$2" "$3" -incoming "exec:cat $4/$2.state" "${@:5}" &&
	    qemu_arrived "$1"
}

# The URI has no quotation marks but single ones.
qemu_migrate() { # NAME URI
	qemu_tell "$1" migrate "{\"uri\":\"$2\"}"
}

qemu_parameter() { # NAME PARAMETER VALUE
	qemu_tell "$1" migrate-set-parameters "{\"$2\":$3}"
}

qemu_capability() { # NAME CAPABILITY
	qemu_tell "$1" migrate-set-capabilities \
	    "{\"capabilities\":[{\"capability\":\"$2\",\"state\":true}]}"
}

# A number of what a machine says of its migration, or nothing.
qemu_number() { # NAME KEY
	qemu_ask "$1" query-migrate | sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p"
}

qemu_phase() { # NAME: of its migration
	qemu_ask "$1" query-migrate |
	    sed -n 's/.*"status": "\([a-z-]*\)".*/\1/p'
}

qemu_is_past() { # NAME: nothing more happens
	case $(qemu_phase "$1") in
	completed | failed | cancelled | pre-switchover) ;;
	*) qemu_ended "$1" ;;
	esac
}

# While a machine with the capability pause-before-switchover waits, what is
# written by its socket is still sent.
qemu_continue() { # NAME
	qemu_tell "$1" migrate-continue '{"state":"pre-switchover"}' &&
	    qemu_within 10 qemu_continues "$1"
}

qemu_continues() { [ "$(qemu_phase "$1")" != pre-switchover ]; } # NAME

# Wait for the end of a migration; how it ended is the status.
qemu_migrated() { # NAME [SECONDS]
	qemu_within "${2:-30}" qemu_is_past "$1" &&
	    [ "$(qemu_phase "$1")" = completed ]
}

qemu_failed() { # NAME: so did its migration
	qemu_within 30 qemu_is_past "$1" && [ "$(qemu_phase "$1")" = failed ]
}

qemu_state() { # NAME
	qemu_ask "$1" query-status |
	    sed -n 's/.*"status": "\([a-z-]*\)".*/\1/p'
}

qemu_is_here() { # NAME: or never will be
	! qemu_runs "$1" || [ "$(qemu_state "$1")" != inmigrate ]
}

# All has arrived at a destination, and it could run.
qemu_arrived() { # NAME [SECONDS]
	qemu_within "${2:-30}" qemu_is_here "$1" && qemu_runs "$1"
}

# A destination has given up, and never was a guest.
qemu_refused() { # NAME
	qemu_within 30 qemu_is_here "$1" && qemu_within 10 qemu_ended "$1" &&
	    [ ! -s "$1.console" ]
}

# Its memory as the machine sees it.
qemu_memory() { # NAME FILE
	qemu_tell "$1" pmemsave \
	    "{\"val\":0,\"size\":$((qemu_size << 20)),\"filename\":\"$PWD/$2\"}"
}

qemu_same() { # NAME NAME: so is the memory of both, which stand
	local status=0

	qemu_memory "$1" "$1.memory" && qemu_memory "$2" "$2.memory" &&
	    cmp "$1.memory" "$2.memory" || status=1
	rm -f "$1.memory" "$2.memory"
	return $status
}

# Send lines by which memory is written, while the guest stands.
qemu_write() { # NAME: the lines are on standard input
	local lines

	lines=$(cat)
	[ "$(timeout 20 nc -N -U "$1.qtest" <<<"$lines" | grep -c '^OK')" -eq \
	    "$(wc -l <<<"$lines")" ]
}
