/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel.h"

#if PM_KERNEL_X86
#include <immintrin.h>

/* AVX-512 with its instructions on bytes: 64 bytes at a time. */

#define XXH_VECTOR	3	/* XXH_AVX512, before its header names it */

static inline __m512i
load(const uint8_t *p)
{
	return _mm512_loadu_si512((const void *)p);
}

static inline int
any_bit(const uint8_t *p)
{
	__m512i any = _mm512_or_si512(
	    _mm512_or_si512(load(p), load(p + 64)),
	    _mm512_or_si512(load(p + 128), load(p + 192)));

	return _mm512_test_epi64_mask(any, any) != 0;
}

/* In 32 bytes, one after the other: what memory delivers best. */
static inline __m256i
load_half(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline int
any_difference(const uint8_t *a, const uint8_t *b)
{
	__m256i any = _mm256_xor_si256(load_half(a), load_half(b));

	for (unsigned at = 32; at < PM_KERNEL_STEP; at += 32)
		any = _mm256_or_si256(any, _mm256_xor_si256(load_half(a + at),
		    load_half(b + at)));
	return !_mm256_testz_si256(any, any);
}

static inline void
find_differences(const uint8_t *a, const uint8_t *b, uint64_t mask[4])
{
	for (unsigned i = 0; i < 4; i++)
		mask[i] = _mm512_cmpneq_epu8_mask(load(a + 64 * i),
		    load(b + 64 * i));
}

static inline void
leave_wide(void)
{
	_mm256_zeroupper();
}

#include "kernel_loops.inc"

const struct pm_kernel pm_kernel_avx512 = PM_KERNEL_SET("avx512");
#endif
