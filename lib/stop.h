/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stop.h - have processes stand still, run slower, and go on.
 *
 * By ptrace(2), unless the owner of the processes has another way: a control
 * group that can be frozen, or commands.  Whatever is left behind by our
 * death is undone by a guardian, or, with ptrace, by the kernel.
 */
#ifndef PM_STOP_H
#define PM_STOP_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "cgroup.h"
#include "fault.h"
#include "freeze.h"
#include "guardian.h"

#define PM_STOP_GROUPS	4u
#define PM_STOP_DEBTS	(PM_STOP_GROUPS * 8 + 1)

/* What becomes of them in the end. */
enum pm_stop_then {
	PM_STOP_RESUME,
	PM_STOP_STAY,		/* they stay stopped */
	PM_STOP_KILL,
};

struct pm_stop_options {
	const char *const *cgroup;	/* NULL-terminated, or NULL */
	const char *stop_command, *resume_command;	/* or NULL */
	int alone;			/* the command is enough */
	int out;			/* descriptor for output of commands */
	int throttle;			/* a group must be able to limit */
};

struct pm_stop {
	struct pm_stop_options how;
	struct pm_fault *fault;
	size_t groups;
	struct pm_cgroup group[PM_STOP_GROUPS];
	struct pm_guardian guardian;
	unsigned debts;
	struct pm_debt debt[PM_STOP_DEBTS];
	unsigned freeze_debt[PM_STOP_GROUPS];
	unsigned limit_debt[PM_STOP_GROUPS], limit_debts[PM_STOP_GROUPS];
	unsigned command_debt;
	size_t freezes;
	struct pm_freeze *freeze;
	size_t processes;
	pid_t *process;
	int has_stopped, has_limited, has_run, is_over;
};

/*
 * Get ready; nothing is stopped yet.  PM_ERR_REFUSED when a directory is no
 * control group, or none of them can do what is asked for.
 */
enum pm_status pm_stop_open(struct pm_stop *, const struct pm_stop_options *,
    struct pm_fault *);

/*
 * PM_ERR_REFUSED when the groups hold others than these processes, or when
 * one is traced that would have to be.
 */
enum pm_status pm_stop_check(struct pm_stop *, const pid_t *, size_t count);

/* Let them use so many thousandths of one processor, together. */
enum pm_status pm_stop_limit(struct pm_stop *, unsigned permille);

/* Stop them. */
enum pm_status pm_stop_begin(struct pm_stop *, const pid_t *, size_t count);

/* True when none of them has run, or died, since. */
int pm_stop_holds(const struct pm_stop *);

/* Undo it all: the limit, and the stop unless it is to stay. */
enum pm_status pm_stop_end(struct pm_stop *, enum pm_stop_then);

/* Resume if that was not done, and release all; after a failure too. */
void pm_stop_close(struct pm_stop *);

#endif /* PM_STOP_H */
