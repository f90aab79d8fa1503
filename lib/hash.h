/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hash.h - digests: of a page, of sets of pages, of a whole memory.
 *
 *	hash(region, page) = XXH3-128(XXH3-128(content), key, page number)
 *	key of a region    = XXH3-64(its name)
 *	digest of a set    = sum of its pages' hashes, modulo 2^128
 *
 * A page of zeroes adds nothing.  Sums make sets divisible: parts add up to
 * the whole in any order.  pm-stream(5), THE DIGEST, is the specification;
 * XXH3 is that of the xxHash library.
 */
#ifndef PM_HASH_H
#define PM_HASH_H

#include <stddef.h>
#include <stdint.h>

#define PM_DIGEST_SIZE	16u
#define PM_DIGEST_TEXT	33u		/* hexadecimal digits and a NUL */

struct pm_digest {
	uint64_t low, high;
};

static inline struct pm_digest
pm_digest_add(struct pm_digest a, struct pm_digest b)
{
	uint64_t low = a.low + b.low;

	return (struct pm_digest){ low, a.high + b.high + (low < a.low) };
}

static inline struct pm_digest
pm_digest_subtract(struct pm_digest a, struct pm_digest b)
{
	return (struct pm_digest){ a.low - b.low,
	    a.high - b.high - (a.low < b.low) };
}

static inline int
pm_digest_equal(struct pm_digest a, struct pm_digest b)
{
	return a.low == b.low && a.high == b.high;
}

static inline int
pm_digest_is_zero(struct pm_digest a)
{
	return (a.low | a.high) == 0;
}

/* A digest as the 16 little-endian bytes of its number, and back. */
void pm_digest_pack(struct pm_digest, uint8_t out[PM_DIGEST_SIZE]);
struct pm_digest pm_digest_unpack(const uint8_t in[PM_DIGEST_SIZE]);

/* Its number in 32 hexadecimal digits, as xxhsum prints one. */
void pm_digest_text(struct pm_digest, char out[PM_DIGEST_TEXT]);

/* True when all size bytes are zero; size is a multiple of 256. */
int pm_hash_is_zero(const void *page, size_t size);

/* XXH3-128 of size bytes: a record's payload, or the content of a page. */
struct pm_digest pm_hash_bytes(const void *bytes, size_t size);

/*
 * The same of bytes that come in pieces; the sum is that of all so far, and
 * more may follow.  NULL when memory ran out.
 */
struct pm_hash;
struct pm_hash *pm_hash_begin(void);
void pm_hash_add(struct pm_hash *, const void *bytes, size_t size);
struct pm_digest pm_hash_sum(const struct pm_hash *);
void pm_hash_end(struct pm_hash *);

/* As pm_hash_bytes, but 0 for a page of zeroes: what tables remember. */
struct pm_digest pm_hash_content(const void *page, size_t size);

/* The hash of a page from that of its content; 0 stays 0. */
struct pm_digest pm_hash_page(struct pm_digest content, uint64_t key,
    uint64_t page);

/* The key of a region, from its name. */
uint64_t pm_hash_key(const char *name, size_t size);

/* What a region adds to the id of a memory, besides its pages. */
struct pm_digest pm_hash_region(uint64_t key, uint64_t address,
    uint64_t length);

/* The low half of XXH3-64 over up to three buffers, as one. */
uint32_t pm_hash_check(const void *a, size_t a_size, const void *b,
    size_t b_size, const void *c, size_t c_size);

#endif /* PM_HASH_H */
