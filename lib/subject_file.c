/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mappers.h"
#include "subject.h"

struct watched {
	pid_t pid;
	unsigned number;
	struct pm_tracker *tracker;
};

struct shared {
	struct pm_subject subject;	/* first: what the ops are given */
	struct pm_subject_options how;
	struct pm_source *source;	/* the image */
	const char *path;
	int fd;
	struct pm_mappers mappers;	/* as listed last */
	size_t watched_count;
	struct watched *watched;	/* by pid */
	unsigned trackers;		/* that there were so far */
	struct pm_tracker *hash;	/* instead of all trackers, or NULL */
};

static struct shared *
shared_of(struct pm_subject *subject)
{
	return (struct shared *)subject;
}

static enum pm_status
fail(struct shared *shared)
{
	return pm_fault_set(shared->subject.fault, PM_ERR_SYSTEM,
	    shared->path, "%s", strerror(errno));
}

static void
drop_trackers(struct shared *shared)
{
	for (size_t i = 0; i < shared->watched_count; i++) {
		struct pm_tracker *tracker = shared->watched[i].tracker;

		tracker->ops->close(tracker);
	}
	free(shared->watched);
	shared->watched = NULL;
	shared->watched_count = 0;
}

/* Go by the content of pages from here on, and say why. */
static enum pm_status
fall_back(struct shared *shared, const char *why)
{
	struct pm_subject *subject = &shared->subject;

	if (shared->hash != NULL)
		return PM_OK;
	drop_trackers(shared);
	subject->tracking = "hash";
	if (subject->why != why)
		snprintf(subject->why, sizeof(subject->why), "%s", why);
	return pm_tracker_open_hash(&shared->hash, 0, subject->fault);
}

/* Watch one process; *tracker stays NULL where all must go by content. */
static enum pm_status
watch_process(struct shared *shared, pid_t pid, struct pm_tracker **tracker)
{
	enum pm_status status;

	status = pm_subject_track(&shared->subject, tracker, pid,
	    &shared->how);
	if (status != PM_OK || (*tracker)->ops->is_exact)
		return status;
	(*tracker)->ops->close(*tracker);
	*tracker = NULL;
	return fall_back(shared, shared->subject.why);
}

/* A tracker for each mapper: those of before, and new ones. */
static enum pm_status
match_trackers(struct shared *shared)
{
	const struct pm_mappers *mappers = &shared->mappers;
	struct watched *next = calloc(mappers->count + 1, sizeof(next[0]));
	size_t old = 0, count = 0;
	enum pm_status status = PM_OK;

	if (next == NULL)
		return fail(shared);
	for (size_t i = 0; i < mappers->count && status == PM_OK &&
	    shared->hash == NULL; i++) {
		pid_t pid = mappers->mapper[i].pid;
		struct watched one = { .pid = pid };

		while (old < shared->watched_count &&
		    shared->watched[old].pid < pid) {
			shared->watched[old].tracker->ops->close(
			    shared->watched[old].tracker);
			old++;
		}
		if (old < shared->watched_count &&
		    shared->watched[old].pid == pid)
			one = shared->watched[old++];
		else {
			/* Those that were not reached yet are still there. */
			shared->watched_count -= old;
			if (shared->watched_count > 0)
				memmove(shared->watched, shared->watched +
				    old, shared->watched_count *
				    sizeof(next[0]));
			old = 0;
			one.number = ++shared->trackers;
			status = watch_process(shared, pid, &one.tracker);
		}
		if (one.tracker != NULL)
			next[count++] = one;
	}
	for (; old < shared->watched_count; old++)
		shared->watched[old].tracker->ops->close(
		    shared->watched[old].tracker);
	free(shared->watched);
	shared->watched = next;
	shared->watched_count = count;
	if (shared->hash != NULL)
		drop_trackers(shared);
	return status;
}

/* Views ascend by the number of their first page. */
static int
by_first(const void *a, const void *b)
{
	const struct pm_view *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static enum pm_status
add_views(struct shared *shared, const struct pm_mapper *mapper,
    const struct watched *watched)
{
	struct pm_subject *subject = &shared->subject;
	unsigned shift = subject->about.page_shift;
	uint64_t size = subject->pages << shift;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < mapper->count && status == PM_OK; i++) {
		const struct pm_map *map = &mapper->map[i];
		struct pm_view view = { .tracker = watched->tracker,
		    .number = watched->number, .map = *map,
		    .start = map->start, .end = map->end,
		    .from = map->start, .until = map->end, .has_file = 1,
		    .first = map->offset >> shift };

		if (map->offset >= size)
			continue;
		if (map->end - map->start > size - map->offset)
			view.end = map->start + (size - map->offset);
		status = pm_subject_add(subject, &view);
	}
	return status;
}

static enum pm_status
list_processes(struct shared *shared)
{
	struct pm_subject *subject = &shared->subject;
	size_t count = shared->mappers.count;
	pid_t *pid = realloc(subject->process, (count + 1) * sizeof(pid[0]));

	if (pid == NULL)
		return fail(shared);
	subject->process = pid;
	subject->processes = count;
	for (size_t i = 0; i < count; i++)
		pid[i] = shared->mappers.mapper[i].pid;
	return PM_OK;
}

/*
 * Whether all who can write the file can be watched; who asks for a tracker
 * answers for those that cannot be seen.
 */
static enum pm_status
judge(struct shared *shared)
{
	const struct pm_mappers *mappers = &shared->mappers;
	const char *tracker = shared->how.tracker;
	char why[128];

	if (tracker != NULL && strcmp(tracker, "hash") == 0)
		return fall_back(shared, "");
	if (mappers->count == 0)
		return fall_back(shared, "no process has mapped it");
	if (tracker != NULL || (mappers->writer == 0 && mappers->unseen == 0))
		return PM_OK;
	if (mappers->writer != 0)
		snprintf(why, sizeof(why), "process %d can write the file "
		    "and has not mapped it", (int)mappers->writer);
	else
		snprintf(why, sizeof(why), "%zu %s that may have mapped it "
		    "cannot be looked into; --tracker=uffd would trust %s",
		    mappers->unseen, mappers->unseen == 1 ? "process"
		    : "processes", mappers->unseen == 1 ? "it" : "them");
	return fall_back(shared, why);
}

static enum pm_status
list(struct pm_subject *subject)
{
	struct shared *shared = shared_of(subject);
	struct pm_view whole = { .has_file = 1 };
	enum pm_status status;

	subject->views = subject->pins = 0;
	pm_mappers_free(&shared->mappers);
	status = pm_mappers_find(&shared->mappers, shared->fd,
	    shared->hash == NULL, subject->fault);
	if (status == PM_OK)
		status = list_processes(shared);
	if (status == PM_OK && shared->hash == NULL)
		status = judge(shared);
	if (status == PM_OK && shared->hash == NULL)
		status = match_trackers(shared);
	if (status != PM_OK)
		return status;
	if (shared->hash != NULL) {
		whole.tracker = shared->hash;
		whole.end = subject->pages << subject->about.page_shift;
		return pm_subject_add(subject, &whole);
	}
	for (size_t i = 0; i < shared->watched_count && status == PM_OK; i++)
		status = add_views(shared, &shared->mappers.mapper[i],
		    &shared->watched[i]);
	if (status == PM_OK && subject->views > 1)
		qsort(subject->view, subject->views,
		    sizeof(subject->view[0]), by_first);
	for (size_t i = 0; i < shared->watched_count && status == PM_OK; i++)
		status = pm_subject_find_pins(subject,
		    shared->watched[i].pid);
	return status;
}

static void
forget(struct pm_subject *subject)
{
	struct pm_source *source = shared_of(subject)->source;

	source->ops->forget(source);
}

static enum pm_status
span(struct pm_subject *subject, uint64_t number, struct pm_span *out)
{
	struct pm_source *source = shared_of(subject)->source;
	uint64_t page;
	uint32_t region = pm_subject_region(subject, number, &page);
	uint64_t left = pm_region_pages(source->region[region].length,
	    source->page_shift) - page;
	enum pm_status status = source->ops->span(source, region, page, out);

	if (out->pages > left)
		out->pages = left;
	return status;
}

static enum pm_status
read_pages(struct pm_subject *subject, const uint64_t *number,
    unsigned pages, uint8_t *out, uint64_t *got)
{
	struct pm_source *source = shared_of(subject)->source;
	enum pm_status status = PM_OK;

	*got = UINT64_MAX;
	for (unsigned at = 0, count; at < pages && status == PM_OK;
	    at += count) {
		uint64_t page, left;
		uint32_t region = pm_subject_region(subject, number[at],
		    &page), read;

		left = pm_region_pages(source->region[region].length,
		    source->page_shift) - page;
		for (count = 1; at + count < pages && count < left &&
		    number[at + count] == number[at] + count; count++)
			;
		status = source->ops->read(source, region, page, count, out +
		    ((size_t)at << source->page_shift), &read,
		    subject->fault);
	}
	return status;
}

static enum pm_status
check(struct pm_subject *subject)
{
	struct pm_source *source = shared_of(subject)->source;

	return source->ops->done(source);
}

static void
close_shared(struct pm_subject *subject)
{
	struct shared *shared = shared_of(subject);

	drop_trackers(shared);
	if (shared->hash != NULL)
		shared->hash->ops->close(shared->hash);
	pm_mappers_free(&shared->mappers);
	if (shared->fd >= 0)
		close(shared->fd);
	shared->source->ops->close(shared->source);
	pm_subject_free(subject);
}

static const struct pm_subject_ops shared_ops = {
	list, forget, span, read_pages, check, close_shared
};

enum pm_status
pm_subject_open_file(struct pm_subject **subject, struct pm_source *source,
    const char *path, const struct pm_subject_options *how,
    struct pm_fault *fault)
{
	struct shared *shared;

	*subject = NULL;
	if (source->mappings > 0 || source->foreign != NULL) {
		const char *what = source->mappings > 0 ? "core"
		    : "migration";

		source->ops->close(source);
		return pm_fault_set(fault, PM_ERR_REFUSED, path, "is a %s "
		    "file, which nobody has in use as memory", what);
	}
	shared = calloc(1, sizeof(*shared));
	if (shared == NULL) {
		source->ops->close(source);
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	}
	shared->subject = (struct pm_subject){ .ops = &shared_ops,
	    .about = *source, .fault = fault, .verify = how->verify,
	    .tracking = "uffd" };
	for (uint32_t i = 0; i < source->regions; i++)
		shared->subject.pages += pm_region_pages(
		    source->region[i].length, source->page_shift);
	shared->how = *how;
	shared->source = source;
	shared->path = path;
	shared->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (shared->fd >= 0) {
		*subject = &shared->subject;
		return PM_OK;
	}
	(void)fail(shared);
	close_shared(&shared->subject);
	return PM_ERR_SYSTEM;
}
