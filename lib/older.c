/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "older.h"

enum pm_status
pm_older_open(struct pm_older *older, struct pm_source *base,
    struct pm_table *since)
{
	*older = (struct pm_older){ .base = base, .since = since };
	if (base != NULL && (older->buf = pm_record_buffer()) == NULL)
		return PM_ERR_SYSTEM;
	return PM_OK;
}

void
pm_older_close(struct pm_older *older)
{
	free(older->buf);
	older->buf = NULL;
}

int
pm_older_is_empty(const struct pm_older *older)
{
	return older->base == NULL && (older->since == NULL ||
	    pm_digest_is_zero(older->since->id));
}

unsigned
pm_older_page_shift(const struct pm_older *older, unsigned otherwise)
{
	return older->base != NULL ? older->base->page_shift :
	    older->since != NULL ? older->since->layout->page_shift :
	    otherwise;
}

const struct pm_region *
pm_older_regions(const struct pm_older *older, uint32_t *regions)
{
	*regions = older->base != NULL ? older->base->regions :
	    older->since != NULL ? older->since->layout->regions : 0;
	return older->base != NULL ? older->base->region :
	    older->since != NULL ? older->since->layout->region : NULL;
}

uint32_t
pm_older_region(const struct pm_older *older, uint64_t key)
{
	uint32_t regions;
	const struct pm_region *region = pm_older_regions(older, &regions);

	for (uint32_t i = 0; i < regions; i++)
		if (region[i].key == key)
			return i;
	return UINT32_MAX;
}

enum pm_status
pm_older_span(struct pm_older *older, uint32_t region, uint64_t page,
    int *data, uint64_t *pages)
{
	uint32_t regions;
	const struct pm_region *all = pm_older_regions(older, &regions);
	struct pm_span span;
	enum pm_status status;
	uint64_t end;

	*data = 0;
	*pages = UINT64_MAX;
	if (region >= regions)
		return PM_OK;
	end = pm_region_pages(all[region].length,
	    pm_older_page_shift(older, 0));
	if (page >= end)
		return PM_OK;
	if (older->base == NULL)
		return pm_table_span(older->since, region, page, data, pages);
	status = older->base->ops->span(older->base, region, page, &span);
	*data = span.kind == PM_SPAN_DATA;
	*pages = span.pages < end - page ? span.pages : end - page;
	return status;
}

enum pm_status
pm_older_read(struct pm_older *older, uint32_t region, uint64_t page,
    uint32_t pages)
{
	unsigned shift = pm_older_page_shift(older, 0);
	enum pm_status status;
	uint32_t got = 0;

	older->region = region;
	older->page = page;
	if (older->base == NULL)
		return PM_OK;
	status = older->base->ops->read(older->base, region, page, pages,
	    older->buf, &got);
	/* What cannot be read of it counts as zeroes, as its id does. */
	memset(older->buf + ((size_t)got << shift), 0,
	    (size_t)(pages - got) << shift);
	return status;
}

enum pm_status
pm_older_content(struct pm_older *older, uint64_t page, const uint8_t *new,
    struct pm_digest content, struct pm_digest *was)
{
	size_t page_size = (size_t)1 << pm_older_page_shift(older, 0);
	struct pm_place place;
	const uint8_t *old;

	*was = (struct pm_digest){ 0, 0 };
	if (older->base == NULL) {
		place = pm_layout_find(older->since->layout, older->region,
		    page);
		return place.held ? pm_table_get(older->since, place.slot,
		    was) : PM_OK;
	}
	old = older->buf + (page - older->page) * page_size;
	/* To compare is faster than to hash. */
	*was = new != NULL && memcmp(new, old, page_size) == 0 ? content
	    : pm_hash_content(old, page_size);
	return PM_OK;
}
