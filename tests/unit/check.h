/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check.h - TAP for a test program in one header.
 *
 *	CHECK(condition)	one numbered line, and where it failed
 *	return check_done();	the plan and the exit status
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

/* Where each access is checked, or on request, one of so many is tried. */
#ifndef CHECK_STRIDE
#ifdef __SANITIZE_ADDRESS__
#define CHECK_STRIDE	7u
#else
#define CHECK_STRIDE	1u
#endif
#endif

static int check_run, check_failed;

#define CHECK(condition) do {						\
	int check_ok = !!(condition);					\
	printf("%sok %d - %s\n", check_ok ? "" : "not ", ++check_run,	\
	    #condition);						\
	if (!check_ok) {						\
		check_failed++;						\
		printf("# %s:%d\n", __FILE__, __LINE__);		\
	}								\
} while (0)

static int
check_done(void)
{
	printf("1..%d\n", check_run);
	return check_failed != 0;
}

#endif /* CHECK_H */
