/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status.h - the one kind of answer every library function gives.
 *
 * The library never prints, never exits and never touches stdin, stdout or
 * a signal handler; it returns one of these and its caller decides.
 */
#ifndef PM_STATUS_H
#define PM_STATUS_H

enum pm_status {
	PM_OK = 0,
	PM_END = 1,		/* the stream ended where it said it would */

	PM_ERR_READ = -1,	/* a system call failed: errno says how, */
	PM_ERR_WRITE = -2,	/* these three say on which side */
	PM_ERR_SYSTEM = -3,
	PM_ERR_TRUNCATED = -4,	/* input stopped before its end record */
	PM_ERR_CORRUPT = -5,	/* input contradicts itself or its digest */
	PM_ERR_VERSION = -6,	/* a newer format than this build reads */
	PM_ERR_MISMATCH = -7,	/* the target is not what the stream needs */
	PM_ERR_REFUSED = -8,	/* cannot be done as asked; nothing was */
	PM_ERR_PEER = -9,	/* the other end of a connection failed */
};

/* Text for a status, lower case, no full stop; strerror for the first three. */
const char *pm_status_text(enum pm_status);

#endif /* PM_STATUS_H */
