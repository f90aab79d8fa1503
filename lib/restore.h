/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restore.h - put the pages of a stream, or a chain of them, into a target.
 *
 * Every record is decoded, resolved against what the target holds and
 * checked by its digest before a byte of it is written.  The id of the
 * target follows each page, and must be the stream's "to" at its end, where
 * the generation is committed.  The mappings of a process may change on the
 * way; its pages are put in order before that.
 */
#ifndef PM_RESTORE_H
#define PM_RESTORE_H

#include "stream.h"
#include "target.h"

struct pm_restore;

struct pm_restore_counts {
	uint64_t generations;		/* proved and committed */
	uint64_t raw, delta, same, zero, gone;	/* pages */
	uint64_t written;		/* bytes, to the target */
};

/* Called for each generation that was proved and committed. */
typedef enum pm_status pm_restore_proved(void *arg, struct pm_digest id);

/*
 * NULL when memory ran out.  The target was opened and stays the caller's.
 */
struct pm_restore *pm_restore_new(struct pm_target *, pm_restore_proved *,
    void *arg, struct pm_fault *);
void pm_restore_free(struct pm_restore *);

/*
 * Take the next record, as a reader gave it, but for compression, which
 * pm_squeeze_step undoes: PM_ERR_REFUSED otherwise.  The fault names its
 * pages.
 */
enum pm_status pm_restore_take(struct pm_restore *,
    const struct pm_record *);

struct pm_restore_counts pm_restore_counts(const struct pm_restore *);

#endif /* PM_RESTORE_H */
