/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ram.h"

/* A mapping that is carried, and where its file has it. */
struct part {
	uint64_t start, end, offset;
};

static enum pm_status
fail(struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

/* Append pages to the line; there is room for them. */
static void
append(struct pm_ram *ram, uint32_t region, uint64_t page, uint64_t pages)
{
	if (pages == 0)
		return;
	ram->piece[ram->pieces++] = (struct pm_ram_piece){ region, page,
	    pages, ram->pages };
	ram->pages += pages;
}

static int
by_offset(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->start > y->start) - (x->start < y->start);
}

static int
by_address(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

/* True when no two of them, which ascend by offset, have a byte in common. */
static int
is_apart(const struct part *part, size_t parts)
{
	for (size_t i = 1; i < parts; i++)
		if (part[i].offset - part[i - 1].offset <
		    part[i - 1].end - part[i - 1].start)
			return 0;
	return 1;
}

static int
is_of_file(const struct pm_mapping *map)
{
	return map->name_size > 0 && map->name[0] == '/';
}

static int
is_same_name(const struct pm_mapping *a, const struct pm_mapping *b)
{
	return a->name_size == b->name_size &&
	    memcmp(a->name, b->name, a->name_size) == 0;
}

/* The mappings that are carried; whether all are of one file's name. */
static size_t
list_parts(const struct pm_source *source, struct part *part, int *is_one)
{
	const struct pm_mapping *first = NULL;
	size_t parts = 0;

	*is_one = 1;
	for (size_t i = 0; i < source->mappings; i++) {
		const struct pm_mapping *map = &source->mapping[i];

		if ((map->flags & PM_MAPPING_CARRIED) == 0)
			continue;
		if (first == NULL)
			first = map;
		*is_one &= is_of_file(map) && is_same_name(first, map);
		part[parts++] = (struct part){ map->start, map->end,
		    map->offset };
	}
	return parts;
}

static enum pm_status
open_mappings(struct pm_ram *ram, const struct pm_source *source,
    struct pm_fault *fault)
{
	struct part *part = calloc(source->mappings, sizeof(part[0]));
	unsigned shift = source->page_shift;
	size_t parts;
	int is_one;

	ram->piece = calloc(source->mappings, sizeof(ram->piece[0]));
	if (part == NULL || ram->piece == NULL) {
		free(part);
		return fail(fault);
	}
	parts = list_parts(source, part, &is_one);
	if (parts > 1 && is_one) {
		qsort(part, parts, sizeof(part[0]), by_offset);
		if (!is_apart(part, parts))
			qsort(part, parts, sizeof(part[0]), by_address);
	}
	for (size_t i = 0; i < parts; i++)
		append(ram, 0, part[i].start >> shift,
		    (part[i].end - part[i].start) >> shift);
	free(part);
	return PM_OK;
}

static uint64_t
pages_of(const struct pm_source *source, uint32_t region)
{
	return pm_region_pages(source->region[region].length,
	    source->page_shift);
}

/* The number of the region that is meant, or UINT32_MAX. */
static uint32_t
choose(const struct pm_source *source, const char *name)
{
	uint32_t found = UINT32_MAX;

	for (uint32_t i = 0; i < source->regions; i++) {
		if (name != NULL) {
			if (strcmp(source->region[i].name, name) == 0)
				return i;
		} else if (found == UINT32_MAX ||
		    pages_of(source, i) > pages_of(source, found))
			found = i;
	}
	return found;
}

static enum pm_status
refuse(const struct pm_source *source, const char *name,
    struct pm_fault *fault)
{
	char names[160] = "";
	size_t used = 0;

	if (source->mappings > 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "region %.60s: the memory of a process has mappings, and "
		    "no regions to choose from", name);
	for (uint32_t i = 0; i < source->regions && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used,
		    "%s%s", i > 0 ? ", " : "", source->region[i].name);
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
	    "there is no region %.60s, only %s%s", name,
	    source->regions > 0 ? names : "none",
	    used >= sizeof(names) ? "..." : "");
}

enum pm_status
pm_ram_open(struct pm_ram *ram, const struct pm_source *source,
    const char *region, struct pm_fault *fault)
{
	enum pm_status status = PM_OK;
	uint32_t chosen;

	*ram = (struct pm_ram){ 0 };
	if (source->mappings > 0 && region == NULL)
		status = open_mappings(ram, source, fault);
	else {
		chosen = source->mappings > 0 ? UINT32_MAX
		    : choose(source, region);
		if (region != NULL && chosen == UINT32_MAX)
			return refuse(source, region, fault);
		ram->piece = calloc(1, sizeof(ram->piece[0]));
		if (ram->piece == NULL)
			status = fail(fault);
		else if (chosen != UINT32_MAX)
			append(ram, chosen, 0, pages_of(source, chosen));
	}
	if (status != PM_OK)
		pm_ram_close(ram);
	return status;
}

void
pm_ram_close(struct pm_ram *ram)
{
	free(ram->piece);
	*ram = (struct pm_ram){ 0 };
}

const struct pm_ram_piece *
pm_ram_find(const struct pm_ram *ram, uint64_t at)
{
	size_t from = 0, to = ram->pieces;

	if (at >= ram->pages)
		return NULL;
	while (to - from > 1) {
		size_t middle = from + (to - from) / 2;

		if (ram->piece[middle].at <= at)
			from = middle;
		else
			to = middle;
	}
	return &ram->piece[from];
}
