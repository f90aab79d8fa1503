/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mappers.h"
#include "process.h"
#include "procfs.h"
#include "subject.h"

/* A file that is, or once was, written through mappings not watched. */
struct elsewhere {
	uint64_t inode;
	unsigned major, minor;
};

struct running {
	struct pm_subject subject;	/* first: what the ops are given */
	struct pm_process process;
	struct pm_tracker *tracker;
	const char *const *glob;
	size_t elsewheres;
	struct elsewhere *elsewhere;
};

static struct running *
running_of(struct pm_subject *subject)
{
	return (struct running *)subject;
}

static enum pm_status
add_view(struct running *running, size_t at)
{
	const struct pm_maps *maps = &running->process.maps;
	const struct pm_map *map = &maps->map[at];
	uint64_t space = running->process.region.length;
	struct pm_view view = {
		.tracker = running->tracker, .map = *map,
		.start = map->start, .end = map->end,
		.from = at > 0 ? maps->map[at - 1].end : 0,
		.until = at + 1 < maps->count &&
		    maps->map[at + 1].start < space ? maps->map[at + 1].start
		    : space,
		.first = map->start >> running->process.page_shift,
		.has_file = running->process.kind[at] == PM_MAPFILE_FILE,
	};

	return pm_subject_add(&running->subject, &view);
}

/* Who wrote to a file may be gone by now, and what was written is there. */
static enum pm_status
note_elsewhere(struct running *running, struct pm_view *view, int is_now)
{
	const struct pm_map *map = &view->map;
	size_t at = 0, count = running->elsewheres;
	struct elsewhere *all = running->elsewhere;

	while (at < count && (all[at].inode != map->inode ||
	    all[at].major != map->major || all[at].minor != map->minor))
		at++;
	view->is_elsewhere = is_now || at < count;
	if (at < count || !is_now)
		return PM_OK;
	all = realloc(all, (count + 1) * sizeof(all[0]));
	if (all == NULL)
		return pm_process_fail(&running->process,
		    running->subject.fault, "list of files");
	all[count] = (struct elsewhere){ map->inode, map->major, map->minor };
	running->elsewhere = all;
	running->elsewheres++;
	return PM_OK;
}

/* Shared memory that others write changes without being seen to. */
static enum pm_status
mark_shared(struct running *running)
{
	struct pm_subject *subject = &running->subject;
	size_t count = 0, shared = 0;
	unsigned char *elsewhere;
	struct pm_map *map;
	enum pm_status status;

	for (size_t i = 0; i < subject->views; i++)
		shared += subject->view[i].map.shared;
	if (shared == 0)
		return PM_OK;
	map = calloc(shared, sizeof(map[0]));
	elsewhere = calloc(shared, 1);
	if (map == NULL || elsewhere == NULL)
		status = pm_process_fail(&running->process, subject->fault,
		    "list of mappings");
	else {
		for (size_t i = 0; i < subject->views; i++)
			if (subject->view[i].map.shared)
				map[count++] = subject->view[i].map;
		status = pm_mappers_mark(running->process.pid, map, count,
		    elsewhere, &subject->unseen, subject->fault);
		count = 0;
		for (size_t i = 0; i < subject->views && status == PM_OK; i++)
			if (subject->view[i].map.shared)
				status = note_elsewhere(running,
				    &subject->view[i], elsewhere[count++]);
	}
	free(map);
	free(elsewhere);
	return status;
}

/*
 * What may become part of a mapping that is carried is watched as well: the
 * kernel keeps mappings apart of which one is watched and one is not, and
 * the process may count on their being one.
 */
static enum pm_status
watch_others(struct running *running)
{
	const struct pm_process *process = &running->process;
	enum pm_status status = PM_OK;

	for (size_t at = 0; at < process->maps.count; at++) {
		const struct pm_map *map = &process->maps.map[at];

		if ((process->mapping[at].flags & PM_MAPPING_CARRIED) != 0 ||
		    map->shared || strncmp(map->name, "[v", 2) == 0)
			continue;
		status = running->tracker->ops->watch(running->tracker, map,
		    map->start, map->end);
		if (status != PM_OK && status != PM_END)
			return status;
	}
	return PM_OK;
}

static enum pm_status
list(struct pm_subject *subject)
{
	struct running *running = running_of(subject);
	struct pm_process *process = &running->process;
	enum pm_status status = pm_process_list(process, running->glob);

	subject->views = subject->pins = 0;
	subject->about.mappings = process->maps.count;
	subject->about.mapping = process->mapping;
	if (status == PM_OK && process->maps.count == 0) {
		errno = ESRCH;
		return pm_process_fail(process, subject->fault, "mappings");
	}
	for (size_t at = 0; status == PM_OK && at < process->maps.count; at++)
		if ((process->mapping[at].flags & PM_MAPPING_CARRIED) != 0)
			status = add_view(running, at);
	if (status == PM_OK && subject->is_held)
		status = watch_others(running);
	if (status == PM_OK)
		status = mark_shared(running);
	return status == PM_OK
	    ? pm_subject_find_pins(subject, process->pid) : status;
}

static void
forget(struct pm_subject *subject)
{
	struct pm_process *process = &running_of(subject)->process;

	pm_process_forget(process);
	/* Its size may be another, too. */
	pm_mapfile_close(&process->file);
	process->file_of = SIZE_MAX;
}

static enum pm_status
span(struct pm_subject *subject, uint64_t page, struct pm_span *out)
{
	return pm_process_span(&running_of(subject)->process, page, out);
}

static enum pm_status
read_pages(struct pm_subject *subject, const uint64_t *page, unsigned pages,
    uint8_t *out, uint64_t *got)
{
	return pm_process_fetch(&running_of(subject)->process, page, pages,
	    out, got, subject->fault);
}

static enum pm_status
check(struct pm_subject *subject)
{
	struct pm_process *process = &running_of(subject)->process;

	if (pm_process_is_same(process))
		return PM_OK;
	errno = ESRCH;
	return pm_fault_set(subject->fault, PM_ERR_SYSTEM, NULL,
	    "process %d ended, or runs another program", (int)process->pid);
}

static void
close_running(struct pm_subject *subject)
{
	struct running *running = running_of(subject);

	if (running->tracker != NULL)
		running->tracker->ops->close(running->tracker);
	pm_process_close(&running->process);
	free(running->elsewhere);
	pm_subject_free(subject);
}

static const struct pm_subject_ops running_ops = {
	list, forget, span, read_pages, check, close_running
};

static enum pm_status
open_running(struct running *running, pid_t tid,
    const struct pm_subject_options *how)
{
	struct pm_subject *subject = &running->subject;
	struct pm_process *process = &running->process;
	enum pm_status status;
	pid_t pid, through;

	status = pm_procfs_find(tid, &pid, &through, subject->fault);
	if (status == PM_OK)
		status = pm_process_open(process, pid, through,
		    subject->fault);
	subject->about.page_shift = process->page_shift;
	if (status == PM_OK)
		status = pm_process_list(process, how->glob);
	if (status == PM_OK)
		status = pm_subject_track(subject, &running->tracker, pid,
		    how);
	subject->process[0] = pid;
	subject->processes = 1;
	subject->about.regions = 1;
	subject->about.region = &process->region;
	subject->pages = process->region.length >> process->page_shift;
	return status;
}

enum pm_status
pm_subject_open_process(struct pm_subject **subject, pid_t tid,
    const struct pm_subject_options *how, struct pm_fault *fault)
{
	struct running *running = calloc(1, sizeof(*running));
	enum pm_status status;

	*subject = NULL;
	if (running == NULL || (running->subject.process =
	    calloc(1, sizeof(pid_t))) == NULL) {
		free(running);
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	}
	running->subject.ops = &running_ops;
	running->subject.is_disjoint = 1;
	running->subject.fault = fault;
	running->subject.verify = how->verify;
	running->subject.is_untraced = how->uffd_socket != NULL;
	running->glob = how->glob;
	running->process.mem = running->process.pagemap.fd =
	    running->process.file.fd = -1;
	status = open_running(running, tid, how);
	if (status == PM_OK)
		*subject = &running->subject;
	else
		close_running(&running->subject);
	return status;
}
