/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both ends of a session: what is written at one end is read at the other,
 * whatever breaks between.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <sys/socket.h>

#include "check.h"
#include "clock.h"
#include "session.h"

#define MIB	(UINT64_C(1) << 20)

static uint64_t
seed_of_run(void)
{
	const char *text = getenv("PM_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;

	printf("# PM_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* A whole session; true when both ends say that all is well. */
static int
passes(size_t text)
{
	struct child child = session_open(NULL);
	enum pm_status status = receive_all(), heard;
	struct sent sent;
	size_t most = text < PM_WIRE_TEXT_MAX ? text : PM_WIRE_TEXT_MAX;
	int good;

	heard = status == PM_END ? answer(0, text) : PM_END;
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	good = status == PM_END && heard == PM_OK && sent.ended == PM_OK &&
	    sent.has_result && sent.code == 0 && sent.size == most &&
	    sent.text_is_right && sent.stats.bytes >= sending.size;
	if (!good)
		printf("# %s %u: %d %d, %d %d %d: %s; %s\n",
		    sending.is_file ? "file" : "pipe", sending.connections,
		    status, heard, sent.opened, sent.written, sent.ended,
		    sent.fault, receiver_fault.text);
	return good;
}

static void
test_whole(void)
{
	static const uint64_t sizes[] = { 0, 1, PM_WIRE_DATA_MAX - 1,
	    PM_WIRE_DATA_MAX, PM_WIRE_DATA_MAX + 1, 3 * MIB + 7 };
	static const size_t texts[] = { 0, 1, 4096, PM_WIRE_TEXT_MAX - 1,
	    PM_WIRE_TEXT_MAX, PM_WIRE_TEXT_MAX + 1 };
	int good = 1;

	for (unsigned i = 0; i < 24; i++) {
		sending = (struct sending){ .size = sizes[i % 6],
		    .is_file = i & 1, .pushes = i >> 1 & 1,
		    .connections = 1 + i % 5, .frames = 16 };
		good &= passes(texts[i / 4]);
	}
	CHECK(good);
	sending = (struct sending){ .size = 40 * MIB, .connections = 5,
	    .frames = 16, .pushes = 1 };
	CHECK(passes(10));
	sending.connections = PM_WIRE_CONNECTIONS_MAX;
	sending.is_file = 1;
	CHECK(passes(10));
}

/* No receiver holds more than it said, whatever the sender has room for. */
static void
test_slow(void)
{
	uint64_t until;
	struct child child;
	struct sent sent;
	size_t least = SIZE_MAX;
	enum pm_status status = PM_OK;
	int ready;

	sending = (struct sending){ .size = 40 * MIB, .connections = 3,
	    .frames = 100, .pushes = 1 };
	child = session_open(NULL);
	/* As long as nothing is read, it all has to stay where it is. */
	until = pm_clock_us() + 5 * SECOND;
	while (status == PM_OK && pm_clock_us() < until) {
		status = pm_receive_turn(&receiver, -1, 0, until, &ready);
		if (receiver.parcels.left >= least)
			continue;
		/* It grows, and then for a while it does not. */
		least = receiver.parcels.left;
		until = pm_clock_us() + SECOND;
	}
	CHECK(status == PM_OK);
	CHECK(least >= receiver.parcels.count - receiver_frames &&
	    least < receiver.parcels.count - receiver_frames / 2);
	CHECK(receive_all() == PM_END);
	CHECK(answer(0, 0) == PM_OK);
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	CHECK(sent.ended == PM_OK && sent.stats.stalls > 0 &&
	    sent.stats.stalled_us > 0 && sent.stats.again == 0);
}

/*
 * A record that comes in little pieces does not fill the window, though
 * nothing is acknowledged before all of it is there.
 */
static void
test_dribble(void)
{
	sending = (struct sending){ .size = 500000, .frames = 16,
	    .dribbles = 1, .pushes = 1 };
	receiver_step = 300000;
	for (sending.connections = 1; sending.connections < 4;
	    sending.connections += 2)
		CHECK(passes(1));
	receiver_step = 1;
}

/* The same where nothing is read at the other end for a while. */
static void
test_slow_dribble(void)
{
	struct child child;
	enum pm_status status = PM_OK;
	uint64_t begun = 0;

	sending = (struct sending){ .size = 200000, .frames = 16,
	    .dribbles = 1, .pushes = 1, .connections = 1 };
	child = session_open(NULL);
	/* As long as something comes. */
	do {
		begun = receiver.stats.bytes;
		status = pm_receive_wait(&receiver, -1, 0, pm_clock_us() +
		    2000000);
	} while (status == PM_OK && receiver.stats.bytes > begun &&
	    begun <= sending.size);
	CHECK(status == PM_OK && begun > sending.size &&
	    receiver.stats.breaks == 0);
	CHECK(receive_all() == PM_END && answer(0, 0) == PM_OK);
	pm_receive_close(&receiver);
	CHECK(sender_end(&child).ended == PM_OK);
}

static void
test_failures(void)
{
	static char long_why[PM_WIRE_TEXT_MAX + 2];
	struct child child;
	struct sent sent;

	sending = (struct sending){ .size = 3 * MIB, .connections = 2,
	    .frames = 16, .why = "the input ended too soon" };
	child = session_open(NULL);
	/* What was on its way may come or not. */
	CHECK(receive_all() == PM_ERR_TRUNCATED && strcmp(receiver_fault.text,
	    "the sender gave up: the input ended too soon") == 0);
	CHECK(answer(3, 5) == PM_OK);
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	CHECK(sent.has_result && sent.code == 3 && sent.text_is_right);

	memset(long_why, 'y', sizeof(long_why) - 1);
	sending.why = long_why;
	sending.size = 0;
	child = session_open(NULL);
	CHECK(receive_all() == PM_ERR_TRUNCATED &&
	    strstr(receiver_fault.text, "yyyyyyyyyyyyyyyyyyyyyyyyyyy") != NULL);
	CHECK(answer(1, 0) == PM_OK);
	pm_receive_close(&receiver);
	CHECK(sender_end(&child).has_result);

	/* The receiver fails in the middle, and all of the pipe is not read. */
	sending = (struct sending){ .size = 30 * MIB, .connections = 2,
	    .frames = 16 };
	child = session_open(NULL);
	CHECK(receive_until(2 * MIB) == PM_OK);
	CHECK(answer(1, 100) == PM_OK);
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	CHECK(sent.written == PM_ERR_PEER && sent.ended == PM_OK &&
	    sent.has_result && sent.code == 1 && sent.size == 100 && sent.text_is_right);

	/* Where no break is allowed, an end of one is the end of the other. */
	child = session_open(NULL);
	CHECK(receive_until(MIB) == PM_OK);
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	CHECK(sent.written == PM_ERR_PEER && !sent.has_result &&
	    sent.fault[0] != '\0');
	child = session_open(NULL);
	CHECK(receive_until(MIB) == PM_OK);
	(void)kill(child.pid, SIGKILL);
	CHECK(receive_all() == PM_ERR_TRUNCATED);
	CHECK(strstr(receiver_fault.text, "the sender vanished") != NULL);
	CHECK(answer(1, 0) != PM_END);
	pm_receive_close(&receiver);
	(void)child_end(&child);
}

/* Break a connection, as it looks from here and there. */
static int
break_one(uint64_t chance)
{
	unsigned from = (unsigned)(chance % PM_RECEIVE_PEERS);

	for (unsigned i = 0; i < PM_RECEIVE_PEERS; i++) {
		struct pm_peer *peer = &receiver.peer[(from + i) %
		    PM_RECEIVE_PEERS];

		if (peer->state == PM_PEER_OPEN) {
			(void)shutdown(peer->channel.fd, SHUT_RDWR);
			return 1;
		}
	}
	return 0;
}

static void
test_breaks(void)
{
	uint64_t seed = seed_of_run();
	int good = 1, broken = 0;

	receiver_break_us = 5 * SECOND;
	for (unsigned i = 0; i < 8 && good; i++) {
		enum pm_status status = PM_OK, heard = PM_END;
		struct child child;
		struct sent sent;

		sending = (struct sending){ .size = 12 * MIB,
		    .is_file = i & 1, .pushes = i >> 1 & 1,
		    .connections = 1 + i % 5, .frames = 16,
		    .break_us = 5 * SECOND };
		child = session_open(NULL);
		while (status == PM_OK && received < sending.size) {
			uint64_t next = received + mix(seed + received) % MIB;

			status = receive_until(next < sending.size ? next
			    : sending.size);
			broken += break_one(mix(seed + next));
		}
		if (status == PM_OK)
			status = receive_all();
		if (status == PM_END)
			heard = answer(0, 3);
		pm_receive_close(&receiver);
		sent = sender_end(&child);
		good = status == PM_END && heard == PM_OK &&
		    sent.ended == PM_OK && sent.text_is_right &&
		    sent.stats.breaks > 0;
		if (!good)
			printf("# %u: %d %d %d, %llu: %s; %s\n", i, status,
			    heard, sent.ended, (unsigned long long)received,
			    sent.fault, receiver_fault.text);
	}
	CHECK(good);
	CHECK(broken > 40);
	receiver_break_us = 0;
}

/* A receiver ends in the middle, and another one takes its place. */
struct restart {
	int is_file;
	unsigned connections;
	uint64_t first;			/* it has committed, before that */
	uint64_t has;			/* the other one has */
	int forgets;			/* it was started without anything */
	int has_other;			/* and these are other bytes */
	int leaves_socket;
	int is_in_vain;			/* nobody may come to it */
};

static struct sent
restart(const struct restart *how, enum pm_status *status)
{
	struct pm_token none = token_of(0), has = token_of(how->has);
	struct child child;
	struct sent sent;

	receiver_break_us = 5 * SECOND;
	sending = (struct sending){ .size = 20 * MIB + 3, .frames = 16,
	    .is_file = how->is_file, .connections = how->connections,
	    .break_us = 5 * SECOND };
	child = session_open(&none);
	*status = receive_until(how->first);
	/* What is acknowledged has to be on its way. */
	(void)pm_receive_wait(&receiver, -1, 0, pm_clock_us() + 50000);
	if (how->leaves_socket)
		receiver.listener.path = NULL;
	pm_receive_close(&receiver);
	has.hash.low ^= (uint64_t)how->has_other;
	if (how->is_in_vain)
		receiver_wait_us = receiver_break_us = SECOND / 2;
	if (*status == PM_OK)
		*status = receiver_open(how->forgets ? NULL : &has);
	if (*status == PM_OK)
		*status = pm_receive_meet(&receiver);
	if (*status == PM_OK)
		*status = receive_all();
	if (*status == PM_END && answer(0, 9) != PM_OK)
		*status = PM_ERR_PEER;
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	receiver_wait_us = 5 * SECOND;
	receiver_break_us = 0;
	return sent;
}

static int
goes_on(struct restart how)
{
	enum pm_status status;
	struct sent sent = restart(&how, &status);
	int good = status == PM_END && sent.ended == PM_OK &&
	    sent.text_is_right;

	if (!good)
		printf("# %d, %d %d: %s; %s\n", status, sent.written,
		    sent.ended, sent.fault, receiver_fault.text);
	return good;
}

static int
fails(struct restart how, enum pm_status with, const char *text)
{
	enum pm_status status;
	struct sent sent;
	int good;

	how.is_in_vain = 1;
	sent = restart(&how, &status);
	good = status == PM_ERR_TRUNCATED || status == PM_ERR_PEER;
	good &= (sent.written == with || sent.ended == with) &&
	    !sent.has_result && strstr(sent.fault, text) != NULL;
	if (!good)
		printf("# %d, %d %d: %s; %s\n", status, sent.written,
		    sent.ended, sent.fault, receiver_fault.text);
	return good;
}

static void
test_restarts(void)
{
	const uint64_t at = 7 * MIB + 12345;

	/* From what is kept, to the last byte and beyond. */
	CHECK(goes_on((struct restart){ .connections = 1, .first = at,
	    .has = at }));
	CHECK(goes_on((struct restart){ .connections = 3, .first = at,
	    .has = at + 4321, .leaves_socket = 1 }));
	CHECK(goes_on((struct restart){ .connections = 5, .first = 0,
	    .has = 0 }));
	CHECK(fails((struct restart){ .connections = 2, .first = at,
	    .has = at - 5 * MIB }, PM_ERR_PEER, "cannot be read twice"));
	CHECK(fails((struct restart){ .connections = 2, .first = at,
	    .has = at, .has_other = 1 }, PM_ERR_MISMATCH,
	    "does not begin with"));
	CHECK(fails((struct restart){ .connections = 1, .first = at,
	    .forgets = 1 }, PM_ERR_PEER, "cannot be read twice"));

	/* A file can be read again, from anywhere. */
	CHECK(goes_on((struct restart){ .is_file = 1, .connections = 1,
	    .first = at, .has = at }));
	CHECK(goes_on((struct restart){ .is_file = 1, .connections = 3,
	    .first = at, .has = 1 }));
	CHECK(goes_on((struct restart){ .is_file = 1, .connections = 5,
	    .first = at, .has = at - 5 * MIB, .leaves_socket = 1 }));
	CHECK(goes_on((struct restart){ .is_file = 1, .connections = 2,
	    .first = 20 * MIB + 3, .has = 0 }));
	CHECK(goes_on((struct restart){ .is_file = 1, .connections = 2,
	    .first = at, .forgets = 1 }));
	CHECK(fails((struct restart){ .is_file = 1, .connections = 2,
	    .first = at, .has = at - 5 * MIB, .has_other = 1 },
	    PM_ERR_MISMATCH, "does not begin with"));
}

/* What a receiver has before the first byte is sent. */
static struct sent
resume(struct pm_token has, const struct pm_token *token,
    enum pm_status *status)
{
	struct child child;
	struct sent sent;

	sending.resume = token;
	child = sender_start();
	*status = receiver_open(&has);
	sender_go(&child);
	if (*status == PM_OK)
		*status = pm_receive_meet(&receiver);
	if (*status == PM_OK)
		*status = receive_all();
	if (*status == PM_END && answer(0, 0) != PM_OK)
		*status = PM_ERR_PEER;
	pm_receive_close(&receiver);
	sent = sender_end(&child);
	return sent;
}

static void
test_resume(void)
{
	const uint64_t at = 2 * MIB + 99;
	struct pm_token has = token_of(at), other = has;
	enum pm_status status;
	struct sent sent;

	other.hash.high++;
	for (int i = 0; i < 4; i++) {
		sending = (struct sending){ .size = 5 * MIB, .is_file = i & 1,
		    .connections = 2, .frames = 16, .pushes = i >> 1 };
		sent = resume(has, NULL, &status);
		CHECK(status == PM_END && sent.ended == PM_OK &&
		    sent.stats.skipped == at && sent.stats.bytes <
		    sending.size - at + 100000);
	}
	sent = resume(has, &has, &status);
	CHECK(status == PM_END && sent.ended == PM_OK);
	sent = resume(has, &other, &status);
	CHECK(sent.opened == PM_ERR_MISMATCH && status == PM_ERR_TRUNCATED);
	sent = resume(other, NULL, &status);
	CHECK(sent.written == PM_ERR_MISMATCH && status == PM_ERR_TRUNCATED);
	sent = resume(token_of(0), &has, &status);
	CHECK(sent.opened == PM_ERR_MISMATCH);
	/* All of it is there already. */
	sent = resume(token_of(sending.size), NULL, &status);
	CHECK(status == PM_END && sent.ended == PM_OK &&
	    sent.stats.skipped == sending.size);
}

/* A reader of what the receiver writes: all of it, and it is right. */
static void
drain(int in, int out)
{
	static uint8_t buf[30000];
	uint64_t at = 0;
	ssize_t got;

	while ((got = read(in, buf, 1 + mix(at) % sizeof(buf))) > 0) {
		if (!is_right(buf, at, (size_t)got))
			break;
		at += (uint64_t)got;
		if (mix(at) % 16 == 0)
			child_nap(1);
	}
	(void)child_tell(out, &at, sizeof(at));
}

/* Pulled and written into a pipe, which may block or not. */
static void
test_pull(void)
{
	for (int i = 0; i < 4; i++) {
		struct child child, drainer = child_start(drain);
		struct pm_receive_output to = { &receiver, drainer.to };
		enum pm_status status = PM_OK;
		uint64_t drained = 0;

		if (i & 1)
			(void)fcntl(drainer.to, F_SETFL, O_NONBLOCK);
		sending = (struct sending){ .size = 6 * MIB, .connections = 3,
		    .frames = 16, .break_us = 5 * SECOND };
		receiver_break_us = 5 * SECOND;
		child = session_open(NULL);
		while (status == PM_OK && received < sending.size) {
			uint8_t bytes[7000];
			struct iovec iov = { bytes, 1 + mix(received) % 7000 };
			size_t moved = 0;

			if (iov.iov_len > sending.size - received)
				iov.iov_len = sending.size - received;
			if (mix(received) % 3 == 0) {
				status = pm_receive_readv(&receiver, &iov, 1);
				moved = iov.iov_len;
				if (status == PM_OK)
					status = pm_receive_writev(&to, &iov,
					    1);
			} else
				status = pm_receive_pull(&receiver, drainer.to,
				    sending.size - received, &moved);
			received += moved;
			pm_receive_commit(&receiver, received);
			if (i >= 2 && mix(received) % 16 == 0)
				(void)break_one(mix(received));
		}
		if (status == PM_OK)
			status = receive_all();
		CHECK(status == PM_END && answer(0, 0) == PM_OK);
		pm_receive_close(&receiver);
		CHECK(sender_end(&child).ended == PM_OK);
		close(drainer.to);
		drainer.to = -1;
		CHECK(child_hear(drainer.from, &drained, sizeof(drained)) &&
		    drained == sending.size);
		(void)child_end(&drainer);
	}
	receiver_break_us = 0;
}

int
main(void)
{
	session_start(300);
	test_whole();
	test_slow();
	test_dribble();
	test_slow_dribble();
	test_failures();
	test_breaks();
	test_restarts();
	test_resume();
	test_pull();
	session_finish();
	return check_done();
}
