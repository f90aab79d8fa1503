/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * relay.h - pass records on as they are.
 *
 * A record that stays as it came is read and written but for its payload:
 * the kernel moves that from the one descriptor to the other, where it can
 * and where that is faster, and nobody copies it.  Elsewhere it is read and
 * written too.  The bytes that come out are the same.
 *
 * Nothing is ever moved out of our own memory (vmsplice): who stands behind
 * us may move pages on as well, and nobody would know when they are free.
 * What is moved out of a file is the page cache's, until somebody copies it;
 * who writes to that file at the time changes the stream, and its digests
 * tell.
 */
#ifndef PM_RELAY_H
#define PM_RELAY_H

#include "stream.h"

struct pm_relay {
	struct pm_reader *in;
	struct pm_writer *out;
	uint32_t least;		/* bytes of a payload to be moved, if at all */
};

void pm_relay_open(struct pm_relay *, struct pm_reader *, struct pm_writer *);

/*
 * As pm_reader_next, but leave a payload in the input that is worth to be
 * moved.  in->left tells; who wants to look at it calls pm_reader_payload.
 */
enum pm_status pm_relay_next(struct pm_relay *, struct pm_record *rec);

/*
 * Write rec, and its payload wherever that is.  Reader and writer say in
 * their fault what failed.
 */
enum pm_status pm_relay_put(struct pm_relay *, struct pm_record *rec);

/* Pass in to out, to the end of the input, as pm_filter_run does. */
enum pm_status pm_relay_run(struct pm_reader *in, struct pm_writer *out,
    struct pm_record *rec);

#endif /* PM_RELAY_H */
