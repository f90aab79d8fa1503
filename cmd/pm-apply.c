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
#include "qemu_emit.h"
#include "restore.h"
#include "ring.h"
#include "squeeze.h"
#include "stream.h"
#include "target.h"

#define THREADS_MAX	64
#define THREADS_USEFUL	4	/* one writes; more would wait for it */

static int in_place, trust_table;
static const char *region_name, *threads_text;
static const char *format = "image";

static struct poptOption options[] = {
	{ "in-place", '\0', POPT_ARG_NONE, &in_place, 0,
	    "write TARGET itself instead of replacing it", NULL },
	{ "trust-table", '\0', POPT_ARG_NONE, &trust_table, 0,
	    "keep TARGET.pm-table and trust it to know TARGET", NULL },
	{ "format", '\0', POPT_ARG_STRING, &format, 0,
	    "of what is written: image, qemu or mapped-ram (image)", "NAME" },
	{ "region", '\0', POPT_ARG_STRING, &region_name, 0,
	    "make TARGET an image of the region NAME alone", "NAME" },
	{ "threads", 'j', POPT_ARG_STRING, &threads_text, 0,
	    "work on N threads (the processors, at most 4)", "N" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose =
	    "put the pages of a stream into a file, or give them to QEMU",
	.operand = "[TARGET]",
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

/* What came, and the generation that it led to. */
static void
report_input(const struct pm_reader *in, struct pm_digest id,
    struct pm_restore_counts counts)
{
	static char to[PM_DIGEST_TEXT];

	pm_digest_text(id, to);
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
}

static void
report(const struct pm_reader *in, const struct pm_target *target,
    struct pm_restore_counts counts)
{
	report_input(in, in->end.to, counts);
	cli_count("bytes_written", counts.written);
	cli_count("bytes_read_old", target->read);
	cli_count("bytes_copied", target->copied);
	cli_count("cloned", (uint64_t)target->cloned);
	cli_count("table_trusted", (uint64_t)target->trusted);
}

/* What threads that decompress need, one each. */
static void
new_states(void *state[], unsigned threads)
{
	for (unsigned i = 0; i < threads; i++)
		if ((state[i] = pm_squeeze_new(NULL, 0)) == NULL)
			cli_die(CLI_FAILURE, "%s", strerror(errno));
}

static void
free_states(void *state[], unsigned threads)
{
	for (unsigned i = 0; i < threads; i++)
		pm_squeeze_free(state[i]);
}

static void
report_qemu(const struct pm_reader *in, struct pm_qemu_emit_counts counts)
{
	report_input(in, counts.id, (struct pm_restore_counts){
	    .generations = counts.generations, .raw = counts.raw,
	    .delta = counts.delta, .same = counts.same, .zero = counts.zero,
	    .gone = counts.gone });
	cli_count("bytes_out", counts.bytes);
	cli_count("device_bytes", counts.device_bytes);
	cli_count("device_us", counts.device_us);
}

static enum pm_status
take_qemu(void *arg, struct pm_record *rec)
{
	enum pm_status status = pm_qemu_emit_take(arg, rec);

	if (status != PM_OK)
		pm_fault_place(&cli_fault, rec->number, rec->offset);
	return status;
}

static void
check_qemu(void)
{
	if (cli_operand() != NULL)
		cli_die(CLI_USAGE, "%s: a migration stream goes to standard "
		    "output, or to the file of -o", cli_operand());
	if (in_place || trust_table || region_name != NULL)
		cli_die(CLI_USAGE, "--in-place, --trust-table and --region "
		    "are for images");
}

/* The migration stream goes to standard output, and nothing else does. */
static int
run_qemu(unsigned threads)
{
	void *state[THREADS_MAX];
	struct pm_qemu_emit *emit;
	struct pm_reader in;
	int fd = cli_input(), out = cli_output();

	emit = pm_qemu_emit_new(out, &cli_fault);
	if (emit == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	new_states(state, threads);
	cli_watch(&in.meter, NULL, 0);
	cli_check(pm_ring_feed(&in, take_qemu, emit, pm_squeeze_step, state,
	    threads));
	cli_check(pm_qemu_emit_finish(emit));
	report_qemu(&in, pm_qemu_emit_counts(emit));
	pm_qemu_emit_free(emit);
	free_states(state, threads);
	pm_reader_close(&in);
	return cli_finish();
}

static enum pm_status
take(void *arg, struct pm_record *rec)
{
	enum pm_status status = pm_restore_take(arg, rec);

	if (status != PM_OK)
		pm_fault_place(&cli_fault, rec->number, rec->offset);
	return status;
}

/* What TARGET will be, of those that are files with a name. */
static enum pm_product_kind
check_product(void)
{
	int is_mapped = strcmp(format, "mapped-ram") == 0;

	if (!is_mapped && strcmp(format, "image") != 0)
		cli_die(CLI_USAGE, "--format: %s: not image, qemu or "
		    "mapped-ram", format);
	if (is_mapped && region_name != NULL)
		cli_die(CLI_USAGE, "--region is for images");
	if ((is_mapped || region_name != NULL) && (in_place || trust_table))
		cli_die(CLI_USAGE, "%s replaces TARGET without reading it; "
		    "leave %s out", is_mapped ? "--format=mapped-ram"
		    : "--region", in_place ? "--in-place" : "--trust-table");
	return is_mapped ? PM_PRODUCT_MAPPED : region_name != NULL
	    ? PM_PRODUCT_REGION : PM_PRODUCT_WHOLE;
}

/*
 * What broke is what the status says.  What is then wrong with the generation
 * before it is told besides.
 */
static enum pm_status
finish(struct pm_restore *restore, enum pm_status status)
{
	struct pm_fault first = cli_fault;
	enum pm_status finished;

	if (status == PM_OK)
		return pm_restore_finish(restore, 0);
	cli_fault = (struct pm_fault){ .error = 0 };
	finished = pm_restore_finish(restore, 1);
	if (finished != PM_OK)
		cli_warn("%s: the last generation that was proved was not put "
		    "in place and told: %s", cli_operand(),
		    cli_fault.text[0] != '\0' ? cli_fault.text
		    : pm_status_text(finished));
	cli_fault = first;
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
	enum pm_product_kind kind;
	unsigned threads;
	int fd, out;

	cli_start(argc, argv, options, &about);
	threads = cli_threads(threads_text, THREADS_USEFUL);
	if (strcmp(format, "qemu") == 0) {
		check_qemu();
		return run_qemu(threads);
	}
	kind = check_product();
	if (cli_operand() == NULL)
		cli_die(CLI_USAGE, "TARGET is missing");
	cli_target(cli_operand());
	if (strcmp(cli_operand(), "-") == 0)
		cli_die(CLI_USAGE, "-: the target must be a file");
	fd = cli_input();
	out = cli_report();
	cli_check(pm_target_open(&target, cli_operand(), in_place,
	    trust_table, &cli_fault));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	restore = pm_restore_new(&target, tell, &out, &cli_fault);
	if (restore == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	if (kind != PM_PRODUCT_WHOLE)
		pm_restore_make(restore, kind, region_name);
	new_states(state, threads);
	cli_watch(&in.meter, NULL, 0);

	/* Others read and decompress while one writes. */
	status = pm_ring_feed(&in, take, restore, pm_squeeze_step, state,
	    threads);
	status = finish(restore, status);
	if (status != PM_OK) {
		/* They remove files that could not do without a name. */
		pm_restore_free(restore);
		pm_target_close(&target);
		cli_check(status);
	}
	report(&in, &target, pm_restore_counts(restore));
	pm_target_close(&target);
	pm_restore_free(restore);
	free_states(state, threads);
	pm_reader_close(&in);
	return cli_finish();
}
