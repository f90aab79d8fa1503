/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapfile.h - what stands behind a mapping of a process.
 *
 * Reading a hole of a file in memory through a mapping would fill it, so
 * the file is asked where its holes are.  It can be opened by those who
 * may follow /proc/PID/map_files, which takes a privilege; for others, and
 * on file systems that are not known to tell, nothing is a hole.
 */
#ifndef PM_MAPFILE_H
#define PM_MAPFILE_H

#include <stdint.h>

#include <sys/types.h>

#include "holes.h"
#include "maps.h"

enum pm_mapfile_kind {
	PM_MAPFILE_NONE,	/* anonymous: what was never touched is zero */
	PM_MAPFILE_FILE,	/* content that may stand in a file */
	PM_MAPFILE_DEVICE,	/* reading may have effects */
	PM_MAPFILE_KERNEL,	/* vvar, vsyscall and the like */
};

/* What the mapping of a process, or of the process of a thread, is of. */
enum pm_mapfile_kind pm_mapfile_kind(pid_t, const struct pm_map *);

struct pm_mapfile {
	int fd;			/* -1: none is open, holes are not known */
	uint64_t size;		/* of the file that is open */
	struct pm_holes holes;
};

/* Open the file of a mapping if that helps; until then fd should be -1. */
void pm_mapfile_open(struct pm_mapfile *, pid_t, const struct pm_map *);
void pm_mapfile_close(struct pm_mapfile *);

enum pm_mapfile_span {
	PM_MAPFILE_DATA,
	PM_MAPFILE_HOLE,
	PM_MAPFILE_BEYOND,	/* the end of the file: not to be read */
};

/*
 * What begins at address, an address of whole pages within the mapping that
 * was opened, up to *until, which is one too.
 */
enum pm_mapfile_span pm_mapfile_span(struct pm_mapfile *,
    const struct pm_map *, unsigned page_shift, uint64_t address,
    uint64_t *until);

#endif /* PM_MAPFILE_H */
