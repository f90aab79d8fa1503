/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whoever injects dies at every step of it, and the process that it is done
 * to goes on; or that dies, and whoever injects is told.
 */
#define _GNU_SOURCE		/* syscall, ppoll */
#include "injected.h"
#include "struck.h"

/* The wait status of a process that injects, and may die at a step. */
static int
inject_and_die(pid_t pid, int at, int behind)
{
	int uffd, status = -1;
	pid_t tracer;

	fflush(stdout);
	tracer = fork();
	if (tracer < 0)
		child_fail("fork");
	if (tracer == 0) {
		plan_strike(getpid(), SIGKILL, at, behind);
		status = inject(pid, &uffd);
		if (status != PM_OK)
			fprintf(stderr, "# %s\n", fault.text);
		_exit(status == PM_OK && is_of_use(uffd) ? 0 : 1);
	}
	while (waitpid(tracer, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void
test_tracer(const char *what, child_body *body, int feed)
{
	int steps = 0, survived = 0, finished = 0, status;
	struct child child = target(body, feed);

	if (body == leave_first)
		await_left(child.pid);
	while (!finished && steps < 200) {
		steps++;
		for (int behind = 0; behind < 2; behind++) {
			/* Let it get into what it does. */
			child_nap(1);
			status = inject_and_die(child.pid, steps, behind);
			finished = WIFEXITED(status);
			survived += is_well();
		}
	}
	printf("# %s: %d steps, %lu waits ended early\n", what, steps - 1,
	    shared->early);
	CHECK(steps > 15 && steps < 200);
	CHECK(survived == 2 * steps);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(waitpid(child.pid, &status, WNOHANG) == 0);
	done_with(&child);
}

#ifdef __x86_64__
/* The tiles of AMX, which threads have only when they ask for them. */
static int
has_tiles(void)
{
	return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */,
	    18) == 0;
}

static void
spin_with_tiles(int in, int out)
{
	static struct {
		uint8_t palette, row, none[14];
		uint16_t columns[16];
		uint8_t rows[16];
	} __attribute__((aligned(64))) config = { .palette = 1,
	    .columns = { 64, 64 }, .rows = { 16, 16 } };
	static uint8_t pattern[1024], result[1024];

	(void)in;
	if (!has_tiles())
		_exit(1);
	child_tell(out, "", 1);
	for (unsigned round = 0;; round++) {
		memset(pattern, (int)round, sizeof(pattern));
		pattern[1000] = 1;
		memset(result, 0, sizeof(result));
		__asm__ volatile(
		    "ldtilecfg (%[config])\n\t"
		    "movl $64, %%eax\n\t"
		    "tileloadd (%[in], %%rax), %%tmm1\n\t"
		    "movl $200000, %%ecx\n"
		    "1:\tdecl %%ecx\n\t"
		    "jnz 1b\n\t"
		    "tilestored %%tmm1, (%[out], %%rax)\n\t"
		    : : [config] "r" (&config), [in] "r" (pattern),
		    [out] "r" (result) : "rax", "rcx", "cc", "memory");
		if (memcmp(pattern, result, sizeof(pattern)) != 0)
			shared->bad++;
		shared->count++;
	}
}

/* They have been in use, and the kernel has room for them since. */
static void
spin_after_tiles(int in, int out)
{
	static struct {
		uint8_t palette, row, none[62];
	} __attribute__((aligned(64))) config = { .palette = 1 };

	if (!has_tiles())
		_exit(1);
	__asm__ volatile("ldtilecfg (%0)\n\ttilerelease"
	    : : "r" (&config) : "memory");
	spin_with_state(in, out);
}

static void
test_tiles(void)
{
	int status;
	pid_t pid = fork();

	/* Asked for by a process, they are there for all that it makes. */
	if (pid == 0)
		_exit(!has_tiles());
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		printf("# no tiles\n");
		return;
	}
	test_tracer("spinning with tiles", spin_with_tiles, 0);
	test_tracer("spinning after tiles", spin_after_tiles, 0);
}
#else
static void
test_tiles(void)
{
}
#endif

/* At any moment, not at a call only. */
static void
test_any_moment(void)
{
	struct child child = target(spin_with_state, 0);
	int survived = 0, killed = 0, status;

	for (int i = 0; i < 300; i++) {
		struct timespec nap = { .tv_nsec = 200000 + i * 5000 };
		pid_t tracer = fork();
		int uffd;

		if (tracer == 0) {
			for (;;)
				if (inject(child.pid, &uffd) == PM_OK)
					close(uffd);
		}
		nanosleep(&nap, NULL);
		kill(tracer, SIGKILL);
		killed += waitpid(tracer, &status, 0) == tracer &&
		    WIFSIGNALED(status);
		survived += is_well();
	}
	CHECK(killed == 300 && survived == 300);
	done_with(&child);
}

static void
test_target(void)
{
	int told = 0, runs = 0, uffd, status;

	for (int at = 1; at < 200; at++) {
		struct child child = target(spin_with_state, 0);

		plan_strike(child.pid, SIGKILL, at, at % 2);
		status = inject(child.pid, &uffd);
		plan.at = 0;
		if (uffd >= 0)
			close(uffd);
		kill(child.pid, SIGKILL);
		/* Its end is still there for its parent. */
		told += WIFSIGNALED(child_end(&child));
		runs++;
		if (plan.step < at)
			break;
		/* As it is let go nothing can fail any more. */
		if (status != PM_ERR_SYSTEM && at < plan.step - 2) {
			printf("# step %d: %d %s\n", at, status, fault.text);
			told--;
		}
	}
	CHECK(runs > 15 && told == runs);
}

int
main(void)
{
	if (!prepare()) {
		printf("1..0 # SKIP needs x86_64 and userfaultfd\n");
		return 0;
	}
	test_tracer("spinning", spin_with_state, 0);
	test_tiles();
	test_tracer("waiting", wait_long, 0);
	test_tracer("reading", read_bytes, 1);
	test_tracer("events", wait_for_events, 1);
	test_tracer("threads", spin_in_threads, 0);
	test_tracer("without its first thread", leave_first, 0);
	test_any_moment();
	test_target();
	return check_done();
}
