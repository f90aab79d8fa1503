/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "fdio.h"
#include "freeze.h"
#include "tracker.h"

#define ENTRIES		8192u		/* of pagemap, read at a time */
#define SPACE		(UINT64_C(1) << 47)	/* bytes that are tracked */

/* Of an entry of /proc/PID/pagemap; see pagemap.rst of the kernel. */
#define IS_DIRTY	(UINT64_C(1) << 55)
#define IS_EXCLUSIVE	(UINT64_C(1) << 56)	/* mapped here alone */
#define IS_FILE		(UINT64_C(1) << 61)	/* or shared */
#define IS_SWAPPED	(UINT64_C(1) << 62)
#define IS_PRESENT	(UINT64_C(1) << 63)

struct soft {
	struct pm_tracker tracker;	/* first: what the ops are given */
	unsigned page_shift;
	int pagemap, clear_refs;
	struct pm_bitmap dirty;		/* by address; looked at and not yet
					   asked for */
	uint64_t entry[ENTRIES];
};

static struct soft *
soft_of(struct pm_tracker *tracker)
{
	return (struct soft *)tracker;
}

static enum pm_status
fail(struct soft *soft, const char *what)
{
	return pm_fault_set(soft->tracker.fault, PM_ERR_SYSTEM, NULL,
	    "process %d: %s: %s", (int)soft->tracker.pid, what,
	    strerror(errno));
}

static int
is_dirty(uint64_t entry)
{
	return (entry & (IS_PRESENT | IS_SWAPPED)) != 0 &&
	    (entry & IS_DIRTY) != 0;
}

static int
is_clean(uint64_t entry)
{
	return (entry & (IS_PRESENT | IS_SWAPPED)) != 0 &&
	    (entry & IS_DIRTY) == 0;
}

/*
 * A page that was dropped and then read is the kernel's page of zeroes, and
 * not dirty; but it is nobody's alone.
 */
static int
is_clean_anonymous(uint64_t entry)
{
	return is_clean(entry) && (entry & (IS_SWAPPED | IS_EXCLUSIVE)) != 0;
}

/* Of a private mapping of a file: one of its own, and not the file's. */
static int
is_clean_copy(uint64_t entry)
{
	return is_clean(entry) && (entry & IS_EXCLUSIVE) != 0 &&
	    (entry & IS_FILE) == 0;
}

/* Tell the pages of which that holds. */
static enum pm_status
look(struct soft *soft, uint64_t start, uint64_t end, int (*is)(uint64_t),
    pm_tracker_found *found, void *arg)
{
	uint64_t size = UINT64_C(1) << soft->page_shift;
	enum pm_status status = PM_OK;

	while (start < end && status == PM_OK) {
		uint64_t page = start >> soft->page_shift;
		uint64_t pages = (end >> soft->page_shift) - page;

		if (pages > ENTRIES)
			pages = ENTRIES;
		status = pm_fd_pread(soft->pagemap, soft->entry,
		    (size_t)pages * sizeof(uint64_t),
		    page * sizeof(uint64_t));
		if (status != PM_OK) {
			errno = status == PM_ERR_READ ? errno : ESRCH;
			return fail(soft, "/proc/PID/pagemap");
		}
		for (uint64_t i = 0; i < pages && status == PM_OK; i++)
			if (is(soft->entry[i]))
				status = found(arg, start + i * size,
				    start + (i + 1) * size);
		start += pages * size;
	}
	return status;
}

static enum pm_status
keep(void *arg, uint64_t start, uint64_t end)
{
	struct soft *soft = arg;

	pm_bitmap_set_run(&soft->dirty, start >> soft->page_shift,
	    (end - start) >> soft->page_shift);
	return PM_OK;
}

/* To read the bits and to clear them is one step only for who stands still. */
static enum pm_status
begin(struct pm_tracker *tracker, const struct pm_map *map, size_t count)
{
	struct soft *soft = soft_of(tracker);
	struct pm_freeze freeze;
	enum pm_status status;

	status = pm_freeze_begin(&freeze, tracker->pid, PM_FREEZE_MS,
	    tracker->fault);
	if (status != PM_OK)
		return status;
	for (size_t i = 0; i < count && status == PM_OK; i++)
		if (map[i].end <= SPACE)
			status = look(soft, map[i].start, map[i].end,
			    is_dirty, keep, soft);
	if (status == PM_OK &&
	    pm_fd_write(soft->clear_refs, "4", 1) != PM_OK)
		status = fail(soft, "/proc/PID/clear_refs");
	tracker->stopped_us += pm_freeze_end(&freeze);
	return status;
}

static enum pm_status
watch(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end)
{
	(void)tracker;
	(void)start;
	/* What is new is dirty until it was cleared. */
	(void)end;
	return map->end <= SPACE ? PM_OK : PM_END;
}

static enum pm_status
written(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end, int clear, pm_tracker_found *found, void *arg)
{
	struct soft *soft = soft_of(tracker);
	uint64_t page = start >> soft->page_shift;
	uint64_t last = end >> soft->page_shift;
	enum pm_status status = PM_OK;

	if (map->end > SPACE)
		return PM_END;
	if (!clear)
		return look(soft, start, end, is_dirty, found, arg);
	while (status == PM_OK &&
	    (page = pm_bitmap_next(&soft->dirty, page, last)) < last) {
		uint64_t until = pm_bitmap_run(&soft->dirty, page, last);

		pm_bitmap_clear_run(&soft->dirty, page, until - page);
		status = found(arg, page << soft->page_shift,
		    until << soft->page_shift);
		page = until;
	}
	return status;
}

static enum pm_status
unwritten(struct pm_tracker *tracker, const struct pm_map *map,
    uint64_t start, uint64_t end, pm_tracker_found *found, void *arg)
{
	if (map->end > SPACE)
		return PM_END;
	return look(soft_of(tracker), start, end, map->shared ? is_clean
	    : map->inode != 0 ? is_clean_copy : is_clean_anonymous, found,
	    arg);
}

static void
close_soft(struct pm_tracker *tracker)
{
	struct soft *soft = soft_of(tracker);

	if (soft->pagemap >= 0)
		close(soft->pagemap);
	if (soft->clear_refs >= 0)
		close(soft->clear_refs);
	pm_bitmap_close(&soft->dirty);
	free(soft);
}

static const struct pm_tracker_ops soft_ops = {
	"soft-dirty", 0, 1, 0, begin, watch, written, unwritten, close_soft
};

static enum pm_status
open_one(struct soft *soft, pid_t pid, const char *name, int flags, int *fd)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	*fd = open(path, flags | O_CLOEXEC);
	return *fd >= 0 ? PM_OK : fail(soft, path);
}

/*
 * A kernel without the bits accepts that they are cleared: see whether a
 * page of this process has its bit once it was written.
 */
static int
works(void)
{
	long size = sysconf(_SC_PAGESIZE);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	volatile char *page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry = 0, at;

	if (page == MAP_FAILED)
		page = NULL;
	if (page != NULL && fd >= 0) {
		*page = 1;
		at = (uint64_t)(uintptr_t)page / (uint64_t)size;
		if (pm_fd_pread(fd, &entry, sizeof(entry), at *
		    sizeof(entry)) != PM_OK)
			entry = 0;
	}
	if (page != NULL)
		munmap((void *)(uintptr_t)page, (size_t)size);
	if (fd >= 0)
		close(fd);
	return (entry & IS_DIRTY) != 0;
}

enum pm_status
pm_tracker_open_soft(struct pm_tracker **tracker, pid_t pid,
    unsigned page_shift, struct pm_fault *fault)
{
	struct soft *soft = calloc(1, sizeof(*soft));
	enum pm_status status;

	*tracker = NULL;
	if (soft == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	soft->tracker = (struct pm_tracker){ .ops = &soft_ops,
	    .fault = fault, .pid = pid };
	soft->page_shift = page_shift;
	soft->pagemap = soft->clear_refs = -1;
	if (!works())
		status = pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "the kernel has no soft-dirty bits");
	else if ((status = pm_bitmap_open(&soft->dirty, SPACE >> page_shift))
	    != PM_OK)
		(void)fail(soft, "dirty pages");
	if (status == PM_OK)
		status = open_one(soft, pid, "pagemap", O_RDONLY,
		    &soft->pagemap);
	if (status == PM_OK)
		status = open_one(soft, pid, "clear_refs", O_WRONLY,
		    &soft->clear_refs);
	if (status != PM_OK) {
		close_soft(&soft->tracker);
		return status;
	}
	*tracker = &soft->tracker;
	return PM_OK;
}
