/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * outline.h - what a stream says of its memory besides pages.
 *
 * The STREAM record, the regions, and the mappings of a process, of which a
 * later list replaces the one before.  From them follows where the pages
 * stand in an image or core file.
 */
#ifndef PM_OUTLINE_H
#define PM_OUTLINE_H

#include <stdint.h>

#include "fault.h"
#include "layout.h"
#include "maplist.h"
#include "record.h"

struct pm_outline {
	struct pm_fault *fault;
	struct pm_stream stream;
	struct pm_region *region;	/* PM_REGIONS_MAX */
	uint32_t regions;
	struct pm_maplist list;		/* of the process, if it is one */
	int listing;			/* the record before was a mapping, so
					   that list may still grow */
};

/* PM_ERR_SYSTEM for want of memory; close in any case. */
enum pm_status pm_outline_open(struct pm_outline *, struct pm_fault *);
void pm_outline_close(struct pm_outline *);

/*
 * Take the next record, of whatever type, as a reader gave it.  PM_ERR_CORRUPT
 * for a list that descends, overlaps or is too long.
 */
enum pm_status pm_outline_take(struct pm_outline *, const struct pm_record *);

int pm_outline_is_process(const struct pm_outline *);

/*
 * The layout of the file that the memory makes, or NULL with *status:
 * PM_ERR_REFUSED for a process beside other regions or without mappings,
 * PM_ERR_CORRUPT when a mapping lies outside of it.
 */
struct pm_layout *pm_outline_layout(const struct pm_outline *,
    enum pm_status *status);

/*
 * The number of the region of that name which is a block of memory and not
 * gone.  PM_ERR_MISMATCH, naming those that there are; PM_ERR_REFUSED for a
 * process.
 */
enum pm_status pm_outline_choose(const struct pm_outline *, const char *name,
    uint32_t *region);

#endif /* PM_OUTLINE_H */
