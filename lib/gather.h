/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gather.h - pages put into records, in ascending order, and written.
 *
 * Pages with content are copied into the record that will carry them, or,
 * where they fill one, are written from where they are.
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

/*
 * Add a page of that content, which adds hash to the digest; or a run, ZERO
 * or GONE, which may be of any length.
 */
enum pm_status pm_gather_page(struct pm_gather *, uint64_t page,
    const uint8_t *content, struct pm_digest hash);
enum pm_status pm_gather_run(struct pm_gather *, enum pm_kind,
    uint64_t page, uint64_t pages);

/*
 * The same for pages that follow each other, with the hash of each; they are
 * only read.
 */
enum pm_status pm_gather_pages(struct pm_gather *, uint64_t page,
    uint32_t pages, uint8_t *content, const struct pm_digest *hash);

#endif /* PM_GATHER_H */
