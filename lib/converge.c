/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "converge.h"

#define PAGES_TELLING	1024u	/* a shorter round says little of the reader,
				   whose pipe takes that much at once */
#define WEIGHT		0.5	/* of the last round in an average */
#define PROGRESS	0.7	/* of what it was, or it is none */
#define LEAST_CUT	0.15	/* of the share, at a time */
#define MOST_CUT	0.8
#define SHARE_LEAST	30u

static double
average(double old, double new)
{
	return old == 0 ? new : old + WEIGHT * (new - old);
}

void
pm_converge_round(struct pm_converge *con, uint64_t sent,
    uint64_t elapsed_us, uint64_t looked, uint64_t look_us)
{
	con->sent = sent;
	if (looked >= PAGES_TELLING)
		con->look_us = average(con->look_us,
		    (double)look_us / (double)looked);
	/* What took our own time is not the reader's. */
	elapsed_us = look_us < elapsed_us ? elapsed_us - look_us : 0;
	if (elapsed_us == 0 || (con->pages_us != 0 && sent < PAGES_TELLING))
		return;
	con->pages_us = average(con->pages_us,
	    (double)sent / (double)elapsed_us);
}

double
pm_converge_expect(const struct pm_converge *con, uint64_t send,
    uint64_t look, uint64_t stop_us)
{
	double us = (double)stop_us + (double)look * con->look_us;

	return con->pages_us > 0 ? us + (double)send / con->pages_us : us;
}

static void
throttle(struct pm_converge *con, double expected_us)
{
	double cut = (double)con->max_downtime_us / expected_us;

	if (cut < LEAST_CUT)
		cut = LEAST_CUT;
	if (cut > MOST_CUT)
		cut = MOST_CUT;
	con->share = (unsigned)(con->share * cut + 0.5);
	if (con->share < SHARE_LEAST)
		con->share = SHARE_LEAST;
}

enum pm_converge_next
pm_converge_next(struct pm_converge *con, double expected_us, uint64_t pages,
    unsigned rounds, uint64_t elapsed_us)
{
	int stands = (con->expected_us != 0 &&
	    expected_us > PROGRESS * con->expected_us) ||
	    (double)pages > PROGRESS * (double)con->sent;

	con->expected_us = expected_us;
	if (expected_us <= (double)con->max_downtime_us)
		return PM_CONVERGE_STOP;
	if (rounds >= con->max_rounds || (con->deadline_us != 0 &&
	    elapsed_us >= con->deadline_us))
		return con->force ? PM_CONVERGE_FORCE : PM_CONVERGE_FAIL;
	if (stands && con->may_throttle)
		throttle(con, expected_us);
	return PM_CONVERGE_ROUND;
}
