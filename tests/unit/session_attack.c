/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a session against another that cuts, repeats, mixes and lies:
 * bytes come out right or not at all, and nobody waits for ever.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "bytes.h"
#include "check.h"
#include "clock.h"
#include "session.h"

#define MIB	(UINT64_C(1) << 20)

static uint64_t seed;

/* The hostile end: what it says, and hears. */

static int
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

static int
listen_raw(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)unlink(session_net.un.sun_path);
	if (bind(fd, (struct sockaddr *)&session_net.un,
	    sizeof(session_net.un)) != 0 || listen(fd, 64) != 0)
		child_fail("listen");
	return fd;
}

static int
has_words(int fd, int ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };

	return poll(&poller, 1, ms) == 1;
}

static int
say(int fd, const void *bytes, size_t size)
{
	return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static size_t
put_frame(uint8_t *to, uint32_t type, uint64_t offset, uint32_t size)
{
	const struct pm_wire_head head = { type, size, offset };

	pm_wire_pack_head(&head, to);
	fill(to + PM_WIRE_HEAD_SIZE, offset, size);
	return PM_WIRE_HEAD_SIZE + size;
}

static int
say_frame(int fd, uint32_t type, uint64_t offset, uint32_t size)
{
	static uint8_t bytes[PM_WIRE_HEAD_SIZE + PM_WIRE_DATA_MAX];

	return say(fd, bytes, put_frame(bytes, type, offset, size));
}

static size_t
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

static int
say_hello(int fd, uint32_t connection, uint32_t connections)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];

	return say(fd, bytes, put_hello(bytes, connection, connections));
}

static size_t
put_reply(uint8_t *to, uint32_t code, uint8_t name, uint64_t offset)
{
	const struct pm_wire_reply reply = {
		.code = code, .receiver = { name }, .frames = 16,
		.break_ms = 60000, .silence_ms = 60000, .offset = offset,
	};

	pm_wire_pack_reply(&reply, to);
	return PM_WIRE_HELLO_SIZE;
}

static int
take(int from, uint64_t within_us)
{
	return has_words(from, (int)(within_us / 1000))
	    ? accept(from, NULL, NULL) : -1;
}

/* Take a connection, and hear its hello. */
static int
greet(int from, struct pm_wire_hello *hello)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int fd = take(from, 5 * SECOND);

	if (fd < 0 || !child_hear(fd, bytes, sizeof(bytes)) ||
	    pm_wire_unpack_hello(hello, bytes, "sender", NULL) != PM_OK)
		child_fail("hello");
	return fd;
}

static int
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

static int
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

/* The next frame that is not a ping, all of it; 0 when there is none. */
static int
hear_frame(int fd, struct pm_wire_head *head, int *is_wrong)
{
	static uint8_t body[PM_WIRE_DATA_MAX];
	uint8_t bytes[PM_WIRE_HEAD_SIZE];

	do
		if (!has_words(fd, 5000) ||
		    !child_hear(fd, bytes, sizeof(bytes)) ||
		    pm_wire_unpack_head(head, bytes, 1, "sender", NULL) !=
		    PM_OK || !child_hear(fd, body, head->size))
			return 0;
	while (head->type == PM_WIRE_PING);
	if (head->type == PM_WIRE_DATA &&
	    !is_right(body, head->offset, head->size))
		*is_wrong = 1;
	return 1;
}

/*
 * Hear all up to the end, of a sender that sends in order, and acknowledge
 * it; the offset of the end, or 0 when it is not right.
 */
static uint64_t
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

/* Say how it ended, and hear that this was heard. */
static int
part(int fd, uint32_t size)
{
	struct pm_wire_head head;
	int is_wrong = 0;

	return say_result(fd, size) && hear_frame(fd, &head, &is_wrong) &&
	    head.type == PM_WIRE_BYE;
}

/*
 * A hostile receiver in a child: it does what the script says, and tells
 * whether it found all as it should be.
 */
static int (*script)(int from);

static void
run_script(int in, int out)
{
	int from = listen_raw();
	char good;

	(void)child_tell(out, "r", 1);
	good = (char)script(from);
	(void)unlink(session_net.un.sun_path);
	close(from);
	(void)child_tell(out, &good, 1);
	child_linger(in);
}

/* And the sender, here. */
static struct pm_transmit sender;
static struct pm_fault sender_fault;
static struct sent sent;

static struct child
script_start(int (*what)(int from))
{
	struct child child;
	char ready;

	script = what;
	child = child_start(run_script);
	if (!child_hear(child.from, &ready, 1))
		child_fail("script");
	return child;
}

static int
script_end(struct child *child)
{
	char good = 0;
	int heard = child_hear(child->from, &good, 1);

	(void)child_end(child);
	if (!heard || !good)
		printf("# the script failed\n");
	return heard && good;
}

static enum pm_status
sender_open(int input, uint64_t wait_us)
{
	const struct pm_transmit_how how = {
		.net = &session_net, .connections = sending.connections,
		.frames = sending.frames, .wait_us = wait_us, .input = input,
		.break_us = sending.break_us, .silence_us = 5 * SECOND,
	};

	sender_fault = (struct pm_fault){ .error = 0 };
	return pm_transmit_open(&sender, &how, &sender_fault);
}

static void
send_input(int input)
{
	sent = (struct sent){ .opened = sender_open(input, 2 * SECOND) };
	sent.written = sent.opened;
	for (uint64_t at = 0; at < sending.size && sent.written == PM_OK;
	    at += record_size(at))
		sent.written = pass_on(&sender, at);
	sent.ended = sent.written;
	if (sent.written == PM_OK)
		sent.ended = pm_transmit_end(&sender);
	note_result(&sender, &sent);
	if (sent.ended != PM_OK)
		printf("# sender: %s\n", sender_fault.text);
	pm_transmit_close(&sender);
}

/* Send it to a hostile receiver; true when that found all right. */
static int
send_to(int (*what)(int from))
{
	struct child child, feeder = { .from = -1 };
	int input, good;

	if (sending.is_file)
		input = file_of_input();
	else {
		feeder = child_start(feed);
		input = feeder.from;
	}
	child = script_start(what);
	send_input(input);
	good = script_end(&child);
	if (sending.is_file)
		close(input);
	else {
		/* It may wait for someone to read. */
		close(input);
		feeder.from = -1;
		(void)child_end(&feeder);
	}
	return good;
}

static int
arrives(int (*what)(int from))
{
	int good = send_to(what);

	return good && sent.ended == PM_OK && sent.has_result &&
	    sent.code == 0 && sent.text_is_right;
}

/* A reply that is cut, everywhere. */
static int
cut_replies(int from)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	struct pm_wire_hello hello;

	put_reply(bytes, PM_WIRE_WELCOME, 1, 0);
	for (size_t cut = 0; cut < sizeof(bytes); cut++) {
		int fd = greet(from, &hello);

		if (!say(fd, bytes, cut))
			return 0;
		close(fd);
	}
	return 1;
}

static int
say_busy(int from)
{
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int fd;

	put_reply(bytes, PM_WIRE_BUSY, 1, 0);
	while ((fd = take(from, SECOND)) >= 0) {
		if (!say(fd, bytes, sizeof(bytes)))
			return 0;
		(void)shutdown(fd, SHUT_WR);
	}
	return 1;
}

static void
test_replies(void)
{
	struct child child = script_start(cut_replies);
	int refused = 1;

	sending = (struct sending){ .connections = 3, .frames = 16 };
	for (unsigned i = 0; i < PM_WIRE_HELLO_SIZE; i++) {
		refused &= sender_open(-1, 2 * SECOND) == PM_ERR_PEER &&
		    sender_fault.text[0] != '\0';
		pm_transmit_close(&sender);
	}
	CHECK(script_end(&child) && refused);

	child = script_start(say_busy);
	CHECK(sender_open(-1, 200000) == PM_ERR_PEER &&
	    strstr(sender_fault.text, "is busy") != NULL);
	printf("# %s\n", sender_fault.text);
	pm_transmit_close(&sender);
	CHECK(script_end(&child));
}

/* Numbers that lie. */
static int
lie_of_acks(int from)
{
	struct pm_wire_head head;
	int fd = welcome(from, 1, 0), is_wrong = 0;
	uint64_t at = 0;

	if (!say_frame(fd, PM_WIRE_ACK, UINT64_MAX, 0))
		return 0;
	while (hear_frame(fd, &head, &is_wrong) && head.type != PM_WIRE_END) {
		at = mix(head.offset);
		if (is_wrong || !say_frame(fd, PM_WIRE_ACK, at % 3 == 0 ? 0
		    : at % 3 == 1 ? at : UINT64_MAX, 0))
			return 0;
	}
	return part(fd, 5);
}

static int
go_back_with_acks(int from)
{
	struct pm_wire_head head;
	int fd = welcome(from, 1, 0), is_wrong = 0;
	uint64_t at = 0;

	while (hear_frame(fd, &head, &is_wrong) && head.offset == at &&
	    !is_wrong && head.type == PM_WIRE_DATA) {
		at += head.size;
		if (!say_frame(fd, PM_WIRE_ACK, at, 0) ||
		    !say_frame(fd, PM_WIRE_ACK, at / 2, 0) ||
		    !say_frame(fd, PM_WIRE_ACK, 0, 0) ||
		    !say_frame(fd, PM_WIRE_PING, at, 0))
			return 0;
	}
	return head.type == PM_WIRE_END && at == sending.size && part(fd, 9);
}

static int
say_in_pieces(int from)
{
	uint8_t bytes[PM_WIRE_HEAD_SIZE + 4 + 3000];
	const struct pm_wire_head head = { .type = PM_WIRE_RESULT,
	    .size = 4 + 3000 };
	struct pm_wire_head heard;
	int fd = welcome(from, 1, 0), is_wrong = 0;

	if (hear_all(fd, 0) != sending.size)
		return 0;
	pm_wire_pack_head(&head, bytes);
	memset(bytes + PM_WIRE_HEAD_SIZE, 0, 4);
	fill(bytes + PM_WIRE_HEAD_SIZE + 4, TEXT_AT, 3000);
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (!say(fd, bytes + i, 1))
			return 0;
	return hear_frame(fd, &heard, &is_wrong) &&
	    heard.type == PM_WIRE_BYE;
}

/* A result that is cut, and said again, each time a little more of it. */
static int
cut_result(int from)
{
	static uint8_t bytes[PM_WIRE_HEAD_SIZE + 4 + 40];
	const struct pm_wire_head head = { .type = PM_WIRE_RESULT,
	    .size = 4 + 40 };
	int fd = welcome(from, 1, 0);

	pm_wire_pack_head(&head, bytes);
	fill(bytes + PM_WIRE_HEAD_SIZE + 4, TEXT_AT, 40);
	if (hear_all(fd, 0) != sending.size)
		return 0;
	for (size_t cut = 0; cut < sizeof(bytes); cut += 7) {
		if (!say(fd, bytes, cut))
			return 0;
		close(fd);
		if (sending.break_us == 0)
			return 1;
		fd = welcome(from, 1, sending.size);
	}
	return part(fd, 40);
}

static void
test_frames(void)
{
	sending = (struct sending){ .size = 9 * MIB, .connections = 1,
	    .frames = 16 };
	CHECK(arrives(lie_of_acks));
	CHECK(arrives(go_back_with_acks));
	CHECK(arrives(say_in_pieces));
	sending.size = 100000;
	CHECK(send_to(cut_result) && sent.ended == PM_ERR_PEER &&
	    !sent.has_result);
	sending.break_us = 5 * SECOND;
	CHECK(arrives(cut_result) && sent.size == 40 &&
	    sent.stats.breaks == 9);
}

/* Another receiver each time: it knows nothing of what others had. */
static int
change_names(int from)
{
	struct pm_wire_head head;
	int fd = -1, is_wrong = 0;

	for (uint8_t name = 1; name <= 10; name++) {
		uint64_t at = 0;

		fd = welcome(from, name, 0);
		for (unsigned i = 0; i < name && hear_frame(fd, &head,
		    &is_wrong); i++) {
			if (head.offset != at || is_wrong)
				return 0;
			at += head.size;
			/* Of a pipe nothing may be forgotten. */
			if (sending.is_file &&
			    !say_frame(fd, PM_WIRE_ACK, at, 0))
				return 0;
		}
		if (name < 10)
			close(fd);
		else if (!say_frame(fd, PM_WIRE_ACK, at, 0) ||
		    hear_all(fd, at) != sending.size)
			return 0;
	}
	return part(fd, 8);
}

static int
change_too_late(int from)
{
	struct pm_wire_head head;
	int fd = welcome(from, 1, 0), is_wrong = 0;

	if (!hear_frame(fd, &head, &is_wrong) ||
	    !say_frame(fd, PM_WIRE_ACK, 1, 0) ||
	    !hear_frame(fd, &head, &is_wrong) ||
	    !say_frame(fd, PM_WIRE_ACK, head.offset, 0) ||
	    !hear_frame(fd, &head, &is_wrong))
		return 0;
	close(fd);
	fd = welcome(from, 2, 0);
	/* The sender leaves. */
	return !hear_frame(fd, &head, &is_wrong);
}

/*
 * Nothing of the stream is said to someone who has not said who he is: what
 * he has, and is sent, may be another thing.
 */
static int
say_no_name(int from)
{
	struct pm_wire_hello hello;
	struct pm_wire_head head;
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int fd = welcome(from, 1, 0), is_wrong = 0;

	for (unsigned i = 0; i < 4; i++)
		if (!hear_frame(fd, &head, &is_wrong) ||
		    !say_frame(fd, PM_WIRE_ACK, head.offset, 0))
			return 0;
	close(fd);
	fd = greet(from, &hello);
	if (has_words(fd, 200))
		return 0;
	put_reply(bytes, PM_WIRE_WELCOME, 2, 0);
	return say(fd, bytes, sizeof(bytes)) &&
	    hear_all(fd, 0) == sending.size && part(fd, 1);
}

static void
test_others(void)
{
	sending = (struct sending){ .size = 9 * MIB, .connections = 1,
	    .frames = 16, .break_us = 5 * SECOND };
	CHECK(arrives(change_names));
	CHECK(send_to(change_too_late) && sent.written == PM_ERR_PEER &&
	    strstr(sender_fault.text, "cannot be read twice") != NULL);
	sending.is_file = 1;
	CHECK(arrives(change_names));
	CHECK(arrives(say_no_name));
}

/* As many frames as the receiver said, and not as many as there could be. */
static int
count_window(int from)
{
	struct pm_wire_head head;
	int fd = welcome(from, 1, 0), is_wrong = 0;
	unsigned frames = 0;
	uint64_t at = 0;

	while (frames < 17 && has_words(fd, 200) &&
	    hear_frame(fd, &head, &is_wrong) && !is_wrong) {
		frames++;
		at = head.offset + head.size;
	}
	return frames == 16 && say_frame(fd, PM_WIRE_ACK, at, 0) &&
	    hear_all(fd, at) == sending.size && part(fd, 1);
}

/*
 * What is sent again on one connection is acknowledged on another meanwhile:
 * that makes room all the same, once it is sent.
 */
static int
acknowledge_early(int from)
{
	struct pm_wire_hello hello;
	struct pm_wire_head head;
	uint8_t bytes[PM_WIRE_HELLO_SIZE];
	int first = welcome(from, 1, 0), second, is_wrong = 0;
	uint64_t at = 0;

	second = greet(from, &hello);
	/* All that may be under way comes here, and nothing is said of it. */
	for (unsigned i = 0; i < 16; i++) {
		if (!hear_frame(first, &head, &is_wrong) || is_wrong)
			return 0;
		at = head.offset + head.size;
	}
	put_reply(bytes, PM_WIRE_WELCOME, 1, 0);
	if (!say(second, bytes, sizeof(bytes)))
		return 0;
	close(first);
	/* It is all sent again, as far as the socket has room. */
	if (!has_words(second, 5000))
		return 0;
	first = welcome(from, 1, at);
	while (hear_frame(second, &head, &is_wrong) && !is_wrong &&
	    head.offset + head.size < at)
		if (!has_words(second, 300))
			break;
	return has_words(first, 2000) && (close(second), 1) &&
	    (close(first), 1);
}

/* How often it comes when it is sent away at once. */
static int
count_tries(int from)
{
	int fd = welcome(from, 1, 0);
	uint64_t until = pm_clock_us() + SECOND;
	unsigned tries = 0;

	close(fd);
	for (uint64_t now; (now = pm_clock_us()) < until;)
		if ((fd = take(from, until - now)) >= 0) {
			tries++;
			close(fd);
		}
	printf("# %u tries\n", tries);
	fflush(stdout);
	return tries >= 2 && tries < 30;
}

static void
test_windows(void)
{
	sending = (struct sending){ .size = 30 * MIB, .connections = 1,
	    .frames = 1024, .break_us = 5 * SECOND };
	CHECK(arrives(count_window));
	sending.frames = 16;
	sending.break_us = SECOND;
	sending.connections = 2;
	CHECK(send_to(acknowledge_early) && sent.ended == PM_ERR_PEER);
	sending.connections = 1;
	CHECK(send_to(count_tries) && sent.ended == PM_ERR_PEER);
}

/* Now the receiver, here; what a hostile sender says is said before. */

static enum pm_status
receiver_start(uint64_t wait_us)
{
	const struct pm_receive_how how = {
		.net = &session_net, .frames = 16, .wait_us = wait_us,
		.break_us = receiver_break_us, .silence_us = SECOND,
	};

	receiver_fault = (struct pm_fault){ .error = 0 };
	received = 0;
	return pm_receive_open(&receiver, &how, &receiver_fault);
}

static void
test_cuts(void)
{
	static uint8_t bytes[2000];
	size_t size = put_hello(bytes, 0, 1), end;
	int good = 1;

	size += put_frame(bytes + size, PM_WIRE_DATA, 0, 5);
	size += put_frame(bytes + size, PM_WIRE_PING, 0, 0);
	size += put_frame(bytes + size, PM_WIRE_DATA, 5, 100);
	size += put_frame(bytes + size, PM_WIRE_END, 105, 0);
	end = size;
	size += put_frame(bytes + size, PM_WIRE_BYE, 0, 0);
	sending.size = 105;
	receiver_break_us = 0;
	for (size_t cut = 0; cut <= size; cut++) {
		enum pm_status status = receiver_start(5000);
		int fd = connect_raw();

		(void)say(fd, bytes, cut);
		close(fd);
		if (status == PM_OK)
			status = pm_receive_meet(&receiver);
		if (status == PM_OK)
			status = receive_all();
		if (cut < PM_WIRE_HELLO_SIZE)
			good &= status == PM_ERR_PEER;
		else if (cut < end)
			good &= status == PM_ERR_TRUNCATED;
		else
			good &= status == PM_END || status ==
			    PM_ERR_TRUNCATED;
		/* A farewell to what was not said yet is none. */
		if (status == PM_END)
			good &= answer(0, 0) == PM_ERR_PEER;
		if (!good) {
			printf("# cut at %zu: %d\n", cut, status);
			break;
		}
		pm_receive_close(&receiver);
	}
	CHECK(good);
}

/*
 * Frames of the stream, cut anywhere, some of them twice or over each other,
 * on several connections in any order.
 */
static int
say_mixed(uint64_t *state, uint64_t size, unsigned connections)
{
	struct { uint64_t at; uint32_t size; } frame[60], swap;
	unsigned frames = 0;
	int fd[4];

	for (uint64_t at = 0; at < size && frames < 40;) {
		uint64_t most = size - at, now;

		*state = mix(*state);
		now = frames == 39 ? most : 1 + *state % (size / 20 + 1);
		if (now > most)
			now = most;
		frame[frames].at = at;
		frame[frames++].size = (uint32_t)now;
		at += now;
	}
	for (unsigned i = frames; i < 60; i++) {
		*state = mix(*state);
		frame[i].at = *state % size;
		*state = mix(*state);
		frame[i].size = (uint32_t)(1 + *state % (size - frame[i].at));
	}
	for (unsigned i = 60; i-- > 1;) {
		unsigned with;

		*state = mix(*state);
		with = (unsigned)(*state % (i + 1));
		swap = frame[i];
		frame[i] = frame[with];
		frame[with] = swap;
	}
	for (unsigned i = 0; i < connections; i++) {
		fd[i] = connect_raw();
		(void)say_hello(fd[i], i, connections);
	}
	for (unsigned i = 0; i < 60; i++) {
		*state = mix(*state);
		(void)say_frame(fd[*state % connections], PM_WIRE_DATA,
		    frame[i].at, frame[i].size);
		if (i == *state % 60 || i == 59)
			(void)say_frame(fd[*state % connections], PM_WIRE_END,
			    size, 0);
	}
	/* They stay open; what is not kept is closed by the end of us. */
	return fd[0];
}

static void
test_mixed(void)
{
	uint64_t state = seed;
	int good = 1;

	receiver_break_us = SECOND;
	for (unsigned i = 0; i < 60 && good; i++) {
		unsigned connections = 1 + i % 4;
		enum pm_status status = receiver_start(SECOND);
		int last, first;

		sending.size = 1 + mix(state) % 60000;
		first = say_mixed(&state, sending.size, connections);
		status = pm_receive_meet(&receiver);
		if (status == PM_OK)
			status = receive_all();
		good = status == PM_END && received == sending.size;
		if (!good)
			printf("# %u: %d at %llu of %llu: %s\n", i, status,
			    (unsigned long long)received,
			    (unsigned long long)sending.size,
			    receiver_fault.text);
		pm_receive_close(&receiver);
		last = first + (int)connections;
		while (first < last)
			close(first++);
	}
	CHECK(good);
	receiver_break_us = 0;
}

/* What the receiver says of a stream that is wrong. */
static int
refuses(const uint8_t *bytes, size_t size)
{
	enum pm_status status = receiver_start(SECOND);
	int fd = connect_raw();

	(void)say_hello(fd, 0, 1);
	(void)say(fd, bytes, size);
	status = pm_receive_meet(&receiver);
	if (status == PM_OK)
		status = receive_all();
	pm_receive_close(&receiver);
	close(fd);
	if (status != PM_ERR_TRUNCATED)
		printf("# %d\n", status);
	return status == PM_ERR_TRUNCATED;
}

static void
test_nonsense(void)
{
	static uint8_t bytes[20000];
	const uint64_t window = UINT64_C(32) * PM_WIRE_DATA_MAX;
	size_t size = 0;

	sending.size = 1000;
	/* More than may be under way, and the first byte never comes. */
	for (unsigned i = 0; i < 200; i++)
		size += put_frame(bytes + size, PM_WIRE_DATA, 1 + 2 * i, 1);
	CHECK(refuses(bytes, size) && strstr(receiver_fault.text,
	    "sent more than it was asked for") != NULL);
	size = put_frame(bytes, PM_WIRE_DATA, window + 1, 1);
	CHECK(refuses(bytes, size) && strstr(receiver_fault.text,
	    "from nowhere") != NULL);
	size = put_frame(bytes, PM_WIRE_DATA, UINT64_MAX - 100, 1);
	CHECK(refuses(bytes, size));
	/* Two ends, and bytes behind an end, before and after it is said. */
	size = put_frame(bytes, PM_WIRE_END, 10, 0);
	size += put_frame(bytes + size, PM_WIRE_END, 11, 0);
	CHECK(refuses(bytes, size));
	size = put_frame(bytes, PM_WIRE_END, 10, 0);
	size += put_frame(bytes + size, PM_WIRE_DATA, 5, 6);
	CHECK(refuses(bytes, size));
	size = put_frame(bytes, PM_WIRE_DATA, 5, 6);
	size += put_frame(bytes + size, PM_WIRE_END, 10, 0);
	size += put_frame(bytes + size, PM_WIRE_DATA, 0, 5);
	CHECK(refuses(bytes, size));
	/* What only the other side may say. */
	size = put_frame(bytes, PM_WIRE_ACK, 0, 0);
	CHECK(refuses(bytes, size));
	size = put_frame(bytes, PM_WIRE_DATA, 0, 0);
	CHECK(refuses(bytes, size));
}

/*
 * While bytes of a frame wait to be written, its connection breaks, and what
 * comes on another takes its place in memory.  A child is the sender, and
 * reads what is written.
 */
static int waits_in, waits_out;

static void
wait_until_read(int fd)
{
	for (int left = 1; left > 0; child_nap(1))
		if (ioctl(fd, SIOCOUTQ, &left) != 0)
			child_fail("SIOCOUTQ");
}

static void
break_under_write(int in, int out)
{
	static uint8_t bytes[100000];
	int first, second;
	char go, right;

	close(waits_in);
	if (!child_hear(in, &go, 1))
		return;
	first = connect_raw();
	second = connect_raw();
	put_frame(bytes, PM_WIRE_DATA, 0, 50000);
	(void)say_hello(first, 0, 2);
	(void)say_hello(second, 1, 2);
	/* A part of a frame, which is waited with for room. */
	(void)say(first, bytes, PM_WIRE_HEAD_SIZE + 40000);
	wait_until_read(first);
	wait_until_read(second);
	close(first);
	first = connect_raw();
	(void)say_hello(first, 0, 2);
	wait_until_read(first);
	(void)say_frame(second, PM_WIRE_DATA, 50000, 50000);
	wait_until_read(second);
	/* Now there is room, and the part comes again. */
	if (!child_hear(waits_out, bytes, 65536))
		return;
	(void)say_frame(first, PM_WIRE_DATA, 0, 50000);
	(void)say_frame(first, PM_WIRE_END, 100000, 0);
	right = child_hear(waits_out, bytes, 100000) &&
	    is_right(bytes, 0, 100000);
	(void)child_tell(out, &right, 1);
	child_linger(in);
}

static void
test_pull(int may_block)
{
	static uint8_t filler[65536];
	struct child child;
	enum pm_status status = PM_OK;
	int ends[2];
	char right = 0;
	size_t moved;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0 ||
	    fcntl(ends[1], F_SETPIPE_SZ, (int)sizeof(filler)) !=
	    (int)sizeof(filler) ||
	    write(ends[1], filler, sizeof(filler)) != (ssize_t)sizeof(filler))
		child_fail("pipe");
	(void)fcntl(ends[0], F_SETFL, 0);
	if (may_block)
		(void)fcntl(ends[1], F_SETFL, 0);
	waits_out = ends[0];
	waits_in = ends[1];
	receiver_break_us = 5 * SECOND;
	child = child_start(break_under_write);
	close(ends[0]);
	if (receiver_start(SECOND) != PM_OK)
		child_fail("receiver");
	sender_go(&child);
	status = pm_receive_meet(&receiver);
	for (received = 0; received < 100000 && status == PM_OK;
	    received += moved)
		status = pm_receive_pull(&receiver, ends[1], 100000 - received,
		    &moved);
	CHECK(status == PM_OK && received == 100000);
	if (status == PM_OK)
		status = pm_receive_pull(&receiver, ends[1], 1, &moved);
	CHECK(status == PM_END && moved == 0);
	close(ends[1]);
	CHECK(child_hear(child.from, &right, 1) && right);
	pm_receive_close(&receiver);
	(void)child_end(&child);
	receiver_break_us = 0;
}

int
main(void)
{
	const char *text = getenv("PM_SEED");

	seed = text != NULL ? strtoull(text, NULL, 10) : 1;
	printf("# PM_SEED=%llu\n", (unsigned long long)seed);
	session_start(60);
	test_replies();
	test_frames();
	test_others();
	test_windows();
	test_cuts();
	test_mixed();
	test_nonsense();
	test_pull(0);
	test_pull(1);
	session_finish();
	return check_done();
}
