/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * delta.h - send a page as its difference from what the target holds.
 *
 * A delta knows what the target holds of the pages that it remembers
 * (pagecache.h) and of those that its base shows and that have not passed
 * (base.h).  Encoding, a RAW page whose older content is known becomes SAME,
 * or DELTA when that takes at most 3/4 of a page.  Decoding restores each
 * of them to RAW.  Both ends remember alike, because all they remember
 * follows from the stream: its pages in order, its STREAM and ROUND records,
 * which begin a round each, and the size of the cache, which the first
 * record of the stream tells.
 *
 *	page			cache			base
 *	SAME, RAW or DELTA	used, or admitted	passed
 *	  but SAME from base	-			-
 *	ZERO, GONE		zeroes, if it is there	passed
 *
 * Who writes a migration stream of deltas cannot check them; so the records
 * of a stream with foreign bytes are checked by their digests here, before
 * they are encoded.
 *
 * The pages that a record holds, and its digest, stay as they are.  A stream
 * to encode that has deltas already, or to decode that has none, passes
 * unchanged, and its pages are forgotten.  In any other, compressed pages
 * are refused: the two ends could not remember alike.
 */
#ifndef PM_DELTA_H
#define PM_DELTA_H

#include <stdint.h>

#include "fault.h"
#include "record.h"
#include "status.h"

struct pm_delta;

struct pm_delta_options {
	int decode;
	uint64_t cache_bytes;	/* of pages to remember; most memory that a
				   cache may take, to decode */
	uint64_t foreign_bytes;	/* the same for streams with foreign bytes,
				   whose pages come again and again; 0: the
				   same */
	const char *base;	/* path, kept; or NULL */
};

/* Both ends count the same, of the pages with content that they read. */
struct pm_delta_counts {
	uint64_t pages;		/* hits and misses */
	uint64_t hits;		/* their older content was known */
	uint64_t misses;
	uint64_t overflows;	/* hits whose delta was too long */
	uint64_t unchanged;	/* hits that became SAME */
	uint64_t bytes;		/* of the deltas that the others became */
	uint64_t evictions;
	uint64_t cache_pages;	/* that the cache has room for, and */
	uint64_t cached_pages;	/* that it ever held at a time */
	uint64_t streams;	/* encoded or decoded */
	uint64_t passed_streams;
};

/*
 * A delta before its first record, or NULL when memory ran out.  The cache
 * is allocated at the first STREAM record, the base opened when
 * the regions of the first stream are known.
 */
struct pm_delta *pm_delta_new(const struct pm_delta_options *);
void pm_delta_free(struct pm_delta *);

/*
 * A pm_step; state is a struct pm_delta, and fault outlives it.
 * PM_ERR_REFUSED: the cache holds no page, or takes too much memory; the
 * size of pages changes in a chain; deltas to decode are compressed.
 * PM_ERR_MISMATCH, about the base, or PM_ERR_CORRUPT if there is none: a
 * page cannot be restored, or a record restored has not its digest.
 */
enum pm_status pm_delta_step(struct pm_record *rec, void *state,
    struct pm_fault *fault);

struct pm_delta_counts pm_delta_counts(const struct pm_delta *);

#endif /* PM_DELTA_H */
