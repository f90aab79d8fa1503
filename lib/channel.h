/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * channel.h - bytes over one connected socket, in the clear or through TLS.
 *
 * Nothing here waits.  What cannot be done now is PM_OK with nothing done;
 * poll(2) for pm_channel_events then tells when to ask again.  A channel that
 * is ready has bytes which poll(2) does not see, and is to be asked first.
 * A connection that failed, or a peer that may not be spoken to, is
 * PM_ERR_PEER, with why in the fault.  Sizes are in bytes.
 */
#ifndef PM_CHANNEL_H
#define PM_CHANNEL_H

#include <stddef.h>

#include <sys/uio.h>

#include "tls.h"

struct pm_channel {
	int fd;				/* ours; -1 when closed */
	struct pm_tls *tls;		/* NULL in the clear */
	int is_ended;			/* the other end said so */
	const char *peer;		/* for messages; the caller's */
	struct pm_fault *fault;		/* the caller's too */
};

/*
 * Take over a connected socket, which is closed when this fails.  keys is NULL
 * for the clear, and has to outlive the channel.  serves: this end listened.
 */
enum pm_status pm_channel_open(struct pm_channel *, int fd,
    const struct pm_tls_keys *keys, int serves, const char *peer,
    struct pm_fault *);

/*
 * Go on with the handshake.  *done when it is over and the other end has
 * proved who it is; at once in the clear.  The end that connected may yet
 * hear, when it receives or sends, that it was refused itself.  Before,
 * nothing can be sent and nothing received.
 */
enum pm_status pm_channel_greet(struct pm_channel *, int *done);

/*
 * Send what can be sent now of several buffers; *put bytes were taken.  TLS
 * may keep some of them in encrypted form, at most 256 KiB and a little;
 * these go first the next time.
 */
enum pm_status pm_channel_send(struct pm_channel *, const struct iovec *,
    int count, size_t *put);

/* Send what was kept; *left bytes still wait.  Always 0 in the clear. */
enum pm_status pm_channel_flush(struct pm_channel *, size_t *left);

/*
 * Receive what there is, at most size.  PM_END when the other end said that
 * no more comes; one that goes without a word is told from that by TLS
 * alone.
 */
enum pm_status pm_channel_recv(struct pm_channel *, void *buf, size_t size,
    size_t *got);

/* The same into several buffers, one after the other. */
enum pm_status pm_channel_recvv(struct pm_channel *, const struct iovec *,
    int count, size_t *got);

/*
 * What to ask poll(2) for; wants_write: there is something to send.  0 when
 * nothing more comes and nothing is to be sent.
 */
short pm_channel_events(const struct pm_channel *, int wants_write);

/* True when receiving may give something though poll(2) says it does not. */
int pm_channel_is_ready(const struct pm_channel *);

/*
 * No more will be sent.  Bytes that wait go before, by pm_channel_flush, so
 * this is over when that leaves none.  Receiving goes on.
 */
enum pm_status pm_channel_shut(struct pm_channel *);

/* Leave as it stands.  Once closed, closing again does nothing. */
void pm_channel_close(struct pm_channel *);

#endif /* PM_CHANNEL_H */
