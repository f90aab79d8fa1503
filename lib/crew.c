/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "crew.h"

struct slot {
	int done;		/* the step has been taken */
	enum pm_status status;	/* what it said, */
	int error;		/* its errno, */
	struct pm_fault fault;	/* and its words */
};

/*
 * handed <= taken <= handed + items, both counting up.
 *
 *	[handed, taken)		with the thread that takes the step, or done
 *				and waiting for those before
 *	the rest		free, but for the one that is being got
 *
 * A thread waits only when it can neither get an item nor hand one on.
 * Either becomes possible for somebody else when a thread is done with it,
 * so each of these wakes one thread; that thread looks again for itself.
 */
struct crew {
	const struct pm_crew *about;
	pthread_mutex_t lock;
	pthread_cond_t turn;
	unsigned waiting;		/* threads */
	uint64_t taken, handed;
	int getting, handing;		/* a thread is at it */
	pthread_t getter;
	int cancels;			/* the getter is no caller's thread */
	int ended;			/* nothing more will come */
	enum pm_status end;		/* what next said then, */
	int end_error;			/* and its errno */
	enum pm_status status;		/* the failure that ends it, or PM_OK */
	int error;			/* its errno */
	struct pm_crew_failure *failure;
	struct slot slot[];
};

struct worker {
	struct crew *crew;
	void *state;
	pthread_t thread;
};

/* In all that follow the caller holds the lock. */
static void
wake_one(struct crew *crew)
{
	if (crew->waiting > 0)
		pthread_cond_signal(&crew->turn);
}

static void
wake_all(struct crew *crew)
{
	if (crew->waiting > 0)
		pthread_cond_broadcast(&crew->turn);
}

/*
 * Remember the failure; everyone stops when they next look, and who waits
 * for the next item, perhaps for hours, is ended there.  Only who hands on
 * finds failures, and so in order: of two, the one is told that a serial run
 * would have met.
 */
static void
fail(struct crew *crew, enum pm_crew_part part, enum pm_status status,
    int error)
{
	crew->status = status;
	crew->error = error;
	crew->failure->part = part;
	if (crew->getting && crew->cancels)
		pthread_cancel(crew->getter);
	wake_all(crew);
}

static int
is_over(const struct crew *crew)
{
	return crew->status != PM_OK ||
	    (crew->ended && crew->handed == crew->taken);
}

static struct slot *
slot_at(struct crew *crew, uint64_t index)
{
	return &crew->slot[index % crew->about->items];
}

static void *
item_at(const struct crew *crew, uint64_t index)
{
	return crew->about->item[index % crew->about->items];
}

static int
can_hand_on(struct crew *crew)
{
	return !crew->handing && slot_at(crew, crew->handed)->done;
}

static int
can_get(const struct crew *crew)
{
	return !crew->getting && !crew->ended &&
	    crew->taken < crew->handed + crew->about->items;
}

static void
hand_on(struct crew *crew)
{
	struct slot *slot = slot_at(crew, crew->handed);
	void *item = item_at(crew, crew->handed);
	enum pm_status status;
	int error;

	crew->handing = 1;
	if (slot->status != PM_OK) {
		crew->failure->fault = slot->fault;
		fail(crew, PM_CREW_STEP, slot->status, slot->error);
	} else {
		pthread_mutex_unlock(&crew->lock);
		status = crew->about->put(crew->about->arg, item);
		error = errno;
		pthread_mutex_lock(&crew->lock);
		if (status != PM_OK)
			fail(crew, PM_CREW_PUT, status, error);
	}
	crew->handing = 0;
	slot->done = 0;
	crew->handed++;
	if (is_over(crew))
		wake_all(crew);
	else
		wake_one(crew);
}

static void
get_and_step(struct crew *crew, void *state)
{
	const struct pm_crew *about = crew->about;
	struct slot *slot = slot_at(crew, crew->taken);
	void *item = item_at(crew, crew->taken);
	enum pm_status status;
	int error, was;

	crew->getting = 1;
	crew->getter = pthread_self();
	pthread_mutex_unlock(&crew->lock);
	if (crew->cancels)
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &was);
	status = about->next(about->arg, item);
	error = errno;
	if (crew->cancels)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was);
	pthread_mutex_lock(&crew->lock);
	crew->getting = 0;
	if (status != PM_OK) {
		crew->ended = 1;
		crew->end = status;
		crew->end_error = error;
		wake_all(crew);
		return;
	}
	crew->taken++;
	wake_one(crew);

	pthread_mutex_unlock(&crew->lock);
	slot->status = about->step(about->arg, item, state, &slot->fault);
	slot->error = errno;
	pthread_mutex_lock(&crew->lock);
	slot->done = 1;
}

static void *
work(void *arg)
{
	struct worker *worker = arg;
	struct crew *crew = worker->crew;

	pthread_mutex_lock(&crew->lock);
	while (!is_over(crew))
		if (can_hand_on(crew))
			hand_on(crew);
		else if (can_get(crew))
			get_and_step(crew, worker->state);
		else {
			crew->waiting++;
			pthread_cond_wait(&crew->turn, &crew->lock);
			crew->waiting--;
		}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

static void *
work_apart(void *arg)
{
	int was;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was);
	return work(arg);
}

/*
 * All are threads apart, since the caller's own could not be ended where it
 * waits; it works when it is the only one, or there can be no other.
 */
static void
run_threads(struct crew *crew, struct worker *worker, void *const state[],
    unsigned threads)
{
	unsigned started = 0;

	for (unsigned i = 0; i < threads; i++)
		worker[i] = (struct worker){ .crew = crew,
		    .state = state != NULL ? state[i] : NULL };
	crew->cancels = threads > 1;
	while (threads > 1 && started < threads &&
	    pthread_create(&worker[started].thread, NULL, work_apart,
	    &worker[started]) == 0)
		started++;
	if (started == 0) {
		crew->cancels = 0;
		work(&worker[0]);
	}
	while (started > 0)
		pthread_join(worker[--started].thread, NULL);
	/* What came before the sequence failed has been handed on. */
	if (crew->status == PM_OK && crew->end != PM_END)
		fail(crew, PM_CREW_NEXT, crew->end, crew->end_error);
}

enum pm_status
pm_crew_run(const struct pm_crew *about, void *const state[],
    unsigned threads, struct pm_crew_failure *failure)
{
	struct crew *crew = calloc(1, sizeof(*crew) + about->items *
	    sizeof(crew->slot[0]));
	struct worker *worker = calloc(threads, sizeof(*worker));
	enum pm_status status = PM_ERR_SYSTEM;
	int error = ENOMEM;

	*failure = (struct pm_crew_failure){ .part = PM_CREW_STEP };
	if (crew != NULL && worker != NULL) {
		crew->about = about;
		crew->failure = failure;
		pthread_mutex_init(&crew->lock, NULL);
		pthread_cond_init(&crew->turn, NULL);
		run_threads(crew, worker, state, threads);
		pthread_mutex_destroy(&crew->lock);
		pthread_cond_destroy(&crew->turn);
		status = crew->status;
		error = crew->error;
	}
	free(worker);
	free(crew);
	errno = error;
	return status;
}
