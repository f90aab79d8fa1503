/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * outfile.h - a file that appears whole, under its name, or not at all.
 *
 * The bytes go to a file without a name, which the kernel drops when the
 * process dies, however it dies: no signal handler has to clean up.  Where
 * the file system has no unnamed files, a temporary name in the same
 * directory stands in, and a kill leaves it behind.
 */
#ifndef PM_OUTFILE_H
#define PM_OUTFILE_H

#include <limits.h>

#include "status.h"

struct pm_outfile {
	int fd;			/* to read and write; -1 when not open */
	int direct;		/* a device or a pipe: written as it is */
	int named;		/* passing is a file of ours */
	char path[PATH_MAX];	/* symbolic links resolved */
	char passing[PATH_MAX];	/* a name to be renamed, or "" */
};

/*
 * A file that replaces one keeps its permissions; a new one is 0600, for
 * it holds memory.  PM_ERR_WRITE with errno.
 */
enum pm_status pm_outfile_open(struct pm_outfile *, const char *path);

/*
 * Make it durable and give it its name, replacing any file of that name;
 * then close it.  PM_ERR_WRITE with errno, and the old file is as it was.
 */
enum pm_status pm_outfile_commit(struct pm_outfile *);

/* The same, but leave the descriptor open, as the caller's. */
enum pm_status pm_outfile_publish(struct pm_outfile *);

/* Forget it, if it is still open. */
void pm_outfile_drop(struct pm_outfile *);

#endif /* PM_OUTFILE_H */
