/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listener.h - listen on an address, without waiting.
 */
#ifndef PM_LISTENER_H
#define PM_LISTENER_H

#include "net.h"

#define PM_LISTENER_FDS	4

struct pm_listener {
	int fd[PM_LISTENER_FDS];	/* to be polled for POLLIN */
	int fds;
	const char *path;		/* of a unix socket, to be removed */
	unsigned port;
};

/*
 * Listen.  A unix socket is for its owner alone, and replaces one that
 * nobody listens on.
 */
enum pm_status pm_listener_open(struct pm_listener *, const struct pm_net *,
    struct pm_fault *);

/*
 * Take a connection from that descriptor.  *fd is -1 when there is none,
 * after all; PM_ERR_SYSTEM when the system has no room for it.  name is
 * where it comes from.
 */
enum pm_status pm_listener_take(int from, int *fd,
    char name[PM_NET_NAME_MAX], struct pm_fault *);

/* Stop listening, and remove the socket's file. */
void pm_listener_close(struct pm_listener *);

#endif /* PM_LISTENER_H */
