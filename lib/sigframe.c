/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sigframe.h"

#if PM_SIGFRAME_KNOWN

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define UC_FP_XSTATE		0x1u
#define UC_SIGCONTEXT_SS	0x2u
#define UC_STRICT_RESTORE_SS	0x4u

#define MAGIC1			0x46505853u
#define MAGIC2			0x46505845u

/* Of the registers as XSAVE stores them in its standard format. */
#define SOFTWARE_AT		464	/* bytes that it leaves to software */
#define IN_USE_AT		512	/* u64: features that are not initial */
#define VECTORS_MIN		576

#define FEATURE_TILES		18	/* of AMX: only for who asks for it */

/* The frame, as far as its size does not depend on the processor. */
struct frame {
	uint64_t code;
	uint64_t flags, link;			/* struct ucontext */
	uint64_t stack_at;			/* struct sigaltstack */
	uint32_t stack_flags, padding;
	uint64_t stack_size;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t vectors;			/* where they are */
	uint64_t reserved[8];
	uint64_t mask;
	uint8_t info[128];
};

_Static_assert(sizeof(struct frame) == 440, "struct rt_sigframe");

struct software {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t size;
	uint32_t padding[7];
};

_Static_assert(sizeof(struct software) == 512 - SOFTWARE_AT,
    "struct _fpx_sw_bytes");

static uint64_t
get64(const uint8_t *bytes, size_t at)
{
	uint64_t value;

	memcpy(&value, bytes + at, sizeof(value));
	return value;
}

/* What registers with these features take, each at its fixed place. */
static size_t
size_with(uint64_t features)
{
	unsigned eax, ebx, ecx, edx;
	size_t size = VECTORS_MIN;

	for (unsigned at = 2; at < 63; at++) {
		if ((features >> at & 1) == 0)
			continue;
		__cpuid_count(0xd, at, eax, ebx, ecx, edx);
		if ((size_t)ebx + eax > size)
			size = (size_t)ebx + eax;
	}
	return size;
}

/*
 * Linux takes the registers only if the second magic number stands behind
 * them.  Some versions look for it where the frame says, which must not be
 * more than the thread may use; 6.16 to 6.18 look where that ends, and
 * do not tell us where it is.  It is one of two places: the one for threads
 * that may use the tiles, or the one for all others.  Where the tiles are
 * not in use there is room for the magic number at both.
 */
static int
pack_vectors(uint8_t *out, const uint8_t *vectors, size_t full)
{
	uint64_t all = get64(vectors, SOFTWARE_AT);
	uint64_t in_use = get64(vectors, IN_USE_AT);
	uint64_t tiles = UINT64_C(1) << FEATURE_TILES;
	uint64_t features = (in_use & tiles) != 0 ? all : all & ~tiles;
	struct software software = { .magic1 = MAGIC1, .features = features };
	const uint32_t magic2 = MAGIC2;
	size_t size = size_with(features);

	if ((in_use & ~all) != 0 || size_with(all) != full || size > full)
		return 0;
	software.size = (uint32_t)size;
	software.extended_size = (uint32_t)(size + sizeof(magic2));
	memcpy(out, vectors, full);
	memcpy(out + SOFTWARE_AT, &software, sizeof(software));
	memcpy(out + size, &magic2, sizeof(magic2));
	memcpy(out + full, &magic2, sizeof(magic2));
	return 1;
}

static struct frame
pack_registers(const struct user_regs_struct *regs)
{
	return (struct frame){
		.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS |
		    UC_STRICT_RESTORE_SS,
		/* No such flags: the kernel sees it, and changes nothing. */
		.stack_flags = 3,
		.r8 = regs->r8, .r9 = regs->r9, .r10 = regs->r10,
		.r11 = regs->r11, .r12 = regs->r12, .r13 = regs->r13,
		.r14 = regs->r14, .r15 = regs->r15, .rdi = regs->rdi,
		.rsi = regs->rsi, .rbp = regs->rbp, .rbx = regs->rbx,
		.rdx = regs->rdx, .rax = regs->rax, .rcx = regs->rcx,
		.rsp = regs->rsp, .rip = regs->rip, .eflags = regs->eflags,
		.cs = (uint16_t)regs->cs, .ss = (uint16_t)regs->ss,
	};
}

size_t
pm_sigframe_make(uint8_t *bytes, const struct pm_sigframe_state *state,
    uint64_t below, uint64_t code, uint64_t *at)
{
	const size_t tail = sizeof(uint32_t);
	struct user_regs_struct regs = *state->regs;
	uint64_t vectors;
	struct frame frame;
	size_t size;

	if (state->size < VECTORS_MIN || state->size > PM_SIGFRAME_MAX ||
	    below < 2 * PM_SIGFRAME_MAX)
		return 0;
	vectors = (below - state->size - tail) & ~UINT64_C(63);
	/* Where the kernel puts it: a multiple of 16 without the code. */
	*at = ((vectors - sizeof(frame)) & ~UINT64_C(15)) - sizeof(code);
	size = (size_t)(vectors - *at) + state->size + tail;
	if (size > PM_SIGFRAME_MAX)
		return 0;
	pm_sigframe_rewind(&regs);
	frame = pack_registers(&regs);
	frame.code = code;
	frame.mask = state->mask;
	frame.vectors = vectors;
	memset(bytes, 0, size);
	memcpy(bytes, &frame, sizeof(frame));
	return pack_vectors(bytes + (vectors - *at), state->vectors,
	    state->size) ? size : 0;
}

/* The numbers are of include/linux/errno.h, which no program is to see. */
void
pm_sigframe_rewind(struct user_regs_struct *regs)
{
	if ((long long)regs->orig_rax < 0)
		return;
	switch ((long long)regs->rax) {
	case -512:		/* ERESTARTSYS */
	case -513:		/* ERESTARTNOINTR */
	case -514:		/* ERESTARTNOHAND */
		regs->rax = regs->orig_rax;
		break;
	case -516:		/* ERESTART_RESTARTBLOCK */
		regs->rax = SYS_restart_syscall;
		break;
	default:
		return;
	}
	regs->rip -= 2;		/* the size of the instruction */
	regs->orig_rax = (unsigned long long)-1;
}

#else

size_t
pm_sigframe_make(uint8_t *bytes, const struct pm_sigframe_state *state,
    uint64_t below, uint64_t code, uint64_t *at)
{
	(void)bytes;
	(void)state;
	(void)below;
	(void)code;
	(void)at;
	return 0;
}

void
pm_sigframe_rewind(struct user_regs_struct *regs)
{
	(void)regs;
}

#endif
