/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.h - a child that has memory of every sort, and what a source of
 * it should tell.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"
#include "child.h"
#include "source.h"

#define PAGES		64u
/* 64 GiB and 1 GiB, of 4 KiB pages; 32 bits can address less. */
#define HUGE_PAGES	(UINT64_C(1) << (sizeof(void *) < 8 ? 17 : 24))
#define SPARSE_PAGES	(UINT64_C(1) << (sizeof(void *) < 8 ? 16 : 18))

static size_t page_size;
static struct pm_fault fault;
static uint8_t *buf;

/* Where the child has what. */
struct places {
	uint8_t *touched;	/* anonymous: even pages written */
	uint8_t *looked_at;	/* anonymous: only read */
	uint8_t *huge;		/* anonymous: one page in the middle written */
	uint8_t *locked;	/* anonymous: written, then PROT_NONE */
	uint8_t *constant;	/* anonymous: written, then PROT_READ */
	uint8_t *shared;	/* anonymous and shared: even pages written */
	uint8_t *sparse;	/* shared file: pages 3 and 1000 written */
	uint8_t *beyond;	/* shared file of half the mapping's length */
	uint8_t *private;	/* of a file of two pages and a hole: pages
				   1 and 3 overwritten */
	uint8_t *zero;		/* /dev/zero, private: page 0 written */
	uint8_t *later;		/* nothing, at first */
};

static inline void
fill(uint8_t *page, uint64_t what)
{
	for (size_t i = 0; i < page_size; i += 8) {
		uint64_t word = (what + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;

		memcpy(page + i, &word, 8);
	}
}

static inline int
is_filled(const uint8_t *page, uint64_t what)
{
	uint8_t *same = malloc(page_size);
	int good;

	fill(same, what);
	good = memcmp(page, same, page_size) == 0;
	free(same);
	return good;
}

static inline uint8_t *
map(uint64_t pages, int flags, int fd)
{
	uint8_t *at = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
	    flags, fd, 0);

	if (at == MAP_FAILED)
		child_fail("mmap");
	if (fd < 0)
		(void)madvise(at, pages * page_size, MADV_NOHUGEPAGE);
	return at;
}

static inline int
make_file(uint64_t pages)
{
	int fd = memfd_create("pm test", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)(pages * page_size)) != 0)
		child_fail("memfd_create");
	return fd;
}

static inline void
fill_even(uint8_t *at, uint64_t seed)
{
	for (unsigned page = 0; page < PAGES; page += 2)
		fill(at + page * page_size, seed + page);
}

static inline void
make_private(struct places *is)
{
	char path[] = "/tmp/pm-process-XXXXXX";
	int fd = mkstemp(path);
	uint8_t *page = malloc(page_size);

	unlink(path);
	if (fd < 0 || ftruncate(fd, (off_t)(PAGES * page_size)) != 0)
		child_fail(path);
	fill(page, 500);
	if (pwrite(fd, page, page_size, 0) < 0 ||
	    pwrite(fd, page, page_size, (off_t)page_size) < 0)
		child_fail(path);
	is->private = map(PAGES, MAP_PRIVATE, fd);
	fill(is->private + page_size, 501);
	fill(is->private + 3 * page_size, 503);
	free(page);
}

static inline void
settle(struct places *is)
{
	const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	volatile uint8_t sum = 0;
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);

	is->touched = map(PAGES, anonymous, -1);
	fill_even(is->touched, 100);
	is->looked_at = map(PAGES, anonymous, -1);
	for (unsigned page = 0; page < PAGES; page++)
		sum = (uint8_t)(sum + is->looked_at[page * page_size]);
	is->huge = map(HUGE_PAGES, anonymous, -1);
	fill(is->huge + HUGE_PAGES / 2 * page_size, 200);
	is->locked = map(PAGES, anonymous, -1);
	fill_even(is->locked, 300);
	mprotect(is->locked, PAGES * page_size, PROT_NONE);
	is->constant = map(PAGES, anonymous, -1);
	fill_even(is->constant, 350);
	mprotect(is->constant, PAGES * page_size, PROT_READ);
	is->shared = map(PAGES, MAP_SHARED | MAP_ANONYMOUS, -1);
	fill_even(is->shared, 400);
	is->sparse = map(SPARSE_PAGES, MAP_SHARED, make_file(SPARSE_PAGES));
	fill(is->sparse + 3 * page_size, 3);
	fill(is->sparse + 1000 * page_size, 1000);
	is->beyond = map(PAGES, MAP_SHARED, make_file(PAGES / 2));
	fill(is->beyond, 600);
	make_private(is);
	is->zero = map(PAGES, MAP_PRIVATE, zero);
	fill(is->zero, 700);
	is->later = map(PAGES, anonymous, -1);
}

static inline void
be_memory(int in, int out)
{
	struct places is;
	cpu_set_t one;
	char byte;

	/* The kernel notes in a thread's memory on what CPU it runs. */
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	settle(&is);
	child_tell(out, &is, sizeof(is));
	/* Asked to, write to what nobody was to touch; and see it worked. */
	while (read(in, &byte, 1) == 1) {
		fill_even(is.later, 800);
		byte = (char)is_filled(is.later, 800);
		child_tell(out, &byte, 1);
	}
}

static inline struct child
start(struct places *places)
{
	struct child child = child_start(be_memory);

	char state = 0;

	if (!child_hear(child.from, places, sizeof(*places)))
		child_fail("child");
	/* From now on it waits in read(2), and its memory stays the same. */
	while (child_status(child.pid, "State:", &state) == 0 && state != 'S')
		child_nap(1);
	return child;
}

static inline struct pm_source *
open_process(pid_t pid, const char *const *glob, const char *spool)
{
	struct pm_process_options how = { .glob = glob, .spool = spool };
	struct pm_source *source = NULL;

	fault = (struct pm_fault){ .error = 0 };
	if (pm_source_open_process(&source, pid, &how, &fault) != PM_OK)
		printf("# %s: %s\n", fault.subject, fault.text);
	return source;
}

static inline struct pm_span
span_at(struct pm_source *source, const uint8_t *at)
{
	struct pm_span span = { PM_SPAN_GONE, 0 };

	if (source->ops->span(source, 0, (uintptr_t)at >> source->page_shift,
	    &span) != PM_OK)
		span.pages = 0;
	return span;
}

static inline int
is_span(struct pm_source *source, const uint8_t *at, enum pm_span_kind kind)
{
	struct pm_span span = span_at(source, at);

	if (span.pages > 0 && span.kind == kind)
		return 1;
	printf("# kind %d, %llu pages\n", span.kind,
	    (unsigned long long)span.pages);
	return 0;
}

/* All those pages are of that kind. */
static inline int
all_are(struct pm_source *source, const uint8_t *at, uint64_t pages,
    enum pm_span_kind kind)
{
	uint64_t page = 0;

	while (page < pages) {
		struct pm_span span = span_at(source, at + page * page_size);

		if (span.pages == 0 || span.kind != kind)
			return 0;
		page += span.pages;
	}
	return 1;
}

static inline uint32_t
read_at(struct pm_source *source, const uint8_t *at, uint32_t pages)
{
	uint32_t got = 0;

	memset(buf, 0x5a, PAGES * page_size);
	if (source->ops->read(source, 0, (uintptr_t)at >> source->page_shift,
	    pages, buf, &got, &fault) != PM_OK) {
		printf("# %s: %s\n", fault.subject, fault.text);
		return UINT32_MAX;
	}
	return got;
}

static inline int
reads_as(struct pm_source *source, const uint8_t *at, uint64_t what)
{
	return is_span(source, at, PM_SPAN_DATA) &&
	    read_at(source, at, 1) == 1 && is_filled(buf, what);
}

/* Even pages are data and odd ones not, or zeroes if they were read. */
static inline int
has_even(struct pm_source *source, const uint8_t *at, uint64_t seed)
{
	for (unsigned page = 0; page < PAGES; page++) {
		const uint8_t *here = at + page * page_size;

		if (page % 2 == 0 ? !reads_as(source, here, seed + page)
		    : !is_span(source, here, PM_SPAN_ZERO))
			return 0;
	}
	return 1;
}

static inline void
prepare(void)
{
	page_size = (size_t)sysconf(_SC_PAGESIZE);
	buf = malloc(PAGES * page_size);
	if (buf == NULL)
		child_fail("malloc");
}

#endif /* MEMORY_H */
