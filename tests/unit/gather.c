/* SPDX-License-Identifier: GPL-2.0-or-later */
/* However pages and runs come, no record holds more than it may. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gather.h"

#define PAGE	4096u
#define PAGES	(PM_RECORD_PAYLOAD / PAGE)

static struct {
	uint64_t records, entries;
	int too_many;
	struct pm_gather *gather;
} run;

/* What is written: its record is still the one that was gathered. */
static enum pm_status
look(void *arg, struct iovec *iov, int count)
{
	const struct pm_record *rec = run.gather->rec;
	size_t size = 0;

	(void)arg;
	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	run.records++;
	run.entries += rec->entries;
	run.too_many |= rec->entries > PM_ENTRIES_MAX || size >
	    PM_HEAD_SIZE + PM_ENTRIES_MAX * PM_ENTRY_SIZE + PM_RECORD_PAYLOAD;
	return PM_OK;
}

/* So many runs, zero and gone in turn, and pages that fill a record. */
static int
holds(uint32_t runs, uint32_t page_first)
{
	static uint8_t content[PM_RECORD_PAYLOAD];
	static struct pm_digest hash[PAGES];
	struct pm_writer writer;
	struct pm_gather gather = { .out = &writer, .page_size = PAGE,
	    .record_size = PM_RECORD_PAYLOAD, .rec = pm_record_new() };
	uint64_t page = 0;
	int good = gather.rec != NULL &&
	    pm_writer_open_io(&writer, look, NULL, NULL) == PM_OK;

	memset(&run, 0, sizeof(run));
	run.gather = &gather;
	memset(content, 1, sizeof(content));
	pm_record_clear(gather.rec, PM_TYPE_PAGES);
	gather.rec->page_shift = 12;
	if (page_first)
		good &= pm_gather_page(&gather, page++, content, hash[0]) ==
		    PM_OK;
	for (uint32_t i = 0; i < runs; i++)
		good &= pm_gather_run(&gather, i % 2 == 0 ? PM_ZERO : PM_GONE,
		    page++, 1) == PM_OK;
	for (unsigned i = 0; i < 2; i++, page += PAGES)
		good &= pm_gather_pages(&gather, page, PAGES, content, hash)
		    == PM_OK;
	good &= pm_gather_flush(&gather) == PM_OK && !run.too_many &&
	    run.entries == runs + page_first + 2 * PAGES;
	pm_record_free(gather.rec);
	pm_writer_close(&writer);
	return good;
}

int
main(void)
{
	int good = 1;

	for (uint32_t runs = 0; runs < 2 * PM_ENTRIES_MAX + 200;
	    runs += runs % PM_ENTRIES_MAX < 3900 ? 97 : 1)
		good &= holds(runs, 0) && holds(runs, 1);
	CHECK(good);
	return check_done();
}
