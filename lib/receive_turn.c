/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "clock.h"
#include "receive.h"

#define STRANGER_US	10000000u	/* to say who it is */
#define CROWD_US	1000000u	/* the same, when there are many */
#define FULL_US		100000u		/* until it may have room again */
#define POLLS		(PM_RECEIVE_PEERS + PM_LISTENER_FDS + 1)

static void
admit(struct pm_receive *r, int from, uint64_t now)
{
	struct pm_fault none = { .error = 0 };
	struct pm_peer *peer = r->peer;
	int fd;

	while (peer < r->peer + PM_RECEIVE_PEERS &&
	    peer->state != PM_PEER_NONE)
		peer++;
	if (peer == r->peer + PM_RECEIVE_PEERS)
		return;
	if (pm_listener_take(from, &fd, peer->name, &none) != PM_OK) {
		/* There is no room for it now, and it waits. */
		r->full_until = now + FULL_US;
		return;
	}
	if (fd < 0)
		return;
	peer->number = -1;
	peer->parcel = NULL;
	if (pm_peer_open(peer, fd, r->how.keys, 1, r->subject, now) != PM_OK)
		pm_receive_turn_away(r, peer);
}

/* What time alone brings about. */
static enum pm_status
watch(struct pm_receive *r, struct pm_peer *peer, uint64_t now, int crowded)
{
	if (peer->number < 0) {
		if (now - peer->since >= (crowded ? CROWD_US : STRANGER_US))
			pm_receive_turn_away_for(r, peer,
			    "took too long to say hello");
		return PM_OK;
	}
	if (now - peer->heard >= r->silence_us && !pm_peer_is_heard(peer))
		return pm_receive_lose_for(r, peer, now, "fell silent");
	if (now - peer->said >= r->silence_us / 4 &&
	    !pm_peer_has_words(peer))
		(void)pm_peer_say_frame(peer, PM_WIRE_PING, 0);
	if (r->result != NULL && r->told < 0 && !pm_peer_is_loaded(peer)) {
		pm_peer_load(peer, &r->result_head, r->result);
		r->told = (int)(peer - r->peer);
	}
	return PM_OK;
}

static void
acknowledge(struct pm_receive *r)
{
	if (r->done == r->acked)
		return;
	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++)
		if (r->peer[i].state == PM_PEER_OPEN &&
		    pm_peer_say_frame(&r->peer[i], PM_WIRE_ACK, r->done)) {
			r->acked = r->done;
			return;
		}
}

static enum pm_status
work(struct pm_receive *r, uint64_t now)
{
	int crowded = pm_receive_count(r, 1) >= (int)PM_RECEIVE_STRANGERS;
	enum pm_status status = PM_OK;
	size_t sent;

	acknowledge(r);
	for (unsigned i = 0; i < PM_RECEIVE_PEERS && status == PM_OK; i++) {
		struct pm_peer *peer = &r->peer[i];

		if (peer->state == PM_PEER_NONE)
			continue;
		status = watch(r, peer, now, crowded);
		if (status != PM_OK || peer->state <= PM_PEER_GREETING ||
		    peer->blocked || !pm_peer_has_words(peer))
			continue;
		if (pm_peer_send(peer, SIZE_MAX, now, &sent) != PM_OK)
			status = pm_receive_lose(r, peer, now);
		else
			peer->blocked = pm_peer_has_words(peer);
	}
	if (status == PM_OK && r->lost != 0 && r->met && !r->left &&
	    now - r->lost >= r->break_us)
		return pm_receive_vanish(r, ", and did not come back in time",
		    "");
	return status;
}

/* When something has to be done though nothing happens. */
static uint64_t
next_time(const struct pm_receive *r, uint64_t until, uint64_t now)
{
	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++) {
		uint64_t then = now + (r->peer[i].number < 0 ? CROWD_US / 4
		    : r->silence_us / 8);

		if (r->peer[i].state != PM_PEER_NONE && then < until)
			until = then;
	}
	if (now < r->full_until && r->full_until < until)
		until = r->full_until;
	if (r->lost != 0 && r->lost + r->break_us < until)
		until = r->lost + r->break_us;
	return until;
}

/* Each poller is of a connection, or, behind those, of a listener. */
static nfds_t
fill_polls(struct pm_receive *r, struct pollfd *poller,
    struct pm_peer **polled, int *hurry)
{
	int full = pm_receive_count(r, 1) >= (int)PM_RECEIVE_STRANGERS ||
	    pm_clock_us() < r->full_until;
	nfds_t n = 0;

	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++) {
		struct pm_peer *peer = &r->peer[i];

		if (peer->state == PM_PEER_NONE)
			continue;
		*hurry |= pm_channel_is_ready(&peer->channel);
		polled[n] = peer;
		poller[n++] = (struct pollfd){ .fd = peer->channel.fd,
		    .events = pm_channel_events(&peer->channel,
		    peer->blocked && pm_peer_has_words(peer)) };
	}
	for (int i = 0; i < r->listener.fds && !full; i++) {
		polled[n] = NULL;
		poller[n++] = (struct pollfd){ .fd = r->listener.fd[i],
		    .events = POLLIN };
	}
	return n;
}

enum pm_status
pm_receive_turn(struct pm_receive *r, int fd, short events, uint64_t until,
    int *ready)
{
	struct pollfd poller[POLLS];
	struct pm_peer *polled[POLLS];
	uint64_t now = pm_clock_us(), ms;
	enum pm_status status = r->failed;
	int hurry = 0;
	nfds_t n;

	*ready = 0;
	if (status == PM_OK)
		status = work(r, now);
	if (status != PM_OK)
		return status;
	n = fill_polls(r, poller, polled, &hurry);
	poller[n] = (struct pollfd){ .fd = fd, .events = events };
	until = hurry ? now : next_time(r, until, now);
	ms = until > now ? (until - now + 999) / 1000 : 0;
	if (poll(poller, n + 1, ms > 60000 ? 60000 : (int)ms) < 0) {
		if (errno == EINTR)
			return PM_OK;
		return pm_fault_set(r->fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	}
	now = pm_clock_us();
	*ready = poller[n].revents != 0;
	for (nfds_t i = 0; i < n && status == PM_OK; i++)
		if (polled[i] == NULL && poller[i].revents != 0)
			admit(r, poller[i].fd, now);
		else if (polled[i] != NULL &&
		    polled[i]->state != PM_PEER_NONE &&
		    (poller[i].revents != 0 ||
		    pm_channel_is_ready(&polled[i]->channel)))
			status = pm_receive_hear(r, polled[i],
			    poller[i].revents, now);
	return status;
}
