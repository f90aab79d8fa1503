/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* fallocate, sync_file_range */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"
#include "fdio.h"
#include "image.h"

#define LONG_RUN	(128u << 10)	/* bytes */

static enum pm_status
fail(struct pm_image *image, enum pm_status status)
{
	return pm_fault_set(image->fault, status, image->path, "%s",
	    pm_status_text(status));
}

void
pm_image_take(struct pm_image *image, int fd, struct pm_layout *layout,
    uint64_t data, const char *path, struct pm_fault *fault)
{
	off_t end = lseek(fd, 0, SEEK_END);

	*image = (struct pm_image){
		.fd = fd, .data = data, .layout = layout, .path = path,
		.fault = fault, .size = end > 0 ? (uint64_t)end : 0,
	};
}

enum pm_status
pm_image_open(struct pm_image *image, const char *path,
    const struct pm_region *region, uint32_t regions, unsigned page_shift,
    int old, struct pm_fault *fault)
{
	struct pm_layout *layout = NULL;
	enum pm_status status = PM_OK;
	uint64_t data = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return pm_fault_set(fault, PM_ERR_READ, path, "%s",
		    pm_status_text(PM_ERR_READ));
	if (regions > 0 && region[0].kind == PM_REGION_PROCESS)
		status = pm_core_read(fd, path, &layout, &data, NULL, fault);
	else if ((layout = pm_layout_of_blocks(region, regions, page_shift,
	    old)) == NULL)
		status = pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    pm_status_text(PM_ERR_SYSTEM));
	if (status == PM_OK && layout->page_shift != page_shift)
		status = pm_fault_set(fault, PM_ERR_MISMATCH, path,
		    "has pages of %u bytes, the stream of %u",
		    1u << layout->page_shift, 1u << page_shift);
	if (status != PM_OK) {
		pm_layout_free(layout);
		close(fd);
		return status;
	}
	pm_image_take(image, fd, layout, data, path, fault);
	return PM_OK;
}

void
pm_image_close(struct pm_image *image)
{
	if (image->layout == NULL)
		return;
	pm_layout_free(image->layout);
	close(image->fd);
	*image = (struct pm_image){ .fd = -1 };
}

enum pm_status
pm_image_span(struct pm_image *image, uint32_t region, uint64_t page,
    int *data, uint64_t *pages)
{
	struct pm_place place = pm_layout_find(image->layout, region, page);
	unsigned shift = image->layout->page_shift;
	uint64_t offset, until;

	*data = 0;
	*pages = place.pages;
	if (!place.held)
		return PM_OK;
	offset = image->data + (place.slot << shift);
	if (pm_holes_at(&image->holes, image->fd, image->size, offset,
	    &until)) {
		if (until != UINT64_MAX && (until - offset) >> shift < *pages)
			*pages = (until - offset) >> shift;
		if (*pages > 0)
			return PM_OK;
		/* The page begins in a hole and ends in data. */
		*pages = 1;
	} else if (pm_region_pages(until - offset, shift) < *pages)
		*pages = pm_region_pages(until - offset, shift);
	*data = 1;
	return PM_OK;
}

enum pm_status
pm_image_read(struct pm_image *image, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out)
{
	return pm_image_fetch(image, region, page, pages, out, image->fault);
}

enum pm_status
pm_image_fetch(const struct pm_image *image, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, struct pm_fault *fault)
{
	unsigned shift = image->layout->page_shift;

	while (pages > 0) {
		struct pm_place place = pm_layout_find(image->layout, region,
		    page);
		uint32_t now = place.pages < pages ? (uint32_t)place.pages
		    : pages;
		size_t size = (size_t)now << shift, got = 0;
		uint64_t offset = image->data + (place.slot << shift);

		while (place.held && got < size) {
			ssize_t n = pread(image->fd, out + got, size - got,
			    (off_t)(offset + got));

			if (n == 0)
				break;
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return pm_fault_set(fault, PM_ERR_READ,
				    image->path, "%s",
				    pm_status_text(PM_ERR_READ));
			got += (size_t)n;
		}
		memset(out + got, 0, size - got);
		out += size;
		page += now;
		pages -= now;
	}
	return PM_OK;
}

/*
 * Ask for the room of a long run at once, which is faster than to have the
 * file system find it page by page.  If there is none, the write will tell.
 */
static void
make_room(struct pm_image *image, uint64_t offset, size_t size)
{
	if (image->takes_room && size >= LONG_RUN && fallocate(image->fd,
	    FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) != 0)
		image->takes_room = 0;
}

/*
 * What is long goes to the disk while more is worked on; a generation is
 * proved only when all of it is there.
 */
static void
begin_to_store(const struct pm_image *image, uint64_t offset, size_t size)
{
	if (size >= LONG_RUN)
		(void)sync_file_range(image->fd, (off_t)offset, (off_t)size,
		    SYNC_FILE_RANGE_WRITE);
}

enum pm_status
pm_image_write(struct pm_image *image, uint32_t region, uint64_t page,
    uint32_t pages, const uint8_t *in)
{
	unsigned shift = image->layout->page_shift;

	pm_holes_forget(&image->holes);
	while (pages > 0) {
		struct pm_place place = pm_layout_find(image->layout, region,
		    page);
		uint32_t now = place.pages < pages ? (uint32_t)place.pages
		    : pages;
		uint64_t offset = image->data + (place.slot << shift);
		enum pm_status status;

		if (!place.held)
			return pm_fault_set(image->fault, PM_ERR_CORRUPT,
			    image->path, "page %" PRIu64 " has content and "
			    "no place in the file", page);
		make_room(image, offset, (size_t)now << shift);
		status = pm_fd_pwrite(image->fd, in, (size_t)now << shift,
		    offset);
		if (status != PM_OK)
			return fail(image, status);
		begin_to_store(image, offset, (size_t)now << shift);
		if (offset + ((uint64_t)now << shift) > image->size)
			image->size = offset + ((uint64_t)now << shift);
		in += (size_t)now << shift;
		page += now;
		pages -= now;
	}
	return PM_OK;
}

enum pm_status
pm_image_writev(struct pm_image *image, uint32_t region, uint64_t page,
    const struct iovec *iov, int count)
{
	unsigned shift = image->layout->page_shift;
	struct pm_place place = pm_layout_find(image->layout, region, page);
	uint64_t offset = image->data + (place.slot << shift);
	enum pm_status status = PM_OK;
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	if (count > 1 && place.held && place.pages >= size >> shift &&
	    pwritev(image->fd, iov, count, (off_t)offset) == (ssize_t)size) {
		pm_holes_forget(&image->holes);
		begin_to_store(image, offset, size);
		if (offset + size > image->size)
			image->size = offset + size;
		return PM_OK;
	}
	/* One by one, which tells what fails. */
	for (int i = 0; i < count && status == PM_OK; i++) {
		status = pm_image_write(image, region, page, (uint32_t)
		    (iov[i].iov_len >> shift), iov[i].iov_base);
		page += iov[i].iov_len >> shift;
	}
	return status;
}

/* Where no hole can be made, zeroes must be written. */
static enum pm_status
write_zeroes(struct pm_image *image, uint64_t offset, uint64_t size)
{
	static const uint8_t zeroes[PM_PAGE_MAX];

	while (size > 0) {
		size_t now = size < sizeof(zeroes) ? (size_t)size
		    : sizeof(zeroes);
		enum pm_status status = pm_fd_pwrite(image->fd, zeroes, now,
		    offset);

		if (status != PM_OK)
			return fail(image, status);
		offset += now;
		size -= now;
	}
	return PM_OK;
}

enum pm_status
pm_image_punch(struct pm_image *image, uint32_t region, uint64_t page,
    uint64_t pages)
{
	unsigned shift = image->layout->page_shift;

	while (pages > 0) {
		struct pm_place place = pm_layout_find(image->layout, region,
		    page);
		uint64_t now = place.pages < pages ? place.pages : pages;
		uint64_t offset = image->data + (place.slot << shift);
		uint64_t size = now << shift;
		enum pm_status status = PM_OK;

		if (place.held && offset < image->size) {
			if (size > image->size - offset)
				size = image->size - offset;
			if (fallocate(image->fd, FALLOC_FL_PUNCH_HOLE |
			    FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size)
			    != 0)
				status = errno == EOPNOTSUPP
				    ? write_zeroes(image, offset, size)
				    : fail(image, PM_ERR_WRITE);
		}
		if (status != PM_OK)
			return status;
		page += now;
		pages -= now;
	}
	pm_holes_forget(&image->holes);
	return PM_OK;
}

enum pm_status
pm_image_id(struct pm_image *image, uint8_t *buf, struct pm_digest *id)
{
	const struct pm_layout *layout = image->layout;
	uint32_t most = PM_PAYLOAD_MAX >> layout->page_shift;
	size_t page_size = (size_t)1 << layout->page_shift;
	enum pm_status status;

	*id = pm_layout_id(layout->region, layout->regions);
	for (size_t i = 0; i < layout->extents; i++) {
		const struct pm_extent *extent = &layout->extent[i];
		uint64_t key = layout->region[extent->region].key;
		uint64_t at = 0, pages;
		int data;

		for (; at < extent->pages; at += pages) {
			uint64_t page = extent->first + at;

			status = pm_image_span(image, extent->region, page,
			    &data, &pages);
			if (status != PM_OK)
				return status;
			if (!data)
				continue;
			if (pages > most)
				pages = most;
			status = pm_image_read(image, extent->region, page,
			    (uint32_t)pages, buf);
			for (uint64_t n = 0; status == PM_OK && n < pages; n++)
				*id = pm_digest_add(*id, pm_hash_page(
				    pm_hash_content(buf + n * page_size,
				    page_size), key, page + n));
			if (status != PM_OK)
				return status;
		}
	}
	return PM_OK;
}
