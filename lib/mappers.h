/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mappers.h - which processes have a file mapped, and who else can write it.
 */
#ifndef PM_MAPPERS_H
#define PM_MAPPERS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "maps.h"

struct pm_mapper {
	pid_t pid;
	size_t count;
	struct pm_map *map;		/* shared mappings of the file; their
					   names are not to be used */
};

struct pm_mappers {
	size_t count;
	struct pm_mapper *mapper;	/* by pid, without this process */
	size_t unseen;			/* processes that may not be asked */
	pid_t writer;			/* one that has the file open to write
					   and not mapped, or 0 */
};

/*
 * Look at all processes.  The file is known by how a mapping of it here
 * looks, which on some file systems is not what stat(2) says.  writers asks
 * for those without a mapping too.
 */
enum pm_status pm_mappers_find(struct pm_mappers *, int fd, int writers,
    struct pm_fault *);
void pm_mappers_free(struct pm_mappers *);

/*
 * Which mappings of a process, all of them shared, share pages with a mapping
 * that can be written elsewhere: by another process, or at another address
 * of this one.  elsewhere[i] becomes 1 for those; *unseen is how many
 * processes cannot be looked into.
 */
enum pm_status pm_mappers_mark(pid_t, const struct pm_map *, size_t count,
    unsigned char *elsewhere, size_t *unseen, struct pm_fault *);

#endif /* PM_MAPPERS_H */
