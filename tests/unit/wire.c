/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* pipe2 */
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "bytes.h"
#include "check.h"
#include "child.h"
#include "record.h"
#include "wire.h"

enum { DATA = 1, END = 2, ABORT = 3, RESULT = 4, BYE = 5 };

#define HELLO_SIZE	16u

static struct pm_wire wire;
static struct pm_fault fault;
static struct pm_wire_result result;

/* Words of the other end, as bytes. */
static uint8_t said[4 * PM_WIRE_TEXT_MAX];
static size_t size;

static void
say_bytes(const void *bytes, size_t count)
{
	memcpy(said + size, bytes, count);
	size += count;
}

static void
say_hello(uint64_t newest, uint64_t oldest)
{
	say_bytes(PM_WIRE_SIGNATURE, 8);
	pm_put_le(said + size, newest, 2);
	pm_put_le(said + size + 2, oldest, 2);
	pm_put_le(said + size + 4, 0, 4);
	size += 8;
}

static void
say_head(uint32_t type, uint32_t count)
{
	pm_put_le(said + size, type, 4);
	pm_put_le(said + size + 4, count, 4);
	size += 8;
}

static void
say_frame(uint32_t type, const void *bytes, uint32_t count)
{
	say_head(type, count);
	say_bytes(bytes, count);
}

static void
say_result(uint32_t status, const void *text, uint32_t count)
{
	say_head(RESULT, count + 4);
	pm_put_le(said + size, status, 4);
	size += 4;
	say_bytes(text, count);
}

/* A connection: the other end is ends[1]. */
static int ends[2];

static void
connect_ends(void)
{
	int room = 8 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		child_fail("socketpair");
	(void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	fault = (struct pm_fault){ .error = 0 };
}

static void
disconnect(void)
{
	close(ends[0]);
	close(ends[1]);
}

/* Send the first count bytes of what is to be said, and no more ever. */
static void
speak(size_t count)
{
	if (!child_tell(ends[1], said, count))
		child_fail("write");
	shutdown(ends[1], SHUT_WR);
}

static enum pm_status
welcome(void)
{
	return pm_wire_welcome(&wire, ends[0], 5, "peer", &fault);
}

static enum pm_status
greet(unsigned seconds)
{
	return pm_wire_greet(&wire, ends[0], seconds, "peer", &fault);
}

static enum pm_status
read_wire(void *buf, size_t count)
{
	struct iovec iov[2] = {
		{ buf, count / 3 }, { (char *)buf + count / 3,
		    count - count / 3 },
	};

	return pm_wire_readv(&wire, iov, 2);
}

/* All of a dialogue of a sender that sends 14 bytes. */
static void
say_all(void)
{
	size = 0;
	say_hello(PM_WIRE_VERSION, PM_WIRE_VERSION);
	say_frame(DATA, "a", 1);
	say_frame(DATA, "", 0);
	say_frame(DATA, "stream ", 7);
	say_frame(DATA, "passed", 6);
	say_frame(END, "", 0);
}

/* The status that a receiver ends with; PM_END when it got all. */
static enum pm_status
receive_all(void)
{
	char buf[15] = "";
	enum pm_status status = welcome();

	if (status == PM_OK)
		status = read_wire(buf, 5);
	if (status == PM_OK)
		status = read_wire(buf + 5, 9);
	if (status == PM_OK && strcmp(buf, "astream passed") != 0)
		return PM_ERR_MISMATCH;
	return status == PM_OK ? read_wire(buf, 1) : status;
}

static size_t split_at;

/* Say the first part, wait until it was read, and say the rest. */
static void
speak_in_two(int in, int out)
{
	uint8_t hello[HELLO_SIZE];
	int unread = 1;

	(void)in;
	(void)out;
	close(ends[0]);
	child_tell(ends[1], said, split_at);
	for (int i = 0; i < 5000 && unread > 0; i++) {
		if (ioctl(ends[1], SIOCOUTQ, &unread) != 0)
			child_fail("SIOCOUTQ");
		if (unread > 0)
			child_nap(1);
	}
	child_tell(ends[1], said + split_at, size - split_at);
	/* Unread, it would make a reset of the end. */
	child_hear(ends[1], hello, sizeof(hello));
	close(ends[1]);
}

static void
check_splits(void)
{
	int good = 1;

	say_all();
	for (split_at = 0; split_at < size; split_at++) {
		struct child child;

		connect_ends();
		child = child_start(speak_in_two);
		close(ends[1]);
		good &= receive_all() == PM_END;
		close(ends[0]);
		good &= child_end(&child) == 0;
	}
	CHECK(good);
}

static void
check_cuts(void)
{
	int good = 1;

	say_all();
	for (size_t cut = 0; cut < size; cut++) {
		connect_ends();
		speak(cut);
		good &= receive_all() == PM_ERR_TRUNCATED &&
		    fault.text[0] != '\0';
		disconnect();
	}
	CHECK(good);
	connect_ends();
	speak(size);
	CHECK(receive_all() == PM_END && wire.ended && !wire.bare);
	CHECK(read_wire(said, 1) == PM_END);
	disconnect();

	/* A peer that is reset in the middle cut the stream as well. */
	connect_ends();
	child_tell(ends[1], said, HELLO_SIZE + 8 + 1 + 8 + 8 + 3);
	CHECK(welcome() == PM_OK);
	close(ends[1]);
	CHECK(read_wire(said, 14) == PM_ERR_TRUNCATED);
	close(ends[0]);
}

/* What a sender says behind its hello is refused as nonsense. */
static int
is_garbled(void)
{
	char buf[8];
	enum pm_status status;

	connect_ends();
	speak(size);
	status = welcome();
	if (status == PM_OK)
		status = read_wire(buf, 8);
	disconnect();
	return status == PM_ERR_CORRUPT &&
	    strcmp(fault.text, "sent a frame that makes no sense") == 0;
}

static void
check_hostile_sender(void)
{
	static const uint32_t types[] = { 0, RESULT, BYE, 6, 255, 0x101,
	    0x1000001, UINT32_MAX };
	static const uint32_t sizes[] = { PM_WIRE_FRAME_MAX + 1, 1u << 31,
	    UINT32_MAX };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size = 0;
		say_hello(1, 1);
		say_frame(types[i], "12345678", 8);
		CHECK(is_garbled());
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size = 0;
		say_hello(1, 1);
		say_head(DATA, sizes[i]);
		say_bytes("12345678", 8);
		CHECK(is_garbled());
	}
	/* The largest is allowed. */
	size = 0;
	say_hello(1, 1);
	say_head(DATA, PM_WIRE_FRAME_MAX);
	say_bytes("12345678", 8);
	connect_ends();
	speak(size);
	CHECK(welcome() == PM_OK && read_wire(said, 8) == PM_OK &&
	    wire.left == PM_WIRE_FRAME_MAX - 8);
	disconnect();
}

static enum pm_status
welcome_of(const char *bytes, size_t count)
{
	enum pm_status status;

	connect_ends();
	size = 0;
	say_bytes(bytes, count);
	speak(size);
	status = welcome();
	disconnect();
	return status;
}

static void
check_hellos(void)
{
	uint8_t answer[HELLO_SIZE];

	CHECK(welcome_of("GET / HTTP/1.1\r\n\r\n", 18) == PM_ERR_CORRUPT);
	CHECK(strcmp(fault.text, "sent neither a page stream nor the hello "
	    "of pm-send") == 0);
	CHECK(welcome_of("\0\0\0\0\0\0\0\0", 8) == PM_ERR_CORRUPT);
	CHECK(welcome_of("", 0) == PM_ERR_TRUNCATED);
	CHECK(strcmp(fault.subject, "peer") == 0);

	/* One that is too new, or too old, is answered all the same. */
	for (uint64_t version = 0; version <= 3; version++) {
		enum pm_status status;

		connect_ends();
		size = 0;
		say_hello(version, version == 3 ? 1
		    : version);
		speak(size);
		status = welcome();
		CHECK(status == (version == 1 || version == 3 ? PM_OK
		    : PM_ERR_PEER));
		CHECK(child_hear(ends[1], answer, sizeof(answer) - 1) &&
		    memcmp(answer, PM_WIRE_SIGNATURE, 8) == 0 &&
		    answer[8] == PM_WIRE_VERSION);
		disconnect();
	}
	connect_ends();
	CHECK(pm_wire_welcome(&wire, ends[0], 1, "peer", &fault) ==
	    PM_ERR_PEER && strcmp(fault.text, "does not answer") == 0);
	disconnect();
}

static void
check_bare(void)
{
	char buf[14];

	connect_ends();
	size = 0;
	say_bytes(PM_SIGNATURE "behind", 14);
	speak(size);
	CHECK(welcome() == PM_OK && wire.bare);
	CHECK(read_wire(buf, 3) == PM_OK && read_wire(buf + 3, 11) == PM_OK);
	CHECK(memcmp(buf, PM_SIGNATURE "behind", 14) == 0);
	CHECK(read_wire(buf, 1) == PM_END);
	/* There is nobody to answer to. */
	CHECK(pm_wire_answer(&wire, 0, "text", 4) == PM_OK);
	CHECK(recv(ends[1], buf, 1, MSG_DONTWAIT) < 0);
	disconnect();

	connect_ends();
	speak(size);
	CHECK(welcome() == PM_OK && read_wire(buf, 8) == PM_OK &&
	    read_wire(buf, 7) == PM_ERR_TRUNCATED);
	disconnect();
}

static void
check_abort(void)
{
	char long_text[2000];

	memset(long_text, 'x', sizeof(long_text));
	for (uint32_t count = 0; count <= 2000; count += 250) {
		connect_ends();
		size = 0;
		say_hello(1, 1);
		say_frame(ABORT, long_text, count);
		speak(size);
		CHECK(welcome() == PM_OK &&
		    read_wire(said, 1) == PM_ERR_TRUNCATED);
		CHECK(strncmp(fault.text, "the sender gave up: ", 20) == 0 &&
		    strspn(fault.text + 20, "x") == strlen(fault.text) - 20 &&
		    strlen(fault.text) >= 20 + (count < 235 ? count : 235));
		disconnect();
	}
}

/* What a sender makes of what it is told instead of a result. */
static enum pm_status
await(void)
{
	enum pm_status status;

	connect_ends();
	speak(size);
	wire = (struct pm_wire){ .fd = ends[0], .peer = "peer",
	    .fault = &fault };
	memset(&result, 0xee, sizeof(result));
	status = pm_wire_await(&wire, &result);
	if (status != PM_OK)
		disconnect();
	return status;
}

static void
check_results(void)
{
	static char text[PM_WIRE_TEXT_MAX + 1];
	uint8_t head[8];
	int good = 1;

	memset(text, 't', sizeof(text));
	size = 0;
	say_result(0, text, PM_WIRE_TEXT_MAX);
	CHECK(await() == PM_OK && result.size == PM_WIRE_TEXT_MAX &&
	    strlen(result.text) == PM_WIRE_TEXT_MAX);
	CHECK(child_hear(ends[1], head, 8) && head[0] == BYE &&
	    pm_get_le(head + 4, 4) == 0);
	disconnect();
	size = 0;
	say_result(3, "", 0);
	CHECK(await() == PM_OK && result.status == 3 && result.size == 0 &&
	    result.text[0] == '\0');
	disconnect();

	size = 0;
	say_result(0, text, PM_WIRE_TEXT_MAX + 1);
	CHECK(await() == PM_ERR_PEER);
	CHECK(strcmp(fault.text, "sent an answer that makes no sense") == 0);
	for (uint32_t count = 0; count < 4; count++) {
		size = 0;
		say_head(RESULT, count);
		say_bytes("1234", 4);
		CHECK(await() == PM_ERR_PEER);
	}
	size = 0;
	say_frame(DATA, "12345678", 8);
	CHECK(await() == PM_ERR_PEER);
	size = 0;
	say_head(RESULT, UINT32_MAX);
	CHECK(await() == PM_ERR_PEER);
	size = 0;
	say_result(0, "some text", 9);
	for (size_t whole = size; size-- > 0;)
		good &= whole > size && await() == PM_ERR_PEER &&
		    strcmp(fault.text, "closed the connection without a "
		    "word") == 0;
	CHECK(good);
}

/* A receiver that failed may be gone already: its word counts. */
static void
check_last_words(void)
{
	size = 0;
	say_result(1, "disk full", 9);
	connect_ends();
	child_tell(ends[1], said, size);
	close(ends[1]);
	wire = (struct pm_wire){ .fd = ends[0], .peer = "peer",
	    .fault = &fault };
	CHECK(pm_wire_await(&wire, &result) == PM_OK && result.status == 1 &&
	    strcmp(result.text, "disk full") == 0);
	close(ends[0]);
}

static void
check_sender(void)
{
	uint8_t bytes[HELLO_SIZE + 8];
	struct iovec iov[5] = { { bytes, 3 }, { bytes, 4 } };

	size = 0;
	say_hello(1, 1);
	connect_ends();
	child_tell(ends[1], said, size);
	CHECK(greet(5) == PM_OK);
	CHECK(child_hear(ends[1], bytes, HELLO_SIZE) &&
	    memcmp(bytes, said, HELLO_SIZE) == 0);
	CHECK(pm_wire_writev(&wire, iov, 2) == PM_OK);
	CHECK(child_hear(ends[1], bytes, 8 + 7) && bytes[0] == DATA &&
	    pm_get_le(bytes + 4, 4) == 7);
	CHECK(pm_wire_end(&wire) == PM_OK);
	CHECK(child_hear(ends[1], bytes, 8) && bytes[0] == END);
	iov[2] = iov[3] = iov[4] = iov[0];
	CHECK(pm_wire_writev(&wire, iov, 5) == PM_ERR_SYSTEM);

	/* An answer before the end is a reason to stop. */
	size = 0;
	say_result(3, "no", 2);
	child_tell(ends[1], said, size);
	CHECK(pm_wire_writev(&wire, iov, 1) == PM_ERR_PEER);
	CHECK(pm_wire_await(&wire, &result) == PM_OK && result.status == 3);
	/* A peer that is gone is no signal. */
	close(ends[1]);
	CHECK(pm_wire_writev(&wire, iov, 1) == PM_ERR_PEER);
	CHECK(pm_wire_abort(&wire, "why") == PM_ERR_PEER);
	close(ends[0]);

	connect_ends();
	CHECK(greet(1) == PM_ERR_PEER &&
	    strcmp(fault.text, "does not answer") == 0);
	disconnect();
	size = 0;
	say_bytes("SSH-2.0-OpenSSH_9.2\r\n", 21);
	connect_ends();
	speak(size);
	CHECK(greet(5) == PM_ERR_PEER && strcmp(fault.text,
	    "is not a pm-recv; --raw sends to anything") == 0);
	disconnect();
	size = 0;
	say_hello(9, 7);
	connect_ends();
	speak(size);
	CHECK(greet(5) == PM_ERR_PEER && strcmp(fault.text, "speaks versions "
	    "7 to 9 of the protocol, this program 1") == 0);
	disconnect();
	for (size_t count = 0; count < HELLO_SIZE; count += 5) {
		connect_ends();
		speak(count);
		CHECK(greet(5) == PM_ERR_PEER);
		disconnect();
	}
}

/* A sender that sends on for a while before it hears the answer. */
static void
send_on(int in, int out)
{
	static char answer[8 + 4 + PM_WIRE_TEXT_MAX + 1], waste[100000];
	char good;

	(void)in;
	close(ends[0]);
	size = 0;
	say_frame(DATA, waste, sizeof(waste));
	say_frame(END, "", 0);
	good = (char)(child_tell(ends[1], said, size) &&
	    child_hear(ends[1], answer, sizeof(answer) - 1) &&
	    answer[0] == RESULT && answer[8] == 1 &&
	    strspn(answer + 12, "t") == PM_WIRE_TEXT_MAX);
	size = 0;
	say_frame(BYE, "", 0);
	child_tell(ends[1], said, size);
	child_tell(out, &good, 1);
}

static void
check_answers(void)
{
	static char text[PM_WIRE_TEXT_MAX + 100];
	struct child child;
	char good = 0;

	memset(text, 't', sizeof(text));
	connect_ends();
	child = child_start(send_on);
	close(ends[1]);
	wire = (struct pm_wire){ .fd = ends[0], .peer = "peer",
	    .fault = &fault };
	/* It is cut to what a text may have. */
	CHECK(pm_wire_answer(&wire, 1, text, sizeof(text)) == PM_OK);
	CHECK(child_hear(child.from, &good, 1) && good);
	child_end(&child);
	close(ends[0]);

	/* A success that nobody heard of is none. */
	connect_ends();
	speak(0);
	wire = (struct pm_wire){ .fd = ends[0], .peer = "peer",
	    .fault = &fault };
	CHECK(pm_wire_answer(&wire, 0, "", 0) == PM_ERR_PEER);
	disconnect();
}

static int
is_as_before(const sigset_t *before)
{
	sigset_t now, pending;

	return sigprocmask(SIG_BLOCK, NULL, &now) == 0 &&
	    sigpending(&pending) == 0 &&
	    sigismember(&now, SIGPIPE) == sigismember(before, SIGPIPE) &&
	    sigismember(&pending, SIGPIPE) == 0 &&
	    (fcntl(ends[0], F_GETFL) & O_NONBLOCK) == 0;
}

static void
start_sender(int bare)
{
	connect_ends();
	wire = (struct pm_wire){ .fd = ends[0], .peer = "peer",
	    .fault = &fault, .bare = bare };
}

/* Nothing, or some bytes, before those that are moved. */
static struct iovec head;

static enum pm_status
push(int from, size_t most, size_t *moved)
{
	return pm_wire_push(&wire, &head, from, most, moved);
}

/* What is moved into a connection stands in frames of what there was. */
static void
check_push(void)
{
	static uint8_t many[100000], got[100014];
	static char text[] = "before";
	int pipes[2], other[2];
	sigset_t before;
	size_t moved;

	sigprocmask(SIG_BLOCK, NULL, &before);
	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = (uint8_t)(i * 3 + i / 253);
	if (pipe2(pipes, O_CLOEXEC) != 0)
		child_fail("pipe");
	start_sender(0);
	CHECK(child_tell(pipes[1], many, 1000));
	head = (struct iovec){ text, 6 };
	CHECK(push(pipes[0], 600, &moved) == PM_OK && moved == 600 &&
	    head.iov_len == 0);
	CHECK(push(pipes[0], 9999, &moved) == PM_OK && moved == 400 &&
	    wire.owed == 0);
	CHECK(child_hear(ends[1], got, 8 + 606 + 8 + 400) &&
	    got[0] == DATA && pm_get_le(got + 4, 4) == 606 &&
	    got[614] == DATA && pm_get_le(got + 618, 4) == 400 &&
	    memcmp(got + 8, "before", 6) == 0 &&
	    memcmp(got + 14, many, 600) == 0 &&
	    memcmp(got + 622, many + 600, 400) == 0);
	CHECK(is_as_before(&before));

	/* The input ends between two frames, so that can be told. */
	close(pipes[1]);
	head = (struct iovec){ text, 6 };
	CHECK(push(pipes[0], 10, &moved) == PM_END && moved == 0 &&
	    wire.owed == 0 && head.iov_len == 6);
	CHECK(pm_wire_abort(&wire, "why") == PM_OK);
	CHECK(child_hear(ends[1], got, 11) && got[0] == ABORT &&
	    memcmp(got + 8, "why", 3) == 0);
	close(pipes[0]);
	disconnect();

	/* A bare stream has no frames. */
	if (pipe2(pipes, O_CLOEXEC) != 0)
		child_fail("pipe");
	start_sender(1);
	CHECK(child_tell(pipes[1], many, 1000));
	CHECK(push(pipes[0], 1000, &moved) == PM_OK && moved == 1000 &&
	    head.iov_len == 0);
	CHECK(child_hear(ends[1], got, 1006) &&
	    memcmp(got, "before", 6) == 0 &&
	    memcmp(got + 6, many, 1000) == 0);

	/* An answer is a reason to stop, a lost peer too, and no signal. */
	disconnect();
	start_sender(0);
	CHECK(child_tell(pipes[1], many, 1000) && child_tell(ends[1], "x", 1));
	CHECK(push(pipes[0], 10, &moved) == PM_ERR_PEER &&
	    moved == 0);
	disconnect();
	start_sender(1);
	close(ends[1]);
	CHECK(push(pipes[0], 10, &moved) == PM_ERR_PEER &&
	    moved == 0 && is_as_before(&before));
	close(ends[0]);
	close(pipes[0]);
	close(pipes[1]);

	/* What the kernel does not move is copied, into the same frame. */
	start_sender(0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other) != 0)
		child_fail("socketpair");
	CHECK(child_tell(other[1], many, sizeof(many)));
	head = (struct iovec){ text, 6 };
	CHECK(push(other[0], 1u << 20, &moved) == PM_ERR_REFUSED &&
	    moved == sizeof(many) && wire.owed == 0 && head.iov_len == 0);
	CHECK(child_hear(ends[1], got, sizeof(got)) &&
	    pm_get_le(got + 4, 4) == sizeof(many) + 6 &&
	    memcmp(got + 8, "before", 6) == 0 &&
	    memcmp(got + 14, many, sizeof(many)) == 0);
	disconnect();
	close(other[0]);
	close(other[1]);
}

static FILE *input;

/* Take the frame, and what it is about; then cut that, and take the rest. */
static void
cut_input(int in, int out)
{
	static uint8_t got[1u << 20];

	(void)in;
	(void)out;
	close(ends[0]);
	child_hear(ends[1], got, 100000);
	if (ftruncate(fileno(input), 0) != 0)
		child_fail("ftruncate");
	while (read(ends[1], got, sizeof(got)) > 0)
		;
}

/* One who shortens the file that is sent leaves a frame that is not full. */
static void
check_owed(void)
{
	struct child child;
	size_t moved;

	input = tmpfile();
	if (input == NULL || ftruncate(fileno(input), 2 << 20) != 0)
		child_fail("tmpfile");
	start_sender(0);
	child = child_start(cut_input);
	CHECK(push(fileno(input), 2 << 20, &moved) == PM_END &&
	    moved + wire.owed == 2 << 20 && wire.owed > 0);
	CHECK(pm_wire_abort(&wire, "why") == PM_OK);
	close(ends[1]);
	CHECK(child_end(&child) == 0);
	close(ends[0]);
	fclose(input);
}

/* Move count bytes of what the sender said on; fault says how it ended. */
static enum pm_status
pull(size_t count, int to)
{
	enum pm_status status = PM_OK;
	size_t moved;

	while (count > 0 && status == PM_OK) {
		status = pm_wire_pull(&wire, to, count, &moved);
		count -= moved;
	}
	return status;
}

static void
check_pull(void)
{
	char got[15] = "";
	int pipes[2], good = 1;

	if (pipe2(pipes, O_CLOEXEC) != 0)
		child_fail("pipe");
	say_all();
	connect_ends();
	speak(size);
	CHECK(welcome() == PM_OK && read_wire(got, 3) == PM_OK);
	CHECK(pull(6, pipes[1]) == PM_OK && read_wire(got + 9, 5) == PM_OK);
	CHECK(child_hear(pipes[0], got + 3, 6) &&
	    strcmp(got, "astream passed") == 0);
	CHECK(pull(1, pipes[1]) == PM_END && wire.ended);
	CHECK(pull(1, pipes[1]) == PM_END);
	disconnect();

	/* Cut anywhere behind the hello. */
	for (size_t cut = HELLO_SIZE; cut < size; cut++) {
		connect_ends();
		speak(cut);
		good &= welcome() == PM_OK &&
		    pull(15, pipes[1]) == PM_ERR_TRUNCATED &&
		    strcmp(fault.text, "the sender vanished in the middle")
		    == 0;
		disconnect();
		while (good && poll(&(struct pollfd){ .fd = pipes[0],
		    .events = POLLIN }, 1, 0) > 0)
			good &= read(pipes[0], got, 14) > 0;
	}
	CHECK(good);

	/* A bare stream begins with what was read to know it. */
	connect_ends();
	size = 0;
	say_bytes(PM_SIGNATURE "behind", 14);
	speak(size);
	CHECK(welcome() == PM_OK && wire.bare);
	CHECK(pull(8, pipes[1]) == PM_ERR_REFUSED);
	CHECK(read_wire(got, 8) == PM_OK);
	CHECK(pull(7, pipes[1]) == PM_END && wire.ended);
	CHECK(child_hear(pipes[0], got, 6) && memcmp(got, "behind", 6) == 0);
	disconnect();

	/* An output that is gone is not the sender's fault. */
	say_all();
	connect_ends();
	speak(size);
	CHECK(welcome() == PM_OK);
	close(pipes[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK(pull(1, pipes[1]) == PM_ERR_WRITE && errno == EPIPE &&
	    fault.text[0] == '\0');
	signal(SIGPIPE, SIG_DFL);
	close(pipes[1]);
	disconnect();
}

int
main(void)
{
	check_splits();
	check_cuts();
	check_hostile_sender();
	check_hellos();
	check_bare();
	check_abort();
	check_results();
	check_last_words();
	check_sender();
	check_answers();
	check_push();
	check_owed();
	check_pull();
	return check_done();
}
