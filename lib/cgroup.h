/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cgroup.h - a directory of a control group, to stop or slow its processes.
 *
 * Version 2 has cgroup.freeze and cpu.max; in version 1 these belong to two
 * controllers, mounted by themselves, so that a directory offers one of them:
 * freezer.state, or cpu.cfs_quota_us with cpu.cfs_period_us.  They are
 * described in the kernel's admin-guide/cgroup-v2 and cgroup-v1.
 *
 * What is changed here outlives us.  Before each change, what undoes it can
 * be asked for, and left with another process: see guardian.h.
 */
#ifndef PM_CGROUP_H
#define PM_CGROUP_H

#include <stddef.h>

#include <sys/types.h>

#include "fault.h"

#define PM_CGROUP_TEXT	64u

/* A file of it that we write to. */
struct pm_cgroup_file {
	char *path;			/* NULL when there is none */
	char was[PM_CGROUP_TEXT];	/* what to write to have it as before */
};

struct pm_cgroup {
	char *path;			/* absolute */
	int version;			/* 1 or 2 */
	int is_frozen, is_limited;	/* by us */
	struct pm_cgroup_file freezer;
	struct pm_cgroup_file quota;	/* in version 2 it has both */
	struct pm_cgroup_file period;
	double share;			/* of processors that it may use, as
					   opened; 1 is one of them */
};

/*
 * PM_ERR_REFUSED when dir is no control group, when it offers neither of
 * the two, and when its processes are frozen already.
 */
enum pm_status pm_cgroup_open(struct pm_cgroup *, const char *dir,
    struct pm_fault *);

/* Frees; undoes nothing. */
void pm_cgroup_close(struct pm_cgroup *);

static inline int
pm_cgroup_can_freeze(const struct pm_cgroup *group)
{
	return group->freezer.path != NULL;
}

static inline int
pm_cgroup_can_limit(const struct pm_cgroup *group)
{
	return group->quota.path != NULL;
}

/*
 * Whether what is done to this group and those below it reaches exactly
 * these processes.  PM_ERR_REFUSED when a thread of one of them is outside,
 * and when this process is inside or any that is neither one of them nor
 * descends from one.  A pid may be that of any thread of a process.
 */
enum pm_status pm_cgroup_check(const struct pm_cgroup *, const pid_t *pid,
    size_t pids, struct pm_fault *);

/*
 * Stop them all, within so many milliseconds; when that does not succeed,
 * they go on, and errno is ETIMEDOUT.  PM_ERR_REFUSED where it is not offered.
 */
enum pm_status pm_cgroup_freeze(struct pm_cgroup *, unsigned ms,
    struct pm_fault *);
/* Does nothing when they were not frozen by us. */
enum pm_status pm_cgroup_thaw(struct pm_cgroup *, struct pm_fault *);

/*
 * Let them use at most so many thousandths of one processor, at least 1, in
 * turns of 10 ms (of up to a second below 100, as the kernel gives no less
 * than 1 ms).  It never gives them more than they had.  After a failure they
 * have what they had.  PM_ERR_REFUSED where it is not offered.
 */
enum pm_status pm_cgroup_limit(struct pm_cgroup *, unsigned permille,
    struct pm_fault *);
/* Does nothing when they were not limited by us. */
enum pm_status pm_cgroup_unlimit(struct pm_cgroup *, struct pm_fault *);

/*
 * What undoes a freeze or a limit, as texts and the paths of the files that
 * they are to be written to, valid until the group is closed.  0 when there
 * is none, or no more: a limit takes steps 0, 1 and so on, all of which are
 * to be written, one after the other.  They read the same backwards, and one
 * that fails does not matter if a later one goes to the same file.
 */
int pm_cgroup_undo_freeze(const struct pm_cgroup *, const char **path,
    const char **text);
int pm_cgroup_undo_limit(const struct pm_cgroup *, unsigned step,
    const char **path, const char **text);

#endif /* PM_CGROUP_H */
