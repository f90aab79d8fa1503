/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arrivals.c - pass connections on, and write down what comes and when.
 * usage: arrivals LISTEN CONNECT NAME
 *
 * Each connection to the unix socket LISTEN is passed on to the unix socket
 * CONNECT, both ways.  What comes in is written, as it comes, to the files
 * NAME.forth and NAME.back, that of all connections one behind the other.
 * "ready" is printed once it listens.
 *
 * When all connections have ended, or at SIGTERM, it ends and writes two
 * files.  NAME.total is one line: bytes forth, microseconds from the first
 * read to the last, connections.  NAME.windows has a line for each 10 ms of
 * that time: the bytes forth that were read in it.
 */
#include <errno.h>
#include <fcntl.h>
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

#define MOST	64		/* connections, dead ones too */
#define WINDOWS	6000		/* a minute; the last has the rest */
#define WINDOW	10000u		/* us */

static int end[MOST][2];	/* of who connected, and of whom that was to */
static int record[2];		/* files: forth, back */
static unsigned had, live;
static uint64_t window[WINDOWS], total, first_us, last_us;
static volatile sig_atomic_t asked;

static void
fail(const char *what)
{
	fprintf(stderr, "arrivals: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static int
open_path(const char *path, int (*use)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0 || strlen(path) >= sizeof(at.sun_path))
		fail(path);
	strcpy(at.sun_path, path);
	if (use(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		fail(path);
	return fd;
}

static int
open_file(const char *name, const char *suffix)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s.%s", name, suffix);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		fail(path);
	return fd;
}

static void
note(uint64_t bytes)
{
	uint64_t time = now(), at;

	if (total == 0)
		first_us = time;
	last_us = time;
	at = (time - first_us) / WINDOW;
	window[at < WINDOWS ? at : WINDOWS - 1] += bytes;
	total += bytes;
}

static void
drop(unsigned i)
{
	close(end[i][0]);
	close(end[i][1]);
	end[i][0] = end[i][1] = -1;
	live--;
}

/* Pass on what there is, all of it; an end of either ends both. */
static void
pass(unsigned i, int way)
{
	static char buf[1 << 20];
	ssize_t got = read(end[i][way], buf, sizeof(buf)), put = 0;

	if (got > 0) {
		if (way == 0)
			note((uint64_t)got);
		if (write(record[way], buf, (size_t)got) != got)
			fail("record");
	}
	for (ssize_t at = 0; got > 0 && put >= 0 && at < got; at += put)
		put = send(end[i][!way], buf + at, (size_t)(got - at),
		    MSG_NOSIGNAL);
	if (got <= 0 || put < 0)
		drop(i);
}

static void
take(int listener, const char *path)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		return;
	end[had][0] = fd;
	end[had][1] = open_path(path, connect);
	had++;
	live++;
}

static void
turn(int listener, const char *path)
{
	struct pollfd polls[1 + 2 * MOST];

	polls[0] = (struct pollfd){ had < MOST ? listener : -1, POLLIN, 0 };
	for (unsigned i = 0; i < 2 * had; i++)
		polls[1 + i] = (struct pollfd){ end[i / 2][i % 2], POLLIN, 0 };
	if (poll(polls, 1 + 2 * had, -1) < 0)
		return;
	for (unsigned i = 0, most = 2 * had; i < most; i++)
		if (polls[1 + i].revents != 0 && end[i / 2][0] >= 0)
			pass(i / 2, (int)(i % 2));
	if (polls[0].revents != 0)
		take(listener, path);
}

static void
report(const char *name)
{
	int totals = open_file(name, "total"), windows;
	uint64_t us = last_us - first_us;

	dprintf(totals, "%llu %llu %u\n", (unsigned long long)total,
	    (unsigned long long)us, had);
	windows = open_file(name, "windows");
	for (uint64_t i = 0; i < WINDOWS && i <= us / WINDOW; i++)
		dprintf(windows, "%llu\n", (unsigned long long)window[i]);
	if (close(totals) != 0 || close(windows) != 0)
		fail(name);
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask };
	int listener;

	if (argc != 4)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	listener = open_path(argv[1], bind);
	record[0] = open_file(argv[3], "forth");
	record[1] = open_file(argv[3], "back");
	if (listen(listener, MOST) != 0)
		fail(argv[1]);
	puts("ready");
	fflush(stdout);
	while (!asked && (had == 0 || live > 0))
		turn(listener, argv[2]);
	report(argv[3]);
	return 0;
}
