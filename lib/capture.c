/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "capture.h"

/*
 * One walk, in ascending order, over the pages of the source and of what it
 * is compared with.  Pages with content are read straight into the payload
 * of the record that will carry them; those not sent are closed up in place.
 */
struct capture {
	struct pm_source *source;
	const struct pm_capture_options *opt;
	struct pm_writer *out;
	struct pm_capture_counts *counts;
	struct pm_fault *fault;
	struct pm_record *rec, *scratch;
	struct pm_layout *layout;	/* of save */
	uint8_t *old;			/* pages of base */
	size_t page_size;

	/* The region now walked. */
	uint32_t region, old_region;	/* UINT32_MAX: it has no old pages */
	uint64_t key;
};

/* What stands at a page in the source, and in what it is compared with. */
struct step {
	enum pm_span_kind kind;		/* GONE beyond the end */
	int old_data;
	uint64_t pages;			/* alike in both */
};

static uint64_t
microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static enum pm_status
put(struct capture *cap, struct pm_record *rec)
{
	uint64_t began = microseconds();
	enum pm_status status = pm_writer_put(cap->out, rec);

	cap->counts->blocked_us += microseconds() - began;
	return status;
}

/* Write the record that was being filled, if it holds anything. */
static enum pm_status
flush(struct capture *cap)
{
	enum pm_status status = PM_OK;

	if (cap->rec->entries > 0)
		status = put(cap, cap->rec);
	pm_record_clear(cap->rec, PM_TYPE_PAGES);
	return status;
}

/* Make the record ready to hold pages from page on. */
static enum pm_status
make_ready(struct capture *cap, uint64_t page, uint64_t pages)
{
	struct pm_record *rec = cap->rec;
	enum pm_status status;

	if (rec->entries > 0 && (rec->entries == PM_ENTRIES_MAX ||
	    page + pages - rec->first > UINT32_MAX) &&
	    (status = flush(cap)) != PM_OK)
		return status;
	if (rec->entries == 0) {
		rec->region = cap->region;
		rec->first = page;
	}
	return PM_OK;
}

static enum pm_status
add_run(struct capture *cap, enum pm_kind kind, uint64_t page, uint64_t pages)
{
	struct pm_record *rec = cap->rec;

	*(kind == PM_ZERO ? &cap->counts->zero : &cap->counts->gone) += pages;
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
			status = make_ready(cap, page, now);
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

/* The page stands at from in the payload; close the gap before it. */
static enum pm_status
add_raw(struct capture *cap, uint64_t page, const uint8_t *from,
    struct pm_digest hash)
{
	struct pm_record *rec = cap->rec;
	enum pm_status status = make_ready(cap, page, 1);

	if (status != PM_OK)
		return status;
	if (rec->payload + rec->stored != from)
		memmove(rec->payload + rec->stored, from, cap->page_size);
	rec->entry[rec->entries++] = pm_entry_of((uint32_t)(page -
	    rec->first), PM_RAW, (uint32_t)cap->page_size);
	rec->stored += (uint32_t)cap->page_size;
	rec->decoded = rec->stored;
	rec->digest = pm_digest_add(rec->digest, hash);
	cap->counts->raw++;
	return PM_OK;
}

static int
is_incremental(const struct capture *cap)
{
	return cap->opt->base != NULL || cap->opt->since != NULL;
}

static enum pm_status
remember(struct capture *cap, uint64_t page, struct pm_digest content)
{
	struct pm_place place;

	if (cap->opt->save == NULL)
		return PM_OK;
	place = pm_layout_find(cap->layout, cap->region, page);
	return place.held ? pm_table_set(cap->opt->save, place.slot, content)
	    : PM_OK;
}

static enum pm_status
old_content(struct capture *cap, uint64_t page, struct pm_digest *content)
{
	struct pm_table *since = cap->opt->since;
	struct pm_place place = pm_layout_find(since->layout,
	    cap->old_region, page);

	*content = (struct pm_digest){ 0, 0 };
	return place.held ? pm_table_get(since, place.slot, content) : PM_OK;
}

/* Count an old page into what the memory was, where that is not known. */
static void
count_old(struct capture *cap, uint64_t page, struct pm_digest content)
{
	cap->counts->from = pm_digest_add(cap->counts->from,
	    pm_hash_page(content, cap->key, page));
}

/*
 * Whether a page that was read is what it was before.  An old page of base
 * stands at old, if there is one.
 */
static enum pm_status
compare(struct capture *cap, uint64_t page, const uint8_t *new,
    const uint8_t *old, int old_data, struct pm_digest content, int *equal)
{
	struct pm_digest before = { 0, 0 };
	enum pm_status status = PM_OK;

	*equal = 0;
	if (cap->opt->base != NULL) {
		if (old_data && memcmp(new, old, cap->page_size) == 0)
			before = content;
		else if (old_data)
			before = pm_hash_content(old, cap->page_size);
		count_old(cap, page, before);
	} else if (cap->opt->since != NULL && old_data)
		status = old_content(cap, page, &before);
	if (is_incremental(cap))
		*equal = pm_digest_equal(before, content);
	return status;
}

/* Look at pages that were read to from; *at of them were not there. */
static enum pm_status
take_pages(struct capture *cap, uint64_t page, uint32_t pages,
    const uint8_t *from, int old_data)
{
	enum pm_status status = PM_OK;

	cap->counts->read += pages;
	for (uint32_t i = 0; i < pages && status == PM_OK; i++) {
		const uint8_t *new = from + i * cap->page_size;
		struct pm_digest content = pm_hash_content(new,
		    cap->page_size);
		struct pm_digest hash = pm_hash_page(content, cap->key,
		    page + i);
		int equal;

		cap->counts->to = pm_digest_add(cap->counts->to, hash);
		status = remember(cap, page + i, content);
		if (status == PM_OK)
			status = compare(cap, page + i, new,
			    cap->old + i * cap->page_size, old_data, content,
			    &equal);
		if (status != PM_OK)
			break;
		if (equal)
			cap->counts->equal++;
		else if (pm_digest_is_zero(content))
			status = add_run(cap, PM_ZERO, page + i, 1);
		else
			status = add_raw(cap, page + i, new, hash);
	}
	return status;
}

/* What could not be read of it counts as zeroes, as its id does. */
static enum pm_status
read_base(struct capture *cap, uint64_t page, uint32_t pages)
{
	struct pm_source *base = cap->opt->base;
	uint32_t got = 0;
	enum pm_status status = base->ops->read(base, cap->old_region, page,
	    pages, cap->old, &got);

	memset(cap->old + got * cap->page_size, 0,
	    (pages - got) * cap->page_size);
	return status;
}

/* Pages of the old memory that the new one has no content for. */
static enum pm_status
pass_old(struct capture *cap, uint64_t page, uint64_t pages)
{
	uint32_t most = PM_PAYLOAD_MAX / (uint32_t)cap->page_size;
	enum pm_status status;

	if (cap->opt->base == NULL)
		return PM_OK;
	while (pages > 0) {
		uint32_t now = pages < most ? (uint32_t)pages : most;

		status = read_base(cap, page, now);
		if (status != PM_OK)
			return status;
		for (uint32_t i = 0; i < now; i++)
			count_old(cap, page + i, pm_hash_content(cap->old +
			    i * cap->page_size, cap->page_size));
		page += now;
		pages -= now;
	}
	return PM_OK;
}

/* Read as many pages of the step as the record has room for. */
static enum pm_status
read_step(struct capture *cap, uint64_t page, struct step *step)
{
	uint32_t room = (cap->opt->record_size - cap->rec->stored) /
	    (uint32_t)cap->page_size, got = 0;
	enum pm_status status;
	uint8_t *to;

	if (room == 0 || cap->rec->entries + room > PM_ENTRIES_MAX) {
		if ((status = flush(cap)) != PM_OK)
			return status;
		room = cap->opt->record_size / (uint32_t)cap->page_size;
	}
	if (room < step->pages)
		step->pages = room;
	if (cap->opt->base != NULL && step->old_data) {
		status = read_base(cap, page, (uint32_t)step->pages);
		if (status != PM_OK)
			return status;
	}
	to = cap->rec->payload + cap->rec->stored;
	status = cap->source->ops->read(cap->source, cap->region, page,
	    (uint32_t)step->pages, to, &got);
	if (status != PM_OK)
		return status;
	if (got < step->pages) {
		if (got > 0)
			step->pages = got;
		else {	/* not there, though it was mapped */
			step->pages = 1;
			step->kind = PM_SPAN_GONE;
			return PM_OK;
		}
	}
	return take_pages(cap, page, (uint32_t)step->pages, to,
	    step->old_data);
}

static enum pm_status
look_base(struct capture *cap, uint64_t page, uint64_t end, int *data,
    uint64_t *pages)
{
	struct pm_source *base = cap->opt->base;
	struct pm_span span = { PM_SPAN_GONE, UINT64_MAX };
	enum pm_status status = PM_OK;

	if (page < end) {
		status = base->ops->span(base, cap->old_region, page, &span);
		if (span.pages > end - page)
			span.pages = end - page;
	}
	*data = span.kind == PM_SPAN_DATA;
	*pages = span.pages;
	return status;
}

static enum pm_status
look(struct capture *cap, uint64_t page, uint64_t end, uint64_t old_end,
    struct step *step)
{
	struct pm_span span = { PM_SPAN_GONE, UINT64_MAX };
	uint64_t old = UINT64_MAX;
	enum pm_status status = PM_OK;

	step->old_data = 0;
	if (page < end) {
		status = cap->source->ops->span(cap->source, cap->region,
		    page, &span);
		if (span.pages > end - page)
			span.pages = end - page;
	}
	if (status == PM_OK && cap->old_region != UINT32_MAX)
		status = cap->opt->base != NULL
		    ? look_base(cap, page, old_end, &step->old_data, &old)
		    : pm_table_span(cap->opt->since, cap->old_region, page,
		    &step->old_data, &old);
	step->kind = span.kind;
	step->pages = span.pages < old ? span.pages : old;
	return status;
}

/* A run without content is told when it is news. */
static enum pm_status
take_run(struct capture *cap, uint64_t page, uint64_t end,
    const struct step *step)
{
	enum pm_status status = PM_OK;

	if (step->old_data)
		status = pass_old(cap, page, step->pages);
	if (status != PM_OK || page >= end ||
	    (is_incremental(cap) && !step->old_data))
		return status;
	return add_run(cap, step->kind == PM_SPAN_ZERO ? PM_ZERO : PM_GONE,
	    page, step->pages);
}

static enum pm_status
walk_region(struct capture *cap, uint64_t length, uint64_t old_length)
{
	unsigned shift = cap->source->page_shift;
	uint64_t end = pm_region_pages(length, shift);
	uint64_t old_end = pm_region_pages(old_length, shift);
	uint64_t last = old_end > end ? old_end : end;
	enum pm_status status;
	struct step step;

	for (uint64_t page = 0; page < last; page += step.pages) {
		status = look(cap, page, end, old_end, &step);
		if (status == PM_OK && step.pages > last - page)
			step.pages = last - page;
		if (status == PM_OK && step.kind == PM_SPAN_DATA)
			status = read_step(cap, page, &step);
		if (status == PM_OK && step.kind != PM_SPAN_DATA)
			status = take_run(cap, page, end, &step);
		if (status != PM_OK)
			return status;
		if (page < end && step.kind != PM_SPAN_GONE)
			cap->counts->pages += step.pages;
	}
	return flush(cap);
}

/* The regions of what it is compared with; none for a full stream. */
static const struct pm_region *
old_regions(const struct capture *cap, uint32_t *count)
{
	if (cap->opt->base != NULL) {
		*count = cap->opt->base->regions;
		return cap->opt->base->region;
	}
	if (cap->opt->since != NULL) {
		*count = cap->opt->since->layout->regions;
		return cap->opt->since->layout->region;
	}
	*count = 0;
	return NULL;
}

/* The number of the region with that key among them, or UINT32_MAX. */
static uint32_t
find(const struct pm_region *region, uint32_t regions, uint64_t key)
{
	for (uint32_t i = 0; i < regions; i++)
		if (region[i].key == key)
			return i;
	return UINT32_MAX;
}

static enum pm_status
put_region(struct capture *cap, const struct pm_region *region,
    uint64_t length, uint64_t old_length, uint32_t number)
{
	struct pm_region copy = *region;

	copy.length = length;
	copy.old_length = old_length;
	pm_record_clear(cap->rec, PM_TYPE_REGION);
	pm_region_pack(&copy, number, cap->rec);
	return put(cap, cap->rec);
}

/* Those that are, and then those that are no more. */
static enum pm_status
put_regions(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	uint32_t number = 0, olds, was;
	const struct pm_region *old = old_regions(cap, &olds);
	enum pm_status status = PM_OK;

	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++) {
		was = find(old, olds, source->region[i].key);
		status = put_region(cap, &source->region[i],
		    source->region[i].length,
		    was == UINT32_MAX ? 0 : old[was].length, number++);
	}
	for (uint32_t i = 0; i < olds && status == PM_OK; i++)
		if (find(source->region, source->regions, old[i].key) ==
		    UINT32_MAX)
			status = put_region(cap, &old[i], 0, old[i].length,
			    number++);
	return status;
}

static enum pm_status
put_mappings(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	enum pm_status status = PM_OK;

	pm_record_clear(cap->rec, PM_TYPE_MAP);
	for (size_t i = 0; i < source->mappings && status == PM_OK; i++) {
		if (pm_mapping_pack(&source->mapping[i], cap->rec))
			continue;
		status = put(cap, cap->rec);
		pm_record_clear(cap->rec, PM_TYPE_MAP);
		if (!pm_mapping_pack(&source->mapping[i], cap->rec))
			status = pm_fault_set(cap->fault, PM_ERR_REFUSED,
			    NULL, "a mapping has too long a name");
	}
	if (status == PM_OK && cap->rec->stored > 0)
		status = put(cap, cap->rec);
	return status;
}

static enum pm_status
put_beginning(struct capture *cap)
{
	struct pm_stream stream = {
		.version = PM_VERSION_MAX,
		.page_shift = cap->source->page_shift,
	};
	enum pm_status status;

	if (cap->opt->since != NULL)
		stream.from = cap->opt->since->id;
	cap->counts->from = stream.from;
	if (cap->opt->base != NULL) {
		stream.needs |= PM_NEEDS_LATE_FROM;
		cap->counts->from = pm_layout_id(cap->opt->base->region,
		    cap->opt->base->regions);
	}

	pm_record_clear(cap->rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, cap->rec);
	status = put(cap, cap->rec);
	if (status == PM_OK)
		status = put_regions(cap);
	if (status == PM_OK)
		status = put_mappings(cap);
	return status;
}

static enum pm_status
walk(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	uint32_t olds;
	const struct pm_region *old = old_regions(cap, &olds);
	enum pm_status status = PM_OK;

	cap->counts->to = pm_layout_id(source->region, source->regions);
	pm_record_clear(cap->rec, PM_TYPE_PAGES);
	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++) {
		const struct pm_region *region = &source->region[i];

		cap->region = i;
		cap->key = region->key;
		cap->old_region = find(old, olds, region->key);
		status = walk_region(cap, region->length,
		    cap->old_region == UINT32_MAX ? 0
		    : old[cap->old_region].length);
	}
	/* Regions that are no more still count in what the memory was. */
	for (uint32_t i = 0; i < olds && status == PM_OK; i++) {
		if (find(source->region, source->regions, old[i].key) !=
		    UINT32_MAX)
			continue;
		cap->old_region = i;
		cap->key = old[i].key;
		status = walk_region(cap, 0, old[i].length);
	}
	return status;
}

static unsigned
old_page_shift(const struct capture *cap)
{
	return cap->opt->base != NULL ? cap->opt->base->page_shift :
	    cap->opt->since != NULL ? cap->opt->since->layout->page_shift :
	    cap->source->page_shift;
}

static enum pm_status
prepare(struct capture *cap)
{
	unsigned shift = cap->source->page_shift;

	if (old_page_shift(cap) != shift)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of %u bytes, not %u",
		    1u << old_page_shift(cap), 1u << shift);
	cap->page_size = (size_t)1 << shift;
	cap->rec = pm_record_new();
	cap->old = pm_record_buffer();
	if (cap->opt->save != NULL)
		cap->layout = cap->opt->save->layout;
	if (cap->rec == NULL || cap->old == NULL)
		return pm_fault_set(cap->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	cap->rec->page_shift = shift;
	return PM_OK;
}

enum pm_status
pm_capture_run(struct pm_source *source,
    const struct pm_capture_options *opt, struct pm_writer *out,
    struct pm_capture_counts *counts, struct pm_fault *fault)
{
	struct capture cap = {
		.source = source, .opt = opt, .out = out, .counts = counts,
		.fault = fault,
	};
	enum pm_status status = prepare(&cap);

	*counts = (struct pm_capture_counts){ 0 };
	if (status == PM_OK)
		status = put_beginning(&cap);
	if (status == PM_OK)
		status = walk(&cap);
	if (status == PM_OK)
		status = source->ops->done(source);
	if (status == PM_OK)
		status = pm_writer_end(out, counts->from, counts->to,
		    cap.rec);
	pm_record_free(cap.rec);
	free(cap.old);
	return status;
}
