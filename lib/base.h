/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * base.h - what a target held before a stream, from a file.
 *
 * A base is an image or core file, and one bit for each of its pages: a
 * page that passed has changed since, so the file no longer shows what the
 * target holds.  The file must not change while it is open.  Regions are
 * known by their numbers in the file; pm_base_region finds them.
 */
#ifndef PM_BASE_H
#define PM_BASE_H

#include <stdint.h>

#include "fault.h"
#include "image.h"
#include "record.h"

struct pm_base {
	struct pm_image image;
	uint64_t slots;			/* of the layout, within the file */
	uint8_t *passed;		/* a bit for each */

	/* The pages of the file that were read last, all in one extent. */
	uint8_t *window;		/* PM_PAYLOAD_MAX bytes */
	uint64_t slot;
	uint32_t pages;
};

/*
 * Open path; a raw image is laid out as the regions were at "from" if any
 * had a length there, and as they are at "to" if not.  The file and all
 * memory are released by close, after a failure too; a base of all zeroes
 * may be closed.
 */
enum pm_status pm_base_open(struct pm_base *, const char *path,
    const struct pm_region *region, uint32_t regions, unsigned page_shift,
    struct pm_fault *);
void pm_base_close(struct pm_base *);

/* The number of the region with that key; UINT32_MAX, which has no pages. */
uint32_t pm_base_region(const struct pm_base *, uint64_t key);

/* True when the file shows what the target holds there. */
int pm_base_holds(const struct pm_base *, uint32_t region, uint64_t page);

/*
 * The content of a page that the base holds, until the next call.  Unless
 * it was read already, as many of the pages from there on as are held, up
 * to most, are read at once.
 */
enum pm_status pm_base_read(struct pm_base *, uint32_t region, uint64_t page,
    uint32_t most, const uint8_t **content);

/* Pages have passed, whether the file has them or not. */
void pm_base_pass(struct pm_base *, uint32_t region, uint64_t page,
    uint64_t pages);

#endif /* PM_BASE_H */
