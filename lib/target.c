/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* flock */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "core.h"
#include "fdio.h"
#include "move.h"
#include "target.h"

static enum pm_status
fail(struct pm_target *target, enum pm_status status)
{
	return pm_fault_set(target->fault, status, target->path, "%s",
	    pm_status_text(status));
}

/* What there is, as the image or the core file that the stream is of. */
static enum pm_status
open_old(struct pm_target *target, struct pm_target_plan *plan)
{
	struct pm_layout *layout = plan->old_layout;
	uint64_t data = 0;
	enum pm_status status = PM_OK;
	int fd;

	if (plan->list == NULL)
		plan->old_layout = NULL;
	else if (!pm_core_detect(target->lock))
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "is not a core file, the stream is of a "
		    "process");
	else
		status = pm_core_read(target->lock, target->path, &layout,
		    &data, NULL, target->fault);
	if (status != PM_OK)
		return status;
	if ((fd = fcntl(target->lock, F_DUPFD_CLOEXEC, 3)) < 0) {
		pm_layout_free(layout);
		return fail(target, PM_ERR_SYSTEM);
	}
	pm_image_take(&target->old, fd, layout, data, target->path,
	    target->fault);
	return PM_OK;
}

static enum pm_status
mismatch(struct pm_target *target, struct pm_digest wants)
{
	char is[PM_DIGEST_TEXT], from[PM_DIGEST_TEXT];

	pm_digest_text(target->old_id, is);
	pm_digest_text(wants, from);
	return pm_fault_set(target->fault, PM_ERR_MISMATCH, target->path,
	    "holds generation %s, the stream starts from %s", is, from);
}

/* What can be told of the old generation without reading it. */
static enum pm_status
check_old(struct pm_target *target, const struct pm_target_plan *plan)
{
	const struct pm_layout *old = target->old.layout;
	uint64_t wants = pm_layout_bytes(old);
	struct stat st;

	if (old->page_shift != plan->layout->page_shift)
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "has pages of %u bytes, the stream of %u",
		    1u << old->page_shift, 1u << plan->layout->page_shift);
	if (plan->checked && target->old_known &&
	    !pm_digest_equal(target->old_id, plan->from))
		return mismatch(target, plan->from);
	if (plan->list != NULL || plan->fresh || fstat(target->old.fd, &st)
	    != 0 || !S_ISREG(st.st_mode) || target->old.size == wants)
		return PM_OK;
	return pm_fault_set(target->fault, PM_ERR_MISMATCH, target->path,
	    "holds %" PRIu64 " bytes, the stream starts from %" PRIu64,
	    target->old.size, wants);
}

/* A clone brings the head of a core file too, which must be the new one. */
static enum pm_status
try_clone(struct pm_target *target, const struct pm_target_plan *plan)
{
	const struct pm_layout *layout = target->image.layout;
	uint64_t data;

	target->cloned = pm_move_is_still(&target->old, &target->image) &&
	    ioctl(target->image.fd, FICLONE, target->old.fd) == 0;
	if (!target->cloned)
		return PM_OK;
	target->image.takes_room = 0;
	target->image.size = target->old.size;
	if (plan->list == NULL)
		return PM_OK;
	return pm_core_write(target->image.fd, layout->region, plan->list,
	    layout->page_shift, &data);
}

static enum pm_status
bring_old(struct pm_target *target, const struct pm_target_plan *plan)
{
	struct pm_table known;
	struct pm_move move = {
		.from = &target->old, .to = &target->image,
		.table = target->table.fd >= 0 ? &target->table : NULL,
		.copy = !target->in_place, .buf = target->buf,
	};
	enum pm_status status = PM_OK;

	if (move.copy && (status = try_clone(target, plan)) != PM_OK)
		return fail(target, status);
	move.copy = move.copy && !target->cloned;
	if (move.copy && (status = pm_target_check_space(target,
	    target->old.fd, target->is_kept ? "" :
	    "; --in-place needs none")) != PM_OK)
		return status;
	if ((target->trusted = pm_target_trust(target, &known)))
		move.known = &known;
	if (move.known != NULL && !move.copy &&
	    pm_move_is_still(move.from, move.to))
		status = pm_move_table(&move);
	else
		status = pm_move_run(&move);
	if (move.known != NULL)
		pm_table_close(&known);
	target->old_id = move.was;
	target->old_known = 1;
	target->id = move.is;
	target->read += move.read;
	target->copied += move.copied;
	return status;
}

/* In place, what stays must stay where it is. */
static enum pm_status
check_in_place(struct pm_target *target, const struct pm_target_plan *plan)
{
	const struct pm_layout *old = target->old.layout;
	const struct pm_layout *new = target->image.layout;
	uint64_t data;

	if (plan->list != NULL ? !pm_core_is(target->old.fd, new->region,
	    plan->list, new->page_shift, &data) : !pm_layout_agree(old, new))
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "regions or mappings moved, which "
		    "--in-place cannot follow");
	/* What a file gains is zeroes, what a device holds is anything. */
	if (target->is_device && new->slots > old->slots)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "is a device, where the memory cannot grow; "
		    "apply a full stream to it");
	return PM_OK;
}

/* What is there does not matter; a device keeps it all the same. */
static enum pm_status
clear(struct pm_target *target)
{
	enum pm_status status = pm_target_touch(target);

	target->blank = !target->is_device;
	if (status != PM_OK || target->is_device)
		return status;
	if (ftruncate(target->image.fd, 0) != 0)
		return fail(target, PM_ERR_WRITE);
	target->image.size = 0;
	return PM_OK;
}

static enum pm_status
begin_fresh(struct pm_target *target, struct pm_target_plan *plan)
{
	int itself = target->in_place && target->lock >= 0;
	enum pm_status status;

	if (itself && plan->list != NULL)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "a full stream of a process makes a new "
		    "core file; leave --in-place out");
	if ((status = pm_target_open_new(target, plan)) != PM_OK)
		return status;
	target->id = pm_layout_id(target->image.layout->region,
	    target->image.layout->regions);
	target->virgin = 0;
	target->blank = 1;
	if (itself && (status = clear(target)) != PM_OK)
		return status;
	if ((status = pm_target_begin_table(target)) != PM_OK)
		return status;
	return pm_target_set_length(target, 1);
}

static enum pm_status
begin_from_old(struct pm_target *target, struct pm_target_plan *plan)
{
	enum pm_status status;

	if (target->in_place && (plan->fresh || !plan->checked))
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, plan->fresh ? "--in-place cannot check what "
		    "a full stream with deltas starts from; leave it out"
		    : "the stream tells only at its end what it starts from, "
		    "too late for --in-place");
	if (target->old.layout == NULL &&
	    (status = open_old(target, plan)) != PM_OK)
		return status;
	if ((status = check_old(target, plan)) != PM_OK ||
	    (status = pm_target_open_new(target, plan)) != PM_OK)
		return status;
	if (target->in_place &&
	    (status = check_in_place(target, plan)) != PM_OK)
		return status;
	target->virgin = UINT64_MAX;
	if ((status = pm_target_begin_table(target)) != PM_OK ||
	    (status = bring_old(target, plan)) != PM_OK)
		return status;
	if (plan->checked && !pm_digest_equal(target->old_id, plan->from))
		return mismatch(target, plan->from);
	return target->in_place ? PM_OK : pm_target_set_length(target, 1);
}

/* Where it is kept, only what this run has made; else, what has the name. */
static int
has_old(const struct pm_target *target)
{
	return target->is_kept ? target->old.layout != NULL
	    : target->lock >= 0;
}

enum pm_status
pm_target_begin(struct pm_target *target, struct pm_target_plan *plan)
{
	int leans = !plan->fresh || plan->old_layout != NULL;

	if (target->torn && leans && !target->is_kept)
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "was left torn by an --in-place that did "
		    "not end; apply a full stream to it");
	if (leans && has_old(target))
		return begin_from_old(target, plan);
	if (plan->fresh)
		return begin_fresh(target, plan);
	if (target->is_kept)
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "is no image that is read, and the stream "
		    "is not a full one; put that before it");
	return pm_fault_set(target->fault, PM_ERR_MISMATCH, target->path,
	    "does not exist, and the stream is not a full one");
}

enum pm_status
pm_target_touch(struct pm_target *target)
{
	int fd;

	if (!target->in_place || target->lock < 0 || target->marked)
		return PM_OK;
	fd = open(target->torn_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || pm_fd_write(fd, "torn\n", 5) != PM_OK ||
	    fsync(fd) != 0) {
		if (fd >= 0)
			close(fd);
		return pm_fault_set(target->fault, PM_ERR_WRITE,
		    target->torn_path, "%s", strerror(errno));
	}
	close(fd);
	target->marked = 1;
	return PM_OK;
}

/* The next pm-apply must find the lock on whatever has the name. */
static enum pm_status
publish(struct pm_target *target)
{
	if (flock(target->file.fd, LOCK_EX | LOCK_NB) != 0 ||
	    pm_outfile_publish(&target->file) != PM_OK)
		return fail(target, PM_ERR_WRITE);
	if (target->lock >= 0)
		close(target->lock);
	target->lock = target->file.fd;
	target->file.fd = -1;
	return PM_OK;
}

static void
clear_mark(struct pm_target *target)
{
	if (target->marked || target->torn)
		(void)unlink(target->torn_path);
	target->marked = target->torn = 0;
}

static enum pm_status
put_in_place(struct pm_target *target)
{
	enum pm_status status = pm_target_set_length(target, 0);

	if (status == PM_OK && target->file.fd >= 0)
		status = publish(target);
	else if (status == PM_OK && fsync(target->image.fd) != 0)
		status = fail(target, PM_ERR_WRITE);
	if (status != PM_OK)
		return status;
	clear_mark(target);
	pm_target_commit_table(target);
	return PM_OK;
}

enum pm_status
pm_target_commit(struct pm_target *target)
{
	enum pm_status status;

	if (target->is_kept) {
		pm_outfile_drop(&target->kept);
		target->kept = target->file;
		target->file = (struct pm_outfile){ .fd = -1 };
	} else if ((status = put_in_place(target)) != PM_OK)
		return status;
	/* The next stream of a chain finds it as its old generation. */
	pm_image_close(&target->old);
	target->old = target->image;
	target->old.size = target->image.data +
	    pm_layout_bytes(target->image.layout);
	target->image = (struct pm_image){ .fd = -1 };
	target->old_id = target->id;
	target->old_known = 1;
	return PM_OK;
}

enum pm_status
pm_target_finish(struct pm_target *target, uint64_t size)
{
	enum pm_status status;

	pm_outfile_drop(&target->file);
	target->file = target->kept;
	target->kept = (struct pm_outfile){ .fd = -1 };
	if (ftruncate(target->file.fd, (off_t)size) != 0)
		return fail(target, PM_ERR_WRITE);
	if ((status = publish(target)) == PM_OK)
		clear_mark(target);
	return status;
}
