/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* __WALL */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "clock.h"
#include "tracee.h"

#define NAP_MIN_NS	20000
#define NAP_MAX_NS	1000000
#define TURNS		200		/* at the processor before the naps */

void
pm_tracee_status(const struct pm_tracee *tracee, const char *label,
    char *text, size_t size)
{
	char path[64], *line = NULL;
	size_t room = 0;
	FILE *file;

	text[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status",
	    (int)tracee->pid, (int)tracee->tid);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	while (text[0] == '\0' && getline(&line, &room, file) > 0)
		if (strncmp(line, label, strlen(label)) == 0) {
			const char *value = line + strlen(label);

			snprintf(text, size, "%s",
			    value + strspn(value, " \t"));
		}
	free(line);
	fclose(file);
}

int
pm_tracee_seize(struct pm_tracee *tracee)
{
	/*
	 * Without this option a stop at a system call counts as SIGTRAP,
	 * which would kill the thread if this process died there.
	 */
	uintptr_t options = PTRACE_O_TRACESYSGOOD;

	tracee->stop = PM_TRACEE_RUNS;
	if (ptrace(PTRACE_SEIZE, tracee->tid, NULL, (void *)options) != 0)
		return errno;
	(void)ptrace(PTRACE_INTERRUPT, tracee->tid, NULL, NULL);
	return 0;
}

/* Take note of its death, but for what this process waits for as a parent. */
static void
bury(const struct pm_tracee *tracee)
{
	siginfo_t info;

	if (tracee->tid != tracee->pid || !tracee->is_child)
		(void)waitid(P_PID, (id_t)tracee->tid, &info,
		    WEXITED | WNOHANG | __WALL);
}

static void
note_stop(struct pm_tracee *tracee, const siginfo_t *info)
{
	tracee->signal = 0;
	if (info->si_code != CLD_TRAPPED && info->si_code != CLD_STOPPED) {
		bury(tracee);
		tracee->stop = PM_TRACEE_ENDED;
	} else if (info->si_status >> 8 != 0)
		tracee->stop = PM_TRACEE_TRAP;
	else if (info->si_status == (SIGTRAP | 0x80))
		tracee->stop = PM_TRACEE_CALL;
	else {
		tracee->stop = PM_TRACEE_SIGNAL;
		tracee->signal = info->si_status;
	}
}

void
pm_tracee_wait(struct pm_tracee *tracee, uint64_t deadline)
{
	struct timespec nap = { .tv_nsec = NAP_MIN_NS };
	siginfo_t info;

	tracee->stop = PM_TRACEE_RUNS;
	for (unsigned turn = 0;; turn++) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)tracee->tid, &info, WEXITED |
		    WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0) {
			if (errno == EINTR)
				continue;
			tracee->stop = PM_TRACEE_ENDED;
			return;
		}
		if (info.si_pid != 0) {
			note_stop(tracee, &info);
			return;
		}
		if (pm_clock_us() >= deadline)
			return;
		/* It stands still all the while: be there soon. */
		if (turn < TURNS) {
			(void)sched_yield();
			continue;
		}
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < NAP_MAX_NS)
			nap.tv_nsec *= 2;
	}
}

int
pm_tracee_go(struct pm_tracee *tracee, enum pm_tracee_stop wanted,
    uint64_t deadline)
{
	uintptr_t signal = 0;

	for (;;) {
		/* It fails for one that was killed, which the wait finds. */
		(void)ptrace(wanted == PM_TRACEE_CALL ? PTRACE_SYSCALL
		    : PTRACE_CONT, tracee->tid, NULL, (void *)signal);
		pm_tracee_wait(tracee, deadline);
		if (tracee->stop == wanted)
			return 1;
		if (tracee->stop == PM_TRACEE_RUNS ||
		    tracee->stop == PM_TRACEE_ENDED)
			return 0;
		signal = 0;
		if (tracee->stop == PM_TRACEE_SIGNAL) {
			if (tracee->signal != SIGSTOP)
				return 0;
			signal = SIGSTOP;
		}
	}
}

void
pm_tracee_release(struct pm_tracee *tracee)
{
	if (tracee->stop == PM_TRACEE_ENDED)
		return;
	if (ptrace(PTRACE_DETACH, tracee->tid, NULL,
	    (void *)(uintptr_t)tracee->signal) != 0) {
		/* Killed perhaps: its parent hears of it when we did. */
		if (tracee->stop != PM_TRACEE_RUNS)
			pm_tracee_wait(tracee, pm_clock_us() + 1000000);
	}
}
