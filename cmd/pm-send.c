/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-send - send a stream over a connection; see pm-send(1).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "fdio.h"
#include "net.h"
#include "relay.h"
#include "wire.h"

static const char *timeout_text = "30";
static int raw, insecure;

static struct poptOption options[] = {
	{ "raw", '\0', POPT_ARG_NONE, &raw, 0,
	    "send the bare stream, as to nc; nothing is confirmed", NULL },
	{ "insecure", '\0', POPT_ARG_NONE, &insecure, 0,
	    "send to other machines, readable on the way", NULL },
	{ "timeout", '\0', POPT_ARG_STRING, &timeout_text, 0,
	    "wait so long for the receiver to be there (30)", "SECONDS" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "send a page stream to pm-recv",
	.operand = "ADDRESS",
	.needs_operand = 1,
	.memory = "about 3 MiB",
};

static struct pm_wire wire;
static struct pm_wire_result result;

/* A wrong address is the user's slip, not the network's. */
static void
check_address(enum pm_status status)
{
	if (status == PM_ERR_REFUSED)
		cli_die(CLI_USAGE, "%s: %s", cli_fault.subject,
		    cli_fault.text);
	cli_check(status);
}

/* Print what the receiver's command printed, and fail as it did. */
static void
take_result(int out)
{
	enum pm_status status = pm_wire_await(&wire, &result);
	size_t size = strcspn(result.text, "\n");

	if (status != PM_OK) {
		cli_check(status);
		return;
	}
	if (result.status != 0)
		cli_die(result.status == CLI_BAD_STREAM ? CLI_BAD_STREAM
		    : CLI_FAILURE, "%s: the receiver failed: %.*s",
		    cli_operand(), (int)size, result.text);
	if (pm_fd_write(out, result.text, result.size) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", cli_output_name(),
		    strerror(errno));
}

int
main(int argc, char *argv[])
{
	struct pm_fault sending = { .error = 0 };
	struct pm_record *rec = pm_record_new();
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;
	int fd, socket, report;
	unsigned seconds;

	cli_start(argc, argv, options, &about);
	seconds = (unsigned)cli_number("--timeout", timeout_text, 0, 86400);
	if (rec == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	fd = cli_input();
	report = cli_report();
	check_address(pm_net_connect(cli_operand(), insecure, seconds,
	    &socket, &cli_fault));
	if (raw) {
		cli_warn("--raw: nobody will confirm that it arrived");
		wire = (struct pm_wire){ .fd = socket, .bare = 1,
		    .peer = cli_operand(), .fault = &sending };
	} else
		cli_check(pm_wire_greet(&wire, socket, seconds > 0 ? seconds
		    : 1, cli_operand(), &cli_fault));
	wire.fault = &sending;

	cli_check(pm_writer_open_io(&out, pm_wire_writev, &wire, &sending));
	pm_writer_push(&out, socket, pm_wire_push);
	/* Opened this late, so that an empty input too is told there. */
	status = pm_reader_open(&in, fd, &cli_fault);
	cli_watch(&in.meter, &out.meter, 0);
	if (status == PM_OK)
		status = pm_relay_run(&in, &out, rec);
	if (status == PM_OK)
		status = pm_wire_end(&wire);
	else if (cli_fault.text[0] != '\0') {
		/* Our own input is at fault: say so there, and here. */
		(void)pm_wire_abort(&wire, cli_fault.text);
		cli_check(status);
	}
	/* A receiver that failed says why, if it still can. */
	if (!raw && (status == PM_OK || status == PM_ERR_PEER)) {
		wire.fault = &cli_fault;
		take_result(report);
	} else if (status != PM_OK) {
		cli_fault = sending;
		cli_check(status);
	}
	cli_count("records", pm_meter_get(&in.meter.records));
	cli_count("pages", pm_meter_get(&in.meter.pages));
	cli_count("bytes_in", pm_meter_get(&in.meter.bytes));
	cli_count("bytes_out", pm_meter_get(&out.meter.bytes));
	cli_count("confirmed", !raw);
	close(socket);
	pm_writer_close(&out);
	pm_reader_close(&in);
	pm_record_free(rec);
	return cli_finish();
}
