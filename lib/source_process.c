/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* process_vm_readv */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fdio.h"
#include "freeze.h"
#include "mapfile.h"
#include "maps.h"
#include "pagemap.h"
#include "source.h"

#define LENGTH		(UINT64_C(1) << 47)	/* of most address spaces */
#define LENGTH_LARGE	(UINT64_C(1) << 56)

struct process {
	struct pm_source source;	/* first: what the ops are given */
	struct pm_region region;
	struct pm_freeze freeze;
	struct pm_maps maps;
	enum pm_mapfile_kind *kind;	/* of each mapping that is carried */
	struct pm_pagemap pagemap;
	struct pm_mapfile file;		/* of mapping file_of */
	size_t file_of;
	int mem;			/* /proc/PID/mem */
	int only_mem;			/* process_vm_readv is not to be had */
};

static struct process *
process_of(struct pm_source *source)
{
	return (struct process *)source;
}

/* Say that a system call failed; errno tells. */
static enum pm_status
fail(struct process *process, struct pm_fault *fault, const char *what)
{
	if (errno == ESRCH)
		return pm_fault_set(fault, PM_ERR_SYSTEM,
		    NULL, "process %d died while it was read",
		    (int)process->freeze.pid);
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "process %d: %s: %s", (int)process->freeze.pid, what,
	    strerror(errno));
}

/* Nothing is carried from page on up to the span's end. */
static void
set_gone(struct process *process, size_t at, uint64_t address,
    struct pm_span *span)
{
	uint64_t end = process->region.length;

	while (at < process->maps.count &&
	    (process->source.mapping[at].flags & PM_MAPPING_CARRIED) == 0)
		at++;
	if (at < process->maps.count)
		end = process->maps.map[at].start;
	span->kind = PM_SPAN_GONE;
	span->pages = (end - address) >> process->source.page_shift;
}

/* What begins at address of a carried mapping, by its file alone. */
static enum pm_mapfile_span
look_in_file(struct process *process, size_t at, uint64_t address,
    uint64_t *until)
{
	const struct pm_map *map = &process->maps.map[at];

	if (process->kind[at] == PM_MAPFILE_NONE) {
		*until = map->end;
		return PM_MAPFILE_HOLE;
	}
	if (process->file_of != at) {
		pm_mapfile_close(&process->file);
		pm_mapfile_open(&process->file, process->freeze.through, map);
		process->file_of = at;
	}
	return pm_mapfile_span(&process->file, map,
	    process->source.page_shift, address, until);
}

static enum pm_status
span_of(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *span)
{
	struct process *process = process_of(source);
	uint64_t address = page << source->page_shift, until;
	size_t at = pm_maps_find(&process->maps, address);
	int held = 0;

	(void)region;
	if (at == process->maps.count ||
	    process->maps.map[at].start > address ||
	    (source->mapping[at].flags & PM_MAPPING_CARRIED) == 0) {
		set_gone(process, at, address, span);
		return PM_OK;
	}
	switch (look_in_file(process, at, address, &until)) {
	case PM_MAPFILE_DATA:
		span->kind = PM_SPAN_DATA;
		break;
	case PM_MAPFILE_BEYOND:
		span->kind = PM_SPAN_GONE;
		break;
	case PM_MAPFILE_HOLE:
		/* Private pages cover holes; shared ones are the file's. */
		if (!process->maps.map[at].shared &&
		    pm_pagemap_span(&process->pagemap, address, until, &held,
		    &until) != PM_OK)
			return fail(process, process->source.fault,
			    "/proc/PID/pagemap");
		span->kind = held ? PM_SPAN_DATA : PM_SPAN_ZERO;
	}
	span->pages = (until - address) >> source->page_shift;
	return PM_OK;
}

/* Whole pages from address on; 0 when the first cannot be read. */
static ssize_t
read_memory(struct process *process, const struct pm_map *map,
    uint64_t address, uint8_t *out, size_t size)
{
	struct iovec local = { out, size };
	struct iovec remote = { (void *)(uintptr_t)address, size };
	ssize_t got = -1;

	/*
	 * Only a tracer's view of memory reaches pages without permission to
	 * read.  Where there is permission it would add only memory of
	 * devices, which is to be left alone.
	 */
	if (map->read && !process->only_mem) {
		got = process_vm_readv(process->freeze.through, &local, 1,
		    &remote, 1, 0);
		if (got < 0 && (errno == ENOSYS || errno == EPERM))
			process->only_mem = 1;
	}
	if (!map->read || process->only_mem) {
		do
			got = pread(process->mem, out, size, (off_t)address);
		while (got < 0 && errno == EINTR);
		if (got == 0) {			/* the memory is gone */
			errno = ESRCH;
			return -1;
		}
	}
	if (got < 0 && (errno == EFAULT || errno == EIO))
		return 0;
	return got < 0 ? got
	    : got >> process->source.page_shift << process->source.page_shift;
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	struct process *process = process_of(source);
	uint64_t address = page << source->page_shift;
	uint64_t end = (page + pages) << source->page_shift;

	(void)region;
	*got = 0;
	while (address < end) {
		size_t at = pm_maps_find(&process->maps, address);
		const struct pm_map *map = &process->maps.map[at];
		uint64_t until = end;
		ssize_t bytes;

		if (at == process->maps.count || map->start > address)
			break;
		if (until > map->end)
			until = map->end;
		bytes = read_memory(process, map, address, out,
		    (size_t)(until - address));
		if (bytes < 0)
			return fail(process, fault, "reading memory");
		if (bytes == 0)
			break;
		address += (uint64_t)bytes;
		out += bytes;
		*got += (uint32_t)(bytes >> source->page_shift);
	}
	return PM_OK;
}

static enum pm_status
judge(struct pm_source *source)
{
	struct process *process = process_of(source);

	if (!pm_freeze_holds(&process->freeze)) {
		errno = ESRCH;
		return fail(process, process->source.fault, "freeze");
	}
	source->frozen_us = pm_freeze_end(&process->freeze);
	return PM_OK;
}

static void
close_process(struct pm_source *source)
{
	struct process *process = process_of(source);

	(void)pm_freeze_end(&process->freeze);
	if (process->mem >= 0)
		close(process->mem);
	pm_mapfile_close(&process->file);
	pm_pagemap_close(&process->pagemap);
	pm_maps_free(&process->maps);
	free(process->kind);
	free(source->mapping);
	free(process);
}

static const struct pm_source_ops process_ops = {
	span_of, read_pages, judge, close_process
};

static int
is_chosen(const struct pm_map *map, const char *const *glob)
{
	if (glob == NULL)
		return map->write;
	for (; *glob != NULL; glob++)
		if (pm_maps_match(map, *glob))
			return 1;
	return 0;
}

static uint32_t
flags_of(const struct pm_map *map)
{
	return (map->read ? (uint32_t)PM_MAPPING_READ : 0) |
	    (map->write ? (uint32_t)PM_MAPPING_WRITE : 0) |
	    (map->exec ? (uint32_t)PM_MAPPING_EXEC : 0) |
	    (map->shared ? (uint32_t)PM_MAPPING_SHARED : 0);
}

/* List the mappings, and choose what is carried. */
static enum pm_status
list_mappings(struct process *process, const char *const *glob)
{
	struct pm_source *source = &process->source;
	size_t count;
	enum pm_status status;

	status = pm_maps_read(&process->maps, process->freeze.through,
	    source->fault);
	if (status != PM_OK)
		return status;
	count = process->maps.count;
	if (count > PM_MAPPINGS_MAX)
		return pm_fault_set(source->fault, PM_ERR_REFUSED, NULL,
		    "process %d has more than %u mappings",
		    (int)process->freeze.pid, PM_MAPPINGS_MAX);
	source->mapping = calloc(count + 1, sizeof(source->mapping[0]));
	process->kind = calloc(count + 1, sizeof(process->kind[0]));
	if (source->mapping == NULL || process->kind == NULL)
		return fail(process, process->source.fault, "list of mappings");
	for (size_t at = 0; at < count; at++) {
		const struct pm_map *map = &process->maps.map[at];
		size_t size = strnlen(map->name, PM_MAPPING_NAME_MAX);

		source->mapping[at] = (struct pm_mapping){ map->start,
		    map->end, map->offset, flags_of(map), (uint32_t)size,
		    map->name };
		if (!is_chosen(map, glob))
			continue;
		process->kind[at] = pm_mapfile_kind(process->freeze.through,
		    map);
		if (process->kind[at] == PM_MAPFILE_NONE ||
		    process->kind[at] == PM_MAPFILE_FILE)
			source->mapping[at].flags |= PM_MAPPING_CARRIED;
	}
	source->mappings = count;
	return PM_OK;
}

static unsigned
own_machine(void)
{
#if defined(__x86_64__)
	return EM_X86_64;
#elif defined(__i386__)
	return EM_386;
#elif defined(__aarch64__)
	return EM_AARCH64;
#elif defined(__arm__)
	return EM_ARM;
#elif defined(__riscv)
	return EM_RISCV;
#elif defined(__powerpc64__)
	return EM_PPC64;
#elif defined(__s390x__)
	return EM_S390;
#else
	return EM_NONE;
#endif
}

/* What the program of the process was made for. */
static unsigned
machine_of(pid_t pid)
{
	unsigned char head[20];		/* up to e_machine, with it */
	char path[32];
	int fd, is_elf;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return own_machine();
	is_elf = pm_fd_pread(fd, head, sizeof(head), 0) == PM_OK &&
	    memcmp(head, ELFMAG, SELFMAG) == 0;
	close(fd);
	if (!is_elf)
		return own_machine();
	return head[EI_DATA] == ELFDATA2MSB
	    ? (unsigned)head[18] << 8 | head[19]
	    : (unsigned)head[19] << 8 | head[18];
}

/* The whole address space, whatever part of it is in use today. */
static void
set_region(struct process *process)
{
	struct pm_region *region = &process->region;

	*region = (struct pm_region){ .length = LENGTH,
	    .kind = PM_REGION_PROCESS, .name = "process",
	    .machine = machine_of(process->freeze.through),
	    .key = pm_hash_key("process", strlen("process")) };
	/* The kernel's own page, [vsyscall], is above any of them. */
	for (size_t at = 0; at < process->maps.count; at++)
		if (process->maps.map[at].end > LENGTH &&
		    process->maps.map[at].end <= LENGTH_LARGE)
			region->length = LENGTH_LARGE;
	process->source.regions = 1;
	process->source.region = region;
}

static enum pm_status
open_memory(struct process *process)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem",
	    (int)process->freeze.through);
	process->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (process->mem < 0)
		return fail(process, process->source.fault, path);
	return pm_pagemap_open(&process->pagemap, process->freeze.through,
	    PM_PAGEMAP_ANY, process->source.page_shift,
	    process->source.fault);
}

static struct process *
new_process(struct pm_fault *fault)
{
	struct process *process = calloc(1, sizeof(*process));
	long page_size = sysconf(_SC_PAGESIZE);

	if (process == NULL)
		return NULL;
	process->source.ops = &process_ops;
	process->source.fault = fault;
	process->mem = process->pagemap.fd = process->file.fd = -1;
	process->file_of = SIZE_MAX;
	while (1L << process->source.page_shift < page_size)
		process->source.page_shift++;
	return process;
}

enum pm_status
pm_source_open_process(struct pm_source **source, pid_t pid,
    const struct pm_process_options *options, struct pm_fault *fault)
{
	struct process *process = new_process(fault);
	enum pm_status status;

	*source = NULL;
	if (process == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	status = pm_freeze_begin(&process->freeze, pid, PM_FREEZE_MS, fault);
	if (status == PM_OK)
		status = list_mappings(process, options->glob);
	if (status == PM_OK) {
		set_region(process);
		status = open_memory(process);
	}
	*source = &process->source;
	if (status == PM_OK && options->spool != NULL)
		status = pm_source_spool(source, options->spool, fault);
	if (status != PM_OK) {
		(*source)->ops->close(*source);
		*source = NULL;
	}
	return status;
}
