/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.h - what went wrong, in words, for whoever prints it.
 *
 * A status says what kind of failure it was; a fault says what and where.
 * The library fills it and never prints it.  The first failure is kept.
 */
#ifndef PM_FAULT_H
#define PM_FAULT_H

#include <stdint.h>

#include "status.h"

struct pm_fault {
	char subject[256];	/* the file or peer it is about; "" for the
				   stream that the status speaks of */
	char text[256];		/* lower case, no full stop; "" for none */
	int error;		/* errno of a system call, or 0 */
	int placed;		/* its text names a record */
	int taken;		/* a failure was told, or is being told */
};

/*
 * Say what went wrong and return status, so that a failing function can
 * end in one line.  errno is kept in the fault for the three statuses that
 * speak of it; subject may be NULL.  A fault already filled is left alone,
 * by several threads at a time too: one of them fills it.
 */
enum pm_status pm_fault_set(struct pm_fault *, enum pm_status status,
    const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put the place of a record before the text, once. */
void pm_fault_place(struct pm_fault *, uint64_t record, uint64_t offset);

#endif /* PM_FAULT_H */
