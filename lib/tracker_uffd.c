/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "inject.h"
#include "pagescan.h"
#include "tracker.h"

/* As in <linux/userfaultfd.h> of Linux 6.7. */
#define WP_ASYNC	(UINT64_C(1) << 15)

struct uffd {
	struct pm_tracker tracker;	/* first: what the ops are given */
	int fd;				/* of the process's userfaultfd */
	int pagemap;			/* /proc/PID/pagemap */
};

static struct uffd *
uffd_of(struct pm_tracker *tracker)
{
	return (struct uffd *)tracker;
}

static enum pm_status
fail(struct uffd *uffd, const char *what)
{
	if (errno == ESRCH)
		return pm_fault_set(uffd->tracker.fault, PM_ERR_SYSTEM, NULL,
		    "process %d ended, or runs another program",
		    (int)uffd->tracker.pid);
	return pm_fault_set(uffd->tracker.fault, PM_ERR_SYSTEM, NULL,
	    "process %d: %s: %s", (int)uffd->tracker.pid, what,
	    strerror(errno));
}

static enum pm_status
watch(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end)
{
	struct uffd *uffd = uffd_of(tracker);
	struct uffdio_register range = {
		.range = { .start = start, .len = end - start },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	(void)map;
	if (ioctl(uffd->fd, UFFDIO_REGISTER, &range) == 0)
		return PM_OK;
	/*
	 * Memory that is gone by now, that cannot be written, or that is
	 * another userfaultfd's.
	 */
	if (errno == EINVAL || errno == EPERM || errno == ENOENT ||
	    errno == EBUSY)
		return PM_END;
	if (errno == ENOMEM)
		errno = ESRCH;		/* of what the memory was */
	return fail(uffd, "UFFDIO_REGISTER");
}

/* Tell what a scan finds; PM_END where it is not watched. */
static enum pm_status
run(struct uffd *uffd, struct pm_pagescan *scan, pm_tracker_found *found,
    void *arg)
{
	struct pm_pagescan_range range[PM_PAGESCAN_RANGES];
	enum pm_status status = PM_OK;
	int count = PM_PAGESCAN_RANGES;

	scan->flags |= PM_PAGESCAN_CHECK;
	scan->vec = (uintptr_t)range;
	scan->vec_len = PM_PAGESCAN_RANGES;
	while (count == PM_PAGESCAN_RANGES && scan->start < scan->end) {
		count = pm_pagescan(uffd->pagemap, scan);
		if (count < 0)
			return errno == EPERM ? PM_END
			    : fail(uffd, "PAGEMAP_SCAN");
		for (int i = 0; i < count && status == PM_OK; i++)
			status = found(arg, range[i].start, range[i].end);
		if (status != PM_OK)
			return status;
		/* walk_end may be stale: trust what was found. */
		if (count > 0)
			scan->start = range[count - 1].end;
	}
	return PM_OK;
}

static enum pm_status
written(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end, int clear, pm_tracker_found *found, void *arg)
{
	/*
	 * Pages that were never there count as written too; to protect them
	 * would cost the process page tables.
	 */
	struct pm_pagescan scan = { .start = start, .end = end,
	    .flags = clear ? PM_PAGESCAN_PROTECT : 0,
	    .mask = PM_PAGE_WRITTEN, .anyof = PM_PAGE_HELD,
	    .returned = PM_PAGE_WRITTEN };

	(void)map;
	return run(uffd_of(tracker), &scan, found, arg);
}

static enum pm_status
unwritten(struct pm_tracker *tracker, const struct pm_map *map,
    uint64_t start, uint64_t end, pm_tracker_found *found, void *arg)
{
	struct pm_pagescan scan = { .start = start, .end = end,
	    .mask = PM_PAGE_WRITTEN, .inverted = PM_PAGE_WRITTEN,
	    .anyof = PM_PAGE_HELD, .returned = PM_PAGE_PRESENT };

	/*
	 * A private page that was dropped is the file's again, and keeps a
	 * mark that makes it look swapped and unwritten.
	 */
	if (map->inode != 0)
		scan.mask |= PM_PAGE_PRESENT;
	if (map->inode != 0 && !map->shared) {
		scan.mask |= PM_PAGE_FILE;
		scan.inverted |= PM_PAGE_FILE;
	}
	return run(uffd_of(tracker), &scan, found, arg);
}

static void
close_uffd(struct pm_tracker *tracker)
{
	struct uffd *uffd = uffd_of(tracker);

	/* The kernel lifts all protection with the last descriptor. */
	if (uffd->fd >= 0)
		close(uffd->fd);
	if (uffd->pagemap >= 0)
		close(uffd->pagemap);
	free(uffd);
}

static const struct pm_tracker_ops uffd_ops = {
	"uffd", 1, 1, 1, NULL, watch, written, unwritten, close_uffd
};

static enum pm_status
refuse(struct uffd *uffd, const char *why)
{
	return pm_fault_set(uffd->tracker.fault, PM_ERR_REFUSED, NULL, "%s",
	    why);
}

static enum pm_status
open_pagemap(struct uffd *uffd)
{
	struct pm_pagescan scan = { .anyof = PM_PAGE_PRESENT,
	    .returned = PM_PAGE_PRESENT };
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/pagemap",
	    (int)uffd->tracker.pid);
	uffd->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (uffd->pagemap < 0)
		return fail(uffd, path);
	return pm_pagescan(uffd->pagemap, &scan) >= 0 ? PM_OK
	    : refuse(uffd, "the kernel has no PAGEMAP_SCAN (Linux 6.7)");
}

/* Another may have set it up already; whether as needed, a scan tells. */
static enum pm_status
set_up(struct uffd *uffd, int is_new)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC };

	if (ioctl(uffd->fd, UFFDIO_API, &api) == 0 || !is_new)
		return PM_OK;
	return refuse(uffd, "the kernel's userfaultfd does not protect "
	    "asynchronously (Linux 6.7)");
}

enum pm_status
pm_tracker_open_uffd(struct pm_tracker **tracker, pid_t pid, int fd,
    struct pm_fault *fault)
{
	struct uffd *uffd = calloc(1, sizeof(*uffd));
	enum pm_status status;
	int is_new = fd < 0;

	*tracker = NULL;
	if (uffd == NULL) {
		if (fd >= 0)
			close(fd);
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	}
	uffd->tracker = (struct pm_tracker){ .ops = &uffd_ops, .fault = fault,
	    .pid = pid };
	uffd->fd = fd;
	uffd->pagemap = -1;
	status = open_pagemap(uffd);
	if (status == PM_OK && is_new)
		status = pm_inject_uffd(pid, &uffd->fd,
		    &uffd->tracker.stopped_us, fault);
	if (status == PM_OK)
		status = set_up(uffd, is_new);
	if (status != PM_OK) {
		close_uffd(&uffd->tracker);
		return status;
	}
	*tracker = &uffd->tracker;
	return PM_OK;
}
