/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* __WALL */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "freeze.h"
#include "procfs.h"

#define STAT_THREADS	20		/* field of /proc/PID/stat */
#define NAP_MIN_NS	20000
#define NAP_MAX_NS	1000000
#define DEATH_US	1000000		/* what killed threads have to end */

static enum pm_status
fail_untraced(const struct pm_freeze *freeze, pid_t tid, int error,
    struct pm_fault *fault)
{
	pid_t tracer = 0;
	char text[4096];

	if (pm_procfs_read(tid, "status", text, sizeof(text)))
		tracer = (pid_t)pm_procfs_number(text,
		    "\nTracerPid:\t");
	errno = error;
	if (tracer != 0)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
		    "process %d may not be traced: process %d does already",
		    (int)freeze->pid, (int)tracer);
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "process %d may not be traced: %s", (int)freeze->pid,
	    strerror(error));
}

static enum pm_status
fail_late(const struct pm_freeze *freeze, pid_t tid, struct pm_fault *fault)
{
	errno = ETIMEDOUT;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "process %d cannot be "
	    "stopped: its thread %d does not respond", (int)freeze->pid,
	    (int)tid);
}

/* From a thread to its process. */
static enum pm_status
find_process(struct pm_freeze *freeze, struct pm_fault *fault)
{
	char text[4096];

	if (freeze->pid <= 0 ||
	    !pm_procfs_read(freeze->pid, "status", text, sizeof(text)))
		return pm_procfs_missing(freeze->pid, fault);
	freeze->pid = (pid_t)pm_procfs_number(text, "\nTgid:\t");
	freeze->is_child = pm_procfs_number(text, "\nPPid:\t") ==
	    (uint64_t)getpid();
	if (freeze->pid == getpid())
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "process %d is this one", (int)freeze->pid);
	return PM_OK;
}

/* Where tid stands in the list, or would. */
static size_t
place_of(const struct pm_freeze *freeze, pid_t tid)
{
	size_t from = 0, to = freeze->threads;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (freeze->thread[at].tid < tid)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

static enum pm_status
make_room(struct pm_freeze *freeze, struct pm_fault *fault)
{
	size_t room = freeze->room * 2 + 16;
	struct pm_frozen *more;

	if (freeze->threads < freeze->room)
		return PM_OK;
	more = realloc(freeze->thread, room * sizeof(more[0]));
	if (more == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	freeze->thread = more;
	freeze->room = room;
	return PM_OK;
}

/*
 * Seize a thread that is not in the list, to stand at that place.  One that
 * ended meanwhile may have left others: *again then says that all must
 * be listed anew, as it does for one that was seized.
 */
static enum pm_status
seize(struct pm_freeze *freeze, pid_t tid, size_t at, int *again,
    struct pm_fault *fault)
{
	enum pm_status status = make_room(freeze, fault);

	if (status != PM_OK)
		return status;
	*again = 1;
	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) {
		int error = errno;

		if (error == ESRCH)
			return PM_OK;
		if (error != EPERM || pm_procfs_has_memory(tid))
			return fail_untraced(freeze, tid, error, fault);
		/* Dead; but the first thread stays in the list like that. */
		*again = tid != freeze->pid;
		freeze->is_empty = 1;
		return PM_OK;
	}
	memmove(freeze->thread + at + 1, freeze->thread + at,
	    (freeze->threads - at) * sizeof(freeze->thread[0]));
	freeze->thread[at] = (struct pm_frozen){ .tid = tid };
	freeze->threads++;
	if (freeze->began == 0)
		freeze->began = pm_clock_us();
	(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return PM_OK;
}

/* Seize all threads that are not in the list yet; *again if there were any. */
static enum pm_status
seize_new(struct pm_freeze *freeze, int *again, struct pm_fault *fault)
{
	enum pm_status status = PM_OK;
	struct dirent *entry;
	char path[32];
	DIR *dir;

	*again = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)freeze->pid);
	dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT || errno == ESRCH ? PM_OK
		    : fail_untraced(freeze, freeze->pid, errno, fault);
	while (status == PM_OK && (entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		size_t at = place_of(freeze, tid);
		int new = 0;

		if (tid > 0 && (at == freeze->threads ||
		    freeze->thread[at].tid != tid))
			status = seize(freeze, tid, at, &new, fault);
		*again |= new;
	}
	closedir(dir);
	return status;
}

/* Sleep a little, a little longer each time. */
static void
nap(long *ns)
{
	struct timespec ts = { .tv_nsec = *ns };

	nanosleep(&ts, NULL);
	if (*ns < NAP_MAX_NS)
		*ns *= 2;
}

/*
 * A tracer must take note of the death of a thread before its parent can;
 * but what this process itself waits for as a parent, it is left to.
 */
static void
bury(const struct pm_freeze *freeze, pid_t tid, uint64_t deadline)
{
	siginfo_t info = { .si_pid = 0 };

	if (tid == freeze->pid && freeze->is_child)
		return;
	for (long ns = NAP_MIN_NS; waitid(P_PID, (id_t)tid, &info, WEXITED |
	    WNOHANG | __WALL) == 0 && info.si_pid == 0 &&
	    pm_clock_us() < deadline;
	    nap(&ns))
		;
}

/* Wait until a thread stops; *ended tells that it will not, being dead. */
static enum pm_status
await_stop(const struct pm_freeze *freeze, struct pm_frozen *thread,
    uint64_t deadline, int *ended, struct pm_fault *fault)
{
	siginfo_t info;

	*ended = 0;
	for (long ns = NAP_MIN_NS;; nap(&ns)) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)thread->tid, &info, WEXITED |
		    WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0) {
			if (errno == EINTR)
				continue;
			*ended = 1;
			return PM_OK;
		}
		if (info.si_pid != 0)
			break;
		if (pm_clock_us() >= deadline)
			return fail_late(freeze, thread->tid, fault);
	}
	if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED) {
		bury(freeze, thread->tid, 0);
		*ended = 1;
		return PM_OK;
	}
	thread->stopped = 1;
	/* Without an event it stands before a signal that must not be lost. */
	if (info.si_status >> 8 == 0)
		thread->signal = info.si_status;
	return PM_OK;
}

/*
 * Wait for all that were seized, and forget those that ended.  The first of
 * a process that ends is told to be dead when the others were taken note of,
 * so it comes last.
 */
static enum pm_status
await_all(struct pm_freeze *freeze, uint64_t deadline, struct pm_fault *fault)
{
	enum pm_status status = PM_OK;
	size_t kept = 0, at;

	for (int first = 0; first < 2; first++)
		for (at = 0; at < freeze->threads && status == PM_OK; at++) {
			struct pm_frozen *thread = &freeze->thread[at];

			if (!thread->stopped &&
			    (thread->tid == freeze->pid) == first)
				status = await_stop(freeze, thread, deadline,
				    &thread->ended, fault);
		}
	for (at = 0; at < freeze->threads; at++)
		if (!freeze->thread[at].ended)
			freeze->thread[kept++] = freeze->thread[at];
	freeze->threads = kept;
	return status;
}

int
pm_freeze_holds(const struct pm_freeze *freeze)
{
	unsigned long message;

	/* The kernel answers only for a thread that stands in its trap. */
	for (size_t at = 0; at < freeze->threads; at++)
		if (ptrace(PTRACE_GETEVENTMSG, freeze->thread[at].tid, NULL,
		    &message) != 0)
			return 0;
	return freeze->threads > 0;
}

/*
 * A list of threads ends early when one dies as it is made, so the kernel's
 * count of them has to agree.  A first thread that is dead counts in it.
 */
static int
is_complete(const struct pm_freeze *freeze)
{
	size_t at = place_of(freeze, freeze->pid);
	size_t first_died = at == freeze->threads ||
	    freeze->thread[at].tid != freeze->pid;

	return pm_procfs_field(freeze->pid, STAT_THREADS) ==
	    freeze->threads + first_died;
}

static enum pm_status
stop_all(struct pm_freeze *freeze, unsigned ms, struct pm_fault *fault)
{
	uint64_t deadline = pm_clock_us() + (uint64_t)ms * 1000;
	enum pm_status status;
	int again;

	/* Threads come only from threads that run. */
	do {
		if (pm_clock_us() >= deadline)
			return fail_late(freeze, freeze->pid, fault);
		status = seize_new(freeze, &again, fault);
		if (status == PM_OK)
			status = await_all(freeze, deadline, fault);
		if (status != PM_OK)
			return status;
		if (freeze->threads > 0 && !pm_freeze_holds(freeze)) {
			errno = ESRCH;
			return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
			    "process %d died as it was stopped",
			    (int)freeze->pid);
		}
	} while (again || (freeze->threads > 0 && !is_complete(freeze)));
	if (freeze->threads > 0) {
		freeze->through = freeze->thread[0].tid;
		return PM_OK;
	}
	return !freeze->is_empty ? pm_procfs_missing(freeze->pid, fault)
	    : pm_fault_set(fault, PM_ERR_REFUSED, NULL,
	    "process %d has no memory", (int)freeze->pid);
}

enum pm_status
pm_freeze_begin(struct pm_freeze *freeze, pid_t pid, unsigned ms,
    struct pm_fault *fault)
{
	enum pm_status status;

	*freeze = (struct pm_freeze){ .pid = pid };
	status = find_process(freeze, fault);
	if (status == PM_OK)
		status = stop_all(freeze, ms, fault);
	if (status != PM_OK)
		(void)pm_freeze_end(freeze);
	return status;
}

uint64_t
pm_freeze_end(struct pm_freeze *freeze)
{
	uint64_t end = pm_clock_us(), us;
	int first_died = 0;

	for (size_t at = 0; at < freeze->threads; at++) {
		const struct pm_frozen *thread = &freeze->thread[at];

		if (ptrace(PTRACE_DETACH, thread->tid, NULL,
		    (void *)(uintptr_t)thread->signal) == 0)
			continue;
		if (thread->tid == freeze->pid)
			first_died = thread->stopped;
		else
			bury(freeze, thread->tid,
			    thread->stopped ? end + DEATH_US : 0);
	}
	us = freeze->began != 0 ? pm_clock_us() - freeze->began : 0;
	/* The first thread is dead only when all are. */
	if (first_died)
		bury(freeze, freeze->pid, end + DEATH_US);
	free(freeze->thread);
	*freeze = (struct pm_freeze){ .pid = freeze->pid };
	return us;
}
