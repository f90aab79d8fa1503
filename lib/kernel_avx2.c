/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel.h"

#if PM_KERNEL_X86
#include <immintrin.h>

/* AVX2, with the bit counts that came before it: 32 bytes at a time. */

#define XXH_VECTOR	2	/* XXH_AVX2, before its header names it */

static inline __m256i
load(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline int
any_bit(const uint8_t *p)
{
	__m256i any = load(p);

	for (unsigned at = 32; at < PM_KERNEL_STEP; at += 32)
		any = _mm256_or_si256(any, load(p + at));
	return !_mm256_testz_si256(any, any);
}

static inline int
any_difference(const uint8_t *a, const uint8_t *b)
{
	__m256i any = _mm256_xor_si256(load(a), load(b));

	for (unsigned at = 32; at < PM_KERNEL_STEP; at += 32)
		any = _mm256_or_si256(any, _mm256_xor_si256(load(a + at),
		    load(b + at)));
	return !_mm256_testz_si256(any, any);
}

static inline uint64_t
equal_bytes(const uint8_t *a, const uint8_t *b)
{
	return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load(a),
	    load(b)));
}

static inline void
find_differences(const uint8_t *a, const uint8_t *b, uint64_t mask[4])
{
	for (unsigned i = 0; i < 4; i++, a += 64, b += 64)
		mask[i] = ~(equal_bytes(a, b) |
		    equal_bytes(a + 32, b + 32) << 32);
}

static inline void
leave_wide(void)
{
	_mm256_zeroupper();
}

#include "kernel_loops.inc"

const struct pm_kernel pm_kernel_avx2 = PM_KERNEL_SET("avx2");
#endif
