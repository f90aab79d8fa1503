/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, MADV_NOHUGEPAGE */
#include <errno.h>
#include <sys/mman.h>

#include "bitmap.h"

enum pm_status
pm_bitmap_open(struct pm_bitmap *map, uint64_t bits)
{
	uint64_t words = bits / 64 + (bits % 64 != 0);
	uint64_t size = (words + words / 64 + 1) * sizeof(map->word[0]);
	void *memory;

	*map = (struct pm_bitmap){ .bits = bits };
	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return PM_ERR_SYSTEM;
	}
	memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return PM_ERR_SYSTEM;
	/* A bit should cost a page of memory, and not 2 MiB. */
	(void)madvise(memory, (size_t)size, MADV_NOHUGEPAGE);
	map->word = memory;
	map->summary = map->word + words;
	map->size = (size_t)size;
	return PM_OK;
}

void
pm_bitmap_close(struct pm_bitmap *map)
{
	if (map->size > 0)
		munmap(map->word, map->size);
	*map = (struct pm_bitmap){ 0 };
}

/* The bits that [from, end) has in the word at that place; at least one. */
static uint64_t
mask_of(uint64_t at, uint64_t from, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (at == from / 64)
		mask <<= from % 64;
	if (at == end / 64)
		mask &= (UINT64_C(1) << end % 64) - 1;
	return mask;
}

static unsigned
bits_in(uint64_t word)
{
	return (unsigned)__builtin_popcountll(word);
}

void
pm_bitmap_set_run(struct pm_bitmap *map, uint64_t from, uint64_t count)
{
	uint64_t end = from + count;

	for (uint64_t at = from / 64; at * 64 < end; at++) {
		uint64_t new = mask_of(at, from, end) & ~map->word[at];

		if (new == 0)
			continue;
		map->summary[at / 64] |= UINT64_C(1) << at % 64;
		map->word[at] |= new;
		map->count += bits_in(new);
	}
}

void
pm_bitmap_clear_run(struct pm_bitmap *map, uint64_t from, uint64_t count)
{
	uint64_t end = from + count, words = end / 64 + (end % 64 != 0);

	for (uint64_t at = from / 64; map->count > 0 &&
	    (at = pm_bitmap_next_word(map, at, words)) < words; at++) {
		uint64_t old = mask_of(at, from, end) & map->word[at];

		map->word[at] &= ~old;
		if (map->word[at] == 0)
			map->summary[at / 64] &= ~(UINT64_C(1) << at % 64);
		map->count -= bits_in(old);
	}
}

void
pm_bitmap_clear_all(struct pm_bitmap *map)
{
	pm_bitmap_clear_run(map, 0, map->bits);
}

uint64_t
pm_bitmap_next_word(const struct pm_bitmap *map, uint64_t from, uint64_t end)
{
	uint64_t at = from / 64, word;

	if (from >= end)
		return end;
	word = map->summary[at] & UINT64_MAX << from % 64;
	while (word == 0) {
		if (++at * 64 >= end)
			return end;
		word = map->summary[at];
	}
	at = at * 64 + (unsigned)__builtin_ctzll(word);
	return at < end ? at : end;
}

uint64_t
pm_bitmap_run(const struct pm_bitmap *map, uint64_t from, uint64_t end)
{
	uint64_t at = from / 64, clear;

	if (from >= end)
		return end;
	clear = ~map->word[at] & UINT64_MAX << from % 64;
	while (clear == 0) {
		if (++at * 64 >= end)
			return end;
		clear = ~map->word[at];
	}
	at = at * 64 + (unsigned)__builtin_ctzll(clear);
	return at < end ? at : end;
}
