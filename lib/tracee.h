/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracee.h - one thread of another process, stopped and led by ptrace(2).
 *
 * Signals that come meanwhile are left where they are, but for SIGSTOP,
 * which goes on to the process.  ptrace(2) belongs to a thread: the one
 * that seizes makes all other calls too.
 */
#ifndef PM_TRACEE_H
#define PM_TRACEE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

enum pm_tracee_stop {
	PM_TRACEE_RUNS,		/* does not stand */
	PM_TRACEE_TRAP,		/* as asked, or as its whole process stands */
	PM_TRACEE_CALL,		/* before or behind a system call */
	PM_TRACEE_SIGNAL,	/* before a signal is delivered */
	PM_TRACEE_ENDED,
};

struct pm_tracee {
	pid_t pid, tid;
	int is_child;		/* the process; of this one */
	enum pm_tracee_stop stop;
	int signal;		/* for PM_TRACEE_SIGNAL */
};

/*
 * What stands behind a label like "State:" in the status of the thread, or ""
 * when nothing does.  It need not be seized.
 */
void pm_tracee_status(const struct pm_tracee *, const char *label, char *text,
    size_t size);

/* Seize the thread and ask it to stop: 0, or the number of an error. */
int pm_tracee_seize(struct pm_tracee *);

/* Wait until it stops, or until the deadline, when it still runs. */
void pm_tracee_wait(struct pm_tracee *, uint64_t deadline);

/*
 * Go on to a PM_TRACEE_CALL or PM_TRACEE_TRAP; 0 when it does not come to
 * that, or stops before another signal than SIGSTOP.  A signal that it stood
 * before is forgotten.
 */
int pm_tracee_go(struct pm_tracee *, enum pm_tracee_stop, uint64_t deadline);

/*
 * Let it go, with the signal that it stands before.  One that runs is free
 * when the calling thread ends.
 */
void pm_tracee_release(struct pm_tracee *);

#endif /* PM_TRACEE_H */
