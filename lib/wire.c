/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

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

/* A DATA frame, of which the last bytes are to follow. */
static enum pm_status
send_data(struct pm_wire *wire, const struct iovec *iov, int count,
    size_t size)
{
	struct iovec all[IOV_MOST + 1];
	uint8_t head[FRAME_HEAD] = { FRAME_DATA };

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

enum pm_status
pm_wire_writev(void *arg, struct iovec *iov, int count)
{
	struct pm_wire *wire = arg;

	if (wire->bare)
		return send_all(wire, iov, count);
	if (count > IOV_MOST) {
		errno = EINVAL;
		return PM_ERR_SYSTEM;
	}
	return send_data(wire, iov, count, 0);
}

/* How it was before bytes were moved into the connection. */
struct before {
	sigset_t mask;
	int flags;
};

/*
 * A splice cannot be told, as sendmsg can, not to raise a signal when the
 * peer is lost; and it must not wait, see pm_fd_splice.
 */
static void
begin_push(struct pm_wire *wire, struct before *before)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &signals, &before->mask);
	before->flags = fcntl(wire->fd, F_GETFL);
	(void)fcntl(wire->fd, F_SETFL, before->flags | O_NONBLOCK);
}

static void
end_push(struct pm_wire *wire, const struct before *before)
{
	static const struct timespec now = { 0, 0 };
	sigset_t signals;
	int error = errno;

	(void)fcntl(wire->fd, F_SETFL, before->flags);
	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	if (error == EPIPE && sigismember(&before->mask, SIGPIPE) == 0)
		(void)sigtimedwait(&signals, NULL, &now);
	(void)pthread_sigmask(SIG_SETMASK, &before->mask, NULL);
	errno = error;
}

/* Where bytes cannot be moved after all: pay what is owed. */
static enum pm_status
copy(struct pm_wire *wire, int from, size_t size, size_t *moved)
{
	uint8_t buf[16 << 10];
	enum pm_status status;

	while (*moved < size) {
		size_t now = size - *moved < sizeof(buf) ? size - *moved
		    : sizeof(buf);
		struct iovec iov = { buf, now };

		if ((status = pm_fd_read(from, buf, now)) != PM_OK ||
		    (status = send_all(wire, &iov, 1)) != PM_OK)
			return status;
		*moved += now;
	}
	return PM_ERR_REFUSED;
}

/*
 * A frame says how long it is, and its bytes must then come.  So it is of
 * those that are there already, and what becomes of the input meanwhile can
 * still be told between two frames.
 */
static enum pm_status
begin_frame(struct pm_wire *wire, const struct iovec *head, int from,
    size_t *size)
{
	enum pm_status status;
	size_t ready;

	if ((status = pm_fd_await(from, &ready)) != PM_OK)
		return status;
	if (*size > ready)
		*size = ready;
	return send_data(wire, head, 1, *size);
}

enum pm_status
pm_wire_push(void *arg, struct iovec *head, int from, size_t size,
    size_t *moved)
{
	struct pm_wire *wire = arg;
	struct before before;
	enum pm_status status;

	*moved = 0;
	status = wire->bare ? send_all(wire, head, 1)
	    : begin_frame(wire, head, from, &size);
	if (status != PM_OK)
		return status;
	head->iov_len = 0;
	begin_push(wire, &before);
	while (status == PM_OK && *moved < size) {
		size_t now;

		status = pm_fd_splice(from, wire->fd, size - *moved, &now);
		*moved += now;
	}
	end_push(wire, &before);
	if (status == PM_ERR_REFUSED)
		status = copy(wire, from, size, moved);
	if (!wire->bare)
		wire->owed = size - *moved;
	return status == PM_ERR_WRITE ? lost(wire) : status;
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

/* No more bytes of the stream come: it ended, or the connection failed. */
static enum pm_status
has_ended(struct pm_wire *wire, enum pm_status status)
{
	if (status == PM_ERR_READ)
		(void)lost(wire);	/* that is why, and not all */
	if (status == PM_ERR_READ || !wire->bare)
		return vanished(wire);
	wire->ended = 1;
	return PM_END;
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
	if (n <= 0)
		return has_ended(wire, n == 0 ? PM_END : PM_ERR_READ);
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
pm_wire_pull(void *arg, int to, size_t size, size_t *moved)
{
	struct pm_wire *wire = arg;
	enum pm_status status;

	*moved = 0;
	if (wire->ended)
		return PM_END;
	if (wire->pushed_from < sizeof(wire->pushed))
		return PM_ERR_REFUSED;
	while (!wire->bare && wire->left == 0)
		if ((status = next_frame(wire)) != PM_OK)
			return status;
	if (!wire->bare && size > wire->left)
		size = wire->left;
	status = pm_fd_splice(wire->fd, to, size, moved);
	if (!wire->bare)
		wire->left -= (uint32_t)*moved;
	return status == PM_END || status == PM_ERR_READ
	    ? has_ended(wire, status) : status;
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
	if (wire->bare)
		return PM_OK;
	if (wire->owed > 0)
		return shutdown(wire->fd, SHUT_WR) == 0 ? PM_OK : lost(wire);
	return send_frame(wire, FRAME_ABORT, why, strlen(why), NULL, 0);
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
