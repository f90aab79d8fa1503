/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-recv - receive a stream over a connection; see pm-recv(1).
 */
#define _GNU_SOURCE		/* memfd_create, pipe2, environ */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "fdio.h"
#include "net_options.h"
#include "outfile.h"
#include "receive.h"
#include "relay.h"

#define TICK_US		20000u	/* where a child cannot be polled for */

static const char *timeout_text = "0", *port_file;
static int resume;

static struct poptOption options[] = {
	{ "resume", '\0', POPT_ARG_NONE, &resume, 0,
	    "keep what arrives in -o FILE, and go on behind it", NULL },
	{ "timeout", '\0', POPT_ARG_STRING, &timeout_text, 0,
	    "wait so long for a connection; 0 for ever (0)", "SECONDS" },
	NET_OPTIONS,
	{ "port-file", '\0', POPT_ARG_STRING, &port_file, 0,
	    "write the port that is listened on to FILE", "FILE" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "receive a page stream from pm-send or nc",
	.operand = "ADDRESS",
	.needs_operand = 1,
	.takes_command = 1,
	.memory = "about 5 MiB; where the output is slow, --window more",
};

static struct pm_receive session;
static struct pm_token have;
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
	session.fault = NULL;
	(void)pm_receive_answer(&session,
	    code == CLI_BAD_STREAM ? CLI_BAD_STREAM
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

/*
 * Wait for a child, and for the sender meanwhile, who might think that we
 * are gone.  The exit status as a shell has it.
 */
static int
wait_for_child(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	pid_t ended;

	while ((ended = waitpid(pid, &status, WNOHANG)) == 0)
		if (pm_receive_wait(&session, fd, POLLIN, fd >= 0
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

static void
start_consumer(char **command)
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
		tell_failure(CLI_USAGE, command[0], strerror(error));
		cli_die(CLI_USAGE, "%s: %s", command[0], strerror(error));
	}
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&how);
	close(ends[0]);
	consumer.in = ends[1];
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

static void
tell(void *arg, const char *text)
{
	(void)arg;
	cli_say("%s", text);
}

/* Where no signal ends us, the file of a socket goes. */
static void
leave(void)
{
	pm_receive_close(&session);
}

static void
wait_for_sender(const struct pm_net *net, const struct pm_tls_keys *keys)
{
	const struct pm_receive_how how = {
		.net = net, .keys = keys, .frames = net_frames(),
		.wait_us = (uint64_t)cli_number("--timeout", timeout_text, 0,
		    86400) * 1000000,
		.break_us = net_break_us(), .silence_us = net_silence_us(),
		.have = resume ? &have : NULL,
		.tell = tell,
	};

	(void)atexit(leave);
	cli_check(pm_receive_open(&session, &how, &cli_fault));
	if (session.listener.port != 0)
		cli_say("listens on port %u", session.listener.port);
	if (port_file != NULL)
		write_port(session.listener.port);
	cli_check(pm_receive_meet(&session));
}

/* True when a file without a whole record may become a stream. */
static int
begins_stream(int fd)
{
	char begin[PM_SIGNATURE_SIZE];
	ssize_t size = pread(fd, begin, sizeof(begin), 0);

	return size >= 0 && memcmp(begin, PM_SIGNATURE, (size_t)size) == 0;
}

/*
 * The file of --resume, in place: what is whole of it stays, and the rest
 * is to come.  Nothing is done to it yet, and what is not a stream, or is of
 * one that was damaged, is for the user to judge.
 */
static int
open_kept(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	enum pm_status status;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		cli_die(CLI_FAILURE, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		cli_die(CLI_USAGE, "--resume: %s: not a file", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		cli_die(CLI_FAILURE, "%s: another pm-recv writes to it",
		    path);
	status = pm_token_find(fd, &have, &cli_fault);
	if (!begins_stream(fd))
		cli_die(CLI_BAD_STREAM, "%s: is no page stream", path);
	if (status != PM_OK && have.offset > 0)
		cli_die(cli_exit_of(status), "%s: %s; to go on before that, "
		    "truncate -s %" PRIu64, path, cli_fault.text,
		    have.offset);
	cli_source(path);
	cli_check(status);
	cli_source(cli_operand());
	return fd;
}

/* There is a sender, so a record that was cut may go. */
static void
cut_kept(int fd)
{
	if (ftruncate(fd, (off_t)have.offset) != 0 ||
	    lseek(fd, (off_t)have.offset, SEEK_SET) < 0)
		cli_die(CLI_FAILURE, "%s: %s", cli_kept(), strerror(errno));
	if (have.offset > 0)
		cli_say("goes on at byte %" PRIu64, have.offset);
	pm_receive_attend(&session);
}

/* What there was comes first, for the records that follow build on it. */
struct kept {
	int fd;
	uint64_t at;
};

static enum pm_status
read_kept(void *arg, struct iovec *iov, int count)
{
	struct kept *kept = arg;
	enum pm_status status = PM_OK;

	if (kept->at >= have.offset)
		return pm_receive_readv(&session, iov, count);
	for (int i = 0; i < count && status == PM_OK; i++) {
		status = pm_fd_pread(kept->fd, iov[i].iov_base,
		    iov[i].iov_len, kept->at);
		kept->at += iov[i].iov_len;
	}
	pm_receive_attend(&session);
	return status;
}

static enum pm_status
pull(void *arg, int to, size_t size, size_t *moved)
{
	(void)arg;		/* all that was kept is read by then */
	return pm_receive_pull(&session, to, size, moved);
}

static enum pm_status
relay(struct pm_reader *in, struct pm_writer *out)
{
	struct pm_record *rec = pm_record_new();
	struct pm_relay passing;
	enum pm_status status = PM_OK;

	if (rec == NULL)
		return PM_ERR_SYSTEM;
	while (status == PM_OK && pm_meter_get(&in->meter.bytes) < have.offset)
		status = pm_reader_next(in, rec);
	pm_relay_open(&passing, in, out);
	while (status == PM_OK &&
	    (status = pm_relay_next(&passing, rec)) == PM_OK)
		if ((status = pm_relay_put(&passing, rec)) == PM_OK)
			pm_receive_commit(&session,
			    pm_meter_get(&in->meter.bytes));
	pm_record_free(rec);
	return status == PM_END ? PM_OK : status;
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
	code = wait_for_child(consumer.pid);
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

/*
 * Write what is in the page cache down, which may take long, before the file
 * is given its name, which then does not.
 */
static enum pm_status
sync_beside(int fd)
{
	struct stat st;
	pid_t pid;
	int code;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return PM_OK;
	pid = fork();
	if (pid == 0)
		_exit(fdatasync(fd) == 0 ? 0 : errno);
	if (pid < 0)
		return PM_OK;		/* whoever commits it does so */
	code = wait_for_child(pid);
	errno = code;
	return code == 0 ? PM_OK : PM_ERR_WRITE;
}

/* One that does not block, where there can be one; or the same. */
static int
unblock(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = fcntl(fd, F_GETPIPE_SZ) > 0
	    ? open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	return own >= 0 ? own : fd;
}

/* Our reader left: die as our neighbours expect, once the sender knows. */
static _Noreturn void
die_of_pipe(void)
{
	sigset_t signals;

	tell_failure(CLI_FAILURE, cli_output_name(), strerror(EPIPE));
	leave();
	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
	(void)raise(SIGPIPE);
	cli_die(CLI_FAILURE, "%s: %s", cli_output_name(), strerror(EPIPE));
}

static void
block_pipe_signal(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static void
report(const struct pm_reader *in)
{
	cli_count("records", pm_meter_get(&in->meter.records));
	cli_count("pages", pm_meter_get(&in->meter.pages));
	cli_count("bytes_in", pm_meter_get(&in->meter.bytes));
	cli_count("confirmed", session.bare < 0);
	if (session.bare < 0) {
		cli_count("wire_bytes", session.stats.bytes);
		cli_count("bytes_again", session.stats.again);
		cli_count("bytes_kept", have.offset);
		cli_count("breaks", session.stats.breaks);
		cli_count("strangers", session.stats.strangers);
	}
}

int
main(int argc, char *argv[])
{
	struct kept kept = { .fd = -1 };
	struct pm_receive_output to = { .receive = &session };
	struct pm_tls_keys *keys;
	struct pm_net net;
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;
	size_t size = 0;
	int fd;

	cli_start(argc, argv, options, &about);
	cli_source(cli_operand());
	net_open(&net, &keys, 1);
	if (resume && (cli_command() != NULL || cli_kept() == NULL ||
	    strcmp(cli_kept(), "-") == 0))
		cli_die(CLI_USAGE, "--resume: needs -o FILE, and no command");
	fd = resume ? kept.fd = open_kept(cli_kept())
	    : cli_command() != NULL ? cli_report() : cli_output();
	block_pipe_signal();
	wait_for_sender(&net, keys);
	if (resume)
		cut_kept(fd);
	if (cli_command() != NULL)
		start_consumer(cli_command());

	status = pm_reader_open_io(&in, read_kept, &kept, &cli_fault);
	pm_reader_pull(&in, session.bare, session.bare < 0
	    ? pull : NULL);
	to.fd = consumer.in >= 0 ? consumer.in : unblock(fd);
	pm_fd_widen(to.fd);
	cli_check(pm_writer_open_io(&out, pm_receive_writev, &to,
	    &cli_fault));
	pm_writer_push(&out, to.fd, NULL);
	cli_watch(&in.meter, &out.meter, 0);
	if (status == PM_OK)
		status = relay(&in, &out);
	if (status != PM_OK && (consumer.in < 0 || status != PM_ERR_WRITE)) {
		if (status == PM_ERR_WRITE && errno == EPIPE)
			die_of_pipe();
		/* The command sees its input end early, and says so. */
		if (consumer.in >= 0) {
			close(consumer.in);
			(void)wait_for_child(consumer.pid);
		}
		give_up(status);
	}
	if (consumer.in >= 0)
		size = finish_consumer(status, &out);
	/* Who reads our output is to see its end with ours. */
	if (consumer.in < 0 && to.fd != fd)
		close(to.fd);
	if (size > 0 && pm_fd_write(fd, said, size) != PM_OK)
		give_up(PM_ERR_WRITE);
	status = sync_beside(fd);
	if (status == PM_OK)
		status = cli_commit();
	if (status != PM_OK)
		give_up(status);
	cli_check(pm_receive_answer(&session, CLI_OK, said, size));
	report(&in);
	pm_tls_keys_free(keys);
	pm_net_free(&net);
	pm_writer_close(&out);
	pm_reader_close(&in);
	return cli_finish();
}
