/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inject_thread.h - stop a thread, see whether it will do, and lead it.
 */
#ifndef PM_INJECT_THREAD_H
#define PM_INJECT_THREAD_H

#include "inject_lead.h"

/*
 * Do all with the thread that is named in tracee.  PM_ERR_REFUSED when
 * this thread will not do, PM_ERR_SYSTEM when no other need be tried, and
 * PM_END when it has ended.
 */
enum pm_status pm_inject_thread(struct pm_inject *, struct pm_fault *);

#endif /* PM_INJECT_THREAD_H */
