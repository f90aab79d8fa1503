/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap.h - one bit for each of very many pages, most of them clear.
 *
 * Above the bits there is a summary, with a bit for each word that has any,
 * so that what is clear is passed over 4096 pages at a time.  The memory is
 * the kernel's zeroes until it is written: what a bitmap of 2^40 bits costs
 * is what was set in it.  Memory that was once used stays in use.
 *
 * Nothing here is checked against the number of bits: from + count and end
 * must not exceed it.  A bitmap is for one thread at a time.
 */
#ifndef PM_BITMAP_H
#define PM_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct pm_bitmap {
	uint64_t bits;
	uint64_t count;		/* of those that are set */
	uint64_t *word;		/* 64 bits each */
	uint64_t *summary;	/* a bit for each word that is not 0 */
	size_t size;		/* bytes mapped, for both */
};

/* All bits are clear.  PM_ERR_SYSTEM with errno when there is no memory. */
enum pm_status pm_bitmap_open(struct pm_bitmap *, uint64_t bits);
void pm_bitmap_close(struct pm_bitmap *);

/* Set or clear count bits; those that are so already cost next to nothing. */
void pm_bitmap_set_run(struct pm_bitmap *, uint64_t from, uint64_t count);
void pm_bitmap_clear_run(struct pm_bitmap *, uint64_t from, uint64_t count);
void pm_bitmap_clear_all(struct pm_bitmap *);

/* The first bit of [from, end) that is set, or end. */
static inline uint64_t pm_bitmap_next(const struct pm_bitmap *,
    uint64_t from, uint64_t end);

/* The first bit of [from, end) that is clear, or end. */
uint64_t pm_bitmap_run(const struct pm_bitmap *, uint64_t from,
    uint64_t end);

/* The first word from that one on that is not 0, or end; in words. */
uint64_t pm_bitmap_next_word(const struct pm_bitmap *, uint64_t from,
    uint64_t end);

static inline uint64_t
pm_bitmap_count(const struct pm_bitmap *map)
{
	return map->count;
}

static inline int
pm_bitmap_test(const struct pm_bitmap *map, uint64_t at)
{
	return (int)(map->word[at / 64] >> at % 64 & 1);
}

static inline void
pm_bitmap_set(struct pm_bitmap *map, uint64_t at)
{
	uint64_t *word = &map->word[at / 64];
	uint64_t bit = UINT64_C(1) << at % 64;

	if ((*word & bit) != 0)
		return;
	if (*word == 0)
		map->summary[at / 4096] |= UINT64_C(1) << at / 64 % 64;
	*word |= bit;
	map->count++;
}

static inline void
pm_bitmap_clear(struct pm_bitmap *map, uint64_t at)
{
	uint64_t *word = &map->word[at / 64];
	uint64_t bit = UINT64_C(1) << at % 64;

	if ((*word & bit) == 0)
		return;
	*word &= ~bit;
	if (*word == 0)
		map->summary[at / 4096] &= ~(UINT64_C(1) << at / 64 % 64);
	map->count--;
}

static inline uint64_t
pm_bitmap_next(const struct pm_bitmap *map, uint64_t from, uint64_t end)
{
	uint64_t at = from / 64, word;

	if (from >= end)
		return end;
	word = map->word[at] >> from % 64;
	if (word == 0) {
		at = pm_bitmap_next_word(map, at + 1, (end - 1) / 64 + 1);
		from = at * 64;
		if (from >= end)
			return end;
		word = map->word[at];
	}
	from += (unsigned)__builtin_ctzll(word);
	return from < end ? from : end;
}

#endif /* PM_BITMAP_H */
