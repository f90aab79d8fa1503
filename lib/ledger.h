/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ledger.h - what a stream has said of each page so far, by its hash.
 *
 * Sixteen bytes for each page with content and a bit for each, in memory
 * that is taken as pages come, so a large and mostly empty address space
 * costs what is in it.  Hashes are those of content alone, as page tables
 * remember them.
 */
#ifndef PM_LEDGER_H
#define PM_LEDGER_H

#include <stdint.h>

#include "bitmap.h"
#include "hash.h"

#define PM_LEDGER_LEAF	32768u		/* pages that memory is taken for */

struct pm_ledger {
	uint64_t pages;
	struct pm_digest **leaf;	/* of so many pages each, or NULL */
	struct pm_bitmap held;		/* pages with content */
};

/* Of so many pages, all without content.  PM_ERR_SYSTEM with errno. */
enum pm_status pm_ledger_open(struct pm_ledger *, uint64_t pages);
void pm_ledger_close(struct pm_ledger *);

/* The hash of a page; 0 for one without content. */
static inline struct pm_digest
pm_ledger_get(const struct pm_ledger *ledger, uint64_t page)
{
	if (!pm_bitmap_test(&ledger->held, page))
		return (struct pm_digest){ 0, 0 };
	return ledger->leaf[page / PM_LEDGER_LEAF][page % PM_LEDGER_LEAF];
}

/* PM_ERR_SYSTEM for want of memory, with errno. */
enum pm_status pm_ledger_set(struct pm_ledger *, uint64_t page,
    struct pm_digest content);

#endif /* PM_LEDGER_H */
