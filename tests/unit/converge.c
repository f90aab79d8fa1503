/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check.h"
#include "converge.h"

static struct pm_converge
fresh(void)
{
	return (struct pm_converge){ .max_downtime_us = 300000,
	    .max_rounds = 5, .share = 1000 };
}

static void
test_estimate(void)
{
	struct pm_converge con = fresh();

	/* Nothing is known of the reader: only the stop itself counts. */
	CHECK(pm_converge_expect(&con, 1000, 1000, 7) == 7);
	/* 2 pages a microsecond are taken, 4 looked at in time of our own. */
	pm_converge_round(&con, 200000, 200000, 400000, 100000);
	CHECK(con.pages_us == 2 && con.look_us == 0.25);
	CHECK(pm_converge_expect(&con, 2000, 400, 7) == 7 + 1000 + 100);
	/* What is faster or slower since is half believed. */
	pm_converge_round(&con, 400000, 100000, 0, 0);
	CHECK(con.pages_us == 3 && con.look_us == 0.25);
	/* A few pages fit into the pipe, and say nothing. */
	pm_converge_round(&con, 10, 1, 0, 0);
	CHECK(con.pages_us == 3 && con.sent == 10);
	/* Time that did not pass divides nothing. */
	pm_converge_round(&con, 400000, 0, 0, 0);
	pm_converge_round(&con, 400000, 100000, 1, 100000);
	CHECK(con.pages_us == 3);
	/* Few are better than nothing, if what was looked at is not counted. */
	con = fresh();
	pm_converge_round(&con, 800, 100400, 131072, 100000);
	CHECK(con.pages_us == 2);
}

static void
test_end(void)
{
	struct pm_converge con = fresh();

	CHECK(pm_converge_next(&con, 300000, 1, 1, 1) == PM_CONVERGE_STOP);
	CHECK(pm_converge_next(&con, 300001, 1, 1, 1) == PM_CONVERGE_ROUND);
	CHECK(pm_converge_next(&con, 300001, 1, 4, 1) == PM_CONVERGE_ROUND);
	CHECK(pm_converge_next(&con, 300001, 1, 5, 1) == PM_CONVERGE_FAIL);
	CHECK(pm_converge_next(&con, 300000, 1, 5, 1) == PM_CONVERGE_STOP);
	con.deadline_us = 1000;
	CHECK(pm_converge_next(&con, 300001, 1, 1, 999) == PM_CONVERGE_ROUND);
	CHECK(pm_converge_next(&con, 300001, 1, 1, 1000) == PM_CONVERGE_FAIL);
	con.force = 1;
	CHECK(pm_converge_next(&con, 300001, 1, 1, 1000) ==
	    PM_CONVERGE_FORCE);
	CHECK(con.share == 1000);
}

static void
test_throttle(void)
{
	struct pm_converge con = fresh();

	con.may_throttle = 1;
	con.sent = 1000;
	/* A half of what was sent is progress. */
	CHECK(pm_converge_next(&con, 600000, 500, 1, 1) == PM_CONVERGE_ROUND);
	CHECK(con.share == 1000);
	/* No progress: in proportion. */
	(void)pm_converge_next(&con, 600000, 500, 1, 1);
	CHECK(con.share == 500);
	/* Very far off: a bounded step, */
	(void)pm_converge_next(&con, 6e9, 500, 1, 1);
	CHECK(con.share == 75);
	/* and never below a floor. */
	for (int i = 0; i < 20; i++)
		(void)pm_converge_next(&con, 6e9, 500, 1, 1);
	CHECK(con.share == 30);
	/* Very near is a step, too. */
	con = fresh();
	con.may_throttle = 1;
	(void)pm_converge_next(&con, 301000, 500, 1, 1);
	CHECK(con.share == 800);
}

int
main(void)
{
	test_estimate();
	test_end();
	test_throttle();
	return check_done();
}
