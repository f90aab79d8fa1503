/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel.h"

#if PM_KERNEL_X86
#include <emmintrin.h>

/* What every processor of this architecture has: 16 bytes at a time. */

#define XXH_VECTOR	1	/* XXH_SSE2, before its header names it */

static inline __m128i
load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline int
is_blank(__m128i any)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128()))
	    == 0xffff;
}

static inline int
any_bit(const uint8_t *p)
{
	__m128i any = load(p);

	for (unsigned at = 16; at < PM_KERNEL_STEP; at += 16)
		any = _mm_or_si128(any, load(p + at));
	return !is_blank(any);
}

static inline int
any_difference(const uint8_t *a, const uint8_t *b)
{
	__m128i any = _mm_xor_si128(load(a), load(b));

	for (unsigned at = 16; at < PM_KERNEL_STEP; at += 16)
		any = _mm_or_si128(any, _mm_xor_si128(load(a + at),
		    load(b + at)));
	return !is_blank(any);
}

static inline uint64_t
equal_bytes(const uint8_t *a, const uint8_t *b)
{
	return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load(a), load(b)));
}

static inline void
find_differences(const uint8_t *a, const uint8_t *b, uint64_t mask[4])
{
	for (unsigned i = 0; i < 4; i++, a += 64, b += 64)
		mask[i] = ~(equal_bytes(a, b) |
		    equal_bytes(a + 16, b + 16) << 16 |
		    equal_bytes(a + 32, b + 32) << 32 |
		    equal_bytes(a + 48, b + 48) << 48);
}

static inline void
leave_wide(void)
{
}

#include "kernel_loops.inc"

const struct pm_kernel pm_kernel_sse2 = PM_KERNEL_SET("sse2");
#endif
