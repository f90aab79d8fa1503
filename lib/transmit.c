/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* getrandom */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fdio.h"
#include "transmit.h"

#define FLUSH		(64u << 10)	/* bytes that are worth a frame */
#define LINGER_US	5000000u	/* for a receiver to hear why */

static enum pm_status
fail(struct pm_transmit *t)
{
	return pm_fault_set(t->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

static enum pm_status
allocate(struct pm_transmit *t)
{
	t->peer = calloc(t->how.connections, sizeof(t->peer[0]));
	t->result = calloc(1, sizeof(*t->result));
	t->raw = malloc(4 + PM_WIRE_TEXT_MAX);
	if (t->peer == NULL || t->result == NULL || t->raw == NULL ||
	    pm_parcels_open(&t->parcels, t->how.frames) != PM_OK ||
	    getrandom(t->session, sizeof(t->session), 0) !=
	    (ssize_t)sizeof(t->session))
		return fail(t);
	for (unsigned i = 0; i < t->how.connections; i++)
		t->peer[i].channel.fd = -1;
	return PM_OK;
}

enum pm_status
pm_transmit_open(struct pm_transmit *t, const struct pm_transmit_how *how,
    struct pm_fault *fault)
{
	struct stat st;
	enum pm_status status;
	off_t start;
	int ready;

	*t = (struct pm_transmit){ .how = *how, .fault = fault,
	    .subject = how->net->text, .begun = pm_clock_us(),
	    .silence_us = how->silence_us, .break_us = how->break_us };
	t->wait_until = t->begun + how->wait_us;
	start = lseek(how->input, 0, SEEK_CUR);
	t->is_file = start >= 0 && fstat(how->input, &st) == 0 &&
	    S_ISREG(st.st_mode);
	t->file_start = t->is_file ? (uint64_t)start : 0;
	status = allocate(t);
	while (status == PM_OK && !t->met)
		status = pm_transmit_turn(t, -1, UINT64_MAX, &ready);
	return status;
}

/* The receiver said how it ends, or nothing goes on. */
static enum pm_status
check(const struct pm_transmit *t, enum pm_status status)
{
	return status == PM_OK && t->has_result ? PM_ERR_PEER : status;
}

/*
 * Wait for something to read, and send meanwhile what there is: a little may
 * wait for more as long as that is there already.
 */
static enum pm_status
await_input(struct pm_transmit *t)
{
	int ready;
	enum pm_status status = pm_transmit_turn(t, t->how.input, 0, &ready);

	if (status == PM_OK && ready && (t->position < t->skip_to ||
	    (t->last != NULL && t->last->size >= FLUSH)))
		status = pm_transmit_work(t, pm_clock_us());
	while (check(t, status) == PM_OK && !ready)
		status = pm_transmit_turn(t, t->how.input, UINT64_MAX,
		    &ready);
	return check(t, status);
}

static enum pm_status
read_some(void *arg, void *buf, size_t size, size_t *got)
{
	struct pm_transmit *t = arg;
	ssize_t n;

	*got = 0;
	do {
		enum pm_status status = await_input(t);

		if (status != PM_OK)
			return status;
		n = read(t->how.input, buf, size);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	if (n < 0)
		return PM_ERR_READ;
	*got = (size_t)n;
	return n > 0 ? PM_OK : PM_END;
}

enum pm_status
pm_transmit_fetch(void *transmit, struct iovec *iov, int count)
{
	return pm_fd_fill(read_some, transmit, iov, count);
}

/* Wait for a parcel with room. */
static enum pm_status
find_room(struct pm_transmit *t, size_t room, struct pm_parcel **parcel)
{
	uint64_t since = 0;
	enum pm_status status = PM_OK;
	int ready;

	while (status == PM_OK &&
	    (*parcel = pm_transmit_tail(t, room)) == NULL) {
		if (since == 0) {
			since = pm_clock_us();
			t->stats.stalls++;
		}
		status = check(t, pm_transmit_turn(t, -1, UINT64_MAX,
		    &ready));
	}
	if (since != 0)
		t->stats.stalled_us += pm_clock_us() - since;
	return status;
}

static size_t
room_in(const struct pm_parcel *parcel)
{
	return PM_WIRE_DATA_MAX - parcel->size;
}

/* A record that fits into a parcel is not spread over two. */
static size_t
room_for(size_t size)
{
	return size < PM_WIRE_DATA_MAX ? size : 1;
}

static enum pm_status
add(struct pm_transmit *t, const uint8_t *bytes, size_t size)
{
	struct pm_parcel *parcel = NULL;
	enum pm_status status = PM_OK;

	while (size > 0 && status == PM_OK) {
		size_t now;

		status = find_room(t, 1, &parcel);
		if (status != PM_OK)
			return status;
		now = size < room_in(parcel) ? size : room_in(parcel);
		memcpy(parcel->bytes + parcel->size, bytes, now);
		status = pm_transmit_added(t, parcel, now);
		bytes += now;
		size -= now;
	}
	return status;
}

enum pm_status
pm_transmit_writev(void *arg, struct iovec *iov, int count)
{
	struct pm_transmit *t = arg;
	struct pm_parcel *parcel;
	enum pm_status status;
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	status = find_room(t, room_for(size), &parcel);
	for (int i = 0; i < count && status == PM_OK; i++)
		status = add(t, iov[i].iov_base, iov[i].iov_len);
	return status;
}

enum pm_status
pm_transmit_push(void *arg, struct iovec *head, int from, size_t size,
    size_t *moved)
{
	struct pm_transmit *t = arg;
	struct pm_parcel *parcel;
	enum pm_status status;
	ssize_t got;

	(void)from;		/* how.input it is */
	*moved = 0;
	status = find_room(t, room_for(head->iov_len + size), &parcel);
	if (status == PM_OK && head->iov_len > 0)
		status = add(t, head->iov_base, head->iov_len);
	head->iov_len = 0;
	if (status == PM_OK)
		status = find_room(t, 1, &parcel);
	if (status != PM_OK)
		return status;
	/* While it waits this one may go, and another must be found. */
	do {
		if ((status = await_input(t)) != PM_OK ||
		    (status = find_room(t, 1, &parcel)) != PM_OK)
			return status;
		got = read(t->how.input, parcel->bytes + parcel->size,
		    size < room_in(parcel) ? size : room_in(parcel));
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	if (got <= 0)
		return got < 0 ? PM_ERR_READ : PM_END;
	*moved = (size_t)got;
	return pm_transmit_added(t, parcel, *moved);
}

void
pm_transmit_charge(struct pm_transmit *t, uint64_t bytes)
{
	pm_bucket_take(&t->bucket, bytes);
}

/* Until the receiver knows that we know. */
static enum pm_status
leave(struct pm_transmit *t, uint64_t until)
{
	enum pm_status status = PM_OK;
	int ready;

	while (status == PM_OK && !t->left && pm_clock_us() < until)
		status = pm_transmit_turn(t, -1, until, &ready);
	return t->has_result ? PM_OK : status;
}

enum pm_status
pm_transmit_end(struct pm_transmit *t)
{
	enum pm_status status = PM_OK;
	int ready;

	if (t->position < t->skip_to)
		return pm_fault_set(t->fault, PM_ERR_MISMATCH, NULL,
		    "does not begin with the %" PRIu64 " bytes that the "
		    "receiver has: it ends before", t->skip_to);
	t->ended = 1;
	while (status == PM_OK && !t->has_result)
		status = pm_transmit_turn(t, -1, UINT64_MAX, &ready);
	return status == PM_OK ? leave(t, pm_clock_us() + (t->break_us >
	    LINGER_US ? t->break_us : LINGER_US)) : status;
}

/* What was not begun is not sent, and makes room. */
static struct pm_parcel *
clear_queue(struct pm_transmit *t)
{
	struct pm_parcel *last = NULL;

	for (struct pm_parcel *one = t->first; one != NULL; one = one->next)
		if (one->peer < 0) {
			one->size = 0;
			last = one;
		}
	t->again_at = t->again_to;
	return last != NULL ? last : pm_transmit_tail(t, PM_WIRE_DATA_MAX);
}

void
pm_transmit_abort(struct pm_transmit *t, const char *why)
{
	uint64_t until = pm_clock_us() + LINGER_US;
	struct pm_parcel *parcel = NULL;
	size_t size = strlen(why);
	int ready;

	if (t->failed != PM_ERR_PEER)
		t->failed = PM_OK;
	/* Nobody waits for the rate, or a debt, to hear of a failure. */
	t->how.rate = NULL;
	pm_bucket_set(&t->bucket, 0, pm_clock_us());
	while (t->failed == PM_OK && !t->has_result &&
	    pm_clock_us() < until && (parcel = clear_queue(t)) == NULL)
		(void)pm_transmit_turn(t, -1, until, &ready);
	if (parcel == NULL)
		return;
	parcel->type = PM_WIRE_ABORT;
	parcel->size = (uint32_t)(size < PM_WIRE_TEXT_MAX ? size
	    : PM_WIRE_TEXT_MAX);
	memcpy(parcel->bytes, why, parcel->size);
	(void)leave(t, until);
}

const struct pm_transmit_result *
pm_transmit_result(const struct pm_transmit *t)
{
	return t->has_result ? t->result : NULL;
}

void
pm_transmit_close(struct pm_transmit *t)
{
	for (unsigned i = 0; t->peer != NULL && i < t->how.connections; i++)
		pm_peer_close(&t->peer[i]);
	free(t->peer);
	free(t->result);
	free(t->raw);
	pm_parcels_close(&t->parcels);
	if (t->hash != NULL)
		pm_hash_end(t->hash);
	*t = (struct pm_transmit){ .met = 0 };
}
