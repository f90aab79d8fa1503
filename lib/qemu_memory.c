/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "layout.h"
#include "qemu_memory.h"

static enum pm_status
fail(struct pm_qemu_memory *memory)
{
	return pm_fault_set(memory->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

enum pm_status
pm_qemu_memory_open(struct pm_qemu_memory *memory,
    const struct pm_qemu *qemu, struct pm_fault *fault)
{
	*memory = (struct pm_qemu_memory){ .qemu = qemu, .fault = fault };
	for (uint32_t i = 0; i < qemu->blocks; i++) {
		memory->base[i] = memory->pages;
		memory->pages += pm_qemu_memory_pages(memory, i);
	}
	memory->id = pm_layout_id(qemu->block, qemu->blocks);
	return pm_ledger_open(&memory->ledger, memory->pages) == PM_OK
	    ? PM_OK : fail(memory);
}

void
pm_qemu_memory_close(struct pm_qemu_memory *memory)
{
	pm_ledger_close(&memory->ledger);
}

enum pm_status
pm_qemu_memory_set(struct pm_qemu_memory *memory, uint32_t block,
    uint64_t page, struct pm_digest content, struct pm_digest *hash)
{
	uint64_t key = memory->qemu->block[block].key;
	struct pm_digest is = pm_hash_page(content, key, page);

	memory->id = pm_digest_add(memory->id, pm_digest_subtract(is,
	    pm_hash_page(pm_qemu_memory_get(memory, block, page), key,
	    page)));
	if (hash != NULL)
		*hash = is;
	return pm_ledger_set(&memory->ledger, pm_qemu_memory_at(memory, block,
	    page), content) == PM_OK ? PM_OK : fail(memory);
}

/* Pages of which all or none may have content in the table. */
static enum pm_status
load_span(struct pm_qemu_memory *memory, struct pm_older *older,
    uint32_t old, uint32_t block, uint64_t page, uint64_t pages)
{
	enum pm_status status = PM_OK;
	struct pm_digest was;

	for (; pages > 0 && status == PM_OK; page++, pages--) {
		status = pm_older_hash(older, old, page, &was);
		if (status == PM_OK)
			status = pm_qemu_memory_set(memory, block, page, was,
			    NULL);
	}
	return status;
}

enum pm_status
pm_qemu_memory_load(struct pm_qemu_memory *memory, struct pm_older *older)
{
	enum pm_status status = PM_OK;

	for (uint32_t i = 0; i < memory->qemu->blocks; i++) {
		uint64_t end = pm_qemu_memory_pages(memory, i), now;
		uint32_t old = pm_older_region(older,
		    memory->qemu->block[i].key);
		int data;

		for (uint64_t page = 0; page < end && status == PM_OK;
		    page += now) {
			status = pm_older_span(older, old, page, &data, &now);
			if (now > end - page)
				now = end - page;
			if (status == PM_OK && data)
				status = load_span(memory, older, old, i,
				    page, now);
		}
	}
	return status;
}

enum pm_status
pm_qemu_memory_save(const struct pm_qemu_memory *memory,
    struct pm_table *table)
{
	const struct pm_ledger *ledger = &memory->ledger;
	enum pm_status status = PM_OK;

	for (uint32_t i = 0; i < memory->qemu->blocks; i++) {
		uint64_t base = pm_qemu_memory_at(memory, i, 0);
		uint64_t end = base + pm_qemu_memory_pages(memory, i);

		for (uint64_t at = base; (at = pm_bitmap_next(&ledger->held,
		    at, end)) < end && status == PM_OK; at++)
			status = pm_table_set(table, pm_layout_find(
			    table->layout, i, at - base).slot,
			    pm_ledger_get(ledger, at));
	}
	return status;
}
