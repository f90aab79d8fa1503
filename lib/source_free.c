/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "free.h"
#include "source.h"

struct without {
	struct pm_source source;	/* first: what the ops are given */
	struct pm_source *from;		/* holds regions and mappings */
	struct pm_free marks;
};

static struct without *
without_of(struct pm_source *source)
{
	return (struct without *)source;
}

static enum pm_status
span_of(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *span)
{
	struct without *self = without_of(source);
	uint64_t end = pm_region_pages(source->region[region].length,
	    source->page_shift);
	enum pm_status status;
	int is_free;

	if (pm_free_test(&self->marks, region, page)) {
		span->kind = PM_SPAN_GONE;
		span->pages = pm_free_span(&self->marks, region, page, end,
		    &is_free);
		return PM_OK;
	}
	status = self->from->ops->span(self->from, region, page, span);
	if (status != PM_OK || span->kind == PM_SPAN_GONE)
		return status;
	if (span->pages > end - page)
		span->pages = end - page;
	span->pages = pm_free_span(&self->marks, region, page,
	    page + span->pages, &is_free);
	return PM_OK;
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	struct pm_source *from = without_of(source)->from;

	return from->ops->read(from, region, page, pages, out, got, fault);
}

static void
forget(struct pm_source *source)
{
	struct pm_source *from = without_of(source)->from;

	if (from->ops->forget != NULL)
		from->ops->forget(from);
}

static enum pm_status
done(struct pm_source *source)
{
	struct pm_source *from = without_of(source)->from;
	enum pm_status status = from->ops->done(from);

	source->frozen_us = from->frozen_us;
	return status;
}

static void
close_without(struct pm_source *source)
{
	struct without *self = without_of(source);

	self->from->ops->close(self->from);
	pm_free_close(&self->marks);
	free(self);
}

static enum pm_status
foreign(struct pm_source *source, enum pm_source_part part, uint64_t at,
    uint8_t *out, size_t room, size_t *got)
{
	struct pm_source *from = without_of(source)->from;

	return from->foreign(from, part, at, out, room, got);
}

static const struct pm_source_ops without_ops = {
	span_of, read_pages, forget, done, close_without
};

enum pm_status
pm_source_without(struct pm_source **source, struct pm_free *marks,
    struct pm_fault *fault)
{
	struct without *self = calloc(1, sizeof(*self));

	if (self == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	self->source = **source;
	self->source.ops = &without_ops;
	if (self->source.foreign != NULL)
		self->source.foreign = foreign;
	self->from = *source;
	self->marks = *marks;
	*marks = (struct pm_free){ 0 };
	*source = &self->source;
	return PM_OK;
}
