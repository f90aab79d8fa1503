/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tls_socket.h"

#define IN_SIZE		PM_TLS_AHEAD
#define RECORD_EXTRA	64u		/* head, type and tag are 22 */
#define SLACK		4096u		/* for what TLS sends on its own */
#define OUT_SIZE	(PM_TLS_AHEAD + 16 * RECORD_EXTRA + SLACK)
#define STRANGE_MAX	(4 * PM_TLS_RECORD)	/* received without buffers */
#define DISCARD_TIMES	64
#define TYPE_FIRST	20		/* the first byte of any record, */
#define TYPE_LAST	24
#define VERSION_MAJOR	3		/* and the second */

int
pm_tls_socket_buffer(struct pm_tls_socket *sock)
{
	sock->in = malloc(IN_SIZE + OUT_SIZE);
	if (sock->in == NULL)
		return 0;
	sock->out = sock->in + IN_SIZE;
	return 1;
}

void
pm_tls_socket_unbuffer(struct pm_tls_socket *sock)
{
	free(sock->in);
	sock->in = sock->out = NULL;
	sock->in_from = sock->in_to = sock->out_from = sock->out_to = 0;
}

static ssize_t
give_up(struct pm_tls_socket *sock, int error)
{
	if (error == EWOULDBLOCK)
		error = EAGAIN;
	if (error != EAGAIN)
		sock->error = error;
	errno = error;
	return -1;
}

static ssize_t
receive(struct pm_tls_socket *sock, void *buf, size_t size)
{
	ssize_t got;

	/* GnuTLS gathers a message of 16 MiB before it finds it too long. */
	if (sock->in == NULL && sock->strange > STRANGE_MAX)
		return give_up(sock, EMSGSIZE);
	do
		got = recv(sock->fd, buf, size, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return give_up(sock, errno);
	sock->is_over = got == 0;
	if (sock->in == NULL)
		sock->strange += (size_t)got;
	for (size_t at = 0; sock->heard < sizeof(sock->first) &&
	    at < (size_t)got; at++)
		sock->first[sock->heard++] = ((unsigned char *)buf)[at];
	return got;
}

ssize_t
pm_tls_socket_pull(void *ptr, void *buf, size_t size)
{
	struct pm_tls_socket *sock = ptr;
	ssize_t got;

	if (sock->in == NULL)
		return receive(sock, buf, size);
	if (sock->in_from == sock->in_to) {
		if (sock->is_dry)
			return give_up(sock, EAGAIN);
		got = receive(sock, sock->in, IN_SIZE);
		sock->is_dry = got < (ssize_t)IN_SIZE;
		if (got <= 0)
			return got;
		sock->in_from = 0;
		sock->in_to = (size_t)got;
	}
	if (size > sock->in_to - sock->in_from)
		size = sock->in_to - sock->in_from;
	memcpy(buf, sock->in + sock->in_from, size);
	sock->in_from += size;
	return (ssize_t)size;
}

static ssize_t
transmit(struct pm_tls_socket *sock, const void *buf, size_t size)
{
	ssize_t put;

	do
		put = send(sock->fd, buf, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (put < 0 && errno == EINTR);
	return put >= 0 ? put : give_up(sock, errno);
}

ssize_t
pm_tls_socket_push(void *ptr, const void *buf, size_t size)
{
	struct pm_tls_socket *sock = ptr;
	ssize_t put;

	if (sock->out == NULL) {
		put = transmit(sock, buf, size);
		/* Who is gone may have said why: that has to be read. */
		return put < 0 && (errno == EPIPE || errno == ECONNRESET)
		    ? (ssize_t)size : put;
	}
	if (size > OUT_SIZE - sock->out_to && sock->out_from > 0) {
		sock->out_to -= sock->out_from;
		memmove(sock->out, sock->out + sock->out_from, sock->out_to);
		sock->out_from = 0;
	}
	/* Only one who asks for answers and reads none comes to this. */
	if (size > OUT_SIZE - sock->out_to)
		return give_up(sock, ENOBUFS);
	memcpy(sock->out + sock->out_to, buf, size);
	sock->out_to += size;
	return (ssize_t)size;
}

int
pm_tls_socket_has_room(const struct pm_tls_socket *sock)
{
	return OUT_SIZE - sock->out_to >= PM_TLS_RECORD + RECORD_EXTRA +
	    SLACK;
}

size_t
pm_tls_socket_waiting(const struct pm_tls_socket *sock)
{
	return sock->out_to - sock->out_from;
}

int
pm_tls_socket_drain(struct pm_tls_socket *sock)
{
	while (sock->out_from < sock->out_to) {
		ssize_t put = transmit(sock, sock->out + sock->out_from,
		    sock->out_to - sock->out_from);

		if (put < 0)
			return errno == EAGAIN;
		sock->out_from += (size_t)put;
	}
	sock->out_from = sock->out_to = 0;
	return 1;
}

void
pm_tls_socket_discard(struct pm_tls_socket *sock)
{
	char buf[4096];

	for (int times = 0; times < DISCARD_TIMES; times++)
		if (receive(sock, buf, sizeof(buf)) <= 0)
			return;
}

int
pm_tls_socket_speaks(const struct pm_tls_socket *sock)
{
	return (sock->heard < 1 || (sock->first[0] >= TYPE_FIRST &&
	    sock->first[0] <= TYPE_LAST)) &&
	    (sock->heard < 2 || sock->first[1] == VERSION_MAJOR);
}
