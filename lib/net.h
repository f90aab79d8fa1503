/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h - an address in text, and connecting to it.
 *
 * Addresses are HOST:PORT, [V6]:PORT, :PORT for this machine's loopback,
 * and unix:PATH.  Nothing here waits, but for the name of a host.
 */
#ifndef PM_NET_H
#define PM_NET_H

#include <stdint.h>

#include <netdb.h>
#include <sys/un.h>

#include "fault.h"

#define PM_NET_HOST_MAX	256
#define PM_NET_NAME_MAX	80		/* of a peer's address, in numbers */

struct pm_net {
	const char *text;		/* the caller's; must outlive this */
	struct addrinfo *list;		/* NULL: un */
	struct sockaddr_un un;
};

/*
 * Look an address up, to connect to or, with listens, to listen on.  Where
 * anywhere is not set, PM_ERR_REFUSED for whatever is neither loopback nor
 * a unix socket, and for what is no address; PM_ERR_PEER when nobody knows
 * the host.  With anywhere and listens, no host means all addresses.
 */
enum pm_status pm_net_resolve(struct pm_net *, const char *address,
    int listens, int anywhere, struct pm_fault *);
void pm_net_free(struct pm_net *);

/* The path of a unix socket's address, or NULL. */
const char *pm_net_path(const char *address);

/* The HOST of an address, "" where there is none. */
void pm_net_host(const char *address, char host[PM_NET_HOST_MAX]);

/* What a socket is set to before bytes flow. */
void pm_net_prepare(int fd);

/* Make it one that waits. */
void pm_net_block(int fd);

/* Who is at the other end, in numbers; at most PM_NET_NAME_MAX bytes. */
void pm_net_name(const struct sockaddr *, char name[PM_NET_NAME_MAX]);

/* A connection that is being made, to one address after the other. */
struct pm_dial {
	const struct addrinfo *next;
	int fd;				/* to be polled for POLLOUT, or -1 */
	int error;			/* what the last one said */
	uint64_t until;			/* this try, in microseconds */
};

/*
 * Begin; then, when fd is ready or the time until has passed, go on.  *fd is
 * the connection, or -1 as long as there is none.  PM_ERR_PEER with errno
 * when no address of them answers.
 */
enum pm_status pm_net_dial(struct pm_dial *, const struct pm_net *, int *fd);
enum pm_status pm_net_go_on(struct pm_dial *, int *fd);
void pm_net_stop(struct pm_dial *);

/* True when errno says that nobody listens there yet. */
int pm_net_is_early(int error);

#endif /* PM_NET_H */
