/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracker.h - which pages of a running process were written.
 *
 * A tracker watches mappings of one process.  To ask it what was written is
 * to forget that; whoever then reads the pages is told of every write that
 * comes later than the question, and perhaps of some that came before the
 * read.  Pages that were written and are not there any more are told of only
 * by their absence: unwritten leaves them out.
 *
 * Pages that a device or the kernel writes without the process's page
 * tables, having pinned them, are seen by no tracker; and a tracker knows
 * nothing of writes through other mappings of the same file.
 */
#ifndef PM_TRACKER_H
#define PM_TRACKER_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "maps.h"

struct pm_tracker;

/* Called with addresses of whole pages; ranges ascend or not, may repeat. */
typedef enum pm_status pm_tracker_found(void *arg, uint64_t start,
    uint64_t end);

struct pm_tracker_ops {
	const char *name;
	int cuts;			/* mappings of which a part is watched
					   are cut in two, so that the process
					   should stand still meanwhile */
	int is_exact;			/* told pages were written; those of
					   others only may have been */
	int remembers;			/* pages of a file, shared, that left
					   memory and came back, too */
	/*
	 * Begin to look: where pages can be asked for only all at once, it
	 * is done here.  NULL if not.
	 */
	enum pm_status (*begin)(struct pm_tracker *, const struct pm_map *,
	    size_t count);
	/*
	 * From now on, what is written there is known.  PM_END when it cannot
	 * be watched.
	 */
	enum pm_status (*watch)(struct pm_tracker *, const struct pm_map *,
	    uint64_t start, uint64_t end);
	/*
	 * What of a range of one mapping was written since it was asked
	 * last, or is watched; and, unless clear is 0, forget it.  PM_END
	 * when not all of the range is watched any more: then nothing of it
	 * is known.
	 */
	enum pm_status (*written)(struct pm_tracker *, const struct pm_map *,
	    uint64_t start, uint64_t end, int clear, pm_tracker_found *,
	    void *arg);
	/*
	 * What is there and was not, while the process stands still; of a
	 * private mapping of a file only what is no longer the file's.
	 * PM_END as above.
	 */
	enum pm_status (*unwritten)(struct pm_tracker *,
	    const struct pm_map *, uint64_t start, uint64_t end,
	    pm_tracker_found *, void *arg);
	/* Release all; what was done to the process is undone. */
	void (*close)(struct pm_tracker *);
};

struct pm_tracker {
	const struct pm_tracker_ops *ops;
	struct pm_fault *fault;
	pid_t pid;
	uint64_t faults;	/* writes that cost the process a fault */
	uint64_t stopped_us;	/* that it stood still to be watched */
};

/*
 * By userfaultfd(2) with asynchronous write protection and PAGEMAP_SCAN, of
 * Linux 6.7: exact, and cheap where little is written.  uffd is one made by
 * the process, which becomes the tracker's; -1 has the process make one.
 * PM_ERR_REFUSED where the process or the kernel does not allow it.
 */
enum pm_status pm_tracker_open_uffd(struct pm_tracker **, pid_t, int uffd,
    struct pm_fault *);

/*
 * By the soft-dirty bits of the kernel, if it has them, which is tried out.
 * The process is stopped for each look at it.  PM_ERR_REFUSED as above.
 */
enum pm_status pm_tracker_open_soft(struct pm_tracker **, pid_t,
    unsigned page_shift, struct pm_fault *);

/*
 * Knows nothing: every page may have been written, and whoever asks finds
 * out by the hash of its content.  For anything that can be read.
 */
enum pm_status pm_tracker_open_hash(struct pm_tracker **, pid_t,
    struct pm_fault *);

#endif /* PM_TRACKER_H */
