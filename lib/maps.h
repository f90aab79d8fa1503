/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * maps.h - the mappings of a process, from /proc/PID/maps.
 *
 * The list is what the kernel said at one moment, or, where the process
 * changed it meanwhile, at several: of what is said twice the first is kept.
 * Whoever wants it to stay true stops the process first.  Names are the
 * kernel's: a path, perhaps with " (deleted)" behind it, or "[heap]", or ""
 * for anonymous memory.
 */
#ifndef PM_MAPS_H
#define PM_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"

struct pm_map {
	uint64_t start, end;		/* addresses */
	uint64_t offset, inode;		/* of the file; inode 0 for none */
	unsigned major, minor;		/* of its file system */
	unsigned read : 1, write : 1, exec : 1, shared : 1;
	const char *name;		/* in the list's text */
};

struct pm_maps {
	size_t count;
	struct pm_map *map;		/* ascending, none overlap */
	char *text;
};

/*
 * Read the mappings of a process, or of the process of a thread.  A process
 * without memory has none.  PM_ERR_SYSTEM with fault filled.
 */
enum pm_status pm_maps_read(struct pm_maps *, pid_t, struct pm_fault *);

/* The same from text, which is the list's from then on and ends in a NUL. */
enum pm_status pm_maps_parse(struct pm_maps *, char *text, struct pm_fault *);

void pm_maps_free(struct pm_maps *);

/* Number of the first mapping that ends behind address; count for none. */
size_t pm_maps_find(const struct pm_maps *, uint64_t address);

/*
 * True when the mapping goes by that name, or by one that fnmatch(3) finds
 * in it, where '*' and '?' stand for slashes too.  Anonymous memory goes by
 * "[anon]"; a deleted file by its path with and without " (deleted)".
 */
int pm_maps_match(const struct pm_map *, const char *glob);

#endif /* PM_MAPS_H */
