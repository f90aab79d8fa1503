/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "freeze.h"
#include "sweep.h"

/* The list may have been older than what was found to be watched. */
static int
is_same(const struct pm_map *a, const struct pm_map *b)
{
	return a->inode == b->inode && a->major == b->major &&
	    a->minor == b->minor && a->shared == b->shared &&
	    (a->inode == 0 || a->start - a->offset == b->start - b->offset);
}

/*
 * How a view of these goes on at an address: *until is where that ends, and
 * 1 is for what another list has too.
 */
static int
is_shared(const struct pm_view *list, size_t count, const struct pm_view *view,
    uint64_t address, uint64_t *until)
{
	int found = 0;

	*until = view->end;
	for (size_t i = 0; i < count; i++) {
		const struct pm_view *other = &list[i];

		if (other->number != view->number || other->is_lost ||
		    !is_same(&other->map, &view->map) ||
		    other->end <= address || other->start >= view->end)
			continue;
		if (other->start <= address) {
			found = 1;
			*until = other->end < view->end ? other->end
			    : view->end;
			break;
		}
		if (other->start < *until)
			*until = other->start;
	}
	return found;
}

/* What is done with a part of a view, which is known or is not. */
typedef enum pm_status part_fn(struct pm_sweep *, struct pm_view *,
    uint64_t start, uint64_t end, int is_known);

static enum pm_status
each_part(struct pm_sweep *sweep, struct pm_view *view, part_fn *part)
{
	int is_disjoint = sweep->subject->is_disjoint;
	size_t at = pm_sweep_first_known(sweep, view->first);
	size_t count = sweep->knowns;
	enum pm_status status = PM_OK;
	uint64_t start = view->start, until;

	if (is_disjoint)
		for (count = at; count < sweep->knowns &&
		    sweep->known[count].start < view->end;)
			count++;
	for (; start < view->end && status == PM_OK; start = until) {
		int is_known;

		while (is_disjoint && at < count &&
		    sweep->known[at].end <= start)
			at++;
		is_known = is_shared(sweep->known + at, count - at, view,
		    start, &until);
		status = part(sweep, view, start, until, is_known);
	}
	return status;
}

/* PM_END when there is anything new. */
static enum pm_status
find_new(struct pm_sweep *sweep, struct pm_view *view, uint64_t start,
    uint64_t end, int is_known)
{
	(void)sweep;
	(void)view;
	(void)start;
	(void)end;
	return is_known ? PM_OK : PM_END;
}

/* What was known may have been replaced, and is new then. */
static enum pm_status
check_known(struct pm_sweep *sweep, struct pm_view *view, uint64_t start,
    uint64_t end, int is_known)
{
	struct pm_view copy = *view;
	enum pm_status status = is_known ? pm_sweep_ask(sweep, &copy, start,
	    end, PM_SWEEP_CHECK) : PM_OK;

	for (size_t i = 0; i < sweep->knowns && copy.is_lost &&
	    !view->is_lost; i++)
		if (sweep->known[i].number == view->number &&
		    sweep->known[i].start < end && sweep->known[i].end > start)
			sweep->known[i].is_lost = 1;
	return status;
}

/*
 * Watch all of a mapping, and what is free around it: a part would be cut off
 * from the rest.
 */
static enum pm_status
watch(struct pm_view *view)
{
	const struct pm_tracker_ops *ops = view->tracker->ops;
	enum pm_status status;

	status = ops->watch(view->tracker, &view->map, view->from,
	    view->until);
	if (status == PM_END)
		status = ops->watch(view->tracker, &view->map, view->start,
		    view->end);
	if (status != PM_END)
		return status;
	view->is_lost = view->is_blind = 1;
	return PM_OK;
}

static enum pm_status
watch_new(struct pm_sweep *sweep)
{
	struct pm_subject *subject = sweep->subject;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < subject->views && status == PM_OK; i++) {
		struct pm_view *view = &subject->view[i];

		status = each_part(sweep, view, find_new);
		if (status != PM_END)
			continue;
		status = each_part(sweep, view, check_known);
		if (status == PM_OK)
			status = watch(view);
	}
	return status;
}

/*
 * Stop those that may be stopped; the others are no worse off than before.
 * But a thread that does not stop in time is held until this one ends.
 */
static enum pm_status
hold(struct pm_sweep *sweep, struct pm_freeze *freeze, size_t *held)
{
	const struct pm_subject *subject = sweep->subject;
	struct pm_fault fault = { 0 };

	for (*held = 0; *held < subject->processes; (*held)++)
		if (pm_freeze_begin(&freeze[*held], subject->process[*held],
		    PM_FREEZE_MS, &fault) != PM_OK)
			break;
	if (fault.error != ETIMEDOUT)
		return PM_OK;
	errno = fault.error;
	return pm_fault_set(sweep->fault, PM_ERR_SYSTEM, NULL, "%s",
	    fault.text);
}

/*
 * A mapping that has changed since it was listed would be cut in two where
 * the old one ended, and what the process then does with it as a whole, such
 * as mremap(2), would fail.  So where watching cuts, the process stands
 * still from before mappings are listed until they are watched.
 */
static enum pm_status
watch_held(struct pm_sweep *sweep)
{
	struct pm_subject *subject = sweep->subject;
	struct pm_freeze *freeze = calloc(subject->processes + 1,
	    sizeof(freeze[0]));
	enum pm_status status;
	size_t held = 0;

	if (freeze == NULL)
		return pm_sweep_no_memory(sweep);
	status = hold(sweep, freeze, &held);
	subject->is_held = held == subject->processes;
	if (status == PM_OK)
		status = subject->ops->list(subject);
	subject->ops->forget(subject);
	if (status == PM_OK)
		status = watch_new(sweep);
	subject->is_held = 0;
	while (held > 0)
		sweep->held_us += pm_freeze_end(&freeze[--held]);
	free(freeze);
	return status;
}

/* True when that process may be stopped, and it is of use. */
static int
may_hold(const struct pm_sweep *sweep)
{
	const struct pm_subject *subject = sweep->subject;

	return !sweep->is_still && !subject->is_untraced &&
	    subject->views > 0 && subject->view[0].tracker->ops->cuts;
}

/* Make pending what is new of a view. */
static enum pm_status
adopt_part(struct pm_sweep *sweep, struct pm_view *view, uint64_t start,
    uint64_t end, int is_known)
{
	const struct pm_bitmap *held = &sweep->ledger.held;
	uint64_t from = pm_sweep_number(sweep, view, start), until;
	uint64_t last = pm_sweep_number(sweep, view, end);
	enum pm_status status;

	if (is_known)
		return PM_OK;
	status = pm_sweep_ask(sweep, view, start, end, PM_SWEEP_ARM);
	/* What was seen before it was asked may have been written since. */
	sweep->subject->ops->forget(sweep->subject);
	if (status == PM_OK)
		status = pm_sweep_mark_present(sweep, from, last);
	/* What the stream says may be of another mapping, and now zeroes. */
	for (; (from = pm_bitmap_next(held, from, last)) < last; from = until) {
		until = pm_bitmap_run(held, from, last);
		pm_bitmap_set_run(&sweep->pending, from, until - from);
	}
	return status;
}

/* A file's pages may have been written by one who has unmapped them. */
static enum pm_status
look_at_left(struct pm_sweep *sweep, const struct pm_view *old)
{
	const struct pm_subject *subject = sweep->subject;
	enum pm_status status = PM_OK;
	uint64_t start = old->start, until;

	for (; start < old->end && status == PM_OK; start = until)
		if (!is_shared(subject->view, subject->views, old, start,
		    &until))
			status = pm_sweep_mark_present(sweep,
			    pm_sweep_number(sweep, old, start),
			    pm_sweep_number(sweep, old, until));
	return status;
}

static enum pm_status
keep_views(struct pm_sweep *sweep)
{
	const struct pm_subject *subject = sweep->subject;
	struct pm_view *known = realloc(sweep->known,
	    (subject->views + 1) * sizeof(known[0]));

	if (known == NULL)
		return pm_sweep_no_memory(sweep);
	if (subject->views > 0)
		memcpy(known, subject->view,
		    subject->views * sizeof(known[0]));
	sweep->known = known;
	sweep->knowns = subject->views;
	return PM_OK;
}

enum pm_status
pm_sweep_adopt(struct pm_sweep *sweep)
{
	struct pm_subject *subject = sweep->subject;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < subject->views && status == PM_OK; i++)
		status = each_part(sweep, &subject->view[i], find_new);
	if (status == PM_END)
		status = may_hold(sweep) ? watch_held(sweep)
		    : watch_new(sweep);
	for (size_t i = 0; i < subject->views && status == PM_OK; i++)
		status = each_part(sweep, &subject->view[i], adopt_part);
	for (size_t i = 0; i < sweep->knowns && status == PM_OK &&
	    !subject->is_disjoint; i++)
		status = look_at_left(sweep, &sweep->known[i]);
	return status == PM_OK ? keep_views(sweep) : status;
}

enum pm_status
pm_sweep_watch(struct pm_sweep *sweep)
{
	enum pm_status status = may_hold(sweep) ? watch_held(sweep)
	    : watch_new(sweep);

	return status == PM_OK ? keep_views(sweep) : status;
}
