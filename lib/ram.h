/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ram.h - which pages of a source are the memory of a guest.
 *
 * Whoever speaks of a guest's pages counts them from the first to the last,
 * in one line.  In a source they stand in a region, or in mappings of the
 * process that runs the guest.
 */
#ifndef PM_RAM_H
#define PM_RAM_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "source.h"

/* Pages that follow each other in both. */
struct pm_ram_piece {
	uint32_t region;	/* of the source */
	uint64_t page, pages;	/* of that region; at least one */
	uint64_t at;		/* number of its first page in the line */
};

struct pm_ram {
	size_t pieces;
	struct pm_ram_piece *piece;	/* ascending by at, without gaps */
	uint64_t pages;			/* of the line */
};

/*
 * Of a source with mappings, a process or its core file: all that are
 * carried, one after the other.  They come in the order of their offsets if
 * all of them map different parts of one file by name, and else by address.
 * It has no regions to choose from, so the name must be NULL.
 *
 * Of any other: the region of that name, or the first of those with most
 * pages if it is NULL.
 *
 * PM_ERR_REFUSED for a name that it does not have, with those that it has;
 * PM_ERR_SYSTEM without memory.  Nothing is to be closed then.
 */
enum pm_status pm_ram_open(struct pm_ram *, const struct pm_source *,
    const char *region, struct pm_fault *);
void pm_ram_close(struct pm_ram *);

/* The piece that has that page of the line; NULL behind the last. */
const struct pm_ram_piece *pm_ram_find(const struct pm_ram *, uint64_t at);

#endif /* PM_RAM_H */
