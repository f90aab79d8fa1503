/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "delta.h"
#include "held.h"
#include "xbzrle.h"

struct pm_delta {
	struct pm_delta_options options;
	struct pm_delta_counts counts;
	int works;		/* the stream at hand does not just pass */
	int is_foreign;		/* it has foreign bytes */
	struct pm_held held;

	uint8_t *payload;	/* scratch; decoding, exchanged with a record's */
	struct pm_entry *entry;
};

/* Where a record is being read, and what for. */
struct cursor {
	struct pm_record *rec;
	struct pm_fault *fault;
	uint32_t at;		/* entry */
	uint64_t page;
	uint64_t until;		/* page; wanted without a gap up to there */
	int base_was_used;
};

struct pm_delta *
pm_delta_new(const struct pm_delta_options *options)
{
	struct pm_delta *delta = calloc(1, sizeof(*delta));

	if (delta == NULL)
		return NULL;
	delta->options = *options;
	delta->payload = pm_record_buffer();
	delta->entry = malloc(PM_ENTRIES_MAX * sizeof(delta->entry[0]));
	if (pm_held_open(&delta->held, options->base, NULL) != PM_OK ||
	    delta->payload == NULL || delta->entry == NULL) {
		pm_delta_free(delta);
		return NULL;
	}
	return delta;
}

void
pm_delta_free(struct pm_delta *delta)
{
	if (delta == NULL)
		return;
	pm_held_close(&delta->held);
	free(delta->payload);
	free(delta->entry);
	free(delta);
}

struct pm_delta_counts
pm_delta_counts(const struct pm_delta *delta)
{
	struct pm_delta_counts counts = delta->counts;

	counts.misses = counts.pages - counts.hits;
	counts.evictions = delta->held.evictions;
	counts.cache_pages = delta->held.slots;
	if (delta->held.cache != NULL)
		counts.cached_pages = pm_pagecache_slots(delta->held.cache);
	return counts;
}

static enum pm_status
choose_slots(const struct pm_delta *delta, const struct pm_stream *stream,
    uint32_t *slots, struct pm_fault *fault)
{
	uint64_t most = delta->is_foreign && delta->options.foreign_bytes > 0
	    ? delta->options.foreign_bytes : delta->options.cache_bytes;
	uint64_t fit, needed;

	if (delta->options.decode) {
		*slots = stream->cache_pages;
		needed = pm_pagecache_memory(*slots, stream->page_shift);
		if (*slots == 0 || needed <= most)
			return PM_OK;
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "the cache of the stream takes %" PRIu64 " bytes, %" PRIu64
		    " are allowed", needed, most);
	}
	fit = most >> stream->page_shift;
	*slots = fit < UINT32_MAX ? (uint32_t)fit : UINT32_MAX;
	if (*slots > 0 || delta->options.base != NULL)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL, "a cache of %" PRIu64
	    " bytes holds no page of %u", most, 1u << stream->page_shift);
}

static enum pm_status
begin_stream(struct pm_delta *delta, struct pm_record *rec,
    struct pm_fault *fault)
{
	int goes_on = delta->works, decode = delta->options.decode;
	struct pm_stream stream;
	enum pm_status status;
	uint32_t slots;

	if ((status = pm_stream_unpack(&stream, rec, fault)) != PM_OK ||
	    (status = pm_held_begin_stream(&delta->held, stream.page_shift,
	    fault)) != PM_OK)
		return status;
	delta->is_foreign = (stream.may & PM_MAY_FOREIGN) != 0;
	delta->works = ((stream.needs & PM_NEEDS_DELTA) != 0) == decode;
	if (!delta->works) {
		delta->counts.passed_streams++;
		return PM_OK;
	}
	delta->counts.streams++;
	if (decode && (stream.may & PM_MAY_CONTINUE) == 0)
		goes_on = 0;
	if ((status = choose_slots(delta, &stream, &slots, fault)) != PM_OK ||
	    (status = pm_held_set_cache(&delta->held, slots, goes_on,
	    fault)) != PM_OK)
		return status;
	stream.needs ^= PM_NEEDS_DELTA;
	stream.may &= ~(uint32_t)PM_MAY_CONTINUE;
	stream.may |= goes_on && !decode ? PM_MAY_CONTINUE : 0;
	stream.cache_pages = decode ? 0 : slots;
	pm_stream_pack(&stream, rec);
	return PM_OK;
}

static void
count_page(struct pm_delta_counts *counts, int is_known,
    struct pm_entry entry)
{
	enum pm_kind kind = pm_entry_kind(entry);

	counts->pages++;
	counts->hits += is_known != 0;
	counts->overflows += is_known && kind == PM_RAW;
	counts->unchanged += kind == PM_SAME;
	counts->bytes += kind == PM_DELTA ? pm_entry_length(entry) : 0;
}

/* A raw page is encoded; to be decoded, it is whole already. */
static int
wants_older(const struct pm_delta *delta, struct pm_entry entry)
{
	return pm_entry_kind(entry) <= PM_SAME &&
	    !(delta->options.decode && pm_entry_kind(entry) == PM_RAW);
}

/* The page behind those whose older content is wanted, from the cursor on. */
static uint64_t
find_gap(const struct pm_delta *delta, const struct cursor *cursor)
{
	const struct pm_record *rec = cursor->rec;
	uint64_t end = cursor->page;

	for (uint32_t i = cursor->at; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];

		if (!wants_older(delta, entry) ||
		    rec->first + entry.page > end)
			break;
		end = rec->first + entry.page + pm_entry_pages(entry);
	}
	return end;
}

/* The older content of the page at the cursor, of which something is known. */
static enum pm_status
read_older(struct pm_delta *delta, struct cursor *cursor,
    const struct pm_known *known, const uint8_t **older)
{
	cursor->base_was_used |= known->in_base;
	if (cursor->page >= cursor->until)
		cursor->until = find_gap(delta, cursor);
	return pm_held_read(&delta->held, cursor->rec, cursor->page,
	    (uint32_t)(cursor->until - cursor->page), known, older);
}

/* Make the entry what its page is written as, and *out where that stands. */
static enum pm_status
encode_page(struct pm_delta *delta, struct cursor *cursor, const uint8_t *in,
    const uint8_t **out)
{
	size_t size = (size_t)1 << delta->held.page_shift;
	size_t room = size / 4 * 3, used;
	struct pm_entry *entry = &cursor->rec->entry[cursor->at];
	struct pm_known known;
	int is_known = pm_held_look_up(&delta->held, cursor->rec,
	    cursor->page, &known);
	const uint8_t *older;
	enum pm_status status;

	*out = in;
	if (is_known) {
		status = read_older(delta, cursor, &known, &older);
		if (status != PM_OK)
			return status;
		used = pm_xbzrle_encode(older, in, size, delta->payload, room);
		if (used == 0)
			*entry = pm_entry_of(entry->page, PM_SAME, 1);
		else if (used <= room) {
			*entry = pm_entry_of(entry->page, PM_DELTA,
			    (uint32_t)used);
			*out = delta->payload;
		}
	}
	count_page(&delta->counts, is_known, *entry);
	if (pm_entry_kind(*entry) != PM_SAME)
		pm_held_remember(&delta->held, cursor->rec, cursor->page,
		    &known, in);
	return PM_OK;
}

/* Append an entry to the first ones of a record; runs of SAME grow. */
static void
put_entry(struct pm_record *rec, uint32_t *entries, struct pm_entry entry)
{
	struct pm_entry *last = &rec->entry[*entries];

	if (pm_entry_kind(entry) == PM_SAME && *entries > 0 &&
	    pm_entry_kind(last[-1]) == PM_SAME &&
	    last[-1].page + pm_entry_pages(last[-1]) == entry.page) {
		last[-1].word += pm_entry_pages(entry);
		return;
	}
	*last = entry;
	++*entries;
}

static enum pm_status
check_digest(const struct pm_delta *delta, const struct cursor *cursor,
    struct pm_digest digest)
{
	const struct pm_record *rec = cursor->rec;
	const char *base = cursor->base_was_used ? delta->options.base : NULL;

	if (pm_digest_equal(digest, rec->digest))
		return PM_OK;
	return pm_fault_set(cursor->fault, base != NULL ? PM_ERR_MISMATCH
	    : PM_ERR_CORRUPT, base, "pages %" PRIu64 " to %" PRIu64
	    " of region %" PRIu32 " do not have the digest of their record",
	    rec->first + rec->entry[0].page,
	    rec->first + pm_record_span(rec) - 1, rec->region);
}

/* Whole pages, as they came. */
static enum pm_status
verify_pages(const struct pm_delta *delta, const struct cursor *cursor)
{
	const struct pm_record *rec = cursor->rec;
	const size_t size = (size_t)1 << delta->held.page_shift;
	uint64_t key = pm_held_key(&delta->held, rec);
	const uint8_t *in = rec->payload;
	struct pm_digest digest = { 0, 0 };

	for (uint32_t i = 0; i < rec->entries; i++) {
		if (!pm_entry_has_payload(rec->entry[i]))
			continue;
		digest = pm_digest_add(digest, pm_hash_page(
		    pm_hash_content(in, size), key,
		    rec->first + rec->entry[i].page));
		in += size;
	}
	return check_digest(delta, cursor, digest);
}

static enum pm_status
encode_pages(struct pm_delta *delta, struct pm_record *rec,
    struct pm_fault *fault)
{
	struct cursor cursor = { .rec = rec, .fault = fault };
	uint32_t entries = 0, from = 0, to = 0, size;
	enum pm_status verified = delta->is_foreign
	    ? verify_pages(delta, &cursor) : PM_OK;

	if (verified != PM_OK)
		return verified;
	for (; cursor.at < rec->entries; cursor.at++) {
		struct pm_entry *entry = &rec->entry[cursor.at];
		const uint8_t *out = rec->payload + from;
		enum pm_status status = PM_OK;

		from += pm_entry_bytes(*entry);
		cursor.page = rec->first + entry->page;
		if (pm_entry_has_payload(*entry))
			status = encode_page(delta, &cursor, out, &out);
		if (status != PM_OK)
			return status;
		/* What is written never overtakes what is read. */
		size = pm_entry_bytes(*entry);
		memmove(rec->payload + to, out, size);
		to += size;
		put_entry(rec, &entries, *entry);
	}
	rec->entries = entries;
	rec->stored = rec->decoded = to;
	return PM_OK;
}

static enum pm_status
fail_unknown(const struct pm_delta *delta, const struct cursor *cursor)
{
	const char *base = delta->options.base;

	return pm_fault_set(cursor->fault, base != NULL ? PM_ERR_MISMATCH
	    : PM_ERR_CORRUPT, base, "page %" PRIu64 " of region %" PRIu32
	    " depends on content not known here%s", cursor->page,
	    cursor->rec->region, base == NULL ? "; a base may have it" : "");
}

/* Write the page at the cursor to out, from its payload if it has some. */
static enum pm_status
decode_page(struct pm_delta *delta, struct cursor *cursor, const uint8_t *in,
    uint8_t *out)
{
	size_t size = (size_t)1 << delta->held.page_shift;
	struct pm_entry entry = cursor->rec->entry[cursor->at];
	struct pm_fault why = { .text = "" };
	struct pm_known known;
	int is_known = pm_held_look_up(&delta->held, cursor->rec,
	    cursor->page, &known);
	const uint8_t *older = in;
	enum pm_status status;

	if (wants_older(delta, entry)) {
		if (!is_known)
			return fail_unknown(delta, cursor);
		status = read_older(delta, cursor, &known, &older);
		if (status != PM_OK)
			return status;
	}
	memcpy(out, older, size);
	if (pm_entry_kind(entry) == PM_DELTA && pm_xbzrle_decode(out, size,
	    in, pm_entry_length(entry), &why) != PM_OK)
		return pm_fault_set(cursor->fault, PM_ERR_CORRUPT, NULL,
		    "page %" PRIu64 " of region %" PRIu32 ": %s",
		    cursor->page, cursor->rec->region, why.text);
	count_page(&delta->counts, is_known, entry);
	if (pm_entry_kind(entry) != PM_SAME)
		pm_held_remember(&delta->held, cursor->rec, cursor->page,
		    &known, out);
	return PM_OK;
}

/* What our encoder made was raw, and so fits once more. */
static int
fits_when_restored(const struct pm_delta *delta, const struct pm_record *rec)
{
	uint64_t entries = 0, pages = 0;

	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];

		if (pm_entry_kind(entry) <= PM_SAME)
			pages += pm_entry_pages(entry);
		else
			entries++;
	}
	return entries + pages <= PM_ENTRIES_MAX &&
	    pages << delta->held.page_shift <= PM_PAYLOAD_MAX;
}

/* Give rec the payload that was made for it, and its table. */
static void
exchange(struct pm_delta *delta, struct pm_record *rec, uint32_t entries,
    uint32_t size)
{
	uint8_t *payload = rec->payload;

	memcpy(rec->entry, delta->entry, entries * sizeof(rec->entry[0]));
	rec->entries = entries;
	rec->payload = delta->payload;
	rec->stored = rec->decoded = size;
	delta->payload = payload;
}

static enum pm_status
decode_pages(struct pm_delta *delta, struct pm_record *rec,
    struct pm_fault *fault)
{
	uint32_t size = 1u << delta->held.page_shift;
	struct cursor cursor = { .rec = rec, .fault = fault };
	struct pm_digest digest = { 0, 0 };
	uint32_t entries = 0, from = 0, to = 0;

	if (!fits_when_restored(delta, rec))
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL, "record holds "
		    "more than the format allows once it is restored");
	for (; cursor.at < rec->entries; cursor.at++) {
		struct pm_entry entry = rec->entry[cursor.at];
		uint32_t pages = pm_entry_pages(entry);

		if (pm_entry_kind(entry) > PM_SAME) {
			delta->entry[entries++] = entry;
			continue;
		}
		for (uint32_t i = 0; i < pages; i++) {
			uint8_t *out = delta->payload + to;
			enum pm_status status;

			cursor.page = rec->first + entry.page + i;
			status = decode_page(delta, &cursor,
			    rec->payload + from, out);
			if (status != PM_OK)
				return status;
			digest = pm_digest_add(digest, pm_hash_page(
			    pm_hash_content(out, size),
			    pm_held_key(&delta->held, rec), cursor.page));
			delta->entry[entries++] = pm_entry_of(entry.page + i,
			    PM_RAW, size);
			to += size;
		}
		from += pm_entry_bytes(entry);
	}
	exchange(delta, rec, entries, to);
	return check_digest(delta, &cursor, digest);
}

static enum pm_status
take_pages(struct pm_delta *delta, struct pm_record *rec,
    struct pm_fault *fault)
{
	if (rec->region >= delta->held.regions)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "record speaks of an unknown region");
	/* The other end may see them uncompressed, and remember other pages. */
	if (delta->works && rec->codec != PM_CODEC_NONE)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "pages are compressed: put pm-compress -d before");
	pm_held_take_runs(&delta->held, rec);
	if (delta->works)
		return delta->options.decode ? decode_pages(delta, rec, fault)
		    : encode_pages(delta, rec, fault);
	pm_held_forget(&delta->held, rec);
	return PM_OK;
}

enum pm_status
pm_delta_step(struct pm_record *rec, void *state, struct pm_fault *fault)
{
	struct pm_delta *delta = state;
	enum pm_status status;

	switch (rec->type) {
	case PM_TYPE_STREAM:
		return begin_stream(delta, rec, fault);
	case PM_TYPE_REGION:
		return pm_held_learn_region(&delta->held, rec, fault);
	case PM_TYPE_PAGES:
	case PM_TYPE_ROUND:
	case PM_TYPE_END:
		/* All regions of the first stream are known: lay it out. */
		status = pm_held_open_base(&delta->held, fault);
		break;
	default:
		return PM_OK;
	}
	if (status == PM_OK && rec->type == PM_TYPE_PAGES)
		status = take_pages(delta, rec, fault);
	if (rec->type == PM_TYPE_ROUND)
		pm_held_begin_round(&delta->held);
	return status;
}
