/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* flock, realpath */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "target.h"

static enum pm_status
fail(struct pm_target *target, enum pm_status status)
{
	return pm_fault_set(target->fault, status, target->path, "%s",
	    pm_status_text(status));
}

static enum pm_status
refuse(struct pm_target *target, const char *why)
{
	return pm_fault_set(target->fault, PM_ERR_REFUSED, target->path, "%s",
	    why);
}

/* A name beside the file itself, where path is a symbolic link to it. */
static int
name_beside(const char *path, const char *suffix, char *out)
{
	char real[PATH_MAX];
	struct stat st;
	int size;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) &&
	    realpath(path, real) != NULL)
		path = real;
	size = snprintf(out, PATH_MAX, "%s%s", path, suffix);
	return size > 0 && size < PATH_MAX;
}

/* The lock is on the file, so look again whether it still has the name. */
static enum pm_status
lock(struct pm_target *target, int fd)
{
	struct stat mine, named;

	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno != EWOULDBLOCK ? fail(target, PM_ERR_SYSTEM)
		    : refuse(target, "is being written by another pm-apply");
	if (fstat(fd, &mine) != 0 || stat(target->path, &named) != 0 ||
	    mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
		return refuse(target, "was replaced by another pm-apply");
	return PM_OK;
}

/* Before it is opened: that alone has effects on some devices. */
static enum pm_status
check_kind(struct pm_target *target, mode_t mode)
{
	if (S_ISBLK(mode) && !target->in_place)
		return refuse(target, "is a block device, which cannot be "
		    "replaced; --in-place writes it");
	if (S_ISBLK(mode) && target->trust_table)
		return refuse(target, "is a block device, whose times do not "
		    "tell that it changed; leave --trust-table out");
	if (!S_ISREG(mode) && !S_ISBLK(mode))
		return refuse(target, "is not a regular file");
	target->is_device = S_ISBLK(mode);
	return PM_OK;
}

enum pm_status
pm_target_open(struct pm_target *target, const char *path, int in_place,
    int trust_table, struct pm_fault *fault)
{
	enum pm_status status;
	struct stat st;
	int fd;

	*target = (struct pm_target){
		.path = path, .in_place = in_place,
		.trust_table = trust_table, .fault = fault,
		.file = { .fd = -1 }, .table_file = { .fd = -1 },
		.kept = { .fd = -1 },
		.table = { .fd = -1 }, .lock = -1, .old = { .fd = -1 },
		.image = { .fd = -1 },
	};
	if (!name_beside(path, ".pm-torn", target->torn_path) ||
	    !name_beside(path, ".pm-table", target->table_path)) {
		errno = ENAMETOOLONG;
		return fail(target, PM_ERR_WRITE);
	}
	if ((target->buf = pm_record_buffer()) == NULL)
		return fail(target, PM_ERR_SYSTEM);
	target->torn = access(target->torn_path, F_OK) == 0;
	if (stat(path, &st) != 0)
		return errno == ENOENT ? PM_OK : fail(target, PM_ERR_WRITE);
	if ((status = check_kind(target, st.st_mode)) != PM_OK)
		return status;
	/* A device that is mounted, or mounted meanwhile, is busy. */
	fd = open(path, O_RDWR | O_CLOEXEC | (target->is_device ? O_EXCL
	    : 0));
	if (fd < 0)
		return fail(target, PM_ERR_WRITE);
	if ((status = lock(target, fd)) != PM_OK) {
		close(fd);
		return status;
	}
	target->lock = fd;
	return PM_OK;
}

void
pm_target_keep(struct pm_target *target)
{
	target->is_kept = 1;
}

void
pm_target_close(struct pm_target *target)
{
	/* The descriptor of the table is that of its file. */
	target->table.fd = -1;
	pm_table_close(&target->table);
	pm_image_close(&target->image);
	pm_image_close(&target->old);
	pm_outfile_drop(&target->file);
	pm_outfile_drop(&target->table_file);
	pm_outfile_drop(&target->kept);
	pm_layout_free(target->plain);
	target->plain = NULL;
	if (target->lock >= 0)
		close(target->lock);
	free(target->buf);
	target->buf = NULL;
	target->lock = -1;
}
