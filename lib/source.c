/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "source.h"

/* Pages of a data span, of which some may not be there after all. */
static enum pm_status
add_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *buf, struct pm_digest *id)
{
	size_t size = (size_t)1 << source->page_shift;
	uint64_t key = source->region[region].key;
	enum pm_status status = PM_OK;
	uint32_t got = 0;

	for (uint32_t at = 0; at < pages && status == PM_OK; at += got + 1) {
		status = source->ops->read(source, region, page + at,
		    pages - at, buf, &got, source->fault);
		for (uint32_t i = 0; i < got && status == PM_OK; i++)
			*id = pm_digest_add(*id, pm_hash_page(
			    pm_hash_content(buf + i * size, size), key,
			    page + at + i));
	}
	return status;
}

static enum pm_status
add_region(struct pm_source *source, uint32_t region, uint8_t *buf,
    struct pm_digest *id)
{
	uint64_t most = PM_PAYLOAD_MAX >> source->page_shift;
	uint64_t pages = pm_region_pages(source->region[region].length,
	    source->page_shift);
	enum pm_status status = PM_OK;
	struct pm_span span;

	for (uint64_t at = 0; at < pages && status == PM_OK;
	    at += span.pages) {
		status = source->ops->span(source, region, at, &span);
		if (span.pages > pages - at)
			span.pages = pages - at;
		if (status != PM_OK || span.kind != PM_SPAN_DATA)
			continue;
		if (span.pages > most)
			span.pages = most;
		status = add_pages(source, region, at, (uint32_t)span.pages,
		    buf, id);
	}
	return status;
}

enum pm_status
pm_source_id(struct pm_source *source, struct pm_digest *id)
{
	uint8_t *buf = pm_record_buffer();
	enum pm_status status = PM_OK;

	if (buf == NULL)
		return pm_fault_set(source->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	*id = pm_layout_id(source->region, source->regions);
	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++)
		status = add_region(source, i, buf, id);
	free(buf);
	return status == PM_OK ? source->ops->done(source) : status;
}
