/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check.h"
#include "fdio.h"
#include "table.h"

#define PAGES	(UINT64_C(1) << 30)	/* of the large region: 4 TiB */

static char path[] = "/tmp/pm-table-XXXXXX";
static int fd;
static struct pm_fault fault;
static struct pm_layout *layout;
static struct pm_table_stamp stamp;

static void
must(int good)
{
	if (!good) {
		printf("Bail out! %s\n", fault.text);
		exit(1);
	}
}

static void
make_layout(void)
{
	struct pm_region large = { .length = PAGES << 12, .name = "large" };
	struct pm_region small = { .length = 5 << 12, .name = "small",
	    .address = 4096 };

	large.key = pm_hash_key("large", 5);
	small.key = pm_hash_key("small", 5);
	layout = pm_layout_new(12);
	must(pm_layout_add_region(layout, &large) == PM_OK &&
	    pm_layout_add_region(layout, &small) == PM_OK &&
	    pm_layout_add_extent(layout, 0, 0, PAGES) == PM_OK &&
	    pm_layout_add_extent(layout, 1, 1, 3) == PM_OK);
}

static struct pm_digest
hash(uint64_t of)
{
	return pm_hash_bytes(&of, sizeof(of));
}

static struct pm_digest
page_hash(uint32_t region, uint64_t page, struct pm_digest content)
{
	return pm_hash_page(content, layout->region[region].key, page);
}

/* Hashes here and there, and the id that follows from them. */
static void
make_table(void)
{
	static const uint64_t slot[] = { 0, 1, 255, 256, 700, 1u << 29,
	    PAGES - 1 };
	struct pm_digest id = pm_layout_id(layout->region, layout->regions);
	struct pm_table table;
	struct stat st;

	must(ftruncate(fd, 0) == 0);
	must(pm_table_begin(&table, fd, path, layout, &fault) == PM_OK);
	for (unsigned i = 0; i < sizeof(slot) / sizeof(slot[0]); i++) {
		must(pm_table_set(&table, slot[i], hash(slot[i])) == PM_OK);
		id = pm_digest_add(id, page_hash(0, slot[i], hash(slot[i])));
	}
	must(pm_table_set(&table, PAGES + 1, hash(7)) == PM_OK);
	id = pm_digest_add(id, page_hash(1, 2, hash(7)));
	must(pm_table_set(&table, 5, (struct pm_digest){ 0, 0 }) == PM_OK);
	must(fstat(fd, &st) == 0);
	stamp = pm_table_stamp_of(&st);
	must(pm_table_seal(&table, id, &stamp) == PM_OK);
	table.fd = -1;
	pm_table_close(&table);
}

static enum pm_status
open_table(struct pm_table *table)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_table_open(table, path, &fault);
}

static void
test_round_trip(void)
{
	struct pm_digest content;
	struct pm_table table;
	uint64_t pages;
	struct stat st;
	int data;

	make_table();
	CHECK(fstat(fd, &st) == 0 && st.st_blocks < 400);
	CHECK(open_table(&table) == PM_OK);
	CHECK(pm_layout_equal(table.layout, layout));
	CHECK(pm_table_stamp_equal(&table.stamp, &stamp));
	CHECK(table.layout->region[1].address == 4096);
	CHECK(pm_table_get(&table, 700, &content) == PM_OK &&
	    pm_digest_equal(content, hash(700)));
	CHECK(pm_table_get(&table, 701, &content) == PM_OK &&
	    pm_digest_is_zero(content));
	CHECK(pm_table_get(&table, PAGES + 1, &content) == PM_OK &&
	    pm_digest_equal(content, hash(7)));

	CHECK(pm_table_span(&table, 0, 0, &data, &pages) == PM_OK &&
	    data && pages == 2);
	CHECK(pm_table_span(&table, 0, 2, &data, &pages) == PM_OK && !data);
	CHECK(pm_table_span(&table, 0, 1u << 20, &data, &pages) == PM_OK &&
	    !data && pages > 1000000 && (1u << 20) + pages <= 1u << 29);
	CHECK(pm_table_span(&table, 0, PAGES, &data, &pages) == PM_OK &&
	    !data && pages == UINT64_MAX);
	CHECK(pm_table_span(&table, 1, 0, &data, &pages) == PM_OK &&
	    !data && pages == 1);
	CHECK(pm_table_span(&table, 1, 2, &data, &pages) == PM_OK &&
	    data && pages == 1);
	CHECK(pm_table_span(&table, 1, 3, &data, &pages) == PM_OK &&
	    !data && pages == 1);
	CHECK(pm_table_span(&table, 1, 4, &data, &pages) == PM_OK &&
	    !data && pages == UINT64_MAX);
	pm_table_close(&table);
}

/* Spans of a table that is still being written tell what was set. */
static void
test_span_of_new(void)
{
	struct pm_table table;
	uint64_t pages;
	int data;

	must(ftruncate(fd, 0) == 0);
	must(pm_table_begin(&table, fd, path, layout, &fault) == PM_OK);
	CHECK(pm_table_span(&table, 0, 9, &data, &pages) == PM_OK && !data);
	CHECK(pm_table_set(&table, 9, hash(9)) == PM_OK);
	CHECK(pm_table_span(&table, 0, 9, &data, &pages) == PM_OK && data &&
	    pages == 1);
	CHECK(pm_table_set(&table, 9, (struct pm_digest){ 0, 0 }) == PM_OK);
	CHECK(pm_table_span(&table, 0, 9, &data, &pages) == PM_OK && !data);
	table.fd = -1;
	pm_table_close(&table);
	/* It was not sealed. */
	CHECK(open_table(&table) == PM_ERR_REFUSED);
}

/* Change a number of the head, or of what follows it, and its check too. */
static int
refuses(unsigned at, uint64_t value, unsigned width)
{
	uint8_t head[96 + 2 * 280 + 2 * 24];
	struct pm_table table;
	enum pm_status status;

	make_table();
	must(pm_fd_pread(fd, head, sizeof(head), 0) == PM_OK);
	pm_put_le(head + at, value, width);
	pm_put_le(head + 88, 0, 4);
	pm_put_le(head + 88, pm_hash_check(head, sizeof(head), NULL, 0, NULL,
	    0), 4);
	must(pm_fd_pwrite(fd, head, sizeof(head), 0) == PM_OK);
	status = open_table(&table);
	if (status == PM_OK)
		pm_table_close(&table);
	return status == PM_ERR_REFUSED && fault.text[0] != '\0';
}

static void
test_lies(void)
{
	const unsigned region = 96, extent = 96 + 2 * 280;

	CHECK(!refuses(96 + 279, 0, 1));	/* nothing changes */
	CHECK(refuses(0, 0, 8));
	CHECK(refuses(8, 2, 4));		/* the version */
	CHECK(refuses(12, 11, 4));		/* the page shift */
	CHECK(refuses(12, 17, 4));
	CHECK(refuses(12, 13, 4));
	CHECK(refuses(16, 0, 8));		/* regions */
	CHECK(refuses(16, 1, 8));
	CHECK(refuses(16, PM_REGIONS_MAX + 1, 8));
	CHECK(refuses(16, UINT64_MAX, 8));
	CHECK(refuses(24, 0, 8));		/* extents */
	CHECK(refuses(24, PM_MAPPINGS_MAX, 8));
	CHECK(refuses(24, UINT64_MAX, 8));
	CHECK(refuses(32, 1, 8));		/* the id */
	CHECK(refuses(region + 8, UINT64_MAX, 8));
	CHECK(refuses(region + 8, 4096, 8));
	CHECK(refuses(region + 24, 0, 1));	/* a name */
	CHECK(refuses(region + 24, 'x', 1));
	CHECK(refuses(extent, 2, 8));
	CHECK(refuses(extent, 1, 8));
	CHECK(refuses(extent + 8, 1, 8));
	CHECK(refuses(extent + 16, PAGES + 1, 8));
	CHECK(refuses(extent + 16, UINT64_MAX, 8));
	CHECK(refuses(extent + 16, 0, 8));
	CHECK(refuses(extent + 24, 0, 8));
	CHECK(refuses(extent + 32, 4, 8));
}

static void
test_stamps(void)
{
	struct pm_table_stamp a = { { 1, 2, 3, 4, 5 } }, b;
	unsigned equal = 0;

	for (unsigned i = 0; i < 5; i++) {
		b = a;
		b.of[i]++;
		equal += (unsigned)pm_table_stamp_equal(&a, &b);
	}
	CHECK(equal == 0 && pm_table_stamp_equal(&a, &a));
}

int
main(void)
{
	if ((fd = mkstemp(path)) < 0)
		return 1;
	make_layout();
	test_round_trip();
	test_span_of_new();
	test_lies();
	test_stamps();
	pm_layout_free(layout);
	unlink(path);
	close(fd);
	return check_done();
}
