/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fdio.h"
#include "transmit.h"

static void
append(struct pm_transmit *t, struct pm_parcel *parcel)
{
	if (t->first == NULL)
		t->first = parcel;
	else
		t->last->next = parcel;
	t->last = parcel;
	parcel->next = NULL;
}

struct pm_parcel *
pm_transmit_tail(struct pm_transmit *t, size_t room)
{
	struct pm_parcel *parcel = t->last;

	if (t->again_at < t->again_to)
		return NULL;
	if (parcel != NULL && parcel->times == 0 &&
	    parcel->type == PM_WIRE_DATA &&
	    PM_WIRE_DATA_MAX - parcel->size >= room)
		return parcel;
	parcel = pm_parcels_take(&t->parcels);
	if (parcel == NULL)
		return NULL;
	parcel->type = PM_WIRE_DATA;
	parcel->offset = t->position;
	append(t, parcel);
	return parcel;
}

static void
hash(struct pm_transmit *t, const uint8_t *bytes, size_t size)
{
	if (t->hash != NULL)
		pm_hash_add(t->hash, bytes, size);
	t->hashed += size;
}

static enum pm_status
differs(struct pm_transmit *t)
{
	return pm_fault_set(t->fault, PM_ERR_MISMATCH, NULL, "does not begin "
	    "with the %" PRIu64 " bytes that the receiver has; what a live "
	    "source said cannot be said again", t->hashed);
}

/* The receiver has these bytes already: they only have to be the same. */
static enum pm_status
skip(struct pm_transmit *t, struct pm_parcel *parcel, size_t size)
{
	uint8_t *bytes = parcel->bytes + parcel->size;
	uint64_t most = t->skip_to - t->position;
	size_t now = size < most ? size : (size_t)most;

	hash(t, bytes, now);
	t->position += now;
	t->stats.skipped += now;
	t->needed = t->position;
	if (t->position == t->skip_to && !pm_digest_equal(pm_hash_sum(t->hash),
	    t->skip_hash))
		return differs(t);
	memmove(bytes, bytes + now, size - now);
	parcel->size = (uint32_t)(size - now);
	parcel->offset = t->position;
	t->position += parcel->size;
	return PM_OK;
}

enum pm_status
pm_transmit_added(struct pm_transmit *t, struct pm_parcel *parcel,
    size_t size)
{
	if (t->position < t->skip_to)
		return skip(t, parcel, size);
	parcel->size += (uint32_t)size;
	t->position += size;
	return PM_OK;
}

/* Read a part of the file again, that the receiver has lost. */
static struct pm_parcel *
read_again(struct pm_transmit *t)
{
	struct pm_parcel *parcel = pm_parcels_take(&t->parcels);
	uint64_t most = t->again_to - t->again_at;

	if (parcel == NULL)
		return NULL;
	parcel->type = PM_WIRE_DATA;
	parcel->offset = t->again_at;
	parcel->size = most < PM_WIRE_DATA_MAX ? (uint32_t)most
	    : PM_WIRE_DATA_MAX;
	parcel->times = 1;
	if (pm_fd_pread(t->how.input, parcel->bytes, parcel->size,
	    t->file_start + t->again_at) != PM_OK) {
		pm_parcels_give(&t->parcels, parcel);
		t->failed = pm_fault_set(t->fault, PM_ERR_READ, NULL,
		    "was cut while it was sent");
		return NULL;
	}
	append(t, parcel);
	t->again_at += parcel->size;
	return parcel;
}

static struct pm_parcel *
queue_end(struct pm_transmit *t)
{
	struct pm_parcel *parcel = pm_parcels_take(&t->parcels);

	if (parcel == NULL)
		return NULL;
	parcel->type = PM_WIRE_END;
	parcel->offset = t->position;
	append(t, parcel);
	t->ended = 2;
	return parcel;
}

struct pm_parcel *
pm_transmit_next(struct pm_transmit *t)
{
	uint32_t frames = 0;

	/* The receiver has room for so many, though there may be more. */
	for (struct pm_parcel *one = t->first; one != NULL; one = one->next,
	    frames++)
		if (one->peer < 0 && (one->type == PM_WIRE_ABORT ||
		    (frames < t->how.frames && (one->size > 0 ||
		    one->type == PM_WIRE_END))))
			return one;
	if (frames >= t->how.frames)
		return NULL;
	if (t->again_at < t->again_to)
		return read_again(t);
	return t->ended == 1 ? queue_end(t) : NULL;
}

/* True while a connection still sends from it. */
static int
is_in_hand(const struct pm_transmit *t, const struct pm_parcel *parcel)
{
	return parcel->peer >= 0 &&
	    t->peer[parcel->peer].parcel == parcel &&
	    pm_peer_is_loaded(&t->peer[parcel->peer]);
}

static void
drop_first(struct pm_transmit *t)
{
	struct pm_parcel *parcel = t->first;

	t->first = parcel->next;
	if (t->first == NULL)
		t->last = NULL;
	pm_parcels_give(&t->parcels, parcel);
}

void
pm_transmit_retire(struct pm_transmit *t, uint64_t offset)
{
	if (offset > t->position)
		offset = t->position;
	if (offset > t->needed)
		t->needed = offset;
	while (t->first != NULL && t->first->type == PM_WIRE_DATA &&
	    t->first->size > 0 &&
	    t->first->offset + t->first->size <= t->needed &&
	    !is_in_hand(t, t->first)) {
		struct pm_parcel *one = t->first;
		uint64_t had = t->hashed - one->offset;

		/* What is sent again may have been hashed before. */
		if (t->hashed >= one->offset && had < one->size)
			hash(t, one->bytes + had, one->size - (size_t)had);
		drop_first(t);
	}
}

/*
 * Who says little at a time does not fill the window with it, for of a record
 * nothing is acknowledged until the other end has the whole: neighbours on one
 * connection become one.
 */
static void
join(struct pm_transmit *t, struct pm_parcel *parcel)
{
	struct pm_parcel *before = t->first;

	while (before != NULL && before->next != parcel)
		before = before->next;
	if (before == NULL || before->peer != parcel->peer ||
	    before->type != PM_WIRE_DATA || parcel->type != PM_WIRE_DATA ||
	    before->offset + before->size != parcel->offset ||
	    before->size + parcel->size > PM_WIRE_DATA_MAX)
		return;
	memcpy(before->bytes + before->size, parcel->bytes, parcel->size);
	before->size += parcel->size;
	before->next = parcel->next;
	if (t->last == parcel)
		t->last = before;
	pm_parcels_give(&t->parcels, parcel);
}

void
pm_transmit_sent(struct pm_transmit *t, int peer)
{
	if (t->peer[peer].parcel != NULL)
		join(t, t->peer[peer].parcel);
	t->peer[peer].parcel = NULL;
	/* Where it was sent again, it may be acknowledged already. */
	pm_transmit_retire(t, t->needed);
}

void
pm_transmit_recall(struct pm_transmit *t, int peer)
{
	for (struct pm_parcel *one = t->first; one != NULL; one = one->next)
		if (one->peer == peer)
			one->peer = -1;
	t->peer[peer].parcel = NULL;
}

enum pm_status
pm_transmit_too_late(struct pm_transmit *t)
{
	return pm_fault_set(t->fault, PM_ERR_PEER, t->subject, "was started "
	    "again without what it had, and the input cannot be read twice");
}

/* The hash of what stands before an offset, in the file. */
static enum pm_status
hash_file(struct pm_transmit *t, uint64_t size, struct pm_digest *sum)
{
	struct pm_parcel *scratch = pm_parcels_take(&t->parcels);
	struct pm_hash *all = pm_hash_begin();
	enum pm_status status = PM_OK;

	for (uint64_t at = 0; at < size && status == PM_OK;) {
		uint64_t left = size - at;
		size_t now = left < PM_WIRE_DATA_MAX ? (size_t)left
		    : PM_WIRE_DATA_MAX;

		if (scratch == NULL || all == NULL)
			break;
		status = pm_fd_pread(t->how.input, scratch->bytes, now,
		    t->file_start + at);
		pm_hash_add(all, scratch->bytes, now);
		at += now;
		pm_transmit_nudge(t);
	}
	if (scratch == NULL || all == NULL)
		status = PM_ERR_SYSTEM;
	else {
		*sum = t->sum = pm_hash_sum(all);
		t->summed = size;
	}
	if (scratch != NULL)
		pm_parcels_give(&t->parcels, scratch);
	pm_hash_end(all);
	return status == PM_OK ? PM_OK : pm_fault_set(t->fault, PM_ERR_READ,
	    NULL, "cannot be read again");
}

/* All connections are closed: nothing is in hand. */
static void
drop_all(struct pm_transmit *t)
{
	while (t->first != NULL)
		drop_first(t);
	if (t->ended == 2)
		t->ended = 1;
}

/* Read the file again, from what another receiver has. */
static enum pm_status
go_back(struct pm_transmit *t, const struct pm_wire_reply *reply)
{
	struct pm_digest sum = pm_hash_bytes(NULL, 0);
	enum pm_status status = PM_OK;

	drop_all(t);
	/* One who was impatient asks the same again. */
	if (reply->offset > 0 && reply->offset == t->summed)
		sum = t->sum;
	else if (reply->offset > 0)
		status = hash_file(t, reply->offset, &sum);
	if (status != PM_OK)
		return status;
	if (reply->offset > 0 && !pm_digest_equal(sum, reply->hash))
		return differs(t);
	t->needed = t->again_at = reply->offset;
	t->again_to = t->position;
	return PM_OK;
}

/* What another receiver has is in the parcels that are kept. */
static enum pm_status
go_on(struct pm_transmit *t, const struct pm_wire_reply *reply)
{
	struct pm_parcel *one = t->first;

	while (t->hashed < reply->offset && one != NULL) {
		uint64_t end = one->offset + one->size;

		if (end > reply->offset)
			end = reply->offset;
		if (t->hashed >= one->offset && end > t->hashed)
			hash(t, one->bytes + (t->hashed - one->offset),
			    (size_t)(end - t->hashed));
		one = one->next;
	}
	if (t->hash == NULL || t->hashed != reply->offset ||
	    !pm_digest_equal(pm_hash_sum(t->hash), reply->hash))
		return differs(t);
	pm_transmit_retire(t, reply->offset);
	return PM_OK;
}

/* At the beginning: from where on does it want the input? */
static enum pm_status
begin(struct pm_transmit *t, const struct pm_wire_reply *reply)
{
	const struct pm_token *resume = t->how.resume;
	int resumes = (reply->flags & PM_WIRE_RESUMES) != 0;

	if (resume != NULL && (reply->offset != resume->offset ||
	    (resumes && !pm_digest_equal(reply->hash, resume->hash))))
		return pm_fault_set(t->fault, PM_ERR_MISMATCH, t->subject,
		    "has %" PRIu64 " bytes, and not those of the token",
		    reply->offset);
	if (reply->offset > 0 && !resumes)
		return pm_fault_set(t->fault, PM_ERR_PEER, t->subject,
		    "sent a reply that makes no sense");
	t->skip_to = reply->offset;
	t->skip_hash = reply->hash;
	if (resumes && (t->hash = pm_hash_begin()) == NULL)
		return pm_fault_set(t->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	return PM_OK;
}

enum pm_status
pm_transmit_meet(struct pm_transmit *t, const struct pm_wire_reply *reply)
{
	if (!t->met)
		return begin(t, reply);
	/* A file is read again from the very beginning, if it must be. */
	if (t->position < t->skip_to)
		return reply->offset == t->skip_to &&
		    pm_digest_equal(reply->hash, t->skip_hash) ? PM_OK
		    : pm_transmit_too_late(t);
	if (reply->offset > t->position)
		return pm_fault_set(t->fault, PM_ERR_MISMATCH, t->subject,
		    "has more than was sent");
	if (t->is_file)
		return go_back(t, reply);
	if (reply->offset < t->needed)
		return pm_transmit_too_late(t);
	return reply->offset == 0 ? PM_OK : go_on(t, reply);
}
