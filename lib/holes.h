/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * holes.h - where a file has holes, remembered between questions.
 */
#ifndef PM_HOLES_H
#define PM_HOLES_H

#include <stdint.h>

/* All zero knows nothing yet. */
struct pm_holes {
	uint64_t hole_from, hole_to, data_to;
};

/*
 * True when the byte at offset of a file of size bytes lies in a hole or
 * beyond its end; *until is where the hole, or the data, ends (UINT64_MAX
 * beyond the end).  Where SEEK_DATA is not known all of it is data.
 */
int pm_holes_at(struct pm_holes *, int fd, uint64_t size, uint64_t offset,
    uint64_t *until);

/* The file changed: ask again. */
void pm_holes_forget(struct pm_holes *);

#endif /* PM_HOLES_H */
