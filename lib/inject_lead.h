/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inject_lead.h - lead a thread that stands through userfaultfd(2).
 *
 * This and inject_thread.h are parts of inject.h; see there.
 */
#ifndef PM_INJECT_LEAD_H
#define PM_INJECT_LEAD_H

#include <stdint.h>

#include "fault.h"
#include "restorer.h"
#include "sigframe.h"
#include "tracee.h"

#define PM_INJECT_ROOM	16384u	/* bytes that it takes of the stack */

_Static_assert(PM_INJECT_ROOM >= PM_SIGFRAME_MAX + PM_SIGFRAME_REDZONE,
    "room for a frame");

struct pm_inject {
	struct pm_tracee tracee;
	struct pm_restorer restorer;
	int pidfd;		/* of the thread or its process */
	int uffd;		/* what came of it, or -1 */
	uint64_t stopped_us;
	int again;		/* what was refused may go well later */
};

/*
 * Have the thread make a userfaultfd, take it over, and bring the thread
 * back to where it stood with those registers.  mem is open on its memory.
 */
enum pm_status pm_inject_lead(struct pm_inject *, int mem,
    const struct user_regs_struct *, uint64_t deadline, struct pm_fault *);

/* What is told in several places. */
enum pm_status pm_inject_fail_dead(const struct pm_inject *,
    struct pm_fault *);
enum pm_status pm_inject_fail_late(const struct pm_inject *,
    struct pm_fault *);
enum pm_status pm_inject_refuse(const struct pm_inject *, const char *why,
    struct pm_fault *);

#endif /* PM_INJECT_LEAD_H */
