/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A receiver against a sender that cuts, repeats, mixes and lies: bytes come
 * out right or not at all.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <linux/sockios.h>

#include "check.h"
#include "hostile.h"

static uint64_t seed;

static enum pm_status
receiver_start(uint64_t wait_us)
{
	const struct pm_receive_how how = {
		.net = &session_net, .frames = 16, .wait_us = wait_us,
		.break_us = receiver_break_us, .silence_us = 5 * SECOND,
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
		/* Who did not say enough is only waited for. */
		enum pm_status status = receiver_start(
		    cut < PM_WIRE_HELLO_SIZE ? 5000 : 5 * SECOND);
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
		pm_receive_close(&receiver);
		if (!good) {
			printf("# cut at %zu: %d\n", cut, status);
			break;
		}
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

	receiver_break_us = 5 * SECOND;
	for (unsigned i = 0; i < 60 && good; i++) {
		unsigned connections = 1 + i % 4;
		enum pm_status status = receiver_start(5 * SECOND);
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
	enum pm_status status = receiver_start(5 * SECOND);
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
	if (receiver_start(5 * SECOND) != PM_OK)
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
	session_start(300);
	test_cuts();
	test_mixed();
	test_nonsense();
	test_pull(0);
	test_pull(1);
	session_finish();
	return check_done();
}
