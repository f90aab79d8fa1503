/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process.h - the memory of a process: its mappings, and what is in them.
 *
 * Nothing here stops the process.  What is told of one that runs was so at
 * some moment; pages that are not there any more are not read.  Pages that
 * were never touched are not touched by finding that out.
 */
#ifndef PM_PROCESS_H
#define PM_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "mapfile.h"
#include "maps.h"
#include "pagemap.h"
#include "record.h"
#include "span.h"

struct pm_process {
	pid_t pid;		/* for messages */
	pid_t through;		/* a thread that lives, for use in /proc */
	unsigned page_shift;
	struct pm_fault *fault;
	struct pm_region region;	/* the whole address space */

	/* As listed last. */
	struct pm_maps maps;
	struct pm_mapping *mapping;	/* of each, as a stream tells it */
	enum pm_mapfile_kind *kind;	/* of each that is carried */

	struct pm_pagemap pagemap;
	struct pm_mapfile file;		/* of mapping file_of */
	size_t file_of;
	int mem;			/* /proc/PID/mem */
	int only_mem;			/* process_vm_readv is not to be had */
};

/*
 * Start on a process by a thread of it that has memory.  PM_ERR_SYSTEM with
 * fault filled; close it then too.
 */
enum pm_status pm_process_open(struct pm_process *, pid_t pid, pid_t through,
    struct pm_fault *);
void pm_process_close(struct pm_process *);

/*
 * List the mappings anew, and choose what is carried: what is writable, or
 * what goes by one of the names of glob, NULL-terminated, if that is not
 * NULL.  PM_ERR_REFUSED when there are too many.
 */
enum pm_status pm_process_list(struct pm_process *, const char *const *glob);

/* Pages that may hold something are looked for anew from here on. */
void pm_process_forget(struct pm_process *);

/* What begins at that page of the address space. */
enum pm_status pm_process_span(struct pm_process *, uint64_t page,
    struct pm_span *);

/*
 * Read pages that follow each other; *got is how many could be read, and
 * fewer than asked means that the one behind them is not there.
 */
enum pm_status pm_process_read(struct pm_process *, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *);

/*
 * Read up to 64 pages, ascending, one behind the other into out; a bit of
 * *got for each that could be read.
 */
enum pm_status pm_process_fetch(struct pm_process *, const uint64_t *page,
    unsigned pages, uint8_t *out, uint64_t *got, struct pm_fault *);

/*
 * True while the memory is that of the program that was started on, false
 * once the process ended or runs another.
 */
int pm_process_is_same(const struct pm_process *);

/* Say that a system call failed on it; errno tells. */
enum pm_status pm_process_fail(const struct pm_process *, struct pm_fault *,
    const char *what);

#endif /* PM_PROCESS_H */
