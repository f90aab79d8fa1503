/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock.h - time that passes, in microseconds.
 */
#ifndef PM_CLOCK_H
#define PM_CLOCK_H

#include <stdint.h>
#include <time.h>

/* What a clock of clock_gettime(2) says. */
static inline uint64_t
pm_clock_of(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Since some moment of the past; it never goes back. */
static inline uint64_t
pm_clock_us(void)
{
	return pm_clock_of(CLOCK_MONOTONIC);
}

#endif /* PM_CLOCK_H */
