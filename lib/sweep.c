/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "preface.h"
#include "sweep.h"

enum pm_status
pm_sweep_no_memory(struct pm_sweep *sweep)
{
	return pm_fault_set(sweep->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

enum pm_status
pm_sweep_open(struct pm_sweep *sweep, struct pm_subject *subject,
    struct pm_gather *gather, struct pm_fault *fault)
{
	*sweep = (struct pm_sweep){ .subject = subject, .gather = gather,
	    .fault = fault, .region = UINT32_MAX, .full = 1,
	    .page_size = (size_t)1 << subject->about.page_shift };
	gather->page_size = sweep->page_size;
	gather->rec = pm_record_new();
	if (gather->rec != NULL)
		gather->rec->page_shift = subject->about.page_shift;
	sweep->buf = pm_record_buffer();
	if (gather->rec == NULL || sweep->buf == NULL ||
	    pm_ledger_open(&sweep->ledger, subject->pages) != PM_OK ||
	    pm_bitmap_open(&sweep->pending, subject->pages) != PM_OK ||
	    pm_bitmap_open(&sweep->recent, subject->pages) != PM_OK ||
	    pm_bitmap_open(&sweep->clean, subject->pages) != PM_OK)
		return pm_sweep_no_memory(sweep);
	sweep->id = pm_layout_id(subject->about.region,
	    subject->about.regions);
	return PM_OK;
}

void
pm_sweep_close(struct pm_sweep *sweep)
{
	pm_record_free(sweep->gather->rec);
	sweep->gather->rec = NULL;
	pm_ledger_close(&sweep->ledger);
	pm_bitmap_close(&sweep->pending);
	pm_bitmap_close(&sweep->recent);
	pm_bitmap_close(&sweep->clean);
	pm_free_close(&sweep->free);
	free(sweep->buf);
	free(sweep->known);
}

/* Pages of one region of what the memory was, a batch at most. */
static enum pm_status
load_pages(struct pm_sweep *sweep, struct pm_older *older, uint32_t region,
    uint64_t page, uint32_t pages, uint64_t number)
{
	uint64_t key = sweep->subject->about.region[region].key;
	enum pm_status status = PM_OK;

	if (older->base != NULL)
		status = pm_older_read(older, region, page, pages,
		    sweep->buf, sweep->fault);
	for (uint32_t i = 0; i < pages && status == PM_OK; i++) {
		struct pm_digest content;

		if (older->base == NULL)
			status = pm_older_hash(older, region, page + i,
			    &content);
		else
			content = pm_hash_content(sweep->buf + i *
			    sweep->page_size, sweep->page_size);
		if (status == PM_OK && pm_ledger_set(&sweep->ledger,
		    number + i, content) != PM_OK)
			status = pm_sweep_no_memory(sweep);
		if (status == PM_OK)
			sweep->id = pm_digest_add(sweep->id,
			    pm_hash_page(content, key, page + i));
	}
	return status;
}

static enum pm_status
check_regions(struct pm_sweep *sweep, const struct pm_older *older)
{
	const struct pm_source *about = &sweep->subject->about;
	uint32_t olds;
	const struct pm_region *old = pm_older_regions(older, &olds);

	if (pm_older_page_shift(older, about->page_shift) !=
	    about->page_shift)
		return pm_fault_set(sweep->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of another size");
	if (olds == about->regions)
		for (uint32_t i = 0; i < olds; i++)
			if (old[i].key != about->region[i].key ||
			    old[i].address != about->region[i].address ||
			    old[i].length != about->region[i].length)
				olds = UINT32_MAX - 1;
	return olds == about->regions ? PM_OK : pm_fault_set(sweep->fault,
	    PM_ERR_REFUSED, NULL, "what it is compared with has other "
	    "regions, which a live copy cannot tell");
}

enum pm_status
pm_sweep_load(struct pm_sweep *sweep, struct pm_older *older,
    struct pm_digest *from)
{
	const struct pm_source *about = &sweep->subject->about;
	enum pm_status status = check_regions(sweep, older);
	uint64_t number = 0;

	for (uint32_t i = 0; i < about->regions && status == PM_OK; i++) {
		uint64_t page = 0, pages, end = pm_region_pages(
		    about->region[i].length, about->page_shift);
		int data;

		for (; page < end && status == PM_OK; page += pages) {
			status = pm_older_span(older, i, page, &data, &pages);
			if (pages > end - page)
				pages = end - page;
			if (status != PM_OK || !data)
				continue;
			if (pages > PM_PAYLOAD_MAX / sweep->page_size)
				pages = PM_PAYLOAD_MAX / sweep->page_size;
			status = load_pages(sweep, older, i, page,
			    (uint32_t)pages, number + page);
		}
		number += end;
	}
	sweep->full = 0;
	*from = sweep->id;
	return status;
}

/* What the list of mappings says, as one number. */
static struct pm_digest
digest_of_list(const struct pm_source *about)
{
	struct pm_digest sum = { 0, 0 };

	for (size_t i = 0; i < about->mappings; i++) {
		const struct pm_mapping *map = &about->mapping[i];
		const uint64_t part[] = { map->start, map->end, map->offset,
		    map->flags };

		sum = pm_digest_add(sum, pm_hash_page(pm_hash_bytes(part,
		    sizeof(part)), pm_hash_key(map->name, map->name_size),
		    0));
	}
	return sum;
}

/* Of a process: pages between mappings that are carried are gone. */
static enum pm_status
drop_unmapped(struct pm_sweep *sweep)
{
	const struct pm_subject *subject = sweep->subject;
	enum pm_status status = PM_OK;
	uint64_t page = 0;

	for (size_t i = 0; i <= subject->views && status == PM_OK; i++) {
		uint64_t until = i == subject->views ? subject->pages
		    : subject->view[i].first;

		status = pm_sweep_blank(sweep, PM_GONE, page, until - page);
		pm_bitmap_clear_run(&sweep->pending, page, until - page);
		if (i < subject->views)
			page = until + pm_sweep_view_pages(sweep,
			    &subject->view[i]);
	}
	return status;
}

enum pm_status
pm_sweep_tell(struct pm_sweep *sweep)
{
	const struct pm_source *about = &sweep->subject->about;
	struct pm_digest listed = digest_of_list(about);
	enum pm_status status;

	if (about->mappings == 0 || pm_digest_equal(listed, sweep->listed))
		return PM_OK;
	sweep->listed = listed;
	status = drop_unmapped(sweep);
	if (status == PM_OK)
		status = pm_gather_flush(sweep->gather);
	if (status == PM_OK)
		status = pm_preface_mappings(sweep->gather, about,
		    sweep->fault);
	pm_record_clear(sweep->gather->rec, PM_TYPE_PAGES);
	return status;
}

enum pm_status
pm_sweep_list(struct pm_sweep *sweep)
{
	struct pm_subject *subject = sweep->subject;
	enum pm_status status = subject->ops->list(subject);

	subject->ops->forget(subject);
	if (status == PM_OK)
		return pm_sweep_adopt(sweep);
	sweep->knowns = 0;	/* their trackers may be gone */
	return status;
}

/* Pages of one slice, of which those that are idle are gone. */
static enum pm_status
send_slice(struct pm_sweep *sweep, uint64_t page, uint64_t end)
{
	enum pm_status status = pm_sweep_arm_slice(sweep, page, end);
	uint64_t idle = 0;

	for (; page + idle < end && status == PM_OK;) {
		uint64_t at = page + idle - sweep->slice;

		if ((sweep->idle[at / 64] >> at % 64 & 1) != 0) {
			idle++;
			continue;
		}
		if (idle > 0)
			status = pm_sweep_blank(sweep, PM_GONE, page, idle);
		page += idle;
		idle = 0;
		if (status == PM_OK)
			status = pm_sweep_add(sweep, page++);
	}
	return status == PM_OK && idle > 0 ? pm_sweep_blank(sweep, PM_GONE,
	    page, idle) : status;
}

/* The pages that a span is of, slice by slice, as the first that is said. */
static enum pm_status
send_first(struct pm_sweep *sweep, uint64_t page, uint64_t end)
{
	enum pm_status status = PM_OK;

	while (page < end && status == PM_OK) {
		uint64_t until = (page / PM_SWEEP_SLICE + 1) * PM_SWEEP_SLICE;

		if (until > end)
			until = end;
		status = send_slice(sweep, page, until);
		page = until;
		if (status == PM_OK && sweep->pace != NULL)
			sweep->pace(sweep->pace_arg);
	}
	return status;
}

static enum pm_status
send_all(struct pm_sweep *sweep)
{
	enum pm_status status = PM_OK;
	struct pm_span span;

	for (uint64_t page = 0; page < sweep->subject->pages &&
	    status == PM_OK; page += span.pages) {
		status = sweep->subject->ops->span(sweep->subject, page,
		    &span);
		if (span.pages > sweep->subject->pages - page)
			span.pages = sweep->subject->pages - page;
		if (status == PM_OK)
			status = span.kind == PM_SPAN_DATA
			    ? send_first(sweep, page, page + span.pages)
			    : pm_sweep_blank(sweep, span.kind == PM_SPAN_ZERO
			    ? PM_ZERO : PM_GONE, page, span.pages);
	}
	return status == PM_OK ? pm_sweep_flush(sweep) : status;
}

enum pm_status
pm_sweep_begin(struct pm_sweep *sweep, const struct pm_older *older)
{
	struct pm_subject *subject = sweep->subject;
	enum pm_status status = subject->ops->list(subject);

	pm_subject_find_direct(subject);
	sweep->is_first = 1;
	if (status == PM_OK)
		status = pm_sweep_watch(sweep);
	if (status == PM_OK)
		status = pm_sweep_find_free(sweep);
	subject->ops->forget(subject);
	if (status == PM_OK)
		status = pm_preface_put(sweep->gather, &subject->about, older,
		    sweep->number, sweep->fault);
	pm_record_clear(sweep->gather->rec, PM_TYPE_PAGES);
	sweep->listed = digest_of_list(&subject->about);
	if (status == PM_OK)
		status = pm_sweep_look(sweep);
	if (status == PM_OK)
		status = send_all(sweep);
	sweep->full = sweep->is_first = 0;
	return status;
}

/* Pages of one extent, of which the first has that number. */
static enum pm_status
save_extent(const struct pm_sweep *sweep, struct pm_table *table,
    const struct pm_extent *extent, uint64_t first)
{
	enum pm_status status = PM_OK;
	uint64_t page = first, end = first + extent->pages;

	while (status == PM_OK && (page = pm_bitmap_next(&sweep->ledger.held,
	    page, end)) < end) {
		status = pm_table_set(table, extent->slot + (page - first),
		    pm_ledger_get(&sweep->ledger, page));
		page++;
	}
	return status;
}

enum pm_status
pm_sweep_save(const struct pm_sweep *sweep, struct pm_table *table)
{
	const struct pm_layout *layout = table->layout;
	enum pm_status status = PM_OK;
	uint64_t base = 0;
	uint32_t region = 0;

	for (size_t i = 0; i < layout->extents && status == PM_OK; i++) {
		const struct pm_extent *extent = &layout->extent[i];

		for (; region < extent->region; region++)
			base += pm_region_pages(layout->region[region].length,
			    layout->page_shift);
		status = save_extent(sweep, table, extent,
		    base + extent->first);
	}
	return status;
}
