/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * secured.h - two channels that are each other's end, and keys for them.
 *
 * Both are in this process and take turns, which works because neither ever
 * waits.  Files are in a directory of their own, which is removed.
 */
#ifndef SECURED_H
#define SECURED_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "check.h"

#define PATIENCE_MS	10000

static char directory[] = "/tmp/pm-secured.XXXXXX";

/* A name in that directory; four of them at a time. */
static inline const char *
in_directory(const char *name)
{
	static char paths[4][128];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static inline void
give_up(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void
begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (mkdtemp(directory) == NULL)
		give_up(directory);
}

/* Remove files of these names, and the directory when it is empty. */
static inline void
forget(const char *name)
{
	unlink(in_directory(name));
	rmdir(directory);
}

static inline void
write_file(const char *name, const void *text, size_t size, mode_t mode)
{
	const char *path = in_directory(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, size) != (ssize_t)size ||
	    fchmod(fd, mode) != 0 || close(fd) != 0)
		give_up(path);
}

static inline struct pm_tls_keys *
new_secret(const char *name)
{
	struct pm_fault fault = { .error = 0 };
	struct pm_tls_keys *keys = NULL;

	unlink(in_directory(name));
	if (pm_tls_make_key(in_directory(name), &fault) != PM_OK ||
	    pm_tls_load_psk(&keys, in_directory(name), &fault) != PM_OK)
		give_up(fault.text);
	forget(name);
	return keys;
}

/* Two ends of one connection. */
static inline void
connect_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		give_up("socketpair");
}

static inline void
connect_loopback(int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(name);
	static const int on = 1;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || fds[0] < 0 ||
	    bind(listener, (struct sockaddr *)&name, size) != 0 ||
	    listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&name, &size) != 0 ||
	    connect(fds[0], (struct sockaddr *)&name, size) != 0 ||
	    (fds[1] = accept(listener, NULL, NULL)) < 0)
		give_up("loopback");
	close(listener);
	/* As pm_net_ does it; or there would be pauses of 40 ms. */
	setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static inline void
narrow(int fd, int size)
{
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

struct end {
	struct pm_channel channel;
	struct pm_fault fault;
	enum pm_status status;		/* how it went until now */
	int is_known;			/* greeted */
};

/* The first connected, the second listened; fd -1 leaves one out. */
static inline void
open_end(struct end *end, int fd, const struct pm_tls_keys *keys, int serves)
{
	*end = (struct end){ .channel.fd = -1, .is_known = fd < 0 };
	if (fd >= 0)
		end->status = pm_channel_open(&end->channel, fd, keys, serves,
		    serves ? "client" : "server", &end->fault);
}

static inline void
open_ends(struct end ends[2], int fds[2], const struct pm_tls_keys *first,
    const struct pm_tls_keys *second)
{
	open_end(&ends[0], fds[0], first, 0);
	open_end(&ends[1], fds[1], second, 1);
}

static inline void
close_ends(struct end ends[2])
{
	pm_channel_close(&ends[0].channel);
	pm_channel_close(&ends[1].channel);
}

/* One step of the handshake.  Who fails leaves, as a program would. */
static inline void
greet(struct end *end)
{
	if (end->is_known || end->status != PM_OK)
		return;
	end->status = pm_channel_greet(&end->channel, &end->is_known);
	if (end->status != PM_OK)
		pm_channel_close(&end->channel);
}

/* Go on until both know each other, or failed; 0 when they wait too long. */
static inline int
meet(struct end ends[2])
{
	for (;;) {
		struct pollfd pollers[2];
		int open = 0;

		for (int at = 0; at < 2; at++) {
			struct end *end = &ends[at];

			greet(end);
			pollers[at].fd = -1;
			if (end->is_known || end->status != PM_OK)
				continue;
			open++;
			pollers[at] = (struct pollfd){ end->channel.fd,
			    pm_channel_events(&end->channel, 0), 0 };
		}
		if (open == 0)
			return 1;
		if (poll(pollers, 2, PATIENCE_MS) <= 0)
			return 0;
	}
}

/* Receive until something comes, or how it ends. */
static inline enum pm_status
hear(struct end *end, void *buf, size_t size, size_t *got)
{
	*got = 0;
	for (;;) {
		struct pollfd poller = { end->channel.fd,
		    pm_channel_events(&end->channel, 0), 0 };
		enum pm_status status = pm_channel_recv(&end->channel, buf,
		    size, got);

		if (status != PM_OK || *got > 0)
			return status;
		if (poll(&poller, 1, PATIENCE_MS) <= 0)
			return PM_ERR_TRUNCATED;
	}
}

/* True when the end failed for that reason, and else says for which. */
static inline int
says(const struct end *end, const char *text)
{
	int same = strcmp(end->fault.text, text) == 0;

	if (!same)
		printf("# said: %s\n", end->fault.text);
	return same;
}

#endif /* SECURED_H */
