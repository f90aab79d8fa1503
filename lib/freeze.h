/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * freeze.h - stop every thread of a process, and let them go.
 *
 * The threads are seized by ptrace(2) and interrupted.  A signal that was
 * about to be delivered is delivered later, a process that was stopped stays
 * stopped, and when the tracer dies in whatever way, the kernel lets them
 * go.  Interrupted system calls go on, but for the few that signal(7) says
 * fail with EINTR after a stop, epoll_wait(2) among them.  A process that
 * shares its memory with this one (vfork, CLONE_VM) is not stopped.
 *
 * ptrace(2) belongs to a thread: the thread that begins a freeze must be
 * the one that asks for it and ends it.
 */
#ifndef PM_FREEZE_H
#define PM_FREEZE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"

#define PM_FREEZE_MS	10000u		/* long enough for any thread that
					   will stop at all */

struct pm_frozen {
	pid_t tid;
	int stopped, ended;
	int signal;		/* to deliver when it goes on, or 0 */
};

struct pm_freeze {
	pid_t pid;		/* of the process */
	pid_t through;		/* a thread that lives, for use in /proc: the
				   first may have ended before the others */
	int is_child;		/* of this process, which will wait for it */
	int is_empty;		/* a thread without memory was seen */
	size_t threads, room;
	struct pm_frozen *thread;	/* by tid */
	uint64_t began;			/* microseconds of some clock */
};

/*
 * Stop the process pid, or that of the thread pid, within so many
 * milliseconds.  PM_ERR_REFUSED for this process itself and for one that
 * has no memory; PM_ERR_SYSTEM when there is none, when it may not be
 * traced, or when a thread does not stop.  After a failure all are let go,
 * but for a thread that never stopped: that one is free when the calling
 * thread ends.
 */
enum pm_status pm_freeze_begin(struct pm_freeze *, pid_t pid, unsigned ms,
    struct pm_fault *);

/* True when no thread has run since it was stopped; even to die. */
int pm_freeze_holds(const struct pm_freeze *);

/*
 * Let all go; the microseconds since the first was stopped.  Once ended,
 * ending again does nothing and gives 0.
 */
uint64_t pm_freeze_end(struct pm_freeze *);

#endif /* PM_FREEZE_H */
