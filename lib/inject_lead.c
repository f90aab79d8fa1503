/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* syscall */
#include <errno.h>
#include <fcntl.h>

#include "clock.h"
#include "inject_lead.h"

enum pm_status
pm_inject_fail_dead(const struct pm_inject *inject, struct pm_fault *fault)
{
	errno = ESRCH;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "process %d died meanwhile", (int)inject->tracee.pid);
}

enum pm_status
pm_inject_fail_late(const struct pm_inject *inject, struct pm_fault *fault)
{
	errno = ETIMEDOUT;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "process %d cannot be "
	    "stopped: its thread %d does not respond",
	    (int)inject->tracee.pid, (int)inject->tracee.tid);
}

enum pm_status
pm_inject_refuse(const struct pm_inject *inject, const char *why,
    struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL, "process %d %s",
	    (int)inject->tracee.pid, why);
}

#if PM_SIGFRAME_KNOWN

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#define USER_MODE_ONLY	1u	/* UFFD_USER_MODE_ONLY */
#define UFFD_NAME	"anon_inode:[userfaultfd]"
#define FLAG_STEP	0x100	/* of eflags: trap behind each step */
#define END_US		1000000

/* A thread that stands, as it was before anything was done to it. */
struct held {
	struct pm_inject *inject;
	struct pm_tracee *tracee;
	uint64_t deadline;
	int mem;			/* memory of the process */
	struct user_regs_struct regs;
	uint64_t mask;
	uint64_t stack;			/* of the restorer */
	uint8_t vectors[PM_SIGFRAME_MAX];
	uint8_t frame[PM_SIGFRAME_MAX];
};

/* A step came to another end than it should. */
static enum pm_status
fail_astray(const struct held *held, struct pm_fault *fault)
{
	if (held->tracee->stop == PM_TRACEE_RUNS)
		return pm_inject_fail_late(held->inject, fault);
	if (held->tracee->stop == PM_TRACEE_ENDED)
		return pm_inject_fail_dead(held->inject, fault);
	errno = EPROTO;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "thread %d of process %d is not where it was led (signal %d)",
	    (int)held->tracee->tid, (int)held->tracee->pid,
	    held->tracee->signal);
}

static enum pm_status
refuse_registers(const struct held *held, struct pm_fault *fault)
{
	return pm_inject_refuse(held->inject, "has registers that this build "
	    "does not know", fault);
}

/* Put what it needs to return on its stack. */
static enum pm_status
lay_frame(struct held *held, struct pm_fault *fault)
{
	struct iovec vectors = { held->vectors, sizeof(held->vectors) };
	struct pm_sigframe_state state = { .regs = &held->regs };
	uint64_t at;
	size_t size;

	if (ptrace(PTRACE_GETSIGMASK, held->tracee->tid,
	    (void *)sizeof(held->mask), &held->mask) != 0 ||
	    ptrace(PTRACE_GETREGSET, held->tracee->tid,
	    (void *)(uintptr_t)NT_X86_XSTATE, &vectors) != 0)
		return errno == ESRCH ? pm_inject_fail_dead(held->inject, fault)
		    : refuse_registers(held, fault);
	state.mask = held->mask;
	state.vectors = held->vectors;
	state.size = vectors.iov_len;
	size = pm_sigframe_make(held->frame, &state,
	    held->regs.rsp - PM_SIGFRAME_REDZONE,
	    held->inject->restorer.address, &at);
	if (size == 0 || at < held->regs.rsp - PM_INJECT_ROOM)
		return refuse_registers(held, fault);
	if (pwrite(held->mem, held->frame, size, (off_t)at) != (ssize_t)size)
		return pm_inject_refuse(held->inject, "has a stack that "
		    "cannot be written", fault);
	held->stack = at + sizeof(uint64_t);
	return PM_OK;
}

/*
 * Have it return from a signal when it goes on, even without us.  Signals
 * are blocked only then: the frame brings back those that were.
 */
static enum pm_status
aim(struct held *held, struct pm_fault *fault)
{
	struct user_regs_struct regs = held->regs;
	uint64_t all = UINT64_MAX;

	regs.rip = held->inject->restorer.address;
	regs.rsp = held->stack;
	regs.orig_rax = (unsigned long long)-1;
	regs.eflags &= ~(unsigned long long)FLAG_STEP;
	if (ptrace(PTRACE_SETREGS, held->tracee->tid, NULL, &regs) != 0 ||
	    ptrace(PTRACE_SETSIGMASK, held->tracee->tid,
	    (void *)sizeof(all), &all) != 0)
		return pm_inject_fail_dead(held->inject, fault);
	return PM_OK;
}

/* Go to the next stop at a system call, which is that one. */
static enum pm_status
go_to_call(struct held *held, long number, uint64_t rip,
    struct user_regs_struct *regs, struct pm_fault *fault)
{
	if (!pm_tracee_go(held->tracee, PM_TRACEE_CALL, held->deadline))
		return fail_astray(held, fault);
	if (ptrace(PTRACE_GETREGS, held->tracee->tid, NULL, regs) != 0)
		return pm_inject_fail_dead(held->inject, fault);
	if (regs->orig_rax != (unsigned long long)number ||
	    regs->rip != rip || regs->rsp != held->stack)
		return fail_astray(held, fault);
	return PM_OK;
}

/*
 * As it is about to return from the signal, make another system call of
 * that, behind which it comes back to the same code.
 */
static enum pm_status
call(struct held *held, long number, uint64_t argument, long *result,
    struct pm_fault *fault)
{
	const struct pm_restorer *restorer = &held->inject->restorer;
	struct user_regs_struct regs;
	enum pm_status status;

	status = go_to_call(held, SYS_rt_sigreturn, restorer->behind, &regs,
	    fault);
	if (status != PM_OK)
		return status;
	regs.orig_rax = (unsigned long long)number;
	regs.rdi = argument;
	regs.rip = restorer->address;
	if (ptrace(PTRACE_SETREGS, held->tracee->tid, NULL, &regs) != 0)
		return pm_inject_fail_dead(held->inject, fault);
	status = go_to_call(held, number, restorer->address, &regs, fault);
	*result = (long)regs.rax;
	return status;
}

static enum pm_status
fail_made(const struct held *held, int error, struct pm_fault *fault)
{
	const char *why;

	switch (error) {
	case EPERM:
		why = "may not make a userfaultfd";
		break;
	case ENOSYS:
		why = "cannot make a userfaultfd: the kernel has none";
		break;
	case EINVAL:
		why = "cannot make a userfaultfd: the kernel has none that is "
		    "for user mode only";
		break;
	case EMFILE:
		why = "cannot make a userfaultfd: it has no descriptor left";
		break;
	default:
		errno = error;
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "process %d "
		    "cannot make a userfaultfd: %s",
		    (int)held->tracee->pid, strerror(error));
	}
	return pm_inject_refuse(held->inject, why, fault);
}

/* Another thread may have put anything in its place. */
static int
is_uffd(int fd)
{
	char path[32], name[64];
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	got = readlink(path, name, sizeof(name));
	return got == (ssize_t)sizeof(UFFD_NAME) - 1 &&
	    memcmp(name, UFFD_NAME, sizeof(UFFD_NAME) - 1) == 0;
}

static enum pm_status
take_over(struct held *held, long theirs, struct pm_fault *fault)
{
	int fd = (int)syscall(SYS_pidfd_getfd, held->inject->pidfd, theirs, 0);

	if (fd >= 0 && is_uffd(fd)) {
		held->inject->uffd = fd;
		return PM_OK;
	}
	if (fd >= 0) {
		close(fd);
		errno = EBADF;
	}
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "the userfaultfd of "
	    "process %d cannot be taken over: %s", (int)held->tracee->pid,
	    strerror(errno));
}

static enum pm_status
lead(struct held *held, struct pm_fault *fault)
{
	const unsigned flags = O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY;
	enum pm_status status, closed;
	long theirs, result;

	status = aim(held, fault);
	if (status == PM_OK)
		status = call(held, SYS_userfaultfd, flags, &theirs, fault);
	if (status != PM_OK)
		return status;
	if (theirs < 0)
		return fail_made(held, (int)-theirs, fault);
	status = take_over(held, theirs, fault);
	closed = call(held, SYS_close, (uint64_t)theirs, &result, fault);
	return status != PM_OK ? status : closed;
}

/*
 * Bring the thread back.  The kernel makes an interrupted system call again
 * only where it delivers signals, so that is where the thread has to stand.
 * It has not returned from a signal, so what is left of a sleep is known.
 */
static enum pm_status
restore(struct held *held, enum pm_status status, struct pm_fault *fault)
{
	uint64_t deadline = pm_clock_us() + END_US;
	pid_t tid = held->tracee->tid;

	if (held->tracee->stop == PM_TRACEE_ENDED)
		return status;
	(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	if (held->tracee->stop == PM_TRACEE_RUNS)
		pm_tracee_wait(held->tracee, deadline);
	if (held->tracee->stop == PM_TRACEE_TRAP ||
	    pm_tracee_go(held->tracee, PM_TRACEE_TRAP, deadline)) {
		(void)ptrace(PTRACE_SETSIGMASK, tid,
		    (void *)sizeof(held->mask), &held->mask);
		(void)ptrace(PTRACE_SETREGS, tid, NULL, &held->regs);
		return status;
	}
	return status != PM_OK ? status : fail_astray(held, fault);
}

enum pm_status
pm_inject_lead(struct pm_inject *inject, int mem,
    const struct user_regs_struct *regs, uint64_t deadline,
    struct pm_fault *fault)
{
	struct held held = { .inject = inject, .tracee = &inject->tracee,
	    .deadline = deadline, .mem = mem, .regs = *regs };
	enum pm_status status = lay_frame(&held, fault);

	return status != PM_OK ? status
	    : restore(&held, lead(&held, fault), fault);
}

#endif
