/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * procfs.h - what /proc says of a process; see proc(5).
 */
#ifndef PM_PROCFS_H
#define PM_PROCFS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"

/*
 * The first bytes of /proc/PID/name, up to size - 1 and a NUL; 0 when there
 * are none.
 */
int pm_procfs_read(pid_t, const char *name, char *text, size_t size);

/* The number in a line of "status"; label is "\nName:\t".  0 without one. */
uint64_t pm_procfs_number(const char *status, const char *label);

/* Field number n of "stat", from 3 on, as a number; 0 without one. */
uint64_t pm_procfs_field(pid_t, int n);

/* Zombies and threads of the kernel have none. */
int pm_procfs_has_memory(pid_t tid);

/*
 * The process of a thread, and a thread of it that has memory, to be used in
 * /proc: the first may have ended before the others.  PM_ERR_REFUSED for
 * this process and for one without memory, PM_ERR_SYSTEM when there is none.
 */
enum pm_status pm_procfs_find(pid_t tid, pid_t *pid, pid_t *through,
    struct pm_fault *);

/* The fault for a process that is not there, or not to be seen. */
enum pm_status pm_procfs_missing(pid_t, struct pm_fault *);

#endif /* PM_PROCFS_H */
