/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of a migration stream that are free are left out of it and gone in
 * the end, but for those that come again.
 */
#define _GNU_SOURCE		/* memfd_create */
#include <errno.h>

#include "check.h"
#include "layout.h"
#include "migration.h"
#include "roundtrip.h"

#define PAGES	(M_PAGES + M_SMALL)

static struct pm_fault fault;
static struct pm_qemu_capture_counts counts;
static struct pm_table table;
static struct memory out;

/* Of each page, of one block and then the other: what was said last. */
static enum pm_kind kind[PAGES];
static unsigned told[PAGES];	/* times */

/* What is free: pages of both blocks. */
struct marks {
	const char *region;
	uint64_t from, pages;
	enum pm_status status;
	unsigned asked;
};

static enum pm_status
find(void *arg, const struct pm_source *source, struct pm_free *marks)
{
	struct marks *some = arg;
	struct pm_ram ram;
	enum pm_status status;

	some->asked++;
	CHECK(source->regions == 2 && source->page_shift == 12 &&
	    marks->regions == 2);
	CHECK(pm_ram_open(&ram, source, some->region, &fault) == PM_OK);
	status = pm_free_set_ram(marks, &ram, some->from, some->pages);
	pm_ram_close(&ram);
	return status == PM_OK ? some->status : status;
}

static struct pm_table *
begin_table(const struct pm_source *source)
{
	struct pm_layout *layout = pm_layout_of_blocks(source->region,
	    source->regions, source->page_shift, 0);
	int fd = memfd_create("table", MFD_CLOEXEC);

	if (layout == NULL || fd < 0 || pm_table_begin(&table, fd, "table",
	    layout, &fault) != PM_OK)
		abort();
	pm_layout_free(layout);
	return &table;
}

static void
note(const struct pm_record *rec)
{
	for (uint32_t i = 0; i < rec->entries; i++) {
		uint64_t at = rec->first + rec->entry[i].page +
		    (rec->region == 0 ? 0 : M_PAGES);

		for (uint32_t j = 0; j < pm_entry_pages(rec->entry[i]); j++) {
			kind[at + j] = pm_entry_kind(rec->entry[i]);
			told[at + j]++;
		}
	}
}

/* Read back what was written. */
static void
look(void)
{
	struct pm_record *rec = pm_record_new();
	struct pm_reader reader;

	memset(kind, 0, sizeof(kind));
	memset(told, 0, sizeof(told));
	out.at = 0;
	if (rec == NULL || pm_reader_open_io(&reader, load, &out, &fault) !=
	    PM_OK)
		abort();
	while (pm_reader_next(&reader, rec) == PM_OK)
		if (rec->type == PM_TYPE_PAGES)
			note(rec);
	pm_reader_close(&reader);
	pm_record_free(rec);
}

static enum pm_status
capture_free(const struct migration *m, struct marks *marks, int is_last,
    struct pm_table *since, int saves)
{
	struct pm_qemu_capture_options options = {
		.record_size = PM_RECORD_PAYLOAD, .page_shift = 12,
		.since = since, .seen = (const uint8_t *)"",
		.save = saves ? begin_table : NULL,
		.find_free = marks != NULL ? find : NULL, .find_arg = marks,
		.free_is_last = is_last,
	};
	int in = file_of(m->bytes, m->size);
	struct pm_writer writer;
	enum pm_status status;

	out.size = 0;
	fault = (struct pm_fault){ .error = 0 };
	if (pm_writer_open_io(&writer, store, &out, &fault) != PM_OK)
		abort();
	status = pm_qemu_capture_run(in, &options, &writer, &counts, &fault);
	pm_writer_close(&writer);
	close(in);
	if (status == PM_OK)
		look();
	return status;
}

/* Seven pages of the first block, of which 1 to 4 and 6 come again. */
static void
test_again(int is_last)
{
	struct marks marks = { "pc.ram", 1, 7, PM_OK, 0 };
	struct migration m;

	m_whole(&m);
	CHECK(capture_free(&m, &marks, is_last, NULL, 0) == PM_OK);
	CHECK(marks.asked == 1);
	for (unsigned i = 1; i <= 4; i++)
		CHECK(is_last ? kind[i] == PM_GONE && told[i] == 1
		    : kind[i] == PM_RAW);
	/* Page 2 comes three times, and the others of them twice. */
	CHECK(is_last || (told[1] == 1 && told[2] == 2 && told[3] == 1));
	CHECK(kind[5] == PM_GONE && kind[7] == PM_GONE);
	CHECK(is_last ? kind[6] == PM_GONE : kind[6] == PM_ZERO);
	for (unsigned i = 8; i < PAGES; i++)
		CHECK(kind[i] == PM_RAW || kind[i] == PM_ZERO);
	CHECK(counts.pages.gone == (is_last ? 7 : 2));
	free(m.bytes);
}

static void
test_other_block(void)
{
	struct marks marks = { "vga.vram", 1, 9, PM_OK, 0 };
	struct migration m;

	m_whole(&m);
	CHECK(capture_free(&m, &marks, 1, NULL, 0) == PM_OK);
	CHECK(kind[M_PAGES] == PM_RAW && kind[M_PAGES + 1] == PM_GONE &&
	    kind[M_PAGES + 2] == PM_GONE && counts.pages.gone == 2);
	for (unsigned i = 0; i < M_PAGES; i++)
		CHECK(kind[i] == PM_RAW || kind[i] == PM_ZERO);
	/* Without what is free, it is as ever. */
	CHECK(capture_free(&m, NULL, 1, NULL, 0) == PM_OK &&
	    counts.pages.gone == 0);
	marks.status = PM_ERR_REFUSED;
	CHECK(capture_free(&m, &marks, 1, NULL, 0) == PM_ERR_REFUSED);
	free(m.bytes);
}

/* What a table has of free pages is gone; what it has not is not told. */
static void
test_since(void)
{
	struct marks marks = { "pc.ram", 0, M_PAGES, PM_OK, 0 };
	struct pm_digest whole;
	struct migration m;
	char path[64];
	int fd;

	m_whole(&m);
	CHECK(capture_free(&m, NULL, 0, NULL, 1) == PM_OK);
	whole = counts.pages.to;
	CHECK(pm_table_seal(&table, counts.pages.to, &counts.stamp) ==
	    PM_OK);
	fd = dup(table.fd);
	pm_table_close(&table);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(pm_table_open(&table, path, &fault) == PM_OK);
	close(fd);
	CHECK(capture_free(&m, &marks, 1, &table, 0) == PM_OK);
	CHECK(pm_digest_equal(counts.pages.from, whole) &&
	    !pm_digest_equal(counts.pages.to, whole));
	for (unsigned i = 0; i < M_PAGES; i++)
		CHECK(kind[i] == (i == 5 || i == 6 || (i > 4 && i % 3 == 1)
		    ? 0 : PM_GONE));
	pm_table_close(&table);
	free(m.bytes);
}

int
main(void)
{
	test_again(0);
	test_again(1);
	test_other_block();
	test_since();
	free(out.bytes);
	return check_done();
}
