/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "fdio.h"
#include "mapped_ram.h"
#include "source.h"

#define WINDOW		4096u		/* bytes of a bitmap */
#define WINDOW_PAGES	(8ull * WINDOW)

struct mapped_source {
	struct pm_source base;
	struct pm_mapped_ram ram;
	const char *path;
	int fd;
	int is_read;			/* the window is of this place: */
	uint32_t region;
	uint64_t first;			/* page */
	uint64_t word[WINDOW / 8];
};

static struct mapped_source *
self_of(struct pm_source *source)
{
	return (struct mapped_source *)source;
}

static enum pm_status
fail_read(const struct mapped_source *self, enum pm_status status,
    struct pm_fault *fault)
{
	/* All was within the file when it was opened. */
	if (status != PM_ERR_READ)
		return pm_fault_set(fault, PM_ERR_REFUSED, self->path,
		    "shrank while it was read");
	return pm_fault_set(fault, PM_ERR_READ, self->path, "%s",
	    pm_status_text(PM_ERR_READ));
}

/* Have the bit of that page in the window. */
static enum pm_status
read_window(struct mapped_source *self, uint32_t region, uint64_t page)
{
	uint64_t pages = self->ram.region[region].length >>
	    self->ram.page_shift;
	uint64_t first = page / WINDOW_PAGES * WINDOW_PAGES;
	uint64_t bytes = (pages - first + 63) / 64 * 8;
	uint8_t in[WINDOW] = { 0 };
	enum pm_status status;

	if (self->is_read && self->region == region && self->first == first)
		return PM_OK;
	self->is_read = 0;
	status = pm_fd_pread(self->fd, in, bytes < WINDOW ? (size_t)bytes
	    : WINDOW, self->ram.block[region].bitmap + first / 8);
	if (status != PM_OK)
		return fail_read(self, status, self->base.fault);
	for (size_t i = 0; i < WINDOW / 8; i++)
		self->word[i] = pm_get_le(in + 8 * i, 8);
	self->is_read = 1;
	self->region = region;
	self->first = first;
	return PM_OK;
}

/* Bits from at on that are all as the first, to the end of the window. */
static uint64_t
run_length(const struct mapped_source *self, uint64_t at, int *set)
{
	uint64_t from = at, word;

	*set = (int)(self->word[at / 64] >> at % 64 & 1);
	while (at < WINDOW_PAGES) {
		word = self->word[at / 64];
		word = (*set ? ~word : word) >> at % 64;
		if (word != 0)
			return at + (unsigned)__builtin_ctzll(word) - from;
		at += 64 - at % 64;
	}
	return at - from;
}

static enum pm_status
span(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *out)
{
	struct mapped_source *self = self_of(source);
	enum pm_status status = read_window(self, region, page);
	int set = 0;

	if (status != PM_OK)
		return status;
	out->pages = run_length(self, page - self->first, &set);
	out->kind = set ? PM_SPAN_DATA : PM_SPAN_ZERO;
	return PM_OK;
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	const struct mapped_source *self = self_of(source);
	unsigned shift = self->ram.page_shift;
	enum pm_status status;

	*got = pages;
	status = pm_fd_pread(self->fd, out, (size_t)pages << shift,
	    self->ram.block[region].pages + (page << shift));
	return status == PM_OK ? PM_OK : fail_read(self, status, fault);
}

static void
forget(struct pm_source *source)
{
	self_of(source)->is_read = 0;
}

static enum pm_status
done(struct pm_source *source)
{
	const struct mapped_source *self = self_of(source);
	struct stat st;

	if (fstat(self->fd, &st) != 0)
		return fail_read(self, PM_ERR_READ, source->fault);
	return (uint64_t)st.st_size == self->ram.end ? PM_OK
	    : pm_fault_set(source->fault, PM_ERR_REFUSED, self->path,
	    "changed while it was read");
}

static void
close_source(struct pm_source *source)
{
	struct mapped_source *self = self_of(source);

	pm_mapped_ram_close(&self->ram);
	close(self->fd);
	free(self);
}

static const struct pm_source_ops mapped_ops = {
	span, read_pages, forget, done, close_source,
};

static void
copy_some(const uint8_t *from, size_t size, uint64_t at, uint8_t *out,
    size_t room, size_t *got)
{
	*got = at < size ? size - (size_t)at : 0;
	if (*got > room)
		*got = room;
	memcpy(out, from + (*got > 0 ? at : 0), *got);
}

/* The file from one byte on to another. */
static enum pm_status
read_some(struct mapped_source *self, uint64_t from, uint64_t end,
    uint8_t *out, size_t room, size_t *got)
{
	enum pm_status status;

	*got = end - from < room ? (size_t)(end - from) : room;
	if (*got == 0)
		return PM_OK;
	status = pm_fd_pread(self->fd, out, *got, from);
	return status == PM_OK ? PM_OK : fail_read(self, status,
	    self->base.fault);
}

static enum pm_status
foreign(struct pm_source *source, enum pm_source_part part, uint64_t at,
    uint8_t *out, size_t room, size_t *got)
{
	struct mapped_source *self = self_of(source);
	const struct pm_mapped_ram *ram = &self->ram;

	if (part == PM_SOURCE_BEFORE)
		copy_some(ram->head, ram->head_size, at, out, room, got);
	else if (part == PM_SOURCE_AFTER)
		return read_some(self, ram->devices + at, ram->end, out, room,
		    got);
	else if (at < ram->behind_size)
		copy_some(ram->behind, ram->behind_size, at, out, room, got);
	else
		return read_some(self, ram->rest + (at - ram->behind_size),
		    ram->devices, out, room, got);
	return PM_OK;
}

enum pm_status
pm_source_open_mapped(struct pm_source **source, const char *path,
    struct pm_fault *fault)
{
	struct mapped_source *self = calloc(1, sizeof(*self));
	enum pm_status status;
	struct stat st;

	if (self == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	self->path = path;
	/* A pipe is not waited for. */
	self->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (self->fd < 0) {
		free(self);
		return pm_fault_set(fault, PM_ERR_READ, path, "%s",
		    strerror(errno));
	}
	/* Nothing tells where the migration ends on a device. */
	status = fstat(self->fd, &st) == 0 && !S_ISREG(st.st_mode)
	    ? pm_fault_set(fault, PM_ERR_REFUSED, path,
	    "is not a regular file") : pm_mapped_ram_open(&self->ram,
	    self->fd, path, fault);
	if (status != PM_OK) {
		close_source(&self->base);
		return status;
	}
	self->base = (struct pm_source){
		.ops = &mapped_ops, .foreign = foreign, .fault = fault,
		.is_shared = 1, .may = PM_MAY_FOREIGN,
		.page_shift = self->ram.page_shift,
		.regions = self->ram.blocks, .region = self->ram.region,
	};
	*source = &self->base;
	return PM_OK;
}
