/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struck.h - a signal at a chosen step of what the library does.
 *
 * Each call of ptrace(2) and of pwrite(2) is a step; the functions here stand
 * in for those of the C library.
 */
#ifndef STRUCK_H
#define STRUCK_H

#include <stdarg.h>
#include <sys/ptrace.h>

#include "child.h"

static struct {
	int step;		/* calls made */
	int at;			/* where to strike, or 0 */
	int behind;		/* the call, not before it */
	int signal;
	pid_t victim;
} plan;

static inline void
plan_strike(pid_t victim, int signal, int at, int behind)
{
	plan.step = 0;
	plan.at = at;
	plan.behind = behind;
	plan.signal = signal;
	plan.victim = victim;
}

static inline void
strike(int behind)
{
	if (plan.step == plan.at && plan.behind == behind)
		kill(plan.victim, plan.signal);
}

long
ptrace(enum __ptrace_request request, ...)
{
	void *address, *data;
	long result;
	va_list ap;
	int error;
	pid_t pid;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	address = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	plan.step++;
	strike(0);
	result = syscall(SYS_ptrace, request, pid, address, data);
	error = errno;
	strike(1);
	errno = error;
	return result;
}

ssize_t
pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	ssize_t result;

	plan.step++;
	strike(0);
	result = (ssize_t)syscall(SYS_pwrite64, fd, bytes, size, offset);
	strike(1);
	return result;
}

#endif /* STRUCK_H */
