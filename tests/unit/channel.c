/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "secured.h"
#include "tls_socket.h"

#define LARGE	(6u << 20)
#define KEPT	(PM_TLS_AHEAD + 16 * 64 + 4096)	/* encrypted bytes, at most */

static struct pm_tls_keys *keys;	/* NULL: in the clear */
static unsigned char sent[2][LARGE], received[2][LARGE + 1];
static struct end ends[2];

static void
open_known(void (*connect_both)(int fds[2]))
{
	int fds[2];

	connect_both(fds);
	open_ends(ends, fds, keys, keys);
	if (!meet(ends) || ends[0].status != PM_OK || ends[1].status != PM_OK)
		give_up("handshake");
}

/* One way of what each end has to say and to hear. */
struct way {
	size_t size, put, got;
	size_t piece;			/* received at a time */
	int is_shut, is_ended;
	size_t most;			/* bytes that waited encrypted */
	int partial;			/* sends that did not take all */
};

static enum pm_status
say(struct way *way, int from)
{
	struct pm_channel *channel = &ends[from].channel;
	/* A head, and a body that it is sent with. */
	size_t left = way->size - way->put, head = left < 24 ? left : 24;
	struct iovec iov[2] = { { sent[from] + way->put, head },
	    { sent[from] + way->put + head, left - head } };
	enum pm_status status;
	size_t now;

	if (left > 0) {
		status = pm_channel_send(channel, iov, 2, &now);
		way->put += now;
		way->partial += now < left;
	} else if (!way->is_shut) {
		way->is_shut = 1;
		status = pm_channel_shut(channel);
	} else
		status = PM_OK;
	if (status == PM_OK)
		status = pm_channel_flush(channel, &now);
	if (status == PM_OK && now > way->most)
		way->most = now;
	return status;
}

static enum pm_status
listen_to(struct way *way, int from)
{
	size_t room = sizeof(received[0]) - way->got, now;
	enum pm_status status = pm_channel_recv(&ends[!from].channel,
	    received[from] + way->got, way->piece < room ? way->piece : room,
	    &now);

	way->got += now;
	way->is_ended = status == PM_END;
	return status == PM_END ? PM_OK : status;
}

/* Both ways at once, as poll(2) says; 0 when that fails or takes too long. */
static int
exchange(struct way ways[2])
{
	while (!ways[0].is_ended || !ways[1].is_ended) {
		struct pollfd pollers[2];
		int ready = 0;

		for (int at = 0; at < 2; at++) {
			struct pm_channel *channel = &ends[at].channel;

			pollers[at] = (struct pollfd){ channel->fd,
			    pm_channel_events(channel, !ways[at].is_shut),
			    0 };
			if (pollers[at].events == 0)
				pollers[at].fd = -1;
			ready |= pm_channel_is_ready(channel);
		}
		if (poll(pollers, 2, ready ? 0 : PATIENCE_MS) < !ready)
			return 0;
		for (int at = 0; at < 2; at++) {
			if ((pollers[at].revents & POLLOUT) != 0 &&
			    say(&ways[at], at) != PM_OK)
				return 0;
			if (!ways[!at].is_ended &&
			    ((pollers[at].revents & ~POLLOUT) != 0 ||
			    pm_channel_is_ready(&ends[at].channel)) &&
			    listen_to(&ways[!at], !at) != PM_OK)
				return 0;
		}
	}
	return 1;
}

static int
came_whole(const struct way *way, int from)
{
	return way->got == way->size &&
	    memcmp(sent[from], received[from], way->size) == 0;
}

static void
test_sizes(void (*connect_both)(int fds[2]))
{
	static const size_t sizes[] = { 0, 1, 2, 23, 24, 25, 16383, 16384,
	    16385, 16384 + 24, 32767, 32768, 32769, 262143, 262144, 262145,
	    300000, 1048577 };
	int good = 0, count = (int)(sizeof(sizes) / sizeof(sizes[0]));

	for (int at = 0; at < count; at++) {
		struct way ways[2] = {
			{ .size = sizes[at], .piece = LARGE },
			{ .size = sizes[count - 1 - at], .piece = 1000 },
		};

		memset(received, 0, sizeof(received));
		open_known(connect_both);
		good += exchange(ways) && came_whole(&ways[0], 0) &&
		    came_whole(&ways[1], 1);
		close_ends(ends);
	}
	CHECK(good == count);
}

static void
test_narrow(void (*connect_both)(int fds[2]), int buffer)
{
	struct way ways[2] = { { .size = LARGE, .piece = LARGE },
	    { .size = LARGE, .piece = 70001 } };

	memset(received, 0, sizeof(received));
	open_known(connect_both);
	narrow(ends[0].channel.fd, buffer);
	narrow(ends[1].channel.fd, buffer);
	CHECK(exchange(ways));
	CHECK(came_whole(&ways[0], 0));
	CHECK(came_whole(&ways[1], 1));
	CHECK(ways[0].partial > 10 && ways[1].partial > 10);
	CHECK(ways[0].most <= (keys != NULL ? KEPT : 0));
	close_ends(ends);
}

static void
test_bytewise(void (*connect_both)(int fds[2]))
{
	struct way ways[2] = { { .size = 40000, .piece = 1 },
	    { .size = 40000, .piece = 1 } };

	memset(received, 0, sizeof(received));
	open_known(connect_both);
	CHECK(exchange(ways));
	CHECK(came_whole(&ways[0], 0));
	CHECK(came_whole(&ways[1], 1));
	close_ends(ends);
}

/* Buffers of all sizes on both sides. */
static void
test_pieces(void)
{
	static const size_t sizes[] = { 0, 1, 0, 16384, 3, 0, 16383, 16385,
	    100000, 0, 7, 0 };
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	struct iovec out[COUNT], in[COUNT];
	size_t total = 0, put = 0, got = 0, now, begin_out = 0;

	memset(received, 0, sizeof(received));
	for (int at = 0; at < COUNT; at++) {
		out[at] = (struct iovec){ sent[0] + total, sizes[at] };
		in[at] = (struct iovec){ received[0] + total, sizes[at] };
		total += sizes[at];
	}
	open_known(connect_loopback);
	CHECK(pm_channel_send(&ends[0].channel, out, COUNT, &put) == PM_OK);
	begin_out = put;
	CHECK(begin_out == total);
	while (got < total) {
		struct pollfd poller = { ends[1].channel.fd, POLLIN, 0 };
		struct iovec rest[COUNT];
		size_t gone = got;

		for (int at = 0; at < COUNT; at++) {
			size_t skip = gone < in[at].iov_len ? gone
			    : in[at].iov_len;

			rest[at].iov_base = (char *)in[at].iov_base + skip;
			rest[at].iov_len = in[at].iov_len - skip;
			gone -= skip;
		}
		if (pm_channel_recvv(&ends[1].channel, rest, COUNT, &now) !=
		    PM_OK || (now == 0 && poll(&poller, 1, PATIENCE_MS) <= 0))
			break;
		got += now;
	}
	CHECK(got == total && memcmp(sent[0], received[0], total) == 0);
	/* Nothing asked for is no end. */
	CHECK(pm_channel_recvv(&ends[1].channel, in, 1, &now) == PM_OK &&
	    now == 0);
	CHECK(pm_channel_recvv(&ends[1].channel, in, 0, &now) == PM_OK &&
	    now == 0);
	CHECK(pm_channel_recv(&ends[1].channel, received[0], 1, &now) ==
	    PM_OK && now == 0);
	close_ends(ends);
}

static enum pm_status
send_text(struct end *end, const char *text)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	size_t put;
	enum pm_status status = pm_channel_send(&end->channel, &iov, 1,
	    &put);

	return status == PM_OK && put < iov.iov_len ? PM_ERR_TRUNCATED
	    : status;
}

static void
test_half_close(void)
{
	char buf[100];
	size_t got;

	open_known(connect_loopback);
	CHECK(send_text(&ends[0], "last") == PM_OK);
	CHECK(pm_channel_shut(&ends[0].channel) == PM_OK);
	CHECK(hear(&ends[1], buf, sizeof(buf), &got) == PM_OK && got == 4);
	CHECK(hear(&ends[1], buf, sizeof(buf), &got) == PM_END && got == 0);
	CHECK(hear(&ends[1], buf, sizeof(buf), &got) == PM_END && got == 0);
	CHECK(pm_channel_events(&ends[1].channel, 0) == 0);
	CHECK(pm_channel_events(&ends[1].channel, 1) == POLLOUT);
	CHECK(!pm_channel_is_ready(&ends[1].channel));
	/* The other way goes on. */
	CHECK(send_text(&ends[1], "but not mine") == PM_OK);
	CHECK(hear(&ends[0], buf, sizeof(buf), &got) == PM_OK && got == 12);
	CHECK(pm_channel_shut(&ends[1].channel) == PM_OK);
	CHECK(hear(&ends[0], buf, sizeof(buf), &got) == PM_END);
	CHECK(ends[0].fault.text[0] == '\0' && ends[1].fault.text[0] == '\0');
	close_ends(ends);
	close_ends(ends);
}

/* One that leaves without a word. */
static void
test_gone(void (*connect_both)(int fds[2]))
{
	char buf[100];
	size_t got;

	open_known(connect_both);
	CHECK(send_text(&ends[0], "some") == PM_OK);
	pm_channel_close(&ends[0].channel);
	CHECK(hear(&ends[1], buf, sizeof(buf), &got) == PM_OK && got == 4);
	if (keys == NULL)
		CHECK(hear(&ends[1], buf, 1, &got) == PM_END);
	else {
		CHECK(hear(&ends[1], buf, 1, &got) == PM_ERR_PEER);
		CHECK(says(&ends[1], "was cut off in the middle"));
		CHECK(strcmp(ends[1].fault.subject, "client") == 0);
	}
	close_ends(ends);
}

/* Send until that fails. */
static enum pm_status
send_all(struct end *end)
{
	enum pm_status status = PM_OK;

	for (int turns = 0; turns < 1000 && status == PM_OK; turns++) {
		struct pollfd poller = { end->channel.fd, POLLOUT, 0 };
		struct iovec iov = { sent[0], LARGE };
		size_t put;

		status = pm_channel_send(&end->channel, &iov, 1, &put);
		(void)poll(&poller, 1, PATIENCE_MS);
	}
	return status;
}

/* A signal would end this process. */
static void
test_lost(void)
{
	struct linger abort_it = { 1, 0 };
	char byte;
	size_t got;

	open_known(connect_loopback);
	setsockopt(ends[0].channel.fd, SOL_SOCKET, SO_LINGER, &abort_it,
	    sizeof(abort_it));
	pm_channel_close(&ends[0].channel);
	CHECK(hear(&ends[1], &byte, 1, &got) == PM_ERR_PEER);
	CHECK(says(&ends[1], "Connection reset by peer"));
	CHECK(strcmp(ends[1].fault.subject, "client") == 0);
	close_ends(ends);

	open_known(connect_loopback);
	setsockopt(ends[1].channel.fd, SOL_SOCKET, SO_LINGER, &abort_it,
	    sizeof(abort_it));
	pm_channel_close(&ends[1].channel);
	CHECK(send_all(&ends[0]) == PM_ERR_PEER);
	CHECK(says(&ends[0], "Connection reset by peer") ||
	    says(&ends[0], "Broken pipe"));
	close_ends(ends);

	open_known(connect_pair);
	pm_channel_close(&ends[1].channel);
	CHECK(send_all(&ends[0]) == PM_ERR_PEER);
	CHECK(says(&ends[0], "Broken pipe"));
	close_ends(ends);
}

/* Bytes that came already, and that poll(2) does not know of. */
static void
test_ready(void)
{
	struct iovec iov = { sent[0], 2 * PM_TLS_RECORD + 10 };
	static const size_t pieces[] = { PM_TLS_RECORD, PM_TLS_RECORD, 5 };
	struct pollfd poller = { .events = POLLIN };
	size_t now;

	open_known(connect_pair);
	poller.fd = ends[1].channel.fd;
	CHECK(!pm_channel_is_ready(&ends[1].channel));
	CHECK(pm_channel_send(&ends[0].channel, &iov, 1, &now) == PM_OK &&
	    now == iov.iov_len);
	CHECK(poll(&poller, 1, PATIENCE_MS) == 1);
	for (int at = 0; at < 3; at++) {
		CHECK(pm_channel_recv(&ends[1].channel, received[0],
		    pieces[at], &now) == PM_OK && now == pieces[at]);
		CHECK(pm_channel_is_ready(&ends[1].channel) ==
		    (keys != NULL));
		CHECK(poll(&poller, 1, 0) == (keys == NULL));
	}
	CHECK(pm_channel_recv(&ends[1].channel, received[0], 10, &now) ==
	    PM_OK && now == 5);
	CHECK(!pm_channel_is_ready(&ends[1].channel));
	close_ends(ends);
}

/* What the other end said before it left can still be heard. */
static void
test_last_words(void)
{
	char buf[100];
	size_t got, all = 0;
	enum pm_status status;

	open_known(connect_pair);
	CHECK(send_text(&ends[1], "because") == PM_OK);
	CHECK(pm_channel_shut(&ends[1].channel) == PM_OK);
	pm_channel_close(&ends[1].channel);
	CHECK(send_all(&ends[0]) == PM_ERR_PEER);
	while ((status = hear(&ends[0], buf + all, sizeof(buf) - all, &got))
	    == PM_OK)
		all += got;
	CHECK(status == PM_END && all == 7 && memcmp(buf, "because", 7) == 0);
	close_ends(ends);
}

/* Bytes that wait go before the end. */
static void
test_shut_full(void)
{
	size_t put, left, all = 0, got;
	struct iovec iov = { sent[0], LARGE };
	enum pm_status status = PM_OK;

	memset(received, 0, sizeof(received));
	open_known(connect_pair);
	CHECK(pm_channel_send(&ends[0].channel, &iov, 1, &put) == PM_OK &&
	    put < LARGE);
	CHECK(pm_channel_shut(&ends[0].channel) == PM_OK);
	CHECK(pm_channel_flush(&ends[0].channel, &left) == PM_OK);
	CHECK((left > 0) == (keys != NULL));
	CHECK(pm_channel_events(&ends[0].channel, 0) == (left > 0
	    ? POLLIN | POLLOUT : POLLIN));
	for (int turns = 0; turns < 100000 && status == PM_OK; turns++) {
		status = pm_channel_recv(&ends[1].channel, received[0] + all,
		    LARGE, &got);
		all += got;
		if (pm_channel_flush(&ends[0].channel, &left) != PM_OK)
			break;
	}
	CHECK(status == PM_END && all == put && left == 0 &&
	    memcmp(sent[0], received[0], put) == 0);
	close_ends(ends);
}

static void
test_opening(void)
{
	struct iovec iov = { sent[0], 1 };
	size_t put;
	int fds[2];

	connect_pair(fds);
	open_ends(ends, fds, keys, keys);
	CHECK((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
	if (keys != NULL) {
		/* Nothing goes before they know each other. */
		CHECK(pm_channel_send(&ends[0].channel, &iov, 1, &put) ==
		    PM_OK && put == 0);
		CHECK(pm_channel_recv(&ends[0].channel, received, 1, &put)
		    == PM_OK && put == 0);
		CHECK(recv(fds[1], received, 1, MSG_DONTWAIT) < 0);
	}
	close_ends(ends);
	CHECK(fcntl(fds[0], F_GETFD) < 0 && fcntl(fds[1], F_GETFD) < 0);
	open_end(&ends[0], fds[0], keys, 0);
	CHECK(ends[0].status == PM_ERR_SYSTEM && ends[0].channel.fd == -1);
	CHECK(says(&ends[0], "Bad file descriptor"));
}

static void
test_all(void)
{
	printf("# %s\n", keys == NULL ? "in the clear" : "through TLS");
	test_opening();
	test_sizes(connect_pair);
	test_sizes(connect_loopback);
	test_narrow(connect_pair, 4096);
	test_narrow(connect_loopback, 65536);
	test_bytewise(connect_pair);
	test_pieces();
	test_half_close();
	test_gone(connect_pair);
	test_gone(connect_loopback);
	test_lost();
	test_ready();
	test_last_words();
	test_shut_full();
}

int
main(void)
{
	unsigned state = 12345;

	begin();
	for (size_t at = 0; at < LARGE; at++) {
		state = state * 1103515245u + 12345u;
		sent[0][at] = (unsigned char)(state >> 16);
		sent[1][at] = (unsigned char)(state >> 24);
	}
	test_all();
	keys = new_secret("secret");
	test_all();
	pm_tls_keys_free(keys);
	return check_done();
}
