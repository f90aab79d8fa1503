/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - run a step over a stream on several threads, keeping its order.
 *
 * Every thread does the same: it reads a record, takes the step, and hands
 * on what is finished, in the order of the stream.  One at a time reads and
 * one at a time hands on, so that no thread waits for another as long as
 * there is something to do, and as many threads are busy as were asked for.
 *
 * A ring of slots, each holding one record for the life of the run: nothing
 * is copied and nothing allocated while records flow.  Who reads waits when
 * all slots are taken, so memory is bounded: PM_RING_SLOTS records for each
 * thread.
 */
#ifndef PM_RING_H
#define PM_RING_H

#include "filter.h"
#include "stream.h"

#define PM_RING_SLOTS	4u		/* for each thread */

/* Takes the records in their order, one at a time, on any of the threads. */
typedef enum pm_status pm_ring_sink(void *arg, struct pm_record *);

/*
 * As pm_filter_run, on so many threads, of which the caller's is one; each
 * has one of the states.  The output is the same bytes as pm_filter_run
 * gives for the same step, and so is the failure, the first in the order of
 * the stream: those of reader and step are told in the reader's fault, those
 * of the writer in its own.  Every record is flushed: whatever was read is
 * written before more is awaited.
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
