/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rate.h - a rate that may be changed while a program runs.
 */
#ifndef RATE_H
#define RATE_H

#include <stdint.h>

/* The value of --rate: a size, or @FILE whose first line is one; or exit. */
void rate_open(const char *text);

/*
 * What it is now, in bytes a second; 0 is no limit.  A file is read again
 * when it has changed, and one that makes no sense changes nothing.
 */
uint64_t rate_now(void *unused);

#endif /* RATE_H */
