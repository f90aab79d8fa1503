/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restore.h - put the pages of a stream, or a chain of them, into a target.
 *
 * Every record is decoded, resolved against what the target holds and
 * checked by its digest before a byte of it is written.  The id of the
 * target follows each page, and must be the stream's "to" at its end, where
 * the generation is committed.  The mappings of a process may change on the
 * way; its pages are put in order before that.
 *
 * What is made may be another file than an image of the memory (product.h),
 * which comes to be at the end of the input.
 */
#ifndef PM_RESTORE_H
#define PM_RESTORE_H

#include "product.h"
#include "stream.h"
#include "target.h"

struct pm_restore;

struct pm_restore_counts {
	uint64_t generations;		/* proved and committed */
	uint64_t raw, delta, same, zero, gone;	/* pages */
	uint64_t written;		/* bytes, to the target */
};

/* Called for each generation that was proved and is in its place. */
typedef enum pm_status pm_restore_proved(void *arg, struct pm_digest id);

/*
 * NULL when memory ran out.  The target was opened and stays the caller's.
 */
struct pm_restore *pm_restore_new(struct pm_target *, pm_restore_proved *,
    void *arg, struct pm_fault *);
void pm_restore_free(struct pm_restore *);

/*
 * Make that, before the first record; the target is not in place nor has a
 * table.  region is for that kind alone.
 */
void pm_restore_make(struct pm_restore *, enum pm_product_kind,
    const char *region);

/*
 * Take the next record, as a reader gave it, but for compression, which
 * pm_squeeze_step undoes: PM_ERR_REFUSED otherwise.  The fault names its
 * pages.
 */
enum pm_status pm_restore_take(struct pm_restore *,
    const struct pm_record *);

/*
 * The input came to its end, or broke: make of the last generation that was
 * proved what it is to be, put it in its place, and tell.  An image is there
 * already, and a migration file is made only if nothing broke.
 */
enum pm_status pm_restore_finish(struct pm_restore *, int broke);

struct pm_restore_counts pm_restore_counts(const struct pm_restore *);

#endif /* PM_RESTORE_H */
