/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A stream of any bytes: the reader may refuse it, and may not crash, hang
 * or give a record that breaks a bound.  What it gives is decoded as a sink
 * would.  Each input is read twice, the second time with all checks and
 * digests made right, since noise would seldom get past them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "codec.h"
#include "stream.h"
#include "xbzrle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pm_decoders *decoders;
static struct pm_record *rec;
static uint8_t *spare;
static int fd;

static void
start(void)
{
	FILE *file = tmpfile();

	decoders = pm_decoders_new();
	rec = pm_record_new();
	spare = pm_record_buffer();
	if (file == NULL || decoders == NULL || rec == NULL || spare == NULL)
		abort();
	fd = fileno(file);
}

/* What must hold of a record that the reader gave. */
static void
check_bounds(const struct pm_reader *reader)
{
	uint64_t pages;

	if (rec->stored > PM_PAYLOAD_MAX || rec->decoded > PM_PAYLOAD_MAX ||
	    rec->entries > PM_ENTRIES_MAX)
		abort();
	if (rec->type != PM_TYPE_PAGES)
		return;
	if (rec->region >= reader->regions || rec->entries == 0)
		abort();
	pages = pm_region_pages(reader->region[rec->region].length,
	    rec->page_shift);
	if (rec->first > pages || pm_record_span(rec) > pages - rec->first ||
	    pm_record_pages(rec) > pm_record_span(rec))
		abort();
}

static void
decode_pages(void)
{
	static uint8_t page[PM_PAGE_MAX];
	size_t at = 0;

	if (pm_decoders_undo(decoders, rec, &spare, NULL) != PM_OK)
		return;
	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];

		if (pm_entry_kind(entry) == PM_DELTA)
			(void)pm_xbzrle_decode(page,
			    (size_t)1 << rec->page_shift, rec->payload + at,
			    pm_entry_bytes(entry), NULL);
		at += pm_entry_bytes(entry);
	}
	if (at != rec->stored)
		abort();
}

static void
read_all(const uint8_t *data, size_t size)
{
	struct pm_fault fault = { .text = "" };
	struct pm_reader reader;
	enum pm_status status;

	if (ftruncate(fd, 0) != 0 ||
	    pwrite(fd, data, size, 0) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET) != 0)
		abort();
	status = pm_reader_open(&reader, fd, &fault);
	while (status == PM_OK) {
		status = pm_reader_next(&reader, rec);
		if (status != PM_OK)
			break;
		check_bounds(&reader);
		if (rec->type == PM_TYPE_PAGES)
			decode_pages();
	}
	if (status != PM_END && fault.text[0] == '\0')
		abort();
	pm_reader_close(&reader);
}

/* Make checks and digests of all whole records right. */
static void
repair(uint8_t *data, size_t size)
{
	size_t at = PM_SIGNATURE_SIZE;

	while (at <= size && size - at >= PM_HEAD_SIZE) {
		uint8_t *head = data + at;
		size_t table = (size_t)pm_get_le(head + 4, 4) * PM_ENTRY_SIZE;
		size_t stored = (size_t)pm_get_le(head + 8, 4);

		if (table + stored > size - at - PM_HEAD_SIZE)
			break;
		if (head[0] != PM_TYPE_PAGES)
			pm_digest_pack(pm_hash_bytes(head + PM_HEAD_SIZE +
			    table, stored), head + 24);
		pm_put_le(head + 20, 0, 4);
		pm_put_le(head + 20, pm_hash_check(head, PM_HEAD_SIZE + table +
		    (head[0] != PM_TYPE_PAGES ? stored : 0), NULL, 0, NULL,
		    0), 4);
		at += PM_HEAD_SIZE + table + stored;
		if (head[0] == PM_TYPE_END)
			at += PM_SIGNATURE_SIZE;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (rec == NULL)
		start();
	read_all(data, size);
	if (size == 0)
		return 0;
	if ((copy = malloc(size)) == NULL)
		abort();
	memcpy(copy, data, size);
	repair(copy, size);
	read_all(copy, size);
	free(copy);
	return 0;
}
