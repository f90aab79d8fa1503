/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"
#include "image.h"
#include "mapped_ram.h"
#include "source.h"
#include "table.h"

struct image_source {
	struct pm_source base;
	struct pm_image image;
	struct pm_maplist list;		/* of a core file */
};

static enum pm_status
span(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *out)
{
	struct image_source *self = (struct image_source *)source;
	struct pm_place place = pm_layout_find(self->image.layout, region,
	    page);
	enum pm_status status;
	int data;

	status = pm_image_span(&self->image, region, page, &data,
	    &out->pages);
	out->kind = data ? PM_SPAN_DATA : place.held ? PM_SPAN_ZERO
	    : PM_SPAN_GONE;
	return status;
}

static enum pm_status
check_size(struct image_source *self)
{
	struct stat st;

	if (fstat(self->image.fd, &st) != 0)
		return pm_fault_set(self->base.fault, PM_ERR_READ,
		    self->image.path, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size == self->image.size)
		return PM_OK;
	return pm_fault_set(self->base.fault, PM_ERR_REFUSED,
	    self->image.path, "%s from %" PRIu64 " to %" PRIu64
	    " bytes while it was read",
	    (uint64_t)st.st_size > self->image.size ? "grew" : "shrank",
	    self->image.size, (uint64_t)st.st_size);
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	struct image_source *self = (struct image_source *)source;

	*got = pages;
	return pm_image_fetch(&self->image, region, page, pages, out, fault);
}

static void
forget(struct pm_source *source)
{
	pm_holes_forget(&((struct image_source *)source)->image.holes);
}

static enum pm_status
done(struct pm_source *source)
{
	return check_size((struct image_source *)source);
}

static void
close_source(struct pm_source *source)
{
	struct image_source *self = (struct image_source *)source;

	pm_maplist_clear(&self->list);
	pm_image_close(&self->image);
	free(self);
}

static const struct pm_source_ops image_ops = {
	span, read_pages, forget, done, close_source,
};

/* One region for the whole file, or as it is to be cut. */
static enum pm_status
cut_regions(struct pm_layout **layout, uint64_t size, unsigned page_shift,
    const struct pm_region *cut, uint32_t cuts, const char *path,
    struct pm_fault *fault)
{
	static const struct pm_region whole = { .name = "memory" };
	struct pm_region *region = calloc(cuts == 0 ? 1 : cuts,
	    sizeof(region[0]));
	uint64_t at = 0, mask = (UINT64_C(1) << page_shift) - 1;
	enum pm_status status = PM_OK;

	if (region == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	if (cuts == 0) {
		cut = &whole;
		cuts = 1;
	}
	for (uint32_t i = 0; i < cuts && status == PM_OK; i++) {
		region[i] = cut[i];
		region[i].key = pm_hash_key(cut[i].name, strlen(cut[i].name));
		if (i + 1 == cuts && region[i].length == 0)
			region[i].length = at <= size ? size - at : 0;
		else if (i + 1 < cuts && (region[i].length == 0 ||
		    (region[i].length & mask) != 0))
			status = pm_fault_set(fault, PM_ERR_REFUSED, path,
			    "region %s is not a whole number of pages",
			    region[i].name);
		at += region[i].length;
	}
	if (status == PM_OK && at != size)
		status = pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "holds %" PRIu64 " bytes, its regions %" PRIu64, size, at);
	if (status == PM_OK && (*layout = pm_layout_of_blocks(region, cuts,
	    page_shift, 0)) == NULL)
		status = pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	free(region);
	return status;
}

/* A pipe is not waited for, and a device of no length is not empty. */
static enum pm_status
open_file(const char *path, int *fd, uint64_t *size, struct pm_fault *fault)
{
	struct stat st;
	off_t end;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return pm_fault_set(fault, PM_ERR_READ, path, "%s",
		    strerror(errno));
	end = fstat(*fd, &st) == 0 ? lseek(*fd, 0, SEEK_END) : -1;
	if (end >= 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
		*size = (uint64_t)end;
		return PM_OK;
	}
	close(*fd);
	return pm_fault_set(fault, PM_ERR_REFUSED, path,
	    "is not a regular file");
}

enum pm_status
pm_source_open_image(struct pm_source **source, const char *path,
    enum pm_source_format format, unsigned page_shift,
    const struct pm_region *cut, uint32_t cuts, struct pm_fault *fault)
{
	struct image_source *self;
	struct pm_layout *layout = NULL;
	uint64_t data = 0, size = 0;
	enum pm_status status;
	int fd;

	if ((status = open_file(path, &fd, &size, fault)) != PM_OK)
		return status;
	if ((self = calloc(1, sizeof(*self))) == NULL) {
		close(fd);
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	}
	status = format == PM_SOURCE_RAW ? cut_regions(&layout, size,
	    page_shift, cut, cuts, path, fault) : pm_core_read(fd, path,
	    &layout, &data, &self->list, fault);
	if (status != PM_OK) {
		close(fd);
		free(self);
		return status;
	}
	pm_image_take(&self->image, fd, layout, data, path, fault);
	self->base = (struct pm_source){
		.ops = &image_ops, .fault = fault, .is_shared = 1,
		.page_shift = layout->page_shift,
		.regions = layout->regions, .region = layout->region,
		.mappings = self->list.count, .mapping = self->list.mapping,
	};
	*source = &self->base;
	return PM_OK;
}

enum pm_status
pm_source_detect(const char *path, enum pm_source_format *format,
    struct pm_fault *fault)
{
	static const struct {
		const char *magic;
		size_t size;
		const char *what;
	} known[] = {
		{ PM_SIGNATURE, PM_SIGNATURE_SIZE, "a page-record stream" },
		{ PM_TABLE_MAGIC, PM_TABLE_MAGIC_SIZE, "a page table" },
		{ "QEVM", 4, "a QEMU migration stream" },
		{ "LibvirtQemud", 12, "a libvirt save image" },
		{ "makedumpfile", 12, "a flattened kdump file" },
		{ "KDUMP   ", 8, "a kdump file" },
		{ "EMiL", 4, "a LiME dump" },
		{ "AVML", 4, "an AVML dump" },
		{ "\x19\x43\x56\x54", 4, "a CRIU image" },
	};
	uint8_t head[PM_SIGNATURE_SIZE + 8] = { 0 };
	enum pm_status status;
	uint64_t size;
	ssize_t got;
	int fd, is_mapped;

	if ((status = open_file(path, &fd, &size, fault)) != PM_OK)
		return status;
	is_mapped = pm_mapped_ram_detect(fd);
	*format = pm_core_detect(fd) ? PM_SOURCE_CORE : PM_SOURCE_RAW;
	got = pread(fd, head, sizeof(head), 0);
	close(fd);
	if (is_mapped)
		return pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "is a migration file in which pages have places, which "
		    "--format=mapped-ram reads; --format=raw takes its bytes "
		    "as memory");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (got >= (ssize_t)known[i].size &&
		    memcmp(head, known[i].magic, known[i].size) == 0)
			return pm_fault_set(fault, PM_ERR_REFUSED, path,
			    "is %s, which is not read here; --format=raw "
			    "takes its bytes as memory", known[i].what);
	return PM_OK;
}
