/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "core.h"
#include "move.h"
#include "target.h"

static enum pm_status
fail(struct pm_target *target, enum pm_status status)
{
	return pm_fault_set(target->fault, status, target->path, "%s",
	    pm_status_text(status));
}

/* Pages that are read as data hold zeroes, or the stream is wrong. */
static enum pm_status
check_zeroes(struct pm_target *target, uint32_t region, uint64_t page,
    uint32_t pages)
{
	struct pm_image *image = &target->image;
	size_t size = (size_t)1 << image->layout->page_shift;
	enum pm_status status = pm_image_read(image, region, page, pages,
	    target->buf);

	for (uint32_t i = 0; status == PM_OK && i < pages; i++)
		if (!pm_hash_is_zero(target->buf + i * size, size))
			status = pm_fault_set(target->fault, PM_ERR_CORRUPT,
			    NULL, "page %" PRIu64 " has content, and the new "
			    "mappings do not carry it", page + i);
	return status;
}

/*
 * Pages of one extent that go.  What they leave in the file is a hole, or
 * zeroes; their slots are used again only where the file ended in between.
 */
static enum pm_status
leave_pages(struct pm_target *target, uint32_t region, uint64_t page,
    uint64_t pages)
{
	struct pm_image *image = &target->image;
	uint64_t most = PM_PAYLOAD_MAX >> image->layout->page_shift, now;
	enum pm_status status;

	for (; pages > 0; page += now, pages -= now) {
		int data;

		status = pm_image_span(image, region, page, &data, &now);
		if (now > pages)
			now = pages;
		if (status == PM_OK && data) {
			if (now > most)
				now = most;
			status = check_zeroes(target, region, page,
			    (uint32_t)now);
		}
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

/* All pages of the image that the layout has no place for. */
static enum pm_status
leave(struct pm_target *target, const struct pm_layout *layout)
{
	const struct pm_layout *now = target->image.layout;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < now->extents; i++) {
		const struct pm_extent *extent = &now->extent[i];
		uint64_t at = 0, pages;

		for (; at < extent->pages; at += pages) {
			struct pm_place place = pm_layout_find(layout,
			    extent->region, extent->first + at);

			pages = extent->pages - at;
			if (place.pages < pages)
				pages = place.pages;
			if (!place.held)
				status = leave_pages(target, extent->region,
				    extent->first + at, pages);
			if (status != PM_OK)
				return status;
		}
	}
	return PM_OK;
}

/* Move all pages to a new file, where they stand as the list asks. */
static enum pm_status
rebuild(struct pm_target *target, const struct pm_maplist *list)
{
	struct pm_target_plan plan = { .layout = target->plain,
	    .list = list };
	struct pm_image from = target->image;
	struct pm_outfile file = target->file;
	struct pm_move move = { .from = &from, .to = &target->image,
	    .copy = 1, .buf = target->buf };
	enum pm_status status = pm_target_check_space(target, from.fd, "");

	if (status != PM_OK)
		return status;
	target->image = (struct pm_image){ .fd = -1 };
	target->file = (struct pm_outfile){ .fd = -1 };
	pm_target_drop_table(target);
	status = pm_target_open_new(target, &plan);
	target->plain = plan.layout;
	if (status == PM_OK)
		status = pm_target_begin_table(target);
	if (status == PM_OK)
		status = pm_target_set_length(target, 1);
	if (status == PM_OK) {
		move.table = target->table.fd >= 0 ? &target->table : NULL;
		status = pm_move_run(&move);
	}
	if (status == PM_OK && !pm_digest_equal(move.is, target->id))
		status = pm_fault_set(target->fault, PM_ERR_MISMATCH,
		    target->path, "does not hold what was written to it");
	target->copied += move.copied;
	target->virgin = UINT64_MAX;
	pm_image_close(&from);
	pm_outfile_drop(&file);
	return status;
}

/* Whether the file can be as long as that layout is. */
static int
can_hold(struct pm_target *target, const struct pm_layout *layout)
{
	uint64_t size = layout->slots << layout->page_shift;

	return size <= (uint64_t)INT64_MAX - target->image.data &&
	    ftruncate(target->image.fd, (off_t)(target->image.data + size))
	    == 0;
}

/* Slots have not moved, but some are now of other pages, or of none. */
static enum pm_status
lay_out(struct pm_target *target, struct pm_layout *layout)
{
	struct pm_layout *was = target->image.layout;

	target->image.layout = layout;
	if (!pm_layout_equal(was, layout)) {
		target->virgin = UINT64_MAX;
		pm_target_drop_table(target);
	}
	pm_layout_free(was);
	return pm_target_set_length(target, 1);
}

enum pm_status
pm_target_remap(struct pm_target *target, struct pm_layout *plain,
    const struct pm_maplist *list)
{
	struct pm_image *image = &target->image;
	struct pm_layout *layout;
	enum pm_status status;
	uint64_t data;

	/* Sources may say again what they said before. */
	if (target->plain == NULL && pm_core_is(image->fd, plain->region,
	    list, plain->page_shift, &data)) {
		pm_layout_free(plain);
		return PM_OK;
	}
	pm_layout_free(target->plain);
	target->plain = plain;
	if (target->file.fd < 0)
		return pm_fault_set(target->fault, PM_ERR_REFUSED,
		    target->path, "mappings change in the stream, which "
		    "--in-place cannot follow");
	if ((status = leave(target, plain)) != PM_OK)
		return status;
	layout = pm_layout_remap(image->layout, plain);
	if (layout == NULL && errno != E2BIG)
		return fail(target, PM_ERR_SYSTEM);
	if (layout != NULL && can_hold(target, layout))
		return lay_out(target, layout);
	/* It is cut into too many pieces, or is mostly slots of no page. */
	pm_layout_free(layout);
	return rebuild(target, list);
}

enum pm_status
pm_target_settle(struct pm_target *target, const struct pm_maplist *list)
{
	struct pm_image *image = &target->image;
	struct pm_layout *plain = target->plain;
	enum pm_status status = PM_OK;
	int is_written;
	uint64_t data;

	if (plain == NULL)
		return PM_OK;
	is_written = pm_core_is(image->fd, plain->region, list,
	    plain->page_shift, &data);
	if (data != image->data || !pm_layout_equal(image->layout, plain) ||
	    (target->trust_table && target->table.fd < 0))
		return rebuild(target, list);
	if (!is_written)
		status = pm_core_write(image->fd, plain->region, list,
		    plain->page_shift, &data);
	pm_layout_free(plain);
	target->plain = NULL;
	return status == PM_OK ? PM_OK : fail(target, status);
}
