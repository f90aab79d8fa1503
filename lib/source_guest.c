/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source_guest.h"

/* The RAM of a source, as bytes. */
struct memory {
	struct pm_source *source;
	const struct pm_ram *ram;
	uint8_t page[PM_GUEST_PAGE];	/* of which a part is wanted */
};

/* What begins at a page of the line, within its piece. */
static enum pm_status
span_of(struct memory *memory, uint64_t page, uint32_t *region, uint64_t *at,
    struct pm_span *span)
{
	const struct pm_ram_piece *piece = pm_ram_find(memory->ram, page);
	struct pm_source *source = memory->source;
	enum pm_status status;

	*region = piece->region;
	*at = piece->page + (page - piece->at);
	status = source->ops->span(source, *region, *at, span);
	if (span->pages > piece->at + piece->pages - page)
		span->pages = piece->at + piece->pages - page;
	return status;
}

/* Whole pages; those that are not there read as zeroes. */
static enum pm_status
read_pages(struct memory *memory, uint64_t page, uint64_t pages, uint8_t *out,
    struct pm_fault *fault)
{
	enum pm_status status = PM_OK;

	while (pages > 0 && status == PM_OK) {
		struct pm_source *source = memory->source;
		struct pm_span span = { PM_SPAN_GONE, 1 };
		uint32_t region, got = 0;
		uint64_t at, now;

		status = span_of(memory, page, &region, &at, &span);
		now = span.pages < pages ? span.pages : pages;
		if (status == PM_OK && span.kind == PM_SPAN_DATA)
			status = source->ops->read(source, region, at,
			    (uint32_t)now, out, &got, fault);
		if (status == PM_OK && got < now)
			memset(out + got * PM_GUEST_PAGE, 0, (size_t)(now -
			    got) * PM_GUEST_PAGE);
		/* Behind one that is not there after all, others may be. */
		if (span.kind == PM_SPAN_DATA && got < now)
			now = got + 1;
		out += now * PM_GUEST_PAGE;
		page += now;
		pages -= now;
	}
	return status;
}

static enum pm_status
read_bytes(void *arg, uint64_t at, void *out, size_t size,
    struct pm_fault *fault)
{
	struct memory *memory = arg;
	enum pm_status status = PM_OK;
	uint8_t *to = out;

	while (size > 0 && status == PM_OK) {
		size_t offset = (size_t)(at % PM_GUEST_PAGE);
		size_t now = PM_GUEST_PAGE - offset;

		if (offset == 0 && size >= PM_GUEST_PAGE) {
			now = size / PM_GUEST_PAGE * PM_GUEST_PAGE;
			status = read_pages(memory, at >> PM_GUEST_SHIFT,
			    now >> PM_GUEST_SHIFT, to, fault);
		} else {
			if (now > size)
				now = size;
			status = read_pages(memory, at >> PM_GUEST_SHIFT, 1,
			    memory->page, fault);
			memcpy(to, memory->page + offset, now);
		}
		to += now;
		at += now;
		size -= now;
	}
	return status;
}

/* The first page that has something; what fails here fails when it is read. */
static uint64_t
next_data(void *arg, uint64_t at)
{
	struct memory *memory = arg;
	uint64_t page = at >> PM_GUEST_SHIFT;
	struct pm_span span = { PM_SPAN_GONE, 1 };

	while (page < memory->ram->pages) {
		uint32_t region;
		uint64_t in_region;

		if (span_of(memory, page, &region, &in_region, &span) !=
		    PM_OK || span.kind == PM_SPAN_DATA)
			break;
		page += span.pages;
	}
	return page << PM_GUEST_SHIFT;
}

/* True when it has no byte in common with those before it. */
static int
is_apart(const struct pm_source *source, uint32_t number)
{
	const struct pm_region *region = &source->region[number];

	for (uint32_t i = 0; i < number; i++) {
		const struct pm_region *other = &source->region[i];

		if (region->address < other->address + other->length &&
		    other->address < region->address + region->length)
			return 0;
	}
	return 1;
}

/* Regions with addresses are the machine's own map, if they are one. */
static int
has_places(const struct pm_source *source)
{
	int any = 0;

	if (source->mappings > 0 || source->regions > PM_GUEST_PARTS)
		return 0;
	for (uint32_t i = 0; i < source->regions; i++) {
		const struct pm_region *region = &source->region[i];

		if (region->address % PM_GUEST_PAGE != 0 ||
		    region->length > UINT64_MAX / 2 ||
		    region->address > UINT64_MAX / 2 || !is_apart(source, i))
			return 0;
		any |= region->address != 0;
	}
	return any;
}

/* Where RAM is; what follows what was there before is one part with it. */
static void
add_part(struct pm_guest_memory *how, uint64_t address, uint64_t at,
    uint64_t size)
{
	struct pm_guest_part *part = how->part + how->parts;

	if (how->parts > 0 && part[-1].address + part[-1].size == address)
		part[-1].size += size;
	else
		how->part[how->parts++] = (struct pm_guest_part){ address, at,
		    size };
}

/* A line of all regions, and where its parts are for the guest. */
static enum pm_status
place_all(const struct pm_source *source, struct pm_ram *ram,
    struct pm_guest_memory *how, struct pm_fault *fault)
{
	*ram = (struct pm_ram){ 0 };
	ram->piece = calloc(source->regions, sizeof(ram->piece[0]));
	if (ram->piece == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	for (uint32_t i = 0; i < source->regions; i++) {
		const struct pm_region *region = &source->region[i];
		uint64_t pages = pm_region_pages(region->length,
		    source->page_shift);

		if (pages == 0)
			continue;
		add_part(how, region->address, ram->pages << PM_GUEST_SHIFT,
		    pages << PM_GUEST_SHIFT);
		ram->piece[ram->pieces++] = (struct pm_ram_piece){ .region = i,
		    .pages = pages, .at = ram->pages };
		ram->pages += pages;
	}
	return PM_OK;
}

enum pm_status
pm_source_guest_find(struct pm_source *source, struct pm_guest *guest,
    struct pm_ram *ram, struct pm_fault *fault)
{
	struct memory memory = { .source = source, .ram = ram };
	struct pm_guest_memory how = {
		.read = read_bytes, .next = next_data, .arg = &memory,
	};
	enum pm_status status;

	if (source->page_shift != PM_GUEST_SHIFT)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "a guest is looked for in pages of 4 KiB only");
	status = has_places(source) ? place_all(source, ram, &how, fault)
	    : pm_ram_open(ram, source, NULL, fault);
	if (status != PM_OK)
		return status;
	how.size = ram->pages << PM_GUEST_SHIFT;
	status = pm_guest_open(guest, &how, fault);
	if (status == PM_OK)
		return PM_OK;
	pm_guest_close(guest);
	pm_ram_close(ram);
	return status;
}

enum pm_status
pm_source_guest_mark(const struct pm_guest *guest, const struct pm_ram *ram,
    struct pm_free *marks)
{
	const struct pm_bitmap *map = &guest->map;
	uint64_t at = 0, end;
	enum pm_status status = PM_OK;

	while (status == PM_OK &&
	    (at = pm_bitmap_next(map, at, map->bits)) < map->bits) {
		end = pm_bitmap_run(map, at, map->bits);
		status = pm_free_set_ram(marks, ram, at, end - at);
		at = end;
	}
	return status;
}
