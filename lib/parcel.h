/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parcel.h - pieces of an input, each as large as a frame may be.
 *
 * All that a session ever holds are parcels of one pool, so its memory has a
 * bound.  One that was given back last is taken first, while it is in the
 * cache; memory that was never needed is never touched.
 */
#ifndef PM_PARCEL_H
#define PM_PARCEL_H

#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct pm_parcel {
	struct pm_parcel *next;		/* in whatever list it is */
	uint64_t offset;		/* of its first byte, in the input */
	uint32_t type, size;
	uint32_t filled;		/* of size, where it is received */
	int peer;			/* where it is under way, or -1 */
	int times;			/* it was sent */
	uint8_t *bytes;			/* PM_WIRE_DATA_MAX of them */
};

struct pm_parcels {
	struct pm_parcel *all, *free;
	uint8_t *bytes;
	size_t count, left;
};

/* PM_ERR_SYSTEM with errno. */
enum pm_status pm_parcels_open(struct pm_parcels *, size_t count);
void pm_parcels_close(struct pm_parcels *);

/* NULL when all are in use. */
struct pm_parcel *pm_parcels_take(struct pm_parcels *);
void pm_parcels_give(struct pm_parcels *, struct pm_parcel *);

#endif /* PM_PARCEL_H */
