/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "clock.h"
#include "fdio.h"
#include "gather.h"
#include "older.h"
#include "preface.h"
#include "qemu.h"
#include "qemu_capture.h"
#include "qemu_memory.h"
#include "qemu_tail.h"

/* What is read at a time: it stays in the cache of a processor. */
#define READ_SIZE	(256u << 10)
#define BUF_SIZE	(PM_QEMU_TOKEN_MAX + READ_SIZE)
#define PAUSE_MS	1		/* is one; QEMU writes bit by bit */

struct capture {
	int fd;
	const struct pm_qemu_capture_options *opt;
	struct pm_qemu_capture_counts *counts;
	struct pm_fault *fault;
	struct pm_qemu qemu;
	struct pm_qemu_tail tail;

	struct pm_source source;	/* what the preface needs of one */
	struct pm_older older;
	struct pm_gather gather;
	struct pm_record *foreign;	/* bytes gathered */
	int begun;			/* the stream */
	uint32_t number[PM_REGIONS_MAX];	/* of blocks in the stream */

	struct pm_qemu_memory memory;	/* as the stream has it so far */
	struct pm_bitmap mentioned;
	uint64_t at;			/* behind the last page, of all */
	int breaks;			/* of sections, since the last round */
	uint64_t devices_since;		/* when their state began; us */

	uint8_t *buf;			/* BUF_SIZE */
	size_t from, to;		/* not looked at yet */
};

static enum pm_status
fail_system(struct capture *cap)
{
	return pm_fault_set(cap->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

/* The size of pages is known, if ever. */
static enum pm_status
begin(struct capture *cap)
{
	unsigned shift = cap->qemu.page_shift, old;

	if (cap->begun)
		return PM_OK;
	cap->begun = 1;
	cap->source.page_shift = cap->counts->page_shift = shift;
	cap->gather.page_size = (size_t)1 << shift;
	cap->gather.rec->page_shift = cap->foreign->page_shift = shift;
	old = pm_older_page_shift(&cap->older, shift);
	if (old != shift)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "what it is compared with has pages of %u bytes, not %u",
		    1u << old, 1u << shift);
	cap->gather.record_size = cap->opt->record_size >> shift << shift;
	if (cap->gather.record_size == 0)
		cap->gather.record_size = 1u << shift;
	return pm_preface_begin(&cap->gather, &cap->source, &cap->older);
}

static enum pm_status
put_foreign(struct capture *cap)
{
	struct pm_record *rec = cap->foreign;
	enum pm_status status = PM_OK;
	struct pm_record *pages = cap->gather.rec;

	if (rec->stored == 0)
		return PM_OK;
	if ((status = begin(cap)) != PM_OK)
		return status;
	rec->decoded = rec->stored;
	cap->gather.rec = rec;
	status = pm_gather_put(&cap->gather);
	cap->gather.rec = pages;
	pm_record_clear(rec, PM_TYPE_OPAQUE);
	if (cap->qemu.in_devices)
		cap->counts->device_us = pm_clock_us() - cap->devices_since;
	return status;
}

static enum pm_status
flush(struct capture *cap)
{
	enum pm_status status = put_foreign(cap);

	/* Only one of them has something. */
	if (status == PM_OK && cap->begun)
		status = pm_gather_flush(&cap->gather);
	return status;
}

static enum pm_status
take_bytes(struct capture *cap, const uint8_t *in, size_t size)
{
	struct pm_record *rec = cap->foreign;
	enum pm_status status = PM_OK;

	if (cap->gather.rec->entries > 0)
		status = pm_gather_flush(&cap->gather);
	cap->counts->foreign += size;
	if (cap->qemu.in_devices || cap->qemu.surprise != NULL) {
		pm_qemu_tail_take(&cap->tail, in, size);
		cap->counts->device_bytes += cap->qemu.in_devices ? size : 0;
	}
	while (size > 0 && status == PM_OK) {
		size_t now = PM_PAYLOAD_MAX - rec->stored;

		if (now > size)
			now = size;
		memcpy(rec->payload + rec->stored, in, now);
		rec->stored += (uint32_t)now;
		in += now;
		size -= now;
		if (rec->stored == PM_PAYLOAD_MAX)
			status = put_foreign(cap);
	}
	return status;
}

static enum pm_status
take_list(struct capture *cap)
{
	enum pm_status status = put_foreign(cap);

	if (status == PM_OK)
		status = begin(cap);
	cap->source.regions = cap->qemu.blocks;
	cap->source.region = cap->qemu.block;
	if (status == PM_OK)
		status = pm_qemu_memory_open(&cap->memory, &cap->qemu,
		    cap->fault);
	cap->counts->pages.pages = cap->memory.pages;
	if (status == PM_OK && pm_bitmap_open(&cap->mentioned,
	    cap->memory.pages) != PM_OK)
		status = fail_system(cap);
	if (status == PM_OK)
		status = pm_preface_regions(&cap->gather, &cap->source,
		    &cap->older, cap->number, cap->fault);
	if (status == PM_OK)
		status = pm_qemu_memory_load(&cap->memory, &cap->older);
	pm_record_clear(cap->gather.rec, PM_TYPE_PAGES);
	return status;
}

static enum pm_status
mark_round(struct capture *cap)
{
	struct pm_round round = {
		.number = (uint32_t)++cap->counts->rounds,
		.known = 1,
		.generation = cap->memory.id,
	};
	enum pm_status status = flush(cap);

	if (status != PM_OK)
		return status;
	round.records = cap->gather.out->records;
	round.pages = cap->gather.out->pages;
	cap->breaks = 0;
	pm_record_clear(cap->gather.rec, PM_TYPE_ROUND);
	pm_round_pack(&round, cap->gather.rec);
	status = pm_gather_put(&cap->gather);
	pm_record_clear(cap->gather.rec, PM_TYPE_PAGES);
	return status;
}

/*
 * Make ready for a page that comes behind what was gathered.  One that stands
 * before the last begins a new pass, but pages may also come in no order, as
 * those of a snapshot do that the guest asks for: one round for a section.
 */
static enum pm_status
turn_to(struct capture *cap, uint32_t block, uint64_t at)
{
	enum pm_status status = put_foreign(cap);

	if (status == PM_OK && at < cap->at && cap->breaks > 0)
		status = mark_round(cap);
	if (status == PM_OK && (at < cap->at ||
	    cap->gather.region != cap->number[block]))
		status = pm_gather_flush(&cap->gather);
	cap->gather.region = cap->number[block];
	cap->at = at + 1;
	return status;
}

static enum pm_status
take_page(struct capture *cap, const struct pm_qemu_token *token)
{
	uint64_t at = pm_qemu_memory_at(&cap->memory, token->block,
	    token->page);
	struct pm_digest is = { 0, 0 }, hash;
	enum pm_status status;

	if (token->content != NULL)
		is = pm_hash_content(token->content, cap->gather.page_size);
	cap->counts->pages.read++;
	pm_bitmap_set(&cap->mentioned, at);
	if (cap->opt->since != NULL && pm_digest_equal(is,
	    pm_ledger_get(&cap->memory.ledger, at))) {
		cap->counts->pages.equal++;
		return PM_OK;
	}
	if ((status = turn_to(cap, token->block, at)) != PM_OK ||
	    (status = pm_qemu_memory_set(&cap->memory, token->block,
	    token->page, is, &hash)) != PM_OK)
		return status;
	return token->content == NULL
	    ? pm_gather_run(&cap->gather, PM_ZERO, token->page, 1)
	    : pm_gather_page(&cap->gather, token->page, token->content, hash);
}

/* Pages that are there no more. */
static enum pm_status
drop(struct capture *cap, uint32_t block, uint64_t page, uint64_t pages)
{
	const struct pm_bitmap *held = &cap->memory.ledger.held;
	uint64_t at = pm_qemu_memory_at(&cap->memory, block, page);
	uint64_t end = at + pages;
	enum pm_status status = PM_OK;

	for (uint64_t i = at; (i = pm_bitmap_next(held, i, end)) < end &&
	    status == PM_OK; i++)
		status = pm_qemu_memory_set(&cap->memory, block,
		    page + (i - at), (struct pm_digest){ 0, 0 }, NULL);
	return status != PM_OK ? status
	    : pm_gather_run(&cap->gather, PM_GONE, page, pages);
}

/*
 * A full stream mentions every page; another one those that were there.
 * Every page before at was looked at; from *at on, find those to be dropped.
 */
static uint64_t
find_unmentioned(const struct capture *cap, uint64_t *at, uint64_t end)
{
	const struct pm_bitmap *held = &cap->memory.ledger.held;
	uint64_t next;

	while ((*at = pm_bitmap_run(&cap->mentioned, *at, end)) < end) {
		next = pm_bitmap_next(&cap->mentioned, *at, end);
		if (cap->opt->since == NULL)
			return next;
		*at = pm_bitmap_next(held, *at, next);
		if (*at < next)
			return pm_bitmap_run(held, *at, next);
	}
	return end;
}

static enum pm_status
drop_unmentioned(struct capture *cap)
{
	enum pm_status status = flush(cap);

	for (uint32_t i = 0; i < cap->qemu.blocks && status == PM_OK; i++) {
		uint64_t base = pm_qemu_memory_at(&cap->memory, i, 0);
		uint64_t end = base + pm_qemu_memory_pages(&cap->memory, i);
		uint64_t at = base, next;

		cap->gather.region = cap->number[i];
		for (; (next = find_unmentioned(cap, &at, end)), at < end &&
		    status == PM_OK; at = next)
			status = drop(cap, i, at - base, next - at);
		if (status == PM_OK)
			status = pm_gather_flush(&cap->gather);
	}
	return status;
}

/* Device state, or what nobody understands: no page will follow. */
static enum pm_status
take_rest(struct capture *cap)
{
	const char *why = cap->qemu.surprise;
	enum pm_status status;

	if (why == NULL && cap->opt->since != NULL && cap->qemu.others)
		why = "devices have sections that come in parts";
	if (why != NULL && (cap->opt->since != NULL || cap->opt->save != NULL))
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
		    "the migration stream can't be part of a chain: %s", why);
	if (why != NULL && cap->opt->warn != NULL)
		cap->opt->warn(why);
	cap->devices_since = pm_clock_us();
	status = put_foreign(cap);
	if (status == PM_OK && cap->qemu.listed)
		status = drop_unmentioned(cap);
	return status == PM_OK && cap->qemu.listed ? mark_round(cap) : status;
}

static enum pm_status
take(struct capture *cap, const struct pm_qemu_token *token,
    const uint8_t *in)
{
	switch (token->kind) {
	case PM_QEMU_IS_BYTES:
		return take_bytes(cap, in, token->size);
	case PM_QEMU_IS_PAGE:
	case PM_QEMU_IS_ZERO:
		return take_page(cap, token);
	case PM_QEMU_IS_LIST:
		return take_list(cap);
	case PM_QEMU_IS_BREAK:
		cap->breaks++;
		break;
	case PM_QEMU_IS_REST:
		return take_rest(cap);
	case PM_QEMU_IS_MORE:
		break;
	}
	return PM_OK;
}

/* All tokens of what was read. */
static enum pm_status
take_all(struct capture *cap)
{
	enum pm_status status = PM_OK;
	struct pm_qemu_token token;

	do {
		const uint8_t *in = cap->buf + cap->from;

		token = pm_qemu_next(&cap->qemu, in, cap->to - cap->from);
		status = take(cap, &token, in);
		cap->from += token.size;
	} while (token.kind != PM_QEMU_IS_MORE && status == PM_OK);
	memmove(cap->buf, cap->buf + cap->from, cap->to - cap->from);
	cap->to -= cap->from;
	cap->from = 0;
	return status;
}

/*
 * Nothing finished is held back while QEMU pauses.  Behind a section, and
 * where nothing is understood, that is so when nothing more is there; within
 * one, the next pages are on their way.
 */
static enum pm_status
fill(struct capture *cap)
{
	int wait_ms = pm_qemu_takes_pages(&cap->qemu) ? PAUSE_MS : 0;
	struct pollfd pfd = { .fd = cap->fd, .events = POLLIN };
	enum pm_status status;
	ssize_t got;

	if (poll(&pfd, 1, wait_ms) == 0 && (status = flush(cap)) != PM_OK)
		return status;
	do {
		if (poll(&pfd, 1, -1) < 0 && errno != EINTR)
			return PM_ERR_READ;
		got = read(cap->fd, cap->buf + cap->to, READ_SIZE);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got < 0)
		return PM_ERR_READ;
	cap->to += (size_t)got;
	return got > 0 ? PM_OK : PM_END;
}

static enum pm_status
finish(struct capture *cap)
{
	struct pm_capture_counts *pages = &cap->counts->pages;
	enum pm_status status = PM_OK;

	if (cap->to > 0 || !pm_qemu_tail_is_whole(&cap->tail))
		return pm_fault_set(cap->fault, PM_ERR_TRUNCATED, NULL,
		    "the migration stream ends early");
	if (cap->opt->since != NULL)
		pages->from = cap->opt->since->id;
	pages->to = cap->memory.id;
	if (cap->opt->save != NULL)
		status = pm_qemu_memory_save(&cap->memory,
		    cap->opt->save(&cap->source));
	if (status == PM_OK)
		status = flush(cap);
	return status != PM_OK ? status : pm_writer_end(cap->gather.out,
	    pages->from, pages->to, cap->gather.rec);
}

static enum pm_status
run(struct capture *cap)
{
	enum pm_status status;

	memcpy(cap->buf, cap->opt->seen, cap->opt->seen_size);
	cap->to = cap->opt->seen_size;
	pm_fd_widen(cap->fd);
	while (cap->to < PM_QEMU_MAGIC_SIZE)
		if ((status = fill(cap)) == PM_END)
			break;
		else if (status != PM_OK)
			return status;
	if (cap->to < PM_QEMU_MAGIC_SIZE || memcmp(cap->buf, PM_QEMU_MAGIC,
	    PM_QEMU_MAGIC_SIZE) != 0)
		return pm_fault_set(cap->fault, PM_ERR_CORRUPT, NULL,
		    "this is no migration stream of QEMU");
	do
		status = take_all(cap);
	while (status == PM_OK && (status = fill(cap)) == PM_OK);
	return status == PM_END ? finish(cap) : status;
}

enum pm_status
pm_qemu_capture_run(int fd, const struct pm_qemu_capture_options *opt,
    struct pm_writer *out, struct pm_qemu_capture_counts *counts,
    struct pm_fault *fault)
{
	struct capture *cap = calloc(1, sizeof(*cap));
	enum pm_status status;

	*counts = (struct pm_qemu_capture_counts){ 0 };
	if (cap == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	cap->fd = fd;
	cap->opt = opt;
	cap->counts = counts;
	cap->fault = fault;
	cap->source.may = PM_MAY_FOREIGN | (opt->save != NULL ||
	    opt->since != NULL ? PM_MAY_SAVED : 0);
	cap->gather.out = out;
	pm_older_open(&cap->older, NULL, opt->since);
	cap->buf = malloc(BUF_SIZE);
	cap->foreign = pm_record_new();
	cap->gather.rec = pm_record_new();
	status = cap->buf == NULL || cap->foreign == NULL ||
	    cap->gather.rec == NULL ||
	    pm_qemu_open(&cap->qemu, opt->page_shift) != PM_OK
	    ? fail_system(cap) : PM_OK;
	if (status == PM_OK) {
		pm_record_clear(cap->foreign, PM_TYPE_OPAQUE);
		pm_record_clear(cap->gather.rec, PM_TYPE_PAGES);
		status = run(cap);
	}
	counts->pages.raw = cap->gather.raw;
	counts->pages.zero = cap->gather.zero;
	counts->pages.gone = cap->gather.gone;
	counts->pages.blocked_us = cap->gather.blocked_us;
	pm_record_free(cap->foreign);
	pm_record_free(cap->gather.rec);
	pm_qemu_close(&cap->qemu);
	pm_qemu_memory_close(&cap->memory);
	pm_bitmap_close(&cap->mentioned);
	free(cap->buf);
	free(cap);
	return status;
}
