/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "net.h"

#define TRY_US		3000000u	/* for one address */

static enum pm_status
bad_address(struct pm_fault *fault, const char *address)
{
	return pm_fault_set(fault, PM_ERR_REFUSED, address,
	    "is not HOST:PORT, [V6]:PORT or unix:PATH");
}

const char *
pm_net_path(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

static enum pm_status
set_path(struct pm_net *net, struct pm_fault *fault)
{
	const char *path = pm_net_path(net->text);

	net->un = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (*path == '\0' || strlen(path) >= sizeof(net->un.sun_path))
		return pm_fault_set(fault, PM_ERR_REFUSED, net->text,
		    "has a path that is empty or too long for a socket");
	memcpy(net->un.sun_path, path, strlen(path) + 1);
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
	if (to - from >= PM_NET_HOST_MAX || **port == '\0' ||
	    strspn(*port, "0123456789") != strlen(*port) ||
	    strlen(*port) > 5 || strtoul(*port, NULL, 10) > UINT16_MAX)
		return 0;
	memcpy(host, from, (size_t)(to - from));
	host[to - from] = '\0';
	return 1;
}

void
pm_net_host(const char *address, char host[PM_NET_HOST_MAX])
{
	const char *port;

	if (pm_net_path(address) != NULL || !split(address, host, &port))
		*host = '\0';
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

/* No host means loopback, or every address of the machine. */
static enum pm_status
look_up(struct pm_net *net, int listens, int anywhere, struct pm_fault *fault)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV |
		    (listens && anywhere ? AI_PASSIVE : 0),
	};
	char host[PM_NET_HOST_MAX];
	const char *port;
	int code;

	/* Only who listens may leave the port to the system. */
	if (!split(net->text, host, &port) ||
	    (!listens && strspn(port, "0") == strlen(port)))
		return bad_address(fault, net->text);
	code = getaddrinfo(*host == '\0' ? NULL : host, port, &hints,
	    &net->list);
	if (code != 0) {
		net->list = NULL;
		return pm_fault_set(fault, PM_ERR_PEER, net->text, "%s",
		    code == EAI_SYSTEM ? strerror(errno)
		    : gai_strerror(code));
	}
	for (struct addrinfo *one = net->list; one != NULL && !anywhere;
	    one = one->ai_next)
		if (!is_loopback(one->ai_addr)) {
			pm_net_free(net);
			return pm_fault_set(fault, PM_ERR_REFUSED, net->text,
			    "is not this machine, and nothing would protect "
			    "the memory on its way: use --tls-psk, ssh, or "
			    "--insecure");
		}
	return PM_OK;
}

enum pm_status
pm_net_resolve(struct pm_net *net, const char *address, int listens,
    int anywhere, struct pm_fault *fault)
{
	*net = (struct pm_net){ .text = address };
	return pm_net_path(address) != NULL ? set_path(net, fault)
	    : look_up(net, listens, anywhere, fault);
}

void
pm_net_free(struct pm_net *net)
{
	if (net->list != NULL)
		freeaddrinfo(net->list);
	net->list = NULL;
}

/*
 * Whole frames are written at once, and none should wait for the next.  Of
 * those sockets that do not find a size for themselves, ours hold several.
 */
void
pm_net_prepare(int fd)
{
	static const int on = 1, size = 1 << 20;
	struct sockaddr_storage any;
	socklen_t length = sizeof(any);

	if (getsockname(fd, (struct sockaddr *)&any, &length) == 0 &&
	    any.ss_family == AF_UNIX)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size,
		    sizeof(size));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void
pm_net_block(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

void
pm_net_name(const struct sockaddr *any, char name[PM_NET_NAME_MAX])
{
	char host[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *v4 = (const void *)any;
	const struct sockaddr_in6 *v6 = (const void *)any;

	if (any->sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(name, PM_NET_NAME_MAX, "%s:%u", host,
		    ntohs(v4->sin_port));
	} else if (any->sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(name, PM_NET_NAME_MAX, "[%s]:%u", host,
		    ntohs(v6->sin6_port));
	} else
		*name = '\0';
}

int
pm_net_is_early(int error)
{
	return error == ECONNREFUSED || error == ENOENT || error == EAGAIN ||
	    error == ECONNRESET;
}

/* One that may yet listen counts more than one that never can. */
static void
note_error(struct pm_dial *dial, int error)
{
	if (!pm_net_is_early(dial->error))
		dial->error = error;
}

/* Begin with an address; false when it failed at once. */
static int
try_one(struct pm_dial *dial, const struct sockaddr *to, socklen_t size)
{
	dial->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);
	dial->until = pm_clock_us() + TRY_US;
	if (dial->fd >= 0 && (connect(dial->fd, to, size) == 0 ||
	    errno == EINPROGRESS))
		return 1;
	note_error(dial, errno);
	pm_net_stop(dial);
	return 0;
}

static enum pm_status
try_next(struct pm_dial *dial)
{
	while (dial->next != NULL) {
		const struct addrinfo *one = dial->next;

		dial->next = one->ai_next;
		if (try_one(dial, one->ai_addr, one->ai_addrlen))
			return PM_OK;
	}
	errno = dial->error;
	return PM_ERR_PEER;
}

enum pm_status
pm_net_dial(struct pm_dial *dial, const struct pm_net *net, int *fd)
{
	*dial = (struct pm_dial){ .next = net->list, .fd = -1 };
	*fd = -1;
	if (net->list == NULL) {
		if (!try_one(dial, (const struct sockaddr *)&net->un,
		    sizeof(net->un))) {
			errno = dial->error;
			return PM_ERR_PEER;
		}
	} else if (try_next(dial) != PM_OK)
		return PM_ERR_PEER;
	return pm_net_go_on(dial, fd);
}

/* Whether the try has come to its end: 0 when it stands, or errno. */
static int
outcome(const struct pm_dial *dial)
{
	struct pollfd poller = { .fd = dial->fd, .events = POLLOUT };
	socklen_t length = sizeof(int);
	int error = 0;

	if (poll(&poller, 1, 0) <= 0)
		return pm_clock_us() < dial->until ? EINPROGRESS : ETIMEDOUT;
	if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		error = errno;
	return error;
}

enum pm_status
pm_net_go_on(struct pm_dial *dial, int *fd)
{
	int error;

	*fd = -1;
	while ((error = outcome(dial)) != 0) {
		if (error == EINPROGRESS)
			return PM_OK;
		pm_net_stop(dial);
		note_error(dial, error);
		if (try_next(dial) != PM_OK)
			return PM_ERR_PEER;
	}
	pm_net_prepare(dial->fd);
	*fd = dial->fd;
	dial->fd = -1;
	return PM_OK;
}

void
pm_net_stop(struct pm_dial *dial)
{
	if (dial->fd >= 0)
		close(dial->fd);
	dial->fd = -1;
}
