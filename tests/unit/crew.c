/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ring's test does not show: threads that wait, and that are none. */
#define _GNU_SOURCE		/* RTLD_NEXT */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"
#include "crew.h"

#define ITEMS	8u

static struct {
	int input[2];			/* a pipe; next reads a byte of it */
	unsigned put;			/* items so far */
	unsigned fails_at;		/* of put */
	unsigned in_order;
} run;

static unsigned threads_allowed = UINT32_MAX;

#ifndef __SANITIZE_THREAD__
/* In the place of the C library's, which it asks as long as it may. */
int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
	    void *);

	if (threads_allowed == 0)
		return EAGAIN;
	threads_allowed--;
	*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	return real(thread, attr, start, arg);
}
#endif

static enum pm_status
next(void *arg, void *item)
{
	ssize_t got;

	(void)arg;
	do
		got = read(run.input[0], item, 1);
	while (got < 0 && errno == EINTR);
	return got == 1 ? PM_OK : got == 0 ? PM_END : PM_ERR_READ;
}

static enum pm_status
step(void *arg, void *item, void *state, struct pm_fault *fault)
{
	uint8_t *byte = item;

	(void)arg;
	(void)state;
	(void)fault;
	*byte ^= 0x80;
	return PM_OK;
}

static enum pm_status
put(void *arg, void *item)
{
	const uint8_t *byte = item;

	(void)arg;
	if (run.put == run.fails_at) {
		errno = ENOSPC;
		return PM_ERR_WRITE;
	}
	run.in_order += *byte == (uint8_t)(run.put ^ 0x80);
	run.put++;
	return PM_OK;
}

/* So many bytes come, and then the end, or nothing more. */
static enum pm_status
go(unsigned threads, unsigned bytes, int ends)
{
	static uint8_t byte[ITEMS];
	void *item[ITEMS];
	struct pm_crew crew = { next, step, put, NULL, item, ITEMS };
	struct pm_crew_failure failure;
	enum pm_status status;

	for (unsigned i = 0; i < ITEMS; i++)
		item[i] = &byte[i];
	run.put = run.in_order = 0;
	if (pipe(run.input) != 0)
		return PM_ERR_SYSTEM;
	for (unsigned i = 0; i < bytes; i++) {
		uint8_t next_byte = (uint8_t)i;

		if (write(run.input[1], &next_byte, 1) != 1)
			return PM_ERR_SYSTEM;
	}
	if (ends)
		close(run.input[1]);
	status = pm_crew_run(&crew, NULL, threads, &failure);
	if (status != PM_OK && failure.part != PM_CREW_PUT)
		status = PM_ERR_SYSTEM;
	close(run.input[0]);
	if (!ends)
		close(run.input[1]);
	return status;
}

static int
is_whole(void)
{
	return run.put == 100 && run.in_order == 100;
}

int
main(void)
{
	unsigned good = 0;

	/* Whoever waits for what never comes is not waited for. */
	alarm(60);
	run.fails_at = 20;
	for (unsigned i = 0; i < 50; i++)
		good += go(2 + i % 4, 30, 0) == PM_ERR_WRITE &&
		    errno == ENOSPC && run.put == 20 && run.in_order == 20;
	CHECK(good == 50);
	CHECK(go(1, 30, 1) == PM_ERR_WRITE && run.put == 20);

	/* With as many threads as there can be. */
	run.fails_at = UINT32_MAX;
	for (unsigned threads = 1; threads <= 8; threads += 3) {
		CHECK(go(threads, 100, 1) == PM_OK && is_whole());
		for (threads_allowed = 0; threads_allowed < 3;) {
			unsigned allowed = threads_allowed;

			CHECK(go(threads, 100, 1) == PM_OK && is_whole());
			threads_allowed = allowed + 1;
		}
		threads_allowed = UINT32_MAX;
	}
	return check_done();
}
