/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* syscall, ppoll */
#include "injected.h"

static void
test_kind(child_body *body, int feed)
{
	struct child child = target(body, feed);
	int good = 0, uffd = -1, before;

	if (body == leave_first)
		await_left(child.pid);
	before = descriptors(child.pid);
	for (int i = 0; i < 30; i++) {
		child_nap(1);
		if (inject(child.pid, &uffd) == PM_OK)
			good += is_of_use(uffd) && is_well();
		else
			printf("# %s\n", fault.text);
		close(uffd);
	}
	CHECK(good == 30);
	CHECK(shared->early == 0);
	CHECK(descriptors(child.pid) == before);
	CHECK(body == leave_first ||
	    child_status(child.pid, "TracerPid:", NULL) == 0);
	done_with(&child);
}

static void
sleep_once(int in, int out)
{
	struct timespec nap = { .tv_nsec = 300000000 };
	uint64_t began;

	child_tell(out, "", 1);
	for (;;) {
		began = now_ns();
		if (nanosleep(&nap, NULL) != 0)
			shared->early++;
		began = now_ns() - began;
		if (began < 300000000 || began > UINT64_C(5000000000))
			shared->bad++;
		shared->count++;
		if (read(in, &(char){ 0 }, 1) == 0)
			return;
	}
}

/* A sleep that is disturbed often is no longer and no shorter for it. */
static void
test_sleep(void)
{
	struct child child = target(sleep_once, 1);
	int uffd, good = 0, tries = 0;

	while (shared->count == 0) {
		tries++;
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
		child_nap(2);
	}
	printf("# %d times\n", tries);
	CHECK(tries > 1 && good == tries);
	CHECK(shared->early == 0 && shared->bad == 0);
	done_with(&child);
}

static void
test_stopped(void)
{
	struct child child = target(spin_with_state, 0);
	unsigned long before;
	char state = 0;
	int uffd, status;

	CHECK(is_well());
	kill(child.pid, SIGSTOP);
	CHECK(waitpid(child.pid, &status, WUNTRACED) == child.pid);
	before = shared->count;
	CHECK(inject(child.pid, &uffd) == PM_OK && is_of_use(uffd));
	close(uffd);
	for (int tries = 0; tries < 1000 && state != 'T'; tries++) {
		child_status(child.pid, "State:", &state);
		child_nap(1);
	}
	CHECK(state == 'T' && shared->count == before);
	kill(child.pid, SIGCONT);
	CHECK(is_well());
	done_with(&child);
}

static void
tell_pages(int in, int out)
{
	static char pages[1u << 20] __attribute__((aligned(4096)));
	uint64_t at = (uintptr_t)pages;

	memset(pages, 1, sizeof(pages));
	child_tell(out, "", 1);
	child_tell(out, &at, sizeof(at));
	while (child_hear(in, &(char){ 0 }, 1)) {
		memset(pages, 2, sizeof(pages));
		shared->count++;
	}
}

/* It is of the memory of that process, and of no other. */
static void
test_use(void)
{
	struct child child = target(tell_pages, 1);
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_WP };
	uint64_t at = 0;
	int uffd, done;

	CHECK(child_hear(child.from, &at, sizeof(at)));
	CHECK(inject(child.pid, &uffd) == PM_OK);
	CHECK((fcntl(uffd, F_GETFD) & FD_CLOEXEC) != 0 &&
	    (fcntl(uffd, F_GETFL) & O_NONBLOCK) != 0);
	range.range.start = at;
	range.range.len = 1u << 20;
	done = is_of_use(uffd) && ioctl(uffd, UFFDIO_REGISTER, &range) == 0;
	CHECK(done);
	CHECK(is_well());
	close(uffd);
	CHECK(is_well());
	done_with(&child);
}

int
main(void)
{
	if (!prepare()) {
		int uffd;

		CHECK(pm_inject_can() ||
		    (inject(getpid(), &uffd) == PM_ERR_REFUSED &&
		    says("this build")));
		return check_done();
	}
	test_kind(spin_with_state, 0);
	test_kind(wait_long, 0);
	test_kind(read_bytes, 1);
	test_kind(wait_for_events, 1);
	test_kind(spin_in_threads, 0);
	test_kind(leave_first, 0);
	test_sleep();
	test_stopped();
	test_use();
	return check_done();
}
