#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2030,SC2031,SC2154
load helper
load images
load process
load pipeline

teardown() {
	local what

	for what in "${running[@]}"; do
		kill -9 "$what" 2>/dev/null || :
	done
	for what in "${mounted[@]}"; do
		umount "$what"
	done
	for what in "${attached[@]}"; do
		losetup -d "$what"
	done
	[ -z "$shm" ] || rm -rf "$shm"
}

running=() mounted=() attached=() shm=''

generations() { # BYTES OPTION...: full.pms, and 1.pms to 3.pms from g0 to g3
	local i

	helper scatter 1 "$1" g0
	pm-snapshot "${@:2}" --save-table t -o full.pms g0
	for i in 1 2 3; do
		cp --sparse=always g$((i - 1)) g$i
		helper scatter $((i + 1)) $(($1 + (i % 2) * 50001)) g$i -
		pm-snapshot "${@:2}" --since t --save-table t -o $i.pms g$i
		pm-snapshot "${@:2}" --base g$((i - 1)) -o late$i.pms g$i
	done
}

state() { stat -c '%i %s %a %Y %y %Z' "$1"; sha256sum <"$1"; }

# untouched COMMAND...: which leaves target, and all names, as they were
untouched() {
	local before after

	before=$(state target; names)
	"$@"
	after=$(state target; names)
	[ "$before" = "$after" ]
}

refused() { # STATUS MESSAGE OPTION... <STREAM: pm-apply says so
	run "-$1" --separate-stderr pm-apply "${@:3}" target
	echo "$stderr"
	[[ "$stderr" == "pm-apply: "*"$2"* ]]
	[ "${#stderr_lines[@]}" -eq 1 ]
	[ -z "$output" ]
}

fed() { # COMMAND...: runs with the fifo "feed", open here as 6, as its input
	mkfifo feed
	"$@" <feed >told 2>err 3>&- 6>&- &
	fed=$!
	running+=("$fed")
	disown "$fed"
	exec 6>feed
}

killed() {
	kill -9 "$fed"
	eventually not_running
	exec 6>&-
	rm feed
}

not_running() { ! kill -0 "$fed" 2>/dev/null; }

@test "a full stream makes a file for its owner alone" {
	helper scatter 1 1000000 img
	run -0 --separate-stderr bash -c 'pm-snapshot img | pm-apply target'
	[ "$output" = "$(pm-info --id img)" ]
	[ -z "$stderr" ]
	cmp img target
	[ "$(stat -c %a target)" = 600 ]
	[ "$(names)" = "$(printf 'img\ntarget')" ]
}

@test "a file that is replaced keeps its mode, and others their file" {
	generations 500000
	cp g0 real
	chmod 640 real
	ln -s real target
	ln real other
	pm-apply target <1.pms
	[ -L target ]
	cmp real g1
	cmp other g0
	[ "$(stat -c %a real)" = 640 ]
	pm-apply target <full.pms
	cmp real g0
	[ "$(stat -c %a real)" = 640 ]
}

@test "holes stay holes" {
	truncate -s 64M old
	poke old 20000000 here
	cp --sparse=always old new
	poke new 40000000 there
	punch new 19988480 65536
	pm-snapshot old | pm-apply target
	[ "$(blocks target)" -le "$(($(blocks old) + 16))" ]
	pm-snapshot --base old new | pm-apply target
	cmp new target
	[ "$(blocks target)" -le "$(($(blocks new) + 16))" ]
	# Zeroes that were written need no room either.
	zero new 40960 1000000
	poke new 0 x
	pm-snapshot --base old new | { cp old target; pm-apply target; }
	cmp new target
	[ "$(blocks target)" -lt 64 ]
	pm-snapshot --save-table t -o /dev/null old
	pm-snapshot --since t new | { cp old target
	    pm-apply --in-place target; }
	cmp new target
	[ "$(blocks target)" -lt 64 ]
}

@test "a chain is applied stream by stream, and each is told" {
	generations 2000000
	for i in g0 g1 g2 g3; do pm-info --id $i; done >ids
	cat full.pms 1.pms 2.pms 3.pms | pm-apply target >told
	cmp g3 target
	cmp ids told
	rm target
	cat full.pms late1.pms 2.pms late3.pms |
	    pm-apply --stats stats -o told target
	cmp g3 target
	cmp ids told
	[ "$(value stats generations)" -eq 4 ]
	[ "$(value stats to)" = "$(tail -n 1 ids)" ]
	for how in --in-place --trust-table "--in-place --trust-table"; do
		rm -f target target.pm-table
		# shellcheck disable=SC2086
		cat full.pms 1.pms 2.pms 3.pms | pm-apply $how target >told
		cmp g3 target
		cmp ids told
	done
}

@test "a chain of several regions" {
	cut=(--region low:0:128K --region mid:1M:256K --region high:0x100000000:)
	generations 1000001 "${cut[@]}"
	cat full.pms 1.pms 2.pms 3.pms | pm-apply target >told
	cmp g3 target
	cat full.pms late1.pms late2.pms late3.pms | pm-apply other >told2
	cmp g3 other
	cmp told told2
	cp --sparse=always g0 target
	cat 1.pms 2.pms 3.pms | pm-apply --in-place target
	cmp g3 target
}

@test "a chain that breaks leaves the last generation that was told" {
	generations 1000000
	breaks() { # IMAGE: of the state that is left
		run -3 --separate-stderr bash -c 'pm-apply target <chain'
		[ "${lines[-1]}" = "$(pm-info --id "$1")" ]
		cmp "$1" target
		rm target
	}
	cat full.pms 1.pms 3.pms >chain
	breaks g1
	cat full.pms 1.pms late3.pms >chain
	breaks g1
	cat full.pms 1.pms 2.pms | head -c -1 >chain
	breaks g1
	{ cat full.pms 1.pms; head -c 2000 2.pms; } >chain
	breaks g1
	{ cat full.pms 1.pms; echo; } >chain
	breaks g1
	cat full.pms full.pms >chain
	breaks g0
}

@test "a wrong base is refused before the target changes" {
	generations 1000000
	cp --sparse=always g1 target
	for stream in 1.pms late1.pms 3.pms late3.pms; do
		untouched refused 3 "the stream starts from" <$stream
	done
	truncate -s 1000000 target
	poke target 999999 X
	for stream in 1.pms late1.pms; do
		untouched refused 3 "holds generation" <$stream
		untouched refused 3 "" --in-place <1.pms
	done
	rm target
	run -3 --separate-stderr pm-apply target <1.pms
	[[ "$stderr" == *"does not exist, and the stream is not a full one" ]]
	[ ! -e target ]
}

@test "a stream that is damaged or cut leaves the target alone" {
	generations 300000
	cp g0 target
	for at in 3 20 60 500 5000 "$(($(size 1.pms) - 90))"; do
		cp 1.pms bad
		flip bad "$at"
		untouched refused 3 "" <bad
		head -c "$at" 1.pms >bad
		untouched refused 3 "" <bad
		untouched refused 3 "" --trust-table <bad
	done
	: >bad
	untouched refused 3 "<stdin>: stream ends early" <bad
	rm target
	run -3 pm-apply target <bad
	[ ! -e target ]
}

@test "a full stream with deltas is exactly right, or refused" {
	helper scatter 5 1000000 old
	cp --sparse=always old new
	helper scatter 6 1000000 new -
	pm-snapshot new | pm-delta --base old -o s.pms
	for seed in 0 11 12 13 14 15; do
		cp --sparse=always old target
		[ $seed -eq 0 ] || helper scatter $seed 1000000 target -
		before=$(state target)
		status=0
		pm-apply target <s.pms || status=$?
		echo "# seed $seed status $status"
		if [ $status -eq 0 ]; then
			cmp new target
		else
			[ $status -eq 3 ]
			[ "$(state target)" = "$before" ]
		fi
	done
	# The holes of the new image hold something in the target, no more.
	truncate -s 1000000 old new
	image new 300000
	truncate -s 1000000 new
	cp new old
	poke old 5000 changed
	cp old target
	poke target 700000 "what the stream calls a hole"
	pm-snapshot new | pm-delta --base old | pm-apply target
	cmp new target
	# A target that is longer, shorter, or not there.
	image old 300000
	cp old new
	poke new 5000 changed
	{ cat old; head -c 100000 /dev/zero; cat old; } >target
	pm-snapshot new | pm-delta --base old -o s.pms
	pm-apply target <s.pms
	cmp new target
	head -c 200000 old >target
	untouched refused 3 "" <s.pms
	rm target
	run -3 pm-apply target <s.pms
	[ ! -e target ]
}

@test "what cannot be a target is refused" {
	generations 300000
	mkdir target
	run -1 --separate-stderr pm-apply target <full.pms
	[[ "$stderr" == "pm-apply: target: is not a regular file" ]]
	rmdir target
	mkfifo target
	run -1 --separate-stderr timeout 5 pm-apply target <full.pms
	[[ "$stderr" == "pm-apply: target: is not a regular file" ]]
	rm target
	run -1 --separate-stderr pm-apply /dev/null <full.pms
	[[ "$stderr" == "pm-apply: /dev/null: is not a regular file" ]]
	[ -c /dev/null ]
	run -1 pm-apply missing/target <full.pms
	# A link to nothing is not replaced by a file.
	ln -s nowhere target
	run -1 --separate-stderr pm-apply target <full.pms
	[[ "$stderr" == "pm-apply: target: "*"No such file or directory" ]]
	[ -L target ]
	rm target
	run -2 pm-apply - <full.pms
	run -2 pm-apply <full.pms
	run -2 pm-apply a b <full.pms
	[ ! -e a ]
}

@test "a file that may not be written is refused" {
	generations 300000
	cp g0 target
	chmod 400 target
	run -1 mortal pm-apply target <1.pms
	[[ $output == "pm-apply: target: "*"Permission denied" ]]
	cmp g0 target
}

@test "a second pm-apply at once is refused" {
	generations 300000
	cp g0 target
	fed pm-apply target
	cat full.pms >&6
	eventually test -s told
	# It holds the file that it just made; and waits for more.
	untouched refused 1 "is being written by another pm-apply" <1.pms
	untouched refused 1 "is being written by another pm-apply" \
	    --in-place <1.pms
	cat 1.pms >&6
	exec 6>&-
	eventually not_running
	cmp g1 target
	[ ! -s err ]
	pm-apply target <2.pms
}

@test "a disk that is full leaves the old image and nothing else" {
	is_root || skip "needs root to mount"
	generations 3000000
	mkdir small
	mount -t tmpfs -o size=4M none small || skip "cannot mount"
	mounted+=(small)
	cp --sparse=always g0 small/target
	# There is no room for a copy, which is known before it is made.
	free=$(df --output=avail -B 1 small | tail -n 1)
	image small/filler $((free - 200000))
	used=$(df --output=avail small)
	run -1 --separate-stderr pm-apply small/target <1.pms
	[[ "$stderr" == *"a copy needs "*" are free; --in-place needs none" ]]
	[ "$(df --output=avail small)" = "$used" ]
	cmp g0 small/target
	# There is room for a while.
	rm small/filler
	image big 6000000
	pm-snapshot -o big.pms big
	run -1 --separate-stderr pm-apply small/target <big.pms
	[[ "$stderr" == "pm-apply: small/target: record "*" at byte "*": No space left on device" ]]
	cmp g0 small/target
	[ "$(cd small && names)" = target ]
	# And in place.
	run -1 pm-apply --in-place small/target <big.pms
	[ -e small/target.pm-torn ]
	pm-apply --in-place small/target <full.pms
	cmp g0 small/target
	[ "$(cd small && names)" = target ]
}

@test "killed before its end, it leaves the old image and nothing else" {
	generations 3000000
	cp --sparse=always g0 target
	for part in 100 300 20000 "$(($(size 1.pms) - 1))"; do
		before=$(state target; names)
		fed pm-apply target
		head -c "$part" 1.pms >&6
		sleep 0.05
		killed
		rm -f told err
		[ "$(state target; names)" = "$before" ]
	done
	pm-apply target <1.pms
	cmp g1 target
}

@test "killed at any moment, it leaves the old image or the new" {
	kill_at_random 12
}

@test "a name that a kill left is taken away by the next run" {
	generations 300000
	cp g0 target
	echo left >.target.pm-new
	pm-apply target <1.pms
	cmp g1 target
	[ ! -e .target.pm-new ]
}

@test "in place, the file is the same and what it starts from is checked" {
	generations 1000000
	cp --sparse=always g0 target
	inode=$(stat -c %i target)
	ln target other
	untouched refused 3 "the stream starts from" --in-place <2.pms
	for i in 1 2 3; do
		pm-apply --in-place --stats stats target <$i.pms
		cmp g$i target
		[ "$(value stats bytes_copied)" -eq 0 ]
	done
	[ "$(stat -c %i target)" = "$inode" ]
	cmp target other
	pm-apply --in-place target <full.pms
	cmp g0 other
	[ ! -e target.pm-torn ]
	# A target that is not there is made.
	pm-apply --in-place fresh <full.pms
	cmp g0 fresh
}

@test "in place, a kill leaves a marker until a full stream heals it" {
	generations 3000000
	cp --sparse=always g0 target
	ln -s target link
	fed pm-apply --in-place link
	head -c "$(($(size 1.pms) - 100))" 1.pms >&6
	eventually test -e target.pm-torn
	killed
	[ "$(stat -c %a target.pm-torn)" = 600 ]
	for stream in 1.pms 2.pms late1.pms; do
		untouched refused 3 "was left torn by an --in-place" <$stream
		untouched refused 3 "was left torn by an --in-place" \
		    --in-place <$stream
	done
	pm-snapshot g0 | pm-delta --base g1 -o deltas.pms
	untouched refused 3 "was left torn by an --in-place" <deltas.pms
	cp --sparse=always target torn
	pm-apply --in-place target <full.pms
	cmp g0 target
	[ ! -e target.pm-torn ]
	# And without --in-place.
	mv torn target
	touch target.pm-torn
	cat full.pms 1.pms | pm-apply target
	cmp g1 target
	[ ! -e target.pm-torn ]
}

@test "in place, a stream that breaks leaves the marker" {
	generations 3000000
	cp --sparse=always g0 target
	cp 1.pms bad
	flip bad "$(($(size bad) - 5000))"
	run -3 pm-apply --in-place target <bad
	[ -e target.pm-torn ]
	# In a chain the generation that was told does not count any more.
	pm-apply --in-place target <full.pms
	cat 1.pms bad >chain
	run -3 pm-apply --in-place target <chain
	[ ! -e target.pm-torn ]
	cmp g1 target
}

@test "in place, what cannot be checked before is refused" {
	generations 500000
	cp g0 target
	untouched refused 1 "too late for --in-place" --in-place <late1.pms
	pm-snapshot g1 | pm-delta --base g0 -o deltas.pms
	untouched refused 1 "a full stream with deltas" --in-place <deltas.pms
	pm-apply target <deltas.pms
	cmp g1 target
}

@test "in place, regions that move are refused" {
	image img 196608
	cut() { # TABLE NAME:SIZE...: regions of those sizes of img, into x.pms
		local part at=0 options=()

		for part in "${@:2}"; do
			options+=(--region "${part%:*}:0:${part#*:}")
			at=$((at + ${part#*:}))
		done
		head -c $at img >x
		if [ -e "$1" ]; then options+=(--since "$1"); fi
		pm-snapshot "${options[@]}" --save-table new -o x.pms x
	}
	cut none a:65536 b:65536
	pm-apply target <x.pms
	mv new t
	cp target keep
	for how in "a:32768 b:65536" "a:98304 b:65536" "b:65536" \
	    "c:4096 a:65536 b:65536" "a:65536 c:4096 b:65536" \
	    "a:32768 c:65536" "a:131072"; do
		# shellcheck disable=SC2086
		cut t $how
		cp --preserve keep target
		untouched refused 1 "--in-place cannot follow" \
		    --in-place <x.pms
		pm-apply target <x.pms
		cmp x target
	done
	for how in "a:65536 b:98304" "a:65536 b:5000" "a:65536" "a:5000" \
	    "a:65536 b:65536 c:4096" "a:65536 b:65536"; do
		# shellcheck disable=SC2086
		cut t $how
		cp --preserve keep target
		pm-apply --in-place target <x.pms
		cmp x target
	done
}

@test "a block device is written in place only" {
	is_root || skip "needs root for a loop device"
	generations 1000000
	image disk 1048576
	device=$(losetup -f --show disk) || skip "no loop device"
	attached+=("$device")
	same() { cmp -n "$(size "$1")" "$1" "$device"; }
	run -1 --separate-stderr pm-apply "$device" <full.pms
	[[ "$stderr" == *"is a block device, which cannot be replaced;"* ]]
	run -1 --separate-stderr pm-apply --in-place --trust-table "$device" \
	    <full.pms
	[[ "$stderr" == *"leave --trust-table out" ]]
	cmp disk "$device"
	pm-apply --in-place "$device" <full.pms
	same g0
	# Nobody knows what is behind its end.
	cp --sparse=always g0 h0
	truncate -s 1040000 h0
	pm-snapshot --save-table t -o /dev/null g0
	pm-snapshot --since t -o grown.pms h0
	run -1 --separate-stderr pm-apply --in-place "$device" <grown.pms
	[[ "$stderr" == *"where the memory cannot grow"* ]]
	same g0
	head -c 1000000 g1 >h1
	pm-snapshot --since t -o h1.pms h1
	pm-apply --in-place "$device" <h1.pms
	same h1
	run -3 pm-apply --in-place "$device" <h1.pms
	same h1
	# Shorter ones, and a full one that gives zeroes for what was there.
	pm-snapshot --save-table t -o /dev/null h1
	truncate -s 500001 h1
	pm-snapshot --since t h1 | pm-apply --in-place "$device"
	same h1
	truncate -s 0 h1
	truncate -s 1000000 h1
	pm-snapshot h1 | pm-apply --in-place "$device"
	same h1
	image long 1048577
	run -1 --separate-stderr bash -c \
	    'pm-snapshot long | pm-apply --in-place "$1"' - "$device"
	[[ "$stderr" == *"is a device of 1048576 bytes, the memory takes 1052672" ]]
	same h1
	[ ! -e "$device.pm-torn" ]
}

@test "a clone takes the place of a copy" {
	is_root || skip "needs root to mount"
	command -v mkfs.xfs >/dev/null || skip "needs mkfs.xfs"
	truncate -s 400M disk
	mkfs.xfs -q disk || skip "mkfs.xfs does not work"
	mkdir fs
	mount -o loop disk fs || skip "cannot mount"
	mounted+=("$PWD/fs")
	helper scatter 1 3000000 g0
	pm-snapshot --save-table t -o full.pms g0
	for i in 1 2 3; do
		cp --sparse=always g$((i - 1)) g$i
		helper scatter $((i + 1)) 3000000 g$i -
		pm-snapshot --since t --save-table t -o $i.pms g$i
	done
	cat full.pms 1.pms | pm-apply fs/target
	cmp g1 fs/target
	pm-apply --stats stats fs/target <2.pms
	cmp g2 fs/target
	[ "$(value stats cloned)$(value stats bytes_copied)" = 10 ]
	pm-apply --trust-table fs/target <3.pms
	cmp g3 fs/target
	pm-snapshot --base g3 g0 | pm-apply --trust-table --stats stats fs/target
	cmp g0 fs/target
	[ "$(value stats cloned)$(value stats bytes_read_old)" = 10 ]
	# The head of a core file is not cloned.
	process >p.pms
	pm-apply fs/core <p.pms
	sha256sum <fs/core >before
	pm-snapshot --base fs/core fs/core | pm-apply --stats stats fs/core
	[ "$(value stats cloned)" = 1 ]
	sha256sum <fs/core | cmp - before
}

@test "a table is made, trusted, and void when the file was touched" {
	generations 1000000
	pm-apply --trust-table --stats stats target <full.pms
	[ "$(value stats table_trusted)" -eq 0 ]
	[ -s target.pm-table ]
	pm-apply --trust-table --in-place --stats stats target <1.pms
	cmp g1 target
	[ "$(value stats table_trusted)$(value stats cloned)" = 10 ]
	touch target
	pm-apply --trust-table --in-place --stats stats target <2.pms
	cmp g2 target
	[ "$(value stats table_trusted)" -eq 0 ]
	[ "$(value stats bytes_read_old)" -gt 100000 ]
	pm-apply --trust-table --stats stats target <3.pms
	cmp g3 target
	[ "$(value stats table_trusted)" -eq 1 ]
	# It is one that pm-snapshot understands.
	pm-snapshot --since target.pm-table g0 |
	    pm-apply --trust-table --stats stats target
	cmp g0 target
	[ "$(value stats table_trusted)" -eq 1 ]
	# Another file, or damage, voids it too.
	cp --sparse=always target other
	mv other target
	pm-apply --trust-table --stats stats target <1.pms
	[ "$(value stats table_trusted)" -eq 0 ]
	cmp g1 target
	flip target.pm-table 5000
	pm-apply --trust-table --stats stats target <2.pms
	[ "$(value stats table_trusted)" -eq 0 ]
	cmp g2 target
	: >target.pm-table
	pm-apply --trust-table --stats stats target <3.pms
	cmp g3 target
}

@test "a table is trusted without reading the rest of the file" {
	truncate -s 64M g0
	image part 8000000
	dd if=part of=g0 conv=notrunc status=none
	cp --sparse=always g0 g1
	poke g1 5000000 changed
	pm-snapshot --save-table t -o full.pms g0
	pm-snapshot --since t -o 1.pms g1
	pm-apply --trust-table target <full.pms
	pm-apply --trust-table --in-place --stats stats target <1.pms
	cmp g1 target
	[ "$(value stats bytes_read_old)" -eq 0 ]
	[ "$(value stats bytes_written)" -eq 4096 ]
}

@test "a table that pm-snapshot made of the target is trusted" {
	generations 1000000
	pm-apply target <full.pms
	pm-snapshot --save-table target.pm-table -o /dev/null target
	pm-apply --trust-table --in-place --stats stats target <1.pms
	[ "$(value stats table_trusted)" -eq 1 ]
	cmp g1 target
}

@test "a page changed behind the table is named, and its record without" {
	shm=$(mktemp -d -p /dev/shm) || skip "needs /dev/shm"
	image g0 300000
	cp g0 g1
	poke g1 5 one
	cp g1 g2
	poke g2 200000 two
	pm-snapshot --save-table t -o full.pms g0
	pm-snapshot --since t --save-table t -o 1.pms g1
	pm-snapshot --since t -o 2.pms g2
	target=$shm/target
	pm-apply "$target" <full.pms
	mkfifo in out
	helper scribble "$target" 200100 <in >out 3>&- &
	exec 7>in 8<out
	read -r answer <&8
	[ "$answer" = ready ]
	pm-apply --in-place --trust-table "$target" <1.pms
	stat -c '%y %z' "$target" >before
	echo >&7
	read -r answer <&8
	[ "$answer" = "done" ]
	exec 7>&- 8<&-
	stat -c '%y %z' "$target" >after
	cmp before after || skip "a write through a mapping changes the times"
	run -1 cmp g1 "$target"
	cp --sparse=always "$target" seen
	run -3 --separate-stderr \
	    pm-apply --in-place --trust-table "$target" <2.pms
	[[ "$stderr" == *"region memory, pages 48 to 48: changed in the target since its table was made" ]]
	# Not a byte of that record was written.
	cmp seen "$target"
	run -3 --separate-stderr pm-apply "$target" <2.pms
	[[ "$stderr" == *"holds generation "*", the stream starts from"* ]]
	# Deltas find it too, where nothing else is known of the target.
	pm-snapshot g2 | pm-delta --base g1 -o deltas.pms
	run -3 --separate-stderr pm-apply "$target" <deltas.pms
	[[ "$stderr" == *"region memory, pages 0 to 63: are not what the stream's deltas start from"* ]]
}

@test "what cannot be written beside the target is said" {
	generations 300000
	cp g0 target
	mkdir target.pm-table
	untouched refused 1 "target.pm-table: " --trust-table <1.pms
	rmdir target.pm-table
	mkdir target.pm-torn
	untouched refused 3 "was left torn" <1.pms
	run -1 --separate-stderr pm-apply --in-place target <full.pms
	[[ "$stderr" == *"target.pm-torn: "*": Is a directory" ]]
	cmp g0 target
}

@test "ids that cannot be told are an error" {
	generations 300000
	run -1 --separate-stderr bash -c 'pm-apply target <full.pms >/dev/full'
	[[ "$stderr" == "pm-apply: <stdout>: "*"No space left on device" ]]
}

process() { # the golden stream of a process
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-process.hex"
}

@test "a process becomes a core file that readelf and gdb read" {
	process | pm-apply core >id
	[ "$(cat id)" = "$(pm-info --id core)" ]
	[ "$(stat -c %a core)" = 600 ]
	if command -v readelf >/dev/null; then
		readelf -hlW core >out
		grep -q 'Type: *CORE' out
		grep -Eq 'LOAD +0x[0-9a-f]+ 0x0*400000 0x0+ 0x0+ 0x0*2000 R E 0x1000' out
		grep -Eq 'LOAD +0x[0-9a-f]+ 0x0*ff00001000 0x0+ 0x0*2000 0x0*2000 RW +0x1000' out
		[ "$(grep -c LOAD out)" -eq 2 ]
		readelf -nW core >out 2>&1
		grep -q NT_FILE out
	fi
	if command -v gdb >/dev/null; then
		gdb -batch -nx -c core -ex 'x/2xb 0xff00001fff' >out 2>&1
		grep -Eq '0xff00001fff:.*0x00.*0x73' out
		gdb -batch -nx -c core -ex 'info proc mappings' >out 2>&1
		grep -q /bin/true out
	fi
	grep -c sssss core
}

@test "later streams apply to a core file, others not" {
	process | pm-apply core
	cp core target
	pm-snapshot -o again.pms core
	# The page that was there is 0xff00002.
	at=$(($(size core) - 4096))
	poke target $((at + 7)) changed
	pm-snapshot --base core -o s.pms target
	cp core here
	pm-apply here <s.pms
	cmp target here
	pm-snapshot --save-table t -o /dev/null core
	pm-snapshot --since t -o s.pms target
	cp core here
	pm-apply --in-place here <s.pms
	cmp target here
	cp core target
	untouched refused 1 "leave --in-place out" --in-place <again.pms
	pm-apply target <again.pms
	cmp core target
	image target 5000
	untouched refused 3 "is not a core file, the stream is of a process" \
	    <s.pms
	rm target
	run -3 pm-apply target <s.pms
	[ ! -e target ]
}

@test "a core file of which the head is not as we write it is not ours" {
	process | pm-apply core
	pm-snapshot --base core -o s.pms core
	head=$(($(size core) - 8192))
	for ((byte = 0; byte < head; byte += byte < 700 ? 7 : 97)); do
		cp core target
		flip target $byte
		status=0
		pm-apply target <s.pms 2>err || status=$?
		echo "# byte $byte: $status $(cat err)"
		case $status in
		0)	# Names and such do not count in the generation.
			cmp core target ;;
		1)	grep -q 'is not a core file that pm-apply wrote' err ;;
		3)	grep -Eq 'holds generation|is not a core file' err ;;
		*)	false ;;
		esac
	done
	for cut in 0 17 18 63 64 65 200 "$((head - 1))"; do
		head -c $cut core >target
		status=0
		pm-apply target <s.pms 2>err || status=$?
		[ $status -eq 1 ] || [ $status -eq 3 ]
	done
}

@test "a running process, then what changed in it, into a core file" {
	sleep 100 3>&- &
	pid=$!
	running+=("$pid")
	disown "$pid"
	sleep 0.1
	pm-snapshot --pid $pid --map '*' -o s.pms ||
	    skip "may not read processes here"
	pm-apply core <s.pms >id
	[ "$(cat id)" = "$(pm-info --id core)" ]
	pm-snapshot --pid $pid --map '*' --base core -o s.pms
	cp core keep
	pm-apply core <s.pms
	pm-snapshot -o again.pms core
	pm-apply other <again.pms
	cmp core other
	if command -v readelf >/dev/null; then
		[ "$(readelf -lW core | grep -c LOAD)" -eq \
		    "$(wc -l <"/proc/$pid/maps")" ]
	fi
	if command -v gdb >/dev/null; then
		stack=$(awk '/\[stack\]/ { split($1, a, "-"); print a[2] }' \
		    "/proc/$pid/maps")
		gdb -batch -nx -c core -ex "x/s 0x$stack-8-7-10" >out 2>&1
		gdb -batch -nx -c core -ex "x/8xb 0x$stack-8" >out 2>&1
		grep -q '0x00.*0x00.*0x00' out
	fi
}

@test "a process is not put into an image, nor an image into a core file" {
	process | pm-apply core
	image img 5000
	pm-snapshot --save-table t -o /dev/null img
	poke img 5 changed
	pm-snapshot --since t -o s.pms img
	cp core target
	untouched refused 3 "" <s.pms
	# A full one replaces whatever there is.
	pm-snapshot img | pm-apply target
	cmp img target
	process | pm-apply target
	cmp core target
}

golden() { # NAME: the bytes of that golden stream
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-$1.hex"
}

@test "mappings that change in a stream make the file of the last ones" {
	golden live >live.pms
	golden live-end | pm-apply want >id
	for how in '' --trust-table '--in-place -j 1'; do
		rm -f target target.pm-table
		# shellcheck disable=SC2086
		pm-apply $how --stats stats target <live.pms >told
		cmp want target
		cmp id told
		[ "$(value stats bytes_copied)" -eq 16384 ]
	done
	[ "$(names | wc -l)" -eq 6 ]	# live.pms want id target stats told
	# Over a file that is there, and in a chain.
	image target 5000
	cp want next
	poke next $(($(size next) - 7)) changed
	pm-snapshot --base want -o s.pms next
	cat live.pms s.pms | pm-apply --trust-table target >told
	cmp next target
	[ "$(head -n 1 told)" = "$(cat id)" ]
	pm-snapshot --since target.pm-table -o s.pms want
	pm-apply --in-place --trust-table --stats stats target <s.pms
	[ "$(value stats table_trusted)" -eq 1 ]
	cmp want target
}

@test "a full stream with changed mappings is not applied in place" {
	golden live >live.pms
	pm-apply target <live.pms
	untouched refused 1 "leave --in-place out" --in-place <live.pms
}

@test "changed mappings pass through every filter" {
	golden live >live.pms
	golden live-end | pm-apply want
	pm-info --verify live.pms
	[ "$(pm-info --list live.pms | grep -c '^[0-9 ]* map')" -eq 7 ]
	pm-delta live.pms | tee delta.pms | pm-delta -d | cmp - live.pms
	pm-apply target <delta.pms
	cmp want target
	pm-compress -j 2 live.pms | tee lz.pms | pm-compress -d | cmp - live.pms
	rm target
	pm-apply -j 3 target <lz.pms
	cmp want target
	# What a base shows of pages that went does not count.
	golden live-end | pm-apply base
	pm-delta --base base -o delta.pms live.pms
	pm-apply base <delta.pms
	cmp want base
	pm-delta -d --base want delta.pms | cmp - live.pms
	pm-recv --timeout 20 --port-file port -o got.pms 127.0.0.1:0 3>&- &
	running+=("$!")
	eventually test -s port
	pm-send "127.0.0.1:$(cat port)" <live.pms
	wait "$!"
	cmp live.pms got.pms
}

@test "a stream with changed mappings that is cut changes nothing" {
	golden live >live.pms
	image target 5000
	for ((cut = 100; cut < $(size live.pms); cut += 997)); do
		head -c "$cut" live.pms >cut.pms
		untouched run -3 pm-apply target <cut.pms
	done
}

@test "bytes that no image has a place for are refused" {
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-opaque.hex" >s.pms
	run -1 --separate-stderr pm-apply target <s.pms
	[[ "$stderr" == *"holds foreign bytes that an image has no place for: give --region NAME, or --format=qemu or mapped-ram" ]]
	[ ! -e target ]
}

# Each generation is of three regions, the last one of no whole pages.
cut=(--region low:0:128K --region mid:1M:256K --region high:0x100000000:)

part() { # NAME FILE: what that region holds of an image that was cut so
	case $1 in
	low) head -c 131072 "$2" ;;
	mid) tail -c +131073 "$2" | head -c 262144 ;;
	high) tail -c +393217 "$2" ;;
	esac
}

@test "one region of a full stream becomes an image" {
	generations 3000001 "${cut[@]}"
	for name in low mid high; do
		part $name g0 >want
		[ "$(pm-apply --region $name target <full.pms)" = \
		    "$(pm-info --id g0 "${cut[@]}")" ]
		cmp want target
		[ "$(stat -c %a target)" = 600 ]
		rm target
		pm-delta full.pms | pm-compress |
		    pm-apply --region $name target >told
		cmp want target
	done
	# What is there is replaced, whatever it is, and keeps its mode.
	printf torn >target.pm-torn
	chmod 640 target
	pm-apply --region mid target <full.pms
	part mid g0 | cmp - target
	[ "$(stat -c %a target)" = 640 ]
	[ ! -e target.pm-torn ]
	[ "$(blocks target)" -le "$(($(blocks g0) + 16))" ]
}

@test "of one region, a chain puts its last generation in place" {
	generations 3000001 "${cut[@]}"
	pm-info --id g3 "${cut[@]}" >id
	for name in low mid high; do
		part $name g3 >want
		cat full.pms late1.pms 2.pms 3.pms |
		    pm-apply --stats stats --region $name target >told
		cmp want target
		cmp id told
		[ "$(value stats generations)" -eq 4 ]
	done
	# A file system that cannot clone makes no difference.
	! is_root || {
		shm=$(mktemp -d -p /dev/shm)
		cat full.pms 1.pms late2.pms 3.pms |
		    pm-apply --region high "$shm/target"
		cmp want "$shm/target"
	}
	[ "$(names | grep -c target)" -eq 1 ]
}

@test "of one region, a chain that breaks leaves the last that was proved" {
	generations 3000001 "${cut[@]}"
	pm-info --id g1 "${cut[@]}" >id
	part mid g1 >want
	cat full.pms 1.pms 2.pms >chain.pms
	for cut_off in 1 100 5000; do
		rm -f target
		run -3 --separate-stderr bash -c 'head -c "-$1" chain.pms |
		    pm-apply --region mid target >told' bash $cut_off
		[ "${#stderr_lines[@]}" -eq 1 ]
		cmp want target
		cmp id told
	done
	flip chain.pms "$(($(size full.pms) + $(size 1.pms) + 1000))"
	refused_region() { run -3 pm-apply --region mid target <chain.pms; }
	refused_region
	cmp want target
	# Before anything is proved, nothing happens.
	image target 5000
	for ((at = 100; at < $(size full.pms); at += 100003)); do
		head -c "$at" full.pms >short.pms
		untouched run -3 pm-apply --region mid target <short.pms
		[ "${#lines[@]}" -eq 1 ]
	done
}

@test "of one region, it is told when a chain breaks and what was proved fails" {
	generations 3000001 "${cut[@]}"
	cat full.pms 1.pms | head -c -1 >chain.pms
	run -3 --separate-stderr timeout 60 strace -o trace \
	    -e trace=linkat,fsync -e inject=fsync:error=EIO \
	    pm-apply --region mid target <chain.pms
	[ -z "$output" ]
	[ "${#stderr_lines[@]}" -eq 2 ]
	[[ "${stderr_lines[0]}" == *"target: the last generation that was proved was not put in place and told: Input/output error" ]]
	[[ "${stderr_lines[1]}" == *"stream ends early"* ]]
	[ ! -e target ]
}

@test "of one region, a target that was killed is the old one" {
	generations 3000001 "${cut[@]}"
	image target 5000
	before=$(state target)
	fed pm-apply --region mid target
	cat full.pms 1.pms >&6
	head -c 1000 2.pms >&6
	eventually reads_all
	killed
	[ "$(state target)" = "$before" ]
	[ ! -s told ]
}

# It has the second file without a name, for the stream that came last.
reads_all() {
	[ "$(find "/proc/$fed/fd" -lname '*(deleted)' | wc -l)" -ge 2 ]
}

@test "of one region, what cannot be done is refused" {
	generations 3000001 "${cut[@]}"
	part high g0 >target
	untouched refused 3 "has no region none, but: low, mid, high" \
	    --region none <full.pms
	untouched refused 3 "has no region mi, but: low, mid, high" \
	    --region mi <full.pms
	untouched refused 3 "has no region a?b, but: low, mid, high" \
	    --region $'a\x01b' <full.pms
	untouched refused 3 "the stream is not a full one; put that before it" \
	    --region mid <1.pms
	untouched refused 3 "the stream is not a full one; put that before it" \
	    --region mid <late1.pms
	for how in --in-place --trust-table; do
		run -2 --separate-stderr pm-apply --region mid $how target \
		    <full.pms
		[[ "$stderr" == *"--region replaces TARGET without reading it; leave $how out"* ]]
	done
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-process.hex" >s.pms
	untouched refused 1 "is of a process" --region process <s.pms
	# Many and long names are not all told.
	many=() long=$(printf %0200d 0)
	for i in 1 2 3; do many+=(--region "$long$i:0:4096"); done
	head -c 12288 g0 >small
	pm-snapshot "${many[@]}" -o s.pms small
	untouched refused 3 "has no region x, but: ${long:0:64}..." \
	    --region x <s.pms
}

@test "of one region, regions may come, go and change" {
	helper scatter 1 200000 img
	head -c 131072 img >g0
	cp img g1
	head -c 65536 img >g2
	ab() { echo --region "a:0:$1" --region b:16M:; }
	# shellcheck disable=SC2046
	{
		pm-snapshot $(ab 64K) --save-table t0 -o full.pms g0
		pm-snapshot $(ab 128K) --since t0 --save-table t1 -o 1.pms g1
		pm-snapshot --region a:0: --since t1 -o 2.pms g2
	}
	tail -c +131073 g1 >b1
	cat full.pms 1.pms | pm-apply --region b target
	cmp b1 target
	cat full.pms 1.pms 2.pms | pm-apply --region a target
	cmp g2 target
	# It goes: what was proved before is what there is.
	rm target
	run -3 --separate-stderr bash -c 'cat full.pms 1.pms 2.pms |
	    pm-apply --region b target'
	[[ "$stderr" == *"has no region b, but: a" ]]
	[ "${#lines[@]}" -eq 1 ]
	cmp b1 target
}

@test "of one region, foreign bytes are passed over" {
	"$BATS_TEST_DIRNAME/unhex.sh" \
	    <"$BATS_TEST_DIRNAME/golden/good-opaque.hex" >s.pms
	pm-apply --region pc.ram target <s.pms
	head -c 4096 /dev/zero | tr '\0' r | cmp - target
}

@test "rounds, skippable records and all golden streams apply" {
	for name in full zero rounds skippable partial raw-zeroes page-64k \
	    zlib lz4 zstd process map live live-end; do
		echo "# $name"
		"$BATS_TEST_DIRNAME/unhex.sh" \
		    <"$BATS_TEST_DIRNAME/golden/good-$name.hex" >s.pms
		rm -f target
		pm-apply target <s.pms >id
		[ "$(cat id)" = "$(pm-info --json s.pms | tail -n 1 |
		    sed 's/.*"to":"\([0-9a-f]*\)".*/\1/')" ]
	done
	for name in chain regions; do
		"$BATS_TEST_DIRNAME/unhex.sh" \
		    <"$BATS_TEST_DIRNAME/golden/good-$name.hex" >s.pms
		rm -f target
		pm-apply target <s.pms >id
		[ "$(wc -l <id)" -eq "$(pm-info --json s.pms | wc -l)" ]
	done
}

@test "a page between two that change is written with them, but no hole is" {
	image old $((256 * 4096))
	punch old $((21 * 4096)) 4096
	punch old $((43 * 4096)) 8192
	cp --sparse=always old new
	for ((i = 0; i < 256; i += 2)); do poke new $((i * 4096 + i)) change; done
	pm-snapshot --save-table t -o /dev/null old
	pm-snapshot --since t -o change.pms new
	pm-delta --base old -o deltas.pms change.pms
	for stream in change deltas; do
		for how in '--in-place' '--in-place --trust-table' ''; do
			cp --sparse=always old target
			# shellcheck disable=SC2086
			pm-apply $how --stats stats target <$stream.pms
			cmp new target
			# Two records of 64 pages with 63 between, of which two
			# are holes.
			[ "$(value stats bytes_written)" -eq $(((254 - 2) * 4096)) ]
			[ "$(blocks target)" -eq "$(blocks new)" ]
		done
	done
}
