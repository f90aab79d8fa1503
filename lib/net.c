/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "net.h"

#define HOST_MAX	256
#define PAUSE_MS	50		/* between two tries to connect */
#define BACKLOG		16
#define TRY_MS		1000		/* for one try, at the least */

static enum pm_status
fail(struct pm_fault *fault, enum pm_status status, const char *address)
{
	return pm_fault_set(fault, status, address, "%s", strerror(errno));
}

static enum pm_status
bad_address(struct pm_fault *fault, const char *address)
{
	return pm_fault_set(fault, PM_ERR_REFUSED, address,
	    "is not HOST:PORT, [V6]:PORT or unix:PATH");
}

/* The path of a unix socket, or NULL. */
static const char *
unix_path(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

static enum pm_status
unix_address(const char *address, struct sockaddr_un *un,
    struct pm_fault *fault)
{
	const char *path = unix_path(address);

	*un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (*path == '\0' || strlen(path) >= sizeof(un->sun_path))
		return pm_fault_set(fault, PM_ERR_REFUSED, address,
		    "has a path that is empty or too long for a socket");
	memcpy(un->sun_path, path, strlen(path) + 1);
	return PM_OK;
}

static int
split(const char *address, char *host, const char **port)
{
	const char *from = address, *to;

	if (*address == '[') {
		from++;
		if ((to = strchr(from, ']')) == NULL || to[1] != ':')
			return 0;
		*port = to + 2;
	} else {
		if ((to = strrchr(address, ':')) == NULL ||
		    strchr(address, ':') != to)
			return 0;
		*port = to + 1;
	}
	if (to - from >= HOST_MAX || **port == '\0' ||
	    strspn(*port, "0123456789") != strlen(*port) ||
	    strlen(*port) > 5 || strtoul(*port, NULL, 10) > UINT16_MAX)
		return 0;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = '\0';
	return 1;
}

static int
is_loopback(const struct sockaddr *any)
{
	const struct sockaddr_in *v4 = (const void *)any;
	const struct sockaddr_in6 *v6 = (const void *)any;

	if (any->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return any->sa_family == AF_INET6 &&
	    (IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
	    (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) &&
	    v6->sin6_addr.s6_addr[12] == 127));
}

/*
 * No host means loopback, or, where the user said --insecure to a listener,
 * every address of the machine.
 */
static enum pm_status
look_up(const char *address, int insecure, int passive,
    struct addrinfo **list, struct pm_fault *fault)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV |
		    (passive && insecure ? AI_PASSIVE : 0),
	};
	char host[HOST_MAX];
	const char *port;
	int code;

	/* Only who listens may leave the port to the system. */
	if (!split(address, host, &port) ||
	    (!passive && strspn(port, "0") == strlen(port)))
		return bad_address(fault, address);
	code = getaddrinfo(*host == '\0' ? NULL : host, port, &hints, list);
	if (code != 0)
		return pm_fault_set(fault, PM_ERR_PEER, address, "%s",
		    code == EAI_SYSTEM ? strerror(errno)
		    : gai_strerror(code));
	for (struct addrinfo *one = *list; one != NULL; one = one->ai_next)
		if (!insecure && !is_loopback(one->ai_addr)) {
			freeaddrinfo(*list);
			return pm_fault_set(fault, PM_ERR_REFUSED, address,
			    "is not this machine, and nothing would protect "
			    "the memory on its way; use ssh, or --insecure");
		}
	return PM_OK;
}

static uint64_t
milliseconds(void)
{
	return pm_clock_us() / 1000;
}

/*
 * Whole records are written at once, and none should wait for the next.  A
 * peer that vanished without a word is noticed after a minute.
 */
static void
prepare(int fd)
{
	static const int idle = 30, interval = 10, count = 3, on = 1;
	int flags = fcntl(fd, F_GETFL);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
	    sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

/* Connect by the deadline, in milliseconds of that clock. */
static int
connect_one(const struct sockaddr *to, socklen_t size, uint64_t deadline)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	socklen_t length = sizeof(int);
	int error = 0;

	if (fd < 0)
		return -1;
	if (connect(fd, to, size) != 0) {
		uint64_t now = milliseconds();
		int ms = now + TRY_MS < deadline ? (int)(deadline - now)
		    : TRY_MS;

		error = errno;
		if (error == EINPROGRESS) {
			error = ETIMEDOUT;
			if (poll(&poller, 1, ms) > 0 &&
			    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error,
			    &length) != 0)
				error = errno;
		}
	}
	if (error != 0) {
		close(fd);
		errno = error;
		return -1;
	}
	prepare(fd);
	return fd;
}

static int
connect_any(const struct addrinfo *list, uint64_t deadline)
{
	int fd = -1, refused = 0;

	for (; list != NULL && fd < 0; list = list->ai_next) {
		fd = connect_one(list->ai_addr, list->ai_addrlen, deadline);
		refused |= fd < 0 && errno == ECONNREFUSED;
	}
	/* One that may yet listen counts more than one that never can. */
	if (fd < 0 && refused)
		errno = ECONNREFUSED;
	return fd;
}

enum pm_status
pm_net_connect(const char *address, int insecure, unsigned seconds, int *fd,
    struct pm_fault *fault)
{
	uint64_t deadline = milliseconds() + (uint64_t)seconds * 1000;
	struct addrinfo *list = NULL;
	struct sockaddr_un un;
	enum pm_status status;
	int is_unix = unix_path(address) != NULL;

	status = is_unix ? unix_address(address, &un, fault)
	    : look_up(address, insecure, 0, &list, fault);
	if (status != PM_OK)
		return status;
	for (;;) {
		*fd = is_unix ? connect_one((struct sockaddr *)&un,
		    sizeof(un), deadline) : connect_any(list, deadline);
		if (*fd >= 0 || milliseconds() >= deadline ||
		    (errno != ECONNREFUSED && errno != ENOENT &&
		    errno != EAGAIN))
			break;
		(void)poll(NULL, 0, PAUSE_MS);
	}
	if (list != NULL)
		freeaddrinfo(list);
	return *fd >= 0 ? PM_OK : fail(fault, PM_ERR_PEER, address);
}

/*
 * True when a socket's file is there and no socket behind it.  A datagram
 * socket asks, because a listener would take it for a connection if one of
 * its own kind did; a live one is then of the wrong type.
 */
static int
is_stale(const struct sockaddr_un *un)
{
	struct stat st;
	int fd, stale;

	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode) ||
	    (fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return 0;
	stale = connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 &&
	    errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static enum pm_status
listen_unix(struct pm_listener *listener, const char *address,
    struct pm_fault *fault)
{
	struct sockaddr_un un;
	enum pm_status status = unix_address(address, &un, fault);
	int fd;

	if (status != PM_OK)
		return status;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(fault, PM_ERR_SYSTEM, address);
	listener->fd[listener->fds++] = fd;
	if (is_stale(&un))
		(void)unlink(un.sun_path);
	/* Before it listens nobody can come in: the mode is in time. */
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
		return fail(fault, PM_ERR_SYSTEM, address);
	listener->path = unix_path(address);
	if (chmod(un.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0)
		return fail(fault, PM_ERR_SYSTEM, address);
	return PM_OK;
}

/* Port 0 is the kernel's choice, once: all families then share it. */
static void
share_port(struct sockaddr *any, unsigned port)
{
	if (any->sa_family == AF_INET)
		((struct sockaddr_in *)(void *)any)->sin_port =
		    htons((uint16_t)port);
	else if (any->sa_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)any)->sin6_port =
		    htons((uint16_t)port);
}

static unsigned
port_of(int fd)
{
	struct sockaddr_storage any;
	socklen_t size = sizeof(any);

	if (getsockname(fd, (struct sockaddr *)&any, &size) != 0)
		return 0;
	return any.ss_family == AF_INET
	    ? ntohs(((struct sockaddr_in *)(void *)&any)->sin_port)
	    : ntohs(((struct sockaddr_in6 *)(void *)&any)->sin6_port);
}

static int
listen_one(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1, error;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (info->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
		    sizeof(one));
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static enum pm_status
listen_inet(struct pm_listener *listener, const char *address,
    int insecure, struct pm_fault *fault)
{
	struct addrinfo *list;
	enum pm_status status = look_up(address, insecure, 1, &list, fault);

	if (status != PM_OK)
		return status;
	for (struct addrinfo *one = list; one != NULL &&
	    listener->fds < PM_NET_LISTENERS; one = one->ai_next) {
		int fd;

		if (listener->port != 0)
			share_port(one->ai_addr, listener->port);
		if ((fd = listen_one(one)) < 0) {
			/* A machine without IPv6 still has the other. */
			if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)
				continue;
			status = fail(fault, PM_ERR_SYSTEM, address);
			break;
		}
		listener->fd[listener->fds++] = fd;
		listener->port = port_of(fd);
	}
	freeaddrinfo(list);
	if (status == PM_OK && listener->fds == 0)
		status = fail(fault, PM_ERR_SYSTEM, address);
	return status;
}

enum pm_status
pm_net_listen(struct pm_listener *listener, const char *address,
    int insecure, struct pm_fault *fault)
{
	enum pm_status status;

	*listener = (struct pm_listener){ .fds = 0 };
	status = unix_path(address) != NULL
	    ? listen_unix(listener, address, fault)
	    : listen_inet(listener, address, insecure, fault);
	if (status != PM_OK)
		pm_net_close(listener);
	return status;
}

enum pm_status
pm_net_accept(struct pm_listener *listener, unsigned seconds, int *fd,
    struct pm_fault *fault)
{
	uint64_t deadline = milliseconds() + (uint64_t)seconds * 1000;
	struct pollfd poller[PM_NET_LISTENERS];

	for (int i = 0; i < listener->fds; i++)
		poller[i] = (struct pollfd){ .fd = listener->fd[i],
		    .events = POLLIN };
	for (;;) {
		uint64_t now = milliseconds();
		int got;

		if (seconds > 0 && now >= deadline)
			return pm_fault_set(fault, PM_ERR_PEER, NULL,
			    "nobody connected within %u s", seconds);
		got = poll(poller, (nfds_t)listener->fds,
		    seconds > 0 ? (int)(deadline - now) : -1);
		if (got < 0 && errno != EINTR)
			return fail(fault, PM_ERR_SYSTEM, NULL);
		for (int i = 0; got > 0 && i < listener->fds; i++) {
			if (poller[i].revents == 0)
				continue;
			*fd = accept4(poller[i].fd, NULL, NULL, SOCK_CLOEXEC);
			if (*fd < 0 && (errno == EMFILE || errno == ENFILE ||
			    errno == ENOBUFS || errno == ENOMEM))
				return fail(fault, PM_ERR_SYSTEM, NULL);
			/* Who connected may have left again. */
			if (*fd < 0)
				continue;
			prepare(*fd);
			return PM_OK;
		}
	}
}

void
pm_net_close(struct pm_listener *listener)
{
	for (int i = 0; i < listener->fds; i++)
		close(listener->fd[i]);
	if (listener->path != NULL)
		(void)unlink(listener->path);
	*listener = (struct pm_listener){ .fds = 0 };
}
