/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracked.c - a process that writes to its memory, and knows what is in it.
 * usage: tracked KIND SEED RATE [FILE]
 *
 * KIND is a kind of memory, or of writing to it; see the table at the end.
 * About RATE times a second something random is written to a random place,
 * and the same to a model of that memory; with a RATE of 0, without rest.
 * FILE, which should hold at least as much as the memory, is what is mapped
 * or read from.
 *
 * "ready" is printed when all is set up, or "not here: " and why.  At SIGUSR1
 * it goes on a little, compares memory and model, prints "intact" or where
 * they differ, and ends with 0 or 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uring.h"

#define PAGE		4096u
#define HUGE		(2u << 20)
#define MEMORY		(8u << 20)
#define PAGES		(MEMORY / PAGE)
#define MORE		500	/* steps after the signal */
#define RW		(PROT_READ | PROT_WRITE)

static uint8_t *memory, *model, *second;
static size_t size = MEMORY;	/* that is in use of the memory */
static unsigned char mark[PAGES];	/* of a page; what it means is the
					   kind's */
static const char *path;
static int file = -1;
static uint64_t seed;
static double rate;
static unsigned steps;
static pid_t other;		/* process that writes too */
static int may_clear;		/* what is marked, the kernel */
static volatile sig_atomic_t asked;
static struct uring ring;

static void
fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static void
not_here(const char *what)
{
	printf("not here: %s: %s\n", what, strerror(errno));
	exit(0);
}

static uint64_t
chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t
below(size_t limit)
{
	return (size_t)(chance() >> 11) % limit;
}

static void *
map(size_t bytes, int flags, int fd)
{
	void *at = mmap(NULL, bytes, RW, flags, fd, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

/* Random bytes, to be written by whoever. */
static size_t
draw(uint8_t *bytes)
{
	size_t many = below(8) == 0 ? 1 + below(2 * PAGE) : 1 + below(64);

	for (size_t i = 0; i < many; i++)
		bytes[i] = (uint8_t)chance();
	return many;
}

static void
put(size_t at, const uint8_t *bytes, size_t many)
{
	if (many > size - at)
		many = size - at;
	memcpy(memory + at, bytes, many);
	memcpy(model + at, bytes, many);
}

/* Mostly a few bytes; now and then a page of zeroes. */
static void
write_some(void)
{
	static const uint8_t zeroes[PAGE];
	static uint8_t bytes[2 * PAGE];
	size_t many = draw(bytes);

	if (below(16) == 0)
		put(below(size / PAGE) * PAGE, zeroes, PAGE);
	else
		put(below(size), bytes, many);
}

/* A random run of pages of the memory; how many. */
static size_t
some_pages(size_t *first)
{
	size_t many = 1 + below(16), pages = size / PAGE;

	*first = below(pages);
	return many < pages - *first ? many : pages - *first;
}

static void
read_file(uint8_t *to, size_t bytes, size_t from)
{
	if (pread(file, to, bytes, (off_t)from) != (ssize_t)bytes)
		fail("pread");
}

static void
open_file(void)
{
	if (path == NULL || (file = open(path, O_RDWR | O_CLOEXEC)) < 0)
		fail("FILE");
}

static void
make_memfd(void)
{
	file = memfd_create("tracked", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, MEMORY) != 0)
		fail("memfd_create");
}

static void
set_anon(void)
{
	memory = map(MEMORY, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void
set_thp(void)
{
	uint8_t *at = map(MEMORY + HUGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	memory = at + (HUGE - (uintptr_t)at % HUGE) % HUGE;
	if (madvise(memory, MEMORY, MADV_HUGEPAGE) != 0)
		not_here("MADV_HUGEPAGE");
	for (size_t at_page = 0; at_page < MEMORY; at_page += PAGE)
		memory[at_page] = model[at_page] = 1;
}

static void
set_shared(void)
{
	memory = map(MEMORY, MAP_SHARED | MAP_ANONYMOUS, -1);
}

static void
set_memfd(void)
{
	make_memfd();
	memory = map(MEMORY, MAP_SHARED, file);
}

static void
set_file(int flags)
{
	open_file();
	memory = map(MEMORY, flags, file);
	read_file(model, MEMORY, 0);
}

static void
set_file_shared(void)
{
	set_file(MAP_SHARED);
}

static void
set_file_private(void)
{
	set_file(MAP_PRIVATE);
}

static void
set_huge(int flags)
{
	memory = mmap(NULL, MEMORY, RW, flags | MAP_ANONYMOUS | MAP_HUGETLB,
	    -1, 0);
	if (memory == MAP_FAILED)
		not_here("MAP_HUGETLB");
}

static void
set_huge_private(void)
{
	set_huge(MAP_PRIVATE);
}

static void
set_huge_shared(void)
{
	set_huge(MAP_SHARED);
}

/* Pages that were never there, or not any more, are made by reading them. */
static void
touch_some(void)
{
	size_t first, many = some_pages(&first);

	for (size_t i = first; i < first + many; i++)
		(void)*(volatile uint8_t *)(memory + i * PAGE);
}

/* What is dropped of a private mapping is the file's again; or zeroes. */
static void
step_drop(void)
{
	size_t first, many;

	write_some();
	touch_some();
	if (below(8) != 0)
		return;
	many = some_pages(&first);
	if (madvise(memory + first * PAGE, many * PAGE, MADV_DONTNEED) != 0)
		fail("MADV_DONTNEED");
	if (file >= 0)
		read_file(model + first * PAGE, many * PAGE, first * PAGE);
	else
		memset(model + first * PAGE, 0, many * PAGE);
}

/* A page that was freed is the kernel's to clear, or not, until written. */
static void
step_free(void)
{
	size_t first, many = some_pages(&first);

	for (size_t i = first; i < first + many; i++) {
		uint8_t byte = (uint8_t)chance();

		memset(memory + i * PAGE, byte, PAGE);
		memset(model + i * PAGE, byte, PAGE);
		mark[i] = 0;
	}
	if (below(2) == 0)
		return;
	many = some_pages(&first);
	if (madvise(memory + first * PAGE, many * PAGE, MADV_FREE) != 0)
		fail("MADV_FREE");
	may_clear = 1;
	memset(mark + first, 1, many);
}

/* Holes are made in what is shared. */
static void
step_punch(void)
{
	size_t first, many;

	write_some();
	if (below(8) != 0)
		return;
	many = some_pages(&first);
	if (madvise(memory + first * PAGE, many * PAGE, MADV_REMOVE) != 0)
		fail("MADV_REMOVE");
	memset(model + first * PAGE, 0, many * PAGE);
}

static void
step_punch_read(void)
{
	step_punch();
	touch_some();
}

/* Both through the memory and by write(2). */
static void
step_pwrite(void)
{
	static uint8_t bytes[2 * PAGE];
	size_t many = draw(bytes), at = below(size - sizeof(bytes));

	write_some();
	if (pwrite(file, bytes, many, (off_t)at) != (ssize_t)many)
		fail("pwrite");
	memcpy(model + at, bytes, many);
}

/* The file changes where the memory is not private yet. */
static void
step_under(void)
{
	size_t first, many = some_pages(&first), at = first * PAGE;
	static uint8_t page[PAGE];

	if (below(2) == 0) {
		put(at, (const uint8_t[]){ (uint8_t)chance() }, 1);
		mark[first] = 1;
		return;
	}
	if (below(4) == 0) {
		if (madvise(memory + at, many * PAGE, MADV_DONTNEED) != 0)
			fail("MADV_DONTNEED");
		read_file(model + at, many * PAGE, at);
		memset(mark + first, 0, many);
		return;
	}
	memset(page, (int)(chance() & 255), PAGE);
	if (pwrite(file, page, PAGE, (off_t)at) != PAGE)
		fail("pwrite");
	if (!mark[first])
		memcpy(model + at, page, PAGE);
}

static void
set_read(void)
{
	set_anon();
	open_file();
}

static void
set_direct(void)
{
	set_read();
	second = map(MEMORY, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	read_file(second, MEMORY, 0);
	close(file);
	if ((file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC)) < 0)
		not_here("O_DIRECT");
}

static void
step_read(void)
{
	size_t many = 1 + below(4 * PAGE), at = below(size - 4 * PAGE);
	size_t from = below(MEMORY - 4 * PAGE);

	read_file(memory + at, many, from);
	read_file(model + at, many, from);
}

static void
step_direct(void)
{
	size_t many = (1 + below(16)) * PAGE, at = below(PAGES - 16) * PAGE;
	size_t from = below(PAGES - 16) * PAGE;

	read_file(memory + at, many, from);
	memcpy(model + at, second + from, many);
}

static void
set_uring(void)
{
	set_read();
	memset(memory, 1, size);
	memset(model, 1, size);
	if (!uring_open(&ring, memory, size))
		not_here("io_uring");
}

static void
read_ring(unsigned char flags)
{
	size_t many = 1 + below(4 * PAGE), at = below(size - 4 * PAGE);
	size_t from = below(MEMORY - 4 * PAGE);

	if (uring_read(&ring, file, memory + at, many, from, flags) !=
	    (int)many)
		fail("IORING_OP_READ_FIXED");
	read_file(model + at, many, from);
}

static void
step_uring(void)
{
	read_ring(0);
}

static void
step_uring_workers(void)
{
	read_ring(IOSQE_ASYNC);
}

/* The same memory at two places. */
static void
set_twice(void)
{
	set_memfd();
	second = map(MEMORY, MAP_SHARED, file);
}

static void
step_twice(void)
{
	uint8_t *swap = memory;

	memory = second;
	second = swap;
	write_some();
}

/* Another process has every other page; its number is printed. */
static void
write_every_other(size_t odd)
{
	size_t at = below(PAGES / 2) * 2 * PAGE + odd * PAGE + below(PAGE - 8);
	uint64_t word = chance();

	put(at, (const uint8_t *)&word, sizeof(word));
}

static void
set_other(void)
{
	struct timespec nap = { .tv_nsec = 200000 };

	set_memfd();
	model = map(MEMORY, MAP_SHARED | MAP_ANONYMOUS, -1);
	if ((other = fork()) < 0)
		fail("fork");
	if (other != 0) {
		printf("%d\n", (int)other);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed += 2;
	while (!asked) {
		for (int i = 0; i < 10; i++)
			write_every_other(1);
		nanosleep(&nap, NULL);
	}
	_exit(0);
}

static void
step_other(void)
{
	write_every_other(0);
}

/* Little in the middle of a lot, and every GiB a page. */
static void
set_sparse(void)
{
	uint8_t *at = map((size_t)64 << 30, MAP_PRIVATE | MAP_ANONYMOUS |
	    MAP_NORESERVE, -1);

	for (size_t i = 0; i < 64; i++)
		at[i << 30] = 1;
	memory = at + ((size_t)20 << 30) + 5 * PAGE;
}

static void
set_heap(void)
{
	memory = sbrk(0);
	size = 0;
}

static void
step_heap(void)
{
	size_t want = (1 + below(PAGES)) * PAGE;

	if (size > 0 && below(64) != 0) {
		write_some();
		return;
	}
	if (brk(memory + want) != 0)
		fail("brk");
	if (want < size)
		memset(model + want, 0, size - want);
	size = want;
}

static size_t
differs(void)
{
	for (size_t at = 0; at < size; at++)
		if (memory[at] != model[at] &&
		    !(may_clear && mark[at / PAGE] && memory[at] == 0))
			return at;
	return size;
}

/* A child has the memory as it was, and what it writes is its own. */
static void
run_child(void)
{
	for (int i = 0; i < 200; i++) {
		struct timespec nap = { .tv_nsec = 50000 };

		write_some();
		nanosleep(&nap, NULL);
	}
	_exit(differs() != size);
}

static void
step_fork(void)
{
	int status;

	write_some();
	if (below(50) != 0)
		return;
	while (waitpid(-1, &status, WNOHANG) > 0)
		if (status != 0) {
			printf("a child found other memory\n");
			exit(1);
		}
	if (below(4) == 0 && fork() == 0)
		run_child();
}

/* It is one mapping, so the kernel has no reason to refuse. */
static void *
moved(void *from, size_t was, size_t is, void *to)
{
	void *at = mremap(from, was, is, to == NULL ? MREMAP_MAYMOVE
	    : MREMAP_MAYMOVE | MREMAP_FIXED, to);

	if (at == MAP_FAILED)
		fail("mremap");
	return at;
}

static void *
room_for(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
	    -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

/* Two pages change places. */
static void
swap_pages(void)
{
	size_t a = below(PAGES) * PAGE, b = below(PAGES) * PAGE;
	static uint8_t kept[PAGE];
	uint8_t *aside;

	if (a == b)
		return;
	aside = room_for(PAGE);
	moved(memory + a, PAGE, PAGE, aside);
	moved(memory + b, PAGE, PAGE, memory + a);
	moved(aside, PAGE, PAGE, memory + b);
	memcpy(kept, model + a, PAGE);
	memcpy(model + a, model + b, PAGE);
	memcpy(model + b, kept, PAGE);
}

static void
step_mremap(void)
{
	size_t want;

	write_some();
	if (below(16) != 0)
		return;
	want = below(3) == 0 ? size : (PAGES / 2 + below(PAGES / 2)) * PAGE;
	if (want < size)
		memset(model + want, 0, size - want);
	memory = moved(memory, size, want, below(2) == 0 ? NULL
	    : room_for(want));
	size = want;
}

static void
step_swap(void)
{
	write_some();
	if (below(16) == 0)
		swap_pages();
}

/* mark: what may not be done with a page. */
static void
step_mprotect(void)
{
	static const int prot[] = { RW, PROT_READ, PROT_NONE };
	size_t page = below(PAGES), first, many, how = below(6) % 3;

	if (!mark[page])
		put(page * PAGE + below(PAGE - 1),
		    (const uint8_t[]){ (uint8_t)chance() }, 1);
	if (below(16) != 0)
		return;
	many = some_pages(&first);
	if (mprotect(memory + first * PAGE, many * PAGE, prot[how]) != 0)
		fail("mprotect");
	memset(mark + first, (int)how, many);
}

static void
set_remap(void)
{
	set_anon();
	open_file();
	second = (uint8_t *)(intptr_t)memfd_create("second", MFD_CLOEXEC);
	if (ftruncate((int)(intptr_t)second, MEMORY) != 0)
		fail("memfd_create");
}

/* Other memory at the same place: fresh, a file's, or shared. */
static void
step_remap(void)
{
	int shared = (int)(intptr_t)second, fd = -1;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	size_t first, many, at, bytes;

	write_some();
	touch_some();
	if (below(32) != 0)
		return;
	many = some_pages(&first);
	at = first * PAGE;
	bytes = many * PAGE;
	switch (below(3)) {
	case 1:
		flags = MAP_PRIVATE, fd = file;
		break;
	case 2:
		flags = MAP_SHARED, fd = shared;
	}
	if (below(2) == 0 && munmap(memory + at, bytes) != 0)
		fail("munmap");
	if (mmap(memory + at, bytes, RW, flags | MAP_FIXED, fd,
	    fd < 0 ? 0 : (off_t)at) == MAP_FAILED)
		fail("mmap");
	if (fd < 0)
		memset(model + at, 0, bytes);
	else if (pread(fd, model + at, bytes, (off_t)at) != (ssize_t)bytes)
		fail("pread");
}

/* Whether to go on; rests between bursts. */
static int
goes_on(void)
{
	static unsigned since, last;
	unsigned burst = rate < 1000 ? 1 : (unsigned)(rate / 1000);

	if (asked && last == 0)
		last = steps + MORE;
	if (rate > 0 && ++since >= burst) {
		double seconds = burst / rate;
		struct timespec nap = { .tv_sec = (time_t)seconds };

		nap.tv_nsec = (long)((seconds - (double)nap.tv_sec) * 1e9);
		nanosleep(&nap, NULL);
		since = 0;
	}
	steps++;
	return last == 0 || steps < last;
}

/* Frames of a stack that becomes deep and shallow. */
static void
descend(unsigned depth)
{
	uint64_t mine = chance() | 1, kept = seed;
	volatile uint64_t frame[512];

	for (unsigned i = 0; i < 512; i++)
		frame[i] = mine * i;
	while (goes_on() && below(depth < 200 ? 4 : 2) != 0 && depth < 1200) {
		unsigned i = (unsigned)below(512);

		if (below(2) == 0)
			descend(depth + 1);
		mine += 2;
		for (i = 0; i < 512; i += 64)
			frame[i] = mine * i;
		for (i = 0; i < 512; i++)
			if (i % 64 != 0)
				frame[i] = mine * i;
	}
	for (unsigned i = 0; i < 512; i++)
		if (frame[i] != mine * i) {
			printf("a frame at depth %u was changed\n", depth);
			exit(1);
		}
	seed ^= kept;
}

static void
set_stack(void)
{
	size = 0;
	puts("ready");
	fflush(stdout);
	while (goes_on()) {
		seed |= 1;
		descend(0);
	}
}

static const struct {
	const char *name;
	void (*set)(void), (*step)(void);
} kinds[] = {
	{ "anon", set_anon, write_some },
	{ "thp", set_thp, write_some },
	{ "shared", set_shared, write_some },
	{ "memfd", set_memfd, write_some },
	{ "file-shared", set_file_shared, write_some },
	{ "file-private", set_file_private, write_some },
	{ "file-dropped", set_file_private, step_drop },
	{ "file-under", set_file_private, step_under },
	{ "file-written", set_file_shared, step_pwrite },
	{ "huge-private", set_huge_private, write_some },
	{ "huge-shared", set_huge_shared, write_some },
	{ "dropped", set_anon, step_drop },
	{ "freed", set_anon, step_free },
	{ "punched", set_shared, step_punch },
	{ "punched-read", set_shared, step_punch_read },
	{ "heap", set_heap, step_heap },
	{ "read", set_read, step_read },
	{ "direct", set_direct, step_direct },
	{ "uring", set_uring, step_uring },
	{ "uring-workers", set_uring, step_uring_workers },
	{ "twice", set_twice, step_twice },
	{ "other", set_other, step_other },
	{ "sparse", set_sparse, write_some },
	{ "fork", set_anon, step_fork },
	{ "mremap", set_anon, step_mremap },
	{ "swap", set_anon, step_swap },
	{ "mprotect", set_anon, step_mprotect },
	{ "remap", set_remap, step_remap },
	{ "stack", set_stack, NULL },
};

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static void
run(void (*step)(void))
{
	puts("ready");
	fflush(stdout);
	do
		step();
	while (goes_on());
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask, .sa_flags = SA_RESTART };
	static char out[BUFSIZ];
	size_t kind = 0, at;

	while (argc >= 4 && kind < sizeof(kinds) / sizeof(kinds[0]) &&
	    strcmp(kinds[kind].name, argv[1]) != 0)
		kind++;
	if (argc < 4 || kind == sizeof(kinds) / sizeof(kinds[0]))
		return 2;
	/* What stdio allocates would be in the way of a heap. */
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	seed = strtoul(argv[2], NULL, 10) * 2654435761u + 1;
	rate = strtod(argv[3], NULL);
	path = argv[4];
	model = map(MEMORY, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	sigaction(SIGUSR1, &action, NULL);
	kinds[kind].set();
	if (kinds[kind].step != NULL)
		run(kinds[kind].step);
	if (strcmp(argv[1], "mprotect") == 0 &&
	    mprotect(memory, size, RW) != 0)
		fail("mprotect");
	if (other != 0 && (kill(other, SIGUSR1) != 0 ||
	    waitpid(other, NULL, 0) != other))
		fail("the other process");
	at = differs();
	if (at != size)
		printf("byte %zu of %zu is %02x and should be %02x\n", at,
		    size, memory[at], model[at]);
	else
		puts("intact");
	return fflush(stdout) != 0 || at != size;
}
