/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layout.h - where the pages of a memory stand in a file.
 *
 * A memory is regions; a file holds extents of them, back to back, in slots
 * of one page each.  An image file holds each region as one extent, in the
 * order of their numbers; a core file holds one extent for each mapping
 * that was carried.  Tables of page hashes are numbered by the same slots.
 * Only where one region is put first (pm_layout_lead), or mappings change
 * under it (pm_layout_remap), do extents stand in another order; with the
 * latter, some slots are of no page.
 */
#ifndef PM_LAYOUT_H
#define PM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "record.h"

struct pm_extent {
	uint32_t region;	/* number of it */
	uint64_t first, pages;	/* of the region */
	uint64_t slot;		/* of the first page; dense, from 0, and
				   ascending unless led or remapped */
};

struct pm_layout {
	unsigned page_shift;
	uint32_t regions;
	struct pm_region *region;	/* by number; length is what is held */
	size_t extents;
	struct pm_extent *extent;	/* ascending, none overlap */
	uint64_t slots;			/* in all, to the end of the last */
	size_t room;			/* extents allocated */
};

/* Where a page stands, and how far it goes on like that. */
struct pm_place {
	int held;		/* 0: in no extent */
	uint64_t slot;		/* if held */
	uint64_t pages;		/* from here to the end of extent or gap */
};

/* An empty layout, or NULL when memory ran out.  free(NULL) does nothing. */
struct pm_layout *pm_layout_new(unsigned page_shift);
void pm_layout_free(struct pm_layout *);

/*
 * Add a region, numbered in order, or an extent behind the last one.
 * PM_ERR_SYSTEM for want of memory; PM_ERR_CORRUPT when an extent overlaps,
 * descends or leaves its region, or there are too many.
 */
enum pm_status pm_layout_add_region(struct pm_layout *,
    const struct pm_region *);
enum pm_status pm_layout_add_extent(struct pm_layout *, uint32_t region,
    uint64_t first, uint64_t pages);

/*
 * The layout of an image file: one extent for each region.  old says to
 * take the lengths that the regions had at "from".  Numbers stay; regions
 * of no length have no extent.  NULL with errno when memory ran out.
 */
struct pm_layout *pm_layout_of_blocks(const struct pm_region *region,
    uint32_t regions, unsigned page_shift, int old);

/*
 * Give the first slots to that region, and those behind them to the others,
 * in order.  The slots were dense and ascending.
 */
void pm_layout_lead(struct pm_layout *, uint32_t region);

/* Another of the same, or NULL when memory ran out. */
struct pm_layout *pm_layout_copy(const struct pm_layout *);

/*
 * A layout of the pages of wants in which those that now has too keep their
 * slots, and the others have new ones, in order, behind all that are kept.
 * An extent of wants that is kept in part becomes several.  The regions of
 * both are the same.  NULL with errno; E2BIG for too many extents or slots.
 */
struct pm_layout *pm_layout_remap(const struct pm_layout *now,
    const struct pm_layout *wants);

/* Find a page; at or beyond the end of its region pages is UINT64_MAX. */
struct pm_place pm_layout_find(const struct pm_layout *, uint32_t region,
    uint64_t page);

/* The number of the region with that key, or UINT32_MAX for none. */
uint32_t pm_layout_region(const struct pm_layout *, uint64_t key);

/* What regions add to the id of their memory; those of no length nothing. */
struct pm_digest pm_layout_id(const struct pm_region *region,
    uint32_t regions);

/*
 * Bytes that the slots take in a file; the last page of the region that
 * stands last in it may be a part of one.
 */
uint64_t pm_layout_bytes(const struct pm_layout *);

/* True when both hold the same pages in the same slots. */
int pm_layout_equal(const struct pm_layout *, const struct pm_layout *);

/* True when every slot that both have holds the same page. */
int pm_layout_agree(const struct pm_layout *, const struct pm_layout *);

#endif /* PM_LAYOUT_H */
