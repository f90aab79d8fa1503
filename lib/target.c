/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* flock */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <linux/fs.h>

#include "core.h"
#include "fdio.h"
#include "target.h"

static enum pm_status
fail(struct pm_target *target, enum pm_status status)
{
	return pm_fault_set(target->fault, status, target->path, "%s",
	    pm_status_text(status));
}

static int
name_beside(const char *path, const char *suffix, char *out)
{
	int size = snprintf(out, PATH_MAX, "%s%s", path, suffix);

	return size > 0 && size < PATH_MAX;
}

/* The lock is on the file, so look again whether it still has the name. */
static enum pm_status
lock(struct pm_target *target, int fd)
{
	struct stat mine, named;

	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno != EWOULDBLOCK ? fail(target, PM_ERR_SYSTEM)
		    : pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "is being written by another pm-apply");
	if (fstat(fd, &mine) != 0 || stat(target->path, &named) != 0 ||
	    mine.st_dev != named.st_dev || mine.st_ino != named.st_ino)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "was replaced by another pm-apply");
	return PM_OK;
}

static enum pm_status
look_at_file(struct pm_target *target, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return fail(target, PM_ERR_READ);
	if (S_ISBLK(st.st_mode) && !target->in_place)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "is a block device, which cannot be "
		    "replaced; --in-place writes it");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "is not a regular file");
	return lock(target, fd);
}

enum pm_status
pm_target_open(struct pm_target *target, const char *path, int in_place,
    int trust_table, struct pm_fault *fault)
{
	enum pm_status status;
	int fd;

	*target = (struct pm_target){
		.path = path, .in_place = in_place,
		.trust_table = trust_table, .fault = fault,
		.file = { .fd = -1 }, .table_file = { .fd = -1 },
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
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? PM_OK : fail(target, PM_ERR_WRITE);
	if ((status = look_at_file(target, fd)) != PM_OK) {
		close(fd);
		return status;
	}
	target->lock = fd;
	return PM_OK;
}

/* Take what there is as the image file or core file that it is. */
static enum pm_status
open_old(struct pm_target *target, struct pm_target_plan *plan)
{
	struct pm_layout *layout = plan->old_layout;
	uint64_t data = 0;
	int is_core = pm_core_detect(target->lock), fd;
	enum pm_status status = PM_OK;

	if (is_core != (plan->list != NULL))
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, is_core ? "is a core file, the stream is "
		    "of an image" : "is not a core file, the stream is of a "
		    "process");
	if (is_core)
		status = pm_core_read(target->lock, target->path, &layout,
		    &data, NULL, target->fault);
	else
		plan->old_layout = NULL;
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
mismatch(struct pm_target *target, struct pm_digest is,
    struct pm_digest wants)
{
	char a[PM_DIGEST_TEXT], b[PM_DIGEST_TEXT];

	pm_digest_text(is, a);
	pm_digest_text(wants, b);
	return pm_fault_set(target->fault, PM_ERR_MISMATCH, target->path,
	    "holds generation %s, the stream starts from %s", a, b);
}

static enum pm_status
check_old_size(struct pm_target *target, const struct pm_target_plan *plan)
{
	uint64_t wants = pm_layout_bytes(target->old.layout);
	struct stat st;

	if (plan->list != NULL || plan->fresh || fstat(target->old.fd, &st)
	    != 0 || !S_ISREG(st.st_mode) || target->old.size == wants)
		return PM_OK;
	return pm_fault_set(target->fault, PM_ERR_MISMATCH, target->path,
	    "holds %" PRIu64 " bytes, the stream starts from %" PRIu64,
	    target->old.size, wants);
}

/* A table that is of this very file saves reading it. */
static int
trust(struct pm_target *target, struct pm_table *table)
{
	struct pm_table_stamp stamp;
	struct stat st;

	if (!target->trust_table || fstat(target->old.fd, &st) != 0 ||
	    pm_table_open(table, target->table_path, 0, NULL) != PM_OK)
		return 0;
	stamp = pm_table_stamp_of(&st);
	if (pm_table_stamp_equal(&stamp, &table->stamp) &&
	    pm_layout_equal(table->layout, target->old.layout) &&
	    pm_digest_equal(pm_layout_id(table->layout->region,
	    table->layout->regions), pm_layout_id(target->old.layout->region,
	    target->old.layout->regions)))
		return 1;
	pm_table_close(table);
	return 0;
}

/* The table of what is to be written, empty as that is. */
static enum pm_status
begin_table(struct pm_target *target)
{
	if (!target->trust_table)
		return PM_OK;
	if (pm_outfile_open(&target->table_file, target->table_path) != PM_OK)
		return pm_fault_set(target->fault, PM_ERR_WRITE,
		    target->table_path, "%s", strerror(errno));
	return pm_table_begin(&target->table, target->table_file.fd,
	    target->table_path, target->image.layout, target->fault);
}

/* Whether the old generation leaves room for a copy of itself. */
static enum pm_status
check_space(struct pm_target *target)
{
	struct statvfs fs;
	struct stat st;
	uint64_t needs, has;

	if (fstat(target->old.fd, &st) != 0 ||
	    fstatvfs(target->old.fd, &fs) != 0)
		return PM_OK;
	needs = (uint64_t)st.st_blocks * 512;
	has = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (needs <= has)
		return PM_OK;
	return pm_fault_set(target->fault, PM_ERR_REFUSED, target->path,
	    "a copy needs %" PRIu64 " bytes and %" PRIu64 " are free; "
	    "--in-place needs none", needs, has);
}

/*
 * How the pages of the old generation come into the new: not at all (in
 * place), by a clone, or copied.  Each that is kept is hashed on the way,
 * or, if a table is trusted, not even read where a clone brought it.
 */
struct move {
	struct pm_target *target;
	struct pm_table *trusted;	/* or NULL */
	int copy;
	struct pm_digest kept;		/* of the pages that go on to be */
	uint32_t region;		/* of the new layout */
};

static enum pm_status
keep_page(struct move *move, uint64_t page, struct pm_digest content)
{
	struct pm_target *target = move->target;
	uint64_t key = target->image.layout->region[move->region].key;
	struct pm_place place = pm_layout_find(target->image.layout,
	    move->region, page);

	if (!place.held)
		return PM_OK;
	move->kept = pm_digest_add(move->kept, pm_hash_page(content, key,
	    page));
	return target->table.fd >= 0
	    ? pm_table_set(&target->table, place.slot, content) : PM_OK;
}

static enum pm_status
write_kept(struct pm_target *target, uint32_t region, uint64_t page,
    uint32_t pages)
{
	size_t shift = target->image.layout->page_shift;
	const uint8_t *from = target->buf;

	while (pages > 0) {
		struct pm_place place = pm_layout_find(target->image.layout,
		    region, page);
		uint32_t now = place.pages < pages ? (uint32_t)place.pages
		    : pages;
		enum pm_status status;

		if (place.held) {
			status = pm_image_write(&target->image, region, page,
			    now, from);
			if (status != PM_OK)
				return status;
			target->copied += (uint64_t)now << shift;
		}
		from += (size_t)now << shift;
		page += now;
		pages -= now;
	}
	return PM_OK;
}

/* Pages of one span of data of the old generation, read to buf. */
static enum pm_status
move_pages(struct move *move, uint32_t old_region, uint64_t slot,
    uint64_t page, uint32_t pages)
{
	struct pm_target *target = move->target;
	const struct pm_layout *old = target->old.layout;
	size_t page_size = (size_t)1 << old->page_shift;
	uint64_t key = old->region[old_region].key;
	enum pm_status status;

	status = pm_image_read(&target->old, old_region, page, pages,
	    target->buf);
	if (status != PM_OK)
		return status;
	target->read += pages * page_size;
	for (uint32_t i = 0; i < pages; i++) {
		struct pm_digest content;

		if (move->trusted != NULL)
			status = pm_table_get(move->trusted, slot + i,
			    &content);
		else
			content = pm_hash_content(target->buf +
			    i * page_size, page_size);
		if (status != PM_OK)
			return status;
		if (move->trusted == NULL && !target->old_known)
			target->old_id = pm_digest_add(target->old_id,
			    pm_hash_page(content, key, page + i));
		if (move->region != UINT32_MAX && (status = keep_page(move,
		    page + i, content)) != PM_OK)
			return status;
	}
	return move->copy && move->region != UINT32_MAX
	    ? write_kept(target, move->region, page, pages) : PM_OK;
}

static enum pm_status
move_extent(struct move *move, const struct pm_extent *extent)
{
	struct pm_target *target = move->target;
	uint32_t most = PM_PAYLOAD_MAX >> target->old.layout->page_shift;
	uint64_t pages;

	for (uint64_t at = 0; at < extent->pages; at += pages) {
		enum pm_status status;
		int data;

		status = pm_image_span(&target->old, extent->region,
		    extent->first + at, &data, &pages);
		if (status == PM_OK && data) {
			if (pages > most)
				pages = most;
			status = move_pages(move, extent->region,
			    extent->slot + at, extent->first + at,
			    (uint32_t)pages);
		}
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

/* The same pages in the same slots, and a table: nothing need be read. */
static enum pm_status
move_table(struct pm_target *target, struct pm_table *trusted)
{
	struct pm_holes holes = { 0 };
	enum pm_status status = PM_OK;
	uint64_t at = trusted->data, until;

	while (at < trusted->size && status == PM_OK) {
		int hole = pm_holes_at(&holes, trusted->fd, trusted->size, at,
		    &until);
		size_t now = until - at < PM_PAYLOAD_MAX
		    ? (size_t)(until - at) : PM_PAYLOAD_MAX;

		if (!hole) {
			status = pm_fd_pread(trusted->fd, target->buf, now,
			    at);
			if (status == PM_OK)
				status = pm_fd_pwrite(target->table.fd,
				    target->buf, now, target->table.data +
				    (at - trusted->data));
		}
		at = hole ? until : at + now;
	}
	return status == PM_OK ? PM_OK : pm_fault_set(target->fault,
	    PM_ERR_WRITE, target->table_path, "%s", pm_status_text(status));
}

static enum pm_status
move_all(struct pm_target *target, struct pm_table *trusted, int copy)
{
	const struct pm_layout *old = target->old.layout;
	struct move move = { target, trusted, copy, { 0, 0 }, 0 };
	enum pm_status status = PM_OK;

	if (!target->old_known)
		target->old_id = trusted != NULL ? trusted->id
		    : pm_layout_id(old->region, old->regions);
	for (size_t i = 0; i < old->extents && status == PM_OK; i++) {
		move.region = pm_layout_region(target->image.layout,
		    old->region[old->extent[i].region].key);
		status = move_extent(&move, &old->extent[i]);
	}
	target->old_known = 1;
	target->id = pm_digest_add(pm_layout_id(target->image.layout->region,
	    target->image.layout->regions), move.kept);
	return status;
}

static int
same_place(const struct pm_target *target)
{
	return target->old.data == target->image.data &&
	    pm_layout_equal(target->old.layout, target->image.layout);
}

static enum pm_status
bring_old(struct pm_target *target)
{
	static struct pm_table trusted;
	int copy = !target->in_place, known;
	enum pm_status status;

	target->trusted = trust(target, &trusted);
	if (copy && same_place(target) &&
	    ioctl(target->image.fd, FICLONE, target->old.fd) == 0) {
		target->cloned = 1;
		copy = 0;
	}
	if (copy && (status = check_space(target)) != PM_OK)
		return status;
	known = target->trusted && !copy && same_place(target);
	if (known) {
		target->old_id = trusted.id;
		target->old_known = 1;
		target->id = pm_digest_add(pm_digest_subtract(trusted.id,
		    pm_layout_id(target->old.layout->region,
		    target->old.layout->regions)),
		    pm_layout_id(target->image.layout->region,
		    target->image.layout->regions));
		status = move_table(target, &trusted);
	} else
		status = move_all(target, target->trusted ? &trusted : NULL,
		    copy);
	if (target->trusted)
		pm_table_close(&trusted);
	return status;
}

/* In place, what stays must stay where it is. */
static enum pm_status
check_in_place(struct pm_target *target)
{
	const struct pm_layout *old = target->old.layout;
	const struct pm_layout *new = target->image.layout;

	if (target->old.data == target->image.data &&
	    old->extents <= new->extents) {
		size_t i = 0;

		while (i < old->extents &&
		    old->extent[i].region == new->extent[i].region &&
		    old->extent[i].first == new->extent[i].first &&
		    old->extent[i].slot == new->extent[i].slot)
			i++;
		if (i == old->extents)
			return PM_OK;
	}
	return pm_fault_set(target->fault, PM_ERR_REFUSED, target->path,
	    "regions or mappings moved, which --in-place cannot follow");
}

/* Open what will be written, as long as the new generation and empty. */
static enum pm_status
open_new(struct pm_target *target, struct pm_target_plan *plan)
{
	struct pm_layout *layout = plan->layout;
	uint64_t data = 0;
	enum pm_status status;
	int fd;

	if (target->in_place && target->lock >= 0)
		fd = fcntl(target->lock, F_DUPFD_CLOEXEC, 3);
	else {
		if (pm_outfile_open(&target->file, target->path) != PM_OK)
			return fail(target, PM_ERR_WRITE);
		fd = fcntl(target->file.fd, F_DUPFD_CLOEXEC, 3);
	}
	if (fd < 0)
		return fail(target, PM_ERR_SYSTEM);
	if (plan->list != NULL && target->in_place && target->lock >= 0)
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
	return PM_OK;
}

/*
 * While it is written the file holds whole pages; what an old generation
 * had behind the new end must not vanish before it has left the id.
 */
static enum pm_status
set_length(struct pm_target *target, int whole)
{
	const struct pm_layout *layout = target->image.layout;
	uint64_t size = target->image.data + (whole ? layout->slots <<
	    layout->page_shift : pm_layout_bytes(layout));
	struct stat st;

	if (fstat(target->image.fd, &st) == 0 && S_ISBLK(st.st_mode))
		return whole || target->image.size >= size ? PM_OK :
		    pm_fault_set(target->fault, PM_ERR_REFUSED, target->path,
		    "is a device of %" PRIu64 " bytes, the memory has %"
		    PRIu64, target->image.size, size);
	if (ftruncate(target->image.fd, (off_t)size) != 0)
		return fail(target, PM_ERR_WRITE);
	if (target->image.size > size)
		target->image.size = size;
	return PM_OK;
}

static enum pm_status
begin_fresh(struct pm_target *target, struct pm_target_plan *plan)
{
	enum pm_status status;

	if (target->in_place && plan->list != NULL && target->lock >= 0)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "a full stream of a process makes a new "
		    "core file; leave --in-place out");
	if ((status = open_new(target, plan)) != PM_OK)
		return status;
	target->id = pm_layout_id(target->image.layout->region,
	    target->image.layout->regions);
	target->virgin = 0;
	target->blank = 1;
	if (target->in_place && target->lock >= 0) {
		/* What is there does not matter; a device keeps it. */
		if ((status = pm_target_touch(target)) != PM_OK)
			return status;
		target->blank = ftruncate(target->image.fd, 0) == 0;
		if (!target->blank && errno != EINVAL)
			return fail(target, PM_ERR_WRITE);
		if (target->blank)
			target->image.size = 0;
	}
	if ((status = begin_table(target)) != PM_OK)
		return status;
	return set_length(target, 1);
}

enum pm_status
pm_target_begin(struct pm_target *target, struct pm_target_plan *plan)
{
	enum pm_status status;

	if (target->torn && !(plan->fresh && plan->old_layout == NULL))
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "was left torn by an --in-place that did "
		    "not end; apply a full stream to it");
	if (plan->fresh && plan->old_layout == NULL)
		return begin_fresh(target, plan);
	if (target->old.layout == NULL && target->lock < 0) {
		if (plan->fresh)
			return begin_fresh(target, plan);
		return pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "does not exist, and the stream is not a "
		    "full one");
	}
	if (target->in_place && (plan->fresh || !plan->checked))
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, plan->fresh ? "--in-place cannot check what "
		    "a full stream with deltas starts from; leave it out"
		    : "the stream tells only at its end what it starts from, "
		    "too late for --in-place");
	if (target->old.layout == NULL &&
	    (status = open_old(target, plan)) != PM_OK)
		return status;
	if ((status = check_old_size(target, plan)) != PM_OK)
		return status;
	/* Known already, in a chain: refuse before a byte is copied. */
	if (plan->checked && target->old_known &&
	    !pm_digest_equal(target->old_id, plan->from))
		return mismatch(target, target->old_id, plan->from);
	if ((status = open_new(target, plan)) != PM_OK ||
	    (target->in_place && (status = check_in_place(target))
	    != PM_OK) || (status = begin_table(target)) != PM_OK)
		return status;
	target->virgin = UINT64_MAX;
	if ((status = bring_old(target)) != PM_OK)
		return status;
	if (plan->checked && !pm_digest_equal(target->old_id, plan->from))
		return mismatch(target, target->old_id, plan->from);
	return target->in_place ? PM_OK : set_length(target, 1);
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

static enum pm_status
commit_table(struct pm_target *target)
{
	struct pm_table_stamp stamp;
	enum pm_status status;
	struct stat st;

	if (target->table.fd < 0)
		return PM_OK;
	if (fstat(target->image.fd, &st) != 0)
		return fail(target, PM_ERR_READ);
	stamp = pm_table_stamp_of(&st);
	status = pm_table_seal(&target->table, target->id, &stamp);
	target->table.fd = -1;		/* the outfile's to close */
	pm_table_close(&target->table);
	if (status == PM_OK &&
	    pm_outfile_commit(&target->table_file) != PM_OK)
		status = pm_fault_set(target->fault, PM_ERR_WRITE,
		    target->table_path, "%s", strerror(errno));
	return status;
}

enum pm_status
pm_target_commit(struct pm_target *target)
{
	enum pm_status status = set_length(target, 0);

	if (status != PM_OK)
		return status;
	if (target->file.fd >= 0) {
		if (pm_outfile_publish(&target->file) != PM_OK)
			return fail(target, PM_ERR_WRITE);
		(void)flock(target->file.fd, LOCK_EX | LOCK_NB);
		if (target->lock >= 0)
			close(target->lock);
		target->lock = target->file.fd;
		target->file.fd = -1;
	} else if (fsync(target->image.fd) != 0)
		return fail(target, PM_ERR_WRITE);
	if (target->marked || target->torn)
		(void)unlink(target->torn_path);
	target->marked = target->torn = 0;
	if ((status = commit_table(target)) != PM_OK)
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

void
pm_target_close(struct pm_target *target)
{
	if (target->table.layout != NULL) {
		target->table.fd = -1;
		pm_table_close(&target->table);
	}
	pm_image_close(&target->image);
	pm_image_close(&target->old);
	pm_outfile_drop(&target->file);
	pm_outfile_drop(&target->table_file);
	if (target->lock >= 0)
		close(target->lock);
	free(target->buf);
	target->buf = NULL;
	target->lock = -1;
}
