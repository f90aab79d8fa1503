/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "older.h"

void
pm_older_open(struct pm_older *older, struct pm_source *base,
    struct pm_table *since)
{
	*older = (struct pm_older){ .base = base, .since = since };
	/* It keeps its place apart, where others look up hashes. */
	if (since != NULL)
		older->ahead = *since;
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
		return pm_table_span(&older->ahead, region, page, data, pages);
	status = older->base->ops->span(older->base, region, page, &span);
	*data = span.kind == PM_SPAN_DATA;
	*pages = span.pages < end - page ? span.pages : end - page;
	return status;
}

enum pm_status
pm_older_read(const struct pm_older *older, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, struct pm_fault *fault)
{
	unsigned shift = older->base->page_shift;
	enum pm_status status;
	uint32_t got = 0;

	status = older->base->ops->read(older->base, region, page, pages, out,
	    &got, fault);
	memset(out + ((size_t)got << shift), 0,
	    (size_t)(pages - got) << shift);
	return status;
}

enum pm_status
pm_older_hash(const struct pm_older *older, uint32_t region, uint64_t page,
    struct pm_digest *was)
{
	struct pm_place place = pm_layout_find(older->since->layout, region,
	    page);

	*was = (struct pm_digest){ 0, 0 };
	return place.held ? pm_table_get(older->since, place.slot, was)
	    : PM_OK;
}
