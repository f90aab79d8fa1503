/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "sweep.h"

/* What is found of a view, as numbers of pages. */
struct find {
	struct pm_sweep *sweep;
	const struct pm_view *view;
};

static enum pm_status
find_nothing(void *arg, uint64_t start, uint64_t end)
{
	(void)arg;
	(void)start;
	(void)end;
	return PM_OK;
}

static enum pm_status
find_written(void *arg, uint64_t start, uint64_t end)
{
	const struct find *find = arg;
	struct pm_sweep *sweep = find->sweep;
	uint64_t from = pm_sweep_number(sweep, find->view, start);
	uint64_t to = pm_sweep_number(sweep, find->view, end);

	pm_bitmap_set_run(&sweep->pending, from, to - from);
	sweep->written += to - from;
	return PM_OK;
}

static enum pm_status
find_again(void *arg, uint64_t start, uint64_t end)
{
	const struct find *find = arg;
	struct pm_sweep *sweep = find->sweep;
	uint64_t from = pm_sweep_number(sweep, find->view, start) - sweep->slice;
	uint64_t to = pm_sweep_number(sweep, find->view, end) - sweep->slice;

	for (; from < to && from < PM_SWEEP_SLICE; from++)
		sweep->again[from / 64] |= UINT64_C(1) << from % 64;
	return PM_OK;
}

enum pm_status
pm_sweep_ask(struct pm_sweep *sweep, struct pm_view *view, uint64_t start,
    uint64_t end, enum pm_sweep_question question)
{
	static const struct {
		int clear;
		pm_tracker_found *found;
	} how[] = {
		[PM_SWEEP_ARM] = { 1, find_nothing },
		[PM_SWEEP_COLLECT] = { 1, find_written },
		[PM_SWEEP_PEEK] = { 0, find_again },
		[PM_SWEEP_TAKE] = { 1, find_again },
		[PM_SWEEP_TELL] = { 0, find_written },
		[PM_SWEEP_CHECK] = { 0, find_nothing },
	};
	struct find find = { sweep, view };
	enum pm_status status = PM_OK;

	if (!view->is_lost)
		status = view->tracker->ops->written(view->tracker,
		    &view->map, start, end, how[question].clear,
		    how[question].found, &find);
	if (status != PM_END)
		return status;
	view->is_lost = 1;
	return PM_OK;
}

/* The first known view that may hold an address of that view, or behind. */
size_t
pm_sweep_first_known(const struct pm_sweep *sweep, uint64_t page)
{
	size_t from = 0, to = sweep->knowns;

	if (!sweep->subject->is_disjoint)
		return 0;
	while (from < to) {
		size_t at = from + (to - from) / 2;
		const struct pm_view *view = &sweep->known[at];

		if (view->first + pm_sweep_view_pages(sweep, view) <= page)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

/* All pages of a range that may hold something are pending. */
enum pm_status
pm_sweep_mark_present(struct pm_sweep *sweep, uint64_t page, uint64_t end)
{
	enum pm_status status = PM_OK;
	struct pm_span span;

	for (; page < end && status == PM_OK; page += span.pages) {
		status = sweep->subject->ops->span(sweep->subject, page,
		    &span);
		if (span.pages > end - page)
			span.pages = end - page;
		if (status == PM_OK && span.kind == PM_SPAN_DATA)
			pm_bitmap_set_run(&sweep->pending, page, span.pages);
	}
	return status;
}

/* Trackers that look at all at once. */
enum pm_status
pm_sweep_look(struct pm_sweep *sweep)
{
	struct pm_map *map = calloc(sweep->knowns + 1, sizeof(map[0]));
	enum pm_status status = map != NULL ? PM_OK : pm_sweep_no_memory(sweep);

	for (size_t i = 0; i < sweep->knowns && status == PM_OK; i++) {
		struct pm_tracker *tracker = sweep->known[i].tracker;
		size_t count = 0, at;

		if (tracker->ops->begin == NULL)
			continue;
		for (at = 0; at < i; at++)
			if (sweep->known[at].tracker == tracker)
				break;
		for (; at >= i && at < sweep->knowns; at++)
			if (sweep->known[at].tracker == tracker)
				map[count++] = sweep->known[at].map;
		if (count > 0)
			status = tracker->ops->begin(tracker, map, count);
	}
	free(map);
	return status;
}

int
pm_sweep_is_doubtful(const struct pm_sweep *sweep, const struct pm_view *view)
{
	return !view->tracker->ops->is_exact || view->is_lost ||
	    view->is_elsewhere || sweep->subject->verify;
}

void
pm_sweep_add_recent(struct pm_sweep *sweep)
{
	uint64_t page = 0, until, pages = sweep->subject->pages;

	if (sweep->recent.count == 0)
		return;
	for (; (page = pm_bitmap_next(&sweep->recent, page, pages)) < pages;
	    page = until) {
		until = pm_bitmap_run(&sweep->recent, page, pages);
		pm_bitmap_set_run(&sweep->pending, page, until - page);
	}
	pm_bitmap_clear_all(&sweep->recent);
}

enum pm_status
pm_sweep_collect(struct pm_sweep *sweep)
{
	enum pm_status status = pm_sweep_look(sweep);
	uint64_t before = sweep->pending.count;

	pm_subject_find_direct(sweep->subject);
	pm_sweep_add_recent(sweep);
	sweep->guessed = sweep->pending.count - before;

	for (size_t i = 0; i < sweep->knowns && status == PM_OK; i++) {
		struct pm_view *view = &sweep->known[i];

		if (view->tracker->ops->is_exact && !view->is_lost)
			status = pm_sweep_ask(sweep, view, view->start,
			    view->end, PM_SWEEP_COLLECT);
		if (status != PM_OK || !pm_sweep_is_doubtful(sweep, view))
			continue;
		before = sweep->pending.count;
		status = pm_sweep_mark_present(sweep, view->first,
		    view->first + pm_sweep_view_pages(sweep, view));
		sweep->guessed += sweep->pending.count - before;
	}
	/* What was seen before it was asked may have been written since. */
	sweep->subject->ops->forget(sweep->subject);
	for (size_t i = 0; i < sweep->subject->pins && status == PM_OK; i++)
		status = pm_sweep_mark_present(sweep,
		    sweep->subject->pin[i].start,
		    sweep->subject->pin[i].end);
	return status;
}

/* Ask of the part of each view that a slice has. */
enum pm_status
pm_sweep_ask_slice(struct pm_sweep *sweep, uint64_t from, uint64_t end,
    enum pm_sweep_question question)
{
	unsigned shift = sweep->subject->about.page_shift;
	enum pm_status status = PM_OK;

	for (size_t i = pm_sweep_first_known(sweep, from); i < sweep->knowns &&
	    status == PM_OK; i++) {
		struct pm_view *view = &sweep->known[i];
		uint64_t view_end = view->first +
		    pm_sweep_view_pages(sweep, view);
		uint64_t a = from > view->first ? from : view->first;
		uint64_t b = end < view_end ? end : view_end;

		if (view->first >= end)
			break;
		if (a < b)
			status = pm_sweep_ask(sweep, view, view->start +
			    ((a - view->first) << shift), view->start +
			    ((b - view->first) << shift), question);
	}
	return status;
}
