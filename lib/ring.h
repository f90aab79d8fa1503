/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - run a step over a stream on several threads, keeping its order.
 *
 * The threads are a crew (crew.h), whose items are records: PM_RING_SLOTS of
 * them for each thread bound the memory.
 */
#ifndef PM_RING_H
#define PM_RING_H

#include "filter.h"
#include "stream.h"

#define PM_RING_SLOTS	4u		/* for each thread */

/* Takes the records in their order, one at a time, on any of the threads. */
typedef enum pm_status pm_ring_sink(void *arg, struct pm_record *);

/*
 * As pm_filter_run, on so many threads; each has one of the states.  The
 * output is the same bytes as pm_filter_run gives for the same step, and so
 * is the failure, the first in the order of the stream: those of reader and
 * step are told in the reader's fault, those of the writer in its own.
 * Every record is flushed: whatever was read is written before more is
 * awaited; and what fails is told then.
 */
enum pm_status pm_ring_run(struct pm_reader *in, struct pm_writer *out,
    pm_step *step, void *state[], unsigned threads);

/*
 * The same with a sink for the records, whose failure ends the run; it may
 * tell it where the reader tells its own.
 */
enum pm_status pm_ring_feed(struct pm_reader *in, pm_ring_sink *sink,
    void *arg, pm_step *step, void *state[], unsigned threads);

#endif /* PM_RING_H */
