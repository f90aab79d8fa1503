/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frozen.h - children that count, and whether they do.
 */
#ifndef FROZEN_H
#define FROZEN_H

#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"
#include "child.h"
#include "freeze.h"

static volatile struct {
	unsigned long count;		/* grows as the child runs */
	unsigned long signals;
	unsigned long threads;
	pid_t tid;
	pid_t grandchild;
} *shared;

static struct pm_fault fault;

static inline enum pm_status
freeze(struct pm_freeze *frozen, pid_t pid, unsigned ms)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_freeze_begin(frozen, pid, ms, &fault);
}

static inline int
says(const char *words)
{
	if (strstr(fault.text, words) != NULL)
		return 1;
	printf("# %s\n", fault.text);
	return 0;
}

/* True when the child counts within five seconds. */
static inline int
runs(void)
{
	unsigned long before = shared->count;

	for (int tries = 0; tries < 5000 && shared->count == before; tries++)
		child_nap(1);
	return shared->count != before;
}

static inline int
stands(void)
{
	unsigned long before = shared->count;

	child_nap(20);
	return shared->count == before;
}

static inline int
ended_well(struct child *child)
{
	return child_end(child) == 0;
}

static inline void *
count_forever(void *unused)
{
	(void)unused;
	for (;;)
		shared->count++;
	return NULL;
}

static inline void
spin(int in, int out)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, count_forever, NULL);
	child_tell(out, "", 1);
	child_linger(in);
}

static inline void
prepare(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		child_fail("mmap");
}

#endif /* FROZEN_H */
