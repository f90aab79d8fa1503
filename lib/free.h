/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * free.h - which pages of a source are free, so that nobody needs them.
 *
 * Who uses the memory says so: a balloon driver, an agent within a guest, or
 * what is found in its memory.  There is a bit for each page of the regions
 * that have any free page, in memory that is taken as bits are set.
 */
#ifndef PM_FREE_H
#define PM_FREE_H

#include <stdint.h>

#include "bitmap.h"
#include "fault.h"
#include "ram.h"
#include "source.h"

struct pm_free {
	uint32_t regions;
	struct pm_bitmap *map;	/* of each; size 0 until it has free pages */
	uint64_t pages;		/* that are marked, of all regions */
};

/*
 * Mark what is free of a source.  For those who can only say so once the
 * regions and mappings are known, and are asked then.
 */
typedef enum pm_status pm_free_find(void *arg, const struct pm_source *,
    struct pm_free *);

/* No page of the source is marked.  PM_ERR_SYSTEM with errno. */
enum pm_status pm_free_open(struct pm_free *, const struct pm_source *);
void pm_free_close(struct pm_free *);

/*
 * Mark pages of the line that ram is of the same source, from number at on;
 * what is behind its end is left out.  PM_ERR_SYSTEM with errno.
 */
enum pm_status pm_free_set_ram(struct pm_free *, const struct pm_ram *,
    uint64_t at, uint64_t pages);

static inline int
pm_free_test(const struct pm_free *marks, uint32_t region, uint64_t page)
{
	return marks->regions > region && marks->map[region].size > 0 &&
	    pm_bitmap_test(&marks->map[region], page);
}

/* A page is in use after all. */
void pm_free_clear(struct pm_free *, uint32_t region, uint64_t page);

/*
 * Whether a page is free, and how many from there on are as it is, up to
 * end, which is behind page and no more than the region has.
 */
uint64_t pm_free_span(const struct pm_free *, uint32_t region, uint64_t page,
    uint64_t end, int *is_free);

/* Where bit n of a bitmap is within its byte n / 8. */
enum pm_free_order {
	PM_FREE_LSB,	/* n % 8: a bitmap of Linux or QEMU, as those of a
			   little-endian machine have it in memory */
	PM_FREE_MSB,	/* 7 - n % 8 */
};

/*
 * Read a bitmap from a file or pipe to its end, and mark the pages of the
 * line whose bits are 1.  It has a bit for each page, in as many bytes as
 * that takes or in whole words of 8 bytes, and bits behind the last page are
 * 0.  PM_ERR_REFUSED if it is not so; PM_ERR_READ, PM_ERR_SYSTEM.  After a
 * failure some may be marked.  name is for messages.
 */
enum pm_status pm_free_read(struct pm_free *, const struct pm_ram *, int fd,
    const char *name, enum pm_free_order, struct pm_fault *);

#endif /* PM_FREE_H */
