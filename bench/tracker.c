/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracker.c - what it takes to track the writes of a process, and what that
 * costs the process.
 * usage: tracker QUESTION KIND MIB TURNS
 *
 * The process has MIB of memory of a KIND, which is anon, thp or shared, all
 * of it filled.  There is a line of tab separated numbers for each turn:
 *
 *	idle	microseconds to ask for and forget what was written, when
 *		nothing was; and to read /proc/PID/pagemap of the same
 *	write	nanoseconds of a first write to a page that is watched; of
 *		one to a page that is not; and of a first touch
 *	work	writes a second, at random to 64 MiB, while it is asked every
 *		200 ms what was written; and while it is not watched
 *	still	microseconds that the process is stopped to be watched; and
 *		those of the whole
 */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, madvise */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tracker.h"

#define PAGE		4096u
#define HUGE		(2u << 20)
#define HOT		(64u << 20)
#define PIECE		(256u << 10)	/* of pagemap, read at a time */
#define DIRTY		(UINT64_C(1) << 55)
#define OUR_TIME	CLOCK_PROCESS_CPUTIME_ID
#define STRIDE		1000003u	/* pages; a prime */
#define ROUND_MS	200
#define ROUNDS		5

/* Shared with the process. */
struct board {
	_Atomic uint64_t writes;
	_Atomic int begin, done;	/* numbers of passes over all pages */
	uint64_t ns;			/* that a pass took, for each page */
	uint64_t touch_ns;		/* that the first one did */
};

static struct board *board;
static char *memory;
static size_t size;
static const char *kind;
static pid_t pid;
static struct pm_tracker *tracker;
static struct pm_fault fault;
static struct pm_map map;

/* Of processor time: others may be at work too. */
static uint64_t
used(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
rest(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

static void
die(const char *why)
{
	fprintf(stderr, "tracker: %s\n", why);
	exit(1);
}

static void *
new_memory(size_t bytes, int flags)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_ANONYMOUS | flags, -1, 0);

	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

/*
 * Write to every page, in no order: what a process has used for long is
 * scattered over the memory of the machine.  The time is that of one page.
 */
static uint64_t
pass(void)
{
	uint64_t from = used(OUR_TIME), page = 0;

	for (size_t i = 0; i < size / PAGE; i++) {
		page = (page + STRIDE) % (size / PAGE);
		memory[page * PAGE + page % PAGE]++;
	}
	return (used(OUR_TIME) - from) / (size / PAGE);
}

static _Noreturn void
be_process(int works)
{
	uint64_t state = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	board->touch_ns = pass();
	for (size_t at = 0; at < size; at += 8)
		*(uint64_t *)(memory + at) = at * 0x9e3779b97f4a7c15u;
	board->done = 1;
	while (works) {
		for (int i = 0; i < 256; i++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			memory[state % HOT]++;
		}
		board->writes += 256;
	}
	for (int n = 2;; n++) {
		while (board->begin < n)
			rest(200);
		board->ns = pass();
		board->done = n;
	}
}

static void
start(int works)
{
	int huge = strcmp(kind, "thp") == 0;
	unsigned shared = strcmp(kind, "shared") == 0;

	board = new_memory(PAGE, MAP_SHARED);
	memory = new_memory(size + HUGE, shared ? MAP_SHARED : MAP_PRIVATE);
	memory += -(uintptr_t)memory % HUGE;
	madvise(memory, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if ((pid = fork()) < 0)
		die("fork");
	if (pid == 0)
		be_process(works);
	while (board->done < 1)
		rest(1000);
	map = (struct pm_map){ .start = (uintptr_t)memory,
	    .end = (uintptr_t)memory + size, .read = 1, .write = 1,
	    .shared = shared & 1 };
}

static void
end(void)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(memory, size);
	munmap(board, PAGE);
}

static uint64_t
next_pass(void)
{
	int n = board->done + 1;

	board->begin = n;
	while (board->done < n)
		rest(200);
	return board->ns;
}

static enum pm_status
count(void *arg, uint64_t from, uint64_t to)
{
	*(uint64_t *)arg += (to - from) / PAGE;
	return PM_OK;
}

/* How many pages were written; from now on they were not. */
static uint64_t
ask(void)
{
	uint64_t pages = 0;

	if (tracker->ops->written(tracker, &map, map.start, map.end, 1, count,
	    &pages) != PM_OK)
		die(fault.text);
	return pages;
}

static void
watch(void)
{
	if (pm_tracker_open_uffd(&tracker, pid, -1, &fault) != PM_OK)
		die(fault.text);
	if (tracker->ops->watch(tracker, &map, map.start, map.end) != PM_OK)
		die("the memory cannot be watched");
	ask();
}

static void
unwatch(void)
{
	tracker->ops->close(tracker);
}

/* What there is without us: 8 bytes for each page. */
static uint64_t
read_pagemap(int fd, uint64_t *buf)
{
	off_t from = (off_t)(map.start / PAGE * 8), to = from +
	    (off_t)(size / PAGE * 8);
	uint64_t dirty = 0;

	for (off_t at = from; at < to; at += PIECE) {
		ssize_t got = pread(fd, buf, (size_t)(to - at) < PIECE
		    ? (size_t)(to - at) : PIECE, at);

		if (got <= 0)
			die("/proc/PID/pagemap");
		for (ssize_t i = 0; i < got / 8; i++)
			dirty += (buf[i] & DIRTY) != 0;
	}
	return dirty;
}

/* Between rounds pages are copied: nothing of the last is in a cache. */
static void
copy_others(void)
{
	static char *from, *to;

	if (from == NULL) {
		from = new_memory(HOT, MAP_PRIVATE | MAP_POPULATE);
		to = new_memory(HOT, MAP_PRIVATE | MAP_POPULATE);
	}
	memcpy(to, from, HOT);
}

static void
idle(int turns)
{
	uint64_t *buf = new_memory(PIECE, MAP_PRIVATE);
	char path[32];
	int fd;

	start(0);
	watch();
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	fd = open(path, O_RDONLY);
	read_pagemap(fd, buf);
	for (int turn = 0; turn < turns; turn++) {
		uint64_t ours, theirs;

		copy_others();
		ours = used(OUR_TIME);
		if (ask() != 0)
			die("something was written");
		ours = used(OUR_TIME) - ours;
		copy_others();
		theirs = used(OUR_TIME);
		read_pagemap(fd, buf);
		theirs = used(OUR_TIME) - theirs;
		printf("%.1f\t%.1f\n", (double)ours / 1e3,
		    (double)theirs / 1e3);
	}
	close(fd);
	unwatch();
	end();
}

static void
time_writes(int turns)
{
	for (int turn = 0; turn < turns; turn++) {
		unsigned long long plain, armed;

		start(0);
		next_pass();
		plain = next_pass();
		watch();
		armed = next_pass();
		if (ask() != size / PAGE)
			die("not all writes were seen");
		printf("%llu\t%llu\t%llu\n", armed, plain,
		    (unsigned long long)board->touch_ns);
		unwatch();
		end();
	}
}

static double
rate(int is_watched)
{
	uint64_t writes = board->writes, from;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0)
		die("clock_getcpuclockid");
	from = used(clock);
	for (int i = 0; i < ROUNDS; i++) {
		rest(ROUND_MS * 1000);
		if (is_watched)
			ask();
	}
	return (double)(board->writes - writes) * 1e9 /
	    (double)(used(clock) - from);
}

static void
work(int turns)
{
	for (int turn = 0; turn < turns; turn++) {
		double plain, watched;

		start(1);
		plain = rate(0);
		watch();
		watched = rate(1);
		printf("%.0f\t%.0f\n", watched, plain);
		unwatch();
		end();
	}
}

static void
stand_still(int turns)
{
	start(1);
	for (int turn = 0; turn < turns; turn++) {
		uint64_t from = used(CLOCK_MONOTONIC);

		watch();
		printf("%llu\t%.0f\n", (unsigned long long)
		    tracker->stopped_us, (double)(used(CLOCK_MONOTONIC) -
		    from) / 1e3);
		unwatch();
	}
	end();
}

int
main(int argc, char *argv[])
{
	int turns;

	if (argc != 5)
		return 2;
	kind = argv[2];
	size = (size_t)strtoul(argv[3], NULL, 10) << 20;
	turns = (int)strtol(argv[4], NULL, 10);
	if (size < HOT || turns < 1)
		return 2;
	if (strcmp(argv[1], "idle") == 0)
		idle(turns);
	else if (strcmp(argv[1], "write") == 0)
		time_writes(turns);
	else if (strcmp(argv[1], "work") == 0)
		work(turns);
	else if (strcmp(argv[1], "still") == 0)
		stand_still(turns);
	else
		return 2;
	return 0;
}
