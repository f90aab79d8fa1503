/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "clock.h"
#include "gather.h"

enum pm_status
pm_gather_put(struct pm_gather *gather)
{
	uint64_t began = pm_clock_us();
	enum pm_status status = pm_writer_put(gather->out, gather->rec);

	gather->blocked_us += pm_clock_us() - began;
	return status;
}

enum pm_status
pm_gather_flush(struct pm_gather *gather)
{
	enum pm_status status = PM_OK;

	if (gather->rec->entries > 0)
		status = pm_gather_put(gather);
	pm_record_clear(gather->rec, PM_TYPE_PAGES);
	return status;
}

/* Make the record ready to hold pages from page on. */
static enum pm_status
make_ready(struct pm_gather *gather, uint64_t page, uint64_t pages)
{
	struct pm_record *rec = gather->rec;
	enum pm_status status;

	if (rec->entries > 0 && (rec->entries == PM_ENTRIES_MAX ||
	    page + pages - rec->first > UINT32_MAX) &&
	    (status = pm_gather_flush(gather)) != PM_OK)
		return status;
	if (rec->entries == 0) {
		rec->region = gather->region;
		rec->first = page;
	}
	return PM_OK;
}

static int
is_full(const struct pm_gather *gather)
{
	return gather->rec->stored + gather->page_size > gather->record_size;
}

static void
add_entry(struct pm_gather *gather, uint64_t page, struct pm_digest hash)
{
	struct pm_record *rec = gather->rec;

	rec->entry[rec->entries++] = pm_entry_of((uint32_t)(page -
	    rec->first), PM_RAW, (uint32_t)gather->page_size);
	rec->stored += (uint32_t)gather->page_size;
	rec->decoded = rec->stored;
	rec->digest = pm_digest_add(rec->digest, hash);
	gather->raw++;
}

enum pm_status
pm_gather_page(struct pm_gather *gather, uint64_t page,
    const uint8_t *content, struct pm_digest hash)
{
	struct pm_record *rec = gather->rec;
	enum pm_status status = is_full(gather) ? pm_gather_flush(gather)
	    : PM_OK;

	if (status == PM_OK)
		status = make_ready(gather, page, 1);
	if (status != PM_OK)
		return status;
	memcpy(rec->payload + rec->stored, content, gather->page_size);
	add_entry(gather, page, hash);
	return PM_OK;
}

enum pm_status
pm_gather_pages(struct pm_gather *gather, uint64_t page, uint32_t pages,
    uint8_t *content, const struct pm_digest *hash)
{
	struct pm_record *rec = gather->rec;
	uint8_t *payload = rec->payload;
	enum pm_status status = PM_OK;
	uint32_t at = 0;

	if (pages * gather->page_size == gather->record_size) {
		/* One that is not full, so as not to copy all that follow. */
		if (rec->stored > 0 ||
		    rec->entries + pages > PM_ENTRIES_MAX)
			status = pm_gather_flush(gather);
		if (status == PM_OK)
			status = make_ready(gather, page, pages);
		if (status != PM_OK)
			return status;
		rec->payload = content;
		for (; at < pages; at++)
			add_entry(gather, page + at, hash[at]);
		status = pm_gather_flush(gather);
		rec->payload = payload;
	}
	for (; at < pages && status == PM_OK; at++)
		status = pm_gather_page(gather, page + at, content + at *
		    gather->page_size, hash[at]);
	return status;
}

enum pm_status
pm_gather_run(struct pm_gather *gather, enum pm_kind kind, uint64_t page,
    uint64_t pages)
{
	struct pm_record *rec = gather->rec;

	*(kind == PM_ZERO ? &gather->zero : &gather->gone) += pages;
	while (pages > 0) {
		uint32_t now = pages < PM_RUN_MAX ? (uint32_t)pages
		    : PM_RUN_MAX;
		struct pm_entry *last = rec->entries > 0
		    ? &rec->entry[rec->entries - 1] : NULL;
		enum pm_status status;

		if (last != NULL && pm_entry_kind(*last) == kind &&
		    rec->first + last->page + pm_entry_length(*last) == page &&
		    pm_entry_length(*last) + (uint64_t)now <= PM_RUN_MAX)
			last->word += now;
		else {
			status = make_ready(gather, page, now);
			if (status != PM_OK)
				return status;
			rec->entry[rec->entries++] = pm_entry_of(
			    (uint32_t)(page - rec->first), kind, now);
		}
		page += now;
		pages -= now;
	}
	return PM_OK;
}
