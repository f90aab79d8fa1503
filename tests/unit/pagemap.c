/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, madvise */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "pagemap.h"

#define PAGES	20000u		/* more than one window of either way */

static unsigned char expected[PAGES], seen[PAGES];
static unsigned shift;

/* Ask about all pages from a place on, in spans no longer than step pages. */
static int
look(struct pm_pagemap *map, const char *memory, uint64_t first,
    uint64_t step)
{
	uint64_t base = (uintptr_t)memory, page = first;

	memset(seen, 2, sizeof(seen));
	while (page < PAGES) {
		uint64_t end = page + step < PAGES ? page + step : PAGES;
		uint64_t until = 0;
		int held;

		if (pm_pagemap_span(map, base + (page << shift),
		    base + (end << shift), &held, &until) != PM_OK ||
		    until <= base + (page << shift) ||
		    until > base + (end << shift))
			return 0;
		for (; base + (page << shift) < until; page++)
			seen[page] = (unsigned char)held;
	}
	return memcmp(seen + first, expected + first, PAGES - first) == 0;
}

/* A fresh one for each, since what it learned it keeps. */
static int
agrees(enum pm_pagemap_way way, const char *memory, uint64_t first,
    uint64_t step)
{
	struct pm_fault fault = { .error = 0 };
	struct pm_pagemap map;
	int good = pm_pagemap_open(&map, getpid(), way, shift, &fault) ==
	    PM_OK && look(&map, memory, first, step);

	pm_pagemap_close(&map);
	return good;
}

static void
test_way(enum pm_pagemap_way way, const char *memory)
{
	CHECK(agrees(way, memory, 0, PAGES));
	CHECK(agrees(way, memory, 0, 1));
	CHECK(agrees(way, memory, 0, 7));
	CHECK(agrees(way, memory, 1, 600));
	CHECK(agrees(way, memory, 12345, PAGES));
}

static char *
map_pages(uint64_t pages)
{
	char *memory = mmap(NULL, pages << shift, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory != MAP_FAILED)
		(void)madvise(memory, pages << shift, MADV_NOHUGEPAGE);
	return memory;
}

static int
kernel_scans(void)
{
	struct pm_fault fault = { .error = 0 };
	struct pm_pagemap map;
	int scans = pm_pagemap_open(&map, getpid(), PM_PAGEMAP_SCAN, shift,
	    &fault) == PM_OK;

	pm_pagemap_close(&map);
	return scans;
}

/* Pages that were only read are the page of zeroes. */
static void
test_zero_page(char *memory)
{
	volatile char sum = 0;

	for (unsigned page = 0; page < 1000; page++)
		if (!expected[page])
			sum = (char)(sum + memory[(size_t)page << shift]);
	CHECK(sum == 0);
	CHECK(agrees(PM_PAGEMAP_SCAN, memory, 0, PAGES));
}

static void
test_untouched(enum pm_pagemap_way way, uint64_t pages)
{
	char *memory = map_pages(pages);
	uint64_t base = (uintptr_t)memory, until = 0;
	struct pm_fault fault = { .error = 0 };
	struct pm_pagemap map;
	int held = 1;

	CHECK(memory != MAP_FAILED);
	memory[(pages - 1) << shift] = 1;
	CHECK(pm_pagemap_open(&map, getpid(), way, shift, &fault) == PM_OK);
	CHECK(pm_pagemap_span(&map, base, base + (pages << shift), &held,
	    &until) == PM_OK);
	CHECK(!held && until == base + ((pages - 1) << shift));
	CHECK(pm_pagemap_span(&map, until, base + (pages << shift), &held,
	    &until) == PM_OK);
	CHECK(held && until == base + (pages << shift));
	pm_pagemap_close(&map);
	munmap(memory, pages << shift);
}

int
main(void)
{
	/* What 32 bits can address is less. */
	unsigned less = sizeof(void *) < 8 ? 7 : 0;
	uint32_t seed = 1;
	char *memory;

	while (1L << shift < sysconf(_SC_PAGESIZE))
		shift++;
	memory = map_pages(PAGES);
	CHECK(memory != MAP_FAILED);
	/* Single pages, long runs, and long gaps. */
	for (unsigned page = 0; page < PAGES; page++) {
		seed = seed * 1664525u + 1013904223u;
		expected[page] = page < 4000 ? seed >> 31 != 0 :
		    page / 3000 % 2 == 0;
		if (expected[page])
			memory[(size_t)page << shift] = 1;
	}
	test_way(PM_PAGEMAP_ENTRIES, memory);
	test_way(PM_PAGEMAP_ANY, memory);
	test_untouched(PM_PAGEMAP_ENTRIES, 1u << (20 - less / 2));
	if (kernel_scans()) {
		test_way(PM_PAGEMAP_SCAN, memory);
		test_zero_page(memory);
		test_untouched(PM_PAGEMAP_SCAN, 1u << (24 - less));
	} else
		printf("ok %d # SKIP needs PAGEMAP_SCAN\n", ++check_run);
	return check_done();
}
