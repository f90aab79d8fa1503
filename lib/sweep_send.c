/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "clock.h"
#include "preface.h"
#include "sweep.h"

/* Records are of one region: make it that of a page, and find it in there. */
static enum pm_status
aim(struct pm_sweep *sweep, uint64_t number, uint64_t *page)
{
	uint32_t region = pm_subject_region(sweep->subject, number, page);
	enum pm_status status = PM_OK;

	if (region != sweep->region) {
		status = pm_gather_flush(sweep->gather);
		sweep->gather->region = sweep->number[region];
		sweep->region = region;
	}
	return status;
}

/* From now on the stream says that of a page. */
static enum pm_status
remember(struct pm_sweep *sweep, uint64_t number, uint64_t page,
    struct pm_digest was, struct pm_digest content, struct pm_digest hash)
{
	uint64_t key = sweep->subject->about.region[sweep->region].key;

	sweep->id = pm_digest_add(hash, pm_digest_subtract(sweep->id,
	    pm_hash_page(was, key, page)));
	if (pm_ledger_set(&sweep->ledger, number, content) != PM_OK)
		return pm_sweep_no_memory(sweep);
	return PM_OK;
}

/* One page of the batch, as it was read. */
static enum pm_status
take(struct pm_sweep *sweep, uint64_t number, const uint8_t *bytes)
{
	struct pm_digest content = pm_hash_content(bytes, sweep->page_size);
	struct pm_digest was = pm_ledger_get(&sweep->ledger, number), hash;
	enum pm_status status;
	uint64_t page;

	sweep->looked++;
	if (sweep->subject->is_direct && (sweep->is_first ||
	    !pm_digest_equal(content, was)))
		pm_bitmap_set(&sweep->recent, number);
	if (!sweep->full && pm_digest_equal(content, was)) {
		sweep->equal++;
		return PM_OK;
	}
	if ((status = aim(sweep, number, &page)) != PM_OK)
		return status;
	hash = pm_hash_page(content,
	    sweep->subject->about.region[sweep->region].key, page);
	status = remember(sweep, number, page, was, content, hash);
	if (status != PM_OK)
		return status;
	return pm_digest_is_zero(content)
	    ? pm_gather_run(sweep->gather, PM_ZERO, page, 1)
	    : pm_gather_page(sweep->gather, page, bytes, hash);
}

/*
 * A page that is not there after all: mappings are changing, and what is
 * there will be known when they are listed again; or all stands still.
 */
static enum pm_status
take_missing(struct pm_sweep *sweep, uint64_t number)
{
	if (!sweep->is_still)
		pm_bitmap_set(&sweep->pending, number);
	return sweep->is_still || sweep->full
	    ? pm_sweep_blank(sweep, PM_GONE, number, 1) : PM_OK;
}

/* True when the batch is a row of pages that fills a record. */
static int
is_row(const struct pm_sweep *sweep, unsigned count, uint64_t got)
{
	uint64_t first, last;

	return sweep->full && count * sweep->page_size ==
	    sweep->gather->record_size && (~got << (64 - count)) == 0 &&
	    sweep->batch[count - 1] - sweep->batch[0] == count - 1 &&
	    pm_subject_region(sweep->subject, sweep->batch[0], &first) ==
	    pm_subject_region(sweep->subject, sweep->batch[count - 1], &last);
}

/* Such a row need not be copied, if no page of it is zeroes; none is left. */
static enum pm_status
take_row(struct pm_sweep *sweep, unsigned count, unsigned *left)
{
	struct pm_digest hash[PM_SWEEP_BATCH], content[PM_SWEEP_BATCH];
	const struct pm_digest none = { 0, 0 };
	enum pm_status status;
	uint64_t page, key;

	if ((status = aim(sweep, sweep->batch[0], &page)) != PM_OK)
		return status;
	key = sweep->subject->about.region[sweep->region].key;
	for (unsigned i = 0; i < count; i++) {
		content[i] = pm_hash_content(sweep->buf + i *
		    sweep->page_size, sweep->page_size);
		if (pm_digest_is_zero(content[i]))
			return PM_OK;
		hash[i] = pm_hash_page(content[i], key, page + i);
	}
	for (unsigned i = 0; i < count && status == PM_OK; i++)
		status = remember(sweep, sweep->batch[i], page + i, none,
		    content[i], hash[i]);
	if (sweep->subject->is_direct)
		pm_bitmap_set_run(&sweep->recent, sweep->batch[0], count);
	sweep->looked += count;
	*left = 0;
	return status == PM_OK ? pm_gather_pages(sweep->gather, page, count,
	    sweep->buf, hash) : status;
}

enum pm_status
pm_sweep_flush(struct pm_sweep *sweep)
{
	uint64_t began = pm_clock_us(), blocked = sweep->gather->blocked_us;
	enum pm_status status;
	uint64_t got = 0;
	unsigned count = sweep->batched;

	if (count == 0)
		return PM_OK;
	sweep->batched = 0;
	status = sweep->subject->ops->read(sweep->subject, sweep->batch,
	    count, sweep->buf, &got);
	if (status == PM_OK && is_row(sweep, count, got))
		status = take_row(sweep, count, &count);
	for (unsigned i = 0; i < count && status == PM_OK; i++)
		status = (got >> i & 1) == 0
		    ? take_missing(sweep, sweep->batch[i])
		    : take(sweep, sweep->batch[i], sweep->buf +
		    i * sweep->page_size);
	sweep->look_us += pm_clock_us() - began -
	    (sweep->gather->blocked_us - blocked);
	return status;
}

enum pm_status
pm_sweep_add(struct pm_sweep *sweep, uint64_t page)
{
	sweep->batch[sweep->batched++] = page;
	return sweep->batched * sweep->page_size == PM_SWEEP_BATCH <<
	    PM_PAGE_SHIFT_MIN || sweep->batched == PM_SWEEP_BATCH
	    ? pm_sweep_flush(sweep) : PM_OK;
}

/* Pages of one region that follow each other; the stream says they hold. */
static enum pm_status
forget_run(struct pm_sweep *sweep, uint64_t number, uint64_t pages)
{
	enum pm_status status = PM_OK;

	for (uint64_t end = number + pages; number < end && status == PM_OK;
	    number++) {
		struct pm_digest was = pm_ledger_get(&sweep->ledger, number);
		struct pm_digest zero = { 0, 0 };
		uint64_t page;

		(void)pm_subject_region(sweep->subject, number, &page);
		status = remember(sweep, number, page, was, zero, zero);
	}
	return status;
}

enum pm_status
pm_sweep_blank(struct pm_sweep *sweep, enum pm_kind kind, uint64_t number,
    uint64_t pages)
{
	const struct pm_bitmap *held = &sweep->ledger.held;
	uint64_t end = number + pages, page, until;
	enum pm_status status = pm_sweep_flush(sweep);

	if (status == PM_OK && sweep->full) {
		if ((status = aim(sweep, number, &page)) == PM_OK)
			status = pm_gather_run(sweep->gather, kind, page,
			    pages);
	}
	while (status == PM_OK &&
	    (number = pm_bitmap_next(held, number, end)) < end) {
		until = pm_bitmap_run(held, number, end);
		if ((status = aim(sweep, number, &page)) == PM_OK &&
		    !sweep->full)
			status = pm_gather_run(sweep->gather, kind, page,
			    until - number);
		if (status == PM_OK)
			status = forget_run(sweep, number, until - number);
		number = until;
	}
	return status;
}

/* Pending pages of which all are there, or none is. */
static enum pm_status
send_run(struct pm_sweep *sweep, uint64_t page, uint64_t pages)
{
	enum pm_status status = PM_OK;
	struct pm_span span;

	pm_bitmap_clear_run(&sweep->pending, page, pages);
	while (pages > 0 && status == PM_OK) {
		status = sweep->subject->ops->span(sweep->subject, page,
		    &span);
		if (span.pages > pages)
			span.pages = pages;
		if (status == PM_OK && span.kind != PM_SPAN_DATA)
			status = pm_sweep_blank(sweep, span.kind ==
			    PM_SPAN_ZERO ? PM_ZERO : PM_GONE, page,
			    span.pages);
		for (uint64_t i = 0; i < span.pages && status == PM_OK &&
		    span.kind == PM_SPAN_DATA; i++)
			status = pm_sweep_add(sweep, page + i);
		page += span.pages;
		pages -= span.pages;
	}
	return status;
}

static int
is_again(const struct pm_sweep *sweep, uint64_t page)
{
	page -= sweep->slice;
	return (int)(sweep->again[page / 64] >> page % 64 & 1);
}

static enum pm_status
send_slice(struct pm_sweep *sweep, uint64_t end)
{
	uint64_t page = sweep->slice, until;
	enum pm_status status = PM_OK;

	while (status == PM_OK &&
	    (page = pm_bitmap_next(&sweep->pending, page, end)) < end) {
		if (is_again(sweep, page)) {
			sweep->put_off++;
			page++;
			continue;
		}
		for (until = page + 1; until < end && !is_again(sweep, until)
		    && pm_bitmap_test(&sweep->pending, until); until++)
			;
		status = send_run(sweep, page, until - page);
		page = until;
	}
	return status == PM_OK ? pm_sweep_flush(sweep) : status;
}

enum pm_status
pm_sweep_send(struct pm_sweep *sweep)
{
	enum pm_status status = pm_sweep_tell(sweep);
	uint64_t page = 0, end, pages = sweep->subject->pages;

	/* What was seen before it was asked may have been written since. */
	sweep->subject->ops->forget(sweep->subject);

	while (status == PM_OK &&
	    (page = pm_bitmap_next(&sweep->pending, page, pages)) < pages) {
		sweep->slice = page / PM_SWEEP_SLICE * PM_SWEEP_SLICE;
		end = sweep->slice + PM_SWEEP_SLICE;
		if (end > pages)
			end = pages;
		memset(sweep->again, 0, sizeof(sweep->again));
		if (!sweep->is_still)
			status = pm_sweep_ask_slice(sweep, sweep->slice, end,
			    PM_SWEEP_PEEK);
		if (status == PM_OK)
			status = send_slice(sweep, end);
		if (status == PM_OK && sweep->pace != NULL)
			sweep->pace(sweep->pace_arg);
		page = end;
	}
	return status;
}

enum pm_status
pm_sweep_mark(struct pm_sweep *sweep, uint32_t number)
{
	struct pm_gather *gather = sweep->gather;
	struct pm_round round = { .number = number, .known = 1,
	    .generation = sweep->id, .pending = sweep->pending.count };
	enum pm_status status = pm_gather_flush(gather);

	if (status != PM_OK)
		return status;
	round.records = gather->out->records;
	round.pages = gather->out->pages;
	pm_record_clear(gather->rec, PM_TYPE_ROUND);
	pm_round_pack(&round, gather->rec);
	status = pm_gather_put(gather);
	pm_record_clear(gather->rec, PM_TYPE_PAGES);
	return status;
}
