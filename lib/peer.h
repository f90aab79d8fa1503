/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer.h - one connection of a session: what is being said and heard on it.
 *
 * Nothing here waits.  Times are those of pm_clock_us.
 */
#ifndef PM_PEER_H
#define PM_PEER_H

#include "channel.h"
#include "net.h"
#include "parcel.h"

enum pm_peer_state {
	PM_PEER_NONE,			/* there is no connection */
	PM_PEER_DIALLING,		/* it is being made */
	PM_PEER_GREETING,		/* a handshake of TLS goes on */
	PM_PEER_HELLO,			/* hello or reply is awaited */
	PM_PEER_OPEN,			/* frames come and go */
};

struct pm_peer {
	enum pm_peer_state state;
	struct pm_channel channel;
	struct pm_fault fault;		/* of this connection alone */
	char name[PM_NET_NAME_MAX];	/* where it comes from */
	uint64_t since;			/* it is in this state */
	uint64_t heard, said;		/* something, at last */

	/* A hello, or the head of a frame, as far as it came. */
	uint8_t got[PM_WIRE_HELLO_SIZE];
	size_t had;

	/* Small frames to be sent, and one with bytes of its own. */
	uint8_t small[256];
	size_t small_at, small_size;
	uint8_t head[PM_WIRE_HEAD_SIZE];
	size_t head_at, head_size;	/* 0: there is no such frame */
	const uint8_t *body;
	size_t body_at, body_size;
	int blocked;			/* until there is room again */

	/* The one that is sent, or filled, here; and what to do with it. */
	struct pm_parcel *parcel;
	struct pm_wire_head frame;	/* that is being heard */
	uint32_t left;			/* bytes of it yet to come */

	/* Of the sender alone: how the connection is made. */
	struct pm_dial dial;
	uint64_t next_try, pause;
	uint64_t start;			/* what was needed when it opened */
	/* Of the receiver alone: which connection it is; -1: a stranger. */
	int number;
};

/* True when something has come that was not heard yet. */
int pm_peer_is_heard(const struct pm_peer *);

/* Start on a connection that was made; keys may be NULL. */
enum pm_status pm_peer_open(struct pm_peer *, int fd,
    const struct pm_tls_keys *keys, int serves, const char *name,
    uint64_t now);

/* Forget the connection, and what was said and heard on it. */
void pm_peer_close(struct pm_peer *);

void pm_peer_enter(struct pm_peer *, enum pm_peer_state, uint64_t now);

/*
 * Say something: bytes, or a frame without bytes, as soon as possible.
 * False when there is no room: too much of it waits already.
 */
int pm_peer_say(struct pm_peer *, const void *bytes, size_t size);
int pm_peer_say_frame(struct pm_peer *, enum pm_wire_type, uint64_t offset);

/* The same of a frame with bytes, which must stay; one at a time. */
void pm_peer_load(struct pm_peer *, const struct pm_wire_head *,
    const void *body);

/* True when a frame with bytes is not wholly sent. */
static inline int
pm_peer_is_loaded(const struct pm_peer *peer)
{
	return peer->head_size > 0;
}

/* True when something is to be sent. */
int pm_peer_has_words(const struct pm_peer *);

/*
 * Send of that what can be sent now, at most so many bytes; *sent are.
 */
enum pm_status pm_peer_send(struct pm_peer *, size_t most, uint64_t now,
    size_t *sent);

/*
 * Hear size bytes, a hello or the head of a frame, into got.  *had is set
 * when they are complete.  PM_END when the other end is gone.
 */
enum pm_status pm_peer_hear(struct pm_peer *, size_t size, uint64_t now,
    int *had);

/*
 * True as long as frames may be heard, for the so manyth time: not for ever,
 * where they come as fast as they are taken.  But a head that came with the
 * bytes before it has to be taken, for poll(2) will not tell of it again.
 */
static inline int
pm_peer_may_hear(const struct pm_peer *peer, int times, int most)
{
	return peer->state == PM_PEER_OPEN && (times < most ||
	    (peer->left == 0 && peer->had == PM_WIRE_HEAD_SIZE));
}

/*
 * Hear of peer->left bytes what there is, into buf, and the head behind
 * them as far as it is there too.  *got are the bytes in buf.
 */
enum pm_status pm_peer_hear_body(struct pm_peer *, void *buf, uint64_t now,
    size_t *got);

#endif /* PM_PEER_H */
