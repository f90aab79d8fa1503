/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * live.h - copy memory while it is in use, and stop it for the last pages.
 *
 * Round after round is sent of what was written since, until what is left
 * fits into the time that the subject may stand still; then it is stopped,
 * what differs is sent, and it goes on.  What the reader takes, behind
 * deltas, compression and a network, is the measure of how much fits.
 */
#ifndef PM_LIVE_H
#define PM_LIVE_H

#include <stdint.h>

#include "free.h"
#include "older.h"
#include "stop.h"
#include "stream.h"
#include "subject.h"
#include "table.h"

#define PM_LIVE_ROUNDS	1000u		/* at most */

struct pm_live_round {
	uint64_t pages;			/* sent with content */
	uint64_t bytes;			/* of the stream */
	uint64_t us;
	uint64_t pending;		/* pages left for the next */
	uint64_t put_off;		/* not sent, as they changed again */
	uint64_t expected_us;		/* to stand still, if stopped now */
};

struct pm_live_counts {
	uint32_t rounds;		/* the last one included */
	struct pm_live_round round;	/* the last one that ended */
	uint64_t pages;			/* of all; of a process, in mappings
					   that are carried */
	uint64_t read, equal;		/* pages looked at; not sent */
	uint64_t raw, zero, gone;	/* pages, sent as such */
	uint64_t put_off;		/* pages, each time */
	uint64_t dirty_rate;		/* pages a second, of late */
	uint64_t expected_us, downtime_us;	/* standing still */
	uint64_t left_in_pipe;		/* bytes, when the last was taken */
	uint64_t setup_us, total_us, blocked_us;
	uint64_t cpu_us;		/* of a processor, used by this one */
	uint64_t slowdown_permille;	/* of its time that it cost the
					   subject to be watched; a guess */
	unsigned share_permille;	/* of its time that it could run */
	struct pm_digest from, to;
};

struct pm_live_options {
	uint32_t record_size;
	struct pm_older *older;		/* what the stream starts from */
	uint64_t max_downtime_us;
	unsigned max_rounds;
	uint64_t deadline_us;		/* 0: none */
	int throttle, force;
	unsigned cpu_percent;		/* of one processor; 0: no limit */
	enum pm_stop_then then;
	pm_free_find *find_free;	/* as in struct pm_sweep, or NULL */
	void *find_arg;
	/* Called when it is known what a round has left, if not NULL. */
	void (*told)(void *arg, const struct pm_live_counts *);
	void *arg;
	/*
	 * Called in the end, with the mappings as they were then, for a table
	 * to be filled with hashes; or NULL.
	 */
	struct pm_table *(*save)(const struct pm_source *about);
};

/*
 * Write one whole stream of the subject to out, on descriptor fd, or -1.
 * stop is opened and stays the caller's, who closes it; after a failure the
 * subject may still be stopped until then.  PM_ERR_REFUSED, 'not converging',
 * when it does not come to an end within what the options allow.
 */
enum pm_status pm_live_run(struct pm_subject *, struct pm_stop *,
    const struct pm_live_options *, struct pm_writer *out, int fd,
    struct pm_live_counts *, struct pm_fault *);

#endif /* PM_LIVE_H */
