/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "ring.h"

struct slot {
	struct pm_record *rec;
	int done;		/* the step has been taken */
	enum pm_status status;	/* what the step said, */
	int error;		/* its errno, */
	struct pm_fault fault;	/* and its words */
};

/*
 * written <= filled <= written + slots, both counting up.
 *
 *	[written, filled)	read; with the thread that takes the step, or
 *				done and waiting for those before
 *	the rest		free, but for the one that is being read
 *
 * A thread waits only when it can neither read nor hand on.  Either becomes
 * possible for somebody else when a thread is done reading or handing on,
 * so each of these wakes one thread; that thread looks again for itself.
 */
struct ring {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	unsigned waiting;		/* threads */
	uint64_t filled, written;
	int reading, handing;		/* a thread is at it */
	int ended;			/* nothing more will be read */
	enum pm_status end;		/* what the reader said then, */
	int end_error;			/* and its errno */
	enum pm_status status;		/* the failure that ends it, or PM_OK */
	int error;			/* its errno */
	struct pm_fault fault;		/* what it said, unless the sink did */

	struct pm_reader *in;
	pm_ring_sink *sink;
	void *arg;
	pm_step *step;
	size_t slots;
	struct slot slot[];
};

struct worker {
	struct ring *ring;
	void *state;
	pthread_t thread;
};

static struct slot *
slot_at(struct ring *ring, uint64_t index)
{
	return &ring->slot[index % ring->slots];
}

/* In these the caller holds the lock, as it does in all that follow. */
static void
wake_one(struct ring *ring)
{
	if (ring->waiting > 0)
		pthread_cond_signal(&ring->turn);
}

static void
wake_all(struct ring *ring)
{
	if (ring->waiting > 0)
		pthread_cond_broadcast(&ring->turn);
}

/*
 * Remember the failure; everyone stops when they next look.  Only who hands
 * on finds failures, and so in the order of the stream: of two, the one is
 * told that a serial run would have met.
 */
static void
fail(struct ring *ring, enum pm_status status, int error,
    const struct pm_fault *fault)
{
	ring->status = status;
	ring->error = error;
	if (fault != NULL)
		ring->fault = *fault;
	wake_all(ring);
}

static int
is_over(const struct ring *ring)
{
	return ring->status != PM_OK ||
	    (ring->ended && ring->written == ring->filled);
}

static int
can_hand_on(struct ring *ring)
{
	return !ring->handing && slot_at(ring, ring->written)->done;
}

static int
can_read(const struct ring *ring)
{
	return !ring->reading && !ring->ended &&
	    ring->filled < ring->written + ring->slots;
}

static void
hand_on(struct ring *ring)
{
	struct slot *slot = slot_at(ring, ring->written);
	enum pm_status status = slot->status;
	int error = slot->error;

	ring->handing = 1;
	if (status == PM_OK) {
		pthread_mutex_unlock(&ring->lock);
		status = ring->sink(ring->arg, slot->rec);
		error = errno;
		pthread_mutex_lock(&ring->lock);
		if (status != PM_OK)
			fail(ring, status, error, NULL);
	} else
		fail(ring, status, error, &slot->fault);
	ring->handing = 0;
	slot->done = 0;
	ring->written++;
	if (is_over(ring))
		wake_all(ring);
	else
		wake_one(ring);
}

static void
take_step(struct ring *ring, struct slot *slot, void *state)
{
	slot->status = ring->step(slot->rec, state, &slot->fault);
	slot->error = errno;
	if (slot->status != PM_OK)
		pm_fault_place(&slot->fault, slot->rec->number,
		    slot->rec->offset);
}

/* What was read stays with the thread that read it: it is in its cache. */
static void
read_and_step(struct ring *ring, void *state)
{
	struct slot *slot = slot_at(ring, ring->filled);
	enum pm_status status;
	int error;

	ring->reading = 1;
	pthread_mutex_unlock(&ring->lock);
	status = pm_reader_next(ring->in, slot->rec);
	error = errno;
	pthread_mutex_lock(&ring->lock);
	ring->reading = 0;
	if (status != PM_OK) {
		ring->ended = 1;
		ring->end = status;
		ring->end_error = error;
		wake_all(ring);
		return;
	}
	ring->filled++;
	wake_one(ring);

	pthread_mutex_unlock(&ring->lock);
	take_step(ring, slot, state);
	pthread_mutex_lock(&ring->lock);
	slot->done = 1;
}

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct ring *ring = worker->ring;

	pthread_mutex_lock(&ring->lock);
	while (!is_over(ring))
		if (can_hand_on(ring))
			hand_on(ring);
		else if (can_read(ring))
			read_and_step(ring, worker->state);
		else {
			ring->waiting++;
			pthread_cond_wait(&ring->turn, &ring->lock);
			ring->waiting--;
		}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

static void
free_ring(struct ring *ring)
{
	if (ring == NULL)
		return;
	for (size_t i = 0; i < ring->slots; i++)
		pm_record_free(ring->slot[i].rec);
	pthread_mutex_destroy(&ring->lock);
	pthread_cond_destroy(&ring->turn);
	free(ring);
}

static struct ring *
new_ring(unsigned threads)
{
	size_t slots = (size_t)threads * PM_RING_SLOTS;
	struct ring *ring;

	ring = calloc(1, sizeof(*ring) + slots * sizeof(ring->slot[0]));
	if (ring == NULL)
		return NULL;
	pthread_mutex_init(&ring->lock, NULL);
	pthread_cond_init(&ring->turn, NULL);
	for (; ring->slots < slots; ring->slots++)
		if ((ring->slot[ring->slots].rec = pm_record_new()) == NULL) {
			free_ring(ring);
			return NULL;
		}
	return ring;
}

/* The caller's thread is the first of them. */
static void
run_threads(struct ring *ring, struct worker *worker, void *state[],
    unsigned threads)
{
	unsigned started = 1;
	int error = 0;

	for (unsigned i = 0; i < threads; i++)
		worker[i] = (struct worker){ ring, state[i], 0 };
	while (started < threads && (error = pthread_create(
	    &worker[started].thread, NULL, work, &worker[started])) == 0)
		started++;
	if (error != 0) {
		pthread_mutex_lock(&ring->lock);
		fail(ring, PM_ERR_SYSTEM, error, NULL);
		pthread_mutex_unlock(&ring->lock);
	}
	work(&worker[0]);
	while (started > 1)
		pthread_join(worker[--started].thread, NULL);
}

enum pm_status
pm_ring_feed(struct pm_reader *in, pm_ring_sink *sink, void *arg,
    pm_step *step, void *state[], unsigned threads)
{
	struct ring *ring = new_ring(threads);
	struct worker *worker = calloc(threads, sizeof(*worker));
	struct pm_fault *in_fault = in->fault, apart = { .error = 0 };
	enum pm_status status = PM_ERR_SYSTEM;

	if (ring != NULL && worker != NULL) {
		ring->in = in;
		ring->sink = sink;
		ring->arg = arg;
		ring->step = step;
		/* The sink may fail at the same time, and say so there. */
		in->fault = &apart;
		run_threads(ring, worker, state, threads);
		in->fault = in_fault;
		/* What was read before the reader failed is handed on. */
		if (ring->status == PM_OK && ring->end != PM_END)
			fail(ring, ring->end, ring->end_error, &apart);
		status = ring->status;
		if (in_fault != NULL && ring->fault.text[0] != '\0')
			*in_fault = ring->fault;
		errno = ring->error;
	}
	free(worker);
	free_ring(ring);
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
