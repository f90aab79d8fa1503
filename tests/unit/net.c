/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "check.h"
#include "clock.h"
#include "listener.h"
#include "net.h"

#define PATIENCE_US	5000000u

static struct pm_fault fault;
static char directory[] = "/tmp/pm-net-XXXXXX";
static int has_v6;

static enum pm_status
resolve(const char *address, int listens, int anywhere)
{
	struct pm_net net;
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	status = pm_net_resolve(&net, address, listens, anywhere, &fault);
	if (status == PM_OK && (net.list == NULL) !=
	    (pm_net_path(address) != NULL))
		status = PM_END;
	pm_net_free(&net);
	pm_net_free(&net);
	return status;
}

/* No address, to whoever asks. */
static int
is_refused(const char *address)
{
	int refused = 1;

	for (int how = 0; how < 4; how++)
		refused &= resolve(address, how & 1, how >> 1) ==
		    PM_ERR_REFUSED && strcmp(fault.text,
		    "is not HOST:PORT, [V6]:PORT or unix:PATH") == 0;
	if (!refused)
		printf("# %s\n", address);
	return refused;
}

static void
test_addresses(void)
{
	static const char *const none[] = {
		"", ":", "host", "host:", "1234", "::1:80", "::1", "[::1]",
		"[::1]:", "[::1]80", "[::1:80", "[]80", "host:http", "host:-1",
		"host:+1", "host: 1", "host:1 ", "host:65536", "host:000080",
		"host:4294967376", "host:1:2", "/path", "tcp:/path",
	};
	char long_host[PM_NET_HOST_MAX + 16];
	int refused = 1;

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		refused &= is_refused(none[i]);
	CHECK(refused);
	memset(long_host, 'a', PM_NET_HOST_MAX);
	strcpy(long_host + PM_NET_HOST_MAX, ":1");
	CHECK(is_refused(long_host));
	/* A label of a name has at most 63 bytes, so nobody is asked. */
	CHECK(resolve(long_host + 1, 0, 1) == PM_ERR_PEER &&
	    fault.subject[0] == 'a' && fault.text[0] != '\0');
	CHECK(resolve("127.0.0.1:65535", 0, 0) == PM_OK);
	CHECK(resolve("127.0.0.1:0", 0, 1) == PM_ERR_REFUSED);
	CHECK(resolve("127.0.0.1:00", 0, 1) == PM_ERR_REFUSED);
	CHECK(resolve("127.0.0.1:0", 1, 0) == PM_OK);
	CHECK(resolve("127.0.0.1:00080", 0, 0) == PM_OK);
}

static void
test_loopback(void)
{
	CHECK(resolve("127.255.1.2:80", 0, 0) == PM_OK);
	CHECK(resolve("localhost:80", 0, 0) == PM_OK);
	CHECK(resolve(":80", 0, 0) == PM_OK);
	CHECK(resolve(":80", 1, 0) == PM_OK);
	CHECK(resolve("[::1]:80", 0, 0) == PM_OK);
	CHECK(resolve("[::ffff:127.0.0.1]:80", 0, 0) == PM_OK);
	CHECK(resolve("192.0.2.1:80", 0, 0) == PM_ERR_REFUSED &&
	    strcmp(fault.subject, "192.0.2.1:80") == 0);
	CHECK(resolve("192.0.2.1:80", 1, 0) == PM_ERR_REFUSED);
	CHECK(resolve("192.0.2.1:80", 0, 1) == PM_OK);
	CHECK(resolve("0.0.0.0:80", 0, 0) == PM_ERR_REFUSED);
	CHECK(resolve("0.0.0.0:80", 1, 0) == PM_ERR_REFUSED);
	CHECK(resolve("[::]:80", 1, 0) == PM_ERR_REFUSED);
	CHECK(resolve("[::ffff:192.0.2.1]:80", 0, 0) == PM_ERR_REFUSED);
	CHECK(resolve("[2001:db8::1]:80", 0, 0) == PM_ERR_REFUSED);
	CHECK(resolve("126.255.255.255:80", 0, 0) == PM_ERR_REFUSED);
	CHECK(resolve("128.0.0.1:80", 0, 0) == PM_ERR_REFUSED);
}

static void
test_paths(void)
{
	struct sockaddr_un un;
	char address[5 + sizeof(un.sun_path) + 1];

	CHECK(resolve("unix:/tmp/x", 0, 0) == PM_OK);
	CHECK(resolve("unix:host:80", 1, 0) == PM_OK);
	CHECK(resolve("unix:", 0, 1) == PM_ERR_REFUSED &&
	    strcmp(fault.subject, "unix:") == 0);
	memset(address, 'p', sizeof(address));
	memcpy(address, "unix:", 5);
	address[5 + sizeof(un.sun_path)] = '\0';
	CHECK(resolve(address, 0, 1) == PM_ERR_REFUSED);
	address[5 + sizeof(un.sun_path) - 1] = '\0';
	CHECK(resolve(address, 0, 0) == PM_OK);
	CHECK(strcmp(pm_net_path("unix:/a"), "/a") == 0);
	CHECK(pm_net_path("UNIX:/a") == NULL && pm_net_path("unix") == NULL);
}

static int
host_is(const char *address, const char *want)
{
	char host[PM_NET_HOST_MAX] = "not told";

	pm_net_host(address, host);
	return strcmp(host, want) == 0;
}

static int
name_is(int family, const char *host, const char *want)
{
	struct sockaddr_storage any = { .ss_family = (sa_family_t)family };
	struct sockaddr_in *v4 = (void *)&any;
	struct sockaddr_in6 *v6 = (void *)&any;
	char name[PM_NET_NAME_MAX] = "not told";

	if (family == AF_INET) {
		v4->sin_port = htons(65535);
		(void)inet_pton(family, host, &v4->sin_addr);
	} else if (family == AF_INET6) {
		v6->sin6_port = htons(65535);
		(void)inet_pton(family, host, &v6->sin6_addr);
	}
	pm_net_name((struct sockaddr *)&any, name);
	return strcmp(name, want) == 0;
}

static void
test_names(void)
{
	CHECK(host_is("host.example:80", "host.example"));
	CHECK(host_is("[::1]:80", "::1"));
	CHECK(host_is(":80", ""));
	CHECK(host_is("unix:a:80", ""));
	CHECK(host_is("no address", ""));
	CHECK(name_is(AF_INET, "192.0.2.1", "192.0.2.1:65535"));
	CHECK(name_is(AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6666",
	    "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"));
	CHECK(name_is(AF_UNIX, "", ""));
}

static char addresses[4][128];

static const char *
of_port(int which, const char *host, unsigned port)
{
	snprintf(addresses[which], sizeof(addresses[0]), "%s:%u", host, port);
	return addresses[which];
}

static const char *
of_path(const char *name)
{
	snprintf(addresses[0], sizeof(addresses[0]), "unix:%s/%s", directory,
	    name);
	return addresses[0];
}

static struct pm_net
look_up(const char *address, int listens)
{
	struct pm_net net;

	if (pm_net_resolve(&net, address, listens, 1, &fault) != PM_OK) {
		printf("Bail out! %s: %s\n", address, fault.text);
		exit(1);
	}
	return net;
}

static struct pm_listener
listen_on(const char *address)
{
	struct pm_net net = look_up(address, 1);
	struct pm_listener listener;

	fault = (struct pm_fault){ .error = 0 };
	if (pm_listener_open(&listener, &net, &fault) != PM_OK) {
		printf("Bail out! %s: %s\n", address, fault.text);
		exit(1);
	}
	pm_net_free(&net);
	return listener;
}

/* A port that nobody listens on: it was one a moment ago. */
static unsigned
nobodys_port(void)
{
	struct pm_listener listener = listen_on("127.0.0.1:0");
	unsigned port = listener.port;

	pm_listener_close(&listener);
	return port;
}

/* Dial to the end; *fd is the connection, or errno says why not. */
static enum pm_status
dial_on(struct pm_dial *dial, int *fd)
{
	uint64_t end = pm_clock_us() + PATIENCE_US;
	enum pm_status status = PM_OK;

	while (*fd < 0 && status == PM_OK && pm_clock_us() < end) {
		struct pollfd poller = { .fd = dial->fd, .events = POLLOUT };

		(void)poll(&poller, 1, 1000);
		status = pm_net_go_on(dial, fd);
	}
	return status;
}

static enum pm_status
dial_all(const struct pm_net *net, int *fd)
{
	struct pm_dial dial;
	enum pm_status status = pm_net_dial(&dial, net, fd);
	int error;

	if (status == PM_OK)
		status = dial_on(&dial, fd);
	error = errno;
	if (dial.fd >= 0)
		status = PM_END;
	errno = error;
	return status;
}

static int
fails_with(const char *address, int error)
{
	struct pm_net net = look_up(address, 0);
	int fd, failed;

	errno = 0;
	failed = dial_all(&net, &fd) == PM_ERR_PEER && errno == error &&
	    fd == -1;
	pm_net_free(&net);
	return failed;
}

/* A byte gets from one end to the other. */
static int
reaches(int fd, struct pm_listener *listener)
{
	char name[PM_NET_NAME_MAX] = "not told", byte = 0;
	struct pollfd poller = { .fd = listener->fd[0], .events = POLLIN };
	int other = -1, reached;

	if (fd < 0 || poll(&poller, 1, 5000) != 1 ||
	    pm_listener_take(listener->fd[0], &other, name, &fault) != PM_OK ||
	    other < 0)
		return 0;
	poller.fd = other;
	reached = write(fd, "x", 1) == 1 && poll(&poller, 1, 5000) == 1 &&
	    read(other, &byte, 1) == 1 && byte == 'x' &&
	    (listener->path != NULL ? name[0] == '\0'
	    : strncmp(name, "127.0.0.1:", 10) == 0);
	close(other);
	close(fd);
	return reached;
}

static void
test_dial(void)
{
	struct pm_listener listener = listen_on("127.0.0.1:0");
	struct pm_net net = look_up(of_port(0, "127.0.0.1", listener.port), 0);
	int fd;

	CHECK(fails_with(of_port(1, "127.0.0.1", nobodys_port()),
	    ECONNREFUSED));
	CHECK(fails_with(of_path("nobody"), ENOENT));
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	pm_net_free(&net);
	/* Where nobody listens on the one of its addresses, the other does. */
	net = look_up(of_port(0, "localhost", listener.port), 0);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	pm_net_free(&net);
	net = look_up(of_port(0, "", listener.port), 0);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	pm_net_free(&net);
	pm_listener_close(&listener);
	CHECK(fails_with(of_port(0, "localhost", nobodys_port()),
	    ECONNREFUSED));

	listener = listen_on(of_path("socket"));
	net = look_up(of_path("socket"), 0);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	pm_listener_close(&listener);
	CHECK(dial_all(&net, &fd) == PM_ERR_PEER && errno == ENOENT);
	pm_net_free(&net);
}

/* Two addresses as if one name had both. */
static struct pm_net
join(const char *first, const char *second)
{
	struct pm_net net = look_up(first, 0), other = look_up(second, 0);
	struct addrinfo **last = &net.list;

	while (*last != NULL)
		last = &(*last)->ai_next;
	*last = other.list;
	return net;
}

static void
part(struct pm_net *net)
{
	struct pm_net second = { .list = net->list->ai_next };

	net->list->ai_next = NULL;
	pm_net_free(net);
	pm_net_free(&second);
}

static void
test_several(void)
{
	struct pm_listener listener = listen_on("127.0.0.1:0");
	const char *nobody = of_port(0, "127.0.0.1", nobodys_port());
	const char *one = of_port(1, "127.0.0.1", listener.port);
	/* Nobody may connect to a broadcast address. */
	const char *never = of_port(2, "255.255.255.255", 9);
	struct pm_net net = join(nobody, one);
	int fd;

	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	part(&net);
	net = join(never, one);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	part(&net);
	/* It is worth another try, whichever of them comes first. */
	net = join(never, nobody);
	CHECK(dial_all(&net, &fd) == PM_ERR_PEER && errno == ECONNREFUSED);
	part(&net);
	net = join(nobody, never);
	CHECK(dial_all(&net, &fd) == PM_ERR_PEER && errno == ECONNREFUSED);
	part(&net);
	net = join(never, never);
	CHECK(dial_all(&net, &fd) == PM_ERR_PEER && !pm_net_is_early(errno));
	part(&net);
	pm_listener_close(&listener);
}

/* A TCP port that answers nobody any more: its queue is full. */
struct deaf {
	int listens, waits[8], count;
	unsigned port;
};

static void
deafen(struct deaf *deaf)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
	    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof(in);

	*deaf = (struct deaf){ .listens = socket(AF_INET, SOCK_STREAM, 0) };
	if (bind(deaf->listens, (struct sockaddr *)&in, size) != 0 ||
	    listen(deaf->listens, 0) != 0 ||
	    getsockname(deaf->listens, (struct sockaddr *)&in, &size) != 0) {
		printf("Bail out! listen: %s\n", strerror(errno));
		exit(1);
	}
	deaf->port = ntohs(in.sin_port);
	while (deaf->count < 8) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		struct pollfd poller = { .fd = fd, .events = POLLOUT };

		deaf->waits[deaf->count++] = fd;
		if (connect(fd, (struct sockaddr *)&in, size) != 0 &&
		    poll(&poller, 1, 100) == 0)
			return;
	}
	deaf->port = 0;
}

static void
undeafen(struct deaf *deaf)
{
	for (int i = 0; i < deaf->count; i++)
		close(deaf->waits[i]);
	close(deaf->listens);
}

static void
test_stop(void)
{
	struct pm_listener listener = listen_on("127.0.0.1:0");
	struct pm_dial dial;
	struct pm_net net;
	struct deaf deaf;
	int fd, held;

	deafen(&deaf);
	if (deaf.port == 0) {
		printf("# SKIP no port that answers nobody\n");
		goto out;
	}
	net = join(of_port(0, "127.0.0.1", deaf.port),
	    of_port(1, "127.0.0.1", listener.port));
	CHECK(pm_net_dial(&dial, &net, &fd) == PM_OK && fd == -1 &&
	    dial.fd >= 0 && dial.until > pm_clock_us());
	CHECK(pm_net_go_on(&dial, &fd) == PM_OK && fd == -1);
	held = dial.fd;
	pm_net_stop(&dial);
	CHECK(dial.fd == -1 && close(held) == -1 && errno == EBADF);
	pm_net_stop(&dial);

	/* It is given up when its time has passed, for the next. */
	CHECK(pm_net_dial(&dial, &net, &fd) == PM_OK && fd == -1);
	dial.until = 0;
	CHECK(pm_net_go_on(&dial, &fd) == PM_OK && dial.until > 0);
	CHECK(dial_on(&dial, &fd) == PM_OK && reaches(fd, &listener));
	part(&net);
	net = look_up(of_port(0, "127.0.0.1", deaf.port), 0);
	CHECK(pm_net_dial(&dial, &net, &fd) == PM_OK && fd == -1);
	dial.until = 0;
	CHECK(pm_net_go_on(&dial, &fd) == PM_ERR_PEER && errno == ETIMEDOUT &&
	    dial.fd == -1);
	pm_net_free(&net);
out:
	undeafen(&deaf);
	pm_listener_close(&listener);
}

/* The files of unix sockets. */
static void
test_socket_files(void)
{
	struct pm_listener listener = listen_on(of_path("mine")), other;
	struct pm_net net = look_up(of_path("mine"), 1);
	const char *path = pm_net_path(net.text);
	struct stat st;
	FILE *file;
	int fd;

	CHECK(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    (st.st_mode & 0777) == 0600);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_listener_open(&other, &net, &fault) == PM_ERR_SYSTEM &&
	    fault.error == EADDRINUSE);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	/* One that was left behind is replaced. */
	listener.path = NULL;
	pm_listener_close(&listener);
	CHECK(stat(path, &st) == 0 && fails_with(net.text, ECONNREFUSED));
	CHECK(pm_listener_open(&listener, &net, &fault) == PM_OK);
	CHECK(dial_all(&net, &fd) == PM_OK && reaches(fd, &listener));
	pm_listener_close(&listener);
	CHECK(stat(path, &st) == -1 && errno == ENOENT);
	/* What is no socket stays. */
	file = fopen(path, "w");
	CHECK(file != NULL && fclose(file) == 0);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_listener_open(&other, &net, &fault) == PM_ERR_SYSTEM);
	CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	    unlink(path) == 0);
	pm_net_free(&net);
}

/* All of a name's families share the port that the kernel chose. */
static void
test_port(void)
{
	struct pm_listener listener = listen_on(":0");
	int good = listener.fds > 0 && listener.port != 0;

	for (int i = 0; i < listener.fds; i++) {
		struct sockaddr_in6 any;
		socklen_t size = sizeof(any);

		good &= getsockname(listener.fd[i], (struct sockaddr *)&any,
		    &size) == 0 && ntohs(any.sin6_port) == listener.port;
		has_v6 |= any.sin6_family == AF_INET6;
	}
	CHECK(good);
	if (has_v6) {
		int fd;
		struct pm_net net = look_up(of_port(0, "[::1]",
		    listener.port), 0);

		CHECK(dial_all(&net, &fd) == PM_OK && close(fd) == 0);
		pm_net_free(&net);
	}
	pm_listener_close(&listener);
}

int
main(void)
{
	if (mkdtemp(directory) == NULL) {
		printf("Bail out! %s: %s\n", directory, strerror(errno));
		return 1;
	}
	test_addresses();
	test_loopback();
	test_paths();
	test_names();
	test_dial();
	test_several();
	test_stop();
	test_socket_files();
	test_port();
	(void)rmdir(directory);
	return check_done();
}
