/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create, pipe2, environ */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer.h"
#include "fdio.h"
#include "sender.h"

static struct {
	pid_t pid;
	int in;			/* we write its standard input here */
	int out;		/* what it prints; a file in memory */
} consumer;

int
consumer_start(char **command)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none;
	int ends[2], error;

	consumer.out = memfd_create("pm-recv", MFD_CLOEXEC);
	if (consumer.out < 0 || pipe2(ends, O_CLOEXEC) != 0)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	pm_fd_widen(ends[1]);
	(void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
	sigemptyset(&none);
	posix_spawnattr_init(&how);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, ends[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, consumer.out, STDOUT_FILENO);
	error = posix_spawnp(&consumer.pid, command[0], &files, &how, command,
	    environ);
	if (error != 0) {
		sender_tell_failure(CLI_USAGE, command[0], strerror(error));
		cli_die(CLI_USAGE, "%s: %s", command[0], strerror(error));
	}
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	close(ends[0]);
	consumer.in = ends[1];
	return consumer.in;
}

void
consumer_cut_off(void)
{
	close(consumer.in);
	(void)sender_wait_for(consumer.pid);
}

/* The command failed: its own message stood on standard error already. */
static _Noreturn void
give_up_with(int code)
{
	enum cli_exit our = code == CLI_BAD_STREAM ? CLI_BAD_STREAM
	    : CLI_FAILURE;
	char text[64];

	snprintf(text, sizeof(text), "ended with status %d", code);
	sender_tell_failure(our, cli_command()[0], text);
	cli_die(our, "%s: %s", cli_command()[0], text);
}

/* A second end of the pipe to its input, to see what it leaves there. */
static int
open_rest(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", consumer.in);
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* All that it printed, up to what an answer holds. */
static size_t
read_output(char *said, size_t most)
{
	size_t size = 0;

	while (size < most) {
		ssize_t got = pread(consumer.out, said + size, most - size,
		    (off_t)size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		size += (size_t)got;
	}
	if (lseek(consumer.out, 0, SEEK_END) > (off_t)size)
		cli_warn("%s: wrote more than %zu bytes, the rest is lost",
		    cli_command()[0], size);
	return size;
}

size_t
consumer_finish(enum pm_status status, const struct pm_writer *out, char *said,
    size_t size)
{
	uint64_t written = pm_meter_get(&out->meter.bytes);
	int rest = open_rest(), left = 0, code;

	/* It may have left early on purpose, or failed: its status tells. */
	close(consumer.in);
	code = sender_wait_for(consumer.pid);
	if (code != 0)
		give_up_with(code);
	if (rest >= 0 && ioctl(rest, FIONREAD, &left) != 0)
		left = 0;
	if (rest >= 0)
		close(rest);
	/* A write that failed is not counted, and may have left a part. */
	if ((uint64_t)left > written)
		left = (int)written;
	if (status == PM_ERR_WRITE || left > 0) {
		cli_fault = (struct pm_fault){ .error = 0 };
		(void)pm_fault_set(&cli_fault, PM_ERR_PEER, cli_command()[0],
		    "ended before the stream did, %" PRIu64 " bytes in",
		    written - (uint64_t)left);
		sender_give_up(PM_ERR_PEER);
	}
	return read_output(said, size);
}
