/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restorer.h - code in a process that makes the system call rt_sigreturn(2).
 *
 * Every C library has it, to return from signal handlers, and so has the
 * runtime of Go.  It is found by its bytes, as nothing names it.
 */
#ifndef PM_RESTORER_H
#define PM_RESTORER_H

#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "maps.h"

struct pm_restorer {
	uint64_t address;	/* 0 for none */
	uint64_t behind;	/* address of what comes after the call */
};

/*
 * Look for it in memory that can be executed and not written: in the C
 * library first, then elsewhere, in 64 MiB of a mapping and 256 MiB of a
 * process at most.  PM_ERR_SYSTEM when the process may not be read.
 */
enum pm_status pm_restorer_find(struct pm_restorer *, pid_t,
    const struct pm_maps *, struct pm_fault *);

/* True when it is there, in the memory that mem is open on. */
int pm_restorer_is_in(const struct pm_restorer *, int mem);

#endif /* PM_RESTORER_H */
