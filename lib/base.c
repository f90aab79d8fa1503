/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

static int
any_is_old(const struct pm_region *region, uint32_t regions)
{
	for (uint32_t i = 0; i < regions; i++)
		if (region[i].old_length != 0)
			return 1;
	return 0;
}

enum pm_status
pm_base_open(struct pm_base *base, const char *path,
    const struct pm_region *region, uint32_t regions, unsigned page_shift,
    struct pm_fault *fault)
{
	const struct pm_image *image = &base->image;
	enum pm_status status;

	*base = (struct pm_base){ .passed = NULL };
	status = pm_image_open(&base->image, path, region, regions,
	    page_shift, any_is_old(region, regions), fault);
	if (status != PM_OK)
		return status;
	if (image->size > image->data)
		base->slots = pm_region_pages(image->size - image->data,
		    page_shift);
	if (base->slots > image->layout->slots)
		base->slots = image->layout->slots;
	base->passed = calloc(1, (size_t)(base->slots / 8 + 1));
	base->window = pm_record_buffer();
	if (base->passed == NULL || base->window == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(ENOMEM));
	return PM_OK;
}

void
pm_base_close(struct pm_base *base)
{
	pm_image_close(&base->image);
	free(base->passed);
	free(base->window);
	base->passed = base->window = NULL;
}

uint32_t
pm_base_region(const struct pm_base *base, uint64_t key)
{
	return pm_layout_region(base->image.layout, key);
}

static int
has_passed(const struct pm_base *base, uint64_t slot)
{
	return base->passed[slot / 8] >> (slot % 8) & 1;
}

int
pm_base_holds(const struct pm_base *base, uint32_t region, uint64_t page)
{
	struct pm_place place = pm_layout_find(base->image.layout, region,
	    page);

	return place.held && place.slot < base->slots &&
	    !has_passed(base, place.slot);
}

enum pm_status
pm_base_read(struct pm_base *base, uint32_t region, uint64_t page,
    uint32_t most, const uint8_t **content)
{
	unsigned shift = base->image.layout->page_shift;
	struct pm_place place = pm_layout_find(base->image.layout, region,
	    page);
	enum pm_status status = PM_OK;

	if (place.slot - base->slot >= base->pages) {
		if (most > PM_PAYLOAD_MAX >> shift)
			most = PM_PAYLOAD_MAX >> shift;
		base->slot = place.slot;
		base->pages = 1;
		while (base->pages < most && base->pages < place.pages &&
		    place.slot + base->pages < base->slots &&
		    !has_passed(base, place.slot + base->pages))
			base->pages++;
		status = pm_image_read(&base->image, region, page,
		    base->pages, base->window);
	}
	*content = base->window + ((place.slot - base->slot) << shift);
	return status;
}

static void
set_bits(uint8_t *bits, uint64_t from, uint64_t to)
{
	for (; from < to && from % 8 != 0; from++)
		bits[from / 8] |= (uint8_t)(1u << (from % 8));
	if (to - from >= 8) {
		memset(bits + from / 8, 0xff, (size_t)((to - from) / 8));
		from += (to - from) / 8 * 8;
	}
	for (; from < to; from++)
		bits[from / 8] |= (uint8_t)(1u << (from % 8));
}

void
pm_base_pass(struct pm_base *base, uint32_t region, uint64_t page,
    uint64_t pages)
{
	while (pages > 0) {
		struct pm_place place = pm_layout_find(base->image.layout,
		    region, page);
		uint64_t now = place.pages < pages ? place.pages : pages;
		uint64_t end = place.slot + now;

		if (end > base->slots)
			end = base->slots;
		if (place.held && place.slot < end)
			set_bits(base->passed, place.slot, end);
		page += now;
		pages -= now;
	}
}
