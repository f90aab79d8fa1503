/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memmem */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "restorer.h"

#define MAPPING_MAX	(UINT64_C(64) << 20)
#define PROCESS_MAX	(UINT64_C(256) << 20)
#define CHUNK		(256u << 10)
#define CODE_MAX	9u

/* mov $15, %rax or %eax, then syscall, as x86_64 has them. */
static const struct code {
	size_t size;
	uint8_t bytes[CODE_MAX];
} codes[] = {
	{ 9, { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 } },
	{ 7, { 0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05 } },
};

#define CODES	(sizeof(codes) / sizeof(codes[0]))

struct search {
	int mem;
	uint64_t left;		/* bytes that may still be read */
	uint8_t *chunk;
	struct pm_restorer *found;
};

static int
search_chunk(struct search *search, uint64_t address, size_t size)
{
	for (size_t at = 0; at < CODES; at++) {
		const uint8_t *code = memmem(search->chunk, size,
		    codes[at].bytes, codes[at].size);

		if (code == NULL)
			continue;
		address += (uint64_t)(code - search->chunk);
		search->found->address = address;
		search->found->behind = address + codes[at].size;
		return 1;
	}
	return 0;
}

static int
search_mapping(struct search *search, const struct pm_map *map)
{
	uint64_t at = map->start, end = map->end;

	if (end - at > MAPPING_MAX)
		end = at + MAPPING_MAX;
	while (at < end && search->left > 0) {
		size_t size = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
		ssize_t got = pread(search->mem, search->chunk, size,
		    (off_t)at);

		/* What cannot be read will hardly be executed. */
		if (got < (ssize_t)CODE_MAX)
			return 0;
		if (search_chunk(search, at, (size_t)got))
			return 1;
		search->left -= (uint64_t)got < search->left ? (uint64_t)got
		    : search->left;
		/* The next one begins with what may be half of the code. */
		at += (uint64_t)got;
		if (at < end)
			at -= CODE_MAX - 1;
	}
	return 0;
}

static int
is_library(const struct pm_map *map)
{
	static const char *const names[] = { "libc.so", "libc-", "ld-musl-",
	    "libc.musl-" };
	const char *name = strrchr(map->name, '/');

	for (size_t at = 0; name != NULL &&
	    at < sizeof(names) / sizeof(names[0]); at++)
		if (strncmp(name + 1, names[at], strlen(names[at])) == 0)
			return 1;
	return 0;
}

static int
is_code(const struct pm_map *map)
{
	/* Behind half of all addresses there is only what the kernel has. */
	return map->exec && !map->write && map->end < UINT64_C(1) << 63;
}

static void
search_all(struct search *search, const struct pm_maps *maps)
{
	for (int library = 1; library >= 0; library--)
		for (size_t at = 0; at < maps->count; at++)
			if (is_code(&maps->map[at]) &&
			    is_library(&maps->map[at]) == library &&
			    search_mapping(search, &maps->map[at]))
				return;
}

enum pm_status
pm_restorer_find(struct pm_restorer *restorer, pid_t pid,
    const struct pm_maps *maps, struct pm_fault *fault)
{
	struct search search = { .left = PROCESS_MAX, .found = restorer };
	char path[32];

	*restorer = (struct pm_restorer){ .address = 0 };
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	search.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (search.mem < 0)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	search.chunk = malloc(CHUNK);
	if (search.chunk != NULL)
		search_all(&search, maps);
	else
		(void)pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	close(search.mem);
	free(search.chunk);
	return search.chunk == NULL ? PM_ERR_SYSTEM : PM_OK;
}

int
pm_restorer_is_in(const struct pm_restorer *restorer, int mem)
{
	uint64_t size = restorer->behind - restorer->address;
	uint8_t bytes[CODE_MAX];

	if (restorer->address == 0 || size > sizeof(bytes) || pread(mem, bytes,
	    (size_t)size, (off_t)restorer->address) != (ssize_t)size)
		return 0;
	for (size_t at = 0; at < CODES; at++)
		if (codes[at].size == size &&
		    memcmp(codes[at].bytes, bytes, (size_t)size) == 0)
			return 1;
	return 0;
}
