/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagecache.h - a fixed number of remembered pages.
 *
 * Pages are known by the key of their region and their number.  All memory
 * is taken by new; every operation but clear takes constant time.  When the
 * cache is full, the page used least recently makes room for a new one,
 * unless it was used in this very round: then the new one is not admitted.
 * So each slot changes hands at most once in a round, and of a working set
 * larger than the cache a part stays, instead of all of it passing through
 * without a hit.
 */
#ifndef PM_PAGECACHE_H
#define PM_PAGECACHE_H

#include <stdint.h>

struct pm_pagecache;

/* Bytes that a cache of that many pages takes, when it is full. */
uint64_t pm_pagecache_memory(uint32_t slots, unsigned page_shift);

/* An empty cache, or NULL when memory ran out.  free(NULL) does nothing. */
struct pm_pagecache *pm_pagecache_new(uint32_t slots, unsigned page_shift);
void pm_pagecache_free(struct pm_pagecache *);

/* Forget all pages. */
void pm_pagecache_clear(struct pm_pagecache *);

/* What was used so far was used in an earlier round. */
void pm_pagecache_begin_round(struct pm_pagecache *);

/*
 * The remembered content of a page, to read or to change, or NULL.  To use
 * it is to make it the page used last, in this round; to find it is not.
 */
uint8_t *pm_pagecache_find(struct pm_pagecache *, uint64_t key,
    uint64_t page);
uint8_t *pm_pagecache_use(struct pm_pagecache *, uint64_t key,
    uint64_t page);

/*
 * Admit a page that is not remembered: room for its content, or NULL when
 * it is not admitted.  *evicted says whether another page had to leave.
 */
uint8_t *pm_pagecache_admit(struct pm_pagecache *, uint64_t key,
    uint64_t page, int *evicted);

/* Forget a page, if it is remembered. */
void pm_pagecache_remove(struct pm_pagecache *, uint64_t key, uint64_t page);

/*
 * The pages one after another, in no order: the number of slots that ever
 * held one, and what slot number at of them holds, or NULL for nothing.
 */
uint32_t pm_pagecache_slots(const struct pm_pagecache *);
uint8_t *pm_pagecache_at(struct pm_pagecache *, uint32_t at, uint64_t *key,
    uint64_t *page);

#endif /* PM_PAGECACHE_H */
