/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-send - send a stream over a connection; see pm-send(1).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "fdio.h"
#include "net_options.h"
#include "rate.h"
#include "relay.h"
#include "transmit.h"

#define TRY_MS		50		/* between two tries to connect */

static const char *timeout_text = "60", *connections_text = "1";
static const char *rate_text, *resume_text, *make_key;
static int raw, count_zero;

static struct poptOption options[] = {
	{ "raw", '\0', POPT_ARG_NONE, &raw, 0,
	    "send the bare stream, as to nc; nothing is confirmed", NULL },
	{ "connections", '\0', POPT_ARG_STRING, &connections_text, 0,
	    "over how many at the same time, 1 to 64 (1)", "N" },
	{ "rate", '\0', POPT_ARG_STRING, &rate_text, 0,
	    "bytes a second, at most; @FILE: what it says now", "SIZE|@FILE" },
	{ "count-zero", '\0', POPT_ARG_NONE, &count_zero, 0,
	    "for the rate, a page of zeroes counts as a whole one", NULL },
	{ "resume", '\0', POPT_ARG_STRING, &resume_text, 0,
	    "send what is missing behind it; see pm-info --token", "TOKEN" },
	{ "timeout", '\0', POPT_ARG_STRING, &timeout_text, 0,
	    "wait so long for the receiver to be there (60)", "SECONDS" },
	NET_OPTIONS,
	{ "make-key", '\0', POPT_ARG_STRING, &make_key, 0,
	    "write a new key for --tls-psk to FILE, and end", "FILE" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "send a page stream to pm-recv",
	.operand = "ADDRESS",
	.memory = "about 5 MiB; where the link is slow, --window more",
};

static struct pm_transmit session;
static struct pm_fault sending;
static struct pm_token token;

/* What the receiver's command printed is printed; fail as it did. */
static void
take_result(const struct pm_transmit_result *result, int out)
{
	size_t size = strcspn(result->text, "\n");

	if (result->status != 0)
		cli_die(result->status == CLI_BAD_STREAM ? CLI_BAD_STREAM
		    : CLI_FAILURE, "%s: the receiver failed: %.*s",
		    cli_operand(), (int)size, result->text);
	if (pm_fd_write(out, result->text, result->size) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", cli_output_name(),
		    strerror(errno));
}

/* For the rate, pages of zeroes can be as whole ones. */
static void
charge(const struct pm_record *rec)
{
	uint64_t pages = 0;

	if (!count_zero || rec->type != PM_TYPE_PAGES)
		return;
	for (uint32_t i = 0; i < rec->entries; i++)
		if (pm_entry_kind(rec->entry[i]) == PM_ZERO)
			pages += pm_entry_length(rec->entry[i]);
	pm_transmit_charge(&session, pages << rec->page_shift);
}

static enum pm_status
relay(struct pm_reader *in, struct pm_writer *out, struct pm_record *rec)
{
	struct pm_relay passing;
	enum pm_status status;

	pm_relay_open(&passing, in, out);
	while ((status = pm_relay_next(&passing, rec)) == PM_OK) {
		charge(rec);
		if ((status = pm_relay_put(&passing, rec)) != PM_OK)
			return status;
	}
	return status == PM_END ? PM_OK : status;
}

static void
tell(void *arg, const char *text)
{
	(void)arg;
	cli_say("%s", text);
}

static void
count(const struct pm_reader *in, uint64_t bytes_out, int confirmed)
{
	cli_count("records", pm_meter_get(&in->meter.records));
	cli_count("pages", pm_meter_get(&in->meter.pages));
	cli_count("bytes_in", pm_meter_get(&in->meter.bytes));
	cli_count("bytes_out", bytes_out);
	cli_count("confirmed", (uint64_t)confirmed);
}

static void
count_session(uint64_t spent_us)
{
	const struct pm_transmit_stats *stats = &session.stats;

	cli_count("wire_bytes", stats->bytes);
	cli_count("bytes_again", stats->again);
	cli_count("bytes_skipped", stats->skipped);
	cli_count("breaks", stats->breaks);
	cli_count("stalls", stats->stalls);
	cli_count("stalled_us", stats->stalled_us);
	cli_count("rate", spent_us == 0 ? 0
	    : (uint64_t)((double)stats->bytes * 1e6 / (double)spent_us));
}

/* Our own input is at fault: say so there, and here. */
static void
give_up(enum pm_status status)
{
	if (cli_fault.text[0] == '\0')
		(void)pm_fault_set(&cli_fault, status, NULL, "%s",
		    pm_status_text(status));
	pm_transmit_abort(&session, cli_fault.text);
	cli_check(status);
	exit(CLI_FAILURE);
}

static int
send_framed(const struct pm_net *net, const struct pm_tls_keys *keys,
    struct pm_record *rec)
{
	const struct pm_transmit_how how = {
		.net = net, .keys = keys, .input = cli_input(),
		.connections = (unsigned)cli_number("--connections",
		    connections_text, 1, PM_WIRE_CONNECTIONS_MAX),
		.frames = net_frames(),
		.wait_us = (uint64_t)cli_number("--timeout", timeout_text, 0,
		    86400) * 1000000,
		.break_us = net_break_us(), .silence_us = net_silence_us(),
		.resume = resume_text != NULL ? &token : NULL,
		.rate = rate_text != NULL ? rate_now : NULL,
		.tell = tell,
	};
	int report = cli_report();
	uint64_t begun;
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;

	cli_target("<stdin>");	/* of which a token speaks */
	status = pm_transmit_open(&session, &how, &cli_fault);
	if (status == PM_ERR_MISMATCH)
		give_up(status);
	cli_check(status);
	session.fault = &sending;
	begun = pm_clock_us();
	pm_fd_widen(how.input);
	cli_check(pm_writer_open_io(&out, pm_transmit_writev, &session,
	    &sending));
	pm_writer_push(&out, how.input, pm_transmit_push);
	/* Opened this late, so that an empty input too is told there. */
	status = pm_reader_open_io(&in, pm_transmit_fetch, &session,
	    &cli_fault);
	pm_reader_pull(&in, how.input, NULL);
	cli_watch(&in.meter, &out.meter, 0);
	if (status == PM_OK)
		status = relay(&in, &out, rec);
	if (status == PM_OK || pm_transmit_result(&session) != NULL)
		status = pm_transmit_end(&session);
	/* A receiver that failed says why, if it still can. */
	if (pm_transmit_result(&session) != NULL)
		take_result(pm_transmit_result(&session), report);
	else if (status != PM_OK && sending.text[0] != '\0') {
		cli_fault = sending;
		if (status != PM_ERR_PEER)
			give_up(status);
		cli_check(status);
	} else if (status != PM_OK)
		give_up(status);
	count(&in, pm_meter_get(&out.meter.bytes), 1);
	count_session(pm_clock_us() - begun);
	pm_writer_close(&out);
	pm_reader_close(&in);
	pm_transmit_close(&session);
	return cli_finish();
}

/* A connection, waited for as long as nobody listens. */
static int
connect_to(const struct pm_net *net)
{
	uint64_t until = pm_clock_us() + (uint64_t)cli_number("--timeout",
	    timeout_text, 0, 86400) * 1000000;
	struct pm_dial dial;
	int fd;
	enum pm_status status = pm_net_dial(&dial, net, &fd);

	while (fd < 0) {
		if (status != PM_OK && (!pm_net_is_early(errno) ||
		    pm_clock_us() >= until))
			cli_die(CLI_FAILURE, "%s: %s", net->text,
			    strerror(errno));
		(void)poll(NULL, 0, TRY_MS);
		status = status == PM_OK ? pm_net_go_on(&dial, &fd)
		    : pm_net_dial(&dial, net, &fd);
	}
	pm_net_block(fd);
	return fd;
}

static uint64_t left;		/* out, of what the token speaks of */

/* A pm_stream_io that leaves it out. */
static enum pm_status
write_rest(void *arg, struct iovec *iov, int count)
{
	static struct pm_hash *hash;

	if (hash == NULL && (hash = pm_hash_begin()) == NULL)
		return PM_ERR_SYSTEM;
	for (int i = 0; i < count && left < token.offset; i++) {
		uint64_t most = token.offset - left;
		size_t now = iov[i].iov_len < most ? iov[i].iov_len
		    : (size_t)most;

		pm_hash_add(hash, iov[i].iov_base, now);
		iov[i].iov_base = (char *)iov[i].iov_base + now;
		iov[i].iov_len -= now;
		left += now;
		if (left == token.offset && !pm_digest_equal(token.hash,
		    pm_hash_sum(hash)))
			return pm_fault_set(&cli_fault, PM_ERR_MISMATCH, NULL,
			    "does not begin with the bytes of the token; what "
			    "a live source said cannot be said again");
	}
	return pm_fd_writev(*(const int *)arg, iov, count);
}

/* Nothing but the stream, for whoever takes it. */
static int
send_raw(const struct pm_net *net, struct pm_record *rec)
{
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;
	sigset_t pipe_only;
	int fd = cli_input(), socket = connect_to(net);

	cli_warn("--raw: nobody will confirm that it arrived");
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
	cli_check(resume_text != NULL
	    ? pm_writer_open_io(&out, write_rest, &socket, &cli_fault)
	    : pm_writer_open(&out, socket, &sending));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	cli_watch(&in.meter, &out.meter, 0);
	status = pm_relay_run(&in, &out, rec);
	if (status == PM_ERR_WRITE)
		cli_die(CLI_FAILURE, "%s: %s", net->text, strerror(errno));
	cli_check(status);
	if (left < token.offset)
		cli_die(CLI_BAD_STREAM, "<stdin>: does not begin with the "
		    "bytes of the token: it ends before");
	count(&in, pm_meter_get(&out.meter.bytes), 0);
	close(socket);
	pm_writer_close(&out);
	pm_reader_close(&in);
	return cli_finish();
}

/* What can't be said together. */
static void
check_options(void)
{
	if (cli_operand() == NULL)
		cli_die(CLI_USAGE, "ADDRESS is missing");
	if (raw && (net_options.psk != NULL || net_options.cert != NULL))
		cli_die(CLI_USAGE, "--raw: is never encrypted");
	if (raw && (rate_text != NULL || strcmp(connections_text, "1") != 0))
		cli_die(CLI_USAGE,
		    "--raw: has no --rate and one connection");
	if (count_zero && rate_text == NULL)
		cli_die(CLI_USAGE, "--count-zero: needs --rate");
	if (resume_text != NULL && !pm_token_parse(resume_text, &token))
		cli_die(CLI_USAGE, "--resume: %s: not a token, as "
		    "pm-info --token prints it", resume_text);
	if (rate_text != NULL)
		rate_open(rate_text);
}

int
main(int argc, char *argv[])
{
	struct pm_record *rec = pm_record_new();
	struct pm_tls_keys *keys;
	struct pm_net net;
	int code;

	cli_start(argc, argv, options, &about);
	if (make_key != NULL) {
		if (cli_operand() != NULL)
			cli_die(CLI_USAGE, "--make-key: takes no ADDRESS");
		cli_check(pm_tls_make_key(make_key, &cli_fault));
		return cli_finish();
	}
	check_options();
	if (rec == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	net_open(&net, &keys, 0);
	code = raw ? send_raw(&net, rec) : send_framed(&net, keys, rec);
	pm_tls_keys_free(keys);
	pm_net_free(&net);
	pm_record_free(rec);
	return code;
}
