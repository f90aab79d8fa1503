/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "sweep.h"

#define WORDS	(PM_SWEEP_SLICE / 64)

/* The pages of a slice of which a view says that nobody wrote to them. */
struct find {
	struct pm_sweep *sweep;
	const struct pm_view *view;
	uint64_t clean[WORDS];
};

/*
 * What is written from here on is known, so that what was free in between is
 * so still unless it was written.
 */
static enum pm_status
forget_written(struct pm_sweep *sweep)
{
	enum pm_status status = pm_sweep_look(sweep);

	for (size_t i = 0; i < sweep->knowns && status == PM_OK; i++) {
		struct pm_view *view = &sweep->known[i];

		if (view->tracker->ops->is_exact)
			status = pm_sweep_ask(sweep, view, view->start,
			    view->end, PM_SWEEP_ARM);
	}
	return status;
}

enum pm_status
pm_sweep_find_free(struct pm_sweep *sweep)
{
	const struct pm_source *about = &sweep->subject->about;
	enum pm_status status;

	if (sweep->find_free == NULL)
		return PM_OK;
	if (pm_free_open(&sweep->free, about) != PM_OK)
		return pm_sweep_no_memory(sweep);
	status = forget_written(sweep);
	return status == PM_OK ? sweep->find_free(sweep->find_arg, about,
	    &sweep->free) : status;
}

/* Set or clear bits of a slice for pages that are in it. */
static void
change_bits(uint64_t *bits, uint64_t from, uint64_t end, int is_set)
{
	for (; from < end; from++)
		if (is_set)
			bits[from / 64] |= UINT64_C(1) << from % 64;
		else
			bits[from / 64] &= ~(UINT64_C(1) << from % 64);
}

/* Note the free pages of a range of the slice; false if there are none. */
static int
note_free(struct pm_sweep *sweep, uint64_t number, uint64_t end)
{
	const struct pm_source *about = &sweep->subject->about;
	int has_any = 0, is_free;

	while (number < end) {
		uint64_t page, pages, left;
		uint32_t region = pm_subject_region(sweep->subject, number,
		    &page);

		left = pm_region_pages(about->region[region].length,
		    about->page_shift) - page;
		if (left > end - number)
			left = end - number;
		pages = pm_free_span(&sweep->free, region, page, page + left,
		    &is_free);
		if (is_free)
			change_bits(sweep->idle, number - sweep->slice,
			    number - sweep->slice + pages, 1);
		has_any |= is_free;
		number += pages;
	}
	return has_any;
}

static enum pm_status
find_clean(void *arg, uint64_t start, uint64_t end)
{
	struct find *find = arg;
	struct pm_sweep *sweep = find->sweep;
	uint64_t from = pm_sweep_number(sweep, find->view, start);
	uint64_t to = pm_sweep_number(sweep, find->view, end);
	uint64_t last = sweep->slice + PM_SWEEP_SLICE;

	if (from < sweep->slice)
		from = sweep->slice;
	if (to > last)
		to = last;
	if (from < to)
		change_bits(find->clean, from - sweep->slice,
		    to - sweep->slice, 1);
	return PM_OK;
}

/*
 * Keep of the noted pages from one to another, which a view has, those that
 * it knows to be unwritten.  Where there is a file behind it, a page that is
 * not in memory was perhaps written and has left it: it would be looked at
 * while all stands still, so it had better be looked at now.
 */
static enum pm_status
keep_clean(struct pm_sweep *sweep, struct pm_view *view, uint64_t from,
    uint64_t end)
{
	unsigned shift = sweep->subject->about.page_shift;
	struct find find = { .sweep = sweep, .view = view };
	enum pm_status status = PM_OK;

	if (!pm_sweep_is_doubtful(sweep, view) && (!view->has_file ||
	    !view->map.shared || view->tracker->ops->remembers)) {
		if (!view->has_file)
			return PM_OK;
		status = view->tracker->ops->unwritten(view->tracker,
		    &view->map, view->start + ((from - view->first) << shift),
		    view->start + ((end - view->first) << shift), find_clean,
		    &find);
		if (status == PM_END) {
			view->is_lost = 1;
			memset(find.clean, 0, sizeof(find.clean));
			status = PM_OK;
		}
	}
	for (; from < end; from++) {
		uint64_t at = from - sweep->slice;

		if ((find.clean[at / 64] >> at % 64 & 1) == 0)
			change_bits(sweep->idle, at, at + 1, 0);
	}
	return status;
}

/* The same for all views; a page that none of them has is not known. */
static enum pm_status
keep_watched(struct pm_sweep *sweep, uint64_t from, uint64_t end)
{
	uint64_t watched[WORDS] = { 0 };
	enum pm_status status = PM_OK;

	for (size_t i = pm_sweep_first_known(sweep, from); i < sweep->knowns &&
	    sweep->known[i].first < end && status == PM_OK; i++) {
		struct pm_view *view = &sweep->known[i];
		uint64_t last = view->first + pm_sweep_view_pages(sweep,
		    view);
		uint64_t a = from > view->first ? from : view->first;
		uint64_t b = end < last ? end : last;

		if (a >= b)
			continue;
		change_bits(watched, a - sweep->slice, b - sweep->slice, 1);
		status = keep_clean(sweep, view, a, b);
	}
	for (unsigned i = 0; i < WORDS; i++)
		sweep->idle[i] &= watched[i];
	return status;
}

/* What is pinned is written behind the back of every tracker. */
static void
drop_pinned(struct pm_sweep *sweep)
{
	const struct pm_subject *subject = sweep->subject;
	uint64_t last = sweep->slice + PM_SWEEP_SLICE;

	for (size_t i = 0; i < subject->pins; i++) {
		uint64_t a = subject->pin[i].start, b = subject->pin[i].end;

		a = a > sweep->slice ? a : sweep->slice;
		b = b < last ? b : last;
		if (a < b)
			change_bits(sweep->idle, a - sweep->slice,
			    b - sweep->slice, 0);
	}
}

enum pm_status
pm_sweep_arm_slice(struct pm_sweep *sweep, uint64_t from, uint64_t end)
{
	enum pm_status status;

	memset(sweep->idle, 0, sizeof(sweep->idle));
	sweep->slice = from / PM_SWEEP_SLICE * PM_SWEEP_SLICE;
	if (sweep->free.pages == 0 || !note_free(sweep, from, end))
		return pm_sweep_ask_slice(sweep, from, end, PM_SWEEP_ARM);
	memset(sweep->again, 0, sizeof(sweep->again));
	status = pm_sweep_ask_slice(sweep, from, end, PM_SWEEP_TAKE);
	for (unsigned i = 0; i < WORDS; i++)
		sweep->idle[i] &= ~sweep->again[i];
	/* Only then: what was clean before may have been written since. */
	if (status == PM_OK)
		status = keep_watched(sweep, from, end);
	drop_pinned(sweep);
	return status;
}
