/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* getrandom */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "fdio.h"
#include "receive.h"

#define ACK_BYTES	(1u << 20)
#define LINGER_US	5000000u	/* for a sender to hear of a failure */

static enum pm_status
fail(struct pm_receive *r)
{
	return pm_fault_set(r->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

enum pm_status
pm_receive_open(struct pm_receive *r, const struct pm_receive_how *how,
    struct pm_fault *fault)
{
	*r = (struct pm_receive){ .how = *how, .fault = fault,
	    .subject = how->net->text, .begun = pm_clock_us(),
	    .silence_us = how->silence_us, .break_us = how->break_us,
	    .told = -1, .bare = -1, .output = -1 };
	if (how->have != NULL)
		r->expected = r->done = r->acked = how->have->offset;
	r->peer = calloc(PM_RECEIVE_PEERS, sizeof(r->peer[0]));
	if (r->peer == NULL || pm_parcels_open(&r->parcels, how->frames +
	    PM_WIRE_CONNECTIONS_MAX) != PM_OK ||
	    getrandom(r->receiver, sizeof(r->receiver), 0) !=
	    (ssize_t)sizeof(r->receiver))
		return fail(r);
	return pm_listener_open(&r->listener, how->net, fault);
}

enum pm_status
pm_receive_meet(struct pm_receive *r)
{
	uint64_t until = r->how.wait_us == 0 ? UINT64_MAX
	    : r->begun + r->how.wait_us;
	enum pm_status status = PM_OK;
	int ready;

	while (status == PM_OK && !r->met && r->bare < 0) {
		if (pm_clock_us() >= until)
			return pm_fault_set(r->fault, PM_ERR_PEER, NULL,
			    "nobody connected within %u s",
			    (unsigned)(r->how.wait_us / 1000000));
		status = pm_receive_turn(r, -1, 0, until, &ready);
	}
	if (r->bare >= 0) {
		pm_net_block(r->bare);
		pm_listener_close(&r->listener);
	}
	return status;
}

/* The input has ended, in one way or the other. */
static enum pm_status
ending(struct pm_receive *r)
{
	if (r->aborted)
		return pm_receive_gave_up(r);
	return r->has_end && r->expected == r->end ? PM_END : PM_OK;
}

/* Wait for bytes that are next. */
static enum pm_status
await_bytes(struct pm_receive *r, const uint8_t **bytes, size_t *size)
{
	enum pm_status status = PM_OK;
	int ready;

	while ((*size = pm_receive_next(r, bytes)) == 0) {
		if ((status = ending(r)) != PM_OK)
			return status;
		status = pm_receive_turn(r, -1, 0, UINT64_MAX, &ready);
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

/* Bytes of a bare stream; first those that were read to know it. */
static enum pm_status
read_bare(struct pm_receive *r, uint8_t *buf, size_t size, size_t *got)
{
	ssize_t n;

	if (r->pushed_at < sizeof(r->pushed)) {
		*got = sizeof(r->pushed) - r->pushed_at;
		if (*got > size)
			*got = size;
		memcpy(buf, r->pushed + r->pushed_at, *got);
		r->pushed_at += *got;
		return PM_OK;
	}
	do
		n = read(r->bare, buf, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return pm_fault_set(r->fault, PM_ERR_TRUNCATED, r->subject,
		    "the sender vanished in the middle: %s",
		    strerror(errno));
	*got = (size_t)n;
	return n > 0 ? PM_OK : PM_END;
}

static enum pm_status
read_some(void *arg, void *buf, size_t size, size_t *got)
{
	struct pm_receive *r = arg;
	const uint8_t *bytes = NULL;
	enum pm_status status;

	*got = 0;
	if (r->bare >= 0)
		return read_bare(r, buf, size, got);
	if ((status = await_bytes(r, &bytes, got)) != PM_OK)
		return status;
	if (*got > size)
		*got = size;
	memcpy(buf, bytes, *got);
	pm_receive_took(r, *got);
	return PM_OK;
}

enum pm_status
pm_receive_readv(void *receive, struct iovec *iov, int count)
{
	return pm_fd_fill(read_some, receive, iov, count);
}

/* True where a write may wait, in spite of room for a part of it. */
static int
may_block(struct pm_receive *r, int fd)
{
	struct stat st;

	if (fd != r->output) {
		r->output = fd;
		r->output_blocks = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0 &&
		    fstat(fd, &st) == 0 &&
		    (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
	}
	return r->output_blocks;
}

/*
 * Write what can be written now, or nothing.  Where the descriptor may block
 * it was ready, and this is as little as fits for certain.
 */
static enum pm_status
write_now(struct pm_receive *r, int fd, const void *bytes, size_t size,
    size_t *put)
{
	ssize_t n;

	if (may_block(r, fd) && size > PIPE_BUF)
		size = PIPE_BUF;
	do
		n = write(fd, bytes, size);
	while (n < 0 && errno == EINTR);
	*put = n > 0 ? (size_t)n : 0;
	return n >= 0 || errno == EAGAIN ? PM_OK : PM_ERR_WRITE;
}

/* Write some, while connections are attended to. */
static enum pm_status
write_some(struct pm_receive *r, int fd, const void *bytes, size_t size,
    size_t *put)
{
	int ready = !may_block(r, fd);
	enum pm_status status = PM_OK;

	*put = 0;
	while (status == PM_OK && *put == 0)
		if (ready) {
			status = write_now(r, fd, bytes, size, put);
			ready = 0;
		} else
			status = pm_receive_turn(r, fd, POLLOUT, UINT64_MAX,
			    &ready);
	return status;
}

enum pm_status
pm_receive_writev(void *arg, struct iovec *iov, int count)
{
	const struct pm_receive_output *out = arg;

	for (int i = 0; i < count; i++)
		for (size_t at = 0, put; at < iov[i].iov_len; at += put) {
			enum pm_status status = write_some(out->receive,
			    out->fd, (char *)iov[i].iov_base + at,
			    iov[i].iov_len - at, &put);

			if (status != PM_OK)
				return status;
		}
	return PM_OK;
}

enum pm_status
pm_receive_pull(void *arg, int to, size_t size, size_t *moved)
{
	struct pm_receive *r = arg;
	int ready = !may_block(r, to);
	const uint8_t *bytes = NULL;
	enum pm_status status;
	size_t had;

	*moved = 0;
	do {
		/* While it waits for room a break may take bytes back. */
		if ((status = await_bytes(r, &bytes, &had)) != PM_OK)
			return status;
		if (ready) {
			status = write_now(r, to, bytes, had < size ? had
			    : size, moved);
			pm_receive_took(r, *moved);
			ready = 0;
		} else
			status = pm_receive_turn(r, to, POLLOUT, UINT64_MAX,
			    &ready);
	} while (status == PM_OK && *moved == 0);
	return status;
}

void
pm_receive_commit(struct pm_receive *r, uint64_t offset)
{
	r->done = offset;
	if (r->done - r->acked >= ACK_BYTES)
		pm_receive_attend(r);
}

void
pm_receive_attend(struct pm_receive *r)
{
	int ready;

	if (r->bare < 0)
		(void)pm_receive_turn(r, -1, 0, 0, &ready);
}

enum pm_status
pm_receive_wait(struct pm_receive *r, int fd, short events, uint64_t until)
{
	enum pm_status status = PM_OK;
	int ready = 0;

	if (r->bare >= 0) {
		struct pollfd poller = { .fd = fd, .events = events };

		(void)poll(&poller, 1, fd >= 0 ? -1 : 50);
		return PM_OK;
	}
	while (status == PM_OK && !ready && pm_clock_us() < until)
		status = pm_receive_turn(r, fd, events, until, &ready);
	return status;
}

enum pm_status
pm_receive_answer(struct pm_receive *r, uint32_t code, const char *text,
    size_t size)
{
	uint64_t until = code == 0 ? UINT64_MAX : pm_clock_us() + LINGER_US;
	enum pm_status status;
	int ready;

	if (r->bare >= 0 || !r->met || r->failed != PM_OK)
		return PM_OK;
	if (size > PM_WIRE_TEXT_MAX)
		size = PM_WIRE_TEXT_MAX;
	if ((r->result = malloc(4 + PM_WIRE_TEXT_MAX)) == NULL)
		return fail(r);
	pm_put_le(r->result, code, 4);
	memcpy(r->result + 4, text, size);
	r->result_head = (struct pm_wire_head){ .type = PM_WIRE_RESULT,
	    .size = 4 + (uint32_t)size };
	r->discards = 1;
	do
		status = pm_receive_turn(r, -1, 0, until, &ready);
	while (status == PM_OK && !r->left && pm_clock_us() < until);
	return r->left ? PM_OK : pm_receive_vanish(r, "", "");
}

void
pm_receive_close(struct pm_receive *r)
{
	/* A sender that sees its connection end may look for the socket. */
	pm_listener_close(&r->listener);
	for (unsigned i = 0; r->peer != NULL && i < PM_RECEIVE_PEERS; i++)
		if (r->peer[i].state != PM_PEER_NONE) {
			(void)pm_channel_shut(&r->peer[i].channel);
			pm_peer_close(&r->peer[i]);
		}
	if (r->bare >= 0)
		close(r->bare);
	free(r->peer);
	free(r->result);
	pm_parcels_close(&r->parcels);
	*r = (struct pm_receive){ .bare = -1 };
}
