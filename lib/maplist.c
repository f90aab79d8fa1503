/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "maplist.h"

enum pm_status
pm_maplist_add(struct pm_maplist *list, const struct pm_mapping *mapping)
{
	size_t bytes = sizeof(*mapping) + mapping->name_size + 1;
	struct pm_mapping *copy;
	char *name;

	if (list->count > 0 &&
	    mapping->start < list->mapping[list->count - 1].end)
		return PM_ERR_CORRUPT;
	if (list->count == PM_MAPPINGS_MAX ||
	    bytes > PM_MAPLIST_BYTES - list->bytes)
		return PM_ERR_CORRUPT;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 64 : list->room * 2;

		copy = realloc(list->mapping, room * sizeof(copy[0]));
		if (copy == NULL)
			return PM_ERR_SYSTEM;
		list->mapping = copy;
		list->room = room;
	}
	if ((name = malloc(mapping->name_size + 1)) == NULL)
		return PM_ERR_SYSTEM;
	memcpy(name, mapping->name, mapping->name_size);
	name[mapping->name_size] = '\0';
	copy = &list->mapping[list->count++];
	*copy = *mapping;
	copy->name = name;
	list->bytes += bytes;
	return PM_OK;
}

void
pm_maplist_clear(struct pm_maplist *list)
{
	for (size_t i = 0; i < list->count; i++)
		free((void *)(uintptr_t)list->mapping[i].name);
	free(list->mapping);
	*list = (struct pm_maplist){ 0 };
}

struct pm_layout *
pm_maplist_layout(const struct pm_mapping *mapping, size_t mappings,
    const struct pm_region *region, unsigned page_shift)
{
	struct pm_layout *layout = pm_layout_new(page_shift);
	enum pm_status status;

	if (layout == NULL)
		return NULL;
	status = pm_layout_add_region(layout, region);
	for (size_t i = 0; status == PM_OK && i < mappings; i++)
		if ((mapping[i].flags & PM_MAPPING_CARRIED) != 0)
			status = pm_layout_add_extent(layout, 0,
			    mapping[i].start >> page_shift,
			    (mapping[i].end - mapping[i].start) >> page_shift);
	if (status == PM_OK)
		return layout;
	if (status == PM_ERR_CORRUPT)
		errno = EINVAL;
	pm_layout_free(layout);
	return NULL;
}
