/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-compress - compress the pages of a stream; see pm-compress(1).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "filter.h"
#include "relay.h"
#include "ring.h"
#include "squeeze.h"

#define THREADS_MAX	64

static const char *codec_name = "zstd", *level_text, *threads_text;
static int undo;

static struct poptOption options[] = {
	{ "codec", 'c', POPT_ARG_STRING, &codec_name, 0,
	    "zstd 1..19, lz4 1..12 or zlib 1..9 (zstd)", "NAME" },
	{ "level", 'l', POPT_ARG_STRING, &level_text, 0,
	    "of the codec; 0 stores (zstd 1, lz4 2, zlib 1)", "LEVEL" },
	{ "threads", 'j', POPT_ARG_STRING, &threads_text, 0,
	    "compress on N threads (the processors)", "N" },
	{ "decode", 'd', POPT_ARG_NONE, &undo, 0,
	    "restore what was compressed, with any codec", NULL },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "compress the pages of a stream, or restore them",
	.operand = "[STREAM]",
	.memory = "about 5 MiB, and for each thread 2 to 20 MiB",
};

/* NULL for a level of 0, which stores. */
static const struct pm_codec *
choose_codec(int *level)
{
	const struct pm_codec *codec = pm_codec_named(codec_name);
	const char *from = level_text != NULL ? "--level" : "PM_LEVEL";
	const char *text = cli_default(level_text, "PM_LEVEL");

	if (codec == NULL)
		cli_die(CLI_USAGE, "--codec: %s: not zstd, lz4 or zlib",
		    codec_name);
	*level = text == NULL ? codec->level_default
	    : (int)cli_number(from, text, 0, codec->level_max);
	return codec;
}

static void
report(struct pm_squeeze *state[], unsigned threads,
    const struct pm_reader *in, const struct pm_writer *out)
{
	struct pm_squeeze_counts sum = { 0 };

	for (unsigned i = 0; i < threads; i++) {
		struct pm_squeeze_counts one = pm_squeeze_counts(state[i]);

		sum.squeezed += one.squeezed;
		sum.kept += one.kept;
		sum.bytes_in += one.bytes_in;
		sum.bytes_out += one.bytes_out;
	}
	cli_count("records", pm_meter_get(&in->meter.records));
	cli_count("pages", pm_meter_get(&in->meter.pages));
	cli_count("bytes_in", pm_meter_get(&in->meter.bytes));
	cli_count("bytes_out", pm_meter_get(&out->meter.bytes));
	cli_count("coded", sum.squeezed);
	cli_count("kept", sum.kept);
	cli_count("payload_in", sum.bytes_in);
	cli_count("payload_out", sum.bytes_out);
	cli_count("threads", threads);
}

int
main(int argc, char *argv[])
{
	struct pm_squeeze *state[THREADS_MAX] = { NULL };
	void *each[THREADS_MAX];
	const struct pm_codec *codec;
	struct pm_record *rec;
	struct pm_reader in;
	struct pm_writer out;
	unsigned threads;
	int level, fd;

	cli_start(argc, argv, options, &about);
	codec = choose_codec(&level);
	threads = cli_threads(threads_text, THREADS_MAX);
	for (unsigned i = 0; i < threads; i++) {
		each[i] = state[i] = pm_squeeze_new(undo ? NULL : codec,
		    level > 0 ? level : 1);
		if (state[i] == NULL)
			cli_die(CLI_FAILURE, "%s", strerror(ENOMEM));
	}
	if ((rec = pm_record_new()) == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));

	fd = cli_input();
	cli_check(pm_writer_open(&out, cli_output(), &cli_fault));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	cli_watch(&in.meter, &out.meter, 0);
	/* A level of 0 leaves every record as it came. */
	if (!undo && level == 0)
		cli_check(pm_relay_run(&in, &out, rec));
	else if (threads == 1)
		cli_check(pm_filter_run(&in, &out, pm_squeeze_step, each[0],
		    rec));
	else
		cli_check(pm_ring_run(&in, &out, pm_squeeze_step, each,
		    threads));
	report(state, threads, &in, &out);
	for (unsigned i = 0; i < threads; i++)
		pm_squeeze_free(state[i]);
	pm_record_free(rec);
	pm_reader_close(&in);
	pm_writer_close(&out);
	return cli_finish();
}
