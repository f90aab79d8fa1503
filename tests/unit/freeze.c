/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, pipe2, gettid */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
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

static enum pm_status
freeze(struct pm_freeze *frozen, pid_t pid, unsigned ms)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_freeze_begin(frozen, pid, ms, &fault);
}

static int
says(const char *words)
{
	if (strstr(fault.text, words) != NULL)
		return 1;
	printf("# %s\n", fault.text);
	return 0;
}

/* True when the child counts within a second. */
static int
runs(void)
{
	unsigned long before = shared->count;

	for (int tries = 0; tries < 1000 && shared->count == before; tries++)
		child_nap(1);
	return shared->count != before;
}

static int
stands(void)
{
	unsigned long before = shared->count;

	child_nap(20);
	return shared->count == before;
}

static int
ended_well(struct child *child)
{
	return child_end(child) == 0;
}

static void *
count_forever(void *unused)
{
	(void)unused;
	for (;;)
		shared->count++;
	return NULL;
}

static void
spin(int in, int out)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, count_forever, NULL);
	child_tell(out, "", 1);
	child_linger(in);
}

static void
test_threads(void)
{
	struct child child = child_start(spin);
	struct pm_freeze frozen;
	char byte;

	CHECK(child_hear(child.from, &byte, 1) && runs());
	for (int i = 0; i < 3; i++) {
		CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
		CHECK(frozen.threads == 5 && pm_freeze_holds(&frozen));
		CHECK(stands() && pm_freeze_holds(&frozen));
		CHECK(pm_freeze_end(&frozen) >= 20000);
		CHECK(pm_freeze_end(&frozen) == 0);
		CHECK(runs());
	}
	CHECK(ended_well(&child));
}

/* Each thread makes its successor and ends. */
static void *
relay(void *unused)
{
	pthread_attr_t attr;
	pthread_t next;

	(void)unused;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	shared->count++;
	while (pthread_create(&next, &attr, relay, NULL) != 0)
		;
	return NULL;
}

static void
relay_twice(int in, int out)
{
	relay(NULL);
	relay(NULL);
	child_tell(out, "", 1);
	child_linger(in);
}

static void
test_new_threads(void)
{
	struct child child = child_start(relay_twice);
	struct pm_freeze frozen;
	int good = 0;
	char byte;

	CHECK(child_hear(child.from, &byte, 1));
	for (int i = 0; i < 50; i++) {
		if (freeze(&frozen, child.pid, 10000) == PM_OK) {
			unsigned long before = shared->count;

			child_nap(1);
			good += shared->count == before;
		} else
			printf("# %s\n", fault.text);
		pm_freeze_end(&frozen);
		child_nap(1);
	}
	CHECK(good == 50);
	CHECK(runs());
	CHECK(ended_well(&child));
}

/* Sleep, wait for input and count: none may notice that it stood still. */
static void
block(int in, int out)
{
	struct timespec nap = { 0, 200000000 };
	struct child_answer {
		int slept, got;
	} answer;
	char byte;

	child_tell(out, "", 1);
	answer.slept = nanosleep(&nap, NULL) == 0;
	child_tell(out, "", 1);
	answer.got = read(in, &byte, 1) == 1 && byte == 'x';
	child_tell(out, &answer, sizeof(answer));
	child_linger(in);
}

static void
test_blocked(void)
{
	struct child child = child_start(block);
	struct pm_freeze frozen;
	int answer[2] = { 0, 0 };
	char byte;

	CHECK(child_hear(child.from, &byte, 1));
	child_nap(20);
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	pm_freeze_end(&frozen);
	CHECK(child_hear(child.from, &byte, 1));
	child_nap(20);
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	pm_freeze_end(&frozen);
	child_nap(20);
	CHECK(child_tell(child.to, "x", 1));
	CHECK(child_hear(child.from, answer, sizeof(answer)));
	CHECK(answer[0] == 1 && answer[1] == 1);
	CHECK(ended_well(&child));
}

static void
test_stopped(void)
{
	struct child child = child_start(spin);
	struct pm_freeze frozen;
	char byte, state = 0;
	int status;

	CHECK(child_hear(child.from, &byte, 1) && runs());
	kill(child.pid, SIGSTOP);
	CHECK(waitpid(child.pid, &status, WUNTRACED) == child.pid);
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	CHECK(pm_freeze_holds(&frozen));
	pm_freeze_end(&frozen);
	child_nap(20);
	child_status(child.pid, "State:", &state);
	CHECK(state == 'T' && stands());
	/* A continuation that comes while it is frozen is not lost either. */
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	kill(child.pid, SIGCONT);
	CHECK(stands());
	pm_freeze_end(&frozen);
	CHECK(runs());
	/* Nor is a stop. */
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	kill(child.pid, SIGSTOP);
	pm_freeze_end(&frozen);
	CHECK(waitpid(child.pid, &status, WUNTRACED) == child.pid &&
	    WIFSTOPPED(status) && stands());
	kill(child.pid, SIGCONT);
	CHECK(runs());
	CHECK(ended_well(&child));
}

static void
note_signal(int number, siginfo_t *info, void *unused)
{
	(void)number;
	(void)unused;
	shared->signals += (unsigned long)info->si_value.sival_int;
}

static void
take_signals(int in, int out)
{
	struct sigaction action = { .sa_sigaction = note_signal,
	    .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(SIGRTMIN, &action, NULL);
	child_tell(out, "", 1);
	child_linger(in);
}

static void
test_signals(void)
{
	struct child child = child_start(take_signals);
	struct pm_freeze frozen;
	unsigned long sent = 0;
	int delayed = 0;
	char byte;

	shared->signals = 0;
	CHECK(child_hear(child.from, &byte, 1));
	for (int i = 0; i < 300; i++) {
		for (int j = 0; j < 10; j++) {
			union sigval value = { .sival_int = j };

			sent += sigqueue(child.pid, SIGRTMIN, value) == 0
			    ? (unsigned long)j : 0;
		}
		if (freeze(&frozen, child.pid, 10000) != PM_OK)
			break;
		delayed += frozen.thread[0].signal == SIGRTMIN;
		pm_freeze_end(&frozen);
	}
	for (int tries = 0; tries < 1000 && shared->signals != sent; tries++)
		child_nap(1);
	printf("# %d of 300 stood before a signal\n", delayed);
	CHECK(sent > 0 && shared->signals == sent);
	CHECK(ended_well(&child));
}

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
	char byte, good = 0;

	CHECK(child_hear(child.from, &byte, 1));
	child_nap(20);
	shared->grandchild = child.pid;
	tracer = child_start(fail_to_freeze);
	CHECK(child_hear(tracer.from, &good, 1) && good);
	CHECK(ended_well(&tracer));
	CHECK(child_tell(child.to, "x", 1));
	CHECK(child_hear(child.from, &byte, 1));
	CHECK(ended_well(&child));
}

static void *
tell_tid(void *unused)
{
	shared->tid = (pid_t)syscall(SYS_gettid);
	return count_forever(unused);
}

/* The first thread ends; the process lives on in another. */
static void
leave_first(int in, int out)
{
	pthread_t thread;

	(void)in;
	shared->tid = 0;
	pthread_create(&thread, NULL, tell_tid, NULL);
	child_tell(out, "", 1);
	syscall(SYS_exit, 0);
}

static void
test_without_first(void)
{
	struct child child = child_start(leave_first);
	struct pm_freeze frozen;
	char byte;

	CHECK(child_hear(child.from, &byte, 1) && runs());
	while (child_status(child.pid, "Threads:", NULL) != 2 ||
	    child_status(child.pid, "VmSize:", NULL) != -1)
		child_nap(1);
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	CHECK(frozen.through == shared->tid && frozen.threads == 1);
	CHECK(stands());
	pm_freeze_end(&frozen);
	CHECK(runs());
	kill(child.pid, SIGKILL);
	child_end(&child);
}

static void
test_by_thread(void)
{
	struct child child = child_start(spin);
	struct pm_freeze frozen;
	char byte;

	CHECK(child_hear(child.from, &byte, 1));
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	shared->tid = frozen.thread[2].tid;
	pm_freeze_end(&frozen);
	CHECK(freeze(&frozen, shared->tid, 10000) == PM_OK);
	CHECK(frozen.pid == child.pid && frozen.threads == 5);
	pm_freeze_end(&frozen);
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
	child_nap(50);
	CHECK(freeze(&frozen, child.pid, 100) == PM_ERR_REFUSED);
	CHECK(says("has no memory"));
	CHECK(WIFSIGNALED(child_end(&child)));
	CHECK(freeze(&frozen, child.pid, 100) == PM_ERR_SYSTEM);
	CHECK(says("does not exist"));
}

int
main(void)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		child_fail("mmap");
	test_threads();
	test_new_threads();
	test_blocked();
	test_stopped();
	test_signals();
	test_killed();
	test_killed_grandchild();
	test_tracer_killed();
	test_deep_sleep();
	test_without_first();
	test_by_thread();
	test_refusals();
	return check_done();
}
