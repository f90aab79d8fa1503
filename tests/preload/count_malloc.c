/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * count_malloc - for LD_PRELOAD: at the end, write how often the program
 * asked for memory to the file that COUNT_MALLOC names.
 *
 * cc -shared -fPIC -o count_malloc.so count_malloc.c -ldl
 */
#define _GNU_SOURCE		/* RTLD_NEXT */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static int (*next_memalign)(void **, size_t, size_t);
static void *(*next_aligned)(size_t, size_t);
static atomic_ulong calls;

/* What dlsym itself asks for before there is a next. */
static _Alignas(16) char early[4096];
static size_t early_used;

static void *
early_memory(size_t size)
{
	void *memory = early + early_used;

	early_used += (size + 15) & ~(size_t)15;
	return early_used <= sizeof(early) ? memory : NULL;
}

/* A pointer to a function, which C has no cast for from dlsym's. */
static void
find(void *function, const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	memcpy(function, &found, sizeof(found));
}

static __attribute__((constructor)) void
find_all(void)
{
	find(&next_malloc, "malloc");
	find(&next_calloc, "calloc");
	find(&next_realloc, "realloc");
	find(&next_memalign, "posix_memalign");
	find(&next_aligned, "aligned_alloc");
}

static __attribute__((destructor)) void
tell(void)
{
	const char *path = getenv("COUNT_MALLOC");
	unsigned long told = calls;
	FILE *file = path != NULL ? fopen(path, "w") : NULL;

	if (file == NULL)
		return;
	fprintf(file, "%lu\n", told);
	fclose(file);
}

void *
malloc(size_t size)
{
	calls++;
	return next_malloc != NULL ? next_malloc(size) : early_memory(size);
}

void *
calloc(size_t count, size_t size)
{
	calls++;
	return next_calloc != NULL ? next_calloc(count, size)
	    : early_memory(count * size);
}

void *
realloc(void *memory, size_t size)
{
	calls++;
	return next_realloc(memory, size);
}

int
posix_memalign(void **memory, size_t alignment, size_t size)
{
	calls++;
	return next_memalign(memory, alignment, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	calls++;
	return next_aligned(alignment, size);
}
