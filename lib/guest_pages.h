/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_pages.h - the page array of a guest's kernel, and its free lists.
 *
 * Each page has a struct page, in one array; a block of 2^n free pages is
 * marked in that of its first, which is linked into a list of its zone.  A
 * zone counts the blocks of each size and, less exactly, its free pages.
 * Here the array is read once, from one end to the other, and what it says
 * is held against zones and lists: all blocks of a size are as many as the
 * zones count; all links lead to blocks and back; no block lies in another,
 * or outside of RAM, or has a page in use; and the free pages are about as
 * many as they should be.
 *
 * Links are compared as sets of pairs, each by the sum of its hashes: those
 * of every node with the next one must be those of every node's previous
 * one with it.  So nothing has to be remembered of a block.
 */
#ifndef PM_GUEST_PAGES_H
#define PM_GUEST_PAGES_H

#include "guest_info.h"
#include "guest_space.h"

struct pm_guest_range {
	uint64_t start, end;		/* physical addresses */
};

struct pm_guest_ranges {
	size_t count;
	struct pm_guest_range *range;	/* ascending, apart */
};

/*
 * Read it, and note in the guest how many blocks, free pages and pages of
 * the cache there are; its map, which is open, has the free ones.  processors
 * bounds by how much a count of free pages may be off.  PM_END when something
 * does not add up; *why says what.  PM_ERR_SYSTEM as above.
 */
enum pm_status pm_guest_pages_read(struct pm_guest *,
    struct pm_guest_space *, const struct pm_guest_info *,
    const struct pm_guest_ranges *ram, uint64_t processors,
    const char **why);

#endif /* PM_GUEST_PAGES_H */
