/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sweep.h - a stream of memory in use, pass by pass.
 *
 * A sweep knows of every page what the stream last said of it, and which
 * pages are pending: written since, or perhaps.  To look at a page is to
 * read it and send it if its content is news.  First it is asked, and
 * thereby forgotten, what was written; only then pages are read: one that
 * is written in between is pending again.
 *
 *	open, load?, begin;  (list, collect, send, mark)...;
 *	the subject stands still: list, settle, send, mark
 */
#ifndef PM_SWEEP_H
#define PM_SWEEP_H

#include <stdint.h>

#include "bitmap.h"
#include "free.h"
#include "gather.h"
#include "ledger.h"
#include "older.h"
#include "subject.h"

#define PM_SWEEP_SLICE	1024u	/* pages sampled right before they are sent;
				   a multiple of 64 */
#define PM_SWEEP_BATCH	64u	/* pages read at a time */

struct pm_sweep {
	struct pm_subject *subject;
	struct pm_gather *gather;
	struct pm_fault *fault;
	struct pm_ledger ledger;
	struct pm_bitmap pending;
	struct pm_bitmap recent;	/* looked at in this round, to be looked
					   at again; if direct I/O is done */
	struct pm_bitmap clean;		/* scratch of settle */
	struct pm_digest id;		/* of what the stream said so far */
	uint32_t number[PM_REGIONS_MAX];	/* of regions in the stream */
	uint32_t region;		/* that records are of now */
	size_t knowns;
	struct pm_view *known;		/* views as listed last */
	struct pm_digest listed;	/* mappings as told last */
	int is_first;			/* round */
	int full;			/* every page is to be mentioned */
	int is_still;			/* the subject stands still */
	void (*pace)(void *arg);	/* called between slices, if not NULL */
	void *pace_arg;

	/*
	 * Called by begin, once all is watched, to say which pages are free,
	 * or NULL.  Those that were not written since, as far as a tracker
	 * can be trusted, are gone in the first round.
	 */
	pm_free_find *find_free;
	void *find_arg;
	struct pm_free free;
	uint64_t idle[PM_SWEEP_SLICE / 64];	/* free and not written, of a
						   slice */

	uint64_t again[PM_SWEEP_SLICE / 64];	/* written since, of a slice */
	uint64_t slice;			/* first page of it */
	unsigned batched;
	uint64_t batch[PM_SWEEP_BATCH];	/* pages to be looked at */
	uint8_t *buf;			/* their content */
	size_t page_size;

	uint64_t looked, equal, put_off;	/* pages, in all */
	uint64_t guessed;		/* pending ones that may not have been
					   written, as of the last collect */
	uint64_t written;		/* of them that trackers told of */
	uint64_t look_us;		/* spent in reading and hashing */
	uint64_t held_us;		/* that processes stood still to be
					   watched */
};

/*
 * Start; the subject and the gather stay the caller's, but for the record of
 * the gather, which is made here and freed by close.
 */
enum pm_status pm_sweep_open(struct pm_sweep *, struct pm_subject *,
    struct pm_gather *, struct pm_fault *);
void pm_sweep_close(struct pm_sweep *);

/*
 * The stream starts from what an older memory was, whose id goes to *from.
 * PM_ERR_REFUSED when its regions are not those of the subject.
 */
enum pm_status pm_sweep_load(struct pm_sweep *, struct pm_older *,
    struct pm_digest *from);

/*
 * Write what stands before the first page, and all pages: a first round.
 * Each slice is watched from right before it is read.
 */
enum pm_status pm_sweep_begin(struct pm_sweep *, const struct pm_older *);

/*
 * See what mappings there are by now.  Those that are new are watched and
 * become pending; what is no more is told to be gone when more is sent.
 */
enum pm_status pm_sweep_list(struct pm_sweep *);

/* All that was written since, or has to be looked at again, is pending. */
enum pm_status pm_sweep_collect(struct pm_sweep *);

/* The subject stands still: all that may differ is pending. */
enum pm_status pm_sweep_settle(struct pm_sweep *);

/* How many pages settle would add only because they cannot be trusted. */
enum pm_status pm_sweep_doubt(struct pm_sweep *, uint64_t *pages);

/*
 * Look at what is pending.  Pages that were written again just before, and
 * those that cannot be read just now, stay so, unless all stands still.
 */
enum pm_status pm_sweep_send(struct pm_sweep *);

/* Write the mark of the end of a round. */
enum pm_status pm_sweep_mark(struct pm_sweep *, uint32_t round);

/*
 * Fill a table, of a layout with the same regions, with the hashes of what
 * the stream said.
 */
enum pm_status pm_sweep_save(const struct pm_sweep *, struct pm_table *);

/* For its own parts: look at a page that is there, or at once at a batch. */
enum pm_status pm_sweep_add(struct pm_sweep *, uint64_t page);
enum pm_status pm_sweep_flush(struct pm_sweep *);

/* Pages are known to hold nothing: tell that of those of which it is news. */
enum pm_status pm_sweep_blank(struct pm_sweep *, enum pm_kind, uint64_t page,
    uint64_t pages);

/* What is asked of a tracker, and what becomes of the answer. */
enum pm_sweep_question {
	PM_SWEEP_ARM,		/* forget what was written */
	PM_SWEEP_COLLECT,	/* make it pending, and forget it */
	PM_SWEEP_PEEK,		/* note it for the slice */
	PM_SWEEP_TAKE,		/* the same, and forget it */
	PM_SWEEP_TELL,		/* make it pending */
	PM_SWEEP_CHECK,		/* nothing: is it watched? */
};

/* Ask of a range of a view; it is lost if that cannot be told. */
enum pm_status pm_sweep_ask(struct pm_sweep *, struct pm_view *,
    uint64_t start, uint64_t end, enum pm_sweep_question);

/* The same for whatever views have of some pages. */
enum pm_status pm_sweep_ask_slice(struct pm_sweep *, uint64_t from,
    uint64_t end, enum pm_sweep_question);

/* True when a tracker does not know all that is written to a view. */
int pm_sweep_is_doubtful(const struct pm_sweep *, const struct pm_view *);

/*
 * Have it said which pages are free; and forget what was written to pages of
 * one slice, finding out which of them are idle.
 */
enum pm_status pm_sweep_find_free(struct pm_sweep *);
enum pm_status pm_sweep_arm_slice(struct pm_sweep *, uint64_t from,
    uint64_t end);

/* All pages of a range that may hold something are pending. */
enum pm_status pm_sweep_mark_present(struct pm_sweep *, uint64_t from,
    uint64_t end);

/*
 * The views of the subject become the known ones: watch all of them; or what
 * is new, and make it pending.  The subject may be listed anew for that.
 */
enum pm_status pm_sweep_watch(struct pm_sweep *);
enum pm_status pm_sweep_adopt(struct pm_sweep *);

/*
 * Tell of pages that are gone, and the list of mappings, if it is another.
 * A list is all that is told of mappings in a row, so it may come only where
 * records of another type follow before the next.
 */
enum pm_status pm_sweep_tell(struct pm_sweep *);

/* What was looked at in the last round is pending once more. */
void pm_sweep_add_recent(struct pm_sweep *);

/* Have those trackers look that look at all at once. */
enum pm_status pm_sweep_look(struct pm_sweep *);

/* The first known view that may have that page, or one behind it. */
size_t pm_sweep_first_known(const struct pm_sweep *, uint64_t page);

/* The number of the page at an address of a view, and of its pages. */
static inline uint64_t
pm_sweep_number(const struct pm_sweep *sweep, const struct pm_view *view,
    uint64_t address)
{
	return view->first + ((address - view->start) >>
	    sweep->subject->about.page_shift);
}

static inline uint64_t
pm_sweep_view_pages(const struct pm_sweep *sweep, const struct pm_view *view)
{
	return pm_sweep_number(sweep, view, view->end) - view->first;
}

/* Say that memory ran out; errno tells. */
enum pm_status pm_sweep_no_memory(struct pm_sweep *);

#endif /* PM_SWEEP_H */
