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
 *
 * The target may be another file than an image of the memory, which is made
 * of one when that takes its place, at the end of the input: one region of
 * it, or a migration file.  What is there before is not looked at then.
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
	int is_kept;			/* from its generations another file is
					   made at the end */
	struct pm_fault *fault;

	struct pm_image old;		/* what there was; layout NULL: none */
	struct pm_digest old_id;
	int old_known;			/* old_id is what old holds */
	struct pm_image image;		/* what is being written */
	struct pm_digest id;		/* of what image holds now */
	uint64_t virgin;		/* slots from there on: never written, */
	int blank;			/* and zeroes in the file too */
	struct pm_layout *plain;	/* that the last list of mappings asks
					   for, if image has another; or NULL */
	struct pm_table table;		/* of image, if fd >= 0 */

	struct pm_outfile file, table_file;
	struct pm_outfile kept;		/* the last generation, if is_kept;
					   old has its pages */
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
 * Keep each generation for the next one or for pm_target_finish, and look at
 * nothing that is there: before any begins, not in place nor with a table.
 */
void pm_target_keep(struct pm_target *);

/*
 * Make image ready to be written: hold what the old generation held.
 * PM_ERR_MISMATCH when that is not what the stream starts from.
 */
enum pm_status pm_target_begin(struct pm_target *, struct pm_target_plan *);

/* Called before the first byte of a generation is changed. */
enum pm_status pm_target_touch(struct pm_target *);

/*
 * From here on the mappings are those of list, which ask for the layout
 * plain, taken over.  Pages that were carried before stay where they are in
 * the file, others are zeroes.  PM_ERR_CORRUPT when a page with content is
 * carried no more, PM_ERR_REFUSED in place.
 */
enum pm_status pm_target_remap(struct pm_target *, struct pm_layout *plain,
    const struct pm_maplist *list);

/*
 * Bring all pages to where the last list of mappings, which is this one,
 * wants them in the file, and write its head, unless that is how it is.
 */
enum pm_status pm_target_settle(struct pm_target *,
    const struct pm_maplist *list);

/*
 * The generation is proved: make it durable and put it in its place, unless
 * it is kept.
 */
enum pm_status pm_target_commit(struct pm_target *);

/*
 * What was kept was made what it is to be, and is so many bytes long: make it
 * durable and put it in its place.
 */
enum pm_status pm_target_finish(struct pm_target *, uint64_t size);

/* Forget what was not committed, and release all. */
void pm_target_close(struct pm_target *);

/*
 * What the parts of a target share; not for others.  First its files: room
 * for a copy of what fd has, where hint says what else to do; open what
 * will be written, with its head; and give it its length.  While it is
 * written it holds whole pages: what an old generation had behind the new
 * end must not vanish before it has left the id.
 */
enum pm_status pm_target_check_space(struct pm_target *, int fd,
    const char *hint);
enum pm_status pm_target_open_new(struct pm_target *,
    struct pm_target_plan *);
enum pm_status pm_target_set_length(struct pm_target *, int whole);

/*
 * Then its table: that of old, if it is to be trusted, true when it saves
 * reading old; and that of image, which begins empty as that is.
 */
int pm_target_trust(struct pm_target *, struct pm_table *);
enum pm_status pm_target_begin_table(struct pm_target *);
void pm_target_drop_table(struct pm_target *);
void pm_target_commit_table(struct pm_target *);

#endif /* PM_TARGET_H */
