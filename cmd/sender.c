/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* syscall */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fdio.h"
#include "outfile.h"
#include "sender.h"

#define TICK_US		20000u	/* where a child cannot be polled for */

struct pm_receive sender_session;

/* Where no signal ends us, the file of a socket goes. */
static void
leave(void)
{
	pm_receive_close(&sender_session);
}

static void
write_port(const char *path, unsigned port)
{
	struct pm_outfile file;
	char line[16];
	int size = snprintf(line, sizeof(line), "%u\n", port);

	if (pm_outfile_open(&file, path) != PM_OK ||
	    pm_fd_write(file.fd, line, (size_t)size) != PM_OK ||
	    pm_outfile_commit(&file) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", path, strerror(errno));
}

void
sender_meet(const struct pm_receive_how *how, const char *port_file)
{
	(void)atexit(leave);
	cli_check(pm_receive_open(&sender_session, how, &cli_fault));
	if (sender_session.listener.port != 0)
		cli_say("listens on port %u", sender_session.listener.port);
	if (port_file != NULL)
		write_port(port_file, sender_session.listener.port);
	cli_check(pm_receive_meet(&sender_session));
}

int
sender_wait_for(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0)
		if (pm_receive_wait(&sender_session, fd, POLLIN, fd >= 0
		    ? UINT64_MAX : pm_clock_us() + TICK_US) != PM_OK)
			break;
	if (fd >= 0)
		close(fd);
	/* Nobody is there to be told, but it has to come to its end. */
	while (ended == 0 && (ended = waitpid(pid, &status, 0)) < 0 &&
	    errno == EINTR)
		ended = 0;
	if (ended < 0)
		return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status)
	    : 128 + WTERMSIG(status);
}

/* It knows two ways to fail. */
void
sender_tell_failure(enum cli_exit code, const char *subject, const char *text)
{
	char line[600];

	snprintf(line, sizeof(line), "%s%s%s", subject,
	    subject[0] != '\0' ? ": " : "", text);
	sender_session.fault = NULL;
	(void)pm_receive_answer(&sender_session,
	    code == CLI_BAD_STREAM ? CLI_BAD_STREAM : CLI_FAILURE, line,
	    strlen(line));
}

_Noreturn void
sender_give_up(enum pm_status status)
{
	(void)pm_fault_set(&cli_fault, status, NULL, "%s",
	    pm_status_text(status));
	sender_tell_failure(cli_exit_of(status), cli_fault.subject,
	    cli_fault.text);
	cli_check(status);
	exit(CLI_FAILURE);
}

_Noreturn void
sender_die_of_pipe(void)
{
	sigset_t signals;

	sender_tell_failure(CLI_FAILURE, cli_output_name(), strerror(EPIPE));
	leave();
	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	(void)raise(SIGPIPE);
	cli_die(CLI_FAILURE, "%s: %s", cli_output_name(), strerror(EPIPE));
}
