/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest_kernel.h"

#define WORK		(UINT64_C(256) << 20)	/* bytes read for all notes,
						   besides the array's */
#define NOTES_MAX	64u		/* that are looked at */
#define WINDOW		(1u << 20)	/* bytes searched at a time, */
#define SEARCH_STEP	(UINT64_C(64) << 20)	/* and from one end */

struct finder {
	struct pm_guest_kernel kernel;
	unsigned notes;			/* looked at */
	uint8_t *window;		/* WINDOW */
	uint8_t *note;			/* PM_GUEST_INFO_BYTES */
};

/* The text that may begin a page of the memory. */
static enum pm_status
look_at(struct finder *finder, uint64_t at)
{
	const struct pm_guest_memory *memory = finder->kernel.memory;
	size_t size = PM_GUEST_INFO_BYTES;
	enum pm_status status;

	if (size > memory->size - at)
		size = (size_t)(memory->size - at);
	memset(finder->note, 0, PM_GUEST_INFO_BYTES);
	status = memory->read(memory->arg, at, finder->note, size,
	    finder->kernel.fault);
	if (status != PM_OK || !pm_guest_info_take(&finder->kernel.info,
	    finder->note))
		return status == PM_OK ? PM_END : status;
	finder->notes++;
	return pm_guest_kernel_look(&finder->kernel);
}

/* Look through some pages. */
static enum pm_status
search(struct finder *finder, uint64_t from, uint64_t end)
{
	const struct pm_guest_memory *memory = finder->kernel.memory;
	enum pm_status status = PM_END;
	size_t size;

	while (status == PM_END && finder->notes < NOTES_MAX &&
	    (from = memory->next(memory->arg, from)) < end) {
		size = end - from < WINDOW ? (size_t)(end - from) : WINDOW;
		status = memory->read(memory->arg, from, finder->window, size,
		    finder->kernel.fault);
		if (status != PM_OK)
			break;
		status = PM_END;
		for (size_t at = 0; at < size && status == PM_END &&
		    finder->notes < NOTES_MAX; at += PM_GUEST_PAGE)
			if (pm_guest_info_begins(finder->window + at))
				status = look_at(finder, from + at);
		from += size;
	}
	return status;
}

/*
 * From both ends to the middle: a kernel takes the page of its note while it
 * starts, from one end of a zone.
 */
static enum pm_status
search_all(struct finder *finder)
{
	uint64_t low = 0, high = finder->kernel.memory->size;
	enum pm_status status = PM_END;

	while (low < high && status == PM_END && finder->notes < NOTES_MAX) {
		uint64_t step = high - low < SEARCH_STEP ? high - low
		    : SEARCH_STEP;

		status = search(finder, low, low + step);
		low += step;
		step = high - low < SEARCH_STEP ? high - low : SEARCH_STEP;
		if (status == PM_END)
			status = search(finder, high - step, high);
		high -= step;
	}
	return status;
}

static enum pm_status
run(struct finder *finder)
{
	struct pm_guest_kernel *kernel = &finder->kernel;
	enum pm_status status;

	finder->window = malloc(WINDOW);
	finder->note = malloc(PM_GUEST_INFO_BYTES);
	kernel->ram.range = calloc(PM_GUEST_RANGES_MAX,
	    sizeof(kernel->ram.range[0]));
	if (finder->window == NULL || finder->note == NULL ||
	    kernel->ram.range == NULL || pm_bitmap_open(&kernel->guest->map,
	    kernel->memory->size >> PM_GUEST_SHIFT) != PM_OK)
		return pm_guest_kernel_no_memory(kernel);
	status = search_all(finder);
	if (status != PM_END)
		return status;
	return pm_fault_set(kernel->fault, PM_ERR_REFUSED, NULL, "%s",
	    kernel->depth > 0 ? kernel->why.text
	    : "no Linux kernel is found that tells where it is");
}

enum pm_status
pm_guest_open(struct pm_guest *guest, const struct pm_guest_memory *memory,
    struct pm_fault *fault)
{
	struct finder *finder = calloc(1, sizeof(*finder));
	enum pm_status status;

	*guest = (struct pm_guest){ .total = 0 };
	if (finder == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	finder->kernel = (struct pm_guest_kernel){
		.guest = guest, .memory = memory, .fault = fault,
		.space = {
			.memory = memory, .fault = fault,
			.work = WORK + memory->size / 4,
		},
	};
	status = run(finder);
	free(finder->window);
	free(finder->note);
	free(finder->kernel.ram.range);
	free(finder);
	return status;
}

void
pm_guest_close(struct pm_guest *guest)
{
	pm_bitmap_close(&guest->map);
}
