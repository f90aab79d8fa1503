/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * breaker.c - a link between two ports of this host that does not last.
 * usage: breaker SEED MEAN LISTEN CONNECT
 *
 * Each connection to the port LISTEN is passed on to the port CONNECT, until
 * it breaks after some bytes, MEAN of them on average: by a reset at both
 * ends, by an end at both, or by silence, where all is swallowed for
 * three seconds.  What it had read and not passed on is lost.  "ready" is
 * printed once it listens; it ends by a signal.
 */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM	(64u << 10)

static uint64_t state;

/* xorshift64*, by Marsaglia and Vigna. */
static uint64_t
chance(uint64_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * UINT64_C(2685821657736338717) >> 11) % below;
}

static int
open_port(const char *port, int (*use)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd >= 0 && use(fd, (const struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void
reset(int fd)
{
	const struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

static void
break_up(int a, int b)
{
	switch (chance(3)) {
	case 0:
		reset(a);
		reset(b);
		break;
	case 1:
		break;
	case 2:
		sleep(3);
		break;
	}
	_exit(0);
}

/* Pass some bytes, and fewer when it is to break. */
static uint64_t
pass(int from, int to, uint64_t most)
{
	static char buf[ROOM];
	ssize_t got = read(from, buf, sizeof(buf)), put;
	uint64_t left = (uint64_t)got < most ? (uint64_t)got : most;

	if (got <= 0)
		_exit(0);
	for (uint64_t at = 0; at < left; at += (uint64_t)put)
		if ((put = write(to, buf + at, left - at)) <= 0)
			_exit(0);
	return left;
}

static void
serve(int a, const char *port, uint64_t mean)
{
	uint64_t left = chance(2 * mean) + 1;
	int b = open_port(port, connect);

	if (b < 0)
		_exit(0);
	while (left > 0) {
		struct pollfd polls[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };

		if (poll(polls, 2, -1) < 0)
			_exit(0);
		if (polls[0].revents != 0)
			left -= pass(a, b, left);
		if (polls[1].revents != 0 && left > 0)
			left -= pass(b, a, left);
	}
	break_up(a, b);
}

int
main(int argc, char *argv[])
{
	int listener, fd;

	if (argc != 5 || (listener = open_port(argv[3], bind)) < 0 ||
	    listen(listener, 16) != 0)
		return 2;
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		uint64_t next = chance(UINT64_MAX);

		if (fork() == 0) {
			close(listener);
			state = next | 1;
			serve(fd, argv[4], strtoull(argv[2], NULL, 10));
		}
		close(fd);
	}
	return 1;
}
