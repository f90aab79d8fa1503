/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-delta - replace pages by what changed in them; see pm-delta(1).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "delta.h"
#include "filter.h"

#define PAGE_LEAST	(1u << PM_PAGE_SHIFT_MIN)
#define FOREIGN_CACHE	(UINT64_C(4) << 30)	/* bytes of pages, and of */
#define FOREIGN_MEMORY	(UINT64_C(5) << 30)	/* memory for as many */

static const char *cache_text, *memory_text, *base_path;
static int decode;

static struct poptOption options[] = {
	{ "cache-size", '\0', POPT_ARG_STRING, &cache_text, 0,
	    "remember pages of SIZE bytes in all (64M; of QEMU, 4G)", "SIZE" },
	{ "base", '\0', POPT_ARG_STRING, &base_path, 0,
	    "FILE is what the target holds before the stream", "FILE" },
	{ "decode", 'd', POPT_ARG_NONE, &decode, 0,
	    "restore whole pages", NULL },
	{ "max-memory", '\0', POPT_ARG_STRING, &memory_text, 0,
	    "for -d, refuse to remember more (1G; of QEMU, 5G)", "SIZE" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "replace pages by what changed in them, or restore them",
	.operand = "[STREAM]",
	.memory = "5 MiB, the cache and 2 % of it, a bit for each page of "
	    "FILE",
};

static struct pm_delta *
new_delta(void)
{
	struct pm_delta_options what = { .decode = decode, .base = base_path };
	struct pm_delta *delta;

	if (decode && cache_text != NULL)
		cli_die(CLI_USAGE, "--cache-size: the stream says it to -d");
	if (!decode && memory_text != NULL)
		cli_die(CLI_USAGE, "--max-memory: is for -d");
	/* It is opened behind the regions; not to be there is told now. */
	if (base_path != NULL && access(base_path, R_OK) != 0)
		cli_die(CLI_FAILURE, "%s: %s", base_path, strerror(errno));
	if (decode)
		what.cache_bytes = cli_size("--max-memory",
		    memory_text != NULL ? memory_text : "1G");
	else
		what.cache_bytes = cli_size("--cache-size",
		    cache_text != NULL ? cache_text : "64M");
	/* All that it sees, in guests of usual size. */
	if (cache_text == NULL && memory_text == NULL)
		what.foreign_bytes = decode ? FOREIGN_MEMORY : FOREIGN_CACHE;
	if (!decode && base_path == NULL && what.cache_bytes < PAGE_LEAST)
		cli_die(CLI_USAGE, "--cache-size: %s: less than a page",
		    cache_text);
	if ((delta = pm_delta_new(&what)) == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(ENOMEM));
	return delta;
}

/* As QEMU has it: bytes of the pages that were hit, for each byte sent. */
static uint64_t
encoding_rate(const struct pm_delta_counts *counts, unsigned page_shift)
{
	uint64_t sent = counts->bytes + (counts->overflows << page_shift);

	return sent == 0 ? 0 : (counts->hits << page_shift) * 100 / sent;
}

static void
report(const struct pm_delta *delta, const struct pm_reader *in,
    const struct pm_writer *out)
{
	struct pm_delta_counts counts = pm_delta_counts(delta);

	cli_count("records", pm_meter_get(&in->meter.records));
	cli_count("pages", pm_meter_get(&in->meter.pages));
	cli_count("bytes_in", pm_meter_get(&in->meter.bytes));
	cli_count("bytes_out", pm_meter_get(&out->meter.bytes));
	cli_count("hits", counts.hits);
	cli_count("misses", counts.misses);
	cli_count("overflows", counts.overflows);
	cli_count("unchanged", counts.unchanged);
	cli_count("delta_bytes", counts.bytes);
	cli_count("encoding_rate_x100", encoding_rate(&counts,
	    in->stream.page_shift));
	cli_count("evictions", counts.evictions);
	cli_count("cache_pages", counts.cache_pages);
	cli_count("cached_pages", counts.cached_pages);
	cli_count("passed_streams", counts.passed_streams);
	if (counts.passed_streams > 0 && !decode)
		cli_warn("%" PRIu64 " of %" PRIu64 " streams held deltas "
		    "already and passed unchanged", counts.passed_streams,
		    counts.passed_streams + counts.streams);
}

int
main(int argc, char *argv[])
{
	struct pm_delta *delta;
	struct pm_record *rec;
	struct pm_reader in;
	struct pm_writer out;
	int fd;

	cli_start(argc, argv, options, &about);
	delta = new_delta();
	if ((rec = pm_record_new()) == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));

	cli_keep("--base", base_path);
	fd = cli_input();
	cli_check(pm_writer_open(&out, cli_output(), &cli_fault));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	cli_watch(&in.meter, &out.meter, 0);
	cli_check(pm_filter_run(&in, &out, pm_delta_step, delta, rec));
	report(delta, &in, &out);
	pm_delta_free(delta);
	pm_record_free(rec);
	pm_reader_close(&in);
	pm_writer_close(&out);
	return cli_finish();
}
