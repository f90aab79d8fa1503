/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "listener.h"

#define BACKLOG		64

static enum pm_status
fail(struct pm_fault *fault, const char *address)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, address, "%s",
	    strerror(errno));
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
listen_unix(struct pm_listener *listener, const struct pm_net *net,
    struct pm_fault *fault)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);

	if (fd < 0)
		return fail(fault, net->text);
	listener->fd[listener->fds++] = fd;
	if (is_stale(&net->un))
		(void)unlink(net->un.sun_path);
	/* Before it listens nobody can come in: the mode is in time. */
	if (bind(fd, (const struct sockaddr *)&net->un,
	    sizeof(net->un)) != 0)
		return fail(fault, net->text);
	listener->path = pm_net_path(net->text);
	if (chmod(net->un.sun_path, 0600) != 0 || listen(fd, BACKLOG) != 0)
		return fail(fault, net->text);
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
	int fd = socket(info->ai_family, SOCK_STREAM |
	    SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
listen_inet(struct pm_listener *listener, const struct pm_net *net,
    struct pm_fault *fault)
{
	for (struct addrinfo *one = net->list; one != NULL &&
	    listener->fds < PM_LISTENER_FDS; one = one->ai_next) {
		int fd;

		if (listener->port != 0)
			share_port(one->ai_addr, listener->port);
		if ((fd = listen_one(one)) < 0) {
			/* A machine without IPv6 still has the other. */
			if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)
				continue;
			return fail(fault, net->text);
		}
		listener->fd[listener->fds++] = fd;
		listener->port = port_of(fd);
	}
	return listener->fds > 0 ? PM_OK : fail(fault, net->text);
}

enum pm_status
pm_listener_open(struct pm_listener *listener, const struct pm_net *net,
    struct pm_fault *fault)
{
	enum pm_status status;

	*listener = (struct pm_listener){ .fds = 0 };
	status = net->list == NULL ? listen_unix(listener, net, fault)
	    : listen_inet(listener, net, fault);
	if (status != PM_OK)
		pm_listener_close(listener);
	return status;
}

enum pm_status
pm_listener_take(int from, int *fd, char name[PM_NET_NAME_MAX],
    struct pm_fault *fault)
{
	struct sockaddr_storage any = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(any);

	*fd = accept4(from, (struct sockaddr *)&any, &size, SOCK_CLOEXEC |
	    SOCK_NONBLOCK);
	if (*fd < 0 && (errno == EMFILE || errno == ENFILE ||
	    errno == ENOBUFS || errno == ENOMEM))
		return fail(fault, NULL);
	/* Who connected may have left again. */
	if (*fd < 0)
		return PM_OK;
	pm_net_name((struct sockaddr *)&any, name);
	pm_net_prepare(*fd);
	return PM_OK;
}

void
pm_listener_close(struct pm_listener *listener)
{
	for (int i = 0; i < listener->fds; i++)
		close(listener->fd[i]);
	if (listener->path != NULL)
		(void)unlink(listener->path);
	*listener = (struct pm_listener){ .fds = 0 };
}
