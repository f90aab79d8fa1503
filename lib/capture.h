/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.h - make a stream of a source: all of it, or what differs.
 */
#ifndef PM_CAPTURE_H
#define PM_CAPTURE_H

#include <stdint.h>

#include "source.h"
#include "stream.h"
#include "table.h"

struct pm_capture_options {
	uint32_t record_size;		/* bytes of payload at most, in whole
					   pages of the source */
	struct pm_source *base;		/* send what differs from it, or NULL */
	struct pm_table *since;		/* the same by its hashes, or NULL */
	struct pm_table *save;		/* remember the hashes here, or NULL */
	unsigned threads;		/* that look at pages; at least 1 */
};

struct pm_capture_counts {
	uint64_t pages;			/* of all regions, unmapped ones not */
	uint64_t read;			/* pages whose content was looked at */
	uint64_t raw, zero, gone;	/* sent as such */
	uint64_t equal;			/* read, and not sent */
	uint64_t blocked_us;		/* waiting for the reader */
	struct pm_digest from, to;
};

/*
 * Write one whole stream, end record included, of source to out.  Without
 * base and since it is a full one, which mentions every page.  Its bytes are
 * the same for any number of threads; more than one look only where source
 * and base can be shared.  Source and base are done, and not closed, when it
 * returns PM_OK.
 */
enum pm_status pm_capture_run(struct pm_source *,
    const struct pm_capture_options *, struct pm_writer *out,
    struct pm_capture_counts *, struct pm_fault *);

#endif /* PM_CAPTURE_H */
