# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Loaded by the .bats files that run whole pipelines, after images.

# How far from one byte to the next that is changed: a build with sanitizers
# takes longer to start.
step() {
	if grep -q __asan_init "$(command -v pm-apply)"; then
		echo "$(($1 * 5))"
	else
		echo "$1"
	fi
}

# small.pms is of one RAW page; deltas.pms of DELTA, SAME and ZERO; and
# coded.pms of DELTA, ZERO and RAW, compressed.  The last two lead from old to
# new and from old to other.
small_streams() {
	image old 40000
	cp old new
	poke new 5 changed
	zero new 8192 4096
	cp new other
	head -c 4096 /dev/zero | tr '\0' z |
	    dd of=other bs=4096 seek=5 conv=notrunc status=none
	pm-snapshot --save-table t -o full.pms old
	pm-snapshot --since t new | pm-delta --base old -o deltas.pms
	pm-snapshot --since t other | pm-delta --base old | pm-compress \
	    -o coded.pms
	head -c 4096 old >page
	pm-snapshot -o small.pms page
	[ "$(size deltas.pms)" -lt 500 ]
	[ "$(size coded.pms)" -lt 600 ]
}

# One of the arguments by chance, in $chosen: a subshell has other numbers.
pick() { chosen=${*:RANDOM % $# + 1:1}; }

maybe() { [ $((RANDOM % 2)) -eq 0 ]; }

# Images of chance: new was made of old.
random_images() { # SEED
	local pages=$((RANDOM % 900 + 1))

	helper scatter "$1" $((pages * 4096 - RANDOM % 4096)) old
	cp --sparse=always old new
	if maybe; then pages=$((RANDOM % 900 + 1)); fi
	helper scatter "$1$RANDOM" $((pages * 4096 - RANDOM % 4096)) new -
}

# random_pipeline SEED: from the old image to the new, by stages of chance.
random_pipeline() {
	local source=(pm-snapshot) sink=(pm-apply) stages=() base='' delta='' text

	RANDOM=$1
	random_images "$1"
	cp --sparse=always old target
	pick 4K 4K 4K 8K 16K 64K
	source+=(--page-size "$chosen")
	pick 64K 100K 256K 1M
	source+=(--record-size "$chosen")
	pick new full base since
	if [ "$chosen" != new ] && maybe; then base='--base old'; fi
	case $chosen in
	new)
		rm target ;;
	base)
		source+=(--base old) ;;
	since)
		"${source[@]}" --save-table t -o /dev/null old
		source+=(--since t)
		if maybe; then sink+=(--in-place); fi ;;
	esac
	if maybe; then sink+=(--trust-table); fi

	if maybe; then
		pick 64K 1M 64M
		delta="pm-delta --cache-size $chosen $base"
		stages+=("$delta")
	fi
	if maybe; then
		pick zstd lz4 zlib
		stages+=("pm-compress -c $chosen -j $((RANDOM % 3 + 1))")
		if maybe; then stages+=("pm-compress -c zlib -j 2"); fi
		if maybe; then
			stages+=("pm-compress -d -j $((RANDOM % 2 + 1))")
		else
			delta=''
		fi
	fi
	if [ -n "$delta" ] && maybe; then stages+=("pm-delta -d $base"); fi

	stages+=("${sink[*]} target")
	text="${source[*]} new$(printf ' | %s' "${stages[@]}")"
	echo "# seed $1: $text"
	bash -c "set -o pipefail; $text" >id
	cmp new target
	[ "${source[2]}" != 4K ] || [ "$(pm-info --id new)" = "$(cat id)" ]
	rm -f target target.pm-table t
}

# kill_at_random ROUNDS: pm-apply, and see what it leaves.
kill_at_random() {
	local round pid now before

	helper scatter 1 20000000 old
	cp --sparse=always old new
	helper scatter 2 20000000 new -
	pm-snapshot --base old -o to-new.pms new
	pm-snapshot --base new -o to-old.pms old
	mkdir dir
	cp --sparse=always old dir/target
	now=old
	for ((round = 0; round < $1; round++)); do
		before=$now
		if [ $before = old ]; then now=new; else now=old; fi
		pm-apply dir/target <to-$now.pms >id 2>/dev/null 3>&- &
		pid=$!
		disown $pid
		sleep "0.0$((RANDOM % 40 + 10))"
		kill -9 $pid 2>/dev/null || :
		while kill -0 $pid 2>/dev/null; do sleep 0.001; done
		# What was told is there; what is there is one or the other.
		if cmp -s $now dir/target; then
			echo "# round $round: $now"
		else
			echo "# round $round: still $before"
			cmp $before dir/target
			[ ! -s id ]
			now=$before
		fi
		for name in dir/.[!.]* dir/*; do
			case $name in
			dir/target | dir/.target.pm-new | *'*'*) ;;
			*) echo "stray: $name" >&2 && return 1 ;;
			esac
		done
	done
	pm-apply dir/target <to-old.pms || pm-apply dir/target <to-new.pms
	[ "$(cd dir && names)" = target ]
}

# chain STREAMS: a full one of 64 MiB, and then from a to b and back so often.
chain() {
	local i

	cat full.pms
	for ((i = 1; i < $1; i += 2)); do cat there.pms back.pms; done
}

# took STREAMS IMAGES: bytes of memory that each program took at most, of a
# chain of so many streams, and of an image so many times as long as a.
took() {
	local i

	rm -f "$shm"/*
	pm-recv --window 5M --stats 1 unix:"$shm/s" 3>&- | pm-compress -d -j 2 --stats 2 |
	    pm-delta -d --stats 3 |
	    pm-apply -j 2 --in-place --stats 4 "$shm/target" >id 3>&- &
	chain "$1" | pm-delta --cache-size 16M --stats 5 |
	    pm-compress -c lz4 -j 2 --stats 6 |
	    pm-send --window 5M --timeout 10 --stats 7 unix:"$shm/s"
	wait $!
	cmp a "$shm/target"
	[ "$(wc -l <id)" -ge "$1" ]
	for ((i = 0; i < $2; i++)); do cat a; done >"$shm/img"
	pm-snapshot --record-size 1M --stats 8 "$shm/img" >/dev/null
	pm-snapshot -j 2 --base "$shm/img" --stats 9 "$shm/img" >/dev/null
	for i in 1 2 3 4 5 6 7 8 9; do value $i peak_rss; done
}

# Two images, and the streams that a chain of them is made of.
long_streams() {
	shm=$(mktemp -d -p /dev/shm) || skip "needs /dev/shm"
	seq 10000000 | head -c 64M >a
	seq 20000000 | tail -c 64M >b
	pm-snapshot --record-size 1M --save-table t -o full.pms a
	pm-snapshot --record-size 1M --since t --save-table t -o there.pms b
	pm-snapshot --record-size 1M --since t -o back.pms a
}

# is_flat STREAMS IMAGES: they take the same for so many as for three, give or
# take the buffers that a thread, or a window, may not have needed for three.
is_flat() {
	long_streams
	took 3 3 >few
	took "$1" "$2" >many
	paste few many
	paste few many | awk '$2 - $1 > 6 * 1048576 { exit 1 }'
	[ "$(wc -l <many)" -eq 9 ]
}
