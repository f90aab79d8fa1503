/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clock.h"
#include "inject_thread.h"

#if PM_SIGFRAME_KNOWN

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <unistd.h>

#include "maps.h"

/* Of linux/ptrace.h, which older systems lack. */
#define GET_RSEQ	0x420f	/* PTRACE_GET_RSEQ_CONFIGURATION */
#define GET_DISPATCH	0x4211	/* PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG */
#define SUSPEND_SECCOMP	(1u << 21)	/* PTRACE_O_SUSPEND_SECCOMP */

#define CS_64		0x33
#define GUARD_MAX	(1u << 20)	/* of a stack, bytes */
#define STOP_US		5000000

/* A thread that stands, and its registers. */
struct held {
	struct pm_inject *inject;
	const struct pm_tracee *tracee;
	int mem;			/* memory of the process */
	struct user_regs_struct regs;
};

static enum pm_status
suspend_seccomp(const struct held *held, struct pm_fault *fault)
{
	uintptr_t options = PTRACE_O_TRACESYSGOOD | SUSPEND_SECCOMP;
	char mode[16];

	pm_tracee_status(held->tracee, "Seccomp:", mode, sizeof(mode));
	if (mode[0] == '\0' || mode[0] == '0' ||
	    ptrace(PTRACE_SETOPTIONS, held->tracee->tid, NULL,
	    (void *)options) == 0)
		return PM_OK;
	if (errno == ESRCH)
		return pm_inject_fail_dead(held->inject, fault);
	return pm_inject_refuse(held->inject, errno == EPERM
	    ? "has a seccomp filter on its system calls, which takes "
	    "CAP_SYS_ADMIN to suspend"
	    : "has a seccomp filter on its system calls, which this kernel "
	    "cannot suspend", fault);
}

/*
 * Where prctl(2) has system calls give a signal instead, so would ours
 * (Documentation/admin-guide/syscall-user-dispatch.rst in Linux).
 */
static int
is_dispatched(const struct held *held)
{
	struct {
		uint64_t mode, selector, offset, size;
	} dispatch = { .mode = 0 };

	return ptrace(GET_DISPATCH, held->tracee->tid,
	    (void *)sizeof(dispatch), &dispatch) == 0 && dispatch.mode != 0;
}

/*
 * In a restartable sequence (rseq(2)) the kernel would find the thread
 * elsewhere, take the sequence for done, and not abort it when it goes on.
 */
static int
is_in_sequence(const struct held *held)
{
	struct {
		uint64_t at;
		uint32_t size, signature, flags, padding;
	} rseq = { .at = 0 };
	struct {
		uint32_t version, flags;
		uint64_t start, size, abort;
	} sequence = { .size = 0 };
	uint64_t at = 0;

	if (ptrace(GET_RSEQ, held->tracee->tid, (void *)sizeof(rseq),
	    &rseq) < 0 || rseq.at == 0 ||
	    pread(held->mem, &at, sizeof(at), (off_t)rseq.at + 8) !=
	    (ssize_t)sizeof(at) || at == 0)
		return 0;
	return pread(held->mem, &sequence, sizeof(sequence), (off_t)at) !=
	    (ssize_t)sizeof(sequence) ||
	    held->regs.rip - sequence.start < sequence.size;
}

static int
is_anonymous(const struct pm_map *map)
{
	return map->inode == 0 && !map->shared && (map->name[0] == '\0' ||
	    strncmp(map->name, "[anon:", 6) == 0);
}

/*
 * A pthread library puts what a thread has for itself, which the base of
 * the segment fs points to, above its stack, and a guard below.
 */
static int
is_thread_stack(const struct held *held, const struct pm_maps *maps,
    const struct pm_map *map)
{
	const struct pm_map *guard = map - 1;

	return map > maps->map && is_anonymous(map) &&
	    guard->end == map->start && is_anonymous(guard) &&
	    !guard->read && !guard->write && !guard->exec &&
	    guard->end - guard->start <= GUARD_MAX &&
	    held->regs.fs_base > held->regs.rsp &&
	    held->regs.fs_base < map->end;
}

static int
has_room(const struct held *held, const struct pm_maps *maps)
{
	uint64_t rsp = held->regs.rsp;
	size_t at = pm_maps_find(maps, rsp);
	const struct pm_map *map = &maps->map[at];

	if (at == maps->count || rsp < map->start ||
	    rsp - map->start < PM_INJECT_ROOM || !map->read || !map->write)
		return 0;
	return strcmp(map->name, "[stack]") == 0 ||
	    is_thread_stack(held, maps, map);
}

/* Mappings are looked at now, as what the thread stands on cannot go. */
static enum pm_status
check_stack(const struct held *held, struct pm_fault *fault)
{
	struct pm_maps maps;
	enum pm_status status = pm_maps_read(&maps, held->tracee->tid, fault);

	if (status != PM_OK)
		return status;
	if (!has_room(held, &maps))
		status = pm_inject_refuse(held->inject, "has no thread on a "
		    "stack that surely has room", fault);
	pm_maps_free(&maps);
	return status;
}

/* Whether this thread, which stands, will do, as far as it is seen now. */
static enum pm_status
check_thread(struct held *held, struct pm_fault *fault)
{
	struct pm_inject *inject = held->inject;
	enum pm_status status;

	if (ptrace(PTRACE_GETREGS, held->tracee->tid, NULL, &held->regs) != 0)
		return pm_inject_fail_dead(held->inject, fault);
	status = suspend_seccomp(held, fault);
	if (status != PM_OK)
		return status;
	if (is_dispatched(held))
		return pm_inject_refuse(inject, "has its system calls "
		    "redirected", fault);
	inject->again = 1;
	if (held->regs.cs != CS_64)
		return pm_inject_refuse(inject, "runs 32-bit code", fault);
	if (is_in_sequence(held))
		return pm_inject_refuse(inject, "is in a restartable sequence "
		    "whenever it is stopped", fault);
	if (!pm_restorer_is_in(&inject->restorer, held->mem))
		return pm_inject_refuse(inject, "has its code changing",
		    fault);
	status = check_stack(held, fault);
	inject->again = status == PM_ERR_REFUSED;
	return status;
}

static enum pm_status
hold(struct pm_inject *inject, uint64_t deadline, struct pm_fault *fault)
{
	struct pm_tracee *tracee = &inject->tracee;
	int error = pm_tracee_seize(tracee);

	if (error == ESRCH)
		return PM_END;
	if (error != 0) {
		errno = error;
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "process %d "
		    "may not be traced: %s", (int)tracee->pid,
		    strerror(error));
	}
	pm_tracee_wait(tracee, deadline);
	if (tracee->stop == PM_TRACEE_ENDED)
		return PM_END;
	if (tracee->stop == PM_TRACEE_RUNS)
		return pm_inject_fail_late(inject, fault);
	if (tracee->stop == PM_TRACEE_TRAP)
		return PM_OK;
	inject->again = 1;
	return pm_inject_refuse(inject, "has a signal delivered whenever it "
	    "is stopped", fault);
}

static enum pm_status
use(struct pm_inject *inject, uint64_t deadline, struct pm_fault *fault)
{
	struct held held = { .inject = inject, .tracee = &inject->tracee };
	enum pm_status status;
	char path[32];

	/* Not before it stands: it may have become another program. */
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)held.tracee->tid);
	held.mem = open(path, O_RDWR | O_CLOEXEC);
	if (held.mem < 0)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	status = check_thread(&held, fault);
	if (status == PM_OK)
		status = pm_inject_lead(inject, held.mem, &held.regs,
		    deadline, fault);
	close(held.mem);
	return status;
}

enum pm_status
pm_inject_thread(struct pm_inject *inject, struct pm_fault *fault)
{
	uint64_t began = pm_clock_us();
	enum pm_status status = hold(inject, began + STOP_US, fault);

	if (status == PM_OK)
		status = use(inject, began + STOP_US, fault);
	pm_tracee_release(&inject->tracee);
	inject->stopped_us = pm_clock_us() - began;
	if (status != PM_OK && inject->uffd >= 0) {
		close(inject->uffd);
		inject->uffd = -1;
	}
	return status;
}

#else

enum pm_status
pm_inject_thread(struct pm_inject *inject, struct pm_fault *fault)
{
	return pm_inject_refuse(inject, "cannot be led by this build", fault);
}

#endif
