/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * subject.h - memory that is copied while it is in use.
 *
 * Its pages have numbers, ascending through its regions.  They are seen
 * through views: mappings of processes, each watched by a tracker, from
 * address to number.  A page may be in several views.  Mappings come and
 * go: what there is, is known as of the last time it was listed.
 */
#ifndef PM_SUBJECT_H
#define PM_SUBJECT_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "source.h"
#include "tracker.h"

struct pm_view {
	struct pm_tracker *tracker;
	unsigned number;		/* of the tracker; no two had one */
	struct pm_map map;		/* its name is not to be used */
	uint64_t start, end;		/* addresses, of the map or a part */
	uint64_t from, until;		/* the same, with what is free of the
					   address space before and behind */
	uint64_t first;			/* number of the page at start */
	int has_file;			/* what is not in memory is the file's,
					   not zeroes */
	int is_elsewhere;		/* is written through other mappings,
					   which are not watched */
	int is_lost;			/* is not watched any more, */
	int is_blind;			/* or cannot be */
};

/* Addresses that are written behind the back of every tracker. */
struct pm_pinned {
	uint64_t start, end;
};

struct pm_subject;

struct pm_subject_ops {
	/*
	 * Look for mappings anew, and for processes that have come; old
	 * views are gone then.
	 */
	enum pm_status (*list)(struct pm_subject *);
	/* What was remembered of pages is asked for anew from here on. */
	void (*forget)(struct pm_subject *);
	/* What begins at that page. */
	enum pm_status (*span)(struct pm_subject *, uint64_t page,
	    struct pm_span *);
	/*
	 * Read up to 64 pages, ascending, one behind the other into out; a
	 * bit of *got for each that could be read.
	 */
	enum pm_status (*read)(struct pm_subject *, const uint64_t *page,
	    unsigned pages, uint8_t *out, uint64_t *got);
	/* PM_ERR_SYSTEM when it is no longer what was begun with. */
	enum pm_status (*check)(struct pm_subject *);
	void (*close)(struct pm_subject *);
};

struct pm_subject {
	const struct pm_subject_ops *ops;
	struct pm_source about;		/* regions and mappings, as a source
					   tells them; no ops */
	struct pm_fault *fault;
	uint64_t pages;			/* numbers go from 0 to there */
	size_t views, room;
	struct pm_view *view;		/* ascending by first */
	int is_disjoint;		/* no page is in two views, and
					   addresses ascend too */
	size_t processes;
	pid_t *process;			/* whose views these are */
	size_t pins;
	struct pm_pinned *pin;		/* in pages */
	int is_untraced;		/* must not be stopped by ptrace(2) */
	int is_held;			/* stands still to be watched */
	size_t unseen;			/* processes that may share memory and
					   cannot be looked into */
	int is_direct;			/* direct I/O may be under way to pages
					   that are asked for meanwhile */
	int verify;			/* something is written unseen: look
					   at every page in the end */
	const char *tracking;		/* name of the tracker, and why that
					   one, if it was not asked for */
	char why[256];
};

struct pm_subject_options {
	const char *tracker;		/* "uffd", "soft-dirty", "hash", or
					   NULL for the best that works */
	const char *uffd_socket;	/* where the process gives us its
					   userfaultfd, or NULL */
	const char *const *glob;	/* as of struct pm_process_options */
	int verify;
};

/* A process, or that of a thread; it has one region, "process". */
enum pm_status pm_subject_open_process(struct pm_subject **, pid_t,
    const struct pm_subject_options *, struct pm_fault *);

/*
 * The file of that name, which source is the image of, and which processes
 * have mapped.  The source is the subject's from then on, after a failure
 * too.  PM_ERR_REFUSED for a core file.
 */
enum pm_status pm_subject_open_file(struct pm_subject **,
    struct pm_source *source, const char *path,
    const struct pm_subject_options *, struct pm_fault *);

/* For those who implement one: add a view; PM_ERR_SYSTEM without memory. */
enum pm_status pm_subject_add(struct pm_subject *, const struct pm_view *);

/* The region and page within it of a number. */
uint32_t pm_subject_region(const struct pm_subject *, uint64_t number,
    uint64_t *page);

/*
 * Open the tracker that is asked for, or the first that works.  why is to
 * say what was chosen, and why not a better one.
 */
enum pm_status pm_subject_track(struct pm_subject *, struct pm_tracker **,
    pid_t, const struct pm_subject_options *);

/* Note what of a process is pinned, and where it has pages of these views. */
enum pm_status pm_subject_find_pins(struct pm_subject *, pid_t);

/*
 * Note whether any process has a file open for direct I/O, see open(2): the
 * kernel writes then without the page tables, to pages that it has looked up
 * before they were last asked for.
 */
void pm_subject_find_direct(struct pm_subject *);

/* Release what all of them have. */
void pm_subject_free(struct pm_subject *);

#endif /* PM_SUBJECT_H */
