/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* environ, close_range's number */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fdio.h"
#include "guardian.h"

#define SHELL		"/bin/sh"
#define NAP_MS		5
#define CODE_MAX	255u		/* of an exit status */
#define CLOSE_MAX	(1 << 20)	/* without close_range(2) */

/* What the guardian has; it may not allocate. */
struct ledger {
	int fd;
	const struct pm_debt *debt;
	unsigned debts;
	unsigned *owed, count;		/* in the order in which they were */
	sigset_t mask;			/* for commands */
};

/*
 * Wait for a child for that long: 1 when it ended.  Where nobody wants to
 * know how children end, that stays unknown and is taken for good.
 */
static int
await_child(pid_t pid, unsigned ms, int *how)
{
	uint64_t deadline = pm_clock_us() / 1000 + ms;

	for (;;) {
		pid_t got = waitpid(pid, how, WNOHANG);

		if (got == pid)
			return 1;
		if (got < 0 && errno == ECHILD) {
			*how = 0;
			return 1;
		}
		if (pm_clock_us() / 1000 >= deadline)
			return 0;
		(void)poll(NULL, 0, NAP_MS);
	}
}

/* All from one descriptor to another, both included. */
static void
close_range_of(unsigned from, unsigned to)
{
	struct rlimit limit = { .rlim_cur = CLOSE_MAX };

#ifdef SYS_close_range
	if (syscall(SYS_close_range, from, to, 0) == 0)
		return;
#endif
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > CLOSE_MAX)
		limit.rlim_cur = CLOSE_MAX;
	if (to >= limit.rlim_cur)
		to = (unsigned)limit.rlim_cur;
	for (unsigned fd = from; fd <= to; fd++)
		close((int)fd);
}

static void
close_all_but(int fd)
{
	if (fd > 0)
		close_range_of(0, (unsigned)fd - 1);
	close_range_of((unsigned)fd + 1, UINT_MAX);
}

/* In a child, which becomes the shell with that command. */
static void
execute(const struct ledger *ledger, const char *command)
{
	char *argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c",
	    (char *)(uintptr_t)command, NULL };
	int fd;

	close(ledger->fd);
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 2);
	if (fd > 2)
		close(fd);
	sigprocmask(SIG_SETMASK, &ledger->mask, NULL);
	execve(SHELL, argv, environ);
	_exit(127);
}

static int
pay_by_command(const struct ledger *ledger, const char *command)
{
	int how = -1;
	pid_t pid = fork();

	if (pid == 0)
		execute(ledger, command);
	/* One that hangs must not keep the others from being paid. */
	return pid > 0 && await_child(pid, PM_GUARDIAN_MS, &how) && how == 0;
}

static int
pay(const struct ledger *ledger, const struct pm_debt *debt)
{
	int fd, good;

	if (debt->path == NULL)
		return pay_by_command(ledger, debt->command);
	fd = open(debt->path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	good = pm_fd_write(fd, debt->text, strlen(debt->text)) == PM_OK;
	return close(fd) == 0 && good;
}

/* Note what a word of the parent says: twice the debt, and 1 if settled. */
static void
note(struct ledger *ledger, uint32_t word)
{
	unsigned debt = word / 2, at = 0;

	if (debt >= ledger->debts)
		return;
	while (at < ledger->count && ledger->owed[at] != debt)
		at++;
	if (word % 2 == 0 && at == ledger->count)
		ledger->owed[ledger->count++] = debt;
	if (word % 2 == 1 && at < ledger->count) {
		ledger->count--;
		for (; at < ledger->count; at++)
			ledger->owed[at] = ledger->owed[at + 1];
	}
}

/*
 * The life of the guardian; gives its exit status, one more than the last
 * debt that could not be paid.  It is the copy of one thread of a process
 * that may have had several, so it may call only what is safe in handlers of
 * signals.
 */
static int
guard(struct ledger *ledger)
{
	unsigned failed = 0;
	uint32_t word = 0;

	setsid();
	/* To kill all of our name is not to kill this. */
	(void)prctl(PR_SET_NAME, "pm-guardian");
	close_all_but(ledger->fd);
	if (pm_fd_write(ledger->fd, "", 1) != PM_OK)
		return 0;
	while (pm_fd_read(ledger->fd, &word, sizeof(word)) == PM_OK)
		note(ledger, word);
	while (ledger->count > 0) {
		unsigned debt = ledger->owed[--ledger->count];

		if (!pay(ledger, &ledger->debt[debt]))
			failed = debt + 1;
	}
	return (int)(failed < CODE_MAX ? failed : CODE_MAX);
}

static enum pm_status
fail(const char *what, struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s: %s", what,
	    strerror(errno));
}

/* Until it says so it could still be hit by what hits us. */
static enum pm_status
await_guardian(struct pm_guardian *guardian, struct pm_fault *fault)
{
	struct pollfd pfd = { .fd = guardian->fd, .events = POLLIN };
	uint64_t deadline = pm_clock_us() / 1000 + PM_GUARDIAN_MS;
	char byte;
	int got;

	do {
		uint64_t now = pm_clock_us() / 1000;

		got = poll(&pfd, 1, now < deadline ? (int)(deadline - now)
		    : 0);
	} while (got < 0 && errno == EINTR);
	if (got == 0)
		errno = ETIMEDOUT;
	if (got <= 0)
		return fail("cannot start a guardian", fault);
	if (pm_fd_read(guardian->fd, &byte, 1) == PM_OK)
		return PM_OK;
	errno = ESRCH;
	return fail("cannot start a guardian", fault);
}

enum pm_status
pm_guardian_start(struct pm_guardian *guardian, const struct pm_debt *debt,
    unsigned debts, struct pm_fault *fault)
{
	struct ledger ledger = { .debt = debt, .debts = debts };
	enum pm_status status;
	int pair[2];
	sigset_t all;

	*guardian = (struct pm_guardian){ .fd = -1, .debt = debt,
	    .debts = debts };
	ledger.owed = malloc((debts + 1) * sizeof(ledger.owed[0]));
	if (ledger.owed == NULL)
		return fail("cannot start a guardian", fault);
	/* No pipe: to write to one that is closed would end us. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		free(ledger.owed);
		return fail("cannot start a guardian", fault);
	}
	ledger.fd = pair[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &ledger.mask);
	guardian->pid = fork();
	if (guardian->pid == 0) {
		close(pair[0]);
		_exit(guard(&ledger));
	}
	guardian->fd = pair[0];
	status = guardian->pid > 0 ? PM_OK
	    : fail("cannot start a guardian", fault);
	pthread_sigmask(SIG_SETMASK, &ledger.mask, NULL);
	close(pair[1]);
	free(ledger.owed);
	if (status == PM_OK)
		status = await_guardian(guardian, fault);
	if (status != PM_OK)
		(void)pm_guardian_end(guardian, NULL);
	return status;
}

static enum pm_status
tell(struct pm_guardian *guardian, uint32_t word, struct pm_fault *fault)
{
	ssize_t put;

	/* As small as it is, it goes as a whole. */
	do {
		put = send(guardian->fd, &word, sizeof(word), MSG_NOSIGNAL);
	} while (put < 0 && errno == EINTR);
	return put == (ssize_t)sizeof(word) ? PM_OK
	    : fail("the guardian is gone, which would undo changes", fault);
}

enum pm_status
pm_guardian_owe(struct pm_guardian *guardian, unsigned debt,
    struct pm_fault *fault)
{
	return tell(guardian, (uint32_t)debt * 2, fault);
}

enum pm_status
pm_guardian_settle(struct pm_guardian *guardian, unsigned debt,
    struct pm_fault *fault)
{
	return tell(guardian, (uint32_t)debt * 2 + 1, fault);
}

static enum pm_status
fail_debt(const struct pm_guardian *guardian, unsigned debt,
    struct pm_fault *fault)
{
	const struct pm_debt *which;

	errno = 0;
	if (debt >= guardian->debts || debt + 1 >= CODE_MAX)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
		    "not all changes could be undone");
	which = &guardian->debt[debt];
	return which->path != NULL
	    ? pm_fault_set(fault, PM_ERR_SYSTEM, which->path,
	    "'%s' could not be written to it", which->text)
	    : pm_fault_set(fault, PM_ERR_SYSTEM, which->command,
	    "this command failed, and was to undo a change");
}

enum pm_status
pm_guardian_end(struct pm_guardian *guardian, struct pm_fault *fault)
{
	pid_t pid = guardian->pid;
	int how = 0;

	if (guardian->fd >= 0)
		close(guardian->fd);
	guardian->fd = -1;
	guardian->pid = 0;
	if (pid <= 0)
		return PM_OK;
	if (!await_child(pid, PM_GUARDIAN_MS, &how)) {
		errno = ETIMEDOUT;
		return fail("changes are not undone yet", fault);
	}
	if (WIFSIGNALED(how)) {
		errno = ESRCH;
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "the guardian "
		    "was ended by signal %d, and undid nothing",
		    WTERMSIG(how));
	}
	return WEXITSTATUS(how) == 0 ? PM_OK
	    : fail_debt(guardian, (unsigned)WEXITSTATUS(how) - 1, fault);
}

enum pm_status
pm_guardian_run(const char *command, int out, struct pm_fault *fault)
{
	char *argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c",
	    (char *)(uintptr_t)command, NULL };
	posix_spawn_file_actions_t actions;
	int error, how = 0;
	pid_t pid;

	error = posix_spawn_file_actions_init(&actions);
	if (error == 0) {
		error = posix_spawn_file_actions_adddup2(&actions, out, 1);
		if (error == 0)
			error = posix_spawn_file_actions_addopen(&actions, 0,
			    "/dev/null", O_RDONLY, 0);
		if (error == 0)
			error = posix_spawn(&pid, SHELL, &actions, NULL, argv,
			    environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	if (error != 0) {
		errno = error;
		return fail("cannot run a command", fault);
	}
	while (waitpid(pid, &how, 0) < 0 && errno == EINTR)
		;
	errno = 0;
	if (WIFSIGNALED(how))
		return pm_fault_set(fault, PM_ERR_SYSTEM, command,
		    "this command was ended by signal %d", WTERMSIG(how));
	return WEXITSTATUS(how) == 0 ? PM_OK : pm_fault_set(fault,
	    PM_ERR_SYSTEM, command, "this command ended with status %d",
	    WEXITSTATUS(how));
}
