/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "bytes.h"
#include "fdio.h"
#include "record.h"
#include "wire.h"

enum {
	FRAME_DATA = 1,
	FRAME_END = 2,
	FRAME_ABORT = 3,
	FRAME_RESULT = 4,	/* u32 status, then text */
	FRAME_BYE = 5,
};

#define HELLO_SIZE	16u
#define FRAME_HEAD	8u
#define IOV_MOST	4
#define LINGER_S	5	/* for a sender to notice an early answer */

static enum pm_status
lost(struct pm_wire *wire)
{
	return pm_fault_set(wire->fault, PM_ERR_PEER, wire->peer, "%s",
	    errno == EAGAIN ? "does not answer" : strerror(errno));
}

static enum pm_status
gone(struct pm_wire *wire)
{
	return pm_fault_set(wire->fault, PM_ERR_PEER, wire->peer,
	    "closed the connection without a word");
}

/* The sender was there, and then was not: the stream was cut. */
static enum pm_status
vanished(struct pm_wire *wire)
{
	return pm_fault_set(wire->fault, PM_ERR_TRUNCATED, wire->peer,
	    "the sender vanished in the middle");
}

static enum pm_status
garbled(struct pm_wire *wire, const char *what)
{
	return pm_fault_set(wire->fault, PM_ERR_CORRUPT, wire->peer, "%s",
	    what);
}

/* As pm_fd_writev, without the signal that a lost peer would send us. */
static enum pm_status
send_all(struct pm_wire *wire, struct iovec *iov, int count)
{
	struct msghdr message = { .msg_iov = iov,
	    .msg_iovlen = (size_t)count };

	while (message.msg_iovlen > 0) {
		ssize_t put;

		if (message.msg_iov->iov_len == 0) {
			message.msg_iov++;
			message.msg_iovlen--;
			continue;
		}
		put = sendmsg(wire->fd, &message, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return lost(wire);
		while (put > 0) {
			size_t now = message.msg_iov->iov_len;

			if (now > (size_t)put)
				now = (size_t)put;
			message.msg_iov->iov_base =
			    (char *)message.msg_iov->iov_base + now;
			message.msg_iov->iov_len -= now;
			put -= (ssize_t)now;
			if (message.msg_iov->iov_len == 0) {
				message.msg_iov++;
				message.msg_iovlen--;
			}
		}
	}
	return PM_OK;
}

/* PM_END when the other end closed before the last byte. */
static enum pm_status
receive(struct pm_wire *wire, void *buf, size_t size)
{
	char *next = buf;

	while (size > 0) {
		ssize_t got = recv(wire->fd, next, size, 0);

		if (got == 0)
			return PM_END;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return lost(wire);
		next += got;
		size -= (size_t)got;
	}
	return PM_OK;
}

static void
set_patience(struct pm_wire *wire, unsigned seconds)
{
	struct timeval patience = { .tv_sec = (time_t)seconds };

	(void)setsockopt(wire->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
	    sizeof(patience));
}

static enum pm_status
send_frame(struct pm_wire *wire, unsigned type, const void *a, size_t a_size,
    const void *b, size_t b_size)
{
	uint8_t head[FRAME_HEAD] = { (uint8_t)type };
	struct iovec iov[3] = {
		{ head, sizeof(head) },
		{ (void *)(uintptr_t)a, a_size },
		{ (void *)(uintptr_t)b, b_size },
	};

	pm_put_le(head + 4, a_size + b_size, 4);
	return send_all(wire, iov, 3);
}

static enum pm_status
receive_head(struct pm_wire *wire, unsigned *type, uint32_t *size)
{
	uint8_t head[FRAME_HEAD];
	enum pm_status status = receive(wire, head, sizeof(head));

	if (status != PM_OK)
		return status;
	*type = head[0];
	*size = (uint32_t)pm_get_le(head + 4, 4);
	if (pm_get_le(head, 4) != *type || *size > PM_WIRE_FRAME_MAX)
		return garbled(wire, "sent a frame that makes no sense");
	return PM_OK;
}

static enum pm_status
send_hello(struct pm_wire *wire)
{
	uint8_t hello[HELLO_SIZE] = PM_WIRE_SIGNATURE;
	struct iovec iov = { hello, sizeof(hello) };

	pm_put_le(hello + 8, PM_WIRE_VERSION, 2);
	pm_put_le(hello + 10, PM_WIRE_VERSION, 2);
	pm_put_le(hello + 12, 0, 4);
	return send_all(wire, &iov, 1);
}

/* The rest of a hello whose signature was read. */
static enum pm_status
check_hello(struct pm_wire *wire, const uint8_t *hello)
{
	if (pm_get_le(hello + 8, 2) < PM_WIRE_VERSION ||
	    pm_get_le(hello + 10, 2) > PM_WIRE_VERSION)
		return pm_fault_set(wire->fault, PM_ERR_PEER, wire->peer,
		    "speaks versions %u to %u of the protocol, this program "
		    "%u", (unsigned)pm_get_le(hello + 10, 2),
		    (unsigned)pm_get_le(hello + 8, 2), PM_WIRE_VERSION);
	return PM_OK;
}

static void
begin(struct pm_wire *wire, int fd, const char *peer, struct pm_fault *fault)
{
	*wire = (struct pm_wire){ .fd = fd, .peer = peer, .fault = fault,
	    .pushed_from = sizeof(wire->pushed) };
}

enum pm_status
pm_wire_greet(struct pm_wire *wire, int fd, unsigned seconds,
    const char *peer, struct pm_fault *fault)
{
	uint8_t hello[HELLO_SIZE];
	enum pm_status status;

	begin(wire, fd, peer, fault);
	set_patience(wire, seconds);
	status = send_hello(wire);
	if (status == PM_OK)
		status = receive(wire, hello, sizeof(hello));
	if (status == PM_END)
		return gone(wire);
	if (status == PM_OK && memcmp(hello, PM_WIRE_SIGNATURE, 8) != 0)
		status = pm_fault_set(fault, PM_ERR_PEER, peer,
		    "is not a pm-recv; --raw sends to anything");
	if (status == PM_OK)
		status = check_hello(wire, hello);
	set_patience(wire, 0);
	return status;
}

enum pm_status
pm_wire_welcome(struct pm_wire *wire, int fd, unsigned seconds,
    const char *peer, struct pm_fault *fault)
{
	uint8_t hello[HELLO_SIZE];
	enum pm_status status;

	begin(wire, fd, peer, fault);
	set_patience(wire, seconds);
	status = receive(wire, hello, sizeof(wire->pushed));
	if (status == PM_OK && memcmp(hello, PM_SIGNATURE, 8) == 0) {
		memcpy(wire->pushed, hello, sizeof(wire->pushed));
		wire->pushed_from = 0;
		wire->bare = 1;
		set_patience(wire, 0);
		return PM_OK;
	}
	if (status == PM_OK && memcmp(hello, PM_WIRE_SIGNATURE, 8) != 0)
		return garbled(wire, "sent neither a page stream nor the "
		    "hello of pm-send");
	if (status == PM_OK)
		status = receive(wire, hello + 8, sizeof(hello) - 8);
	if (status == PM_END)
		return vanished(wire);
	if (status == PM_OK)
		status = check_hello(wire, hello);
	/* Answered even if it does not fit: the other end says so too. */
	if (status == PM_OK || status == PM_ERR_PEER)
		(void)send_hello(wire);
	set_patience(wire, 0);
	return status;
}

/* Whether the receiver has something to say, or is gone. */
static int
is_answering(const struct pm_wire *wire)
{
	struct pollfd poller = { .fd = wire->fd, .events = POLLIN };

	return poll(&poller, 1, 0) > 0;
}

enum pm_status
pm_wire_writev(void *arg, struct iovec *iov, int count)
{
	struct pm_wire *wire = arg;
	struct iovec all[IOV_MOST + 1];
	uint8_t head[FRAME_HEAD] = { FRAME_DATA };
	size_t size = 0;

	if (wire->bare)
		return send_all(wire, iov, count);
	if (count > IOV_MOST) {
		errno = EINVAL;
		return PM_ERR_SYSTEM;
	}
	for (int i = 0; i < count; i++) {
		all[i + 1] = iov[i];
		size += iov[i].iov_len;
	}
	pm_put_le(head + 4, size, 4);
	all[0] = (struct iovec){ head, sizeof(head) };
	if (is_answering(wire))
		return PM_ERR_PEER;
	return send_all(wire, all, count + 1);
}

/* The next DATA frame, END, or what happened instead. */
static enum pm_status
next_frame(struct pm_wire *wire)
{
	char why[256];
	uint32_t size;
	unsigned type;
	enum pm_status status = receive_head(wire, &type, &size);

	if (status != PM_OK)
		return status == PM_ERR_CORRUPT ? status : vanished(wire);
	switch (type) {
	case FRAME_DATA:
		wire->left = size;
		return PM_OK;
	case FRAME_END:
		wire->ended = 1;
		return PM_END;
	case FRAME_ABORT:
		wire->ended = 1;
		if (size >= sizeof(why))
			size = sizeof(why) - 1;
		if (receive(wire, why, size) != PM_OK)
			size = 0;
		why[size] = '\0';
		return pm_fault_set(wire->fault, PM_ERR_TRUNCATED,
		    wire->peer, "the sender gave up: %s", why);
	}
	return garbled(wire, "sent a frame that makes no sense");
}

/* Some bytes of the stream. */
static enum pm_status
read_some(struct pm_wire *wire, void *buf, size_t size, size_t *got)
{
	enum pm_status status;
	ssize_t n;

	if (wire->pushed_from < sizeof(wire->pushed)) {
		*got = sizeof(wire->pushed) - wire->pushed_from;
		if (*got > size)
			*got = size;
		memcpy(buf, wire->pushed + wire->pushed_from, *got);
		wire->pushed_from += *got;
		return PM_OK;
	}
	while (!wire->bare && wire->left == 0)
		if ((status = next_frame(wire)) != PM_OK)
			return status;
	if (!wire->bare && size > wire->left)
		size = wire->left;
	do
		n = recv(wire->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		(void)lost(wire);	/* that is why, and not all */
	if (n < 0 || (n == 0 && !wire->bare))
		return vanished(wire);
	if (n == 0) {
		wire->ended = 1;
		return PM_END;
	}
	*got = (size_t)n;
	if (!wire->bare)
		wire->left -= (uint32_t)n;
	return PM_OK;
}

enum pm_status
pm_wire_readv(void *arg, struct iovec *iov, int count)
{
	struct pm_wire *wire = arg;
	int begun = 0;

	if (wire->ended)
		return PM_END;
	for (int i = 0; i < count; i++)
		for (size_t at = 0; at < iov[i].iov_len;) {
			size_t got = 0;
			enum pm_status status = read_some(wire,
			    (char *)iov[i].iov_base + at,
			    iov[i].iov_len - at, &got);

			if (status != PM_OK)
				return status == PM_END && begun
				    ? PM_ERR_TRUNCATED : status;
			begun = 1;
			at += got;
		}
	return PM_OK;
}

enum pm_status
pm_wire_end(struct pm_wire *wire)
{
	if (!wire->bare)
		return send_frame(wire, FRAME_END, NULL, 0, NULL, 0);
	return shutdown(wire->fd, SHUT_WR) == 0 ? PM_OK : lost(wire);
}

enum pm_status
pm_wire_abort(struct pm_wire *wire, const char *why)
{
	return wire->bare ? PM_OK : send_frame(wire, FRAME_ABORT, why,
	    strlen(why), NULL, 0);
}

/*
 * Whatever the sender still sends is taken and dropped until it says BYE:
 * closing with unread bytes would reset the connection, and the answer
 * might be lost with it.
 */
static enum pm_status
wait_for_bye(struct pm_wire *wire)
{
	uint8_t waste[4096];
	uint32_t left = wire->left, size;
	unsigned type;
	enum pm_status status = PM_OK;

	set_patience(wire, LINGER_S);
	while (status == PM_OK) {
		size = left < sizeof(waste) ? left : (uint32_t)sizeof(waste);
		if (left > 0) {
			status = receive(wire, waste, size);
			left -= size;
			continue;
		}
		status = receive_head(wire, &type, &left);
		if (status == PM_OK && type == FRAME_BYE)
			return PM_OK;
	}
	return status == PM_END ? gone(wire) : status;
}

enum pm_status
pm_wire_answer(struct pm_wire *wire, uint32_t code, const char *text,
    size_t size)
{
	uint8_t bytes[4];
	enum pm_status status;

	if (wire->bare)
		return PM_OK;
	pm_put_le(bytes, code, 4);
	if (size > PM_WIRE_TEXT_MAX)
		size = PM_WIRE_TEXT_MAX;
	status = send_frame(wire, FRAME_RESULT, bytes, sizeof(bytes), text,
	    size);
	return status == PM_OK ? wait_for_bye(wire) : status;
}

enum pm_status
pm_wire_await(struct pm_wire *wire, struct pm_wire_result *result)
{
	uint8_t bytes[4];
	uint32_t size;
	unsigned type;
	enum pm_status status = receive_head(wire, &type, &size);

	if (status == PM_OK && (type != FRAME_RESULT || size < 4 ||
	    size - 4 > PM_WIRE_TEXT_MAX))
		status = garbled(wire, "sent an answer that makes no sense");
	if (status == PM_OK)
		status = receive(wire, bytes, sizeof(bytes));
	if (status == PM_OK)
		status = receive(wire, result->text, size - 4);
	if (status == PM_END)
		return gone(wire);
	/* No stream comes from there that could be corrupt. */
	if (status != PM_OK)
		return PM_ERR_PEER;
	result->status = (uint32_t)pm_get_le(bytes, 4);
	result->size = size - 4;
	result->text[size - 4] = '\0';
	/* One that failed says so, and may not wait to hear that we heard. */
	status = send_frame(wire, FRAME_BYE, NULL, 0, NULL, 0);
	return result->status != 0 ? PM_OK : status;
}
