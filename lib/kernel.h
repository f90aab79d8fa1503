/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel.h - the loops over the bytes of a page, for each kind of processor.
 *
 * One set of them is compiled for each instruction set out of the same text,
 * kernel_loops.inc, around a few primitives, so that all give the same bytes.
 * A program takes the best that the processor it runs on can execute; tests
 * and measurements may take any.
 */
#ifndef PM_KERNEL_H
#define PM_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && !defined(PM_PORTABLE)
#define PM_KERNEL_X86	1
#else
#define PM_KERNEL_X86	0
#endif

#define PM_KERNEL_STEP	256u	/* bytes; sizes are multiples of it */

struct pm_kernel {
	const char *name;	/* "portable", "sse2", "avx2", "avx512" */

	/* True when all size bytes are zero. */
	int (*is_zero)(const void *page, size_t size);

	/* XXH3-128, low half first, of any number of bytes. */
	void (*hash)(const void *bytes, size_t size, uint64_t out[2]);

	/* pm_xbzrle_encode, which see. */
	size_t (*encode)(const uint8_t *old, const uint8_t *new, size_t size,
	    uint8_t *out, size_t room);
};

/* All but the first are there where PM_KERNEL_X86 is 1. */
extern const struct pm_kernel pm_kernel_portable, pm_kernel_sse2,
    pm_kernel_avx2, pm_kernel_avx512;

/* The best one for this processor. */
const struct pm_kernel *pm_kernel_best(void);

/*
 * Those that this processor can run, the best one first: the one at that
 * place, or NULL behind the last, which is the portable one.
 */
const struct pm_kernel *pm_kernel_at(unsigned at);

#endif /* PM_KERNEL_H */
