/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session.h - both ends of a session: the sender in a child, the receiver
 * here, over a unix socket in a directory of its own.
 *
 * The stream is made of any bytes, each of which is known by its offset.
 * Whoever includes it defines _GNU_SOURCE, for memfd_create.
 */
#ifndef SESSION_H
#define SESSION_H

#include <sys/ioctl.h>
#include <sys/mman.h>

#include "child.h"
#include "receive.h"
#include "transmit.h"

#define SECOND		1000000u
#define JUNK		1000u		/* before the input, in its file */
#define TEXT_AT		(UINT64_C(1) << 40)	/* a text is as bytes there */

static char session_directory[] = "/tmp/pm-session-XXXXXX";
static char session_address[64];
static struct pm_net session_net;

/* Every test has to be over in time. */
static inline void
session_start(unsigned seconds)
{
	if (mkdtemp(session_directory) == NULL)
		child_fail("mkdtemp");
	snprintf(session_address, sizeof(session_address), "unix:%s/s",
	    session_directory);
	if (pm_net_resolve(&session_net, session_address, 0, 0, NULL) != PM_OK)
		child_fail("resolve");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(seconds);
}

static inline void
session_finish(void)
{
	(void)unlink(pm_net_path(session_address));
	(void)rmdir(session_directory);
}

static inline uint64_t
mix(uint64_t x)
{
	x = (x + 1) * 0x9e3779b97f4a7c15u;
	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9u >> 8;
}

static inline uint8_t
byte_at(uint64_t offset)
{
	return (uint8_t)(mix(offset / 4) >> (offset % 4 * 8));
}

static inline void
fill(uint8_t *buf, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		buf[i] = byte_at(at + i);
}

static inline int
is_right(const uint8_t *buf, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (buf[i] != byte_at(at + i))
			return 0;
	return 1;
}

static inline struct pm_digest
hash_before(uint64_t offset)
{
	uint8_t *all = malloc(offset + 1);
	struct pm_digest hash;

	if (all == NULL)
		child_fail("malloc");
	fill(all, 0, offset);
	hash = pm_hash_bytes(all, offset);
	free(all);
	return hash;
}

/* What the sender is to do, and what came of it. */
struct sending {
	uint64_t size;			/* of the input */
	int is_file;
	int pushes;			/* and does not write */
	unsigned connections;
	uint32_t frames;
	uint64_t break_us;
	int dribbles;			/* its input comes in little pieces */
	const char *why;		/* it gives up at the end */
	const struct pm_token *resume;
};

struct sent {
	enum pm_status opened, written, ended;
	int has_result, text_is_right;
	uint32_t code, size;
	struct pm_transmit_stats stats;
	char fault[256];
};

static struct sending sending;

/* Until all of a pipe was read. */
static inline void
wait_until_empty(int fd)
{
	const struct timespec moment = { 0, 100000 };
	int left;

	while (ioctl(fd, FIONREAD, &left) == 0 && left > 0)
		nanosleep(&moment, NULL);
}

static void
feed(int in, int out)
{
	static uint8_t buf[60000];

	(void)in;
	for (uint64_t at = 0; at < sending.size;) {
		size_t now = 1 + mix(at) % (sending.dribbles ? 1000
		    : sizeof(buf));

		if (sending.dribbles)
			wait_until_empty(out);

		if (now > sending.size - at)
			now = (size_t)(sending.size - at);
		fill(buf, at, now);
		if (write(out, buf, now) != (ssize_t)now)
			return;
		at += now;
	}
}

static inline int
file_of_input(void)
{
	int fd = memfd_create("input", MFD_CLOEXEC);
	uint8_t *all = malloc(JUNK + sending.size);

	if (fd < 0 || all == NULL)
		child_fail("memfd_create");
	memset(all, 0xee, JUNK);
	fill(all + JUNK, 0, sending.size);
	if (write(fd, all, JUNK + sending.size) !=
	    (ssize_t)(JUNK + sending.size) ||
	    lseek(fd, JUNK, SEEK_SET) != JUNK)
		child_fail("write");
	free(all);
	return fd;
}

/* Something like a record: a head, and more, as large as it likes. */
static enum pm_status
pass_on(struct pm_transmit *t, uint64_t at)
{
	static uint8_t bytes[500000];
	size_t size = 1 + mix(at) % sizeof(bytes);
	size_t head = size < 48 ? size : 48;
	struct iovec iov[2] = { { bytes, head } };
	enum pm_status status;

	if (size > sending.size - at)
		size = (size_t)(sending.size - at);
	if (head > size)
		iov[0].iov_len = head = size;
	status = pm_transmit_fetch(t, iov, 1);
	if (status != PM_OK)
		return status;
	if (!sending.pushes || size == head) {
		iov[1] = (struct iovec){ bytes + head, size - head };
		status = pm_transmit_fetch(t, iov + 1, 1);
		iov[1] = (struct iovec){ bytes + head, size - head };
		return status == PM_OK ? pm_transmit_writev(t, iov, 2)
		    : status;
	}
	for (size_t left = size - head, now; left > 0 && status == PM_OK;
	    left -= now)
		status = pm_transmit_push(t, iov, t->how.input, left, &now);
	return status;
}

static inline uint64_t
record_size(uint64_t at)
{
	uint64_t size = 1 + mix(at) % 500000;

	return size < sending.size - at ? size : sending.size - at;
}

static inline void
note_result(const struct pm_transmit *t, struct sent *sent)
{
	const struct pm_transmit_result *result = pm_transmit_result(t);

	sent->stats = t->stats;
	sent->has_result = result != NULL;
	if (result == NULL)
		return;
	sent->code = result->status;
	sent->size = result->size;
	sent->text_is_right = result->text[result->size] == '\0' &&
	    is_right((const uint8_t *)result->text, TEXT_AT, result->size);
}

static void
send_all(int in, int out)
{
	static struct pm_transmit t;
	struct pm_fault fault = { .error = 0 };
	struct child feeder = { .from = -1 };
	struct pm_transmit_how how = {
		.net = &session_net, .connections = sending.connections,
		.frames = sending.frames, .wait_us = 5 * SECOND,
		.break_us = sending.break_us, .silence_us = 5 * SECOND,
		.resume = sending.resume,
	};
	struct sent sent = { .written = PM_OK };
	char go;

	if (sending.is_file)
		how.input = file_of_input();
	else {
		feeder = child_start(feed);
		how.input = feeder.from;
	}
	if (!child_hear(in, &go, 1))
		return;
	sent.opened = sent.written = pm_transmit_open(&t, &how, &fault);
	for (uint64_t at = 0; at < sending.size && sent.written == PM_OK;
	    at += record_size(at))
		sent.written = pass_on(&t, at);
	sent.ended = sent.written;
	if (sent.written == PM_OK && sending.why != NULL)
		pm_transmit_abort(&t, sending.why);
	else if (sent.written == PM_OK || pm_transmit_result(&t) != NULL)
		sent.ended = pm_transmit_end(&t);
	if (sent.opened == PM_OK)
		note_result(&t, &sent);
	snprintf(sent.fault, sizeof(sent.fault), "%s", fault.text);
	pm_transmit_close(&t);
	(void)child_tell(out, &sent, sizeof(sent));
}

/* The receiver, here. */
static struct pm_receive receiver;
static struct pm_fault receiver_fault;
static uint64_t received;		/* right bytes of the input */
static uint64_t receiver_break_us, receiver_wait_us = 5 * SECOND;
static uint32_t receiver_frames = 16;
static uint64_t receiver_step = 1;	/* it commits only multiples */

static inline enum pm_status
receiver_open(const struct pm_token *have)
{
	const struct pm_receive_how how = {
		.net = &session_net, .frames = receiver_frames,
		.wait_us = receiver_wait_us, .break_us = receiver_break_us,
		.silence_us = 5 * SECOND, .have = have,
	};

	receiver_fault = (struct pm_fault){ .error = 0 };
	received = have != NULL ? have->offset : 0;
	return pm_receive_open(&receiver, &how, &receiver_fault);
}

/* Start a sender, once somebody listens. */
static inline struct child
sender_start(void)
{
	return child_start(send_all);
}

static inline void
sender_go(const struct child *child)
{
	if (!child_tell(child->to, "g", 1))
		child_fail("write");
}

static inline struct sent
sender_end(struct child *child)
{
	struct sent sent = { .opened = PM_ERR_SYSTEM };

	if (!child_hear(child->from, &sent, sizeof(sent)))
		sent.ended = PM_ERR_SYSTEM;
	(void)child_end(child);
	return sent;
}

/* Both: a receiver that listens, and a sender that is on its way. */
static inline struct child
session_open(const struct pm_token *have)
{
	struct child child = sender_start();

	if (receiver_open(have) != PM_OK)
		child_fail(receiver_fault.text);
	sender_go(&child);
	if (pm_receive_meet(&receiver) != PM_OK)
		child_fail(receiver_fault.text);
	return child;
}

/*
 * Read up to there, or to the end, and say so; PM_ERR_MISMATCH when a byte is
 * wrong.
 */
static inline enum pm_status
receive_until(uint64_t end)
{
	static uint8_t buf[100000];

	while (received < end) {
		size_t size = 1 + mix(received) % sizeof(buf);
		struct iovec iov = { buf, size };
		enum pm_status status;

		if (size > end - received)
			iov.iov_len = size = (size_t)(end - received);
		status = pm_receive_readv(&receiver, &iov, 1);
		if (status != PM_OK)
			return status;
		if (!is_right(buf, received, size))
			return PM_ERR_MISMATCH;
		received += size;
		pm_receive_commit(&receiver, received -
		    received % receiver_step);
	}
	return PM_OK;
}

/* The same to the end, of a stream that has so many bytes. */
static inline enum pm_status
receive_all(void)
{
	struct iovec iov = { &(char){ 0 }, 1 };
	enum pm_status status = receive_until(sending.size);

	return status == PM_OK ? pm_receive_readv(&receiver, &iov, 1) : status;
}

/* Say how it ended, with a text of so many bytes. */
static inline enum pm_status
answer(uint32_t code, size_t size)
{
	uint8_t *text = malloc(size + 1);
	enum pm_status status;

	if (text == NULL)
		child_fail("malloc");
	fill(text, TEXT_AT, size);
	status = pm_receive_answer(&receiver, code, (char *)text, size);
	free(text);
	return status;
}

static inline struct pm_token
token_of(uint64_t offset)
{
	return (struct pm_token){ .offset = offset,
	    .hash = hash_before(offset) };
}

#endif /* SESSION_H */
