/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fdio.h"
#include "qemu.h"
#include "qemu_capture.h"
#include "qemu_stream.h"
#include "qemu_tail.h"
#include "table.h"

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
	struct pm_qemu_stream stream;
	struct pm_qemu_tail tail;
	uint8_t *head;			/* of a guest in a chain, or NULL */
	size_t head_size;
	uint64_t devices_since;		/* when their state began; us */

	uint8_t *buf;			/* BUF_SIZE */
	size_t from, to;		/* not looked at yet */
};

static int
is_chained(const struct capture *cap)
{
	return cap->opt->save != NULL || cap->opt->since != NULL;
}

static enum pm_status
refuse(struct capture *cap, const char *why)
{
	return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL,
	    "the migration stream can't be part of a chain: %s", why);
}

/*
 * What says of which machine a guest is, up to the end of RAM's first
 * section, and how much is behind its last.
 */
static enum pm_status
keep_head(struct capture *cap, const uint8_t *in, size_t size)
{
	if (cap->counts->device_bytes > PM_QEMU_DEVICES_MAX)
		return refuse(cap, "it has more than 1 GiB of device state");
	if (cap->head == NULL)
		return PM_OK;
	if (size > PM_QEMU_HEAD_SIZE_MAX - cap->head_size)
		return refuse(cap, "much stands before its RAM");
	memcpy(cap->head + cap->head_size, in, size);
	cap->head_size += size;
	return PM_OK;
}

/*
 * The stamp of a table remembers it, behind a number that no device has.  A
 * table of something else may be of any guest.
 */
static enum pm_status
end_head(struct capture *cap)
{
	const struct pm_table *since = cap->opt->since;
	struct pm_table_stamp *stamp = &cap->counts->stamp;
	struct pm_digest digest;

	if (cap->head == NULL)
		return PM_OK;
	digest = pm_hash_bytes(cap->head, cap->head_size);
	free(cap->head);
	cap->head = NULL;
	*stamp = (struct pm_table_stamp){ { UINT64_MAX, digest.low,
	    digest.high } };
	return since == NULL || since->stamp.of[0] != UINT64_MAX ||
	    pm_table_stamp_equal(&since->stamp, stamp) ? PM_OK
	    : refuse(cap, "the guest is of another machine than the table, "
	    "or its memory is");
}

static enum pm_status
take_bytes(struct capture *cap, const uint8_t *in, size_t size)
{
	enum pm_status status;

	cap->counts->foreign += size;
	if (cap->qemu.state == PM_QEMU_AT_REST ||
	    cap->qemu.state == PM_QEMU_AT_CROSS)
		pm_qemu_tail_take(&cap->tail, in, size);
	if (cap->qemu.in_devices)
		cap->counts->device_bytes += size;
	if (is_chained(cap) && (status = keep_head(cap, in, size)) != PM_OK)
		return status;
	return pm_qemu_stream_bytes(&cap->stream, in, size);
}

/* Device state, or what nobody understands: no page will follow. */
static enum pm_status
take_rest(struct capture *cap)
{
	const char *why = cap->qemu.surprise;

	if (cap->qemu.is_mapped)
		return pm_fault_set(cap->fault, PM_ERR_REFUSED, NULL, "%s",
		    why);
	if (is_chained(cap) && why != NULL)
		return refuse(cap, why);
	if (is_chained(cap) && !cap->qemu.listed)
		return refuse(cap, "it lists no blocks of RAM");
	if (is_chained(cap) && cap->qemu.others)
		return refuse(cap, "devices have sections that come in parts");
	if (why != NULL && cap->opt->warn != NULL)
		cap->opt->warn(why);
	cap->devices_since = pm_clock_us();
	return pm_qemu_stream_rest(&cap->stream);
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
		return pm_qemu_stream_page(&cap->stream, token);
	case PM_QEMU_IS_LIST:
		return pm_qemu_stream_list(&cap->stream);
	case PM_QEMU_IS_BREAK:
		pm_qemu_stream_break(&cap->stream);
		return end_head(cap);
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

	if (poll(&pfd, 1, wait_ms) <= 0 &&
	    (status = pm_qemu_stream_flush(&cap->stream)) != PM_OK)
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

/* True when it came to its end, as far as that can be told. */
static int
is_whole(const struct capture *cap)
{
	return cap->qemu.state == PM_QEMU_AT_REST && cap->to == 0 &&
	    pm_qemu_tail_is_whole(&cap->tail, cap->qemu.has_footers > 0);
}

static enum pm_status
finish(struct capture *cap)
{
	struct pm_qemu_stream *stream = &cap->stream;
	struct pm_digest from = { 0, 0 };
	enum pm_status status = PM_OK;

	if (pm_qemu_end(&cap->qemu)) {
		status = take_rest(cap);
		if (status == PM_OK)
			status = take_all(cap);
	}
	if (status == PM_OK && cap->opt->ended != NULL)
		status = cap->opt->ended(cap->opt->arg);
	if (status == PM_OK && !is_whole(cap))
		status = pm_fault_set(cap->fault, PM_ERR_TRUNCATED, NULL,
		    "the migration stream ends early");
	if (status == PM_OK)
		status = pm_qemu_stream_flush(stream);
	if (status == PM_OK && cap->opt->save != NULL)
		status = pm_qemu_memory_save(&stream->memory,
		    cap->opt->save(&stream->source));
	if (cap->opt->since != NULL)
		from = cap->opt->since->id;
	return status != PM_OK ? status : pm_writer_end(stream->gather.out,
	    from, stream->memory.id, stream->gather.rec);
}

static void
count(struct capture *cap)
{
	const struct pm_qemu_stream *stream = &cap->stream;
	struct pm_qemu_capture_counts *counts = cap->counts;

	counts->pages = (struct pm_capture_counts){
		.pages = stream->memory.pages, .read = stream->read,
		.raw = stream->gather.raw, .zero = stream->gather.zero,
		.gone = stream->gather.gone, .equal = stream->equal,
		.blocked_us = stream->gather.blocked_us,
		.to = stream->memory.id,
	};
	if (cap->opt->since != NULL)
		counts->pages.from = cap->opt->since->id;
	counts->page_shift = stream->source.page_shift;
	counts->rounds = stream->rounds;
	if (counts->device_bytes > 0)
		counts->device_us = stream->written_us - cap->devices_since;
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
	cap->buf = malloc(BUF_SIZE);
	if (is_chained(cap))
		cap->head = malloc(PM_QEMU_HEAD_SIZE_MAX);
	status = pm_qemu_stream_open(&cap->stream, &cap->qemu, PM_MAY_FOREIGN |
	    (is_chained(cap) ? PM_MAY_SAVED : 0), opt->record_size,
	    opt->since, out, fault);
	cap->stream.find_free = opt->find_free;
	cap->stream.find_arg = opt->find_arg;
	cap->stream.free_is_last = opt->free_is_last;
	if (status == PM_OK && (cap->buf == NULL ||
	    (is_chained(cap) && cap->head == NULL) ||
	    pm_qemu_open(&cap->qemu, opt->page_shift) != PM_OK))
		status = pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	if (status == PM_OK)
		status = run(cap);
	count(cap);
	pm_qemu_stream_close(&cap->stream);
	pm_qemu_close(&cap->qemu);
	free(cap->buf);
	free(cap->head);
	free(cap);
	return status;
}
