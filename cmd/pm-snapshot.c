/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-snapshot - read memory and write it as a stream; see pm-snapshot(1).
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "cli.h"
#include "free_options.h"
#include "image_options.h"
#include "live_options.h"
#include "maplist.h"
#include "outfile.h"
#include "qemu_capture.h"
#include "qemu_input.h"
#include "size.h"
#include "source.h"
#include "table.h"

#define THREADS_USEFUL	4	/* one writes; memory has no more to give */

static const char *base_path, *since_path, *save_path;
static const char *pid_text, *spool;
static const char *record_text = "256K", *threads_text;
static const char **globs;

static struct poptOption options[] = {
	{ "base", '\0', POPT_ARG_STRING, &base_path, 0,
	    "send what differs from the image FILE", "FILE" },
	{ "since", '\0', POPT_ARG_STRING, &since_path, 0,
	    "send what differs from the page table FILE", "FILE" },
	{ "save-table", '\0', POPT_ARG_STRING, &save_path, 0,
	    "keep a page table of what was sent in FILE", "FILE" },
	{ "pid", '\0', POPT_ARG_STRING, &pid_text, 0,
	    "read the memory of process PID, frozen meanwhile", "PID" },
	{ "map", '\0', POPT_ARG_ARGV, &globs, 0,
	    "of a process, only mappings named like GLOB", "GLOB" },
	{ "spool", '\0', POPT_ARG_STRING, &spool, 0,
	    "freeze a process only for a copy to a file in DIR", "DIR" },
	LIVE_OPTIONS,
	FREE_OPTIONS,
	IMAGE_OPTIONS("of the source: auto, raw, core, qemu, mapped-ram (auto)"),
	{ "threads", 'j', POPT_ARG_STRING, &threads_text, 0,
	    "compare on N threads (the processors, at most 4)", "N" },
	{ "record-size", '\0', POPT_ARG_STRING, &record_text, 0,
	    "of pages in a record: one page to 1M (256K)", "SIZE" },
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "read memory and write it as a page stream",
	.operand = "[SOURCE]",
	.memory = "about 4 MiB, 2 a thread, and mappings; "
	    "--live, qemu: 16 bytes a page",
};

static uint32_t
record_size(unsigned shift)
{
	uint64_t size = cli_size("--record-size", record_text);

	if (size < UINT64_C(1) << shift || size > PM_PAYLOAD_MAX)
		cli_die(CLI_USAGE, "--record-size: %s: not in one page..1M",
		    record_text);
	return (uint32_t)(size >> shift << shift);
}

/* An image on standard input must be a file: holes are sought in it. */
static const char *
image_path(void)
{
	const char *path = cli_operand();
	struct stat st;

	if (path != NULL && strcmp(path, "-") != 0)
		return path;
	if (path == NULL && isatty(STDIN_FILENO))
		cli_die(CLI_USAGE, "no source: name an image file or --pid");
	if (fstat(STDIN_FILENO, &st) != 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		cli_die(CLI_USAGE, "no source: name an image file or --pid; "
		    "standard input is not a file");
	return "/dev/stdin";
}

static pid_t
process(void)
{
	if (cli_operand() != NULL)
		cli_die(CLI_USAGE, "%s: a file and --pid are two sources",
		    cli_operand());
	if (image_options.regions != NULL)
		cli_die(CLI_USAGE, "--region is for images");
	return (pid_t)cli_number("--pid", pid_text, 1, INT_MAX);
}

static struct pm_source *
open_process(void)
{
	struct pm_process_options how = {
		.glob = (const char *const *)globs, .spool = spool,
		.frozen = free_leave_out,
	};
	struct pm_source *source;

	cli_check(pm_source_open_process(&source, process(), &how,
	    &cli_fault));
	return source;
}

static struct pm_source *
open_image(void)
{
	struct pm_source *source = image_open(image_path());

	cli_check(free_leave_out(NULL, &source));
	return source;
}

static int
is_one_file(const char *a, const char *b)
{
	struct stat x, y;

	return a != NULL && b != NULL && stat(a, &x) == 0 &&
	    stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The page table to save, and the file that it will be. */
static struct pm_table save;
static struct pm_outfile save_file = { .fd = -1 };
static struct pm_table_stamp save_stamp;

/*
 * The stamp lets pm-apply trust the table of an image that it made.  It is
 * taken before the image is opened: a change that comes later voids it.
 */
static void
check_save(const char *path)
{
	if (is_one_file(save_path, path) || is_one_file(save_path, base_path))
		cli_die(CLI_USAGE, "--save-table: %s: is the image itself",
		    save_path);
}

static void
take_stamp(const char *path)
{
	struct stat st;

	check_save(path);
	if (path != NULL && stat(path, &st) == 0)
		save_stamp = pm_table_stamp_of(&st);
}

static struct pm_table *
open_save(const struct pm_source *source)
{
	struct pm_layout *layout = source->mappings > 0
	    ? pm_maplist_layout(source->mapping, source->mappings,
	    source->region, source->page_shift)
	    : pm_layout_of_blocks(source->region, source->regions,
	    source->page_shift, 0);

	if (layout == NULL || pm_outfile_open(&save_file, save_path) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", save_path, strerror(errno));
	if (save_file.direct)
		cli_die(CLI_USAGE, "%s: is not a regular file", save_path);
	cli_check(pm_table_begin(&save, save_file.fd, save_path, layout,
	    &cli_fault));
	pm_layout_free(layout);
	return &save;
}

/* The table must not be ahead of a stream that did not come to its end. */
static void
close_save(struct pm_digest id)
{
	cli_check(pm_table_seal(&save, id, &save_stamp));
	cli_check(cli_commit());
	if (pm_outfile_commit(&save_file) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", save_path, strerror(errno));
}

static void
report_pages(unsigned page_shift, const struct pm_capture_counts *counts,
    const struct pm_writer *out)
{
	static char from[PM_DIGEST_TEXT], to[PM_DIGEST_TEXT];

	pm_digest_text(counts->from, from);
	pm_digest_text(counts->to, to);
	cli_note("from", from);
	cli_note("to", to);
	cli_count("page_size", UINT64_C(1) << page_shift);
	cli_count("pages", counts->pages);
	cli_count("pages_read", counts->read);
	cli_count("pages_equal", counts->equal);
	cli_count("pages_raw", counts->raw);
	cli_count("pages_zero", counts->zero);
	cli_count("pages_gone", counts->gone);
	free_report();
	cli_count("records", pm_meter_get(&out->meter.records));
	cli_count("bytes_out", pm_meter_get(&out->meter.bytes));
	cli_count("blocked_us", counts->blocked_us);
}

static void
report(const struct pm_source *source, const struct pm_capture_counts *counts,
    const struct pm_writer *out)
{
	report_pages(source->page_shift, counts, out);
	if (pid_text == NULL)
		return;
	cli_count("frozen_us", source->frozen_us);
	if (spool == NULL && !live_options.live && source->frozen_us > 0 &&
	    counts->blocked_us > source->frozen_us / 2)
		cli_say("the reader was slow: of %llu us frozen, %llu were "
		    "spent waiting for it; --spool would not wait",
		    (unsigned long long)source->frozen_us,
		    (unsigned long long)counts->blocked_us);
}

static uint64_t
total_pages(const struct pm_source *source)
{
	uint64_t pages = 0;

	if (source->mappings > 0 || base_path != NULL || since_path != NULL)
		return 0;
	for (uint32_t i = 0; i < source->regions; i++)
		pages += pm_region_pages(source->region[i].length,
		    source->page_shift);
	return pages;
}

/* As a stream is made of what stands still, for what is in use. */
static int
run_live(struct pm_source *base, struct pm_table *since, int fd)
{
	struct pm_live_options how = { .save = save_path != NULL ? open_save
	    : NULL };
	struct pm_capture_counts counts = { 0 };
	struct pm_live_counts live;
	struct pm_subject *subject;
	struct pm_older older;
	struct pm_writer out;

	live_parse(&how, pid_text != NULL);
	pm_older_open(&older, base, since);
	how.older = &older;
	how.find_free = free_is_asked() ? free_find : NULL;
	subject = pid_text != NULL ? live_open(process(), NULL, NULL,
	    (const char *const *)globs) : live_open(0,
	    image_open(image_path()), image_path(), NULL);
	how.record_size = record_size(subject->about.page_shift);
	cli_check(pm_writer_open(&out, fd, &cli_fault));
	cli_watch(NULL, &out.meter, 0);
	live_run(subject, &how, &out, fd, &live);
	if (free_is_asked() && strcmp(subject->tracking, "hash") == 0)
		cli_warn("free pages were sent too: no tracker tells which "
		    "of them were written since");
	counts = (struct pm_capture_counts){ .pages = live.pages,
	    .read = live.read, .equal = live.equal, .raw = live.raw,
	    .zero = live.zero, .gone = live.gone, .from = live.from,
	    .to = live.to, .blocked_us = live.blocked_us };
	if (save_path != NULL)
		close_save(counts.to);
	subject->about.frozen_us = live.downtime_us;
	report(&subject->about, &counts, &out);
	subject->ops->close(subject);
	if (base != NULL)
		base->ops->close(base);
	pm_writer_close(&out);
	return cli_finish();
}

static void
warn_foreign(const char *why)
{
	cli_warn("from here on the migration stream is passed on as it is: %s",
	    why);
}

static struct pm_table *
open_since(void)
{
	static struct pm_table since;

	if (since_path == NULL)
		return NULL;
	cli_check(pm_table_open(&since, since_path, &cli_fault));
	return &since;
}

/* What QEMU writes is read once, in its order. */
static int
run_qemu(struct qemu_input *input, int fd)
{
	struct pm_qemu_capture_options how = {
		.record_size = record_size(PM_PAGE_SHIFT_MIN),
		.page_shift = image_page_shift(),
		.seen = input->seen, .seen_size = input->seen_size,
		.warn = warn_foreign,
		.save = save_path != NULL ? open_save : NULL,
		.ended = qemu_ended, .arg = input,
		.find_free = free_is_asked() ? free_find_in_stream : NULL,
		.find_arg = input,
		.free_is_last = free_options.bitmap == NULL,
	};
	struct pm_qemu_capture_counts counts;
	struct pm_writer out;
	enum pm_status status;

	if (base_path != NULL || image_options.regions != NULL ||
	    threads_text != NULL)
		cli_die(CLI_USAGE, "--base, --region and --threads are for "
		    "images, not for migration streams");
	check_save(input->path);
	how.since = open_since();
	cli_check(pm_writer_open(&out, fd, &cli_fault));
	cli_watch(NULL, &out.meter, 0);
	status = pm_qemu_capture_run(input->fd, &how, &out, &counts,
	    &cli_fault);
	if (status != PM_OK)
		qemu_drop(input);
	cli_check(status);
	save_stamp = counts.stamp;
	if (save_path != NULL)
		close_save(counts.pages.to);
	report_pages(counts.page_shift, &counts.pages, &out);
	cli_count("rounds", counts.rounds);
	cli_count("bytes_foreign", counts.foreign);
	cli_count("device_bytes", counts.device_bytes);
	cli_count("device_us", counts.device_us);
	pm_writer_close(&out);
	return cli_finish();
}

int
main(int argc, char *argv[])
{
	struct qemu_input input;
	struct pm_capture_options how = { 0 };
	struct pm_capture_counts counts;
	struct pm_source *source;
	struct pm_writer out;
	unsigned threads;
	int fd;

	cli_start(argc, argv, options, &about);
	threads = cli_threads(threads_text, THREADS_USEFUL);
	if (!live_options.live)
		live_parse(&(struct pm_live_options){ 0 }, pid_text != NULL);
	else if (spool != NULL || threads_text != NULL)
		cli_die(CLI_USAGE, "--spool and --threads are not for --live");
	if (base_path != NULL && since_path != NULL)
		cli_die(CLI_USAGE, "--base and --since exclude each other");
	if (pid_text == NULL && (globs != NULL || spool != NULL))
		cli_die(CLI_USAGE, "--map and --spool are for --pid");
	cli_keep("--base", base_path);
	cli_keep("--since", since_path);
	free_parse(live_options.live);
	if (live_options.verify && free_is_asked())
		cli_die(CLI_USAGE, "--free-bitmap is not for --verify, which "
		    "trusts no tracker");
	fd = cli_output();
	if (pid_text == NULL && !live_options.live &&
	    qemu_find(&input, cli_operand()))
		return run_qemu(&input, fd);
	if (save_path != NULL)
		take_stamp(pid_text != NULL ? NULL : image_path());
	if (base_path != NULL)
		how.base = image_open(base_path);
	if (live_options.live)
		return run_live(how.base, open_since(), fd);
	source = pid_text != NULL ? open_process() : open_image();
	how.record_size = record_size(source->page_shift);
	how.threads = threads;
	how.since = open_since();
	if (save_path != NULL)
		how.save = open_save(source);

	cli_check(pm_writer_open(&out, fd, &cli_fault));
	cli_watch(NULL, &out.meter, total_pages(source));
	cli_check(pm_capture_run(source, &how, &out, &counts, &cli_fault));
	if (save_path != NULL)
		close_save(counts.to);
	report(source, &counts, &out);
	source->ops->close(source);
	if (how.base != NULL)
		how.base->ops->close(how.base);
	pm_writer_close(&out);
	return cli_finish();
}
