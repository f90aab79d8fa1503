/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes from the other end of a session, as a receiver hears them, or a
 * sender: whatever they are, it comes to an end, and never to a good one that
 * was not said.
 *
 * The first byte says which end hears them, on how many connections, and
 * whether a hello or a reply that makes sense stands before them.  Each
 * connection's bytes follow, behind their size in two bytes; the last has the
 * rest.
 */
#define _GNU_SOURCE		/* memfd_create, accept4 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "receive.h"
#include "record.h"
#include "transmit.h"

#define CONNECTIONS	4u
#define INPUT		100000u		/* bytes that a sender has */

enum { SENDER = 1, GREETED = 8, PULLS = 16, RESUMES = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct words {
	uint8_t greeting[PM_WIRE_HELLO_SIZE];
	size_t greeting_size;
	const uint8_t *bytes;
	size_t size;
};

static struct words words[CONNECTIONS];
static unsigned connections;
static char directory[] = "/tmp/pm-fuzz-XXXXXX";
static char address[64];
static struct pm_net net;
static int nowhere = -1, input = -1;

static void
leave(void)
{
	(void)unlink(net.un.sun_path);
	(void)rmdir(directory);
}

static void
prepare(void)
{
	if (net.text != NULL)
		return;
	(void)signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(directory) == NULL)
		abort();
	snprintf(address, sizeof(address), "unix:%s/s", directory);
	nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	input = memfd_create("input", MFD_CLOEXEC);
	if (nowhere < 0 || input < 0 || ftruncate(input, INPUT) != 0 ||
	    pm_net_resolve(&net, address, 0, 0, NULL) != PM_OK)
		abort();
	(void)atexit(leave);
}

static void
put_greeting(struct words *one, unsigned number, int is_sender)
{
	const struct pm_wire_hello hello = {
		.connection = number, .connections = connections,
		.frames = 16, .break_ms = 1000, .silence_ms = 1000,
	};
	const struct pm_wire_reply reply = {
		.frames = 16, .break_ms = 1000, .silence_ms = 1000,
	};

	if (is_sender)
		pm_wire_pack_reply(&reply, one->greeting);
	else
		pm_wire_pack_hello(&hello, one->greeting);
	one->greeting_size = sizeof(one->greeting);
}

static void
divide(uint8_t how, const uint8_t *data, size_t size)
{
	connections = 1 + (how >> 1 & 3);
	for (unsigned i = 0; i < connections; i++) {
		size_t now = size;

		words[i] = (struct words){ .size = 0 };
		if (how & GREETED)
			put_greeting(&words[i], i, how & SENDER);
		if (i + 1 < connections && size >= 2) {
			now = (size_t)pm_get_le(data, 2);
			data += 2;
			size -= 2;
		}
		words[i].bytes = data;
		words[i].size = now < size ? now : size;
		data += words[i].size;
		size -= words[i].size;
	}
}

/* All that one has to say, as far as there is room, and no more ever. */
static void
speak(int fd, const struct words *one)
{
	if (one->greeting_size > 0)
		(void)send(fd, one->greeting, one->greeting_size,
		    MSG_DONTWAIT);
	if (one->size > 0)
		(void)send(fd, one->bytes, one->size, MSG_DONTWAIT);
	(void)shutdown(fd, SHUT_WR);
}

/*
 * True when a frame of that type stands in any of the words; what is not
 * read of them may be there all the same.
 */
static int
is_said(uint32_t type, int from_sender)
{
	for (unsigned i = 0; i < connections; i++) {
		struct pm_wire_head head = { .size = 0 };
		size_t at = words[i].greeting_size > 0 ? 0
		    : PM_WIRE_HELLO_SIZE;

		for (; at + PM_WIRE_HEAD_SIZE <= words[i].size;
		    at += PM_WIRE_HEAD_SIZE + head.size) {
			if (pm_wire_unpack_head(&head, words[i].bytes + at,
			    from_sender, "", NULL) != PM_OK)
				break;
			if (head.type == type && head.size <=
			    words[i].size - at - PM_WIRE_HEAD_SIZE)
				return 1;
		}
	}
	return 0;
}

static int
dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (const struct sockaddr *)&net.un, sizeof(net.un)) != 0)
		abort();
	return fd;
}

static enum pm_status
read_all(struct pm_receive *r, int pulls)
{
	static uint8_t buf[5000];
	enum pm_status status = PM_OK;

	for (size_t size = 1, moved; status == PM_OK;
	    size = size * 3 % sizeof(buf) + 1) {
		struct iovec iov = { buf, moved = size };

		status = pulls && r->bare < 0 && size % 2 == 0
		    ? pm_receive_pull(r, nowhere, size, &moved)
		    : pm_receive_readv(r, &iov, 1);
		if (moved > size || r->parcels.left > r->parcels.count)
			abort();
		if (status == PM_OK)
			pm_receive_commit(r, r->expected);
	}
	return status;
}

static void
receive(uint8_t how)
{
	static struct pm_receive r;
	const struct pm_token none = { .hash = pm_hash_bytes(NULL, 0) };
	const struct pm_receive_how options = {
		.net = &net, .frames = 16, .wait_us = 2000, .break_us = 1,
		.silence_us = 100000, .have = how & RESUMES ? &none : NULL,
	};
	struct pm_fault fault = { .error = 0 };
	enum pm_status status = pm_receive_open(&r, &options, &fault);
	int fd[CONNECTIONS], bare;

	if (status != PM_OK)
		abort();
	for (unsigned i = 0; i < connections; i++)
		speak(fd[i] = dial(), &words[i]);
	status = pm_receive_meet(&r);
	bare = r.bare >= 0;
	if (status == PM_OK)
		status = read_all(&r, how & PULLS);
	if (status == PM_END && !bare && !is_said(PM_WIRE_END, 1))
		abort();
	if (status == PM_END)
		status = pm_receive_answer(&r, 0, "well", 4);
	pm_receive_close(&r);
	for (unsigned i = 0; i < connections; i++)
		close(fd[i]);
}

/* The receiver that a sender meets: it only speaks, and does not hear. */
struct speaker {
	int listens;
	int stop[2];			/* its end is that of the run */
	pthread_t thread;
};

static void *
run_speaker(void *arg)
{
	const struct speaker *speaker = arg;
	struct pollfd poller[2] = {
		{ .fd = speaker->listens, .events = POLLIN },
		{ .fd = speaker->stop[0], .events = POLLIN },
	};
	int fd[64];
	unsigned count = 0;

	while (poll(poller, 2, -1) > 0 && poller[1].revents == 0 &&
	    count < 64) {
		fd[count] = accept4(speaker->listens, NULL, NULL,
		    SOCK_CLOEXEC);
		if (fd[count] < 0)
			continue;
		speak(fd[count], &words[count % connections]);
		count++;
	}
	while (count > 0)
		close(fd[--count]);
	return NULL;
}

static void
start_speaker(struct speaker *speaker)
{
	speaker->listens = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	(void)unlink(net.un.sun_path);
	if (bind(speaker->listens, (const struct sockaddr *)&net.un,
	    sizeof(net.un)) != 0 || listen(speaker->listens, 64) != 0 ||
	    pipe(speaker->stop) != 0 ||
	    pthread_create(&speaker->thread, NULL, run_speaker, speaker) != 0)
		abort();
}

static void
stop_speaker(struct speaker *speaker)
{
	(void)unlink(net.un.sun_path);
	close(speaker->stop[1]);
	(void)pthread_join(speaker->thread, NULL);
	close(speaker->stop[0]);
	close(speaker->listens);
}

static enum pm_status
write_all(struct pm_transmit *t)
{
	static uint8_t buf[INPUT];
	enum pm_status status = PM_OK;

	for (size_t at = 0, size = 1; at < INPUT && status == PM_OK;
	    at += size, size = size * 7 % 9000 + 1) {
		struct iovec iov = { buf, size };

		if (size > INPUT - at)
			iov.iov_len = size = INPUT - at;
		status = pm_transmit_fetch(t, &iov, 1);
		iov = (struct iovec){ buf, size };
		if (status == PM_OK)
			status = pm_transmit_writev(t, &iov, 1);
	}
	return status;
}

static void
transmit(void)
{
	static struct pm_transmit t;
	const struct pm_transmit_how options = {
		.net = &net, .input = input, .connections = connections,
		.frames = 16, .wait_us = 1000, .silence_us = 100000,
	};
	const struct pm_transmit_result *result;
	struct pm_fault fault = { .error = 0 };
	struct speaker speaker;
	enum pm_status status;

	if (lseek(input, 0, SEEK_SET) != 0)
		abort();
	start_speaker(&speaker);
	status = pm_transmit_open(&t, &options, &fault);
	if (status == PM_OK)
		status = write_all(&t);
	if (status == PM_OK)
		status = pm_transmit_end(&t);
	result = pm_transmit_result(&t);
	if (result != NULL ? !is_said(PM_WIRE_RESULT, 0) ||
	    result->size > PM_WIRE_TEXT_MAX ||
	    result->text[result->size] != '\0' : status == PM_OK)
		abort();
	if (t.needed > t.position)
		abort();
	pm_transmit_close(&t);
	stop_speaker(&speaker);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	prepare();
	divide(data[0], data + 1, size - 1);
	if (data[0] & SENDER)
		transmit();
	else
		receive(data[0]);
	return 0;
}
