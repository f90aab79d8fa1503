/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, pipe2, sigqueue */
#include "frozen.h"

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
	for (int tries = 0; tries < 5000 && state != 'T'; tries++) {
		child_nap(1);
		child_status(child.pid, "State:", &state);
	}
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

int
main(void)
{
	prepare();
	test_threads();
	test_new_threads();
	test_blocked();
	test_stopped();
	test_signals();
	test_without_first();
	test_by_thread();
	return check_done();
}
