/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "receive.h"

#define HEAR_TIMES	16		/* before others are attended to */

int
pm_receive_count(const struct pm_receive *r, int strangers)
{
	int found = 0;

	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++) {
		const struct pm_peer *peer = &r->peer[i];

		if (peer->state != PM_PEER_NONE)
			found += strangers ? peer->number < 0
			    : peer->state == PM_PEER_OPEN;
	}
	return found;
}

static void
tell(const struct pm_receive *r, const char *text)
{
	if (r->how.tell != NULL)
		r->how.tell(r->how.arg, text);
}

/* One who is not the sender, or not yet, is no more. */
void
pm_receive_turn_away(struct pm_receive *r, struct pm_peer *peer)
{
	char text[400];

	snprintf(text, sizeof(text), "%s%s%s, turned away",
	    peer->name, peer->name[0] != '\0' ? " " : "", peer->fault.text);
	tell(r, text);
	r->stats.strangers++;
	pm_peer_close(peer);
}

void
pm_receive_turn_away_for(struct pm_receive *r, struct pm_peer *peer,
    const char *why)
{
	(void)pm_fault_set(&peer->fault, PM_ERR_PEER, NULL, "%s", why);
	pm_receive_turn_away(r, peer);
}

enum pm_status
pm_receive_gave_up(struct pm_receive *r)
{
	return pm_fault_set(r->fault, PM_ERR_TRUNCATED, r->subject,
	    "the sender gave up: %s", r->why);
}

enum pm_status
pm_receive_vanish(struct pm_receive *r, const char *how, const char *why)
{
	if (r->result != NULL)
		r->failed = pm_fault_set(r->fault, PM_ERR_PEER, r->subject,
		    "left before it heard how it ended");
	else if (r->aborted)
		r->failed = pm_receive_gave_up(r);
	else
		r->failed = pm_fault_set(r->fault, PM_ERR_TRUNCATED,
		    r->subject, "the sender vanished in the middle%s%s",
		    how, why);
	return r->failed;
}

/* What was under way on a connection of the session is lost with it. */
static void
drop(struct pm_receive *r, struct pm_peer *peer)
{
	pm_receive_forget(r, peer);
	if (r->told == (int)(peer - r->peer))
		r->told = -1;
	/* What was acknowledged may not have been heard. */
	r->acked = 0;
	pm_peer_close(peer);
	if (!r->left)
		r->stats.breaks++;
}

enum pm_status
pm_receive_lose(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	char text[400];

	if (peer->number < 0) {
		pm_receive_turn_away(r, peer);
		return PM_OK;
	}
	drop(r, peer);
	if (r->left)
		return PM_OK;
	if (pm_receive_count(r, 0) == 0)
		r->lost = now;
	/* One who said all, and left, has still to be read to the end. */
	if (r->break_us == 0 &&
	    !(r->has_end && pm_receive_reach(r) == r->end))
		return pm_receive_vanish(r, ": ", peer->fault.text);
	snprintf(text, sizeof(text), "connection %d: %s; waits for another",
	    peer->number + 1, peer->fault.text);
	tell(r, text);
	return PM_OK;
}

enum pm_status
pm_receive_lose_for(struct pm_receive *r, struct pm_peer *peer, uint64_t now,
    const char *why)
{
	(void)pm_fault_set(&peer->fault, PM_ERR_PEER, r->subject, "%s", why);
	return pm_receive_lose(r, peer, now);
}

static uint32_t
judge(const struct pm_receive *r, const struct pm_wire_hello *hello)
{
	if (r->bare >= 0)
		return PM_WIRE_BUSY;
	if (!r->met)
		return hello->from > r->done ? PM_WIRE_TOO_LATE
		    : PM_WIRE_WELCOME;
	return memcmp(r->session, hello->session, sizeof(r->session)) == 0
	    ? PM_WIRE_WELCOME : PM_WIRE_BUSY;
}

static void
reply(struct pm_receive *r, struct pm_peer *peer, uint32_t code)
{
	struct pm_wire_reply answer = {
		.code = code,
		.flags = r->how.have != NULL ? PM_WIRE_RESUMES : 0,
		.frames = r->how.frames,
		.break_ms = pm_wire_ms(r->how.break_us),
		.silence_ms = pm_wire_ms(r->how.silence_us),
		.offset = r->done,
	};
	uint8_t bytes[PM_WIRE_HELLO_SIZE];

	if (r->how.have != NULL)
		answer.hash = r->how.have->hash;
	memcpy(answer.receiver, r->receiver, sizeof(answer.receiver));
	pm_wire_pack_reply(&answer, bytes);
	(void)pm_peer_say(peer, bytes, sizeof(bytes));
}

/* The same to one who is then turned away, and has said more, perhaps. */
static void
refuse(struct pm_receive *r, struct pm_peer *peer, uint32_t code,
    uint64_t now)
{
	uint8_t waste[4096];
	size_t n = 0;

	reply(r, peer, code);
	(void)pm_peer_send(peer, SIZE_MAX, now, &n);
	/* Closing with unread bytes would reset it, and the reply be lost. */
	for (int i = 0; i < 16; i++)
		if (pm_channel_recv(&peer->channel, waste, sizeof(waste),
		    &n) != PM_OK || n == 0)
			return;
}

/* The same connection, made anew: the old one is dead, seen or not. */
static void
replace(struct pm_receive *r, const struct pm_wire_hello *hello)
{
	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++) {
		struct pm_peer *old = &r->peer[i];

		if (old->state == PM_PEER_OPEN &&
		    old->number == (int)hello->connection)
			drop(r, old);
	}
}

static void
begin(struct pm_receive *r, const struct pm_wire_hello *hello)
{
	memcpy(r->session, hello->session, sizeof(r->session));
	r->met = 1;
	r->break_us = pm_wire_lesser(r->how.break_us, hello->break_ms);
	r->silence_us = pm_wire_lesser(r->how.silence_us,
	    hello->silence_ms);
}

static enum pm_status
take_hello(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	struct pm_wire_hello hello;
	uint32_t code;
	enum pm_status status = pm_wire_unpack_hello(&hello, peer->got,
	    NULL, &peer->fault);

	/* Answered even if it does not fit: the other end says so too. */
	if (status != PM_OK) {
		refuse(r, peer, PM_WIRE_UNSPOKEN, now);
		pm_receive_turn_away(r, peer);
		return PM_OK;
	}
	code = judge(r, &hello);
	if (code != PM_WIRE_WELCOME) {
		refuse(r, peer, code, now);
		pm_receive_turn_away_for(r, peer, code == PM_WIRE_BUSY
		    ? "is another sender" : "comes in the middle of a stream");
		return PM_OK;
	}
	if (!r->met)
		begin(r, &hello);
	else {
		replace(r, &hello);
		if (r->lost != 0)
			tell(r, "the sender is there again");
	}
	r->lost = 0;
	reply(r, peer, code);
	peer->number = (int)hello.connection;
	peer->had = 0;
	pm_peer_enter(peer, PM_PEER_OPEN, now);
	return PM_OK;
}

/* A stream as it is: nobody else will come. */
static void
take_bare(struct pm_receive *r, struct pm_peer *peer)
{
	memcpy(r->pushed, peer->got, sizeof(r->pushed));
	r->pushed_at = 0;
	r->bare = dup(peer->channel.fd);
	pm_peer_close(peer);
}

static enum pm_status
take_first(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	size_t first = sizeof(r->pushed);
	int had;
	enum pm_status status = pm_peer_hear(peer, peer->had < first ? first
	    : PM_WIRE_HELLO_SIZE, now, &had);

	if (status == PM_END)
		return pm_receive_lose_for(r, peer, now, "left without a word");
	if (status != PM_OK)
		return pm_receive_lose(r, peer, now);
	if (!had)
		return PM_OK;
	if (peer->had >= PM_WIRE_HELLO_SIZE)
		return take_hello(r, peer, now);
	switch (pm_wire_tell(peer->got, peer->had)) {
	case PM_WIRE_IS_HELLO:
		return take_first(r, peer, now);
	case PM_WIRE_IS_STREAM:
		/* It cannot be asked for the rest of what there is. */
		if (r->how.keys == NULL && !r->met && r->bare < 0 &&
		    r->done == 0) {
			take_bare(r, peer);
			return PM_OK;
		}
		return pm_receive_lose_for(r, peer, now, "sent a bare stream");
	case PM_WIRE_IS_TLS:
		refuse(r, peer, PM_WIRE_UNSPOKEN, now);
		return pm_receive_lose_for(r, peer, now,
		    "speaks TLS, and no key was given here");
	case PM_WIRE_IS_GARBAGE:
		break;
	}
	return pm_receive_lose_for(r, peer, now,
	    "sent neither a page stream nor the hello of pm-send");
}

/* The end of a frame. */
static enum pm_status
take_whole(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	if (peer->frame.type == PM_WIRE_DATA)
		pm_receive_filled(r, peer);
	else if (peer->frame.type == PM_WIRE_END) {
		if ((r->has_end && r->end != peer->frame.offset) ||
		    peer->frame.offset < pm_receive_reach(r))
			return pm_receive_lose_for(r, peer, now,
			    "sent an end that makes no sense");
		r->has_end = 1;
		r->end = peer->frame.offset;
	} else if (peer->frame.type == PM_WIRE_ABORT)
		r->aborted = 1;
	else if (peer->frame.type == PM_WIRE_BYE && r->result != NULL)
		r->left = 1;
	return PM_OK;
}

static enum pm_status
take_head(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	if (pm_wire_unpack_head(&peer->frame, peer->got, 1, r->subject,
	    &peer->fault) != PM_OK)
		return pm_receive_lose(r, peer, now);
	peer->had = 0;
	peer->left = peer->frame.size;
	peer->parcel = NULL;
	r->stats.bytes += PM_WIRE_HEAD_SIZE + peer->left;
	if (peer->frame.type == PM_WIRE_DATA &&
	    pm_receive_place(r, peer) != PM_OK)
		return pm_receive_lose(r, peer, now);
	return peer->left == 0 ? take_whole(r, peer, now) : PM_OK;
}

/* Bytes of a frame: into its parcel, or a text, or nowhere. */
static enum pm_status
take_body(struct pm_receive *r, struct pm_peer *peer, uint64_t now, int *more)
{
	uint32_t had = peer->frame.size - peer->left;
	uint8_t waste[8192];
	uint32_t rest = 0;
	void *to = waste;
	size_t got;
	enum pm_status status;

	if (peer->parcel != NULL)
		to = peer->parcel->bytes + had;
	else if (peer->left > sizeof(waste)) {
		rest = peer->left - (uint32_t)sizeof(waste);
		peer->left = sizeof(waste);
	}
	status = rest > 0 ? pm_channel_recv(&peer->channel, to, peer->left,
	    &got) : pm_peer_hear_body(peer, to, now, &got);
	if (rest > 0) {
		peer->left += rest - (uint32_t)got;
		peer->heard = got > 0 ? now : peer->heard;
	}
	if (peer->parcel != NULL)
		peer->parcel->filled = had + (uint32_t)got;
	if (peer->frame.type == PM_WIRE_ABORT && had < sizeof(r->why) - 1) {
		size_t room = sizeof(r->why) - 1 - had;

		memcpy(r->why + had, to, got < room ? got : room);
	}
	*more = got > 0;
	if (status == PM_OK && got > 0 && peer->left == 0)
		return take_whole(r, peer, now);
	if (status == PM_END)
		return pm_receive_lose_for(r, peer, now,
		    "closed the connection");
	return status == PM_OK ? PM_OK : pm_receive_lose(r, peer, now);
}

static enum pm_status
take_frames(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	enum pm_status status = PM_OK;
	int more = 1;

	for (int times = 0; status == PM_OK && more &&
	    pm_peer_may_hear(peer, times, HEAR_TIMES); times++) {
		if (peer->left > 0) {
			status = take_body(r, peer, now, &more);
			continue;
		}
		status = pm_peer_hear(peer, PM_WIRE_HEAD_SIZE, now, &more);
		if (status == PM_OK && more)
			status = take_head(r, peer, now);
		else if (status == PM_END)
			return pm_receive_lose_for(r, peer, now,
			    "closed the connection");
		else if (status != PM_OK)
			return pm_receive_lose(r, peer, now);
	}
	return status;
}

static enum pm_status
greet(struct pm_receive *r, struct pm_peer *peer, uint64_t now)
{
	int done = 0;

	if (pm_channel_greet(&peer->channel, &done) != PM_OK)
		return pm_receive_lose(r, peer, now);
	if (done)
		peer->state = PM_PEER_HELLO;	/* and no more time for it */
	return PM_OK;
}

/* Something came, or can go. */
enum pm_status
pm_receive_hear(struct pm_receive *r, struct pm_peer *peer, short events,
    uint64_t now)
{
	enum pm_status status = PM_OK;
	size_t left;

	if ((events & POLLOUT) != 0) {
		peer->blocked = 0;
		if (peer->state > PM_PEER_GREETING &&
		    pm_channel_flush(&peer->channel, &left) != PM_OK)
			return pm_receive_lose(r, peer, now);
	}
	if (peer->state == PM_PEER_GREETING)
		status = greet(r, peer, now);
	if (status == PM_OK && peer->state == PM_PEER_HELLO)
		status = take_first(r, peer, now);
	if (status == PM_OK && peer->state == PM_PEER_OPEN)
		status = take_frames(r, peer, now);
	return status;
}
