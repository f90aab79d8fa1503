/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * receive.h - the receiver's end of a session; see wire.h.
 *
 * It listens until a sender has said hello, and goes on listening, for that
 * sender may lose a connection and come again.  Others are turned away: of
 * those who have not said yet who they are there is a bounded number, for a
 * bounded time, whatever they do.
 *
 * All waiting is done in one place, where every connection is attended to
 * meanwhile; so the output is written here too, and the end of a command
 * waited for.
 */
#ifndef PM_RECEIVE_H
#define PM_RECEIVE_H

#include <stdint.h>

#include <sys/uio.h>

#include "listener.h"
#include "peer.h"
#include "token.h"

#define PM_RECEIVE_STRANGERS	32u
#define PM_RECEIVE_PEERS	(PM_WIRE_CONNECTIONS_MAX + \
				    PM_RECEIVE_STRANGERS)

struct pm_receive_how {
	const struct pm_net *net;
	const struct pm_tls_keys *keys;	/* NULL: in the clear */
	uint32_t frames;		/* under way, at most */
	uint64_t wait_us;		/* for a sender; 0: for ever */
	uint64_t break_us;		/* that a break may last; 0: none */
	uint64_t silence_us;		/* of a peer that is still there */
	const struct pm_token *have;	/* what there is, if it is kept */
	void (*tell)(void *arg, const char *text);
	void *arg;
};

struct pm_receive_stats {
	uint64_t bytes;			/* of frames, received */
	uint64_t again;			/* of these, not for the first time */
	uint64_t breaks;		/* connections that were lost */
	uint64_t strangers;		/* turned away */
};

struct pm_receive {
	struct pm_receive_how how;
	const char *subject;		/* the address, for messages */
	struct pm_fault *fault;
	struct pm_listener listener;
	struct pm_peer *peer;		/* PM_RECEIVE_PEERS of them */
	struct pm_parcels parcels;
	struct pm_parcel *first;	/* not passed on, by offset */
	uint64_t expected;		/* passed on up to here */
	uint64_t done, acked;		/* that need not come again */

	uint8_t session[PM_WIRE_NAME_SIZE];
	uint8_t receiver[PM_WIRE_NAME_SIZE];
	int met;			/* there is a session */
	uint64_t break_us, silence_us;	/* the lesser of both ends' */
	uint64_t lost;			/* since then no connection stands */
	uint64_t begun;
	uint64_t full_until;		/* no connection is taken */

	int has_end;
	uint64_t end;			/* where the input ends */
	int aborted;
	char why[256];			/* it was, by the sender */
	int discards;			/* what comes is of no use */
	enum pm_status failed;

	uint8_t *result;		/* to be said, or NULL */
	struct pm_wire_head result_head;
	int told;			/* to that peer, or -1 */
	int left;			/* the sender heard it */

	int output, output_blocks;	/* the descriptor last written to */
	int bare;			/* a stream without frames, or -1 */
	uint8_t pushed[8];		/* read to find out */
	size_t pushed_at;

	struct pm_receive_stats stats;
};

/* Listen; the port is in listener.port.  fault is about how->net. */
enum pm_status pm_receive_open(struct pm_receive *,
    const struct pm_receive_how *, struct pm_fault *);

/*
 * Wait for a sender.  PM_ERR_PEER when there was none in time.  With bare
 * not -1 it is one that speaks no protocol, and need not be answered.
 */
enum pm_status pm_receive_meet(struct pm_receive *);

/*
 * pm_stream_io of a reader, and pm_stream_pull beside it.  PM_END when the
 * input has ended, PM_ERR_TRUNCATED when the sender gave up or did not come
 * back.
 */
enum pm_status pm_receive_readv(void *receive, struct iovec *, int count);
enum pm_status pm_receive_pull(void *receive, int to, size_t size,
    size_t *moved);

/* What it has to say is written to fd, by pm_stream_io of a writer. */
struct pm_receive_output {
	struct pm_receive *receive;
	int fd;				/* best one that does not block */
};
enum pm_status pm_receive_writev(void *output, struct iovec *, int count);

/* All before offset has been written: nothing of it is needed again. */
void pm_receive_commit(struct pm_receive *, uint64_t offset);

/* Attend to the connections, while something else takes long. */
void pm_receive_attend(struct pm_receive *);

/* Wait until fd is ready, or, with -1, until the time. */
enum pm_status pm_receive_wait(struct pm_receive *, int fd, short events,
    uint64_t until);

/*
 * Say how it ends, and wait until the sender has heard it.  PM_ERR_PEER when
 * nobody knows whether it has.  A failure is not waited for as long.
 */
enum pm_status pm_receive_answer(struct pm_receive *, uint32_t status,
    const char *text, size_t size);

void pm_receive_close(struct pm_receive *);

/* Between the files of this module: as pm_transmit_turn. */
enum pm_status pm_receive_turn(struct pm_receive *, int fd, short events,
    uint64_t until, int *ready);

/* Something came on a connection, or can go: the events of poll(2). */
enum pm_status pm_receive_hear(struct pm_receive *, struct pm_peer *,
    short events, uint64_t now);

/* How many are open, or how many are strangers. */
int pm_receive_count(const struct pm_receive *, int strangers);

/* A stranger is sent away, for the reason in its fault, or for another. */
void pm_receive_turn_away(struct pm_receive *, struct pm_peer *);
void pm_receive_turn_away_for(struct pm_receive *, struct pm_peer *,
    const char *why);

/* The same of a connection of the session; a stranger's is only closed. */
enum pm_status pm_receive_lose(struct pm_receive *, struct pm_peer *,
    uint64_t now);
enum pm_status pm_receive_lose_for(struct pm_receive *, struct pm_peer *,
    uint64_t now, const char *why);

/* It said itself that it does not go on. */
enum pm_status pm_receive_gave_up(struct pm_receive *);

/*
 * The sender does not come back; how and why are put behind that, unless it
 * gave up before.
 */
enum pm_status pm_receive_vanish(struct pm_receive *, const char *how,
    const char *why);

/* A frame's head came; where are its bytes to go?  NULL: nowhere. */
enum pm_status pm_receive_place(struct pm_receive *, struct pm_peer *);
void pm_receive_filled(struct pm_receive *, struct pm_peer *);
void pm_receive_forget(struct pm_receive *, struct pm_peer *);

/* The end of the last byte that is here, or was. */
uint64_t pm_receive_reach(const struct pm_receive *);

/* The bytes that are next, or none. */
size_t pm_receive_next(struct pm_receive *, const uint8_t **bytes);
void pm_receive_took(struct pm_receive *, size_t size);

#endif /* PM_RECEIVE_H */
