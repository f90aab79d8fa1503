/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A sender against a receiver that cuts, repeats, lies and changes: what it
 * hears in the end is right, and it does not wait for ever.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include "check.h"
#include "clock.h"
#include "hostile.h"

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
	int fd = welcome(from, 1, 0);

	if (hear_all(fd, 0) != sending.size)
		return 0;
	pm_wire_pack_head(&head, bytes);
	memset(bytes + PM_WIRE_HEAD_SIZE, 0, 4);
	fill(bytes + PM_WIRE_HEAD_SIZE + 4, TEXT_AT, 3000);
	for (size_t i = 0; i < sizeof(bytes); i++)
		if (!say(fd, bytes + i, 1))
			return 0;
	return hear_bye(fd);
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
	sending.break_us = 20 * SECOND;
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
	    .frames = 16, .break_us = 20 * SECOND };
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
	uint64_t at = 0;

	/* Small ones that go together count as one. */
	while (at <= 16 * PM_WIRE_DATA_MAX && has_words(fd, 200) &&
	    hear_frame(fd, &head, &is_wrong) && !is_wrong)
		at = head.offset + head.size;
	return at > 8 * PM_WIRE_DATA_MAX && at <= 16 * PM_WIRE_DATA_MAX &&
	    say_frame(fd, PM_WIRE_ACK, at, 0) &&
	    hear_all(fd, at) == sending.size && part(fd, 1);
}

/* Hear what comes, and acknowledge it if it is new, until no more does. */
static int
hear_until_silent(int fd, uint64_t *at)
{
	struct pm_wire_head head;
	int is_wrong = 0;

	while (has_words(fd, 200)) {
		if (!hear_any(fd, &head, &is_wrong) || is_wrong)
			return 0;
		if (head.offset + head.size <= *at)
			continue;
		*at = head.offset + head.size;
		if (!say_frame(fd, PM_WIRE_ACK, *at, 0))
			return 0;
	}
	return 1;
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
	uint64_t at = 0, before;

	second = greet(from, &hello);
	/* All that may be under way comes here, and nothing is said of it. */
	while (has_words(first, 200)) {
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
	/* Nothing of that is wanted; more is, as long as more comes. */
	first = welcome(from, 1, at);
	if (!hear_until_silent(first, &at))
		return 0;
	/* Now the one that was under way is there. */
	before = at;
	return hear_until_silent(second, &at) &&
	    hear_until_silent(first, &at) && at > before &&
	    (close(first), close(second), 1);
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
	    .frames = 1024, .break_us = 20 * SECOND };
	CHECK(arrives(count_window));
	sending.frames = 16;
	sending.break_us = SECOND;
	sending.connections = 2;
	CHECK(send_to(acknowledge_early) && sent.ended == PM_ERR_PEER);
	sending.connections = 1;
	CHECK(send_to(count_tries) && sent.ended == PM_ERR_PEER);
}

int
main(void)
{
	session_start(300);
	test_replies();
	test_frames();
	test_others();
	test_windows();
	session_finish();
	return check_done();
}
