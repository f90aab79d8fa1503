/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - run a step over a stream on several threads, keeping its order.
 *
 * A ring of slots, each holding one record for the life of the run.  A slot
 * is in turn the reader's, a worker's and the writer's; handing it on is
 * the only synchronisation, so nothing is copied and nothing allocated
 * while records flow.  The reader waits when all slots are taken, so memory
 * is bounded: PM_RING_SLOTS records for each worker.
 */
#ifndef PM_RING_H
#define PM_RING_H

#include "filter.h"
#include "stream.h"

#define PM_RING_SLOTS	4u		/* for each worker */

/*
 * As pm_filter_run, with threads workers; worker i gets state[i].  The
 * output is the same bytes as pm_filter_run gives for the same step, and so
 * is the failure, the first in the order of the stream: those of reader and
 * step are told in the reader's fault, those of the writer in its own.  Every
 * record is flushed: whatever was read is written before more is awaited.
 */
enum pm_status pm_ring_run(struct pm_reader *in, struct pm_writer *out,
    pm_step *step, void *state[], unsigned threads);

#endif /* PM_RING_H */
