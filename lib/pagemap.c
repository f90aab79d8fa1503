/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "pagemap.h"

#define ENTRY_HELD		(UINT64_C(3) << 62)	/* present, swapped */
#define ENTRIES			8192u			/* of one window */
#define PAGES_AHEAD		16384u	/* more are not looked for at once */

static int
has_scan(int fd)
{
	struct pm_pagescan scan = { .anyof = PM_PAGE_PRESENT,
	    .returned = PM_PAGE_PRESENT };

	return pm_pagescan(fd, &scan) >= 0;
}

enum pm_status
pm_pagemap_open(struct pm_pagemap *map, pid_t pid, enum pm_pagemap_way way,
    unsigned page_shift, struct pm_fault *fault)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	*map = (struct pm_pagemap){ .page_shift = page_shift };
	map->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (map->fd >= 0) {
		map->has_scan = way != PM_PAGEMAP_ENTRIES && has_scan(map->fd);
		map->range = calloc(PM_PAGEMAP_RANGES, sizeof(map->range[0]));
		if (!map->has_scan)
			map->entry = calloc(ENTRIES, sizeof(map->entry[0]));
		if (map->range != NULL && (map->has_scan ||
		    (map->entry != NULL && way != PM_PAGEMAP_SCAN)))
			return PM_OK;
	}
	return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
	    strerror(errno));
}

void
pm_pagemap_close(struct pm_pagemap *map)
{
	if (map->fd >= 0)
		close(map->fd);
	free(map->range);
	free(map->entry);
	*map = (struct pm_pagemap){ .fd = -1 };
}

static void
add_range(struct pm_pagemap *map, uint64_t start, uint64_t end)
{
	struct pm_pagemap_range *next = &map->range[map->ranges];

	if (map->ranges > 0 && start <= next[-1].end) {
		if (next[-1].end < end)
			next[-1].end = end;
	} else {
		*next = (struct pm_pagemap_range){ start, end };
		map->ranges++;
	}
}

static enum pm_status
look_by_scan(struct pm_pagemap *map, uint64_t end)
{
	struct pm_pagescan_range found[PM_PAGEMAP_RANGES];
	/* Mask and inversion together leave out the page of zeroes. */
	struct pm_pagescan scan = { .start = map->from, .end = end,
	    .vec = (uintptr_t)found, .vec_len = PM_PAGEMAP_RANGES,
	    .max_pages = PAGES_AHEAD,
	    .mask = PM_PAGE_ZERO, .inverted = PM_PAGE_ZERO,
	    .anyof = PM_PAGE_HELD, .returned = PM_PAGE_HELD };
	int count = pm_pagescan(map->fd, &scan);
	uint64_t pages = 0;

	if (count < 0)
		return PM_ERR_SYSTEM;
	for (int at = 0; at < count; at++) {
		add_range(map, found[at].start, found[at].end);
		pages += (found[at].end - found[at].start) >> map->page_shift;
	}
	/* Some kernels give a stale walk_end: trust what was found. */
	map->to = (unsigned)count < PM_PAGEMAP_RANGES && pages < PAGES_AHEAD
	    ? end : found[count - 1].end;
	return PM_OK;
}

static enum pm_status
look_by_entries(struct pm_pagemap *map, uint64_t end)
{
	uint64_t page = map->from >> map->page_shift;
	uint64_t pages = (end >> map->page_shift) - page;
	enum pm_status status;

	if (pages > ENTRIES)
		pages = ENTRIES;
	status = pm_fd_pread(map->fd, map->entry,
	    (size_t)pages * sizeof(uint64_t), page * sizeof(uint64_t));
	if (status == PM_END || status == PM_ERR_TRUNCATED)
		errno = ESRCH;		/* the memory is gone */
	if (status != PM_OK)
		return PM_ERR_SYSTEM;
	map->to = map->from;
	for (uint64_t at = 0; at < pages &&
	    map->ranges < PM_PAGEMAP_RANGES; at++) {
		uint64_t next = (page + at + 1) << map->page_shift;

		if ((map->entry[at] & ENTRY_HELD) != 0)
			add_range(map, map->to, next);
		map->to = next;
	}
	return PM_OK;
}

/* Learn what is held from address on, beyond the first empty stretch. */
static enum pm_status
look(struct pm_pagemap *map, uint64_t address, uint64_t end)
{
	enum pm_status status;

	map->from = map->to = address;
	map->ranges = 0;
	do {
		map->from = map->to;
		status = map->has_scan ? look_by_scan(map, end)
		    : look_by_entries(map, end);
	} while (status == PM_OK && map->ranges == 0 && map->to < end);
	map->from = address;
	if (status != PM_OK)
		map->to = address;
	return status;
}

enum pm_status
pm_pagemap_span(struct pm_pagemap *map, uint64_t address, uint64_t end,
    int *held, uint64_t *until)
{
	size_t from = 0, to;

	if (address < map->from || address >= map->to) {
		enum pm_status status = look(map, address, end);

		if (status != PM_OK)
			return status;
	}
	/* The first range that ends behind address. */
	for (to = map->ranges; from < to;) {
		size_t at = from + (to - from) / 2;

		if (map->range[at].end <= address)
			from = at + 1;
		else
			to = at;
	}
	*held = from < map->ranges && map->range[from].start <= address;
	*until = *held ? map->range[from].end
	    : from < map->ranges ? map->range[from].start : map->to;
	if (*until > end)
		*until = end;
	return PM_OK;
}
