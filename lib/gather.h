/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gather.h - pages put into records, in ascending order, and written.
 *
 * Pages with content are read straight into the payload of the record that
 * will carry them; those that are not sent are closed up in place.
 */
#ifndef PM_GATHER_H
#define PM_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "stream.h"

struct pm_gather {
	struct pm_writer *out;
	struct pm_record *rec;
	uint32_t record_size;		/* bytes of payload; whole pages */
	size_t page_size;
	uint32_t region;		/* of the pages that come next */

	uint64_t raw, zero, gone;	/* pages */
	uint64_t blocked_us;		/* waiting for the reader */
};

/* Write the record as it is; the caller filled it and clears it. */
enum pm_status pm_gather_put(struct pm_gather *);

/* Write what was gathered, if anything; another region may come then. */
enum pm_status pm_gather_flush(struct pm_gather *);

/* Where to read pages to, and how many at most. */
enum pm_status pm_gather_room(struct pm_gather *, uint8_t **to,
    uint32_t *pages);

/*
 * Add a page that was read there, which adds hash to the digest; or a run,
 * ZERO or GONE, which may be of any length.
 */
enum pm_status pm_gather_page(struct pm_gather *, uint64_t page,
    const uint8_t *from, struct pm_digest hash);
enum pm_status pm_gather_run(struct pm_gather *, enum pm_kind,
    uint64_t page, uint64_t pages);

#endif /* PM_GATHER_H */
