/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * held.h - what the target holds, as far as a stream shows it.
 *
 * A cache remembers some of the pages that passed (pagecache.h); a base
 * shows pages that did not (base.h).  It follows the stream record by
 * record: regions are known by their numbers in the stream at hand and
 * remembered by their keys, so that a chain may number them anew.
 */
#ifndef PM_HELD_H
#define PM_HELD_H

#include <stdint.h>

#include "base.h"
#include "fault.h"
#include "pagecache.h"
#include "record.h"

struct pm_held {
	unsigned page_shift;		/* 0 before the first stream */
	int remembers;			/* pages of the stream at hand */
	uint32_t slots;
	struct pm_pagecache *cache;	/* NULL before it is needed */
	uint64_t evictions;

	const char *base_path;		/* the caller's; NULL for none */
	struct pm_base base;
	int base_is_open;

	uint32_t regions;
	struct pm_region *region;	/* PM_REGIONS_MAX */
	uint32_t *in_base;		/* their numbers there */
};

/* What is known of the content of a page. */
struct pm_known {
	uint8_t *cached;		/* its place in the cache, or NULL */
	int in_base;
};

/* Know nothing yet.  PM_ERR_SYSTEM; close in any case. */
enum pm_status pm_held_open(struct pm_held *, const char *base_path,
    struct pm_fault *);
void pm_held_close(struct pm_held *);

/*
 * A stream of such pages begins; none of them are remembered unless it is
 * said how many, and whether the cache goes on as it is.  PM_ERR_REFUSED
 * when the pages before had another size.
 */
enum pm_status pm_held_begin_stream(struct pm_held *, unsigned page_shift,
    struct pm_fault *);
enum pm_status pm_held_set_cache(struct pm_held *, uint32_t slots,
    int goes_on, struct pm_fault *);

/* A REGION record; and a record of pages, the first of which opens the base. */
enum pm_status pm_held_learn_region(struct pm_held *,
    const struct pm_record *, struct pm_fault *);
enum pm_status pm_held_open_base(struct pm_held *, struct pm_fault *);

void pm_held_begin_round(struct pm_held *);

/* The key of the region that a record of pages speaks of. */
uint64_t pm_held_key(const struct pm_held *, const struct pm_record *);

/* Runs of ZERO and GONE: cached pages become zeroes, base pages pass. */
void pm_held_take_runs(struct pm_held *, const struct pm_record *);

/* The pages with payload leave the cache and pass, content unknown. */
void pm_held_forget(struct pm_held *, const struct pm_record *);

/* What is known of a page, which is now used; 0 for nothing. */
int pm_held_look_up(struct pm_held *, const struct pm_record *,
    uint64_t page, struct pm_known *);

/*
 * The content of a page of which something is known, until the next call.
 * If it must be read, up to ahead pages from there on are read at once.
 */
enum pm_status pm_held_read(struct pm_held *, const struct pm_record *,
    uint64_t page, uint32_t ahead, const struct pm_known *,
    const uint8_t **content);

/* The page that was looked up has passed with this content. */
void pm_held_remember(struct pm_held *, const struct pm_record *,
    uint64_t page, const struct pm_known *, const uint8_t *content);

#endif /* PM_HELD_H */
