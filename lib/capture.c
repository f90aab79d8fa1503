/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "capture.h"
#include "gather.h"
#include "older.h"

/*
 * One walk, in ascending order, over the pages of the source and of what it
 * is compared with.
 */
struct capture {
	struct pm_source *source;
	const struct pm_capture_options *opt;
	struct pm_capture_counts *counts;
	struct pm_fault *fault;
	struct pm_gather gather;
	struct pm_older older;
	size_t page_size;
	int full;			/* every page is mentioned */
	uint32_t number[PM_REGIONS_MAX];	/* in the stream, of the
						   source's regions */

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

static enum pm_status
remember(struct capture *cap, uint64_t page, struct pm_digest content)
{
	struct pm_table *save = cap->opt->save;
	struct pm_place place;

	if (save == NULL)
		return PM_OK;
	place = pm_layout_find(save->layout, cap->region, page);
	return place.held ? pm_table_set(save, place.slot, content) : PM_OK;
}

/* What the page was; it counts into "from" where that is not known yet. */
static enum pm_status
look_back(struct capture *cap, uint64_t page, const uint8_t *new,
    struct pm_digest content, struct pm_digest *was)
{
	enum pm_status status = pm_older_content(&cap->older, page, new,
	    content, was);

	if (status == PM_OK && cap->opt->base != NULL)
		cap->counts->from = pm_digest_add(cap->counts->from,
		    pm_hash_page(*was, cap->key, page));
	return status;
}

/* Look at pages that were read to from. */
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
		struct pm_digest was = { 0, 0 };

		cap->counts->to = pm_digest_add(cap->counts->to, hash);
		status = remember(cap, page + i, content);
		if (status == PM_OK && old_data)
			status = look_back(cap, page + i, new, content, &was);
		if (status != PM_OK)
			break;
		if (!cap->full && pm_digest_equal(was, content))
			cap->counts->equal++;
		else if (pm_digest_is_zero(content))
			status = pm_gather_run(&cap->gather, PM_ZERO,
			    page + i, 1);
		else
			status = pm_gather_page(&cap->gather, page + i, new,
			    hash);
	}
	return status;
}

/* Read as many pages of the step as the record has room for. */
static enum pm_status
read_step(struct capture *cap, uint64_t page, struct step *step)
{
	enum pm_status status;
	uint32_t room, got = 0;
	uint8_t *to;

	status = pm_gather_room(&cap->gather, &to, &room);
	if (room < step->pages)
		step->pages = room;
	if (status == PM_OK && step->old_data)
		status = pm_older_read(&cap->older, cap->old_region, page,
		    (uint32_t)step->pages);
	if (status == PM_OK)
		status = cap->source->ops->read(cap->source, cap->region,
		    page, (uint32_t)step->pages, to, &got);
	if (status != PM_OK)
		return status;
	if (got == 0) {		/* not there, though it was mapped */
		step->pages = 1;
		step->kind = PM_SPAN_GONE;
		return PM_OK;
	}
	step->pages = got;
	return take_pages(cap, page, got, to, step->old_data);
}

static enum pm_status
look(struct capture *cap, uint64_t page, uint64_t end, struct step *step)
{
	struct pm_span span = { PM_SPAN_GONE, UINT64_MAX };
	enum pm_status status;
	uint64_t old;

	status = pm_older_span(&cap->older, cap->old_region, page,
	    &step->old_data, &old);
	if (status == PM_OK && page < end) {
		status = cap->source->ops->span(cap->source, cap->region,
		    page, &span);
		if (span.pages > end - page)
			span.pages = end - page;
	}
	step->kind = span.kind;
	step->pages = span.pages < old ? span.pages : old;
	return status;
}

/* Pages that had content become a run, or lie behind the new end. */
static enum pm_status
pass_old(struct capture *cap, uint64_t page, uint64_t end,
    const struct step *step, enum pm_kind kind)
{
	static const struct pm_digest none = { 0, 0 };
	uint32_t most = PM_PAYLOAD_MAX / (uint32_t)cap->page_size;
	uint64_t last = page + step->pages, at = page;
	enum pm_status status = PM_OK;
	struct pm_digest was;

	for (; page < last && status == PM_OK; page++) {
		if (page == at) {
			uint32_t now = last - at < most ? (uint32_t)(last -
			    at) : most;

			status = pm_older_read(&cap->older, cap->old_region,
			    page, now);
			at += now;
		}
		if (status == PM_OK)
			status = look_back(cap, page, NULL, none, &was);
		if (status == PM_OK && page < end && !pm_digest_is_zero(was))
			status = pm_gather_run(&cap->gather, kind, page, 1);
	}
	return status;
}

/* A run without content is told when it is news. */
static enum pm_status
take_run(struct capture *cap, uint64_t page, uint64_t end,
    const struct step *step)
{
	enum pm_kind kind = step->kind == PM_SPAN_ZERO ? PM_ZERO : PM_GONE;

	if (step->old_data)
		return pass_old(cap, page, end, step, kind);
	if (cap->full)
		return pm_gather_run(&cap->gather, kind, page, step->pages);
	return PM_OK;
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
		status = look(cap, page, end, &step);
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
	return pm_gather_flush(&cap->gather);
}

static int
has_region(const struct pm_source *source, uint64_t key)
{
	for (uint32_t i = 0; i < source->regions; i++)
		if (source->region[i].key == key)
			return 1;
	return 0;
}

static enum pm_status
put_region(struct capture *cap, const struct pm_region *region,
    uint64_t length, uint64_t old_length, uint32_t number)
{
	struct pm_region copy = *region;

	if (number == PM_REGIONS_MAX)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "old and new memory together have more than %u regions",
		    PM_REGIONS_MAX);
	copy.length = length;
	copy.old_length = old_length;
	pm_record_clear(cap->gather.rec, PM_TYPE_REGION);
	pm_region_pack(&copy, number, cap->gather.rec);
	return pm_gather_put(&cap->gather);
}

/*
 * Old regions that are no more stand where they stood: what the memory was
 * lies in a file in the order of the numbers too.
 */
static enum pm_status
put_gone(struct capture *cap, uint32_t *at, uint32_t end, uint32_t *number)
{
	uint32_t olds;
	const struct pm_region *old = pm_older_regions(&cap->older, &olds);
	enum pm_status status = PM_OK;

	for (; *at < end && status == PM_OK; (*at)++)
		status = has_region(cap->source, old[*at].key)
		    ? pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "regions changed places; only a full stream can tell that")
		    : put_region(cap, &old[*at], 0, old[*at].length,
		    (*number)++);
	return status;
}

static enum pm_status
put_regions(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	uint32_t number = 0, olds, was, at = 0;
	const struct pm_region *old = pm_older_regions(&cap->older, &olds);
	enum pm_status status = PM_OK;

	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++) {
		const struct pm_region *region = &source->region[i];

		was = pm_older_region(&cap->older, region->key);
		if (was != UINT32_MAX) {
			if (old[was].address != region->address)
				return pm_fault_set(cap->fault,
				    PM_ERR_REFUSED, NULL, "region %.64s had "
				    "another address; only a full stream can "
				    "move it", region->name);
			status = put_gone(cap, &at, was, &number);
			at = was + 1;
		}
		cap->number[i] = number++;
		if (status == PM_OK)
			status = put_region(cap, region, region->length,
			    was == UINT32_MAX ? 0 : old[was].length,
			    cap->number[i]);
	}
	return status != PM_OK ? status
	    : put_gone(cap, &at, olds, &number);
}

static enum pm_status
put_mappings(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	enum pm_status status = PM_OK;

	pm_record_clear(cap->gather.rec, PM_TYPE_MAP);
	for (size_t i = 0; i < source->mappings && status == PM_OK; i++) {
		if (pm_mapping_pack(&source->mapping[i], cap->gather.rec))
			continue;
		status = pm_gather_put(&cap->gather);
		pm_record_clear(cap->gather.rec, PM_TYPE_MAP);
		if (!pm_mapping_pack(&source->mapping[i], cap->gather.rec))
			status = pm_fault_set(cap->fault, PM_ERR_REFUSED,
			    NULL, "a mapping has too long a name");
	}
	if (status == PM_OK && cap->gather.rec->stored > 0)
		status = pm_gather_put(&cap->gather);
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

	pm_record_clear(cap->gather.rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, cap->gather.rec);
	status = pm_gather_put(&cap->gather);
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
	const struct pm_region *old = pm_older_regions(&cap->older, &olds);
	enum pm_status status = PM_OK;

	cap->counts->to = pm_layout_id(source->region, source->regions);
	pm_record_clear(cap->gather.rec, PM_TYPE_PAGES);
	for (uint32_t i = 0; i < source->regions && status == PM_OK; i++) {
		const struct pm_region *region = &source->region[i];

		cap->region = i;
		cap->gather.region = cap->number[i];
		cap->key = region->key;
		cap->old_region = pm_older_region(&cap->older, region->key);
		status = walk_region(cap, region->length,
		    cap->old_region == UINT32_MAX ? 0
		    : old[cap->old_region].length);
	}
	/* Regions that are no more still count in what the memory was. */
	for (uint32_t i = 0; i < olds && status == PM_OK; i++) {
		if (has_region(source, old[i].key))
			continue;
		cap->old_region = i;
		cap->key = old[i].key;
		status = walk_region(cap, 0, old[i].length);
	}
	return status;
}

static enum pm_status
prepare(struct capture *cap)
{
	unsigned shift = cap->source->page_shift, old_shift;
	enum pm_status status = pm_older_open(&cap->older, cap->opt->base,
	    cap->opt->since);

	old_shift = pm_older_page_shift(&cap->older, shift);
	if (old_shift != shift)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of %u bytes, not %u",
		    1u << old_shift, 1u << shift);
	cap->full = pm_older_is_empty(&cap->older);
	cap->page_size = cap->gather.page_size = (size_t)1 << shift;
	cap->gather.rec = pm_record_new();
	if (status != PM_OK || cap->gather.rec == NULL)
		return pm_fault_set(cap->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	cap->gather.rec->page_shift = shift;
	return PM_OK;
}

/* What was read must have stood still, on both sides. */
static enum pm_status
finish(struct capture *cap)
{
	struct pm_source *base = cap->opt->base;
	enum pm_status status = cap->source->ops->done(cap->source);

	if (status == PM_OK && base != NULL)
		status = base->ops->done(base);
	if (status == PM_OK)
		status = pm_writer_end(cap->gather.out, cap->counts->from,
		    cap->counts->to, cap->gather.rec);
	cap->counts->raw = cap->gather.raw;
	cap->counts->zero = cap->gather.zero;
	cap->counts->gone = cap->gather.gone;
	cap->counts->blocked_us = cap->gather.blocked_us;
	return status;
}

enum pm_status
pm_capture_run(struct pm_source *source,
    const struct pm_capture_options *opt, struct pm_writer *out,
    struct pm_capture_counts *counts, struct pm_fault *fault)
{
	struct capture cap = {
		.source = source, .opt = opt, .counts = counts,
		.fault = fault, .gather = {
			.out = out, .record_size = opt->record_size,
		},
	};
	enum pm_status status = prepare(&cap);

	*counts = (struct pm_capture_counts){ 0 };
	if (status == PM_OK)
		status = put_beginning(&cap);
	if (status == PM_OK)
		status = walk(&cap);
	if (status == PM_OK)
		status = finish(&cap);
	pm_record_free(cap.gather.rec);
	pm_older_close(&cap.older);
	return status;
}
