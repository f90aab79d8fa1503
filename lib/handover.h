/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.h - take a userfaultfd from a process that gives it freely.
 *
 * The process listens on a unix socket and sends, to whoever connects, one
 * message of at least one byte with the descriptor in it (SCM_RIGHTS, see
 * unix(7)).  Nothing has to be stopped or traced for that.
 */
#ifndef PM_HANDOVER_H
#define PM_HANDOVER_H

#include <sys/types.h>

#include "fault.h"

/*
 * PM_ERR_REFUSED when the process at the other end is not that one, or what
 * it sends is no userfaultfd; PM_ERR_SYSTEM when nothing comes in 10 s.
 */
enum pm_status pm_handover_take(const char *path, pid_t pid, int *fd,
    struct pm_fault *);

#endif /* PM_HANDOVER_H */
