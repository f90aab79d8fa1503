/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "clock.h"
#include "transmit.h"

#define STOOD_US	1000000u	/* a connection is of use, then */
#define ASK_US		100000u		/* for the rate */
#define POLLS		(PM_WIRE_CONNECTIONS_MAX + 1)

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
			return pm_transmit_lose(t, number, now);
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
		return pm_transmit_dial(t, number, now);
	case PM_PEER_GREETING:
	case PM_PEER_HELLO:
		if (now - peer->since >= patience)
			return pm_transmit_lose_with(t, number, now,
			    "does not answer");
		return PM_OK;
	case PM_PEER_OPEN:
		if (now - peer->since >= STOOD_US)
			pm_transmit_prove(t, peer);
		if (now - peer->heard >= t->silence_us &&
		    !pm_peer_is_heard(peer))
			return pm_transmit_lose_with(t, number, now,
			    "fell silent");
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
			then = now + PM_TRANSMIT_PAUSE_US;
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
	    pm_transmit_standing(t) == 0)
		return pm_transmit_fail(t, &t->trouble,
		    ", and it did not come back in time");
	ask_rate(t, now);
	for (unsigned i = 0; i < t->how.connections && status == PM_OK; i++) {
		struct pm_peer *peer = &t->peer[i];

		status = watch(t, i, now);
		/* In the clear there is nothing to wait for. */
		if (status == PM_OK && peer->state == PM_PEER_GREETING)
			status = pm_transmit_greet(t, i, now);
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
			status = pm_transmit_attend(t, i, poller[i].revents,
			    now);
	*ready = poller[count].revents != 0;
	return status;
}
