/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guardian.h - put back what was changed outside of us, if we die.
 *
 * A child process waits for our end, by whatever means that comes, and then
 * undoes what we have not undone ourselves.  What may have to be undone, the
 * debts, is named when it is started; what is owed of it at a time, it is
 * told before each change and after each undoing.
 *
 * It is in a session of its own, blocks every signal, has a name of its own
 * and keeps none of our descriptors, so that what ends us by Ctrl-C, by a
 * signal to our process group or by our name does not end it, and a reader
 * of our output sees the end when we die.  SIGKILL to it itself, or to all
 * processes of a control group or a container, does end it.
 *
 * It begins as a copy of our memory: it should be started early.  A process
 * that we fork and that executes nothing holds back our end.
 */
#ifndef PM_GUARDIAN_H
#define PM_GUARDIAN_H

#include <sys/types.h>

#include "fault.h"

#define PM_GUARDIAN_MS	10000u		/* what a command, or the end, may
					   take before it is left behind */

/* One way to undo a change: one of the two. */
struct pm_debt {
	const char *path;	/* of a file that is there, */
	const char *text;	/* to be written to it in its place */
	const char *command;	/* for the shell; path is NULL */
};

struct pm_guardian {
	int fd;			/* -1 when there is none */
	pid_t pid;
	const struct pm_debt *debt;
	unsigned debts;
};

/*
 * Start it; nothing is owed yet.  The debts must stay until the end, and
 * what is changed in them later is not seen.  Paths are taken from the
 * directory that is the current one now.
 */
enum pm_status pm_guardian_start(struct pm_guardian *, const struct pm_debt *,
    unsigned debts, struct pm_fault *);

/*
 * From now on, that debt is to be paid if we die: to be called before the
 * change is made.  PM_ERR_SYSTEM when the guardian is gone: do not make
 * the change then.
 */
enum pm_status pm_guardian_owe(struct pm_guardian *, unsigned debt,
    struct pm_fault *);

/* It need not be paid any more: to be called when the change is undone. */
enum pm_status pm_guardian_settle(struct pm_guardian *, unsigned debt,
    struct pm_fault *);

/*
 * Have it pay what is still owed, the last first, and end.  PM_ERR_SYSTEM
 * when something could not be paid, when the guardian was killed, or when it
 * takes too long; it then goes on by itself.  Once ended, or never started,
 * it does nothing.
 */
enum pm_status pm_guardian_end(struct pm_guardian *, struct pm_fault *);

/*
 * Run a command by the shell now and wait for it, however long it takes.  It
 * reads nothing and its output goes to that descriptor.  PM_ERR_SYSTEM when
 * it does not end with status 0.
 */
enum pm_status pm_guardian_run(const char *command, int out,
    struct pm_fault *);

#endif /* PM_GUARDIAN_H */
