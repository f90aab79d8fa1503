/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "core.h"
#include "target.h"

static enum pm_status
fail(struct pm_target *target, enum pm_status status)
{
	return pm_fault_set(target->fault, status, target->path, "%s",
	    pm_status_text(status));
}

enum pm_status
pm_target_check_space(struct pm_target *target, int fd, const char *hint)
{
	struct statvfs fs;
	struct stat st;
	uint64_t needs, has;

	if (fstat(fd, &st) != 0 || fstatvfs(fd, &fs) != 0)
		return PM_OK;
	needs = (uint64_t)st.st_blocks * 512;
	has = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (needs <= has)
		return PM_OK;
	return pm_fault_set(target->fault, PM_ERR_REFUSED, target->path,
	    "a copy needs %" PRIu64 " bytes and %" PRIu64 " are free%s",
	    needs, has, hint);
}

/* A device is as long as it is. */
static enum pm_status
check_device(struct pm_target *target)
{
	const struct pm_layout *layout = target->image.layout;
	uint64_t needs = layout->slots << layout->page_shift;

	if (!target->is_device || target->image.size >= needs)
		return PM_OK;
	return pm_fault_set(target->fault, PM_ERR_REFUSED, target->path,
	    "is a device of %" PRIu64 " bytes, the memory takes %" PRIu64,
	    target->image.size, needs);
}

/*
 * In memory, room costs as much as what is written to it; and what is
 * written to room that was asked for is not compressed by btrfs.
 */
static int
takes_room(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	    (uint32_t)fs.f_type != TMPFS_MAGIC &&
	    (uint32_t)fs.f_type != BTRFS_SUPER_MAGIC;
}

enum pm_status
pm_target_open_new(struct pm_target *target, struct pm_target_plan *plan)
{
	int itself = target->in_place && target->lock >= 0, fd;
	struct pm_layout *layout = plan->layout;
	uint64_t data = 0;
	enum pm_status status;

	if (!itself && pm_outfile_open(&target->file, target->path) != PM_OK)
		return fail(target, PM_ERR_WRITE);
	fd = fcntl(itself ? target->lock : target->file.fd, F_DUPFD_CLOEXEC,
	    3);
	if (fd < 0)
		return fail(target, PM_ERR_SYSTEM);
	if (itself && plan->list != NULL)
		data = target->old.data;
	else if (plan->list != NULL) {
		status = pm_core_write(fd, layout->region, plan->list,
		    layout->page_shift, &data);
		if (status != PM_OK) {
			close(fd);
			return fail(target, status);
		}
	}
	plan->layout = NULL;
	pm_image_take(&target->image, fd, layout, data, target->path,
	    target->fault);
	target->image.takes_room = !itself && takes_room(fd);
	return check_device(target);
}

enum pm_status
pm_target_set_length(struct pm_target *target, int whole)
{
	const struct pm_layout *layout = target->image.layout;
	uint64_t size = target->image.data + (whole ? layout->slots <<
	    layout->page_shift : pm_layout_bytes(layout));

	if (target->is_device)
		return PM_OK;
	pm_holes_forget(&target->image.holes);
	if (ftruncate(target->image.fd, (off_t)size) != 0)
		return fail(target, PM_ERR_WRITE);
	if (target->image.size > size)
		target->image.size = size;
	return PM_OK;
}
