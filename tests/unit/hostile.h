/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostile.h - an end of a session that says whatever a test likes, on sockets
 * of its own.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <poll.h>
#include <sys/socket.h>

#include "session.h"

#define MIB	(UINT64_C(1) << 20)

static inline int
connect_raw(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int room = 4 << 20;

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (connect(fd, (struct sockaddr *)&session_net.un,
	    sizeof(session_net.un)) != 0)
		child_fail("connect");
	return fd;
}

static inline int
listen_raw(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(session_net.un.sun_path);
	if (bind(fd, (struct sockaddr *)&session_net.un,
	    sizeof(session_net.un)) != 0 || listen(fd, 64) != 0)
		child_fail("listen");
	return fd;
}

static inline int
has_words(int fd, int ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };

	return poll(&poller, 1, ms) == 1;
}

static inline int
say(int fd, const void *bytes, size_t size)
{
	return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static inline size_t
put_frame(uint8_t *to, uint32_t type, uint64_t offset, uint32_t size)
{
	const struct pm_wire_head head = { type, size, offset };

	pm_wire_pack_head(&head, to);
	fill(to + PM_WIRE_HEAD_SIZE, offset, size);
	return PM_WIRE_HEAD_SIZE + size;
}

static inline int
say_frame(int fd, uint32_t type, uint64_t offset, uint32_t size)
{
	static uint8_t bytes[PM_WIRE_HEAD_SIZE + PM_WIRE_DATA_MAX];

	return say(fd, bytes, put_frame(bytes, type, offset, size));
}

static inline size_t
put_hello(uint8_t *to, uint32_t connection, uint32_t connections)
{
	const struct pm_wire_hello hello = {
		.session = "a session", .connection = connection,
		.connections = connections, .frames = 16,
		.break_ms = 60000, .silence_ms = 60000,
	};

	pm_wire_pack_hello(&hello, to);
	return PM_WIRE_HELLO_SIZE;
}

static inline int
say_hello(int fd, uint32_t connection, uint32_t connections)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];

	return say(fd, bytes, put_hello(bytes, connection, connections));
}

static inline size_t
put_reply(uint8_t *to, uint32_t code, uint8_t name, uint64_t offset)
{
	const struct pm_wire_reply reply = {
		.code = code, .receiver = { name }, .frames = 16,
		.break_ms = 60000, .silence_ms = 60000, .offset = offset,
	};

	pm_wire_pack_reply(&reply, to);
	return PM_WIRE_HELLO_SIZE;
}

static inline int
take(int from, uint64_t within_us)
{
	return has_words(from, (int)(within_us / 1000))
	    ? accept(from, NULL, NULL) : -1;
}

/* Take a connection, and hear its hello. */
static inline int
greet(int from, struct pm_wire_hello *hello)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int fd = take(from, 5 * SECOND);

	if (fd < 0 || !child_hear(fd, bytes, sizeof(bytes)) ||
	    pm_wire_unpack_hello(hello, bytes, "sender", NULL) != PM_OK)
		child_fail("hello");
	return fd;
}

static inline int
welcome(int from, uint8_t name, uint64_t offset)
{
	struct pm_wire_hello hello;
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int fd = greet(from, &hello);

	put_reply(bytes, PM_WIRE_WELCOME, name, offset);
	if (!say(fd, bytes, sizeof(bytes)))
		child_fail("reply");
	return fd;
}

static inline int
say_result(int fd, uint32_t size)
{
	static uint8_t bytes[PM_WIRE_HEAD_SIZE + 4 + PM_WIRE_TEXT_MAX];
	const struct pm_wire_head head = { .type = PM_WIRE_RESULT,
	    .size = 4 + size };

	pm_wire_pack_head(&head, bytes);
	memset(bytes + PM_WIRE_HEAD_SIZE, 0, 4);
	fill(bytes + PM_WIRE_HEAD_SIZE + 4, TEXT_AT, size);
	return say(fd, bytes, PM_WIRE_HEAD_SIZE + 4 + size);
}

/* The next frame, all of it; 0 when there is none. */
static inline int
hear_any(int fd, struct pm_wire_head *head, int *is_wrong)
{
	static uint8_t body[PM_WIRE_DATA_MAX];
	uint8_t bytes[PM_WIRE_HEAD_SIZE];

	if (!has_words(fd, 5000) || !child_hear(fd, bytes, sizeof(bytes)) ||
	    pm_wire_unpack_head(head, bytes, 1, "sender", NULL) != PM_OK ||
	    !child_hear(fd, body, head->size))
		return 0;
	if (head->type == PM_WIRE_DATA &&
	    !is_right(body, head->offset, head->size))
		*is_wrong = 1;
	return 1;
}

static inline int
hear_frame(int fd, struct pm_wire_head *head, int *is_wrong)
{
	int heard;

	do
		heard = hear_any(fd, head, is_wrong);
	while (heard && head->type == PM_WIRE_PING);
	return heard;
}

/*
 * Hear all up to the end, of a sender that sends in order, and acknowledge
 * it; the offset of the end, or 0 when it is not right.
 */
static inline uint64_t
hear_all(int fd, uint64_t at)
{
	struct pm_wire_head head;
	int is_wrong = 0;

	while (hear_frame(fd, &head, &is_wrong) && !is_wrong &&
	    head.offset <= at) {
		if (head.type == PM_WIRE_END)
			return head.offset == at ? at : 0;
		if (at < head.offset + head.size)
			at = head.offset + head.size;
		if (!say_frame(fd, PM_WIRE_ACK, at, 0))
			break;
	}
	return 0;
}

/* Hear that a result was heard; an end may come once more before. */
static inline int
hear_bye(int fd)
{
	struct pm_wire_head head = { .type = PM_WIRE_END };
	int is_wrong = 0;

	while (head.type != PM_WIRE_BYE && hear_frame(fd, &head, &is_wrong))
		;
	close(fd);
	return head.type == PM_WIRE_BYE && !is_wrong;
}

static inline int
part(int fd, uint32_t size)
{
	return say_result(fd, size) && hear_bye(fd);
}

#endif /* HOSTILE_H */
