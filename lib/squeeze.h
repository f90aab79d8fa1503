/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * squeeze.h - compress the payloads of a stream, or undo it.
 *
 * One record is one unit of compression.  A record that would save less
 * than 1/16 stays as it is.  Everything a step needs is made in new; each
 * thread has a state of its own.
 */
#ifndef PM_SQUEEZE_H
#define PM_SQUEEZE_H

#include <stdint.h>

#include "codec.h"
#include "fault.h"
#include "record.h"

struct pm_squeeze;

struct pm_squeeze_counts {
	uint64_t squeezed;	/* records */
	uint64_t kept;		/* with a payload, left as they were */
	uint64_t bytes_in, bytes_out;	/* of payload */
};

/*
 * A state for one thread, or NULL when memory ran out.  codec NULL undoes
 * whatever codec a record has.
 */
struct pm_squeeze *pm_squeeze_new(const struct pm_codec *, int level);
void pm_squeeze_free(struct pm_squeeze *);

/* A pm_step: state is a struct pm_squeeze. */
enum pm_status pm_squeeze_step(struct pm_record *, void *state,
    struct pm_fault *);

struct pm_squeeze_counts pm_squeeze_counts(const struct pm_squeeze *);

#endif /* PM_SQUEEZE_H */
