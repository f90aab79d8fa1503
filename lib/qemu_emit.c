/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "qemu.h"
#include "qemu_emit.h"
#include "qemu_out.h"
#include "qemu_pages.h"

#define BROKEN_MAX	(2 * PM_QEMU_TOKEN_MAX)

/* Bytes that are kept. */
struct store {
	uint8_t *bytes;
	size_t size, room;
};

struct pm_qemu_emit {
	struct pm_fault *fault;
	struct pm_qemu_emit_counts counts;
	struct pm_qemu qemu;		/* of the stream at hand */
	struct pm_qemu_pages pages;
	struct pm_qemu_out out;

	unsigned page_shift;
	int saved;			/* others may follow it */
	int chained;			/* it follows another */
	struct pm_region *region;	/* PM_REGIONS_MAX */
	uint32_t blocks;		/* of the memory, from the first list */

	int agreed;			/* a mark stands behind all pages */
	int resting;			/* no page will follow */
	int opened;			/* chained: a section of our own */
	uint64_t devices_since;		/* us */
	uint8_t *broken;		/* a token that goes on in the next
					   record; BROKEN_MAX */
	size_t broken_size;
	struct store head;		/* of the first stream */
	size_t head_at;			/* how far another is the same */
	int in_head;
	struct store held;		/* device state */
};

struct pm_qemu_emit *
pm_qemu_emit_new(int fd, struct pm_fault *fault)
{
	struct pm_qemu_emit *emit = calloc(1, sizeof(*emit));

	if (emit == NULL)
		return NULL;
	emit->fault = emit->out.fault = fault;
	emit->out.fd = fd;
	emit->region = calloc(PM_REGIONS_MAX, sizeof(emit->region[0]));
	emit->broken = malloc(BROKEN_MAX);
	if (emit->region != NULL && emit->broken != NULL)
		return emit;
	pm_qemu_emit_free(emit);
	return NULL;
}

void
pm_qemu_emit_free(struct pm_qemu_emit *emit)
{
	if (emit == NULL)
		return;
	pm_qemu_close(&emit->qemu);
	pm_qemu_pages_close(&emit->pages);
	free(emit->region);
	free(emit->broken);
	free(emit->head.bytes);
	free(emit->held.bytes);
	free(emit);
}

struct pm_qemu_emit_counts
pm_qemu_emit_counts(const struct pm_qemu_emit *emit)
{
	struct pm_qemu_emit_counts counts = emit->counts;

	counts.raw = emit->pages.raw;
	counts.delta = emit->pages.delta;
	counts.same = emit->pages.same;
	counts.zero = emit->pages.zero;
	counts.gone = emit->pages.gone;
	counts.bytes = emit->out.bytes;
	return counts;
}

static enum pm_status
fail(struct pm_qemu_emit *emit, enum pm_status status, const char *why)
{
	return pm_fault_set(emit->fault, status, NULL, "%s", why);
}

static enum pm_status
keep(struct pm_qemu_emit *emit, struct store *store, const void *bytes,
    size_t size, size_t most)
{
	size_t room = store->room > 0 ? store->room : 64u << 10;
	uint8_t *larger;

	if (size > most - store->size)
		return fail(emit, PM_ERR_REFUSED, "a saved guest has more "
		    "device state, or blocks, than can be kept");
	while (room < store->size + size)
		room *= 2;
	if (room > store->room) {
		if ((larger = realloc(store->bytes, room)) == NULL)
			return fail(emit, PM_ERR_SYSTEM, strerror(errno));
		store->bytes = larger;
		store->room = room;
	}
	memcpy(store->bytes + store->size, bytes, size);
	store->size += size;
	return PM_OK;
}

static enum pm_status
begin(struct pm_qemu_emit *emit, const struct pm_record *rec)
{
	struct pm_stream stream;
	enum pm_status status = pm_stream_unpack(&stream, rec, emit->fault);
	uint32_t written = emit->qemu.written;

	if (status != PM_OK)
		return status;
	if (!emit->chained && (!pm_digest_is_zero(stream.from) ||
	    (stream.needs & PM_NEEDS_LATE_FROM) != 0))
		return fail(emit, PM_ERR_CORRUPT, "starts from another state "
		    "of the guest: put the streams before it in front");
	if (emit->chained && (!emit->saved ||
	    (stream.may & PM_MAY_SAVED) == 0 ||
	    (stream.needs & PM_NEEDS_LATE_FROM) != 0))
		return fail(emit, PM_ERR_REFUSED, "this and the stream before "
		    "were not both saved to be a chain");
	if (emit->chained && emit->page_shift != stream.page_shift)
		return fail(emit, PM_ERR_REFUSED,
		    "the size of pages changes in a chain");
	emit->page_shift = stream.page_shift;
	emit->saved = (stream.may & PM_MAY_SAVED) != 0;
	emit->agreed = 1;
	emit->resting = emit->opened = 0;
	emit->in_head = emit->saved || emit->chained;
	emit->head_at = emit->broken_size = 0;
	pm_qemu_close(&emit->qemu);
	if (pm_qemu_open(&emit->qemu, stream.page_shift) != PM_OK)
		return fail(emit, PM_ERR_SYSTEM, strerror(errno));
	/* What is written goes on in the block where it was. */
	if (emit->chained)
		emit->qemu.written = written;
	return PM_OK;
}

/* The bytes up to the end of RAM's first section say what machine it is. */
static enum pm_status
take_head(struct pm_qemu_emit *emit, const uint8_t *in, size_t size)
{
	if (!emit->chained)
		return keep(emit, &emit->head, in, size,
		    PM_QEMU_HEAD_SIZE_MAX);
	if (size > emit->head.size - emit->head_at ||
	    memcmp(emit->head.bytes + emit->head_at, in, size) != 0)
		return fail(emit, PM_ERR_REFUSED, "the guest is not of the "
		    "machine of the stream before, or its memory is not");
	emit->head_at += size;
	return PM_OK;
}

static enum pm_status
take_bytes(struct pm_qemu_emit *emit, const uint8_t *in, size_t size)
{
	enum pm_status status = PM_OK;

	if (emit->qemu.in_devices)
		emit->counts.device_bytes += size;
	if (emit->resting && emit->saved)
		return keep(emit, &emit->held, in, size,
		    PM_QEMU_DEVICES_MAX);
	if (emit->in_head)
		status = take_head(emit, in, size);
	if (status != PM_OK || (emit->chained && !emit->resting))
		return status;
	return pm_qemu_out_put(&emit->out, in, size);
}

static enum pm_status
take_list(struct pm_qemu_emit *emit)
{
	emit->agreed = 0;
	if (emit->qemu.page_shift != emit->page_shift)
		return fail(emit, PM_ERR_CORRUPT, "the guest has pages of "
		    "another size than the stream");
	if (emit->chained)
		return emit->in_head && emit->qemu.blocks == emit->blocks
		    ? PM_OK : fail(emit, PM_ERR_CORRUPT,
		    "the guest has another memory than that before");
	emit->blocks = emit->qemu.blocks;
	return pm_qemu_pages_open(&emit->pages, &emit->qemu, emit->fault);
}

/* A section of RAM for the pages of a stream that follows another. */
static enum pm_status
open_section(struct pm_qemu_emit *emit)
{
	uint8_t head[5] = { PM_QEMU_PART };

	if (!emit->chained || emit->opened)
		return PM_OK;
	emit->opened = 1;
	pm_qemu_put(head + 1, emit->qemu.ram_id, 4);
	return pm_qemu_out_copy(&emit->out, head, sizeof(head));
}

static enum pm_status
close_section(struct pm_qemu_emit *emit)
{
	uint8_t end[8 + 5];

	if (!emit->opened)
		return PM_OK;
	emit->opened = 0;
	pm_qemu_put(end, PM_QEMU_EOS, 8);
	end[8] = PM_QEMU_FOOTER;
	pm_qemu_put(end + 9, emit->qemu.ram_id, 4);
	return pm_qemu_out_copy(&emit->out, end,
	    emit->qemu.has_footers > 0 ? 13 : 8);
}

/*
 * What is not understood may speak of the block of the page before, and mean
 * one that was left out as it was the same.
 */
static enum pm_status
name_block(struct pm_qemu_emit *emit)
{
	if (emit->qemu.last == PM_QEMU_NONE ||
	    emit->qemu.last == emit->qemu.written)
		return PM_OK;
	if (emit->qemu.surprised_in_ram)
		return pm_qemu_pages_name(&emit->pages, &emit->qemu,
		    &emit->out);
	return fail(emit, PM_ERR_REFUSED, "what is not understood can't "
	    "follow pages that were left out: put pm-delta -d before");
}

/* Device state, or what is not understood. */
static enum pm_status
take_rest(struct pm_qemu_emit *emit)
{
	enum pm_status status;

	if (!emit->agreed)
		return fail(emit, PM_ERR_CORRUPT, "device state comes before "
		    "a mark that its pages are right");
	if (emit->saved && (emit->qemu.surprise != NULL ||
	    !emit->qemu.listed || emit->qemu.others ||
	    (emit->chained && emit->head_at != emit->head.size)))
		return fail(emit, PM_ERR_REFUSED, "the migration stream can't "
		    "be part of a chain");
	if (emit->qemu.surprise != NULL &&
	    (status = name_block(emit)) != PM_OK)
		return status;
	emit->resting = 1;
	emit->devices_since = pm_clock_us();
	emit->held.size = 0;
	return close_section(emit);
}

static enum pm_status
take_token(struct pm_qemu_emit *emit, const struct pm_qemu_token *token,
    const uint8_t *in)
{
	switch (token->kind) {
	case PM_QEMU_IS_PAGE:
	case PM_QEMU_IS_ZERO:
		return fail(emit, PM_ERR_CORRUPT,
		    "pages stand among the foreign bytes");
	case PM_QEMU_IS_BYTES:
		return take_bytes(emit, in, token->size);
	case PM_QEMU_IS_LIST:
		return take_list(emit);
	case PM_QEMU_IS_BREAK:
		emit->in_head = 0;
		break;
	case PM_QEMU_IS_REST:
		return take_rest(emit);
	case PM_QEMU_IS_MORE:
		break;
	}
	return PM_OK;
}

/* The tokens that bytes begin with; *used of them were taken. */
static enum pm_status
take_tokens(struct pm_qemu_emit *emit, const uint8_t *in, size_t size,
    size_t *used)
{
	enum pm_status status = PM_OK;
	struct pm_qemu_token token;

	*used = 0;
	do {
		token = pm_qemu_next(&emit->qemu, in + *used, size - *used);
		status = take_token(emit, &token, in + *used);
		*used += token.size;
	} while (token.kind != PM_QEMU_IS_MORE && status == PM_OK);
	return status != PM_OK ? status : pm_qemu_out_flush(&emit->out);
}

/*
 * Foreign bytes, in pieces as they come.  What a record leaves unfinished
 * waits for the next one; where nothing is understood any more, nothing is.
 */
static enum pm_status
take_foreign(struct pm_qemu_emit *emit, const uint8_t *in, size_t size)
{
	enum pm_status status = PM_OK;
	size_t now, used;

	while (emit->broken_size > 0 && size > 0 && status == PM_OK) {
		now = BROKEN_MAX - emit->broken_size;
		if (now > size)
			now = size;
		memcpy(emit->broken + emit->broken_size, in, now);
		emit->broken_size += now;
		in += now;
		size -= now;
		status = take_tokens(emit, emit->broken, emit->broken_size,
		    &used);
		emit->broken_size -= used;
		memmove(emit->broken, emit->broken + used,
		    emit->broken_size);
	}
	if (status == PM_OK && size > 0) {
		status = take_tokens(emit, in, size, &used);
		if (status == PM_OK) {
			emit->broken_size = size - used;
			memcpy(emit->broken, in + used, emit->broken_size);
		}
	}
	if (emit->resting && emit->qemu.in_devices)
		emit->counts.device_us = pm_clock_us() - emit->devices_since;
	return status;
}

static uint32_t
find_block(const struct pm_qemu_emit *emit, uint32_t number)
{
	const struct pm_region *region = &emit->region[number];

	for (uint32_t i = 0; i < emit->qemu.blocks; i++)
		if (emit->qemu.block[i].key == region->key &&
		    strcmp(emit->qemu.block[i].name, region->name) == 0)
			return emit->qemu.block[i].length == region->length
			    ? i : UINT32_MAX;
	return UINT32_MAX;
}

static enum pm_status
take_pages(struct pm_qemu_emit *emit, const struct pm_record *rec)
{
	uint32_t block;
	enum pm_status status;
	int tells;			/* QEMU of these pages */

	if (rec->codec != PM_CODEC_NONE)
		return fail(emit, PM_ERR_REFUSED, "pages are compressed");
	if (!emit->qemu.listed || emit->resting)
		return fail(emit, PM_ERR_CORRUPT, "pages stand where a "
		    "migration stream of QEMU has none");
	if ((block = find_block(emit, rec->region)) == UINT32_MAX)
		return fail(emit, PM_ERR_CORRUPT, "pages are of a block that "
		    "the guest does not have so");
	tells = pm_qemu_pages_tell(&emit->pages, rec, block);
	if (tells && !emit->chained && (emit->broken_size > 0 ||
	    !pm_qemu_takes_pages(&emit->qemu)))
		return fail(emit, PM_ERR_CORRUPT, "pages stand outside of the "
		    "sections of RAM");
	emit->agreed = 0;
	if (tells && (status = open_section(emit)) != PM_OK)
		return status;
	return pm_qemu_pages_put(&emit->pages, &emit->qemu, rec, block,
	    &emit->out);
}

/* As far as the content of all pages is known. */
static enum pm_status
check_id(struct pm_qemu_emit *emit, struct pm_digest wants)
{
	if (!emit->qemu.listed || !pm_qemu_pages_know(&emit->pages))
		return PM_OK;
	return pm_generation_check(emit->pages.memory.id, wants,
	    PM_ERR_CORRUPT, emit->fault);
}

static enum pm_status
take_round(struct pm_qemu_emit *emit, const struct pm_record *rec)
{
	struct pm_round round;
	enum pm_status status = pm_round_unpack(&round, rec, emit->fault);

	if (status == PM_OK && round.known)
		status = check_id(emit, round.generation);
	emit->agreed = 1;
	return status;
}

static enum pm_status
take_end(struct pm_qemu_emit *emit, const struct pm_record *rec)
{
	struct pm_end end;
	enum pm_status status = pm_end_unpack(&end, rec, emit->fault);

	if (status == PM_OK && pm_qemu_end(&emit->qemu)) {
		status = take_rest(emit);
		if (status == PM_OK)
			status = take_bytes(emit, emit->broken,
			    emit->broken_size);
		if (status == PM_OK)
			status = pm_qemu_out_flush(&emit->out);
		emit->broken_size = 0;
	}
	if (status == PM_OK && (!emit->resting || emit->broken_size > 0))
		return fail(emit, PM_ERR_CORRUPT, "holds no whole migration "
		    "stream of QEMU");
	if (status == PM_OK)
		status = check_id(emit, end.to);
	if (status != PM_OK)
		return status;
	emit->counts.id = end.to;
	emit->counts.generations++;
	emit->chained = 1;
	return PM_OK;
}

enum pm_status
pm_qemu_emit_take(struct pm_qemu_emit *emit, const struct pm_record *rec)
{
	switch (rec->type) {
	case PM_TYPE_STREAM:
		return begin(emit, rec);
	case PM_TYPE_REGION:
		return pm_region_unpack(&emit->region[rec->region], rec,
		    emit->page_shift, emit->fault);
	case PM_TYPE_PAGES:
		return take_pages(emit, rec);
	case PM_TYPE_ROUND:
		return take_round(emit, rec);
	case PM_TYPE_OPAQUE:
		return take_foreign(emit, rec->payload, rec->stored);
	case PM_TYPE_END:
		return take_end(emit, rec);
	default:
		return PM_OK;
	}
}

enum pm_status
pm_qemu_emit_finish(struct pm_qemu_emit *emit)
{
	enum pm_status status;

	if (!emit->saved)
		return PM_OK;
	status = pm_qemu_out_put(&emit->out, emit->held.bytes,
	    emit->held.size);
	if (status == PM_OK)
		status = pm_qemu_out_flush(&emit->out);
	emit->counts.device_us = pm_clock_us() - emit->devices_since;
	return status;
}
