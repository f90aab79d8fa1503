/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "ring.h"

struct slot {
	struct pm_record *rec;
	int done;		/* the step has run; the writer may have it */
	enum pm_status status;	/* what the step said, */
	int error;		/* its errno, */
	struct pm_fault fault;	/* and its words */
};

/*
 * written <= claimed <= filled <= written + slots, all counting up.
 *
 *	[written, claimed)	with a worker, or done and the writer's
 *	[claimed, filled)	read, waiting for a worker
 *	the rest		free, the reader's
 *
 * Each kind of waiter has a condition of its own: with one for all, every
 * hand-over would wake every thread.
 */
struct ring {
	pthread_mutex_t lock;
	pthread_cond_t work;		/* claimed < filled, or it is over */
	pthread_cond_t room;		/* filled < written + slots, or over */
	pthread_cond_t order;		/* slot[written] is done, or over */
	uint64_t filled, claimed, written;
	int ended;			/* nothing more will be filled */
	enum pm_status status;		/* the failure that ends it, or PM_OK */
	int error;			/* its errno */
	struct pm_fault fault;		/* what it said */

	pm_step *step;
	struct pm_writer *out;
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

static void
wake_all(struct ring *ring)
{
	pthread_cond_broadcast(&ring->work);
	pthread_cond_broadcast(&ring->room);
	pthread_cond_broadcast(&ring->order);
}

/*
 * Remember the failure; everyone stops when they next look.  Only the writer
 * finds failures while records flow, and so in the order of the stream: of
 * two, the one is told that a serial run would have met.
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

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct ring *ring = worker->ring;
	struct slot *slot;

	pthread_mutex_lock(&ring->lock);
	for (;;) {
		while (ring->claimed == ring->filled && !ring->ended &&
		    ring->status == PM_OK)
			pthread_cond_wait(&ring->work, &ring->lock);
		if (ring->claimed == ring->filled || ring->status != PM_OK)
			break;
		slot = slot_at(ring, ring->claimed++);

		pthread_mutex_unlock(&ring->lock);
		slot->status = ring->step(slot->rec, worker->state,
		    &slot->fault);
		slot->error = errno;
		if (slot->status != PM_OK)
			pm_fault_place(&slot->fault, slot->rec->number,
			    slot->rec->offset);
		pthread_mutex_lock(&ring->lock);

		slot->done = 1;
		if (slot == slot_at(ring, ring->written))
			pthread_cond_signal(&ring->order);
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

static void *
write_in_order(void *arg)
{
	struct ring *ring = arg;
	enum pm_status status;
	struct slot *slot;
	int error;

	pthread_mutex_lock(&ring->lock);
	for (;;) {
		slot = slot_at(ring, ring->written);
		while (!slot->done && ring->status == PM_OK &&
		    !(ring->ended && ring->written == ring->filled))
			pthread_cond_wait(&ring->order, &ring->lock);
		if (!slot->done || ring->status != PM_OK)
			break;
		if (slot->status != PM_OK) {
			fail(ring, slot->status, slot->error, &slot->fault);
			break;
		}

		pthread_mutex_unlock(&ring->lock);
		status = pm_writer_put(ring->out, slot->rec);
		error = errno;
		pthread_mutex_lock(&ring->lock);

		slot->done = 0;
		ring->written++;
		pthread_cond_signal(&ring->room);
		if (status != PM_OK)
			fail(ring, status, error, ring->out->fault);
	}
	pthread_mutex_unlock(&ring->lock);
	return NULL;
}

/* PM_END, or why there was no more to read; PM_OK when others failed. */
static enum pm_status
read_until_end(struct ring *ring, struct pm_reader *in, int *error)
{
	enum pm_status status = PM_OK;
	struct slot *slot;

	pthread_mutex_lock(&ring->lock);
	while (status == PM_OK) {
		while (ring->filled == ring->written + ring->slots &&
		    ring->status == PM_OK)
			pthread_cond_wait(&ring->room, &ring->lock);
		if (ring->status != PM_OK)
			break;
		slot = slot_at(ring, ring->filled);

		pthread_mutex_unlock(&ring->lock);
		status = pm_reader_next(in, slot->rec);
		*error = errno;
		pthread_mutex_lock(&ring->lock);

		if (status == PM_OK) {
			ring->filled++;
			pthread_cond_signal(&ring->work);
		}
	}
	ring->ended = 1;
	wake_all(ring);
	pthread_mutex_unlock(&ring->lock);
	return status;
}

static void
free_ring(struct ring *ring)
{
	if (ring == NULL)
		return;
	for (size_t i = 0; i < ring->slots; i++)
		pm_record_free(ring->slot[i].rec);
	pthread_mutex_destroy(&ring->lock);
	pthread_cond_destroy(&ring->work);
	pthread_cond_destroy(&ring->room);
	pthread_cond_destroy(&ring->order);
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
	pthread_cond_init(&ring->work, NULL);
	pthread_cond_init(&ring->room, NULL);
	pthread_cond_init(&ring->order, NULL);
	for (; ring->slots < slots; ring->slots++)
		if ((ring->slot[ring->slots].rec = pm_record_new()) == NULL) {
			free_ring(ring);
			return NULL;
		}
	return ring;
}

enum pm_status
pm_ring_run(struct pm_reader *in, struct pm_writer *out, pm_step *step,
    void *state[], unsigned threads)
{
	struct ring *ring = new_ring(threads);
	struct worker *worker = calloc(threads, sizeof(*worker));
	struct pm_fault apart[2] = { { .error = 0 }, { .error = 0 } };
	struct pm_fault *in_fault = in->fault, *out_fault = out->fault, *fault;
	enum pm_status status = PM_ERR_SYSTEM;
	pthread_t writer;
	unsigned started = 0;
	int error = 0;

	if (ring == NULL || worker == NULL)
		goto out;
	ring->step = step;
	ring->out = out;
	/* Reader and writer fail on two threads; each fills one of its own. */
	in->fault = &apart[0];
	out->fault = &apart[1];

	if ((errno = pthread_create(&writer, NULL, write_in_order, ring)) != 0)
		goto out;
	for (; started < threads; started++) {
		worker[started] = (struct worker){ ring, state[started], 0 };
		if ((error = pthread_create(&worker[started].thread, NULL,
		    work, &worker[started])) != 0)
			break;
	}
	if (started < threads) {
		pthread_mutex_lock(&ring->lock);
		fail(ring, PM_ERR_SYSTEM, error, NULL);
		pthread_mutex_unlock(&ring->lock);
	}
	status = read_until_end(ring, in, &error);
	while (started > 0)
		pthread_join(worker[--started].thread, NULL);
	pthread_join(writer, NULL);

	/* What was read before the reader failed has been written. */
	if (ring->status == PM_OK && status != PM_END)
		fail(ring, status, error, in->fault);
	status = ring->status;
	fault = apart[1].text[0] != '\0' ? out_fault : in_fault;
	if (fault != NULL && fault->text[0] == '\0')
		*fault = ring->fault;
	errno = ring->error;
out:
	in->fault = in_fault;
	out->fault = out_fault;
	free(worker);
	free_ring(ring);
	return status;
}
