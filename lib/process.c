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
#include "process.h"

#define LENGTH		(UINT64_C(1) << 47)	/* of most address spaces */
#define LENGTH_LARGE	(UINT64_C(1) << 56)

enum pm_status
pm_process_fail(const struct pm_process *process, struct pm_fault *fault,
    const char *what)
{
	if (errno == ESRCH)
		return pm_fault_set(fault, PM_ERR_SYSTEM,
		    NULL, "process %d died while it was read",
		    (int)process->pid);
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
	    "process %d: %s: %s", (int)process->pid, what,
	    strerror(errno));
}

/* Nothing is carried from page on up to the span's end. */
static void
set_gone(struct pm_process *process, size_t at, uint64_t address,
    struct pm_span *span)
{
	uint64_t end = process->region.length;

	while (at < process->maps.count &&
	    (process->mapping[at].flags & PM_MAPPING_CARRIED) == 0)
		at++;
	if (at < process->maps.count)
		end = process->maps.map[at].start;
	span->kind = PM_SPAN_GONE;
	span->pages = (end - address) >> process->page_shift;
}

/* What begins at address of a carried mapping, by its file alone. */
static enum pm_mapfile_span
look_in_file(struct pm_process *process, size_t at, uint64_t address,
    uint64_t *until)
{
	const struct pm_map *map = &process->maps.map[at];

	if (process->kind[at] == PM_MAPFILE_NONE) {
		*until = map->end;
		return PM_MAPFILE_HOLE;
	}
	if (process->file_of != at) {
		pm_mapfile_close(&process->file);
		pm_mapfile_open(&process->file, process->through, map);
		process->file_of = at;
	}
	return pm_mapfile_span(&process->file, map,
	    process->page_shift, address, until);
}

enum pm_status
pm_process_span(struct pm_process *process, uint64_t page,
    struct pm_span *span)
{
	uint64_t address = page << process->page_shift, until;
	size_t at = pm_maps_find(&process->maps, address);
	int held = 0;

	if (at == process->maps.count ||
	    process->maps.map[at].start > address ||
	    (process->mapping[at].flags & PM_MAPPING_CARRIED) == 0) {
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
			return pm_process_fail(process, process->fault,
			    "/proc/PID/pagemap");
		span->kind = held ? PM_SPAN_DATA : PM_SPAN_ZERO;
	}
	span->pages = (until - address) >> process->page_shift;
	return PM_OK;
}

/* Whole pages from address on; 0 when the first cannot be read. */
static ssize_t
read_memory(struct pm_process *process, const struct pm_map *map,
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
		got = process_vm_readv(process->through, &local, 1,
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
	    : got >> process->page_shift << process->page_shift;
}

enum pm_status
pm_process_read(struct pm_process *process, uint64_t page, uint32_t pages,
    uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	uint64_t address = page << process->page_shift;
	uint64_t end = (page + pages) << process->page_shift;

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
			return pm_process_fail(process, fault,
			    "reading memory");
		if (bytes == 0)
			break;
		address += (uint64_t)bytes;
		out += bytes;
		*got += (uint32_t)(bytes >> process->page_shift);
	}
	return PM_OK;
}

/* Those that the kernel reads in one go; how many. */
static unsigned
read_scattered(struct pm_process *process, const uint64_t *page,
    unsigned pages, uint8_t *out)
{
	struct iovec local = { out, (size_t)pages << process->page_shift };
	struct iovec remote[64];
	unsigned long count = 0;
	ssize_t got;

	for (unsigned i = 0; i < pages; i++)
		if (i > 0 && page[i] == page[i - 1] + 1)
			remote[count - 1].iov_len +=
			    (size_t)1 << process->page_shift;
		else
			remote[count++] = (struct iovec){ (void *)(uintptr_t)
			    (page[i] << process->page_shift),
			    (size_t)1 << process->page_shift };
	got = process_vm_readv(process->through, &local, 1, remote, count, 0);
	return got < 0 ? 0 : (unsigned)(got >> process->page_shift);
}

enum pm_status
pm_process_fetch(struct pm_process *process, const uint64_t *page,
    unsigned pages, uint8_t *out, uint64_t *got, struct pm_fault *fault)
{
	enum pm_status status = PM_OK;
	unsigned at = 0;

	*got = 0;
	while (at < pages && status == PM_OK) {
		uint8_t *to = out + ((size_t)at << process->page_shift);
		uint32_t one = 0;

		if (!process->only_mem)
			one = read_scattered(process, page + at, pages - at,
			    to);
		/* What stands in the way is tried by itself. */
		if (one == 0)
			status = pm_process_read(process, page[at], 1, to,
			    &one, fault);
		for (unsigned i = 0; i < one; i++)
			*got |= UINT64_C(1) << (at + i);
		at += one > 0 ? one : 1;
	}
	return status;
}

int
pm_process_is_same(const struct pm_process *process)
{
	char byte;

	/* The memory behind the descriptor ends with the program. */
	for (size_t at = 0; at < process->maps.count; at++) {
		ssize_t got = pread(process->mem, &byte, 1,
		    (off_t)process->maps.map[at].start);

		if (got == 1)
			return 1;
		if (got == 0)
			return 0;
	}
	return 0;
}

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

/*
 * The whole address space, whatever part of it is in use today.  What is
 * above it is the kernel's own page, [vsyscall].
 */
static enum pm_status
set_region(struct pm_process *process)
{
	uint64_t length = LENGTH;

	for (size_t at = 0; at < process->maps.count; at++)
		if (process->maps.map[at].end > LENGTH &&
		    process->maps.map[at].end <= LENGTH_LARGE)
			length = LENGTH_LARGE;
	/* A stream has said how long it is when it lists mappings again. */
	if (process->region.length != 0 && length > process->region.length)
		return pm_fault_set(process->fault, PM_ERR_REFUSED, NULL,
		    "process %d begins to map memory above 128 TiB",
		    (int)process->pid);
	if (process->region.length == 0)
		process->region.length = length;
	return PM_OK;
}

static void
unlist(struct pm_process *process)
{
	pm_mapfile_close(&process->file);
	process->file_of = SIZE_MAX;
	pm_maps_free(&process->maps);
	free(process->mapping);
	free(process->kind);
	process->mapping = NULL;
	process->kind = NULL;
}

enum pm_status
pm_process_list(struct pm_process *process, const char *const *glob)
{
	struct pm_fault fault = { 0 };
	size_t count;
	enum pm_status status;

	unlist(process);
	pm_process_forget(process);
	status = pm_maps_read(&process->maps, process->through, &fault);
	if (status != PM_OK) {
		errno = fault.error == ENOENT ? ESRCH : fault.error;
		return pm_process_fail(process, process->fault,
		    "list of mappings");
	}
	count = process->maps.count;
	if (count > PM_MAPPINGS_MAX)
		return pm_fault_set(process->fault, PM_ERR_REFUSED, NULL,
		    "process %d has more than %u mappings",
		    (int)process->pid, PM_MAPPINGS_MAX);
	process->mapping = calloc(count + 1, sizeof(process->mapping[0]));
	process->kind = calloc(count + 1, sizeof(process->kind[0]));
	if (process->mapping == NULL || process->kind == NULL)
		return pm_process_fail(process, process->fault,
		    "list of mappings");
	for (size_t at = 0; at < count; at++) {
		const struct pm_map *map = &process->maps.map[at];
		size_t size = strnlen(map->name, PM_MAPPING_NAME_MAX);

		process->mapping[at] = (struct pm_mapping){ map->start,
		    map->end, map->offset, flags_of(map), (uint32_t)size,
		    map->name };
		if (!is_chosen(map, glob))
			continue;
		process->kind[at] = pm_mapfile_kind(process->through, map);
		if (process->kind[at] == PM_MAPFILE_NONE ||
		    process->kind[at] == PM_MAPFILE_FILE)
			process->mapping[at].flags |= PM_MAPPING_CARRIED;
	}
	return set_region(process);
}

void
pm_process_forget(struct pm_process *process)
{
	process->pagemap.from = process->pagemap.to = 0;
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

enum pm_status
pm_process_open(struct pm_process *process, pid_t pid, pid_t through,
    struct pm_fault *fault)
{
	long page_size = sysconf(_SC_PAGESIZE);
	char path[32];

	*process = (struct pm_process){ .pid = pid, .through = through,
	    .fault = fault, .mem = -1, .pagemap = { .fd = -1 },
	    .file = { .fd = -1 }, .file_of = SIZE_MAX };
	while (1L << process->page_shift < page_size)
		process->page_shift++;
	process->region = (struct pm_region){ .kind = PM_REGION_PROCESS,
	    .name = "process", .machine = machine_of(through),
	    .key = pm_hash_key("process", strlen("process")) };
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)through);
	process->mem = open(path, O_RDONLY | O_CLOEXEC);
	if (process->mem < 0)
		return pm_process_fail(process, fault, path);
	return pm_pagemap_open(&process->pagemap, through, PM_PAGEMAP_ANY,
	    process->page_shift, fault);
}

void
pm_process_close(struct pm_process *process)
{
	if (process->mem >= 0)
		close(process->mem);
	process->mem = -1;
	unlist(process);
	pm_pagemap_close(&process->pagemap);
}
