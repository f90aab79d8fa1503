/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "preface.h"

struct preface {
	struct pm_gather *gather;
	const struct pm_source *source;
	const struct pm_older *older;
	uint32_t *number;
	struct pm_fault *fault;
};

static enum pm_status
put_region(struct preface *pre, const struct pm_region *region,
    uint64_t length, uint64_t old_length, uint32_t number)
{
	struct pm_region copy = *region;

	if (number == PM_REGIONS_MAX)
		return pm_fault_set(pre->fault, PM_ERR_REFUSED, NULL,
		    "old and new memory together have more than %u regions",
		    PM_REGIONS_MAX);
	copy.length = length;
	copy.old_length = old_length;
	pm_record_clear(pre->gather->rec, PM_TYPE_REGION);
	pm_region_pack(&copy, number, pre->gather->rec);
	return pm_gather_put(pre->gather);
}

/*
 * Old regions that are no more stand where they stood: what the memory was
 * lies in a file in the order of the numbers too.
 */
static enum pm_status
put_gone(struct preface *pre, uint32_t *at, uint32_t end, uint32_t *number)
{
	uint32_t olds;
	const struct pm_region *old = pm_older_regions(pre->older, &olds);
	enum pm_status status = PM_OK;

	for (; *at < end && status == PM_OK; (*at)++)
		status = pm_source_has(pre->source, old[*at].key)
		    ? pm_fault_set(pre->fault, PM_ERR_REFUSED, NULL,
		    "regions changed places; only a full stream can tell that")
		    : put_region(pre, &old[*at], 0, old[*at].length,
		    (*number)++);
	return status;
}

static enum pm_status
put_regions(struct preface *pre)
{
	const struct pm_source *source = pre->source;
	uint32_t number = 0, olds, was, at = 0;
	const struct pm_region *old = pm_older_regions(pre->older, &olds);
	enum pm_status status = PM_OK;

	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++) {
		const struct pm_region *region = &source->region[i];

		was = pm_older_region(pre->older, region->key);
		if (was != UINT32_MAX) {
			if (old[was].address != region->address)
				return pm_fault_set(pre->fault,
				    PM_ERR_REFUSED, NULL, "region %.64s had "
				    "another address; only a full stream can "
				    "move it", region->name);
			status = put_gone(pre, &at, was, &number);
			at = was + 1;
		}
		pre->number[i] = number++;
		if (status == PM_OK)
			status = put_region(pre, region, region->length,
			    was == UINT32_MAX ? 0 : old[was].length,
			    pre->number[i]);
	}
	return status != PM_OK ? status
	    : put_gone(pre, &at, olds, &number);
}

enum pm_status
pm_preface_mappings(struct pm_gather *gather, const struct pm_source *source,
    struct pm_fault *fault)
{
	enum pm_status status = PM_OK;

	pm_record_clear(gather->rec, PM_TYPE_MAP);
	for (size_t i = 0; i < source->mappings && status == PM_OK; i++) {
		if (pm_mapping_pack(&source->mapping[i], gather->rec))
			continue;
		status = pm_gather_put(gather);
		pm_record_clear(gather->rec, PM_TYPE_MAP);
		if (!pm_mapping_pack(&source->mapping[i], gather->rec))
			status = pm_fault_set(fault, PM_ERR_REFUSED,
			    NULL, "a mapping has too long a name");
	}
	if (status == PM_OK && gather->rec->stored > 0)
		status = pm_gather_put(gather);
	return status;
}

enum pm_status
pm_preface_begin(struct pm_gather *gather, const struct pm_source *source,
    const struct pm_older *older)
{
	struct pm_stream stream = {
		.version = PM_VERSION_MAX,
		.page_shift = source->page_shift,
		.may = source->may,
	};

	if (older->since != NULL)
		stream.from = older->since->id;
	if (older->base != NULL)
		stream.needs |= PM_NEEDS_LATE_FROM;
	pm_record_clear(gather->rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, gather->rec);
	return pm_gather_put(gather);
}

enum pm_status
pm_preface_regions(struct pm_gather *gather, const struct pm_source *source,
    const struct pm_older *older, uint32_t *number, struct pm_fault *fault)
{
	struct preface pre = { gather, source, older, number, fault };

	return put_regions(&pre);
}

enum pm_status
pm_preface_put(struct pm_gather *gather, const struct pm_source *source,
    const struct pm_older *older, uint32_t *number, struct pm_fault *fault)
{
	enum pm_status status = pm_preface_begin(gather, source, older);

	if (status == PM_OK)
		status = pm_preface_regions(gather, source, older, number,
		    fault);
	if (status == PM_OK)
		status = pm_preface_mappings(gather, source, fault);
	return status;
}
