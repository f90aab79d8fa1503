/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resolve.h - what the pages of a record are, before one of them is written.
 *
 * Deltas are undone against what the target holds, and the digest of the
 * record is compared.  Old pages leave the id of the target on the way, and
 * new ones come into it.
 */
#ifndef PM_RESOLVE_H
#define PM_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "stream.h"
#include "target.h"

/*
 * Pages between two that are read with them and may be written with them
 * again: half as many calls, and pieces on the disk, for twice the bytes.
 */
#define PM_RESOLVE_GAP	1u

struct pm_resolve {
	const struct pm_region *region;	/* of the stream */
	struct pm_target *target;
	struct pm_fault *fault;
	size_t page_size;		/* of the stream, set by the caller */
	uint8_t *old;			/* pages as the target holds them, */
	uint32_t old_pages;		/* so many, of this record */
	uint8_t *new;			/* pages of a record with deltas */
	const uint8_t *pages;		/* RAW and DELTA of the record, in
					   order: its payload, or new; */
	struct pm_digest content[PM_PAYLOAD_MAX >> PM_PAGE_SHIFT_MIN];
					/* the hash of each; */
	uint32_t old_at[PM_PAYLOAD_MAX >> PM_PAGE_SHIFT_MIN];
					/* and where it stands in old */
};

/* PM_ERR_SYSTEM for want of memory; close in any case. */
enum pm_status pm_resolve_open(struct pm_resolve *, const struct pm_region *,
    struct pm_target *, struct pm_fault *);
void pm_resolve_close(struct pm_resolve *);

/* Work out and check every page with content; nothing is written. */
enum pm_status pm_resolve_record(struct pm_resolve *,
    const struct pm_record *);

/*
 * What the target holds in the gap, of so many pages, before a page of the
 * record, if that was read and is not zero; built is that page's place among
 * RAW and DELTA.  NULL otherwise.
 */
uint8_t *pm_resolve_gap(const struct pm_resolve *, uint32_t built,
    uint64_t gap);

/* True when the page was never written: what stands there is no news. */
int pm_resolve_is_virgin(const struct pm_resolve *, uint32_t region,
    uint64_t page);

/*
 * An old page, of that content, leaves the id if leaves says so.  Where
 * there is a table it must be the page that the table knows: else somebody
 * changed it behind our back, PM_ERR_MISMATCH.
 */
enum pm_status pm_resolve_forget(struct pm_resolve *,
    const struct pm_record *, uint64_t page, struct pm_digest content,
    int leaves);

#endif /* PM_RESOLVE_H */
