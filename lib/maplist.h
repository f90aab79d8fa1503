/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * maplist.h - a list of mappings that owns their names.
 */
#ifndef PM_MAPLIST_H
#define PM_MAPLIST_H

#include <stddef.h>

#include "layout.h"
#include "record.h"

#define PM_MAPLIST_BYTES	(64u << 20)	/* of one list, names and all */

/* All zero is an empty list. */
struct pm_maplist {
	size_t count, room, bytes;
	struct pm_mapping *mapping;
};

/*
 * Append a copy.  PM_ERR_CORRUPT when the list descends or overlaps or is
 * too large, PM_ERR_SYSTEM for want of memory.
 */
enum pm_status pm_maplist_add(struct pm_maplist *, const struct pm_mapping *);

/* Forget all, and release it. */
void pm_maplist_clear(struct pm_maplist *);

/*
 * The layout of a process whose region and mappings these are: an extent
 * for each that is carried.  NULL with errno when memory ran out or a
 * mapping lies outside the region (EINVAL).
 */
struct pm_layout *pm_maplist_layout(const struct pm_mapping *mapping,
    size_t mappings, const struct pm_region *region, unsigned page_shift);

#endif /* PM_MAPLIST_H */
