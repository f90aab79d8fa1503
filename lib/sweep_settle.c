/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sweep.h"

struct find {
	struct pm_sweep *sweep;
	const struct pm_view *view;
};

static enum pm_status
find_clean(void *arg, uint64_t start, uint64_t end)
{
	const struct find *find = arg;
	uint64_t from = pm_sweep_number(find->sweep, find->view, start);

	pm_bitmap_set_run(&find->sweep->clean, from,
	    pm_sweep_number(find->sweep, find->view, end) - from);
	return PM_OK;
}

/* Held and not clean: what was there and is not, or was written. */
static void
add_doubtful(struct pm_sweep *sweep, uint64_t from, uint64_t end)
{
	const struct pm_bitmap *held = &sweep->ledger.held;

	while ((from = pm_bitmap_next(held, from, end)) < end) {
		uint64_t word = held->word[from / 64] &
		    ~sweep->clean.word[from / 64] & UINT64_MAX << from % 64;
		uint64_t base = from / 64 * 64;

		from = base + 64;
		if (from > end)
			word &= UINT64_MAX >> (from - end);
		for (; word != 0; word &= word - 1)
			pm_bitmap_set(&sweep->pending, base +
			    (unsigned)__builtin_ctzll(word));
	}
}

/* Whatever is not known to be clean. */
static void
add_unclean(struct pm_sweep *sweep, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t until = pm_bitmap_next(&sweep->clean, from, end);

		pm_bitmap_set_run(&sweep->pending, from, until - from);
		from = pm_bitmap_run(&sweep->clean, until, end);
	}
}

/* Find the clean pages of a view; none where that cannot be told. */
static enum pm_status
find_all_clean(struct pm_sweep *sweep, struct pm_view *view)
{
	struct find find = { sweep, view };
	enum pm_status status = PM_OK;

	if (view->is_lost || view->is_elsewhere || sweep->subject->verify)
		return PM_OK;
	/*
	 * Where a private page was dropped, a write first copies what the file
	 * holds by now, into a page that looks unwritten until the write is
	 * tried again; and its thread may stand between the two.
	 */
	if (view->has_file && !view->map.shared)
		return PM_OK;
	status = view->tracker->ops->unwritten(view->tracker, &view->map,
	    view->start, view->end, find_clean, &find);
	if (status != PM_END)
		return status;
	pm_bitmap_clear_run(&sweep->clean, view->first,
	    pm_sweep_view_pages(sweep, view));
	view->is_lost = 1;
	return PM_OK;
}

static enum pm_status
settle_view(struct pm_sweep *sweep, struct pm_view *view)
{
	uint64_t from = view->first;
	uint64_t end = from + pm_sweep_view_pages(sweep, view);
	int trusts = view->tracker->ops->is_exact && !sweep->subject->verify;
	enum pm_status status = find_all_clean(sweep, view);

	if (status != PM_OK)
		return status;
	if (view->has_file)
		add_unclean(sweep, from, end);
	else {
		add_doubtful(sweep, from, end);
		status = trusts && !view->is_lost ? pm_sweep_ask(sweep,
		    view, view->start, view->end, PM_SWEEP_TELL)
		    : pm_sweep_mark_present(sweep, from, end);
	}
	/* Another view has its own opinion of the same pages. */
	pm_bitmap_clear_run(&sweep->clean, from, end - from);
	return status;
}

enum pm_status
pm_sweep_settle(struct pm_sweep *sweep)
{
	const struct pm_subject *subject = sweep->subject;
	enum pm_status status = PM_OK;

	pm_sweep_add_recent(sweep);
	for (size_t i = 0; i < sweep->knowns && status == PM_OK; i++)
		status = settle_view(sweep, &sweep->known[i]);
	for (size_t i = 0; i < subject->pins && status == PM_OK; i++)
		status = pm_sweep_mark_present(sweep, subject->pin[i].start,
		    subject->pin[i].end);
	if (status == PM_OK && subject->verify && !subject->is_disjoint)
		status = pm_sweep_mark_present(sweep, 0, subject->pages);
	return status;
}

/* Pages of a range that may hold something. */
static enum pm_status
count_run(struct pm_sweep *sweep, uint64_t page, uint64_t end,
    uint64_t *pages)
{
	enum pm_status status = PM_OK;
	struct pm_span span;

	for (; page < end && status == PM_OK; page += span.pages) {
		status = sweep->subject->ops->span(sweep->subject, page,
		    &span);
		if (span.pages > end - page)
			span.pages = end - page;
		if (span.kind == PM_SPAN_DATA)
			*pages += span.pages;
	}
	return status;
}

/* The same of those that are not pending. */
static enum pm_status
count_present(struct pm_sweep *sweep, uint64_t page, uint64_t end,
    uint64_t *pages)
{
	const struct pm_bitmap *pending = &sweep->pending;
	enum pm_status status = PM_OK;

	while (page < end && status == PM_OK) {
		uint64_t until = pm_bitmap_next(pending, page, end);

		status = count_run(sweep, page, until, pages);
		page = pm_bitmap_run(pending, until, end);
	}
	return status;
}

enum pm_status
pm_sweep_doubt(struct pm_sweep *sweep, uint64_t *pages)
{
	enum pm_status status = PM_OK;

	*pages = 0;
	for (size_t i = 0; i < sweep->knowns && status == PM_OK; i++) {
		struct pm_view *view = &sweep->known[i];
		uint64_t from = view->first;
		uint64_t end = from + pm_sweep_view_pages(sweep, view);

		if (!view->has_file && !sweep->subject->verify &&
		    !view->is_lost && view->tracker->ops->is_exact)
			continue;
		status = find_all_clean(sweep, view);
		while (from < end && status == PM_OK) {
			uint64_t until = pm_bitmap_next(&sweep->clean, from,
			    end);

			status = count_present(sweep, from, until, pages);
			from = pm_bitmap_run(&sweep->clean, until, end);
		}
		pm_bitmap_clear_run(&sweep->clean, view->first,
		    pm_sweep_view_pages(sweep, view));
	}
	return status;
}
