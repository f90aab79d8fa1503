/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capture.h"
#include "chunk.h"
#include "crew.h"
#include "gather.h"
#include "preface.h"

#define CHUNKS	3u		/* for each thread */

/*
 * A walk, in ascending order, over the pages of the source and of what it is
 * compared with: first the regions of the source, then those that are no
 * more.  Chunks are cut from it, looked at, and taken in the same order.
 */
struct walk {
	uint32_t at;			/* of the source's regions and then of
					   the old ones */
	int begun;			/* that region */
	uint32_t region, old_region;	/* UINT32_MAX: it is not there */
	uint64_t key;
	uint64_t page, end, last;	/* of the region, and of it or the old
					   one, whichever is longer */
};

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
	struct walk walk;
	uint32_t region;		/* of the chunk taken last */
};

/* Begin the region that the walk is at; PM_END behind the last. */
static enum pm_status
begin_region(struct capture *cap)
{
	const struct pm_source *source = cap->source;
	unsigned shift = source->page_shift;
	struct walk *walk = &cap->walk;
	uint32_t olds;
	const struct pm_region *old = pm_older_regions(&cap->older, &olds);
	uint64_t old_end = 0;

	/* Old regions that are no more still count in what the memory was. */
	while (walk->at >= source->regions && walk->at - source->regions <
	    olds && pm_source_has(source, old[walk->at - source->regions].key))
		walk->at++;
	if (walk->at >= source->regions + olds)
		return PM_END;
	walk->region = walk->at < source->regions ? walk->at : UINT32_MAX;
	walk->key = walk->region != UINT32_MAX
	    ? source->region[walk->region].key
	    : old[walk->at - source->regions].key;
	walk->old_region = pm_older_region(&cap->older, walk->key);
	walk->end = walk->region == UINT32_MAX ? 0 : pm_region_pages(
	    source->region[walk->region].length, shift);
	if (walk->old_region != UINT32_MAX)
		old_end = pm_region_pages(old[walk->old_region].length, shift);
	walk->last = old_end > walk->end ? old_end : walk->end;
	walk->page = 0;
	walk->begun = 1;
	return PM_OK;
}

/* The pages that come next, alike in the source and in what it was. */
static enum pm_status
cut_chunk(struct capture *cap, struct pm_chunk *chunk)
{
	struct walk *walk = &cap->walk;
	struct pm_span span = { PM_SPAN_GONE, UINT64_MAX };
	enum pm_status status;
	uint64_t pages;

	status = pm_older_span(&cap->older, walk->old_region, walk->page,
	    &chunk->old_data, &pages);
	if (status == PM_OK && walk->page < walk->end) {
		status = cap->source->ops->span(cap->source, walk->region,
		    walk->page, &span);
		if (span.pages > walk->end - walk->page)
			span.pages = walk->end - walk->page;
	}
	if (pages > span.pages)
		pages = span.pages;
	if (pages > walk->last - walk->page)
		pages = walk->last - walk->page;
	if ((span.kind == PM_SPAN_DATA || chunk->old_data) &&
	    pages > PM_CHUNK_BYTES / cap->page_size)
		pages = PM_CHUNK_BYTES / cap->page_size;
	chunk->kind = span.kind;
	chunk->region = walk->region;
	chunk->old_region = walk->old_region;
	chunk->key = walk->key;
	chunk->page = walk->page;
	chunk->pages = pages;
	walk->page += pages;
	return status;
}

static enum pm_status
next_chunk(void *arg, void *item)
{
	struct capture *cap = arg;
	struct walk *walk = &cap->walk;
	enum pm_status status = PM_OK;

	while (status == PM_OK && (!walk->begun || walk->page == walk->last)) {
		walk->at += walk->begun != 0;
		walk->begun = 0;
		status = begin_region(cap);
	}
	return status == PM_OK ? cut_chunk(cap, item) : status;
}

static enum pm_status
look_at_chunk(void *arg, void *item, void *state, struct pm_fault *fault)
{
	struct capture *cap = arg;

	(void)state;
	return pm_chunk_look(item, cap->source, &cap->older, fault);
}

static enum pm_status
remember(struct capture *cap, const struct pm_chunk *chunk, uint64_t i)
{
	struct pm_table *save = cap->opt->save;
	struct pm_place place;

	if (save == NULL)
		return PM_OK;
	place = pm_layout_find(save->layout, chunk->region, chunk->page + i);
	return place.held ? pm_table_set(save, place.slot, chunk->content[i])
	    : PM_OK;
}

/* What the page was. */
static enum pm_status
look_back(struct capture *cap, const struct pm_chunk *chunk, uint64_t i,
    struct pm_digest *was)
{
	*was = (struct pm_digest){ 0, 0 };
	if (!chunk->old_data)
		return PM_OK;
	if (cap->opt->base == NULL)
		return pm_older_hash(&cap->older, chunk->old_region,
		    chunk->page + i, was);
	*was = chunk->was[i];
	return PM_OK;
}

/* A page that is no more is told when that is news. */
static enum pm_status
take_blank(struct capture *cap, const struct pm_chunk *chunk, uint64_t i)
{
	enum pm_kind kind = chunk->kind == PM_SPAN_ZERO ? PM_ZERO : PM_GONE;
	struct pm_digest was;
	enum pm_status status = look_back(cap, chunk, i, &was);

	/* Behind the end, there is nothing to be told. */
	if (status != PM_OK || chunk->region == UINT32_MAX || chunk->page + i
	    >= pm_region_pages(cap->source->region[chunk->region].length,
	    cap->source->page_shift))
		return status;
	if (cap->full || !pm_digest_is_zero(was))
		status = pm_gather_run(&cap->gather, kind, chunk->page + i, 1);
	cap->counts->pages += kind == PM_ZERO;
	return status;
}

static enum pm_status
take_page(struct capture *cap, const struct pm_chunk *chunk, uint64_t i)
{
	uint64_t page = chunk->page + i;
	struct pm_digest was;
	enum pm_status status;

	if (!pm_chunk_has(chunk, i))
		return take_blank(cap, chunk, i);
	status = remember(cap, chunk, i);
	if (status == PM_OK)
		status = look_back(cap, chunk, i, &was);
	if (status != PM_OK)
		return status;
	cap->counts->pages++;
	cap->counts->read++;
	if (!cap->full && pm_digest_equal(was, chunk->content[i])) {
		cap->counts->equal++;
		return PM_OK;
	}
	if (pm_digest_is_zero(chunk->content[i]))
		return pm_gather_run(&cap->gather, PM_ZERO, page, 1);
	return pm_gather_page(&cap->gather, page, chunk->new + i *
	    cap->page_size, chunk->hash[i]);
}

/* True when all its pages are sent as they are. */
static int
is_whole(const struct capture *cap, const struct pm_chunk *chunk)
{
	if (!cap->full || chunk->gone != 0)
		return 0;
	for (uint64_t i = 0; i < chunk->pages; i++)
		if (pm_digest_is_zero(chunk->content[i]))
			return 0;
	return 1;
}

static enum pm_status
take_whole(struct capture *cap, const struct pm_chunk *chunk)
{
	enum pm_status status = PM_OK;

	cap->counts->pages += chunk->pages;
	cap->counts->read += chunk->pages;
	for (uint64_t i = 0; i < chunk->pages && status == PM_OK; i++)
		status = remember(cap, chunk, i);
	return status != PM_OK ? status : pm_gather_pages(&cap->gather,
	    chunk->page, (uint32_t)chunk->pages, chunk->new, chunk->hash);
}

/* A run without content, new or old, is news to a full stream alone. */
static enum pm_status
take_run(struct capture *cap, const struct pm_chunk *chunk)
{
	enum pm_kind kind = chunk->kind == PM_SPAN_ZERO ? PM_ZERO : PM_GONE;

	if (chunk->region == UINT32_MAX)
		return PM_OK;
	cap->counts->pages += kind == PM_ZERO ? chunk->pages : 0;
	return cap->full ? pm_gather_run(&cap->gather, kind, chunk->page,
	    chunk->pages) : PM_OK;
}

static enum pm_status
take_chunk(void *arg, void *item)
{
	struct capture *cap = arg;
	struct pm_chunk *chunk = item;
	enum pm_status status = PM_OK;

	if (chunk->region != cap->region && chunk->region != UINT32_MAX) {
		status = pm_gather_flush(&cap->gather);
		cap->gather.region = cap->number[chunk->region];
		cap->region = chunk->region;
	}
	cap->counts->to = pm_digest_add(cap->counts->to, chunk->to);
	cap->counts->from = pm_digest_add(cap->counts->from, chunk->from);
	if (status != PM_OK)
		return status;
	if (chunk->kind != PM_SPAN_DATA && !chunk->old_data)
		return take_run(cap, chunk);
	if (chunk->kind == PM_SPAN_DATA && is_whole(cap, chunk))
		return take_whole(cap, chunk);
	for (uint64_t i = 0; i < chunk->pages && status == PM_OK; i++)
		status = take_page(cap, chunk, i);
	return status;
}

/* Where every page is sent, the pipe is slower than one thread. */
static unsigned
count_threads(const struct capture *cap)
{
	const struct pm_source *base = cap->opt->base;

	return cap->source->is_shared && (base == NULL || base->is_shared) &&
	    !cap->full && cap->opt->threads > 1 ? cap->opt->threads : 1;
}

static enum pm_status
run_crew(struct capture *cap, void **chunk, size_t chunks, unsigned threads)
{
	struct pm_crew crew = { next_chunk, look_at_chunk, take_chunk, cap,
	    chunk, chunks };
	struct pm_crew_failure failure;
	enum pm_status status;

	for (size_t i = 0; i < chunks; i++)
		if ((chunk[i] = pm_chunk_new()) == NULL)
			return PM_ERR_SYSTEM;
	status = pm_crew_run(&crew, NULL, threads, &failure);
	if (status != PM_OK && failure.part == PM_CREW_STEP &&
	    cap->fault != NULL)
		*cap->fault = failure.fault;
	return status;
}

static enum pm_status
walk(struct capture *cap)
{
	const struct pm_source *source = cap->source, *base = cap->opt->base;
	unsigned threads = count_threads(cap);
	size_t chunks = threads == 1 ? 1 : threads * CHUNKS;
	void **chunk = calloc(chunks, sizeof(*chunk));
	enum pm_status status = PM_ERR_SYSTEM;

	cap->counts->to = pm_layout_id(source->region, source->regions);
	if (base != NULL)
		cap->counts->from = pm_layout_id(base->region, base->regions);
	else if (cap->opt->since != NULL)
		cap->counts->from = cap->opt->since->id;
	cap->region = UINT32_MAX;
	pm_record_clear(cap->gather.rec, PM_TYPE_PAGES);
	if (chunk != NULL)
		status = run_crew(cap, chunk, chunks, threads);
	for (size_t i = 0; chunk != NULL && i < chunks; i++)
		pm_chunk_free(chunk[i]);
	free(chunk);
	return status == PM_OK ? pm_gather_flush(&cap->gather) : status;
}

static enum pm_status
prepare(struct capture *cap)
{
	unsigned shift = cap->source->page_shift, old_shift;

	pm_older_open(&cap->older, cap->opt->base, cap->opt->since);
	old_shift = pm_older_page_shift(&cap->older, shift);
	if (old_shift != shift)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of %u bytes, not %u",
		    1u << old_shift, 1u << shift);
	cap->full = pm_older_is_empty(&cap->older);
	if (cap->source->foreign != NULL && (!cap->full ||
	    cap->opt->base != NULL || cap->opt->save != NULL))
		cap->source->may |= PM_MAY_SAVED;
	cap->page_size = cap->gather.page_size = (size_t)1 << shift;
	cap->gather.rec = pm_record_new();
	if (cap->gather.rec == NULL)
		return pm_fault_set(cap->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	cap->gather.rec->page_shift = shift;
	return PM_OK;
}

static enum pm_status
put_foreign(struct capture *cap, enum pm_source_part part)
{
	struct pm_source *source = cap->source;
	struct pm_record *rec = cap->gather.rec;
	enum pm_status status = PM_OK;
	uint64_t at = 0;
	size_t got = 1;

	while (source->foreign != NULL && status == PM_OK) {
		pm_record_clear(rec, PM_TYPE_OPAQUE);
		status = source->foreign(source, part, at, rec->payload,
		    PM_RECORD_PAYLOAD, &got);
		if (status != PM_OK || got == 0)
			break;
		rec->stored = rec->decoded = (uint32_t)got;
		at += got;
		status = pm_gather_put(&cap->gather);
	}
	return status;
}

/* Foreign bytes may hang on the pages before them being right. */
static enum pm_status
mark_round(struct capture *cap)
{
	struct pm_round round = { .number = 1, .known = 1,
	    .generation = cap->counts->to,
	    .records = cap->gather.out->records,
	    .pages = cap->gather.out->pages };

	pm_record_clear(cap->gather.rec, PM_TYPE_ROUND);
	pm_round_pack(&round, cap->gather.rec);
	return pm_gather_put(&cap->gather);
}

/* All pages, within what stands before and behind them. */
static enum pm_status
put_all(struct capture *cap)
{
	enum pm_status status = put_foreign(cap, PM_SOURCE_BEFORE);

	if (status == PM_OK)
		status = walk(cap);
	if (status != PM_OK || cap->source->foreign == NULL)
		return status;
	status = put_foreign(cap, PM_SOURCE_BEHIND);
	if (status == PM_OK)
		status = mark_round(cap);
	return status == PM_OK ? put_foreign(cap, PM_SOURCE_AFTER) : status;
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
		status = pm_preface_put(&cap.gather, source, &cap.older,
		    cap.number, fault);
	if (status == PM_OK)
		status = put_all(&cap);
	if (status == PM_OK)
		status = finish(&cap);
	pm_record_free(cap.gather.rec);
	return status;
}
