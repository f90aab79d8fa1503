/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_NORESERVE */
#include <sys/mman.h>

#include "ledger.h"

#define LEAF_BYTES	(PM_LEDGER_LEAF * sizeof(struct pm_digest))

/* Zeroes of the kernel's, which take room page by page as they are written. */
static void *
take(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	(void)madvise(at, size, MADV_NOHUGEPAGE);
	return at;
}

static size_t
leaves(const struct pm_ledger *ledger)
{
	return (size_t)(ledger->pages / PM_LEDGER_LEAF + 1);
}

enum pm_status
pm_ledger_open(struct pm_ledger *ledger, uint64_t pages)
{
	*ledger = (struct pm_ledger){ .pages = pages };
	if (pm_bitmap_open(&ledger->held, pages) != PM_OK)
		return PM_ERR_SYSTEM;
	ledger->leaf = take(leaves(ledger) * sizeof(ledger->leaf[0]));
	return ledger->leaf != NULL ? PM_OK : PM_ERR_SYSTEM;
}

void
pm_ledger_close(struct pm_ledger *ledger)
{
	uint64_t at = 0;

	for (; ledger->leaf != NULL && at < leaves(ledger); at++)
		if (ledger->leaf[at] != NULL)
			munmap(ledger->leaf[at], LEAF_BYTES);
	if (ledger->leaf != NULL)
		munmap(ledger->leaf, leaves(ledger) *
		    sizeof(ledger->leaf[0]));
	pm_bitmap_close(&ledger->held);
	*ledger = (struct pm_ledger){ 0 };
}

enum pm_status
pm_ledger_set(struct pm_ledger *ledger, uint64_t page,
    struct pm_digest content)
{
	struct pm_digest **leaf = &ledger->leaf[page / PM_LEDGER_LEAF];

	if (pm_digest_is_zero(content)) {
		pm_bitmap_clear(&ledger->held, page);
		return PM_OK;
	}
	if (*leaf == NULL && (*leaf = take(LEAF_BYTES)) == NULL)
		return PM_ERR_SYSTEM;
	(*leaf)[page % PM_LEDGER_LEAF] = content;
	pm_bitmap_set(&ledger->held, page);
	return PM_OK;
}
