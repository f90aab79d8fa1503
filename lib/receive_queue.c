/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stddef.h>
#include <string.h>

#include "receive.h"

static uint64_t
end_of(const struct pm_parcel *parcel)
{
	return parcel->offset + parcel->size;
}

static void
unlink_parcel(struct pm_receive *r, struct pm_parcel *parcel)
{
	struct pm_parcel **at = &r->first;

	while (*at != parcel)
		at = &(*at)->next;
	*at = parcel->next;
	pm_parcels_give(&r->parcels, parcel);
}

static void
insert(struct pm_receive *r, struct pm_parcel *parcel)
{
	struct pm_parcel **at = &r->first;

	while (*at != NULL && (*at)->offset <= parcel->offset)
		at = &(*at)->next;
	parcel->next = *at;
	*at = parcel;
}

/* True when all of it is here already. */
static int
is_had(const struct pm_receive *r, const struct pm_wire_head *frame)
{
	uint64_t end = frame->offset + frame->size;

	if (end <= r->expected)
		return 1;
	for (const struct pm_parcel *one = r->first; one != NULL;
	    one = one->next)
		if (one->offset <= frame->offset && end <= end_of(one) &&
		    one->filled == one->size)
			return 1;
	return 0;
}

enum pm_status
pm_receive_place(struct pm_receive *r, struct pm_peer *peer)
{
	const struct pm_wire_head *frame = &peer->frame;
	uint64_t most = r->expected +
	    (uint64_t)r->how.frames * 2 * PM_WIRE_DATA_MAX;
	struct pm_parcel *parcel;

	peer->parcel = NULL;
	if (r->discards)
		return PM_OK;
	if (is_had(r, frame)) {
		r->stats.again += frame->size;
		return PM_OK;
	}
	if (frame->offset > most || (r->has_end &&
	    frame->offset + frame->size > r->end))
		return pm_fault_set(&peer->fault, PM_ERR_CORRUPT, r->subject,
		    "sent a frame from nowhere");
	if ((parcel = pm_parcels_take(&r->parcels)) == NULL)
		return pm_fault_set(&peer->fault, PM_ERR_CORRUPT, r->subject,
		    "sent more than it was asked for");
	parcel->type = frame->type;
	parcel->offset = frame->offset;
	parcel->size = frame->size;
	parcel->peer = (int)(peer - r->peer);
	insert(r, parcel);
	peer->parcel = parcel;
	return PM_OK;
}

/* Drop what was passed on, but for what a connection still fills. */
static void
drop_passed(struct pm_receive *r)
{
	struct pm_parcel *next;

	for (struct pm_parcel *one = r->first; one != NULL &&
	    one->offset <= r->expected; one = next) {
		next = one->next;
		if (one->peer < 0 && end_of(one) <= r->expected)
			unlink_parcel(r, one);
	}
}

/* Neighbours that fit into one become one, as at the other end. */
static void
join(struct pm_receive *r, struct pm_parcel *one)
{
	struct pm_parcel *next = one->next;

	if (one->peer >= 0 || next == NULL || next->peer >= 0 ||
	    end_of(one) != next->offset ||
	    one->size + next->size > PM_WIRE_DATA_MAX)
		return;
	memcpy(one->bytes + one->size, next->bytes, next->size);
	one->size = one->filled = one->size + next->size;
	unlink_parcel(r, next);
}

static void
join_all(struct pm_receive *r, struct pm_parcel *parcel)
{
	struct pm_parcel *before = r->first;

	while (before != NULL && before->next != parcel)
		before = before->next;
	join(r, parcel);
	if (before != NULL)
		join(r, before);
}

void
pm_receive_filled(struct pm_receive *r, struct pm_peer *peer)
{
	struct pm_parcel *parcel = peer->parcel;

	peer->parcel = NULL;
	if (parcel == NULL)
		return;
	parcel->peer = -1;
	if (end_of(parcel) <= r->expected)
		unlink_parcel(r, parcel);
	else
		join_all(r, parcel);
}

void
pm_receive_forget(struct pm_receive *r, struct pm_peer *peer)
{
	if (peer->parcel != NULL)
		unlink_parcel(r, peer->parcel);
	peer->parcel = NULL;
}

uint64_t
pm_receive_reach(const struct pm_receive *r)
{
	uint64_t reach = r->expected;

	for (const struct pm_parcel *one = r->first; one != NULL;
	    one = one->next)
		if (end_of(one) > reach)
			reach = end_of(one);
	return reach;
}

size_t
pm_receive_next(struct pm_receive *r, const uint8_t **bytes)
{
	for (struct pm_parcel *one = r->first; one != NULL &&
	    one->offset <= r->expected; one = one->next)
		if (r->expected < one->offset + one->filled) {
			size_t at = (size_t)(r->expected - one->offset);

			*bytes = one->bytes + at;
			return one->filled - at;
		}
	return 0;
}

void
pm_receive_took(struct pm_receive *r, size_t size)
{
	r->expected += size;
	drop_passed(r);
}
