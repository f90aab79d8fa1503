/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls.h - bytes over a connected socket, protected by TLS 1.3 (RFC 8446).
 *
 * Both ends prove who they are by a secret that both have, or by
 * certificates; see tls_keys.h.  Every connection makes keys of its own that
 * are forgotten with it.  There is no resumption and no early data.
 *
 * Nothing here waits: the socket has to be one that does not block, and what
 * cannot be done now is to be asked for again when poll(2) says so.  Until
 * the handshake is over no more than 64 KiB are received, which with what
 * GnuTLS needs makes 125 KB; buffers of 0.6 MB are allocated once after it.
 *
 * Whatever the other end does wrong is PM_ERR_PEER, with its name and what it
 * was in the fault.  Once that was so, nothing more is sent or received; but
 * when sending fails because the other end is gone, its last bytes can still
 * be received.
 */
#ifndef PM_TLS_H
#define PM_TLS_H

#include <stddef.h>

#include <sys/uio.h>

#include "tls_keys.h"

struct pm_tls;

/*
 * Prepare one end.  The keys, peer and the fault have to outlive it; the
 * descriptor stays the caller's.  PM_ERR_SYSTEM when there is no memory.
 */
enum pm_status pm_tls_new(struct pm_tls **, int fd,
    const struct pm_tls_keys *, int serves, const char *peer,
    struct pm_fault *);

/*
 * Go on with the handshake.  *done when it is over and the other end has
 * proved who it is.  The end that listened is sure of that then.  The other
 * may yet hear at its first receive, or where sending fails, that its
 * certificate was refused.
 */
enum pm_status pm_tls_greet(struct pm_tls *, int *done);

/*
 * Send what can be sent now, *put bytes.  They may wait in encrypted form,
 * at most 256 KiB and what encryption adds; then nothing more is taken.
 */
enum pm_status pm_tls_send(struct pm_tls *, const struct iovec *, int count,
    size_t *put);

/* Send what waits encrypted; *left bytes of it do so still. */
enum pm_status pm_tls_flush(struct pm_tls *, size_t *left);

/*
 * Receive what there is into several buffers, as far as they go: out of one
 * recv(2) of 256 KiB, unless it came full.  PM_END when the other end said
 * that no more comes.
 */
enum pm_status pm_tls_recv(struct pm_tls *, const struct iovec *, int count,
    size_t *got);

/* What to ask poll(2) for; wants_write: there is something to send. */
short pm_tls_events(const struct pm_tls *, int wants_write);

/* True when bytes may have come that poll(2) cannot see. */
int pm_tls_is_ready(const struct pm_tls *);

/*
 * Tell the other end that no more comes, after what waits encrypted; go on
 * with pm_tls_flush when that is not possible at once.  Receiving goes on.
 */
enum pm_status pm_tls_shut(struct pm_tls *);

/* NULL does nothing. */
void pm_tls_free(struct pm_tls *);

#endif /* PM_TLS_H */
