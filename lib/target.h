/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target.h - a memory file that is the old generation or the new one.
 *
 * By default a generation is built in a file without a name, a copy of the
 * old one, and takes its place when it is proved: the target is at every
 * instant the one or the other, kill -9 included.  In place, the target is
 * written itself; a marker beside it, NAME.pm-torn, stands as long as it is
 * neither.  A page table beside it, NAME.pm-table, saves reading all of the
 * old generation to know its id; whoever trusts it trusts that nothing
 * wrote to the file without changing its times.
 */
#ifndef PM_TARGET_H
#define PM_TARGET_H

#include <limits.h>
#include <stdint.h>

#include "fault.h"
#include "image.h"
#include "maplist.h"
#include "outfile.h"
#include "table.h"

struct pm_target {
	const char *path;
	int in_place, trust_table;
	struct pm_fault *fault;

	struct pm_image old;		/* what there was; layout NULL: none */
	struct pm_digest old_id;
	int old_known;			/* old_id is what old holds */
	struct pm_image image;		/* what is being written */
	struct pm_digest id;		/* of what image holds now */
	uint64_t virgin;		/* slots from there on: never written, */
	int blank;			/* and zeroes in the file too */
	struct pm_table table;		/* of image, if fd >= 0 */

	struct pm_outfile file, table_file;
	int lock, torn, marked, is_device;
	char torn_path[PATH_MAX], table_path[PATH_MAX];
	uint8_t *buf;			/* PM_PAYLOAD_MAX */

	uint64_t read, copied;		/* bytes of old generations */
	int cloned, trusted;		/* the last one was reflinked; was not
					   read to know its id */
};

/* What a stream needs of the target that it is applied to. */
struct pm_target_plan {
	struct pm_layout *layout;	/* of the new generation; taken over */
	struct pm_layout *old_layout;	/* of an image that is there; taken */
	const struct pm_maplist *list;	/* of a process, or NULL */
	int fresh;			/* depends on nothing that is there */
	int checked;			/* from is known and must match */
	struct pm_digest from;
};

/*
 * Look at the file of that name, which need not exist, and lock it.
 * PM_ERR_REFUSED for what it can't be: a device without in_place, one that
 * another pm-apply works on.  Nothing changes yet.
 */
enum pm_status pm_target_open(struct pm_target *, const char *path,
    int in_place, int trust_table, struct pm_fault *);

/*
 * Make image ready to be written: hold what the old generation held.
 * PM_ERR_MISMATCH when that is not what the stream starts from.
 */
enum pm_status pm_target_begin(struct pm_target *, struct pm_target_plan *);

/* Called before the first byte of a generation is changed. */
enum pm_status pm_target_touch(struct pm_target *);

/* The generation is proved: make it durable and put it in its place. */
enum pm_status pm_target_commit(struct pm_target *);

/* Forget what was not committed, and release all. */
void pm_target_close(struct pm_target *);

#endif /* PM_TARGET_H */
