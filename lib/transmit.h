/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * transmit.h - the sender's end of a session; see wire.h.
 *
 * What is written here is cut into parcels, which go out on whatever
 * connection has room, and stay until the receiver has said that it needs
 * them no more.  A connection that breaks is made again, and what was under
 * way on it is sent again.  All waiting is done in one place, where every
 * connection is attended to meanwhile: so the input is read here too.
 *
 * A receiver that was started again may have less than it had.  Then an
 * input in a file is read again from there, and one from a pipe goes on if
 * the parcels that are kept reach back so far.
 */
#ifndef PM_TRANSMIT_H
#define PM_TRANSMIT_H

#include <stdint.h>

#include <sys/uio.h>

#include "bucket.h"
#include "peer.h"
#include "token.h"

struct pm_transmit_how {
	const struct pm_net *net;
	const struct pm_tls_keys *keys;	/* NULL: in the clear */
	int input;			/* where the stream comes from */
	unsigned connections;
	uint32_t frames;		/* under way, at most */
	uint64_t wait_us;		/* for the receiver to be there */
	uint64_t break_us;		/* that a break may last; 0: none */
	uint64_t silence_us;		/* of a peer that is still there */
	const struct pm_token *resume;	/* what it has already, or NULL */

	/* Bytes a second, asked for ten times a second; 0: no limit. */
	uint64_t (*rate)(void *arg);
	/* What happened and was mended, for whoever likes to know. */
	void (*tell)(void *arg, const char *text);
	void *arg;
};

struct pm_transmit_stats {
	uint64_t bytes;			/* of frames, sent */
	uint64_t again;			/* of these, not for the first time */
	uint64_t breaks;		/* connections that were lost */
	uint64_t stalls, stalled_us;	/* waits for the receiver or link */
	uint64_t skipped;		/* bytes it had already */
};

/* What the receiver said. */
struct pm_transmit_result {
	uint32_t status;		/* an exit status */
	uint32_t size;
	char text[PM_WIRE_TEXT_MAX + 1];	/* and a NUL */
};

struct pm_transmit {
	struct pm_transmit_how how;
	const char *subject;		/* the address, for messages */
	struct pm_fault *fault;
	struct pm_peer *peer;		/* how.connections of them */
	struct pm_parcels parcels;
	struct pm_parcel *first, *last;	/* not acknowledged, by offset */
	uint64_t position;		/* bytes taken from the input */
	uint64_t needed;		/* the first that may be sent again */
	uint64_t sent;			/* up to here, once at least */

	uint8_t session[PM_WIRE_NAME_SIZE];
	uint8_t receiver[PM_WIRE_NAME_SIZE];
	int met;			/* it said welcome, once */
	uint64_t break_us, silence_us;	/* the lesser of both ends' */
	uint64_t lost;			/* since then no connection stands */
	uint64_t begun, wait_until;	/* for the first welcome */
	int early;			/* breaks before that */
	struct pm_fault trouble;	/* why the last connection was lost */
	uint64_t asked;			/* for the rate, at last */
	struct pm_bucket bucket;

	/* What the receiver had, before anything was sent. */
	uint64_t skip_to;
	struct pm_digest skip_hash;
	/* Of the bytes before those in parcels. */
	struct pm_hash *hash;
	uint64_t hashed;

	/* A file is read again. */
	int is_file;
	uint64_t file_start;
	uint64_t again_at, again_to;
	uint64_t summed;		/* bytes whose hash is known: */
	struct pm_digest sum;

	int ended;			/* 1: END is to be sent, 2: queued */
	int leaves;			/* the result was heard, */
	unsigned bye;			/* which that connection was told: its
					   number and 1, or 0 */
	int left;			/* and the receiver knows */
	enum pm_status failed;		/* why nothing goes on, or PM_OK */
	struct pm_transmit_result *result;
	int has_result;
	uint8_t *raw;			/* a result, as it comes */
	struct pm_transmit_stats stats;
};

/*
 * Find the receiver and say hello.  fault must outlive the session; it is
 * about how->net.  PM_ERR_PEER when there is none, or not the right one;
 * PM_ERR_MISMATCH when it has what how->resume does not speak of.
 */
enum pm_status pm_transmit_open(struct pm_transmit *,
    const struct pm_transmit_how *, struct pm_fault *);

/*
 * pm_stream_io of a reader, on how.input.  PM_ERR_PEER when the session
 * failed meanwhile, or the receiver said how it ends.
 */
enum pm_status pm_transmit_fetch(void *transmit, struct iovec *, int count);

/*
 * pm_stream_io of a writer, and pm_stream_push beside it.  PM_ERR_PEER as
 * above; PM_ERR_MISMATCH when what the receiver has is not the beginning of
 * the input.
 */
enum pm_status pm_transmit_writev(void *transmit, struct iovec *, int count);
enum pm_status pm_transmit_push(void *transmit, struct iovec *head, int from,
    size_t size, size_t *moved);

/* Count bytes for the rate that are not sent. */
void pm_transmit_charge(struct pm_transmit *, uint64_t bytes);

/*
 * All was written: wait until the receiver says how it ends, and let it know
 * that this was heard.  Or why nothing more comes, for which nobody waits
 * longer than some seconds.
 */
enum pm_status pm_transmit_end(struct pm_transmit *);
void pm_transmit_abort(struct pm_transmit *, const char *why);

/* What the receiver said, or NULL. */
const struct pm_transmit_result *pm_transmit_result(
    const struct pm_transmit *);

void pm_transmit_close(struct pm_transmit *);

/*
 * Between the files of this module.
 *
 * pm_transmit_turn attends to every connection, and waits until fd is ready
 * (*ready; -1: none), something else happened, or the time until.
 */
enum pm_status pm_transmit_turn(struct pm_transmit *, int fd, uint64_t until,
    int *ready);

#define PM_TRANSMIT_PAUSE_US	50000u	/* between two tries to connect */

/* Go on with a connection that does not stand yet. */
enum pm_status pm_transmit_dial(struct pm_transmit *, unsigned number,
    uint64_t now);
enum pm_status pm_transmit_greet(struct pm_transmit *, unsigned number,
    uint64_t now);

/* Something came on a connection, or can go: the events of poll(2). */
enum pm_status pm_transmit_attend(struct pm_transmit *, unsigned number,
    short events, uint64_t now);

/* It is of use, which ends a break; one that only stands does not. */
void pm_transmit_prove(struct pm_transmit *, struct pm_peer *);

/*
 * It is no more, for the reason in its fault or another: what was under way
 * goes elsewhere.
 */
enum pm_status pm_transmit_lose(struct pm_transmit *, unsigned number,
    uint64_t now);
enum pm_status pm_transmit_lose_with(struct pm_transmit *, unsigned number,
    uint64_t now, const char *why);

/* How many there are; and the end of the session, with how behind why. */
int pm_transmit_standing(const struct pm_transmit *);
enum pm_status pm_transmit_fail(struct pm_transmit *,
    const struct pm_fault *why, const char *how);

/* Send what can be sent now. */
enum pm_status pm_transmit_work(struct pm_transmit *, uint64_t now);

/* A parcel to append at least so many bytes to, or NULL: none is free. */
struct pm_parcel *pm_transmit_tail(struct pm_transmit *, size_t room);

/* Bytes were put at the end of it. */
enum pm_status pm_transmit_added(struct pm_transmit *, struct pm_parcel *,
    size_t size);

/* One to be sent now, or NULL. */
struct pm_parcel *pm_transmit_next(struct pm_transmit *);

/* The receiver needs nothing before offset. */
void pm_transmit_retire(struct pm_transmit *, uint64_t offset);

/* Say on every connection that we are there, where that is due. */
void pm_transmit_nudge(struct pm_transmit *);

/* All of a parcel is sent on that connection; or there was none. */
void pm_transmit_sent(struct pm_transmit *, int peer);

/* What was on a connection is to be sent again. */
void pm_transmit_recall(struct pm_transmit *, int peer);

/* Another receiver wants what is not here any more: fail. */
enum pm_status pm_transmit_too_late(struct pm_transmit *);

/* A receiver begins, or another one: it has that much. */
enum pm_status pm_transmit_meet(struct pm_transmit *,
    const struct pm_wire_reply *);

#endif /* PM_TRANSMIT_H */
