/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-apply - put the pages of a stream into a file; see pm-apply(1).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "fdio.h"
#include "restore.h"
#include "ring.h"
#include "squeeze.h"
#include "stream.h"
#include "target.h"

#define THREADS_MAX	64
#define THREADS_USEFUL	4	/* one writes; more would wait for it */

static int in_place, trust_table;
static const char *threads_text;

static struct poptOption options[] = {
	{ "in-place", '\0', POPT_ARG_NONE, &in_place, 0,
	    "write TARGET itself instead of replacing it", NULL },
	{ "trust-table", '\0', POPT_ARG_NONE, &trust_table, 0,
	    "keep TARGET.pm-table and trust it to know TARGET", NULL },
	{ "threads", 'j', POPT_ARG_STRING, &threads_text, 0,
	    "work on N threads (the processors, at most 4)", "N" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "put the pages of a stream into an image or core file",
	.operand = "TARGET",
	.needs_operand = 1,
	.memory = "about 8 MiB, 2 to 6 for each thread, and what mappings take",
};

/* Each generation that was proved is told at once: a chain may go on. */
static enum pm_status
tell(void *arg, struct pm_digest id)
{
	char line[PM_DIGEST_TEXT];
	enum pm_status status;
	int fd = *(int *)arg;

	pm_digest_text(id, line);
	line[PM_DIGEST_TEXT - 1] = '\n';
	status = pm_fd_write(fd, line, sizeof(line));
	return status == PM_OK ? PM_OK : pm_fault_set(&cli_fault, status,
	    cli_output_name(), "%s", pm_status_text(status));
}

static void
report(const struct pm_reader *in, const struct pm_target *target,
    struct pm_restore_counts counts)
{
	static char to[PM_DIGEST_TEXT];

	pm_digest_text(in->end.to, to);
	cli_note("to", to);
	cli_count("generations", counts.generations);
	cli_count("records", pm_meter_get(&in->meter.records));
	cli_count("pages", pm_meter_get(&in->meter.pages));
	cli_count("pages_raw", counts.raw);
	cli_count("pages_delta", counts.delta);
	cli_count("pages_same", counts.same);
	cli_count("pages_zero", counts.zero);
	cli_count("pages_gone", counts.gone);
	cli_count("bytes_in", pm_meter_get(&in->meter.bytes));
	cli_count("bytes_written", counts.written);
	cli_count("bytes_read_old", target->read);
	cli_count("bytes_copied", target->copied);
	cli_count("cloned", (uint64_t)target->cloned);
	cli_count("table_trusted", (uint64_t)target->trusted);
}

static enum pm_status
take(void *arg, struct pm_record *rec)
{
	enum pm_status status = pm_restore_take(arg, rec);

	if (status != PM_OK)
		pm_fault_place(&cli_fault, rec->number, rec->offset);
	return status;
}

/* The stream is never the operand here: it comes on standard input. */
int
main(int argc, char *argv[])
{
	void *state[THREADS_MAX];
	struct pm_restore *restore;
	struct pm_target target;
	struct pm_reader in;
	enum pm_status status;
	unsigned threads;
	int fd, out;

	cli_start(argc, argv, options, &about);
	cli_target(cli_operand());
	if (strcmp(cli_operand(), "-") == 0)
		cli_die(CLI_USAGE, "-: the target must be a file");
	threads = cli_threads(threads_text, THREADS_USEFUL);
	fd = cli_input();
	out = cli_report();
	cli_check(pm_target_open(&target, cli_operand(), in_place,
	    trust_table, &cli_fault));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	restore = pm_restore_new(&target, tell, &out, &cli_fault);
	if (restore == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	for (unsigned i = 0; i < threads; i++)
		if ((state[i] = pm_squeeze_new(NULL, 0)) == NULL)
			cli_die(CLI_FAILURE, "%s", strerror(errno));
	cli_watch(&in.meter, NULL, 0);

	/* Others read and decompress while one writes. */
	status = pm_ring_feed(&in, take, restore, pm_squeeze_step, state,
	    threads);
	if (status != PM_OK) {
		pm_target_close(&target);
		cli_check(status);
	}
	report(&in, &target, pm_restore_counts(restore));
	pm_target_close(&target);
	pm_restore_free(restore);
	for (unsigned i = 0; i < threads; i++)
		pm_squeeze_free(state[i]);
	pm_reader_close(&in);
	return cli_finish();
}
