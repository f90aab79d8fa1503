/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* syscall */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "inject.h"
#include "inject_thread.h"
#include "maps.h"
#include "procfs.h"
#include "sigframe.h"

#define PATIENCE_US	200000		/* until a thread will do, */
#define DISK_US		2000000		/* if it does not wait for a disk */
#define NAP_NS		20000000
#define THREADS_MAX	64u		/* tried in a row */

#define THREAD_PIDFD	((unsigned)O_EXCL)	/* PIDFD_THREAD, Linux 6.9 */

int
pm_inject_can(void)
{
	return PM_SIGFRAME_KNOWN;
}

static int
is_narrow(pid_t pid)
{
	unsigned char head[5] = { 0 };
	char path[32];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, head, sizeof(head));
	close(fd);
	/* ELFCLASS32 */
	return got == (ssize_t)sizeof(head) &&
	    memcmp(head, "\177ELF\1", sizeof(head)) == 0;
}

static int
is_child(pid_t pid)
{
	struct pm_tracee tracee = { .pid = pid, .tid = pid };
	char text[32];

	pm_tracee_status(&tracee, "PPid:", text, sizeof(text));
	return strtol(text, NULL, 10) == (long)getpid();
}

static enum pm_status
find_code(struct pm_inject *inject, pid_t through, struct pm_fault *fault)
{
	pid_t pid = inject->tracee.pid;
	enum pm_status status;
	struct pm_maps maps;

	status = pm_maps_read(&maps, through, fault);
	if (status != PM_OK)
		return status;
	if (maps.count == 0)
		status = pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "process %d has no memory", (int)pid);
	else if (is_narrow(through))
		status = pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "process %d runs a 32-bit program", (int)pid);
	else
		status = pm_restorer_find(&inject->restorer, through, &maps,
		    fault);
	if (status == PM_OK && inject->restorer.address == 0)
		status = pm_fault_set(fault, PM_ERR_REFUSED, NULL, "process "
		    "%d has no code to return from a signal", (int)pid);
	pm_maps_free(&maps);
	return status;
}

/* What is known of a thread undisturbed.  PM_END for one that has ended. */
static enum pm_status
look_at_thread(struct pm_inject *inject, struct pm_fault *fault)
{
	const struct pm_tracee *tracee = &inject->tracee;
	char text[256];
	long tracer;

	pm_tracee_status(tracee, "State:", text, sizeof(text));
	if (text[0] == '\0' || text[0] == 'Z' || text[0] == 'X')
		return PM_END;
	if (text[0] == 'D') {
		inject->again = 1;
		return pm_inject_fail_late(inject, fault);
	}
	pm_tracee_status(tracee, "TracerPid:", text, sizeof(text));
	tracer = strtol(text, NULL, 10);
	if (tracer != 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "process %d may not be traced: process %ld does already",
		    (int)tracee->pid, tracer);
	pm_tracee_status(tracee, "x86_Thread_features:", text, sizeof(text));
	if (strstr(text, "shstk") != NULL)
		return pm_inject_refuse(inject, "has a shadow stack", fault);
	return PM_OK;
}

/* Threads may have descriptors of their own. */
static int
open_pidfd(const struct pm_tracee *tracee)
{
	int fd = -1;

	if (tracee->tid != tracee->pid)
		fd = (int)syscall(SYS_pidfd_open, tracee->tid, THREAD_PIDFD);
	return fd >= 0 ? fd : (int)syscall(SYS_pidfd_open, tracee->pid, 0);
}

static enum pm_status
try_thread(struct pm_inject *inject, pid_t tid, struct pm_fault *fault)
{
	enum pm_status status;

	inject->tracee.tid = tid;
	inject->again = 0;
	status = look_at_thread(inject, fault);
	if (status != PM_OK)
		return status;
	inject->pidfd = open_pidfd(&inject->tracee);
	if (inject->pidfd < 0)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "pidfd_open: "
		    "%s", strerror(errno));
	status = pm_inject_thread(inject, fault);
	close(inject->pidfd);
	return status;
}

/*
 * Try one thread after the other, the first one first.  What is told is why
 * the first would not do, as a process has most of its threads for company.
 */
static enum pm_status
try_threads(struct pm_inject *inject, int *again, struct pm_fault *fault)
{
	pid_t pid = inject->tracee.pid;
	enum pm_status status, told = PM_END;
	unsigned tried = 0;
	struct dirent *entry;
	char path[32];
	DIR *dir;

	*again = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	while (dir != NULL && tried < THREADS_MAX &&
	    (entry = readdir(dir)) != NULL) {
		struct pm_fault why = { .error = 0 };
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		int is_final;

		status = tid > 0 ? try_thread(inject, tid, &why) : PM_END;
		if (status == PM_END)
			continue;
		is_final = status != PM_ERR_REFUSED && !inject->again;
		*again = !is_final && (*again || inject->again);
		if (tried++ == 0 || is_final) {
			told = status;
			*fault = why;
		}
		if (is_final)
			break;
	}
	if (dir != NULL)
		closedir(dir);
	return told == PM_END ? pm_procfs_missing(pid, fault) : told;
}

enum pm_status
pm_inject_uffd(pid_t pid, int *uffd, uint64_t *stopped_us,
    struct pm_fault *fault)
{
	struct pm_inject inject = { .uffd = -1 };
	const struct timespec nap = { .tv_nsec = NAP_NS };
	uint64_t began = pm_clock_us();
	enum pm_status status;
	struct pm_fault why;
	pid_t through;
	int again;

	*uffd = -1;
	*stopped_us = 0;
	if (!pm_inject_can())
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL, "this build "
		    "cannot make a userfaultfd in another process");
	status = pm_procfs_find(pid, &inject.tracee.pid, &through, fault);
	if (status == PM_OK)
		status = find_code(&inject, through, fault);
	if (status != PM_OK)
		return status;
	inject.tracee.is_child = is_child(inject.tracee.pid);
	for (;;) {
		why = (struct pm_fault){ .error = 0 };
		status = try_threads(&inject, &again, &why);
		if (status == PM_OK || !again || pm_clock_us() >= began +
		    (why.error == ETIMEDOUT ? DISK_US : PATIENCE_US))
			break;
		nanosleep(&nap, NULL);
	}
	*uffd = inject.uffd;
	*stopped_us = inject.stopped_us;
	errno = why.error;
	return status == PM_OK ? PM_OK
	    : pm_fault_set(fault, status, why.subject[0] != '\0' ? why.subject
	    : NULL, "%s", why.text);
}
