/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracker.h"

static enum pm_status
watch(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end)
{
	(void)tracker;
	(void)map;
	(void)start;
	(void)end;
	return PM_OK;
}

static enum pm_status
written(struct pm_tracker *tracker, const struct pm_map *map, uint64_t start,
    uint64_t end, int clear, pm_tracker_found *found, void *arg)
{
	(void)tracker;
	(void)map;
	/* Nothing is known to be written again, so nothing is put off. */
	return clear ? found(arg, start, end) : PM_OK;
}

static enum pm_status
unwritten(struct pm_tracker *tracker, const struct pm_map *map,
    uint64_t start, uint64_t end, pm_tracker_found *found, void *arg)
{
	(void)found;
	(void)arg;
	return watch(tracker, map, start, end);
}

static void
close_hash(struct pm_tracker *tracker)
{
	free(tracker);
}

static const struct pm_tracker_ops hash_ops = {
	"hash", 0, 0, 0, NULL, watch, written, unwritten, close_hash
};

enum pm_status
pm_tracker_open_hash(struct pm_tracker **tracker, pid_t pid,
    struct pm_fault *fault)
{
	*tracker = calloc(1, sizeof(**tracker));
	if (*tracker == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	**tracker = (struct pm_tracker){ .ops = &hash_ops, .fault = fault,
	    .pid = pid };
	return PM_OK;
}
