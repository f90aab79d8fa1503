/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - counters, and what is told of them while a program runs.
 *
 * A thread of its own waits for SIGUSR1 and for the next second, so that a
 * program that is blocked on its neighbours answers too.  It only looks at
 * meters and never at anything else of the program's.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include "meter.h"

/* Live lines on a terminal if live; lines of JSON to fd unless negative. */
void report_start(const char *program, int live, int fd);

/* The meters to look at from now on; either may be NULL. */
void report_watch(const struct pm_meter *in, const struct pm_meter *out,
    uint64_t total_pages);

/* The input is a file of so many bytes. */
void report_expect(uint64_t bytes);

/* Take the live line away, before another is printed. */
void report_clear(void);

void report_count(const char *name, uint64_t value);
void report_note(const char *name, const char *text);
void report_list(const char *name, const uint64_t *values, unsigned count);

/* Stop the thread; with verbose print the counters on stderr. */
void report_finish(int verbose);

/* The counters as one JSON object into path; 0 with errno on failure. */
int report_write(const char *path);

#endif /* REPORT_H */
