/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* madvise, MAP_NORESERVE */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pagecache.h"

#define HUGE_PAGE	(2u << 20)	/* bytes, where there are such */

/* Slots are numbered from 1: 0 ends a chain, and is the head of the ring. */
struct slot {
	uint64_t key, page;
	uint64_t round;		/* in which it was last used */
	uint32_t newer, older;	/* ring by use, through slot 0 */
	uint32_t chain;		/* next in its bucket, or of the spare */
	uint32_t live;		/* holds a page */
};

struct pm_pagecache {
	unsigned page_shift;
	uint32_t slots;
	uint32_t touched;	/* slots that ever held a page, the first ones */
	uint32_t spare;		/* first of those that hold none now */
	uint32_t mask;		/* of buckets */
	uint64_t round;
	struct slot *slot;
	uint32_t *bucket;
	uint8_t *content;
	void *mapped;		/* what holds it, or NULL: the heap does */
	size_t mapped_size;
};

/* Buckets minus one: a power of two of them, no fewer than slots. */
static uint32_t
bucket_mask(uint32_t slots)
{
	uint64_t buckets = 1;

	while (buckets < slots)
		buckets *= 2;
	return (uint32_t)(buckets - 1);
}

uint64_t
pm_pagecache_memory(uint32_t slots, unsigned page_shift)
{
	return ((uint64_t)slots << page_shift) +
	    ((uint64_t)slots + 1) * sizeof(struct slot) +
	    ((uint64_t)bucket_mask(slots) + 1) * sizeof(uint32_t);
}

/*
 * Room for the pages, untouched: it may be for more than will ever come, or
 * than there is memory.  Huge pages where the kernel gives them: a fault for
 * each page would cost as much as all that is done with it.
 */
static uint8_t *
new_content(struct pm_pagecache *cache)
{
	size_t size = (size_t)cache->slots << cache->page_shift;
	void *at;

	if (size >> cache->page_shift != cache->slots ||
	    size > SIZE_MAX - HUGE_PAGE)
		return NULL;
	if (size < HUGE_PAGE)
		return calloc(1, size + (size == 0));
	at = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	cache->mapped = at;
	cache->mapped_size = size + HUGE_PAGE;
	at = (uint8_t *)at + (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE);
	(void)madvise(at, size, MADV_HUGEPAGE);
	return at;
}

struct pm_pagecache *
pm_pagecache_new(uint32_t slots, unsigned page_shift)
{
	struct pm_pagecache *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	cache->page_shift = page_shift;
	cache->slots = slots;
	cache->mask = bucket_mask(slots);
	cache->slot = calloc((size_t)slots + 1, sizeof(cache->slot[0]));
	cache->bucket = calloc((size_t)cache->mask + 1,
	    sizeof(cache->bucket[0]));
	cache->content = new_content(cache);
	if (cache->slot == NULL || cache->bucket == NULL ||
	    cache->content == NULL) {
		pm_pagecache_free(cache);
		return NULL;
	}
	return cache;
}

void
pm_pagecache_free(struct pm_pagecache *cache)
{
	if (cache == NULL)
		return;
	free(cache->slot);
	free(cache->bucket);
	if (cache->mapped != NULL)
		munmap(cache->mapped, cache->mapped_size);
	else
		free(cache->content);
	free(cache);
}

void
pm_pagecache_clear(struct pm_pagecache *cache)
{
	memset(cache->bucket, 0,
	    ((size_t)cache->mask + 1) * sizeof(cache->bucket[0]));
	memset(cache->slot, 0,
	    ((size_t)cache->touched + 1) * sizeof(cache->slot[0]));
	cache->touched = cache->spare = 0;
}

void
pm_pagecache_begin_round(struct pm_pagecache *cache)
{
	cache->round++;
}

/* The link that leads to a page, or that ends its chain. */
static uint32_t *
link_to(struct pm_pagecache *cache, uint64_t key, uint64_t page)
{
	uint64_t hash = key ^ page * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t *link;

	hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
	link = &cache->bucket[(hash >> 32) & cache->mask];
	while (*link != 0 && (cache->slot[*link].page != page ||
	    cache->slot[*link].key != key))
		link = &cache->slot[*link].chain;
	return link;
}

static uint8_t *
content_of(struct pm_pagecache *cache, uint32_t at)
{
	return cache->content + ((size_t)(at - 1) << cache->page_shift);
}

static void
leave_ring(struct pm_pagecache *cache, uint32_t at)
{
	struct slot *slot = &cache->slot[at];

	cache->slot[slot->newer].older = slot->older;
	cache->slot[slot->older].newer = slot->newer;
}

/* The page behind the head is the one used last. */
static void
enter_ring(struct pm_pagecache *cache, uint32_t at)
{
	struct slot *slot = &cache->slot[at], *head = &cache->slot[0];

	slot->round = cache->round;
	slot->newer = 0;
	slot->older = head->older;
	cache->slot[head->older].newer = at;
	head->older = at;
}

uint8_t *
pm_pagecache_find(struct pm_pagecache *cache, uint64_t key, uint64_t page)
{
	uint32_t at = *link_to(cache, key, page);

	return at == 0 ? NULL : content_of(cache, at);
}

uint8_t *
pm_pagecache_use(struct pm_pagecache *cache, uint64_t key, uint64_t page)
{
	uint32_t at = *link_to(cache, key, page);

	if (at == 0)
		return NULL;
	leave_ring(cache, at);
	enter_ring(cache, at);
	return content_of(cache, at);
}

void
pm_pagecache_remove(struct pm_pagecache *cache, uint64_t key, uint64_t page)
{
	uint32_t *link = link_to(cache, key, page), at = *link;

	if (at == 0)
		return;
	*link = cache->slot[at].chain;
	leave_ring(cache, at);
	cache->slot[at].live = 0;
	cache->slot[at].chain = cache->spare;
	cache->spare = at;
}

/* A slot that holds no page, or 0. */
static uint32_t
take_slot(struct pm_pagecache *cache)
{
	uint32_t at = cache->spare;

	if (at != 0)
		cache->spare = cache->slot[at].chain;
	else if (cache->touched < cache->slots)
		at = ++cache->touched;
	return at;
}

uint8_t *
pm_pagecache_admit(struct pm_pagecache *cache, uint64_t key, uint64_t page,
    int *evicted)
{
	uint32_t at = take_slot(cache), *link;

	*evicted = at == 0;
	if (*evicted) {
		const struct slot *oldest = &cache->slot[cache->slot[0].newer];

		if (oldest == &cache->slot[0] ||
		    oldest->round == cache->round) {
			*evicted = 0;
			return NULL;
		}
		pm_pagecache_remove(cache, oldest->key, oldest->page);
		at = take_slot(cache);
	}
	link = link_to(cache, key, page);
	*link = at;
	cache->slot[at] = (struct slot){ .key = key, .page = page, .live = 1 };
	enter_ring(cache, at);
	return content_of(cache, at);
}

uint32_t
pm_pagecache_slots(const struct pm_pagecache *cache)
{
	return cache->touched;
}

uint8_t *
pm_pagecache_at(struct pm_pagecache *cache, uint32_t at, uint64_t *key,
    uint64_t *page)
{
	const struct slot *slot = &cache->slot[at + 1];

	if (!slot->live)
		return NULL;
	*key = slot->key;
	*page = slot->page;
	return content_of(cache, at + 1);
}
