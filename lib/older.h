/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * older.h - what a memory was, for a source to send only what differs.
 *
 * Either another source, whose pages are read and compared, or a page table,
 * which has their hashes and knows the id of the whole.
 */
#ifndef PM_OLDER_H
#define PM_OLDER_H

#include <stdint.h>

#include "source.h"
#include "table.h"

/* base, or since, or neither, which was the empty memory. */
struct pm_older {
	struct pm_source *base;
	struct pm_table *since;
	struct pm_table ahead;		/* since, of which spans are told */
};

void pm_older_open(struct pm_older *, struct pm_source *base,
    struct pm_table *since);

/* True when it was the empty memory. */
int pm_older_is_empty(const struct pm_older *);

/* The size of its pages; that is given if it has none. */
unsigned pm_older_page_shift(const struct pm_older *, unsigned otherwise);

/* Its regions, and the number of the one with that key or UINT32_MAX. */
const struct pm_region *pm_older_regions(const struct pm_older *,
    uint32_t *regions);
uint32_t pm_older_region(const struct pm_older *, uint64_t key);

/*
 * Whether pages from page on may have content, and how many are the same
 * way; behind the end of the region, and without one, there are none.
 */
enum pm_status pm_older_span(struct pm_older *, uint32_t region,
    uint64_t page, int *data, uint64_t *pages);

/*
 * Read pages of base that may have content, in any thread if base is shared;
 * what cannot be read of them counts as zeroes, as its id does.
 */
enum pm_status pm_older_read(const struct pm_older *, uint32_t region,
    uint64_t page, uint32_t pages, uint8_t *out, struct pm_fault *);

/* The hash that since has of a page; while others ask for spans, if need be. */
enum pm_status pm_older_hash(const struct pm_older *, uint32_t region,
    uint64_t page, struct pm_digest *was);

#endif /* PM_OLDER_H */
