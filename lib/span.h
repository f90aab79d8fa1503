/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * span.h - what is known of pages before they are read.
 */
#ifndef PM_SPAN_H
#define PM_SPAN_H

#include <stdint.h>

enum pm_span_kind {
	PM_SPAN_DATA,		/* must be read to be known */
	PM_SPAN_ZERO,		/* reads as zeroes */
	PM_SPAN_GONE,		/* nothing is there */
};

struct pm_span {
	enum pm_span_kind kind;
	uint64_t pages;		/* at least 1; may end before the kind does */
};

#endif /* PM_SPAN_H */
