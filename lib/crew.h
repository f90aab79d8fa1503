/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crew.h - work on a sequence of items on several threads, in order.
 *
 * Every thread does the same: it gets the next item, takes the step, and
 * hands on what is finished, in the order of the sequence.  One at a time
 * gets and one at a time hands on, so that no thread waits for another as
 * long as there is something to do, and as many threads are busy as were
 * asked for.  An item stays with the thread that got it, in whose cache it
 * is.
 *
 * The items are the caller's, used in turn for the life of the run: nothing
 * is copied and nothing allocated while they flow.  Who gets waits when all
 * are in use, so memory is bounded.
 */
#ifndef PM_CREW_H
#define PM_CREW_H

#include <stddef.h>

#include "fault.h"
#include "status.h"

struct pm_crew {
	/*
	 * Fill the item; PM_END when there is nothing more.  Its thread may
	 * be ended where it waits, by pthread_cancel, once the run has
	 * failed: it holds nothing there that must be let go.
	 */
	enum pm_status (*next)(void *arg, void *item);
	/* Work on it; what fails is told in the fault. */
	enum pm_status (*step)(void *arg, void *item, void *state,
	    struct pm_fault *);
	/* Take the result.  On any of the threads, as next. */
	enum pm_status (*put)(void *arg, void *item);
	void *arg;
	void *const *item;
	size_t items;			/* at least as many as threads */
};

/* What ended a run that failed. */
enum pm_crew_part { PM_CREW_NEXT, PM_CREW_STEP, PM_CREW_PUT };

struct pm_crew_failure {
	enum pm_crew_part part;
	struct pm_fault fault;		/* of a step */
};

/*
 * Run until next says PM_END, on so many threads, or as many as there can
 * be; each has one of the states, or NULL if there are none.  The failure
 * that is returned is the first in the order of the sequence, with its
 * errno: what came before it has been handed on, and nothing behind it.
 */
enum pm_status pm_crew_run(const struct pm_crew *, void *const state[],
    unsigned threads, struct pm_crew_failure *);

#endif /* PM_CREW_H */
