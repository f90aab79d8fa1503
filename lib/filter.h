/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter.h - run a step over every record between a reader and a writer.
 */
#ifndef PM_FILTER_H
#define PM_FILTER_H

#include "fault.h"
#include "stream.h"

/*
 * Change rec in place, or leave it.  A step sees one record at a time,
 * STREAM and END among them, keeps what it must remember in state, and
 * allocates nothing.  It keeps the pages a record holds, and the digest of
 * PAGES.  A failing step fills fault; its place is added by who runs it.
 */
typedef enum pm_status pm_step(struct pm_record *rec, void *state,
    struct pm_fault *fault);

/*
 * Pass in to out through step, to the end of the input.  rec is the one
 * record it works with.  PM_OK when all went; reader and writer say in
 * their fault what failed.
 */
enum pm_status pm_filter_run(struct pm_reader *in, struct pm_writer *out,
    pm_step *step, void *state, struct pm_record *rec);

#endif /* PM_FILTER_H */
