/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "layout.h"

#define NO_SLOT		UINT64_MAX

struct pm_layout *
pm_layout_new(unsigned page_shift)
{
	struct pm_layout *layout = calloc(1, sizeof(*layout));

	if (layout != NULL)
		layout->page_shift = page_shift;
	return layout;
}

void
pm_layout_free(struct pm_layout *layout)
{
	if (layout == NULL)
		return;
	free(layout->region);
	free(layout->extent);
	free(layout);
}

enum pm_status
pm_layout_add_region(struct pm_layout *layout, const struct pm_region *region)
{
	if (layout->regions == PM_REGIONS_MAX)
		return PM_ERR_CORRUPT;
	if (layout->region == NULL && (layout->region =
	    calloc(PM_REGIONS_MAX, sizeof(layout->region[0]))) == NULL)
		return PM_ERR_SYSTEM;
	layout->region[layout->regions++] = *region;
	return PM_OK;
}

static enum pm_status
make_room(struct pm_layout *layout)
{
	size_t room = layout->room == 0 ? 64 : layout->room * 2;
	struct pm_extent *extent;

	if (layout->extents < layout->room)
		return PM_OK;
	extent = realloc(layout->extent, room * sizeof(extent[0]));
	if (extent == NULL)
		return PM_ERR_SYSTEM;
	layout->extent = extent;
	layout->room = room;
	return PM_OK;
}

enum pm_status
pm_layout_add_extent(struct pm_layout *layout, uint32_t region,
    uint64_t first, uint64_t pages)
{
	uint64_t end, most = (uint64_t)INT64_MAX >> layout->page_shift;
	const struct pm_extent *last;
	enum pm_status status;

	if (region >= layout->regions || pages == 0 ||
	    layout->extents > PM_MAPPINGS_MAX)
		return PM_ERR_CORRUPT;
	end = pm_region_pages(layout->region[region].length,
	    layout->page_shift);
	if (first > end || pages > end - first ||
	    pages > most - layout->slots)
		return PM_ERR_CORRUPT;
	if (layout->extents > 0) {
		last = &layout->extent[layout->extents - 1];
		if (region < last->region || (region == last->region &&
		    first < last->first + last->pages))
			return PM_ERR_CORRUPT;
	}
	if ((status = make_room(layout)) != PM_OK)
		return status;
	layout->extent[layout->extents++] = (struct pm_extent){
		region, first, pages, layout->slots,
	};
	layout->slots += pages;
	return PM_OK;
}

struct pm_layout *
pm_layout_of_blocks(const struct pm_region *region, uint32_t regions,
    unsigned page_shift, int old)
{
	struct pm_layout *layout = pm_layout_new(page_shift);
	enum pm_status status = layout != NULL ? PM_OK : PM_ERR_SYSTEM;

	for (uint32_t i = 0; status == PM_OK && i < regions; i++) {
		struct pm_region one = region[i];

		if (old)
			one.length = one.old_length;
		status = pm_layout_add_region(layout, &one);
		if (status == PM_OK && one.length > 0)
			status = pm_layout_add_extent(layout, i, 0,
			    pm_region_pages(one.length, page_shift));
	}
	if (status == PM_OK)
		return layout;
	pm_layout_free(layout);
	if (status == PM_ERR_CORRUPT)
		errno = EFBIG;
	return NULL;
}

void
pm_layout_lead(struct pm_layout *layout, uint32_t region)
{
	uint64_t slot = 0;

	for (size_t i = 0; i < layout->extents; i++)
		if (layout->extent[i].region == region) {
			layout->extent[i].slot = slot;
			slot += layout->extent[i].pages;
		}
	for (size_t i = 0; i < layout->extents; i++)
		if (layout->extent[i].region != region) {
			layout->extent[i].slot = slot;
			slot += layout->extent[i].pages;
		}
}

struct pm_layout *
pm_layout_copy(const struct pm_layout *from)
{
	struct pm_layout *copy = pm_layout_new(from->page_shift);
	enum pm_status status = copy != NULL ? PM_OK : PM_ERR_SYSTEM;

	for (uint32_t i = 0; status == PM_OK && i < from->regions; i++)
		status = pm_layout_add_region(copy, &from->region[i]);
	for (size_t i = 0; status == PM_OK && i < from->extents; i++)
		if ((status = make_room(copy)) == PM_OK)
			copy->extent[copy->extents++] = from->extent[i];
	if (status == PM_OK) {
		copy->slots = from->slots;
		return copy;
	}
	pm_layout_free(copy);
	return NULL;
}

/* The parts of an extent of wants: kept where they are, or of no slot yet. */
static enum pm_status
add_parts(struct pm_layout *layout, const struct pm_layout *now,
    const struct pm_extent *wants)
{
	uint64_t pages;

	for (uint64_t at = 0; at < wants->pages; at += pages) {
		struct pm_place place = pm_layout_find(now, wants->region,
		    wants->first + at);
		enum pm_status status = make_room(layout);

		if (status != PM_OK)
			return status;
		if (layout->extents == PM_MAPPINGS_MAX)
			return PM_ERR_CORRUPT;
		pages = wants->pages - at;
		if (place.pages < pages)
			pages = place.pages;
		layout->extent[layout->extents++] = (struct pm_extent){
			wants->region, wants->first + at, pages,
			place.held ? place.slot : NO_SLOT,
		};
		if (place.held && place.slot + pages > layout->slots)
			layout->slots = place.slot + pages;
	}
	return PM_OK;
}

/*
 * Give slots to the parts that have none, and make one of those within an
 * extent of wants that stand one behind the other.
 */
static enum pm_status
join_parts(struct pm_layout *layout, const struct pm_layout *wants)
{
	uint64_t most = (uint64_t)INT64_MAX >> layout->page_shift;
	size_t kept = 0, begun = 0;

	for (size_t i = 0; i < layout->extents; i++) {
		struct pm_extent part = layout->extent[i];
		struct pm_extent *last = &layout->extent[kept];

		if (part.slot == NO_SLOT) {
			if (part.pages > most - layout->slots)
				return PM_ERR_CORRUPT;
			part.slot = layout->slots;
			layout->slots += part.pages;
		}
		if (begun < wants->extents &&
		    part.region == wants->extent[begun].region &&
		    part.first == wants->extent[begun].first) {
			begun++;
			layout->extent[kept++] = part;
		} else if (last[-1].slot + last[-1].pages == part.slot)
			last[-1].pages += part.pages;
		else
			layout->extent[kept++] = part;
	}
	layout->extents = kept;
	return PM_OK;
}

struct pm_layout *
pm_layout_remap(const struct pm_layout *now, const struct pm_layout *wants)
{
	struct pm_layout *layout = pm_layout_new(wants->page_shift);
	enum pm_status status = layout != NULL ? PM_OK : PM_ERR_SYSTEM;

	for (uint32_t i = 0; status == PM_OK && i < wants->regions; i++)
		status = pm_layout_add_region(layout, &wants->region[i]);
	for (size_t i = 0; status == PM_OK && i < wants->extents; i++)
		status = add_parts(layout, now, &wants->extent[i]);
	if (status == PM_OK)
		status = join_parts(layout, wants);
	if (status == PM_OK)
		return layout;
	pm_layout_free(layout);
	if (status == PM_ERR_CORRUPT)
		errno = E2BIG;
	return NULL;
}

struct pm_place
pm_layout_find(const struct pm_layout *layout, uint32_t region, uint64_t page)
{
	size_t low = 0, high = layout->extents;
	const struct pm_extent *extent;

	/* The first extent that ends behind the page. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		extent = &layout->extent[middle];
		if (extent->region < region || (extent->region == region &&
		    extent->first + extent->pages <= page))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == layout->extents || layout->extent[low].region != region)
		return (struct pm_place){ 0, 0, UINT64_MAX };
	extent = &layout->extent[low];
	if (page < extent->first)
		return (struct pm_place){ 0, 0, extent->first - page };
	return (struct pm_place){ 1, extent->slot + (page - extent->first),
	    extent->first + extent->pages - page };
}

uint32_t
pm_layout_region(const struct pm_layout *layout, uint64_t key)
{
	for (uint32_t i = 0; i < layout->regions; i++)
		if (layout->region[i].key == key)
			return i;
	return UINT32_MAX;
}

struct pm_digest
pm_layout_id(const struct pm_region *region, uint32_t regions)
{
	struct pm_digest id = { 0, 0 };

	for (uint32_t i = 0; i < regions; i++)
		if (region[i].length > 0)
			id = pm_digest_add(id, pm_hash_region(region[i].key,
			    region[i].address, region[i].length));
	return id;
}

uint64_t
pm_layout_bytes(const struct pm_layout *layout)
{
	const struct pm_extent *last;
	const struct pm_region *region;
	uint64_t end, bytes = layout->slots << layout->page_shift;

	if (layout->extents == 0)
		return 0;
	last = &layout->extent[0];
	for (size_t i = 1; i < layout->extents; i++)
		if (layout->extent[i].slot > last->slot)
			last = &layout->extent[i];
	region = &layout->region[last->region];
	end = (last->first + last->pages) << layout->page_shift;
	return end > region->length ? bytes - (end - region->length) : bytes;
}

int
pm_layout_equal(const struct pm_layout *a, const struct pm_layout *b)
{
	if (a->page_shift != b->page_shift || a->extents != b->extents)
		return 0;
	for (size_t i = 0; i < a->extents; i++) {
		const struct pm_extent *x = &a->extent[i], *y = &b->extent[i];

		if (a->region[x->region].key != b->region[y->region].key ||
		    x->first != y->first || x->pages != y->pages ||
		    x->slot != y->slot)
			return 0;
	}
	return 1;
}

int
pm_layout_agree(const struct pm_layout *a, const struct pm_layout *b)
{
	for (size_t i = 0; i < a->extents && i < b->extents; i++) {
		const struct pm_extent *x = &a->extent[i];
		const struct pm_extent *y = &b->extent[i];

		if (a->region[x->region].key != b->region[y->region].key ||
		    x->first != y->first)
			return 0;
		if (x->pages != y->pages)
			return x->pages < y->pages ? i + 1 == a->extents
			    : i + 1 == b->extents;
	}
	return 1;
}
