/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * converge.h - when to stop a running memory for the last few pages.
 *
 * After each round it is known how many pages were written meanwhile, and
 * how many a second the reader took; so how long the last ones would take
 * while all stands still.  As long as that is too long there is another
 * round, unless rounds or time are up.  Who may slow the subject down does so
 * in proportion to what is missing, which takes fewer rounds than steps.
 */
#ifndef PM_CONVERGE_H
#define PM_CONVERGE_H

#include <stdint.h>

struct pm_converge {
	/* What is asked for. */
	uint64_t max_downtime_us;
	unsigned max_rounds;
	uint64_t deadline_us;		/* since the begin; 0 for none */
	int may_throttle, force;

	/* What was seen. */
	double pages_us;		/* taken by the reader per microsecond;
					   0: not known yet */
	double look_us;			/* to look at a page, without writing */
	double expected_us;		/* of the last estimate; 0 for none */
	uint64_t sent;			/* pages, in the last round */
	unsigned share;			/* of its time that the subject may run,
					   in thousandths */
};

enum pm_converge_next {
	PM_CONVERGE_ROUND,	/* send what was written, and look again */
	PM_CONVERGE_STOP,	/* the rest fits */
	PM_CONVERGE_FORCE,	/* it does not, and is sent all the same */
	PM_CONVERGE_FAIL,	/* not converging */
};

/* A round ended: pages sent, the time that took, and pages looked at. */
void pm_converge_round(struct pm_converge *, uint64_t sent,
    uint64_t elapsed_us, uint64_t looked, uint64_t look_us);

/*
 * The microseconds that the subject would stand still if it was stopped now,
 * with so many pages to be sent, more to be looked at, and time that the
 * stop itself takes.
 */
double pm_converge_expect(const struct pm_converge *, uint64_t send,
    uint64_t look, uint64_t stop_us);

/*
 * What comes next after that many rounds; may lower the share, which the
 * caller sees to before the next round.
 */
enum pm_converge_next pm_converge_next(struct pm_converge *,
    double expected_us, uint64_t pages, unsigned rounds,
    uint64_t elapsed_us);

#endif /* PM_CONVERGE_H */
