/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * preface.h - what the stream of a source says before its first page.
 */
#ifndef PM_PREFACE_H
#define PM_PREFACE_H

#include "gather.h"
#include "older.h"
#include "source.h"

/*
 * Write the STREAM record, the regions, those that are no more among them,
 * and the mappings.  number, of PM_REGIONS_MAX, is filled with the numbers
 * that the source's regions have in the stream.  PM_ERR_REFUSED where an
 * incremental stream cannot tell what became of a region.
 */
enum pm_status pm_preface_put(struct pm_gather *, const struct pm_source *,
    const struct pm_older *, uint32_t *number, struct pm_fault *);

/* Its first part, the STREAM record, and its second, the regions. */
enum pm_status pm_preface_begin(struct pm_gather *, const struct pm_source *,
    const struct pm_older *);
enum pm_status pm_preface_regions(struct pm_gather *,
    const struct pm_source *, const struct pm_older *, uint32_t *number,
    struct pm_fault *);

/*
 * Write the list of mappings of a process, which may come anew within the
 * stream.  What was gathered is to be flushed before, the record cleared
 * behind.
 */
enum pm_status pm_preface_mappings(struct pm_gather *,
    const struct pm_source *, struct pm_fault *);

#endif /* PM_PREFACE_H */
