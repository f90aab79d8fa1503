/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* O_TMPFILE, mkostemp */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fdio.h"
#include "hash.h"
#include "source.h"

#define STEP	(1u << 20)	/* bytes read at a time */

struct extent {
	uint64_t page, pages;
	uint64_t offset;	/* in the file, if it is data */
	uint32_t region;
	enum pm_span_kind kind;
};

struct spool {
	struct pm_source source;	/* first: what the ops are given */
	struct pm_source *from;		/* holds regions and mappings */
	const char *directory;		/* for messages, while it is filled */
	int fd;
	uint64_t size;
	size_t extents, room;
	struct extent *extent;		/* ascending, all pages are in one */
	uint8_t *buf;			/* STEP bytes, while it is filled */
};

static struct spool *
spool_of(struct pm_source *source)
{
	return (struct spool *)source;
}

static enum pm_status
fail(struct spool *spool, const char *subject)
{
	return pm_fault_set(spool->source.fault, PM_ERR_SYSTEM, subject, "%s",
	    strerror(errno));
}

/* An unnamed file; where there is none, one that loses its name at once. */
static enum pm_status
open_file(struct spool *spool)
{
	char path[PATH_MAX];
	int size;

	spool->fd = open(spool->directory, O_TMPFILE | O_RDWR | O_CLOEXEC,
	    0600);
	if (spool->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		size = snprintf(path, sizeof(path), "%s/.pm-spool.XXXXXX",
		    spool->directory);
		errno = ENAMETOOLONG;
		if (size > 0 && (size_t)size < sizeof(path))
			spool->fd = mkostemp(path, O_CLOEXEC);
		if (spool->fd >= 0)
			(void)unlink(path);
	}
	return spool->fd >= 0 ? PM_OK : fail(spool, spool->directory);
}

/* Append pages behind what is there, to the last extent if it goes on. */
static enum pm_status
append(struct spool *spool, uint32_t region, uint64_t page, uint64_t pages,
    enum pm_span_kind kind)
{
	struct extent *last = spool->extent + spool->extents;

	if (spool->extents > 0 && last[-1].region == region &&
	    last[-1].kind == kind) {
		last[-1].pages += pages;
	} else {
		if (spool->extents == spool->room) {
			size_t room = spool->room * 2 + 64;
			struct extent *more = realloc(spool->extent,
			    room * sizeof(more[0]));

			if (more == NULL)
				return fail(spool, NULL);
			spool->extent = more;
			spool->room = room;
		}
		spool->extent[spool->extents++] = (struct extent){ page,
		    pages, spool->size, region, kind };
	}
	if (kind == PM_SPAN_DATA)
		spool->size += pages << spool->source.page_shift;
	return PM_OK;
}

/* Write the pages of buf that are not zero; the others stay holes. */
static enum pm_status
write_pages(struct spool *spool, uint32_t pages)
{
	size_t page_size = (size_t)1 << spool->source.page_shift;
	uint32_t at = 0, to;

	while (at < pages) {
		const uint8_t *from = spool->buf + at * page_size;

		for (to = at; to < pages && !pm_hash_is_zero(spool->buf +
		    to * page_size, page_size); to++)
			;
		if (to > at && pm_fd_pwrite(spool->fd, from,
		    (to - at) * page_size, spool->size + at * page_size) !=
		    PM_OK)
			return fail(spool, spool->directory);
		at = to + (to < pages);
	}
	return PM_OK;
}

/* Copy a span of data; pages that turn out not to be there are gone. */
static enum pm_status
copy_data(struct spool *spool, uint32_t region, uint64_t page, uint64_t pages)
{
	uint32_t most = STEP >> spool->source.page_shift;

	while (pages > 0) {
		uint32_t wanted = pages < most ? (uint32_t)pages : most, got;
		enum pm_status status = spool->from->ops->read(spool->from,
		    region, page, wanted, spool->buf, &got,
		    spool->from->fault);

		if (status == PM_OK && got > 0)
			status = write_pages(spool, got);
		if (status == PM_OK && got > 0)
			status = append(spool, region, page, got,
			    PM_SPAN_DATA);
		if (status == PM_OK && got < wanted)
			status = append(spool, region, page + got++, 1,
			    PM_SPAN_GONE);
		if (status != PM_OK)
			return status;
		page += got;
		pages -= got;
	}
	return PM_OK;
}

static enum pm_status
copy_region(struct spool *spool, uint32_t region)
{
	uint64_t pages = pm_region_pages(spool->from->region[region].length,
	    spool->source.page_shift);
	struct pm_span span;
	enum pm_status status;

	for (uint64_t page = 0; page < pages; page += span.pages) {
		status = spool->from->ops->span(spool->from, region, page,
		    &span);
		if (status == PM_OK && span.pages > pages - page)
			span.pages = pages - page;
		if (status == PM_OK)
			status = span.kind == PM_SPAN_DATA
			    ? copy_data(spool, region, page, span.pages)
			    : append(spool, region, page, span.pages,
			    span.kind);
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

static const struct extent *
find(const struct spool *spool, uint32_t region, uint64_t page)
{
	size_t from = 0, to = spool->extents;

	while (from < to) {
		size_t at = from + (to - from) / 2;
		const struct extent *extent = &spool->extent[at];

		if (extent->region < region || (extent->region == region &&
		    extent->page + extent->pages <= page))
			from = at + 1;
		else
			to = at;
	}
	return &spool->extent[from];
}

static enum pm_status
span_of(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *span)
{
	const struct extent *extent = find(spool_of(source), region, page);

	span->kind = extent->kind;
	span->pages = extent->pages - (page - extent->page);
	return PM_OK;
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	struct spool *spool = spool_of(source);
	const struct extent *extent = find(spool, region, page);
	uint64_t skip = (page - extent->page) << source->page_shift;

	*got = pages;
	if (pm_fd_pread(spool->fd, out, (size_t)pages << source->page_shift,
	    extent->offset + skip) == PM_OK)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "the spooled copy cannot be read: %s", strerror(errno));
}

/* The state was judged when it was copied. */
static enum pm_status
done(struct pm_source *source)
{
	(void)source;
	return PM_OK;
}

static void
close_spool(struct pm_source *source)
{
	struct spool *spool = spool_of(source);

	if (spool->fd >= 0)
		close(spool->fd);
	if (spool->from != NULL)
		spool->from->ops->close(spool->from);
	free(spool->extent);
	free(spool->buf);
	free(spool);
}

static const struct pm_source_ops spool_ops = {
	span_of, read_pages, NULL, done, close_spool
};

static enum pm_status
fill(struct spool *spool)
{
	enum pm_status status = open_file(spool);

	for (uint32_t at = 0; status == PM_OK && at < spool->from->regions;
	    at++)
		status = copy_region(spool, at);
	if (status == PM_OK)
		status = spool->from->ops->done(spool->from);
	/* Holes at the end have not made the file longer. */
	if (status == PM_OK && ftruncate(spool->fd, (off_t)spool->size) != 0)
		status = fail(spool, spool->directory);
	return status;
}

enum pm_status
pm_source_spool(struct pm_source **source, const char *directory,
    struct pm_fault *fault)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	enum pm_status status;

	if (spool == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	spool->source = **source;
	spool->source.ops = &spool_ops;
	spool->source.fault = fault;
	spool->source.is_shared = 1;
	spool->directory = directory;
	spool->from = *source;
	spool->fd = -1;
	spool->buf = malloc(STEP);
	status = spool->buf == NULL ? fail(spool, NULL) : fill(spool);
	if (status != PM_OK) {
		spool->from = NULL;
		close_spool(&spool->source);
		return status;
	}
	free(spool->buf);
	spool->buf = NULL;
	spool->source.frozen_us = spool->from->frozen_us;
	spool->source.page_bytes = spool->size;
	*source = &spool->source;
	return PM_OK;
}
