/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "preface.h"
#include "qemu_stream.h"

static enum pm_status
fail_system(struct pm_qemu_stream *stream)
{
	return pm_fault_set(stream->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

enum pm_status
pm_qemu_stream_open(struct pm_qemu_stream *stream, const struct pm_qemu *qemu,
    uint32_t may, uint32_t record_size, struct pm_table *since,
    struct pm_writer *out, struct pm_fault *fault)
{
	*stream = (struct pm_qemu_stream){
		.qemu = qemu, .fault = fault, .source.may = may,
		.gather = { .out = out, .record_size = record_size,
		    .rec = pm_record_new() },
		.foreign = pm_record_new(),
	};
	pm_older_open(&stream->older, NULL, since);
	if (stream->gather.rec == NULL || stream->foreign == NULL)
		return fail_system(stream);
	pm_record_clear(stream->foreign, PM_TYPE_OPAQUE);
	pm_record_clear(stream->gather.rec, PM_TYPE_PAGES);
	return PM_OK;
}

void
pm_qemu_stream_close(struct pm_qemu_stream *stream)
{
	pm_record_free(stream->foreign);
	pm_record_free(stream->gather.rec);
	pm_qemu_memory_close(&stream->memory);
	pm_bitmap_close(&stream->mentioned);
	pm_free_close(&stream->free);
}

/* The size of pages is known, if ever. */
static enum pm_status
begin(struct pm_qemu_stream *stream)
{
	unsigned shift = stream->qemu->page_shift, old;

	if (stream->begun)
		return PM_OK;
	stream->begun = 1;
	stream->source.page_shift = shift;
	stream->gather.page_size = (size_t)1 << shift;
	stream->gather.rec->page_shift = shift;
	stream->foreign->page_shift = shift;
	old = pm_older_page_shift(&stream->older, shift);
	if (old != shift)
		return pm_fault_set(stream->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of %u bytes, not %u",
		    1u << old, 1u << shift);
	stream->gather.record_size = stream->gather.record_size >> shift <<
	    shift;
	if (stream->gather.record_size == 0)
		stream->gather.record_size = 1u << shift;
	return pm_preface_begin(&stream->gather, &stream->source,
	    &stream->older);
}

static enum pm_status
put_foreign(struct pm_qemu_stream *stream)
{
	struct pm_record *rec = stream->foreign;
	enum pm_status status = PM_OK;
	struct pm_record *pages = stream->gather.rec;

	/* A configuration may tell the size of pages. */
	if (rec->stored == 0 || (stream->qemu->state < PM_QEMU_AT_SECTION &&
	    rec->stored < PM_PAYLOAD_MAX))
		return PM_OK;
	if (stream->qemu->state < PM_QEMU_AT_SECTION)
		return pm_fault_set(stream->fault, PM_ERR_CORRUPT, NULL,
		    "the migration stream has too long a configuration");
	if ((status = begin(stream)) != PM_OK)
		return status;
	rec->decoded = rec->stored;
	stream->gather.rec = rec;
	status = pm_gather_put(&stream->gather);
	stream->gather.rec = pages;
	pm_record_clear(rec, PM_TYPE_OPAQUE);
	stream->written_us = pm_clock_us();
	return status;
}

enum pm_status
pm_qemu_stream_flush(struct pm_qemu_stream *stream)
{
	enum pm_status status = put_foreign(stream);

	/* Only one of them has something. */
	if (status == PM_OK && stream->begun)
		status = pm_gather_flush(&stream->gather);
	return status;
}

enum pm_status
pm_qemu_stream_bytes(struct pm_qemu_stream *stream, const uint8_t *in,
    size_t size)
{
	struct pm_record *rec = stream->foreign;
	enum pm_status status = PM_OK;

	if (stream->gather.rec->entries > 0)
		status = pm_gather_flush(&stream->gather);
	while (size > 0 && status == PM_OK) {
		size_t now = PM_PAYLOAD_MAX - rec->stored;

		if (now > size)
			now = size;
		memcpy(rec->payload + rec->stored, in, now);
		rec->stored += (uint32_t)now;
		in += now;
		size -= now;
		if (rec->stored == PM_PAYLOAD_MAX)
			status = put_foreign(stream);
	}
	return status;
}

/* The blocks are known: ask what of them is free. */
static enum pm_status
find_free(struct pm_qemu_stream *stream)
{
	if (stream->find_free == NULL)
		return PM_OK;
	if (pm_free_open(&stream->free, &stream->source) != PM_OK)
		return fail_system(stream);
	return stream->find_free(stream->find_arg, &stream->source,
	    &stream->free);
}

enum pm_status
pm_qemu_stream_list(struct pm_qemu_stream *stream)
{
	enum pm_status status = put_foreign(stream);

	if (status == PM_OK)
		status = begin(stream);
	if (status == PM_OK &&
	    stream->source.page_shift != stream->qemu->page_shift)
		status = pm_fault_set(stream->fault, PM_ERR_CORRUPT, NULL,
		    "the migration stream changes the size of its pages");
	stream->source.regions = stream->qemu->blocks;
	stream->source.region = stream->qemu->block;
	if (status == PM_OK)
		status = pm_qemu_memory_open(&stream->memory, stream->qemu,
		    stream->fault);
	if (status == PM_OK && pm_bitmap_open(&stream->mentioned,
	    stream->memory.pages) != PM_OK)
		status = fail_system(stream);
	if (status == PM_OK)
		status = pm_preface_regions(&stream->gather, &stream->source,
		    &stream->older, stream->number, stream->fault);
	if (status == PM_OK)
		status = pm_qemu_memory_load(&stream->memory, &stream->older);
	if (status == PM_OK)
		status = find_free(stream);
	pm_record_clear(stream->gather.rec, PM_TYPE_PAGES);
	return status;
}

static enum pm_status
mark_round(struct pm_qemu_stream *stream)
{
	struct pm_round round = {
		.number = (uint32_t)++stream->rounds,
		/* Blocks that are left out are not known to be zeroes. */
		.known = stream->qemu->surprise == NULL &&
		    !stream->qemu->ignores_shared,
	};
	enum pm_status status = pm_qemu_stream_flush(stream);

	if (status != PM_OK)
		return status;
	if (round.known)
		round.generation = stream->memory.id;
	round.records = stream->gather.out->records;
	round.pages = stream->gather.out->pages;
	stream->breaks = 0;
	pm_record_clear(stream->gather.rec, PM_TYPE_ROUND);
	pm_round_pack(&round, stream->gather.rec);
	status = pm_gather_put(&stream->gather);
	pm_record_clear(stream->gather.rec, PM_TYPE_PAGES);
	return status;
}

/*
 * Make ready for a page that comes behind what was gathered.  One that stands
 * before the last begins a new pass, but pages may also come in no order, as
 * those of a snapshot do that the guest asks for: one round for a section.
 */
static enum pm_status
turn_to(struct pm_qemu_stream *stream, uint32_t block, uint64_t at)
{
	enum pm_status status = put_foreign(stream);

	if (status == PM_OK && at < stream->at && stream->breaks > 0)
		status = mark_round(stream);
	if (status == PM_OK && (at < stream->at ||
	    stream->gather.region != stream->number[block]))
		status = pm_gather_flush(&stream->gather);
	stream->gather.region = stream->number[block];
	stream->at = at + 1;
	return status;
}

/*
 * A free page is not mentioned, and so is gone in the end.  One that comes
 * again was written since it came first, and may be in use by then.
 */
static int
is_left_out(struct pm_qemu_stream *stream, const struct pm_qemu_token *token)
{
	if (!pm_free_test(&stream->free, token->block, token->page))
		return 0;
	if (!stream->free_is_last)
		pm_free_clear(&stream->free, token->block, token->page);
	return 1;
}

enum pm_status
pm_qemu_stream_page(struct pm_qemu_stream *stream,
    const struct pm_qemu_token *token)
{
	uint64_t at = pm_qemu_memory_at(&stream->memory, token->block,
	    token->page);
	struct pm_digest is = { 0, 0 }, hash;
	enum pm_status status;

	if (is_left_out(stream, token))
		return PM_OK;
	if (token->content != NULL)
		is = pm_hash_content(token->content, stream->gather.page_size);
	stream->read++;
	pm_bitmap_set(&stream->mentioned, at);
	/* Of a page without content it is not known whether it was told. */
	if (stream->older.since != NULL && !pm_digest_is_zero(is) &&
	    pm_digest_equal(is, pm_ledger_get(&stream->memory.ledger, at))) {
		stream->equal++;
		return PM_OK;
	}
	if ((status = turn_to(stream, token->block, at)) != PM_OK ||
	    (status = pm_qemu_memory_set(&stream->memory, token->block,
	    token->page, is, &hash)) != PM_OK)
		return status;
	return token->content == NULL
	    ? pm_gather_run(&stream->gather, PM_ZERO, token->page, 1)
	    : pm_gather_page(&stream->gather, token->page, token->content,
	    hash);
}

void
pm_qemu_stream_break(struct pm_qemu_stream *stream)
{
	stream->breaks++;
}

/* Pages that are there no more. */
static enum pm_status
drop(struct pm_qemu_stream *stream, uint32_t block, uint64_t page,
    uint64_t pages)
{
	const struct pm_bitmap *held = &stream->memory.ledger.held;
	uint64_t at = pm_qemu_memory_at(&stream->memory, block, page);
	uint64_t end = at + pages;
	enum pm_status status = PM_OK;

	for (uint64_t i = at; (i = pm_bitmap_next(held, i, end)) < end &&
	    status == PM_OK; i++)
		status = pm_qemu_memory_set(&stream->memory, block,
		    page + (i - at), (struct pm_digest){ 0, 0 }, NULL);
	return status != PM_OK ? status
	    : pm_gather_run(&stream->gather, PM_GONE, page, pages);
}

/*
 * A full stream mentions every page; another one those that were there.
 * Every page before at was looked at; from *at on, find those to be dropped.
 */
static uint64_t
find_unmentioned(const struct pm_qemu_stream *stream, uint64_t *at,
    uint64_t end)
{
	const struct pm_bitmap *held = &stream->memory.ledger.held;
	uint64_t next;

	while ((*at = pm_bitmap_run(&stream->mentioned, *at, end)) < end) {
		next = pm_bitmap_next(&stream->mentioned, *at, end);
		if (stream->older.since == NULL)
			return next;
		*at = pm_bitmap_next(held, *at, next);
		if (*at < next)
			return pm_bitmap_run(held, *at, next);
	}
	return end;
}

static enum pm_status
drop_unmentioned(struct pm_qemu_stream *stream)
{
	enum pm_status status = pm_qemu_stream_flush(stream);

	for (uint32_t i = 0; i < stream->qemu->blocks && status == PM_OK; i++) {
		uint64_t base = pm_qemu_memory_at(&stream->memory, i, 0);
		uint64_t end = base + pm_qemu_memory_pages(&stream->memory, i);
		uint64_t at = base, next;

		stream->gather.region = stream->number[i];
		for (; (next = find_unmentioned(stream, &at, end)), at < end &&
		    status == PM_OK; at = next)
			status = drop(stream, i, at - base, next - at);
		if (status == PM_OK)
			status = pm_gather_flush(&stream->gather);
	}
	return status;
}

enum pm_status
pm_qemu_stream_rest(struct pm_qemu_stream *stream)
{
	enum pm_status status = put_foreign(stream);

	if (status == PM_OK && stream->qemu->listed)
		status = drop_unmentioned(stream);
	return status == PM_OK && stream->qemu->listed ? mark_round(stream)
	    : status;
}
