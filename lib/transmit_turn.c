/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "clock.h"
#include "transmit.h"

#define PAUSE_US	50000u		/* between two tries to connect */
#define PAUSE_MAX_US	1000000u
#define EARLY_MAX	3
#define HEAR_TIMES	64
#define STOOD_US	1000000u	/* a connection is of use, then */
#define ASK_US		100000u		/* for the rate */
#define POLLS		(PM_WIRE_CONNECTIONS_MAX + 1)

static int
count_open(const struct pm_transmit *t)
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
static enum pm_status
fail(struct pm_transmit *t, const struct pm_fault *why, const char *how)
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

	peer->next_try = now + peer->pause;
	peer->pause = peer->pause == 0 ? PAUSE_US
	    : peer->pause * 2 < PAUSE_MAX_US ? peer->pause * 2
	    : PAUSE_MAX_US;
	if (t->met && t->break_us == 0)
		return fail(t, &peer->fault, "");
	if (count_open(t) > 0)
		return PM_OK;
	if (t->lost == 0)
		t->lost = now;
	return PM_OK;
}

/* A connection that is of use ends a break; one that only stands does not. */
static void
prove(struct pm_transmit *t, struct pm_peer *peer)
{
	t->lost = 0;
	peer->pause = 0;
}

/* A connection is no more: what was under way on it goes elsewhere. */
static enum pm_status
lose(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	int was_open = peer->state == PM_PEER_OPEN;
	int was_cut = peer->state == PM_PEER_HELLO && peer->had == 0 &&
	    t->how.keys == NULL;
	char text[400];

	pm_peer_close(peer);
	pm_transmit_recall(t, (int)number);
	if (was_open) {
		t->stats.breaks++;
		if (!t->leaves && t->break_us > 0) {
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
		return fail(t, &peer->fault, "");
	peer->next_try = now + PAUSE_US;
	t->trouble = peer->fault;
	return PM_OK;
}

static enum pm_status
lose_with(struct pm_transmit *t, unsigned number, uint64_t now,
    const char *why)
{
	(void)pm_fault_set(&t->peer[number].fault, PM_ERR_PEER, t->subject,
	    "%s", why);
	return lose(t, number, now);
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
		peer->next_try = now + PAUSE_US;
		if (!pm_net_is_early(error) || now >= t->wait_until)
			return fail(t, t->early > 0 ? &t->trouble
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
		return lose(t, number, now);
	return PM_OK;
}

static enum pm_status
dial(struct pm_transmit *t, unsigned number, uint64_t now)
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

static enum pm_status
greet(struct pm_transmit *t, unsigned number, uint64_t now)
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
		return lose(t, number, now);
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
	else if (t->met && count_open(t) == 0)
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
		return lose_with(t, number, now,
		    pm_wire_tell(peer->got, peer->had) == PM_WIRE_IS_TLS
		    ? "speaks TLS, and no key was given here"
		    : "closed the connection without a word");
	if (status == PM_OK && !had && peer->had >= 8 &&
	    pm_wire_tell(peer->got, 8) != PM_WIRE_IS_HELLO)
		status = pm_wire_unpack_reply(&reply, peer->got, t->subject,
		    &peer->fault);
	if (status != PM_OK)
		return lose(t, number, now);
	if (!had)
		return PM_OK;
	status = pm_wire_unpack_reply(&reply, peer->got, t->subject,
	    &peer->fault);
	if (status != PM_OK)
		return lose(t, number, now);
	switch (reply.code) {
	case PM_WIRE_WELCOME:
		return welcome(t, number, &reply, now);
	case PM_WIRE_BUSY:
		return missed(t, number, EAGAIN,
		    "is busy with another sender", now);
	case PM_WIRE_TOO_LATE:
		(void)pm_fault_set(&peer->fault, PM_ERR_PEER, t->subject,
		    "was started again without what it had, and the input "
		    "cannot be read twice");
		if (t->leaves)
			t->left = 1;
		return fail(t, &peer->fault, "");
	}
	return lose_with(t, number, now, "does not understand the hello");
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
		return lose_with(t, number, now,
		    "sent a result that makes no sense");
	result->size = size - 4;
	memmove(result->text, bytes + 4, size - 4);
	result->text[size - 4] = '\0';
	t->has_result = 1;
	t->leaves = 1;
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
		return lose(t, number, now);
	peer->had = 0;
	peer->left = peer->frame.size;
	if (peer->frame.type == PM_WIRE_ACK)
		pm_transmit_retire(t, peer->frame.offset);
	if (t->needed > peer->start)
		prove(t, peer);
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
		return lose_with(t, number, now,
		    "closed the connection without a word");
	return status == PM_OK ? PM_OK : lose(t, number, now);
}

static enum pm_status
hear(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status = PM_OK;
	int more = 1;

	/* As in the receiver: not for ever, but no head is left behind. */
	for (int times = 0; status == PM_OK && more &&
	    peer->state == PM_PEER_OPEN && (times < HEAR_TIMES ||
	    (peer->left == 0 && peer->had == PM_WIRE_HEAD_SIZE)); times++) {
		if (peer->left > 0) {
			status = take_bytes(t, number, now, &more);
			continue;
		}
		status = pm_peer_hear(peer, PM_WIRE_HEAD_SIZE, now, &more);
		if (status == PM_OK && more)
			status = take_frame(t, number, now);
		else if (status == PM_END && t->leaves) {
			t->left = 1;	/* as it should, once it has heard */
			return PM_OK;
		} else if (status == PM_END)
			return lose_with(t, number, now,
			    "closed the connection without a word");
		else if (status != PM_OK)
			return lose(t, number, now);
	}
	return status;
}

/* What is sent for the second time: others were read, and lost before. */
static void
count_again(struct pm_transmit *t, const struct pm_parcel *parcel)
{
	uint64_t end = parcel->offset + parcel->size;

	if (parcel->offset < t->sent)
		t->stats.again += (end < t->sent ? end : t->sent) -
		    parcel->offset;
	if (t->sent < end)
		t->sent = end;
}

/* Give an open connection something to do, as far as the rate allows. */
static enum pm_status
send_some(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];

	while (!peer->blocked) {
		/* Before the welcome nobody knows what is wanted. */
		struct pm_parcel *next = peer->state != PM_PEER_OPEN ||
		    pm_peer_is_loaded(peer) ? NULL : pm_transmit_next(t);
		size_t most = pm_bucket_allows(&t->bucket, now), sent;

		if (t->failed != PM_OK)
			return t->failed;
		if (next != NULL && most > 0 && !t->leaves) {
			const struct pm_wire_head head = { next->type,
			    next->size, next->offset };

			pm_peer_load(peer, &head, next->bytes);
			next->peer = (int)number;
			peer->parcel = next;
			next->times++;
			count_again(t, next);
		}
		/* What is small, and not of the stream, is not counted. */
		if (most == 0 && peer->small_at < peer->small_size &&
		    (peer->head_at == 0 || !pm_peer_is_loaded(peer)))
			most = peer->small_size - peer->small_at;
		/* While a debt is paid, no other sign of life is possible. */
		if (most == 0 && pm_peer_is_loaded(peer) &&
		    now - peer->said >= t->silence_us / 4)
			most = 1;
		if (most == 0 || !pm_peer_has_words(peer))
			return PM_OK;
		if (pm_peer_send(peer, most, now, &sent) != PM_OK)
			return lose(t, number, now);
		pm_bucket_take(&t->bucket, sent);
		t->stats.bytes += sent;
		peer->blocked = sent == 0;
		if (!pm_peer_is_loaded(peer))
			pm_transmit_sent(t, (int)number);
	}
	return PM_OK;
}

/* What time alone brings about. */
static enum pm_status
watch(struct pm_transmit *t, unsigned number, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	uint64_t patience = t->met ? t->silence_us
	    : t->wait_until - t->begun > 1000000 ? t->wait_until - t->begun
	    : 1000000;

	switch (peer->state) {
	case PM_PEER_NONE:
	case PM_PEER_DIALLING:
		return dial(t, number, now);
	case PM_PEER_GREETING:
	case PM_PEER_HELLO:
		if (now - peer->since >= patience)
			return lose_with(t, number, now, "does not answer");
		return PM_OK;
	case PM_PEER_OPEN:
		if (now - peer->since >= STOOD_US)
			prove(t, peer);
		if (now - peer->heard >= t->silence_us &&
		    !pm_peer_is_heard(peer))
			return lose_with(t, number, now, "fell silent");
		if (now - peer->said >= t->silence_us / 4 &&
		    !pm_peer_has_words(peer))
			(void)pm_peer_say_frame(peer, PM_WIRE_PING, 0);
		return PM_OK;
	}
	return PM_OK;
}

/* When something has to be done though nothing happens. */
static uint64_t
next_time(struct pm_transmit *t, uint64_t until, uint64_t now)
{
	for (unsigned i = 0; i < t->how.connections; i++) {
		const struct pm_peer *peer = &t->peer[i];
		uint64_t then = until;

		if (peer->state == PM_PEER_NONE)
			then = t->met || i == 0 ? peer->next_try : until;
		else if (peer->state == PM_PEER_DIALLING)
			then = peer->dial.until;
		else if (peer->state == PM_PEER_OPEN)
			then = now + t->silence_us / 8;
		else
			then = now + PAUSE_US;
		if (then < until)
			until = then;
	}
	if (t->met && t->lost != 0 && t->lost + t->break_us < until &&
	    t->lost + t->break_us > now)
		until = t->lost + t->break_us;
	if (t->how.rate != NULL && until > now + ASK_US)
		until = now + ASK_US;
	return until;
}

/* Whether something could be sent but for the rate, and when it may be. */
static uint64_t
paced(struct pm_transmit *t, uint64_t until, uint64_t now)
{
	uint64_t wait;

	if (pm_bucket_allows(&t->bucket, now) > 0)
		return until;
	wait = pm_bucket_wait_us(&t->bucket, now, PM_WIRE_DATA_MAX);
	return wait < until - now ? now + wait : until;
}

static int
poll_until(struct pollfd *poller, nfds_t count, uint64_t until, uint64_t now)
{
	uint64_t ms = until > now ? (until - now + 999) / 1000 : 0;

	return poll(poller, count, ms > 60000 ? 60000 : (int)ms);
}

static short
events_of(const struct pm_peer *peer)
{
	switch (peer->state) {
	case PM_PEER_NONE:
		return 0;
	case PM_PEER_DIALLING:
		return POLLOUT;
	default:
		return pm_channel_events(&peer->channel,
		    pm_peer_has_words(peer) && peer->blocked);
	}
}

static int
has_bytes(const struct pm_peer *peer)
{
	return peer->state >= PM_PEER_GREETING &&
	    pm_channel_is_ready(&peer->channel);
}

/* Something came, or can go. */
static enum pm_status
attend(struct pm_transmit *t, unsigned number, short events, uint64_t now)
{
	struct pm_peer *peer = &t->peer[number];
	enum pm_status status = PM_OK;
	size_t left;

	if ((events & POLLOUT) != 0) {
		peer->blocked = 0;
		if (peer->state > PM_PEER_GREETING &&
		    pm_channel_flush(&peer->channel, &left) != PM_OK)
			return lose(t, number, now);
	}
	if (peer->state == PM_PEER_GREETING && events != 0)
		status = greet(t, number, now);
	if (status == PM_OK && peer->state == PM_PEER_HELLO)
		status = take_reply(t, number, now);
	if (status == PM_OK && peer->state == PM_PEER_OPEN &&
	    ((events & ~POLLOUT) != 0 || has_bytes(peer)))
		status = hear(t, number, now);
	return status;
}

/*
 * While something else takes long: nothing is heard, but the receiver is not
 * to think that we are gone.
 */
void
pm_transmit_nudge(struct pm_transmit *t)
{
	uint64_t now = pm_clock_us();
	size_t sent;

	for (unsigned i = 0; i < t->how.connections; i++) {
		struct pm_peer *peer = &t->peer[i];

		if (peer->state >= PM_PEER_HELLO &&
		    now - peer->said >= t->silence_us / 4 &&
		    pm_peer_say_frame(peer, PM_WIRE_PING, 0))
			(void)pm_peer_send(peer, SIZE_MAX, now, &sent);
	}
}

static void
ask_rate(struct pm_transmit *t, uint64_t now)
{
	uint64_t rate;

	if (t->how.rate == NULL || (t->asked != 0 && now - t->asked < ASK_US))
		return;
	rate = t->how.rate(t->how.arg);
	if (rate != t->bucket.rate)
		pm_bucket_set(&t->bucket, rate, now);
	t->asked = now;
}

enum pm_status
pm_transmit_work(struct pm_transmit *t, uint64_t now)
{
	enum pm_status status = PM_OK;

	if (t->met && t->lost != 0 && now - t->lost >= t->break_us &&
	    count_open(t) == 0)
		return fail(t, &t->peer[0].fault,
		    ", and it did not come back in time");
	ask_rate(t, now);
	for (unsigned i = 0; i < t->how.connections && status == PM_OK; i++) {
		struct pm_peer *peer = &t->peer[i];

		status = watch(t, i, now);
		/* In the clear there is nothing to wait for. */
		if (status == PM_OK && peer->state == PM_PEER_GREETING)
			status = greet(t, i, now);
		if (status == PM_OK && peer->state >= PM_PEER_HELLO)
			status = send_some(t, i, now);
	}
	return status;
}

enum pm_status
pm_transmit_turn(struct pm_transmit *t, int fd, uint64_t until, int *ready)
{
	struct pollfd poller[POLLS];
	uint64_t now = pm_clock_us();
	unsigned count = t->how.connections;
	size_t left = t->parcels.left;
	enum pm_status status = t->failed;

	*ready = 0;
	if (status == PM_OK && until > now)
		status = pm_transmit_work(t, now);
	if (status != PM_OK)
		return status;
	if (until > now)
		until = paced(t, next_time(t, until, now), now);
	/* Whoever waits for room has some. */
	if (t->parcels.left > left)
		until = now;
	for (unsigned i = 0; i < count; i++) {
		const struct pm_peer *peer = &t->peer[i];

		poller[i] = (struct pollfd){ .events = events_of(peer),
		    .fd = peer->state == PM_PEER_NONE ? -1
		    : peer->state == PM_PEER_DIALLING ? peer->dial.fd
		    : peer->channel.fd };
		if (has_bytes(peer))
			until = now;
	}
	poller[count] = (struct pollfd){ .fd = fd, .events = POLLIN };
	if (poll_until(poller, count + 1, until, now) < 0 && errno != EINTR)
		return pm_fault_set(t->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	now = pm_clock_us();
	for (unsigned i = 0; i < count && status == PM_OK; i++)
		if (poller[i].revents != 0 || has_bytes(&t->peer[i]))
			status = attend(t, i, poller[i].revents, now);
	*ready = poller[count].revents != 0;
	return status;
}
