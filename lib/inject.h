/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inject.h - get a userfaultfd(2) of another process.
 *
 * Only a process itself can make one for its memory.  So a thread of it is
 * stopped by ptrace(2), led through userfaultfd(2) and, when pidfd_getfd(2)
 * has taken the descriptor over, close(2), and goes on where it was.  It
 * stands still for less than a millisecond as a rule; the others run.
 *
 * Should this process die meanwhile, by whatever signal, the thread returns
 * to where it was by itself: before it is led anywhere, all that it needs
 * for that is written under its stack pointer as if a signal had come, and
 * the only code that it is led through is the code that returns from
 * signal handlers.  It may be left with the descriptor, and a sleep or a
 * wait that it was in may then end early with EINTR.  There is one
 * exception: a seccomp(2) filter that kills for userfaultfd(2) is suspended
 * only as long as this process lives, and kills if it dies within the few
 * microseconds before that system call.
 *
 * Only threads are used whose stack surely has room: the main thread on the
 * stack that the kernel made, or a thread on a stack that a pthread library
 * made, with the thread's own data at its upper end and a guard below.  So
 * small stacks of coroutines on a heap are never written to.
 *
 * Interrupted system calls go on as with a freeze, which see.
 */
#ifndef PM_INJECT_H
#define PM_INJECT_H

#include <stdint.h>

#include <sys/types.h>

#include "fault.h"

/* Whether this build knows how to, which is so on x86_64 only. */
int pm_inject_can(void);

/*
 * *uffd is a userfaultfd of the memory of process pid, or of that of the
 * thread pid, close-on-exec, non-blocking, for faults of user mode, and not
 * spoken to yet (UFFDIO_API); *stopped_us is how long the thread stood
 * still.  The calling thread traces meanwhile.
 *
 * PM_ERR_REFUSED, and nothing is changed, when this build does not know how,
 * for this process itself, one without memory, one that is traced already, a
 * 32-bit one, one without the code to return from signals, one with a shadow
 * stack, redirected system calls or a seccomp(2) filter that may not be
 * suspended, when no thread has a stack with room for a fifth of a second,
 * and when the kernel does not give it a userfaultfd.  PM_ERR_SYSTEM when
 * there is no such process, when it may not be traced, dies meanwhile, or
 * when its thread does not stop within seconds: such a thread is free when
 * the calling thread ends.
 */
enum pm_status pm_inject_uffd(pid_t pid, int *uffd, uint64_t *stopped_us,
    struct pm_fault *);

#endif /* PM_INJECT_H */
