/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, pipe2, sigqueue */
#include "frozen.h"

/* What this process has as a child it can still wait for. */
static void
test_killed(void)
{
	struct child child = child_start(spin);
	struct pm_freeze frozen;
	char byte;
	int status;

	CHECK(child_hear(child.from, &byte, 1));
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	CHECK(pm_freeze_holds(&frozen));
	kill(child.pid, SIGKILL);
	CHECK(!pm_freeze_holds(&frozen));
	pm_freeze_end(&frozen);
	status = child_end(&child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
have_child(int in, int out)
{
	struct child child = child_start(spin);
	int status;
	char byte;

	(void)in;
	child_hear(child.from, &byte, 1);
	shared->grandchild = child.pid;
	child_tell(out, "", 1);
	/* Its parent must hear of its death, though another traced it. */
	if (waitpid(child.pid, &status, 0) != child.pid ||
	    !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		_exit(1);
}

static void
test_killed_grandchild(void)
{
	struct child child = child_start(have_child);
	struct pm_freeze frozen;
	char byte;

	CHECK(child_hear(child.from, &byte, 1));
	CHECK(freeze(&frozen, shared->grandchild, 10000) == PM_OK);
	kill(shared->grandchild, SIGKILL);
	for (int tries = 0; tries < 1000 && pm_freeze_holds(&frozen); tries++)
		child_nap(1);
	child_nap(20);
	pm_freeze_end(&frozen);
	CHECK(ended_well(&child));
}

static void
freeze_and_wait(int in, int out)
{
	struct pm_freeze frozen;

	if (freeze(&frozen, shared->grandchild, 10000) == PM_OK)
		child_tell(out, "", 1);
	child_linger(in);
}

static void
test_tracer_killed(void)
{
	struct child child = child_start(spin), tracer;
	struct pm_freeze frozen;
	char byte;

	CHECK(child_hear(child.from, &byte, 1));
	shared->grandchild = child.pid;
	tracer = child_start(freeze_and_wait);
	CHECK(child_hear(tracer.from, &byte, 1) && stands());
	CHECK(freeze(&frozen, child.pid, 100) == PM_ERR_SYSTEM);
	CHECK(says("may not be traced: process ") && says(" does already"));
	kill(tracer.pid, SIGKILL);
	CHECK(WIFSIGNALED(child_end(&tracer)));
	CHECK(runs());
	CHECK(ended_well(&child));
}

/* The parent of a vfork sleeps so that nothing but a kill wakes it. */
static void
sleep_deeply(int in, int out)
{
	pid_t pid;

	child_tell(out, "", 1);
	pid = (pid_t)syscall(SYS_vfork);
	if (pid == 0) {
		syscall(SYS_read, in, &fault, 1);
		syscall(SYS_exit, 0);
	}
	child_tell(out, "", 1);
	child_linger(in);
}

static void
fail_to_freeze(int in, int out)
{
	struct pm_freeze frozen;
	char good = freeze(&frozen, shared->grandchild, 100) ==
	    PM_ERR_SYSTEM && says("cannot be stopped: its thread") &&
	    frozen.threads == 0;

	(void)in;
	child_tell(out, &good, 1);
}

static void
test_deep_sleep(void)
{
	struct child child = child_start(sleep_deeply), tracer;
	char byte, good = 0, state = 0;

	CHECK(child_hear(child.from, &byte, 1));
	for (int tries = 0; tries < 5000 && state != 'D'; tries++) {
		child_nap(1);
		child_status(child.pid, "State:", &state);
	}
	shared->grandchild = child.pid;
	tracer = child_start(fail_to_freeze);
	CHECK(child_hear(tracer.from, &good, 1) && good);
	CHECK(ended_well(&tracer));
	CHECK(child_tell(child.to, "x", 1));
	CHECK(child_hear(child.from, &byte, 1));
	CHECK(ended_well(&child));
}

static void
freeze_without_right(int in, int out)
{
	struct pm_freeze frozen;
	char good;

	(void)in;
	if (setgid(65534) != 0 || setuid(65534) != 0)
		_exit(1);
	good = freeze(&frozen, shared->grandchild, 100) == PM_ERR_SYSTEM &&
	    says("may not be traced: Operation not permitted");
	child_tell(out, &good, 1);
}

static void
test_refusals(void)
{
	struct pm_freeze frozen;
	struct child child = child_start(spin), other;
	siginfo_t gone;
	char byte, good = 0;

	CHECK(child_hear(child.from, &byte, 1));
	CHECK(freeze(&frozen, getpid(), 100) == PM_ERR_REFUSED);
	CHECK(says("is this one"));
	CHECK(freeze(&frozen, 0, 100) == PM_ERR_SYSTEM);
	CHECK(says("process 0 does not exist"));
	if (geteuid() == 0) {
		shared->grandchild = child.pid;
		other = child_start(freeze_without_right);
		CHECK(child_hear(other.from, &good, 1) && good);
		CHECK(ended_well(&other));
		CHECK(runs());
	} else
		printf("ok %d # SKIP needs root\n", ++check_run);
	if (child_status(2, "Kthread:", NULL) == 1) {
		CHECK(freeze(&frozen, 2, 100) == PM_ERR_REFUSED);
		CHECK(says("process 2 has no memory"));
	} else
		printf("ok %d # SKIP process 2 is no kernel thread\n",
		    ++check_run);
	kill(child.pid, SIGKILL);
	CHECK(waitid(P_PID, (id_t)child.pid, &gone, WEXITED | WNOWAIT) == 0);
	CHECK(freeze(&frozen, child.pid, 100) == PM_ERR_REFUSED);
	CHECK(says("has no memory"));
	CHECK(WIFSIGNALED(child_end(&child)));
	CHECK(freeze(&frozen, child.pid, 100) == PM_ERR_SYSTEM);
	CHECK(says("does not exist"));
}

int
main(void)
{
	prepare();
	test_killed();
	test_killed_grandchild();
	test_tracer_killed();
	test_deep_sleep();
	test_refusals();
	return check_done();
}
