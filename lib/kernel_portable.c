/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "kernel.h"

/*
 * Words of 64 bits: what any machine has.  Where this is the only set, xxHash
 * may use what every machine of the kind has besides.
 */
#if PM_KERNEL_X86 || defined(PM_PORTABLE)
#define XXH_VECTOR	0	/* XXH_SCALAR, before its header names it */
#endif

static inline uint64_t
word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline int
any_bit(const uint8_t *p)
{
	uint64_t any = 0;

	for (unsigned at = 0; at < 256; at += 64)
		any |= word_at(p + at) | word_at(p + at + 8) |
		    word_at(p + at + 16) | word_at(p + at + 24) |
		    word_at(p + at + 32) | word_at(p + at + 40) |
		    word_at(p + at + 48) | word_at(p + at + 56);
	return any != 0;
}

static inline int
any_difference(const uint8_t *a, const uint8_t *b)
{
	uint64_t any = 0;

	for (unsigned at = 0; at < 256; at += 32)
		any |= (word_at(a + at) ^ word_at(b + at)) |
		    (word_at(a + at + 8) ^ word_at(b + at + 8)) |
		    (word_at(a + at + 16) ^ word_at(b + at + 16)) |
		    (word_at(a + at + 24) ^ word_at(b + at + 24));
	return any != 0;
}

/* The high bit of each byte that is not zero, gathered; the first lowest. */
static inline uint64_t
bits_of(uint64_t word)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	word = __builtin_bswap64(word);
#endif
	word = (((word & low) + low) | word) & ~low;
	return (word >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline void
find_differences(const uint8_t *a, const uint8_t *b, uint64_t mask[4])
{
	for (unsigned i = 0; i < 4; i++, a += 64, b += 64) {
		mask[i] = 0;
		for (unsigned at = 0; at < 64; at += 8)
			mask[i] |= bits_of(word_at(a + at) ^
			    word_at(b + at)) << at;
	}
}

static inline void
leave_wide(void)
{
}

#include "kernel_loops.inc"

const struct pm_kernel pm_kernel_portable = PM_KERNEL_SET("portable");
