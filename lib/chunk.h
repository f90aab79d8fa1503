/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chunk.h - some pages of a source, which are looked at together.
 *
 * A chunk says where they are; looking reads them, and what they are
 * compared with, and finds out all that can be known of them by themselves.
 * Several threads may look, each at another chunk.
 */
#ifndef PM_CHUNK_H
#define PM_CHUNK_H

#include <stdint.h>

#include "older.h"
#include "record.h"
#include "source.h"

/* What is read at a time; it stays in the cache of a processor. */
#define PM_CHUNK_BYTES	(256u << 10)
#define PM_CHUNK_PAGES	(PM_CHUNK_BYTES >> PM_PAGE_SHIFT_MIN)

struct pm_chunk {
	/* Pages of one kind, told by spans. */
	uint32_t region, old_region;	/* UINT32_MAX: not one of the source,
					   or it has no old pages */
	uint64_t key;
	uint64_t page, pages;		/* PM_CHUNK_BYTES of them at most, but
					   for a run without old content */
	enum pm_span_kind kind;		/* in the source */
	int old_data;			/* may have old content */

	/* What they are. */
	uint8_t *new, *old;		/* their bytes, if DATA; old_data */
	uint64_t gone;			/* a bit for each page that is not
					   there, though DATA was said */
	struct pm_digest content[PM_CHUNK_PAGES];
	struct pm_digest hash[PM_CHUNK_PAGES];	/* in their places */
	struct pm_digest was[PM_CHUNK_PAGES];	/* old content, of a base */
	struct pm_digest to, from;	/* sums, in their places */
};

/* NULL when memory ran out.  free(NULL) does nothing. */
struct pm_chunk *pm_chunk_new(void);
void pm_chunk_free(struct pm_chunk *);

/* Look at the pages; older may have a base. */
enum pm_status pm_chunk_look(struct pm_chunk *, struct pm_source *,
    const struct pm_older *, struct pm_fault *);

/* True when page number i of them was read. */
static inline int
pm_chunk_has(const struct pm_chunk *chunk, uint64_t i)
{
	return chunk->kind == PM_SPAN_DATA && (chunk->gone >> i & 1) == 0;
}

#endif /* PM_CHUNK_H */
