/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>

#include "crew.h"
#include "ring.h"

struct ring {
	struct pm_reader *in;
	pm_ring_sink *sink;
	void *arg;
	pm_step *step;
};

static enum pm_status
read_record(void *arg, void *item)
{
	struct ring *ring = arg;

	return pm_reader_next(ring->in, item);
}

static enum pm_status
take_step(void *arg, void *item, void *state, struct pm_fault *fault)
{
	struct ring *ring = arg;
	struct pm_record *rec = item;
	enum pm_status status = ring->step(rec, state, fault);

	if (status != PM_OK)
		pm_fault_place(fault, rec->number, rec->offset);
	return status;
}

static enum pm_status
hand_on(void *arg, void *item)
{
	struct ring *ring = arg;

	return ring->sink(ring->arg, item);
}

static void
free_records(void **rec, size_t records)
{
	for (size_t i = 0; rec != NULL && i < records; i++)
		pm_record_free(rec[i]);
	free(rec);
}

static void **
new_records(size_t records)
{
	void **rec = calloc(records, sizeof(*rec));

	for (size_t i = 0; rec != NULL && i < records; i++)
		if ((rec[i] = pm_record_new()) == NULL) {
			free_records(rec, records);
			return NULL;
		}
	return rec;
}

enum pm_status
pm_ring_feed(struct pm_reader *in, pm_ring_sink *sink, void *arg,
    pm_step *step, void *state[], unsigned threads)
{
	struct ring ring = { in, sink, arg, step };
	size_t slots = (size_t)threads * PM_RING_SLOTS;
	void **rec = new_records(slots);
	struct pm_crew crew = { read_record, take_step, hand_on, &ring, rec,
	    slots };
	struct pm_fault *fault = in->fault, apart = { .error = 0 };
	struct pm_crew_failure failure;
	enum pm_status status;
	int error;

	if (rec == NULL)
		return PM_ERR_SYSTEM;
	/* The sink may fail at the same time, and say so in the same fault. */
	in->fault = &apart;
	status = pm_crew_run(&crew, state, threads, &failure);
	error = errno;
	in->fault = fault;
	if (status != PM_OK && fault != NULL && failure.part != PM_CREW_PUT)
		*fault = failure.part == PM_CREW_NEXT ? apart : failure.fault;
	free_records(rec, slots);
	errno = error;
	return status;
}

static enum pm_status
write_record(void *arg, struct pm_record *rec)
{
	return pm_writer_put(arg, rec);
}

enum pm_status
pm_ring_run(struct pm_reader *in, struct pm_writer *out, pm_step *step,
    void *state[], unsigned threads)
{
	return pm_ring_feed(in, write_record, out, step, state, threads);
}
