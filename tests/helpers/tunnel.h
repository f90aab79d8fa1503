/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tunnel.h - a network device whose packets a program reads and writes.
 *
 * It is there as long as its descriptor is open.  Whoever includes this has
 * _GNU_SOURCE, for setns(2); it stays in the namespace of the last device.
 */
#ifndef TUNNEL_H
#define TUNNEL_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void
fail_end(const char *what)
{
	fprintf(stderr, "tunnel: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline void
enter(const char *ns)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s%s", strchr(ns, '/') != NULL ? "" :
	    "/run/netns/", ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		fail_end(ns);
	close(fd);
}

static inline void
set(int fd, unsigned long what, struct ifreq *request, const char *name)
{
	if (ioctl(fd, what, request) != 0)
		fail_end(name);
}

static inline void
set_address(int fd, unsigned long what, struct ifreq *request,
    const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	inet_pton(AF_INET, address, &in.sin_addr);
	memcpy(&request->ifr_addr, &in, sizeof(in));
	set(fd, what, request, address);
}

static inline void
set_up(int fd, struct ifreq *request)
{
	set(fd, SIOCGIFFLAGS, request, request->ifr_name);
	request->ifr_flags |= IFF_UP;
	set(fd, SIOCSIFFLAGS, request, request->ifr_name);
}

/*
 * A device in that namespace, to read from and write to, in which so many
 * packets may wait.
 */
static inline int
make_end(const char *ns, const char *address, unsigned mtu, unsigned packets)
{
	struct ifreq request = { .ifr_name = "line0" }, local = {
	    .ifr_name = "lo" };
	int fd, by;

	enter(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	by = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || by < 0)
		fail_end("/dev/net/tun");
	request.ifr_flags = IFF_TUN | IFF_NO_PI;
	set(fd, TUNSETIFF, &request, ns);
	request.ifr_mtu = (int)mtu;
	set(by, SIOCSIFMTU, &request, "mtu");
	request.ifr_qlen = (int)packets;
	set(by, SIOCSIFTXQLEN, &request, "queue");
	set_address(by, SIOCSIFADDR, &request, address);
	set_address(by, SIOCSIFNETMASK, &request, "255.255.255.0");
	set_up(by, &request);
	set_up(by, &local);
	close(by);
	return fd;
}

#endif /* TUNNEL_H */
