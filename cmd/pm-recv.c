/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-recv - receive a stream over a connection; see pm-recv(1).
 */
#define _GNU_SOURCE		/* F_GETPIPE_SZ */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "consumer.h"
#include "fdio.h"
#include "kept.h"
#include "net_options.h"
#include "relay.h"
#include "sender.h"

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

static struct kept kept;
static struct pm_reader in;
static struct pm_writer out;

static void
tell(void *arg, const char *text)
{
	(void)arg;
	cli_say("%s", text);
}

static void
wait_for_sender(const struct pm_net *net, const struct pm_tls_keys *keys)
{
	const struct pm_receive_how how = {
		.net = net, .keys = keys, .frames = net_frames(),
		.wait_us = (uint64_t)cli_number("--timeout", timeout_text, 0,
		    86400) * 1000000,
		.break_us = net_break_us(), .silence_us = net_silence_us(),
		.have = resume ? &kept.have : NULL,
		.tell = tell,
	};

	sender_meet(&how, port_file);
}

static enum pm_status
read_stream(void *arg, struct iovec *iov, int count)
{
	(void)arg;
	return kept.at < kept.have.offset ? kept_read(&kept, iov, count)
	    : pm_receive_readv(&sender_session, iov, count);
}

static enum pm_status
pull(void *arg, int to, size_t size, size_t *moved)
{
	(void)arg;		/* all that was kept is read by then */
	return pm_receive_pull(&sender_session, to, size, moved);
}

static enum pm_status
relay(void)
{
	struct pm_record *rec = pm_record_new();
	struct pm_relay passing;
	enum pm_status status = PM_OK;

	if (rec == NULL)
		return PM_ERR_SYSTEM;
	while (status == PM_OK &&
	    pm_meter_get(&in.meter.bytes) < kept.have.offset)
		status = pm_reader_next(&in, rec);
	pm_relay_open(&passing, &in, &out);
	while (status == PM_OK &&
	    (status = pm_relay_next(&passing, rec)) == PM_OK)
		if ((status = pm_relay_put(&passing, rec)) == PM_OK)
			pm_receive_commit(&sender_session,
			    pm_meter_get(&in.meter.bytes));
	pm_record_free(rec);
	return status == PM_END ? PM_OK : status;
}

/* Pass the stream on. */
static enum pm_status
pass(struct pm_receive_output *to)
{
	enum pm_status status = pm_reader_open_io(&in, read_stream, NULL,
	    &cli_fault);

	pm_reader_pull(&in, sender_session.bare, sender_session.bare < 0
	    ? pull : NULL);
	pm_fd_widen(to->fd);
	cli_check(pm_writer_open_io(&out, pm_receive_writev, to, &cli_fault));
	pm_writer_push(&out, to->fd, NULL);
	cli_watch(&in.meter, &out.meter, 0);
	return status == PM_OK ? relay() : status;
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
	code = sender_wait_for(pid);
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

static void
block_pipe_signal(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* All of the stream, and what the command printed, is to be on disk. */
static void
settle(int fd, const char *said, size_t size)
{
	enum pm_status status = PM_OK;

	if (size > 0)
		status = pm_fd_write(fd, said, size);
	if (status == PM_OK)
		status = sync_beside(fd);
	if (status == PM_OK)
		status = cli_commit();
	if (status != PM_OK)
		sender_give_up(status);
}

static void
report(void)
{
	const struct pm_receive *session = &sender_session;

	cli_count("records", pm_meter_get(&in.meter.records));
	cli_count("pages", pm_meter_get(&in.meter.pages));
	cli_count("bytes_in", pm_meter_get(&in.meter.bytes));
	cli_count("confirmed", session->bare < 0);
	if (session->bare < 0) {
		cli_count("wire_bytes", session->stats.bytes);
		cli_count("bytes_again", session->stats.again);
		cli_count("bytes_kept", kept.have.offset);
		cli_count("breaks", session->stats.breaks);
		cli_count("strangers", session->stats.strangers);
	}
}

int
main(int argc, char *argv[])
{
	static char said[PM_WIRE_TEXT_MAX];	/* by the command */
	struct pm_receive_output to = { .receive = &sender_session };
	struct pm_tls_keys *keys;
	struct pm_net net;
	enum pm_status status;
	size_t size = 0;
	int fd;

	cli_start(argc, argv, options, &about);
	cli_source(cli_operand());
	net_open(&net, &keys, 1);
	if (resume && (cli_command() != NULL || cli_kept() == NULL ||
	    strcmp(cli_kept(), "-") == 0))
		cli_die(CLI_USAGE, "--resume: needs -o FILE, and no command");
	if (resume)
		kept_open(&kept, cli_kept());
	fd = resume ? kept.fd : cli_command() != NULL ? cli_report()
	    : cli_output();
	block_pipe_signal();
	wait_for_sender(&net, keys);
	if (resume)
		kept_cut(&kept);

	to.fd = cli_command() != NULL ? consumer_start(cli_command())
	    : unblock(fd);
	status = pass(&to);
	if (cli_command() != NULL) {
		/* Of one that left, its status tells. */
		if (status != PM_OK && status != PM_ERR_WRITE)
			consumer_cut_off();
		else
			size = consumer_finish(status, &out, said,
			    sizeof(said));
	} else if (status == PM_ERR_WRITE && errno == EPIPE) {
		sender_die_of_pipe();
	}
	if (status != PM_OK)
		sender_give_up(status);
	/* Who reads our output is to see its end with ours. */
	if (cli_command() == NULL && to.fd != fd)
		close(to.fd);
	settle(fd, said, size);
	cli_check(pm_receive_answer(&sender_session, CLI_OK, said, size));
	report();
	pm_tls_keys_free(keys);
	pm_net_free(&net);
	pm_writer_close(&out);
	pm_reader_close(&in);
	return cli_finish();
}
