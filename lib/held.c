/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "held.h"

static enum pm_status
no_memory(struct pm_fault *fault, const char *what)
{
	errno = ENOMEM;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s: %s", what,
	    strerror(ENOMEM));
}

enum pm_status
pm_held_open(struct pm_held *held, const char *base_path,
    struct pm_fault *fault)
{
	*held = (struct pm_held){ .base_path = base_path };
	held->region = calloc(PM_REGIONS_MAX, sizeof(held->region[0]));
	held->in_base = calloc(PM_REGIONS_MAX, sizeof(held->in_base[0]));
	return held->region != NULL && held->in_base != NULL ? PM_OK
	    : no_memory(fault, "regions");
}

void
pm_held_close(struct pm_held *held)
{
	pm_pagecache_free(held->cache);
	pm_base_close(&held->base);
	free(held->region);
	free(held->in_base);
	*held = (struct pm_held){ .cache = NULL };
}

enum pm_status
pm_held_begin_stream(struct pm_held *held, unsigned page_shift,
    struct pm_fault *fault)
{
	if (held->page_shift != 0 && held->page_shift != page_shift)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "pages of %u bytes follow pages of %u", 1u << page_shift,
		    1u << held->page_shift);
	held->page_shift = page_shift;
	held->regions = 0;
	held->remembers = 0;
	return PM_OK;
}

enum pm_status
pm_held_set_cache(struct pm_held *held, uint32_t slots, int goes_on,
    struct pm_fault *fault)
{
	if (held->cache == NULL || held->slots != slots) {
		pm_pagecache_free(held->cache);
		held->cache = pm_pagecache_new(slots, held->page_shift);
		held->slots = slots;
	} else if (!goes_on)
		pm_pagecache_clear(held->cache);
	if (held->cache == NULL)
		return no_memory(fault, "page cache");
	held->remembers = 1;
	pm_pagecache_begin_round(held->cache);
	return PM_OK;
}

/* Pages behind the new end are no more; if they come again, as zeroes. */
static void
forget_behind(struct pm_held *held, uint32_t number)
{
	const struct pm_region *region = &held->region[number];
	uint64_t end = pm_region_pages(region->length, held->page_shift);
	uint64_t key, page;

	if (region->length >= region->old_length)
		return;
	if (held->base_is_open)
		pm_base_pass(&held->base, held->in_base[number], end,
		    UINT64_MAX - end);
	for (uint32_t at = 0; held->remembers &&
	    at < pm_pagecache_slots(held->cache); at++)
		if (pm_pagecache_at(held->cache, at, &key, &page) != NULL &&
		    key == region->key && page >= end)
			pm_pagecache_remove(held->cache, key, page);
}

enum pm_status
pm_held_learn_region(struct pm_held *held, const struct pm_record *rec,
    struct pm_fault *fault)
{
	struct pm_region *region = &held->region[held->regions];
	enum pm_status status;

	if (rec->region != held->regions || held->regions == PM_REGIONS_MAX)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "regions are not numbered in order");
	status = pm_region_unpack(region, rec, held->page_shift, fault);
	if (status != PM_OK)
		return status;
	if (held->base_is_open)
		held->in_base[held->regions] = pm_base_region(&held->base,
		    region->key);
	forget_behind(held, held->regions);
	held->regions++;
	return PM_OK;
}

enum pm_status
pm_held_open_base(struct pm_held *held, struct pm_fault *fault)
{
	enum pm_status status;

	if (held->base_is_open || held->base_path == NULL)
		return PM_OK;
	status = pm_base_open(&held->base, held->base_path, held->region,
	    held->regions, held->page_shift, fault);
	if (status != PM_OK)
		return status;
	held->base_is_open = 1;
	for (uint32_t i = 0; i < held->regions; i++) {
		held->in_base[i] = pm_base_region(&held->base,
		    held->region[i].key);
		forget_behind(held, i);
	}
	return PM_OK;
}

void
pm_held_begin_round(struct pm_held *held)
{
	if (held->remembers)
		pm_pagecache_begin_round(held->cache);
}

uint64_t
pm_held_key(const struct pm_held *held, const struct pm_record *rec)
{
	return held->region[rec->region].key;
}

static void
pass_base(struct pm_held *held, const struct pm_record *rec, uint64_t page,
    uint64_t pages)
{
	if (held->base_is_open)
		pm_base_pass(&held->base, held->in_base[rec->region], page,
		    pages);
}

static int
is_blank(struct pm_entry entry)
{
	return pm_entry_kind(entry) == PM_ZERO ||
	    pm_entry_kind(entry) == PM_GONE;
}

/* True when the page lies in a run of ZERO or GONE. */
static int
became_blank(const struct pm_record *rec, uint64_t page)
{
	uint32_t low = 0, high = rec->entries;
	struct pm_entry entry;

	/* The first entry that begins behind the page. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (rec->first + rec->entry[middle].page <= page)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return 0;
	entry = rec->entry[low - 1];
	return is_blank(entry) &&
	    page - rec->first - entry.page < pm_entry_pages(entry);
}

static void
blank_run(struct pm_held *held, const struct pm_record *rec, uint64_t page,
    uint32_t pages)
{
	for (; pages > 0; page++, pages--) {
		uint8_t *content = pm_pagecache_find(held->cache,
		    pm_held_key(held, rec), page);

		if (content != NULL)
			memset(content, 0, (size_t)1 << held->page_shift);
	}
}

/* The same for all runs of a record at once, by what the cache holds. */
static void
blank_cached(struct pm_held *held, const struct pm_record *rec)
{
	uint32_t slots = pm_pagecache_slots(held->cache);
	uint64_t key, page;

	for (uint32_t at = 0; at < slots; at++) {
		uint8_t *content = pm_pagecache_at(held->cache, at, &key,
		    &page);

		if (content != NULL && key == pm_held_key(held, rec) &&
		    became_blank(rec, page))
			memset(content, 0, (size_t)1 << held->page_shift);
	}
}

void
pm_held_take_runs(struct pm_held *held, const struct pm_record *rec)
{
	uint64_t pages = 0;
	int by_run;

	for (uint32_t i = 0; i < rec->entries; i++)
		if (is_blank(rec->entry[i]))
			pages += pm_entry_pages(rec->entry[i]);
	if (pages == 0)
		return;
	/* A run may be far longer than the cache. */
	by_run = held->remembers && pages <= pm_pagecache_slots(held->cache);
	if (held->remembers && !by_run)
		blank_cached(held, rec);
	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];
		uint64_t page = rec->first + entry.page;

		if (!is_blank(entry))
			continue;
		pass_base(held, rec, page, pm_entry_pages(entry));
		if (by_run)
			blank_run(held, rec, page, pm_entry_pages(entry));
	}
}

void
pm_held_forget(struct pm_held *held, const struct pm_record *rec)
{
	for (uint32_t i = 0; i < rec->entries; i++) {
		uint64_t page = rec->first + rec->entry[i].page;

		if (!pm_entry_has_payload(rec->entry[i]))
			continue;
		pass_base(held, rec, page, 1);
		if (held->remembers)
			pm_pagecache_remove(held->cache,
			    pm_held_key(held, rec), page);
	}
}

int
pm_held_look_up(struct pm_held *held, const struct pm_record *rec,
    uint64_t page, struct pm_known *known)
{
	known->cached = pm_pagecache_use(held->cache, pm_held_key(held, rec),
	    page);
	known->in_base = known->cached == NULL && held->base_is_open &&
	    pm_base_holds(&held->base, held->in_base[rec->region], page);
	return known->cached != NULL || known->in_base;
}

enum pm_status
pm_held_read(struct pm_held *held, const struct pm_record *rec,
    uint64_t page, uint32_t ahead, const struct pm_known *known,
    const uint8_t **content)
{
	*content = known->cached;
	if (known->cached != NULL)
		return PM_OK;
	return pm_base_read(&held->base, held->in_base[rec->region], page,
	    ahead, content);
}

void
pm_held_remember(struct pm_held *held, const struct pm_record *rec,
    uint64_t page, const struct pm_known *known, const uint8_t *content)
{
	uint8_t *cached = known->cached;
	int evicted = 0;

	if (cached == NULL) {
		pass_base(held, rec, page, 1);
		cached = pm_pagecache_admit(held->cache,
		    pm_held_key(held, rec), page, &evicted);
	}
	if (cached != NULL)
		memcpy(cached, content, (size_t)1 << held->page_shift);
	held->evictions += (uint64_t)evicted;
}
