/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_pages.h - pages of a stream as records of RAM for QEMU.
 *
 *	RAW	PAGE
 *	ZERO	ZERO
 *	DELTA	XBZRLE, which QEMU applies to what it holds
 *	SAME	nothing: QEMU holds it
 *	GONE	nothing, or ZERO if QEMU holds something
 *
 * A delta against a page that was not sent is one against zeroes, and goes
 * as PAGE: memory that QEMU is given need not be zeroes.  The hash of every
 * page whose content is known here is remembered, so each record without
 * deltas is checked by its digest before any of it is written, and the id of
 * the memory is known while no page is a delta.
 */
#ifndef PM_QEMU_PAGES_H
#define PM_QEMU_PAGES_H

#include "bitmap.h"
#include "fault.h"
#include "qemu.h"
#include "qemu_memory.h"
#include "qemu_out.h"

struct pm_qemu_pages {
	struct pm_fault *fault;
	struct pm_qemu_memory memory;	/* what is not known is zeroes */
	struct pm_bitmap sent;		/* QEMU holds what the stream said */
	struct pm_bitmap unknown;	/* and that is not known here */
	uint64_t raw, delta, same, zero, gone;

	uint8_t *page;			/* those not sent as they came */
	struct pm_digest content[PM_PAYLOAD_MAX >> PM_PAGE_SHIFT_MIN];
};

/* For the blocks that were listed.  PM_ERR_SYSTEM; close in any case. */
enum pm_status pm_qemu_pages_open(struct pm_qemu_pages *,
    const struct pm_qemu *, struct pm_fault *);
void pm_qemu_pages_close(struct pm_qemu_pages *);

/* True unless all pages are GONE and QEMU was never told of any. */
int pm_qemu_pages_tell(const struct pm_qemu_pages *,
    const struct pm_record *, uint32_t block);

/* Write a record of pages of that block. */
enum pm_status pm_qemu_pages_put(struct pm_qemu_pages *, struct pm_qemu *,
    const struct pm_record *, uint32_t block, struct pm_qemu_out *);

/*
 * Pages that follow among foreign bytes may say that their block is that of
 * the page before, which QEMU may not have been told of: write a delta that
 * changes nothing of a page of it.  PM_ERR_REFUSED where there can be none.
 */
enum pm_status pm_qemu_pages_name(struct pm_qemu_pages *, struct pm_qemu *,
    struct pm_qemu_out *);

/* True when memory.id is that of the whole memory. */
static inline int
pm_qemu_pages_know(const struct pm_qemu_pages *pages)
{
	return pm_bitmap_count(&pages->unknown) == 0;
}

#endif /* PM_QEMU_PAGES_H */
