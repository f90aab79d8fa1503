/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outline.h"

static enum pm_status
no_memory(const struct pm_outline *outline)
{
	return pm_fault_set(outline->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

enum pm_status
pm_outline_open(struct pm_outline *outline, struct pm_fault *fault)
{
	*outline = (struct pm_outline){ .fault = fault };
	outline->region = calloc(PM_REGIONS_MAX, sizeof(outline->region[0]));
	return outline->region != NULL ? PM_OK : no_memory(outline);
}

void
pm_outline_close(struct pm_outline *outline)
{
	pm_maplist_clear(&outline->list);
	free(outline->region);
	outline->region = NULL;
}

static enum pm_status
take_region(struct pm_outline *outline, const struct pm_record *rec)
{
	if (outline->regions == PM_REGIONS_MAX)
		return pm_fault_set(outline->fault, PM_ERR_CORRUPT, NULL,
		    "stream has more than %u regions", PM_REGIONS_MAX);
	return pm_region_unpack(&outline->region[outline->regions++], rec,
	    outline->stream.page_shift, outline->fault);
}

/* A list is the MAP records that follow each other; a later one replaces. */
static enum pm_status
take_map(struct pm_outline *outline, const struct pm_record *rec)
{
	struct pm_mapping mapping;
	enum pm_status status;
	uint32_t at = 0;

	if (!outline->listing)
		pm_maplist_clear(&outline->list);
	outline->listing = 1;
	while ((status = pm_mapping_unpack(&mapping, rec, &at,
	    outline->fault)) == PM_OK)
		if ((status = pm_maplist_add(&outline->list, &mapping))
		    != PM_OK)
			return status == PM_ERR_SYSTEM ? no_memory(outline) :
			    pm_fault_set(outline->fault, status, NULL,
			    "mappings descend, overlap, or are too many");
	return status == PM_END ? PM_OK : status;
}

enum pm_status
pm_outline_take(struct pm_outline *outline, const struct pm_record *rec)
{
	if (rec->type == PM_TYPE_MAP)
		return take_map(outline, rec);
	outline->listing = 0;
	if (rec->type == PM_TYPE_REGION)
		return take_region(outline, rec);
	if (rec->type != PM_TYPE_STREAM)
		return PM_OK;
	pm_maplist_clear(&outline->list);
	outline->regions = 0;
	return pm_stream_unpack(&outline->stream, rec, outline->fault);
}

int
pm_outline_is_process(const struct pm_outline *outline)
{
	return outline->regions > 0 &&
	    outline->region[0].kind == PM_REGION_PROCESS;
}

static enum pm_status
check_regions(const struct pm_outline *outline)
{
	int is_process = pm_outline_is_process(outline);

	for (uint32_t i = 0; i < outline->regions; i++)
		if (is_process ? outline->regions > 1
		    : outline->region[i].kind != PM_REGION_BLOCK)
			return pm_fault_set(outline->fault, PM_ERR_REFUSED,
			    NULL, "a process stands beside other regions");
	if (is_process && outline->list.count == 0)
		return pm_fault_set(outline->fault, PM_ERR_REFUSED, NULL,
		    "a process without its mappings makes no core file");
	return PM_OK;
}

struct pm_layout *
pm_outline_layout(const struct pm_outline *outline, enum pm_status *status)
{
	unsigned page_shift = outline->stream.page_shift;
	struct pm_layout *layout;

	if ((*status = check_regions(outline)) != PM_OK)
		return NULL;
	layout = pm_outline_is_process(outline)
	    ? pm_maplist_layout(outline->list.mapping, outline->list.count,
	    outline->region, page_shift)
	    : pm_layout_of_blocks(outline->region, outline->regions,
	    page_shift, 0);
	if (layout == NULL)
		*status = errno == EINVAL ? pm_fault_set(outline->fault,
		    PM_ERR_CORRUPT, NULL, "a mapping lies outside the region")
		    : no_memory(outline);
	return layout;
}

/*
 * The names of all regions, as far as there is room for them; of the first one
 * there is always some.
 */
static void
list_names(const struct pm_outline *outline, char *text, size_t room)
{
	size_t size = 0;

	snprintf(text, room, "none");
	for (uint32_t i = 0; i < outline->regions; i++) {
		const char *name = outline->region[i].name;
		const char *comma = size > 0 ? ", " : "";

		if (outline->region[i].length == 0)
			continue;
		if (strlen(comma) + strlen(name) + sizeof(", ...") >
		    room - size) {
			snprintf(text + size, room - size, "%.64s...",
			    size > 0 ? comma : name);
			return;
		}
		size += (size_t)snprintf(text + size, room - size, "%s%s",
		    comma, name);
	}
}

enum pm_status
pm_outline_choose(const struct pm_outline *outline, const char *name,
    uint32_t *region)
{
	char names[128];

	if (pm_outline_is_process(outline))
		return pm_fault_set(outline->fault, PM_ERR_REFUSED, NULL,
		    "the stream is of a process, which makes a core file and "
		    "no image of one region");
	for (*region = 0; *region < outline->regions; ++*region)
		if (outline->region[*region].length > 0 &&
		    strcmp(outline->region[*region].name, name) == 0)
			return PM_OK;
	list_names(outline, names, sizeof(names));
	return pm_fault_set(outline->fault, PM_ERR_MISMATCH, NULL,
	    "the stream has no region %.64s, but: %s", name, names);
}
