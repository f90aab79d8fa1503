/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* O_DIRECT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handover.h"
#include "procfs.h"
#include "subject.h"

enum pm_status
pm_subject_add(struct pm_subject *subject, const struct pm_view *view)
{
	if (subject->views == subject->room) {
		size_t room = subject->room * 2 + 64;
		struct pm_view *more = realloc(subject->view,
		    room * sizeof(more[0]));

		if (more == NULL)
			return pm_fault_set(subject->fault, PM_ERR_SYSTEM,
			    NULL, "%s", strerror(errno));
		subject->view = more;
		subject->room = room;
	}
	subject->view[subject->views++] = *view;
	return PM_OK;
}

uint32_t
pm_subject_region(const struct pm_subject *subject, uint64_t number,
    uint64_t *page)
{
	const struct pm_source *about = &subject->about;
	uint32_t at = 0;

	for (; at + 1 < about->regions; at++) {
		uint64_t pages = pm_region_pages(about->region[at].length,
		    about->page_shift);

		if (number < pages)
			break;
		number -= pages;
	}
	*page = number;
	return at;
}

/* Try one tracker; what it refuses with is kept apart. */
static enum pm_status
try(struct pm_subject *subject, struct pm_tracker **tracker, pid_t pid,
    const char *name, const struct pm_subject_options *how,
    struct pm_fault *fault)
{
	enum pm_status status;
	int fd = -1;

	if (strcmp(name, "hash") == 0)
		return pm_tracker_open_hash(tracker, pid, fault);
	if (strcmp(name, "soft-dirty") == 0)
		return pm_tracker_open_soft(tracker, pid,
		    subject->about.page_shift, fault);
	if (how->uffd_socket != NULL) {
		status = pm_handover_take(how->uffd_socket, pid, &fd, fault);
		if (status != PM_OK)
			return status;
	}
	return pm_tracker_open_uffd(tracker, pid, fd, fault);
}

enum pm_status
pm_subject_track(struct pm_subject *subject, struct pm_tracker **tracker,
    pid_t pid, const struct pm_subject_options *how)
{
	static const char *const best[] = { "uffd", "soft-dirty", "hash" };
	enum pm_status status = PM_ERR_REFUSED;
	size_t room = sizeof(subject->why), used = 0;

	if (how->tracker != NULL || how->uffd_socket != NULL) {
		subject->tracking = how->tracker != NULL ? how->tracker
		    : "uffd";
		status = try(subject, tracker, pid, subject->tracking, how,
		    subject->fault);
		if (status == PM_OK)
			(*tracker)->fault = subject->fault;
		return status;
	}
	subject->why[0] = '\0';
	for (size_t i = 0; i < 3 && status == PM_ERR_REFUSED; i++) {
		struct pm_fault fault = { 0 };

		subject->tracking = best[i];
		status = try(subject, tracker, pid, best[i], how, &fault);
		if (status == PM_ERR_REFUSED && used < room)
			used += (size_t)snprintf(subject->why + used,
			    room - used, "%snot %s: %s", used > 0 ? "; " : "",
			    best[i], fault.text);
		else if (status != PM_OK && subject->fault != NULL)
			*subject->fault = fault;
	}
	if (status == PM_OK)
		(*tracker)->fault = subject->fault;
	return status;
}

static enum pm_status
add_pin(struct pm_subject *subject, uint64_t start, uint64_t end)
{
	struct pm_pinned *more = realloc(subject->pin,
	    (subject->pins + 1) * sizeof(more[0]));

	if (more == NULL)
		return pm_fault_set(subject->fault, PM_ERR_SYSTEM, NULL,
		    "%s", strerror(errno));
	subject->pin = more;
	subject->pin[subject->pins++] = (struct pm_pinned){ start, end };
	return PM_OK;
}

/* A buffer, by address: the pages of each view that it touches. */
static enum pm_status
pin_buffer(struct pm_subject *subject, pid_t pid, uint64_t start,
    uint64_t end)
{
	unsigned shift = subject->about.page_shift;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < subject->views && status == PM_OK; i++) {
		const struct pm_view *view = &subject->view[i];
		uint64_t from = start > view->start ? start : view->start;
		uint64_t to = end < view->end ? end : view->end;

		if (view->tracker->pid != pid || from >= to)
			continue;
		status = add_pin(subject, view->first +
		    ((from - view->start) >> shift), view->first +
		    pm_region_pages(to - view->start, shift));
	}
	return status;
}

/* Kilobytes that /proc/PID/status says are pinned. */
static uint64_t
pinned_size(pid_t pid)
{
	char path[32], line[256];
	uint64_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((file = fopen(path, "re")) == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "VmPin: %" SCNu64, &size) == 1)
			break;
	fclose(file);
	return size;
}

/* Buffers of one io_uring: "    0: 0x7f5a1c000000/65536" in its fdinfo. */
static enum pm_status
pin_buffers(struct pm_subject *subject, pid_t pid, const char *fd,
    uint64_t *known)
{
	uint64_t mask = (UINT64_C(1) << subject->about.page_shift) - 1;
	char path[300], line[256];
	enum pm_status status = PM_OK;
	uint64_t start, size;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)pid, fd);
	if ((file = fopen(path, "re")) == NULL)
		return PM_OK;
	while (status == PM_OK && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, " %*u: 0x%" SCNx64 "/%" SCNu64, &start,
		    &size) != 2 || size > INT64_MAX || start > INT64_MAX)
			continue;
		size += start & mask;
		start &= ~mask;
		size = (size + mask) & ~mask;
		*known += size;
		status = pin_buffer(subject, pid, start, start + size);
	}
	fclose(file);
	return status;
}

enum pm_status
pm_subject_find_pins(struct pm_subject *subject, pid_t pid)
{
	uint64_t size = pinned_size(pid) * 1024, known = 0;
	enum pm_status status = PM_OK;
	struct dirent *entry;
	char path[32];
	DIR *dir;

	if (size == 0)
		return PM_OK;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	if ((dir = opendir(path)) != NULL) {
		while (status == PM_OK && (entry = readdir(dir)) != NULL)
			status = pin_buffers(subject, pid, entry->d_name,
			    &known);
		closedir(dir);
	}
	/* Pinned by what does not say where. */
	if (known < size)
		subject->verify = 1;
	return status;
}

static int
has_direct(pid_t pid)
{
	char path[64], text[256], *flags;
	struct dirent *entry;
	int has = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return 0;
	while (!has && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "fdinfo/%.32s", entry->d_name);
		if (pm_procfs_read(pid, path, text, sizeof(text)) &&
		    (flags = strstr(text, "flags:")) != NULL)
			has = (strtoul(flags + 6, NULL, 8) & O_DIRECT) != 0;
	}
	closedir(dir);
	return has;
}

void
pm_subject_find_direct(struct pm_subject *subject)
{
	for (size_t i = 0; i < subject->processes; i++)
		subject->is_direct |= has_direct(subject->process[i]);
}

void
pm_subject_free(struct pm_subject *subject)
{
	free(subject->view);
	free(subject->process);
	free(subject->pin);
	free(subject);
}
