/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate.c - memories of any size, for measuring how programs scale.
 * usage: generate dense POOL MIB RECORD >STREAM
 *	  generate sparse POOL GIB PAGES IMAGE
 *
 * Dense is a full stream of a memory of so many MiB in records of RECORD
 * bytes.  Sparse is an image of so many GiB with so many pages of content in
 * each of them, evenly spread, and holes between.  Pages are those of the
 * file POOL in turn, each with its number in it, so that no two are the
 * same.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"
#include "stream.h"

#define PAGE	4096u
#define POOL	4096u		/* pages of it that are used */

static uint8_t *pool;
static size_t pooled;

static struct pm_fault fault;

_Noreturn static void
fail(const char *what)
{
	if (fault.text[0] != '\0')
		fprintf(stderr, "generate: %s\n", fault.text);
	else
		perror(what);
	exit(1);
}

static void
check(enum pm_status status)
{
	if (status != PM_OK)
		fail("generate");
}

static void
read_pool(const char *path)
{
	FILE *file = fopen(path, "r");

	pool = malloc((size_t)POOL * PAGE);
	if (file == NULL || pool == NULL)
		fail(path);
	pooled = fread(pool, PAGE, POOL, file);
	fclose(file);
	if (pooled == 0) {
		fprintf(stderr, "generate: %s holds no page\n", path);
		exit(1);
	}
}

static void
make_page(uint64_t number, uint8_t *out)
{
	memcpy(out, pool + (size_t)(number % pooled) * PAGE, PAGE);
	memcpy(out + PAGE / 2, &number, sizeof(number));
}

/* Fill a record with pages from first on, and add up what they hash to. */
static void
fill(struct pm_record *rec, const struct pm_region *region, uint64_t first,
    uint32_t pages)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->first = first;
	for (uint32_t i = 0; i < pages; i++) {
		uint8_t *page = rec->payload + rec->stored;

		make_page(first + i, page);
		rec->digest = pm_digest_add(rec->digest, pm_hash_page(
		    pm_hash_content(page, PAGE), region->key, first + i));
		rec->entry[rec->entries++] = pm_entry_of(i, PM_RAW, PAGE);
		rec->stored += PAGE;
	}
	rec->decoded = rec->stored;
}

static void
write_dense(uint64_t pages, uint32_t record)
{
	static const struct pm_digest none = { 0, 0 };
	struct pm_stream stream = { .version = PM_VERSION_MAX,
	    .page_shift = 12 };
	struct pm_region region = { .name = "memory" };
	struct pm_record *rec = pm_record_new();
	struct pm_writer out;
	struct pm_digest to;

	if (rec == NULL)
		fail("memory");
	region.length = pages * PAGE;
	region.key = pm_hash_key(region.name, strlen(region.name));
	check(pm_writer_open(&out, STDOUT_FILENO, &fault));
	rec->page_shift = stream.page_shift;
	pm_record_clear(rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, rec);
	check(pm_writer_put(&out, rec));
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, 0, rec);
	check(pm_writer_put(&out, rec));
	to = pm_layout_id(&region, 1);
	for (uint64_t first = 0; first < pages; first += record / PAGE) {
		uint32_t now = record / PAGE;

		if (now > pages - first)
			now = (uint32_t)(pages - first);
		fill(rec, &region, first, now);
		to = pm_digest_add(to, rec->digest);
		check(pm_writer_put(&out, rec));
	}
	check(pm_writer_end(&out, none, to, rec));
	pm_writer_close(&out);
	pm_record_free(rec);
}

static void
write_sparse(const char *path, uint64_t gib, uint64_t pages)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint64_t apart = (UINT64_C(1) << 30) / pages / PAGE * PAGE;
	uint8_t page[PAGE];

	if (fd < 0 || ftruncate(fd, (off_t)(gib << 30)) != 0)
		fail(path);
	for (uint64_t i = 0; i < gib * pages; i++) {
		uint64_t at = (i / pages << 30) + i % pages * apart;

		make_page(i, page);
		if (pwrite(fd, page, PAGE, (off_t)at) != (ssize_t)PAGE)
			fail(path);
	}
	if (close(fd) != 0)
		fail(path);
}

int
main(int argc, char *argv[])
{
	uint64_t size, each;

	if (argc < 5)
		return 2;
	read_pool(argv[2]);
	size = strtoull(argv[3], NULL, 10);
	each = strtoull(argv[4], NULL, 10);
	if (argc == 5 && strcmp(argv[1], "dense") == 0 && each >= PAGE &&
	    each <= PM_PAYLOAD_MAX)
		write_dense((size << 20) / PAGE, (uint32_t)each);
	else if (argc == 6 && strcmp(argv[1], "sparse") == 0 && each > 0)
		write_sparse(argv[5], size, each);
	else
		return 2;
	return 0;
}
