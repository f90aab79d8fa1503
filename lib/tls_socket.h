/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls_socket.h - encrypted bytes between a TLS session and its socket.
 *
 * The session is given its input out of one buffer that one system call
 * filled, and its output goes to one that one system call empties.  Before
 * these buffers are there, as long as the other end is a stranger, each piece
 * is a system call, and no more than 64 KiB are received in all.  Nothing
 * waits, and SIGPIPE does not come.
 */
#ifndef PM_TLS_SOCKET_H
#define PM_TLS_SOCKET_H

#include <stddef.h>

#include <sys/types.h>

#define PM_TLS_RECORD	16384u		/* bytes, at most, of one record */
#define PM_TLS_AHEAD	(16 * PM_TLS_RECORD)	/* encrypted at a time */

struct pm_tls_socket {
	int fd;
	int error;			/* errno of the last failure, or 0 */
	unsigned char first[2];		/* bytes that came */
	size_t heard;			/* of these two */
	size_t strange;			/* bytes received without buffers */
	int is_dry;			/* it had no more when last asked, */
	int is_over;			/* and never will have */
	unsigned char *in;		/* received; it and out are one block */
	size_t in_from, in_to;
	unsigned char *out;		/* to be sent */
	size_t out_from, out_to;
};

/* Allocate the buffers; 0 when there is no memory. */
int pm_tls_socket_buffer(struct pm_tls_socket *);

/* Free them; the descriptor stays open. */
void pm_tls_socket_unbuffer(struct pm_tls_socket *);

/*
 * What GnuTLS calls to receive and to send, for gnutls_transport_set_pull_
 * function and its like.  ptr is the struct.  They fail with errno EAGAIN
 * when nothing can be done now; after is_dry was set, pull does so without a
 * system call.  With buffers push never fails so, but with ENOBUFS when there
 * is no room; without them pull fails with EMSGSIZE after its 64 KiB.
 */
ssize_t pm_tls_socket_pull(void *ptr, void *buf, size_t size);
ssize_t pm_tls_socket_push(void *ptr, const void *buf, size_t size);

/* True when there is room for one more record, and for TLS's own ones. */
int pm_tls_socket_has_room(const struct pm_tls_socket *);

/* Bytes that wait to be sent. */
size_t pm_tls_socket_waiting(const struct pm_tls_socket *);

/* Send what waits, as far as that goes; 0 when the socket failed. */
int pm_tls_socket_drain(struct pm_tls_socket *);

/*
 * Throw away what came, at most 256 KiB: when a socket is closed with bytes in
 * it, the other end may lose what was sent to it last.
 */
void pm_tls_socket_discard(struct pm_tls_socket *);

/* False when the first bytes that came show that they are not TLS. */
int pm_tls_socket_speaks(const struct pm_tls_socket *);

#endif /* PM_TLS_SOCKET_H */
