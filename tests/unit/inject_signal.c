/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Signals that come while it is injected, at every step of it.
 */
#define _GNU_SOURCE		/* syscall, ppoll */
#include "injected.h"
#include "struck.h"

#define TIMES	(300 / (int)CHECK_STRIDE)

static void
stop_and_go(int in, int out)
{
	(void)in;
	child_tell(out, "", 1);
	for (;;) {
		kill(shared->tid, SIGSTOP);
		kill(shared->tid, SIGCONT);
	}
}

static void
test_stops(void)
{
	struct child child = target(spin_with_state, 0), other;
	int uffd, good = 0, well;
	char byte;

	shared->tid = child.pid;
	other = child_start(stop_and_go);
	child_hear(other.from, &byte, 1);
	for (int i = 0; i < TIMES; i++) {
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
	}
	done_with(&other);
	kill(child.pid, SIGCONT);
	well = is_well();
	printf("# %d of %d between stops\n", good, TIMES);
	CHECK(good > 0 && well);
	done_with(&child);
}

static void
note_signal(int number, siginfo_t *info, void *unused)
{
	(void)number;
	(void)unused;
	shared->signals += info->si_code == SI_QUEUE
	    ? (unsigned long)info->si_value.sival_int : 1;
}

static void
take_signals(int in, int out)
{
	struct sigaction action = { .sa_sigaction = note_signal,
	    .sa_flags = SA_SIGINFO };

	sigaction(SIGRTMIN, &action, NULL);
	wait_long(in, out);
}

/* One at every step: all come. */
static void
test_taken(void)
{
	struct child child = target(take_signals, 0);
	int uffd, good = 0, sent = 0, at;

	for (at = 1; at < 400; at++) {
		plan_strike(child.pid, SIGRTMIN, (at + 1) / 2, at % 2);
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
		sent++;
		if (plan.step < plan.at)
			break;
		for (int tries = 0; tries < 1000 &&
		    shared->signals != (unsigned long)sent; tries++)
			child_nap(1);
	}
	plan.at = 0;
	printf("# %d\n", sent);
	CHECK(sent > 30 && good == sent);
	CHECK(shared->signals == (unsigned long)sent - 1 && is_well());
	done_with(&child);
}

static int
comes_to(pid_t pid, char wanted)
{
	char state = 0;

	for (int tries = 0; tries < 1000; tries++) {
		child_status(pid, "State:", &state);
		if (state == wanted)
			return 1;
		child_nap(1);
	}
	printf("# %c\n", state);
	return 0;
}

/* A stop at every step stops it. */
static void
test_stopping(child_body *body)
{
	struct child child = target(body, 0);
	int uffd, good = 0, stood = 0, well = 0, sent = 0;

	for (int at = 1; at < 400; at++) {
		plan_strike(child.pid, SIGSTOP, (at + 1) / 2, at % 2);
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
		if (plan.step < plan.at)
			break;
		sent++;
		stood += comes_to(child.pid, 'T');
		kill(child.pid, SIGCONT);
		well += is_well();
	}
	plan.at = 0;
	printf("# %d\n", sent);
	CHECK(sent > 30 && good == sent + 1);
	CHECK(stood == sent && well == sent);
	done_with(&child);
}

/* One that is stopped goes on when it is told to at any step. */
static void
test_continuing(void)
{
	struct child child = target(spin_with_state, 0);
	int uffd, good = 0, stood = 0, well = 0, sent = 0;

	for (int at = 1; at < 400; at++) {
		kill(child.pid, SIGSTOP);
		stood += comes_to(child.pid, 'T');
		plan_strike(child.pid, SIGCONT, (at + 1) / 2, at % 2);
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
		if (plan.step < plan.at)
			break;
		sent++;
		well += is_well();
	}
	plan.at = 0;
	printf("# %d\n", sent);
	CHECK(sent > 30 && good == sent + 1 && stood == sent + 1);
	CHECK(well == sent);
	done_with(&child);
}

static void
test_signals(void)
{
	struct child child = target(take_signals, 0);
	unsigned long sent = 0;
	int uffd, good = 0;

	for (int i = 0; i < TIMES; i++) {
		for (int j = 0; j < 10; j++) {
			union sigval value = { .sival_int = j };

			sent += sigqueue(child.pid, SIGRTMIN, value) == 0
			    ? (unsigned long)j : 0;
		}
		good += inject(child.pid, &uffd) == PM_OK;
		close(uffd);
	}
	for (int tries = 0; tries < 1000 && shared->signals != sent; tries++)
		child_nap(1);
	CHECK(good == TIMES);
	CHECK(sent > 0 && shared->signals == sent && is_well());
	done_with(&child);
}

int
main(void)
{
	if (!prepare()) {
		printf("1..0 # SKIP needs x86_64 and userfaultfd\n");
		return 0;
	}
	test_taken();
	test_stopping(spin_with_state);
	test_stopping(wait_long);
	test_stopping(spin_in_threads);
	test_continuing();
	test_stops();
	test_signals();
	return check_done();
}
