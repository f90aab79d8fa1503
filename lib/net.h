/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net.h - an address in text to a connected descriptor.
 *
 * Addresses are HOST:PORT, [V6]:PORT, :PORT for this machine's loopback,
 * and unix:PATH.
 */
#ifndef PM_NET_H
#define PM_NET_H

#include "fault.h"

#define PM_NET_LISTENERS	4

struct pm_listener {
	int fd[PM_NET_LISTENERS];
	int fds;
	const char *path;		/* of a unix socket, to be removed */
	unsigned port;
};

/*
 * Connect within seconds, trying again as long as nobody listens.  Without
 * insecure PM_ERR_REFUSED for whatever is not loopback or unix.
 */
enum pm_status pm_net_connect(const char *address, int insecure,
    unsigned seconds, int *fd, struct pm_fault *);

/*
 * Listen.  A unix socket is for its owner alone, and replaces one that
 * nobody listens on.  Without insecure only loopback and unix.
 */
enum pm_status pm_net_listen(struct pm_listener *, const char *address,
    int insecure, struct pm_fault *);

/* Take one connection within seconds; 0 waits for ever. */
enum pm_status pm_net_accept(struct pm_listener *, unsigned seconds, int *fd,
    struct pm_fault *);

/* Stop listening, and remove the socket's file. */
void pm_net_close(struct pm_listener *);

#endif /* PM_NET_H */
