/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sigframe.h - what rt_sigreturn(2) takes a thread's state from.
 *
 * A thread that makes that system call with a frame under its stack pointer
 * goes on with the registers, the signal mask and the vector registers that
 * the frame holds.  The layout is that of struct rt_sigframe in Linux,
 * arch/x86/include/asm/sigframe.h and uapi/asm/sigcontext.h, for 64 bits.
 */
#ifndef PM_SIGFRAME_H
#define PM_SIGFRAME_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#define PM_SIGFRAME_KNOWN	1	/* how to make one */
#else
#define PM_SIGFRAME_KNOWN	0
#endif

#define PM_SIGFRAME_MAX		16128u	/* bytes of any frame */
#define PM_SIGFRAME_REDZONE	128u	/* bytes under a stack pointer that
					   belong to the function there */

struct user_regs_struct;

/* All that a thread needs to go on. */
struct pm_sigframe_state {
	const struct user_regs_struct *regs;
	uint64_t mask;			/* blocked signals */
	const void *vectors;		/* NT_X86_XSTATE of ptrace(2) */
	size_t size;			/* of these, bytes */
};

/*
 * The frame that goes below that stack address, with that code to return
 * to, in bytes, which have room for PM_SIGFRAME_MAX; *at is where it goes.
 * Its size, or 0 when the state is not understood.  The frame leaves the
 * alternate signal stack as it is.
 */
size_t pm_sigframe_make(uint8_t *bytes, const struct pm_sigframe_state *,
    uint64_t below, uint64_t code, uint64_t *at);

/*
 * The registers of a thread that was stopped in a system call say that it
 * must be made again, which the kernel does when the thread goes on.  Make
 * them the registers of a thread that is about to make it.
 */
void pm_sigframe_rewind(struct user_regs_struct *);

#endif /* PM_SIGFRAME_H */
