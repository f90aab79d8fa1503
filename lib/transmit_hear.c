/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "transmit.h"

#define PAUSE_MAX_US	1000000u	/* between two tries to connect */
#define EARLY_MAX	3
#define HEAR_TIMES	64

int
pm_transmit_standing(const struct pm_transmit *t)
{
	int open = 0;

	for (unsigned i = 0; i < t->how.connections; i++)
		open += t->peer[i].state == PM_PEER_OPEN;
	return open;
}

static void
tell(const struct pm_transmit *t, const char *text)
{
	if (t->how.tell != NULL)
		t->how.tell(t->how.arg, text);
}

/* The session is over, for the reason that a connection gave. */
enum pm_status
pm_transmit_fail(struct pm_transmit *t, const struct pm_fault *why,
    const char *how)
{
	if (t->leaves) {
		t->left = 1;
		return PM_OK;
	}
	t->failed = pm_fault_set(t->fault, PM_ERR_PEER, t->subject, "%s%s",
	    why->text, how);
	return t->failed;
}

/* When to try again, or that there is no sense in it. */
static enum pm_status
put_off(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];

	t->trouble = peer->fault;
	peer->next_try = now + peer->pause;
	peer->pause = peer->pause == 0 ? PM_TRANSMIT_PAUSE_US
	    : peer->pause * 2 < PAUSE_MAX_US ? peer->pause * 2
	    : PAUSE_MAX_US;
	if (t->met && t->break_us == 0)
		return pm_transmit_fail(t, &peer->fault, "");
	if (pm_transmit_standing(t) > 0)
		return PM_OK;
	if (t->lost == 0)
		t->lost = now;
	return PM_OK;
}

/* A connection that is of use ends a break; one that only stands does not. */
void
pm_transmit_prove(struct pm_transmit *t, struct pm_peer *peer)
{
	t->lost = 0;
	peer->pause = 0;
}

/* A connection is no more: what was under way on it goes elsewhere. */
enum pm_status
pm_transmit_lose(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	int was_open = peer->state == PM_PEER_OPEN;
	int was_cut = peer->state == PM_PEER_HELLO && peer->had == 0 &&
	    t->how.keys == NULL;
	char text[400];

	pm_peer_close(peer);
	pm_transmit_recall(t, (int)number);
	if (t->bye == number + 1)
		t->bye = 0;
	/* When all is said, it is the receiver that leaves. */
	if (was_open && !t->leaves) {
		t->stats.breaks++;
		if (t->break_us > 0) {
			snprintf(text, sizeof(text), "connection %u: %s; "
			    "connects again", number + 1, peer->fault.text);
			tell(t, text);
		}
	}
	if (t->met)
		return put_off(t, number, now);
	/*
	 * Whoever answers wrongly before the first welcome is not the one; but
	 * a link may break that early.
	 */
	if (t->break_us == 0 || !was_cut || ++t->early > EARLY_MAX)
		return pm_transmit_fail(t, &peer->fault, "");
	peer->next_try = now + PM_TRANSMIT_PAUSE_US;
	t->trouble = peer->fault;
	return PM_OK;
}

enum pm_status
pm_transmit_lose_with(struct pm_transmit *t, unsigned number, uint64_t now,
    const char *why)
{
	(void)pm_fault_set(&t->peer[number].fault, PM_ERR_PEER, t->subject,
	    "%s", why);
	return pm_transmit_lose(t, number, now);
}

/* Nobody listens there: perhaps not yet. */
static enum pm_status
missed(struct pm_transmit *t, unsigned number, int error, const char *why,
    uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];

	pm_peer_close(peer);
	peer->fault = (struct pm_fault){ .error = error };
	(void)pm_fault_set(&peer->fault, PM_ERR_PEER, t->subject, "%s", why);
	if (t->leaves && pm_net_is_early(error))
		t->left = 1;		/* it heard us, and is gone */
	if (!t->met) {
		peer->next_try = now + PM_TRANSMIT_PAUSE_US;
		if (!pm_net_is_early(error) || now >= t->wait_until)
			return pm_transmit_fail(t, t->early > 0 ? &t->trouble
			    : &peer->fault, "");
		return PM_OK;
	}
	return put_off(t, number, now);
}

static enum pm_status
connected(struct pm_transmit *t, unsigned number, int fd, uint64_t now)
{
	if (pm_peer_open(&t->peer[number], fd, t->how.keys, 0, t->subject,
	    now) != PM_OK)
		return pm_transmit_lose(t, number, now);
	return PM_OK;
}

enum pm_status
pm_transmit_dial(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status;
	int fd;

	if (peer->state == PM_PEER_NONE) {
		/* The first one finds out who is there. */
		if (now < peer->next_try || (!t->met && number > 0))
			return PM_OK;
		pm_peer_enter(peer, PM_PEER_DIALLING, now);
		status = pm_net_dial(&peer->dial, t->how.net, &fd);
	} else
		status = pm_net_go_on(&peer->dial, &fd);
	if (status != PM_OK)
		return missed(t, number, errno, strerror(errno), now);
	return fd >= 0 ? connected(t, number, fd, now) : PM_OK;
}

enum pm_status
pm_transmit_greet(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	struct pm_wire_hello hello = {
		.connection = number,
		.connections = t->how.connections,
		.frames = t->how.frames,
		.break_ms = pm_wire_ms(t->how.break_us),
		.silence_ms = pm_wire_ms(t->how.silence_us),
		.from = t->leaves ? UINT64_MAX : t->is_file ? 0 : t->needed,
	};
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int done = 0;

	if (pm_channel_greet(&peer->channel, &done) != PM_OK)
		return pm_transmit_lose(t, number, now);
	if (!done)
		return PM_OK;
	memcpy(hello.session, t->session, sizeof(hello.session));
	pm_wire_pack_hello(&hello, bytes);
	(void)pm_peer_say(peer, bytes, sizeof(bytes));
	pm_peer_enter(peer, PM_PEER_HELLO, now);
	return PM_OK;
}

/* Another receiver knows nothing of what the other connections carry. */
static enum pm_status
welcome(struct pm_transmit *t, unsigned number,
    const struct pm_wire_reply *reply, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	int is_other = memcmp(t->receiver, reply->receiver,
	    sizeof(t->receiver)) != 0;
	uint64_t before = t->needed;

	if (!t->met || is_other) {
		for (unsigned i = 0; i < t->how.connections; i++)
			if (i != number && t->peer[i].state != PM_PEER_NONE) {
				pm_peer_close(&t->peer[i]);
				pm_transmit_recall(t, (int)i);
				t->peer[i].next_try = now;
			}
		/* What fails at this end alone is told there. */
		t->failed = pm_transmit_meet(t, reply);
		if (t->failed == PM_ERR_PEER)
			return t->failed;
	} else
		pm_transmit_retire(t, reply->offset);
	if (t->met && is_other)
		tell(t, "another receiver took over");
	else if (t->met && pm_transmit_standing(t) == 0)
		tell(t, "the receiver is there again");
	t->met = 1;
	memcpy(t->receiver, reply->receiver, sizeof(t->receiver));
	t->break_us = pm_wire_lesser(t->how.break_us, reply->break_ms);
	t->silence_us = pm_wire_lesser(t->how.silence_us,
	    reply->silence_ms);
	if (t->how.frames > reply->frames)
		t->how.frames = reply->frames;
	peer->had = 0;
	peer->start = t->needed;
	/* The one before it was of use, though its words were lost. */
	if (t->needed > before)
		pm_transmit_prove(t, peer);
	pm_peer_enter(peer, PM_PEER_OPEN, now);
	return t->failed;
}

static enum pm_status
take_reply(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	struct pm_wire_reply reply;
	int had;
	enum pm_status status = pm_peer_hear(peer, PM_WIRE_HELLO_SIZE, now,
	    &had);

	if (status == PM_END)
		return pm_transmit_lose_with(t, number, now,
		    pm_wire_tell(peer->got, peer->had) == PM_WIRE_IS_TLS
		    ? "speaks TLS, and no key was given here"
		    : "closed the connection without a word");
	if (status == PM_OK && !had && peer->had >= 8 &&
	    pm_wire_tell(peer->got, 8) != PM_WIRE_IS_HELLO)
		status = pm_wire_unpack_reply(&reply, peer->got, t->subject,
		    &peer->fault);
	if (status != PM_OK)
		return pm_transmit_lose(t, number, now);
	if (!had)
		return PM_OK;
	status = pm_wire_unpack_reply(&reply, peer->got, t->subject,
	    &peer->fault);
	if (status != PM_OK)
		return pm_transmit_lose(t, number, now);
	switch (reply.code) {
	case PM_WIRE_WELCOME:
		return welcome(t, number, &reply, now);
	case PM_WIRE_BUSY:
		return missed(t, number, EAGAIN,
		    "is busy with another sender", now);
	case PM_WIRE_TOO_LATE:
		if (t->leaves)
			t->left = 1;	/* another one, that knows nothing */
		else
			t->failed = pm_transmit_too_late(t);
		return t->failed;
	}
	return pm_transmit_lose_with(t, number, now,
	    "does not understand the hello");
}

/* The end of what the receiver says; more of it is of no use. */
static enum pm_status
take_result(struct pm_transmit *t, unsigned number, const uint8_t *bytes,
    uint32_t size, uint64_t now)
{
	struct pm_transmit_result *result = t->result;

	result->status = (uint32_t)pm_get_le(bytes, 4);
	/* It cannot know of a success before it knows of the end. */
	if (result->status == 0 && t->ended != 2)
		return pm_transmit_lose_with(t, number, now,
		    "sent a result that makes no sense");
	result->size = size - 4;
	memmove(result->text, bytes + 4, size - 4);
	result->text[size - 4] = '\0';
	t->has_result = 1;
	t->leaves = 1;
	t->bye = number + 1;
	(void)pm_peer_say_frame(&t->peer[number], PM_WIRE_BYE, 0);
	return PM_OK;
}

static enum pm_status
take_frame(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status;

	status = pm_wire_unpack_head(&peer->frame, peer->got, 0, t->subject,
	    &peer->fault);
	if (status != PM_OK)
		return pm_transmit_lose(t, number, now);
	peer->had = 0;
	peer->left = peer->frame.size;
	if (peer->frame.type == PM_WIRE_ACK)
		pm_transmit_retire(t, peer->frame.offset);
	if (t->needed > peer->start)
		pm_transmit_prove(t, peer);
	return PM_OK;
}

/* Bytes of a result, the only frame that has some. */
static enum pm_status
take_bytes(struct pm_transmit *t, unsigned number, uint64_t now, int *more)
{
	struct pm_peer *peer = &t->peer[number];
	uint32_t had = peer->frame.size - peer->left;
	size_t got;
	enum pm_status status = pm_peer_hear_body(peer, t->raw + had, now,
	    &got);

	if (status == PM_OK && peer->left == 0)
		return take_result(t, number, t->raw, peer->frame.size,
		    now);
	*more = got > 0;
	if (status == PM_END)
		return pm_transmit_lose_with(t, number, now,
		    "closed the connection without a word");
	return status == PM_OK ? PM_OK : pm_transmit_lose(t, number, now);
}

static enum pm_status
hear(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status = PM_OK;
	int more = 1;

	for (int times = 0; status == PM_OK && more &&
	    pm_peer_may_hear(peer, times, HEAR_TIMES); times++) {
		if (peer->left > 0) {
			status = take_bytes(t, number, now, &more);
			continue;
		}
		status = pm_peer_hear(peer, PM_WIRE_HEAD_SIZE, now, &more);
		if (status == PM_OK && more)
			status = take_frame(t, number, now);
		else if (status == PM_END && t->bye == number + 1 &&
		    !pm_peer_has_words(peer)) {
			t->left = 1;	/* as it should, once it has heard */
			return PM_OK;
		} else if (status == PM_END)
			return pm_transmit_lose_with(t, number, now,
			    "closed the connection without a word");
		else if (status != PM_OK)
			return pm_transmit_lose(t, number, now);
	}
	return status;
}

/* Something came, or can go. */
enum pm_status
pm_transmit_attend(struct pm_transmit *t, unsigned number, short events,
    uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status = PM_OK;
	size_t left;

	if ((events & POLLOUT) != 0) {
		peer->blocked = 0;
		if (peer->state > PM_PEER_GREETING &&
		    pm_channel_flush(&peer->channel, &left) != PM_OK)
			return pm_transmit_lose(t, number, now);
	}
	if (peer->state == PM_PEER_GREETING && events != 0)
		status = pm_transmit_greet(t, number, now);
	if (status == PM_OK && peer->state == PM_PEER_HELLO)
		status = take_reply(t, number, now);
	if (status == PM_OK && peer->state == PM_PEER_OPEN &&
	    ((events & ~POLLOUT) != 0 || pm_channel_is_ready(&peer->channel)))
		status = hear(t, number, now);
	return status;
}
