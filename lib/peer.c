/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <poll.h>
#include <string.h>

#include "peer.h"

int
pm_peer_is_heard(const struct pm_peer *peer)
{
	struct pollfd poller = { .fd = peer->channel.fd, .events = POLLIN };

	return pm_channel_is_ready(&peer->channel) ||
	    poll(&poller, 1, 0) > 0;
}

enum pm_status
pm_peer_open(struct pm_peer *peer, int fd, const struct pm_tls_keys *keys,
    int serves, const char *name, uint64_t now)
{
	peer->fault = (struct pm_fault){ .error = 0 };
	peer->had = peer->small_at = peer->small_size = 0;
	peer->head_size = 0;
	peer->left = 0;
	peer->blocked = 0;
	peer->heard = peer->said = now;
	pm_peer_enter(peer, PM_PEER_GREETING, now);
	return pm_channel_open(&peer->channel, fd, keys, serves, name,
	    &peer->fault);
}

void
pm_peer_close(struct pm_peer *peer)
{
	if (peer->state == PM_PEER_DIALLING)
		pm_net_stop(&peer->dial);
	else if (peer->state != PM_PEER_NONE)
		pm_channel_close(&peer->channel);
	peer->state = PM_PEER_NONE;
	peer->head_size = 0;
}

void
pm_peer_enter(struct pm_peer *peer, enum pm_peer_state state, uint64_t now)
{
	peer->state = state;
	peer->since = now;
}

int
pm_peer_say(struct pm_peer *peer, const void *bytes, size_t size)
{
	if (peer->small_at == peer->small_size)
		peer->small_at = peer->small_size = 0;
	if (size > sizeof(peer->small) - peer->small_size)
		return 0;
	memcpy(peer->small + peer->small_size, bytes, size);
	peer->small_size += size;
	return 1;
}

int
pm_peer_say_frame(struct pm_peer *peer, enum pm_wire_type type,
    uint64_t offset)
{
	const struct pm_wire_head head = { .type = type, .offset = offset };
	uint8_t bytes[PM_WIRE_HEAD_SIZE];

	pm_wire_pack_head(&head, bytes);
	return pm_peer_say(peer, bytes, sizeof(bytes));
}

void
pm_peer_load(struct pm_peer *peer, const struct pm_wire_head *head,
    const void *body)
{
	pm_wire_pack_head(head, peer->head);
	peer->head_at = 0;
	peer->head_size = sizeof(peer->head);
	peer->body = body;
	peer->body_at = 0;
	peer->body_size = head->size;
}

int
pm_peer_has_words(const struct pm_peer *peer)
{
	return peer->head_size > 0 || peer->small_at < peer->small_size;
}

static struct iovec
rest(const uint8_t *bytes, size_t at, size_t size)
{
	return (struct iovec){ (void *)(uintptr_t)(bytes + at), size - at };
}

/* Take what was sent from a part; what is left of it is told. */
static size_t
advance(size_t *at, size_t size, size_t sent)
{
	size_t now = sent < size - *at ? sent : size - *at;

	*at += now;
	return sent - now;
}

static void
note_sent(struct pm_peer *peer, size_t sent, int begun)
{
	if (!begun)
		sent = advance(&peer->small_at, peer->small_size, sent);
	if (peer->head_size > 0) {
		sent = advance(&peer->head_at, peer->head_size, sent);
		sent = advance(&peer->body_at, peer->body_size, sent);
		if (peer->head_at == peer->head_size &&
		    peer->body_at == peer->body_size)
			peer->head_size = 0;
	}
	if (begun)
		(void)advance(&peer->small_at, peer->small_size, sent);
}

/*
 * A frame that was begun has to be ended before a small one may be sent;
 * one that was not lets them go first.
 */
enum pm_status
pm_peer_send(struct pm_peer *peer, size_t most, uint64_t now, size_t *sent)
{
	int begun = peer->head_size > 0 && peer->head_at > 0;
	struct iovec iov[3];
	enum pm_status status;
	int count = 0;

	*sent = 0;
	if (!begun)
		iov[count++] = rest(peer->small, peer->small_at,
		    peer->small_size);
	if (peer->head_size > 0) {
		iov[count++] = rest(peer->head, peer->head_at,
		    peer->head_size);
		iov[count++] = rest(peer->body, peer->body_at,
		    peer->body_size);
	}
	if (begun)
		iov[count++] = rest(peer->small, peer->small_at,
		    peer->small_size);
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > most)
			iov[i].iov_len = most;
		most -= iov[i].iov_len;
	}
	status = pm_channel_send(&peer->channel, iov, count, sent);
	if (*sent > 0)
		peer->said = now;
	note_sent(peer, *sent, begun);
	return status;
}

enum pm_status
pm_peer_hear(struct pm_peer *peer, size_t size, uint64_t now, int *had)
{
	enum pm_status status = PM_OK;
	size_t got = 0;

	if (peer->had < size)
		status = pm_channel_recv(&peer->channel,
		    peer->got + peer->had, size - peer->had, &got);
	peer->had += got;
	if (got > 0)
		peer->heard = now;
	*had = peer->had >= size;
	return *had ? PM_OK : status;
}

enum pm_status
pm_peer_hear_body(struct pm_peer *peer, void *buf, uint64_t now, size_t *got)
{
	struct iovec iov[2] = {
		{ buf, peer->left }, { peer->got, PM_WIRE_HEAD_SIZE },
	};
	size_t all = 0;
	enum pm_status status = pm_channel_recvv(&peer->channel, iov, 2,
	    &all);

	*got = all < peer->left ? all : peer->left;
	peer->left -= (uint32_t)*got;
	peer->had = all - *got;
	if (all > 0)
		peer->heard = now;
	return status;
}
