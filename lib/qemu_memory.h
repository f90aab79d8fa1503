/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_memory.h - what the blocks of a guest's RAM hold, by hashes.
 *
 * Blocks stand one after the other, so that each page has a number among
 * all.  The id follows every page; it is that of the whole memory.
 */
#ifndef PM_QEMU_MEMORY_H
#define PM_QEMU_MEMORY_H

#include "fault.h"
#include "ledger.h"
#include "older.h"
#include "qemu.h"
#include "table.h"

struct pm_qemu_memory {
	const struct pm_qemu *qemu;	/* its blocks */
	struct pm_fault *fault;
	uint64_t pages;
	uint64_t base[PM_REGIONS_MAX];	/* first page of each block */
	struct pm_ledger ledger;
	struct pm_digest id;
};

/*
 * The blocks that were listed, without content.  PM_ERR_SYSTEM; close in any
 * case.
 */
enum pm_status pm_qemu_memory_open(struct pm_qemu_memory *,
    const struct pm_qemu *, struct pm_fault *);
void pm_qemu_memory_close(struct pm_qemu_memory *);

/* A page now holds this.  *hash, if not NULL, is what it adds to the id. */
enum pm_status pm_qemu_memory_set(struct pm_qemu_memory *, uint32_t block,
    uint64_t page, struct pm_digest content, struct pm_digest *hash);

/*
 * Hold what a table knows, of blocks that there are; or make a table hold
 * what this does, one of the same regions that was begun.
 */
enum pm_status pm_qemu_memory_load(struct pm_qemu_memory *,
    struct pm_older *);
enum pm_status pm_qemu_memory_save(const struct pm_qemu_memory *,
    struct pm_table *);

/* The number of a page among all, and the hash of its content. */
static inline uint64_t
pm_qemu_memory_at(const struct pm_qemu_memory *memory, uint32_t block,
    uint64_t page)
{
	return memory->base[block] + page;
}

static inline struct pm_digest
pm_qemu_memory_get(const struct pm_qemu_memory *memory, uint32_t block,
    uint64_t page)
{
	return pm_ledger_get(&memory->ledger,
	    pm_qemu_memory_at(memory, block, page));
}

/* Pages of a block. */
static inline uint64_t
pm_qemu_memory_pages(const struct pm_qemu_memory *memory, uint32_t block)
{
	return memory->qemu->block[block].length >> memory->qemu->page_shift;
}

#endif /* PM_QEMU_MEMORY_H */
