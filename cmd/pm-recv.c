/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-recv - receive a stream over a connection; see pm-recv(1).
 */
#define _GNU_SOURCE		/* memfd_create, pipe2, environ */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "fdio.h"
#include "net.h"
#include "outfile.h"
#include "relay.h"
#include "wire.h"

#define HELLO_S		30	/* for a connection to say what it is */

static const char *timeout_text = "0", *port_file;
static int insecure;

static struct poptOption options[] = {
	{ "insecure", '\0', POPT_ARG_NONE, &insecure, 0,
	    "listen to other machines, readable on the way", NULL },
	{ "timeout", '\0', POPT_ARG_STRING, &timeout_text, 0,
	    "wait so long for a connection; 0 for ever (0)", "SECONDS" },
	{ "port-file", '\0', POPT_ARG_STRING, &port_file, 0,
	    "write the port that is listened on to FILE", "FILE" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "receive a page stream from pm-send or nc",
	.operand = "ADDRESS",
	.needs_operand = 1,
	.takes_command = 1,
	.memory = "about 3 MiB",
};

static struct pm_wire wire;
static char said[PM_WIRE_TEXT_MAX];	/* by the command */

/* The command that consumes the stream. */
static struct {
	pid_t pid;
	int in;			/* we write its standard input here */
	int out;		/* what it prints; a file in memory */
} consumer = { .in = -1, .out = -1 };

/* Tell the sender that it failed; it knows two ways to fail. */
static void
tell_failure(enum cli_exit code, const char *subject, const char *text)
{
	char line[600];

	snprintf(line, sizeof(line), "%s%s%s", subject,
	    subject[0] != '\0' ? ": " : "", text);
	wire.fault = NULL;
	(void)pm_wire_answer(&wire, code == CLI_BAD_STREAM ? CLI_BAD_STREAM
	    : CLI_FAILURE, line, strlen(line));
}

/* Tell the sender, and fail. */
static _Noreturn void
give_up(enum pm_status status)
{
	(void)pm_fault_set(&cli_fault, status, NULL, "%s",
	    pm_status_text(status));
	tell_failure(cli_exit_of(status), cli_fault.subject, cli_fault.text);
	cli_check(status);
	exit(CLI_FAILURE);
}

/* The command failed: its own message stood on standard error already. */
static _Noreturn void
give_up_with(int code)
{
	enum cli_exit our = code == CLI_BAD_STREAM ? CLI_BAD_STREAM
	    : CLI_FAILURE;
	char text[64];

	snprintf(text, sizeof(text), "ended with status %d", code);
	tell_failure(our, cli_command()[0], text);
	cli_die(our, "%s: %s", cli_command()[0], text);
}

/* Its exit status, as a shell has it. */
static int
wait_for_consumer(void)
{
	int status;

	while (waitpid(consumer.pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	consumer.pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status)
	    : 128 + WTERMSIG(status);
}

static void
start_consumer(char **command)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t how;
	sigset_t none, pipe_only;
	int ends[2], error;

	consumer.out = memfd_create("pm-recv", MFD_CLOEXEC);
	if (consumer.out < 0 || pipe2(ends, O_CLOEXEC) != 0)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	pm_fd_widen(ends[1]);
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
		tell_failure(CLI_USAGE, command[0], strerror(error));
		cli_die(CLI_USAGE, "%s: %s", command[0], strerror(error));
	}
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	close(ends[0]);
	consumer.in = ends[1];

	/* A command that ends early must not end us: its status is awaited. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
}

/* All that it printed, up to what an answer holds. */
static size_t
read_consumer(void)
{
	size_t size = 0;

	while (size < sizeof(said)) {
		ssize_t got = pread(consumer.out, said + size,
		    sizeof(said) - size, (off_t)size);

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

static void
write_port(unsigned port)
{
	struct pm_outfile file;
	char line[16];
	int size = snprintf(line, sizeof(line), "%u\n", port);

	if (pm_outfile_open(&file, port_file) != PM_OK ||
	    pm_fd_write(file.fd, line, (size_t)size) != PM_OK ||
	    pm_outfile_commit(&file) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", port_file, strerror(errno));
}

static int
take_connection(void)
{
	unsigned seconds = (unsigned)cli_number("--timeout", timeout_text, 0,
	    86400);
	struct pm_listener listener;
	enum pm_status status;
	int fd = -1;

	status = pm_net_listen(&listener, cli_operand(), insecure,
	    &cli_fault);
	if (status == PM_ERR_REFUSED)
		cli_die(CLI_USAGE, "%s: %s", cli_fault.subject,
		    cli_fault.text);
	cli_check(status);
	if (listener.port != 0)
		cli_say("listens on port %u", listener.port);
	if (port_file != NULL)
		write_port(listener.port);
	status = pm_net_accept(&listener, seconds, &fd, &cli_fault);
	pm_net_close(&listener);
	cli_check(status);
	return fd;
}

static enum pm_status
relay(struct pm_reader *in, struct pm_writer *out)
{
	struct pm_record *rec = pm_record_new();
	enum pm_status status;

	if (rec == NULL)
		return PM_ERR_SYSTEM;
	status = pm_relay_run(in, out, rec);
	pm_record_free(rec);
	return status;
}

/* A second end of the pipe to its input, to see what it leaves there. */
static int
open_rest(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", consumer.in);
	return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* The stream ended here: what became of it? */
static size_t
finish_consumer(enum pm_status status, const struct pm_writer *out)
{
	uint64_t written = pm_meter_get(&out->meter.bytes);
	int rest = open_rest(), left = 0, code;

	/* It may have left early on purpose, or failed: its status tells. */
	close(consumer.in);
	code = wait_for_consumer();
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
		give_up(PM_ERR_PEER);
	}
	return read_consumer();
}

int
main(int argc, char *argv[])
{
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;
	size_t size = 0;
	int fd;

	cli_start(argc, argv, options, &about);
	cli_source(cli_operand());
	fd = cli_command() != NULL ? cli_report() : cli_output();
	cli_check(pm_wire_welcome(&wire, take_connection(), HELLO_S,
	    cli_operand(), &cli_fault));
	if (cli_command() != NULL)
		start_consumer(cli_command());

	status = pm_reader_open_io(&in, pm_wire_readv, &wire, &cli_fault);
	pm_reader_pull(&in, wire.fd, pm_wire_pull);
	cli_check(pm_writer_open(&out, cli_command() != NULL ? consumer.in
	    : fd, &cli_fault));
	cli_watch(&in.meter, &out.meter, 0);
	if (status == PM_OK)
		status = relay(&in, &out);
	if (status != PM_OK && (consumer.in < 0 || status != PM_ERR_WRITE)) {
		/* The command sees its input end early, and says so. */
		if (consumer.in >= 0) {
			close(consumer.in);
			(void)wait_for_consumer();
		}
		give_up(status);
	}
	if (consumer.in >= 0)
		size = finish_consumer(status, &out);
	if (size > 0 && pm_fd_write(fd, said, size) != PM_OK)
		give_up(PM_ERR_WRITE);
	status = cli_commit();
	if (status != PM_OK)
		give_up(status);
	cli_check(pm_wire_answer(&wire, CLI_OK, said, size));
	cli_count("records", pm_meter_get(&in.meter.records));
	cli_count("pages", pm_meter_get(&in.meter.pages));
	cli_count("bytes_in", pm_meter_get(&in.meter.bytes));
	cli_count("confirmed", !wire.bare);
	close(wire.fd);
	pm_writer_close(&out);
	pm_reader_close(&in);
	return cli_finish();
}
