/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bytes.h"
#include "hash.h"
#include "kernel.h"

void
pm_digest_pack(struct pm_digest digest, uint8_t out[PM_DIGEST_SIZE])
{
	pm_put_le(out, digest.low, 8);
	pm_put_le(out + 8, digest.high, 8);
}

struct pm_digest
pm_digest_unpack(const uint8_t in[PM_DIGEST_SIZE])
{
	return (struct pm_digest){ pm_get_le(in, 8), pm_get_le(in + 8, 8) };
}

void
pm_digest_text(struct pm_digest digest, char out[PM_DIGEST_TEXT])
{
	snprintf(out, PM_DIGEST_TEXT, "%016" PRIx64 "%016" PRIx64,
	    digest.high, digest.low);
}

int
pm_hash_is_zero(const void *page, size_t size)
{
	return pm_kernel_best()->is_zero(page, size);
}

struct pm_digest
pm_hash_bytes(const void *bytes, size_t size)
{
	uint64_t out[2];

	pm_kernel_best()->hash(bytes, size, out);
	return (struct pm_digest){ out[0], out[1] };
}

/* Only a name for what xxHash allocates, aligned as it needs it. */
static XXH3_state_t *
state_of(struct pm_hash *hash)
{
	return (XXH3_state_t *)hash;
}

struct pm_hash *
pm_hash_begin(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state != NULL)
		XXH3_128bits_reset(state);
	return (struct pm_hash *)state;
}

void
pm_hash_add(struct pm_hash *hash, const void *bytes, size_t size)
{
	XXH3_128bits_update(state_of(hash), bytes, size);
}

struct pm_digest
pm_hash_sum(const struct pm_hash *hash)
{
	XXH128_hash_t sum = XXH3_128bits_digest((const XXH3_state_t *)hash);

	return (struct pm_digest){ sum.low64, sum.high64 };
}

void
pm_hash_end(struct pm_hash *hash)
{
	XXH3_freeState(state_of(hash));
}

struct pm_digest
pm_hash_content(const void *page, size_t size)
{
	if (pm_hash_is_zero(page, size))
		return (struct pm_digest){ 0, 0 };
	return pm_hash_bytes(page, size);
}

struct pm_digest
pm_hash_page(struct pm_digest content, uint64_t key, uint64_t page)
{
	uint8_t bytes[32];

	if (pm_digest_is_zero(content))
		return content;
	pm_digest_pack(content, bytes);
	pm_put_le(bytes + 16, key, 8);
	pm_put_le(bytes + 24, page, 8);
	return pm_hash_bytes(bytes, sizeof(bytes));
}

uint64_t
pm_hash_key(const char *name, size_t size)
{
	return XXH3_64bits(name, size);
}

struct pm_digest
pm_hash_region(uint64_t key, uint64_t address, uint64_t length)
{
	uint8_t bytes[24];

	pm_put_le(bytes, key, 8);
	pm_put_le(bytes + 8, address, 8);
	pm_put_le(bytes + 16, length, 8);
	return pm_hash_bytes(bytes, sizeof(bytes));
}

uint32_t
pm_hash_check(const void *a, size_t a_size, const void *b, size_t b_size,
    const void *c, size_t c_size)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, a, a_size);
	XXH3_64bits_update(&state, b, b_size);
	XXH3_64bits_update(&state, c, c_size);
	return (uint32_t)XXH3_64bits_digest(&state);
}
