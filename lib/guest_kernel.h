/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_kernel.h - the kernel that a note in a guest's memory tells of.
 */
#ifndef PM_GUEST_KERNEL_H
#define PM_GUEST_KERNEL_H

#include "guest_info.h"
#include "guest_pages.h"
#include "guest_space.h"
#include "guest_symbols.h"

#define PM_GUEST_RANGES_MAX	4096u	/* of a map of RAM */

enum pm_guest_kernel_symbol {
	PM_GUEST_SYSTEM_STATE,
	PM_GUEST_PANIC_CPU,
	PM_GUEST_RAM_MAP,
	PM_GUEST_TOTAL_PAGES,
	PM_GUEST_CPU_IDS,

	/* Not all kernels have these. */
	PM_GUEST_POISON_EARLY,
	PM_GUEST_POISON,
	PM_GUEST_INIT_ON_FREE,
	PM_GUEST_SYMBOLS,
};

struct pm_guest_kernel {
	struct pm_guest *guest;		/* what is known of it */
	const struct pm_guest_memory *memory;
	struct pm_fault *fault;
	struct pm_guest_info info;	/* the note */
	struct pm_guest_space space;
	struct pm_guest_symbol symbol[PM_GUEST_SYMBOLS];
	struct pm_guest_ranges ram;	/* room for PM_GUEST_RANGES_MAX */
	uint64_t tables, text;		/* virtual addresses, */
	uint64_t base;			/* and what to add for physical ones */
	uint64_t split;			/* the highest end of low RAM */

	/* Of all notes, why the one that led farthest is not taken. */
	unsigned depth;
	struct pm_fault why;
};

/*
 * Follow the note to all that is wanted.  PM_END when it leads to nothing
 * that can be taken; then why may have changed.
 */
enum pm_status pm_guest_kernel_look(struct pm_guest_kernel *);

/* Say that memory ran out; errno tells. */
enum pm_status pm_guest_kernel_no_memory(struct pm_guest_kernel *);

#endif /* PM_GUEST_KERNEL_H */
