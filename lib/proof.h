/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proof.h - what the digest of a record says of its pages, without a target.
 *
 * The check of a PAGES record covers its head and table, and its digest the
 * pages.  That of a record without deltas can be computed from its payload
 * alone; one with deltas, or with unchanged pages, can only be proved by who
 * has the target.  pm-stream(5), THE DIGEST, is the specification.
 */
#ifndef PM_PROOF_H
#define PM_PROOF_H

#include "fault.h"
#include "record.h"

struct pm_proof;

/* Buffers and decoders, or NULL when memory ran out. */
struct pm_proof *pm_proof_new(void);
void pm_proof_free(struct pm_proof *);

/*
 * Undo the codec of a PAGES record, and compare: PM_OK, or PM_ERR_CORRUPT
 * when it was damaged.  *leans says that it has deltas or unchanged pages,
 * and then only the codec was undone.
 */
enum pm_status pm_proof_check(struct pm_proof *, struct pm_record *,
    const struct pm_region *, int *leans, struct pm_fault *);

#endif /* PM_PROOF_H */
