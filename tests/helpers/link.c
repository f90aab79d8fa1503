/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.c - a link of limited rate between sockets.
 * usage: link RATE COUNT LISTEN [CONNECT]
 *
 * RATE is in bytes a second, each way; 0 is without limit.  LISTEN and CONNECT
 * are unix:PATH or tcp:PORT on this host; without CONNECT all that comes is
 * thrown away.  "ready" is printed once it can be connected to.  Each
 * connection is passed on as one of its own, both ways, and all share the
 * rate.  It ends when it has had connections and the last has ended, or at
 * SIGTERM, and writes to the file COUNT, on one line: bytes forth, bytes back,
 * connections, microseconds from the first byte to the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MOST	64u		/* connections */
#define ROOM	(256u << 10)	/* of a buffer */
#define BUFFER	(64 << 10)	/* of a socket: a link holds little */
#define TICK	10000u		/* us: how often there are new tokens */
#define WAITS	500		/* ticks for who is to be connected to */

enum way { FORTH, BACK, WAYS };

/* What goes one way: read from one descriptor, written to the other. */
struct lane {
	unsigned char buf[ROOM];
	size_t at, end;
	int over;		/* nothing more comes */
};

struct connection {
	int fd[WAYS];		/* read by FORTH, read by BACK; -1: none */
	struct lane lane[WAYS];
};

static struct connection *connections[MOST];
static uint64_t rate, tokens[WAYS], passed[WAYS], last, first_us, last_us;
static unsigned live, had;
static volatile sig_atomic_t asked;

static void
fail(const char *what)
{
	fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

/* A socket, bound and listening or connected, for a name; -1: not now. */
static int
open_name(const char *name, int (*use)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int is_unix = strncmp(name, "unix:", 5) == 0, one = 1, size = BUFFER;
	const struct sockaddr *at = is_unix ? (struct sockaddr *)&un :
	    (struct sockaddr *)&in;
	int fd = socket(at->sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	if (is_unix && strlen(name + 5) < sizeof(un.sun_path)) {
		strcpy(un.sun_path, name + 5);
	} else if (strncmp(name, "tcp:", 4) == 0) {
		in.sin_port = htons((uint16_t)strtoul(name + 4, NULL, 10));
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	} else {
		exit(2);
	}
	if (rate > 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	if (use(fd, at, is_unix ? sizeof(un) : sizeof(in)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
connect_to(const char *name)
{
	struct timespec nap = { 0, TICK * 1000 };
	int fd = -1;

	for (int i = 0; i < WAITS && !asked; i++) {
		if ((fd = open_name(name, connect)) >= 0)
			return fd;
		nanosleep(&nap, NULL);
	}
	fail(name);
	return -1;
}

static void
take(int listener, const char *name)
{
	struct connection *taken;
	int fd = accept(listener, NULL, NULL), size = BUFFER;
	unsigned i = 0;

	if (fd < 0)
		return;
	while (i < MOST && connections[i] != NULL)
		i++;
	if (i == MOST || (taken = calloc(1, sizeof(*taken))) == NULL) {
		close(fd);
		return;
	}
	if (rate > 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	taken->fd[FORTH] = fd;
	taken->fd[BACK] = name == NULL ? -1 : connect_to(name);
	taken->lane[BACK].over = name == NULL;
	for (int way = 0; way < WAYS; way++)
		if (taken->fd[way] >= 0)
			fcntl(taken->fd[way], F_SETFL, O_NONBLOCK);
	connections[i] = taken;
	live++;
	had++;
}

static void
drop(unsigned i)
{
	for (int way = 0; way < WAYS; way++)
		if (connections[i]->fd[way] >= 0)
			close(connections[i]->fd[way]);
	free(connections[i]);
	connections[i] = NULL;
	live--;
}

/* What came each TICK may go on, and what was not used is soon forgotten. */
static void
refill(void)
{
	uint64_t time = now(), ticks = (time - last) / TICK;
	uint64_t share = rate * TICK / 1000000;

	if (rate == 0) {
		tokens[FORTH] = tokens[BACK] = ROOM;
		return;
	}
	if (ticks == 0)
		return;
	last += ticks * TICK;
	for (int way = 0; way < WAYS; way++) {
		tokens[way] += share * (ticks < 8 ? ticks : 8);
		if (tokens[way] > 8 * share)
			tokens[way] = 8 * share;
	}
}

static int
retry(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static void
fetch(struct connection *connection, enum way way)
{
	struct lane *lane = &connection->lane[way];
	size_t most = tokens[way] < ROOM ? tokens[way] : ROOM;
	ssize_t got = read(connection->fd[way], lane->buf, most);

	if (got < 0 && retry())
		return;
	if (got <= 0) {
		lane->over = 1;
		if (connection->fd[!way] >= 0)
			shutdown(connection->fd[!way], SHUT_WR);
		return;
	}
	lane->at = 0;
	lane->end = (size_t)got;
	passed[way] += (uint64_t)got;
	tokens[way] -= rate > 0 ? (uint64_t)got : 0;
	last_us = now();
	if (first_us == 0)
		first_us = last_us;
}

static void
put(struct connection *connection, enum way way)
{
	struct lane *lane = &connection->lane[way];
	int to = connection->fd[!way];
	ssize_t done = (ssize_t)(lane->end - lane->at);

	if (to >= 0)
		done = send(to, lane->buf + lane->at, (size_t)done,
		    MSG_NOSIGNAL);
	if (done < 0 && retry())
		return;
	if (done < 0) {
		/* Who writes to us is to learn that nobody reads. */
		lane->at = lane->end = 0;
		lane->over = 1;
		shutdown(connection->fd[way], SHUT_RD);
		return;
	}
	lane->at += (size_t)done;
}

static int
is_full(const struct lane *lane)
{
	return lane->at < lane->end;
}

/* Wait for what can be done, a tick at most, and do it. */
static void
turn(int listener, const char *name)
{
	static unsigned begin;	/* another one is the first each time */
	struct pollfd polls[1 + MOST * WAYS] = { { listener, POLLIN, 0 } };

	refill();
	for (unsigned i = 0; i < MOST * WAYS; i++) {
		struct connection *c = connections[i / WAYS];
		unsigned way = i % WAYS;
		struct pollfd *it = &polls[1 + i];

		it->fd = -1;
		if (c == NULL)
			continue;
		if (!c->lane[way].over && !is_full(&c->lane[way]) &&
		    tokens[way] > 0)
			it->events |= POLLIN;
		if (is_full(&c->lane[!way]))
			it->events |= POLLOUT;
		if (it->events != 0)
			it->fd = c->fd[way];
	}
	if (poll(polls, 1 + MOST * WAYS, TICK / 1000) < 0)
		return;
	for (unsigned n = 0; n < MOST * WAYS; n++) {
		unsigned i = (begin + n) % (MOST * WAYS), way = i % WAYS;
		struct connection *c = connections[i / WAYS];
		struct pollfd *it = &polls[1 + i];

		if (it->fd < 0 || it->revents == 0)
			continue;
		if ((it->events & POLLIN) != 0 && tokens[way] > 0)
			fetch(c, way);
		if (is_full(&c->lane[!way]))
			put(c, !way);
		if (is_full(&c->lane[way]))
			put(c, way);
	}
	begin += WAYS;
	for (unsigned i = 0; i < MOST; i++) {
		struct connection *c = connections[i];

		if (c != NULL && c->lane[FORTH].over && c->lane[BACK].over &&
		    !is_full(&c->lane[FORTH]) && !is_full(&c->lane[BACK]))
			drop(i);
	}
	if (polls[0].revents != 0)
		take(listener, name);
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask };
	int listener;
	FILE *count;

	if (argc < 4 || argc > 5)
		return 2;
	rate = strtoull(argv[1], NULL, 10);
	sigaction(SIGTERM, &action, NULL);
	if ((listener = open_name(argv[3], bind)) < 0 ||
	    listen(listener, MOST) != 0)
		fail(argv[3]);
	puts("ready");
	fflush(stdout);
	last = now();
	while (!asked && (had == 0 || live > 0))
		turn(listener, argc > 4 ? argv[4] : NULL);
	if ((count = fopen(argv[2], "w")) == NULL)
		fail(argv[2]);
	fprintf(count, "%llu %llu %u %llu\n", (unsigned long long)passed[FORTH],
	    (unsigned long long)passed[BACK], had,
	    (unsigned long long)(last_us - first_us));
	return fclose(count) != 0;
}
