/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * draft.h - write a page-record stream as commented hexadecimal text.
 *
 * Records are made by the library.  What they do to a memory is kept in a
 * small model of it, so that digests and generations come out right; a
 * caller may then spoil a record before it is sealed, or its bytes behind.
 */
#ifndef DRAFT_H
#define DRAFT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "hash.h"
#include "record.h"

#define HELD_MAX	32

static FILE *text;
static struct pm_record *rec;

/* The stream now written. */
static struct pm_stream stream;
static struct pm_region region[8];
static uint32_t regions;
static uint64_t records, pages;

/* The memory that it makes: hashes of the contents of some pages. */
static struct {
	uint32_t region;
	uint64_t page;
	struct pm_digest content;
} held[HELD_MAX];
static unsigned held_pages;

/* Head and table of the record last sealed, behind room for a signature. */
static uint8_t wire[PM_SIGNATURE_SIZE + PM_HEAD_SIZE +
    PM_ENTRIES_MAX * PM_ENTRY_SIZE];
static uint8_t *const head = wire + PM_SIGNATURE_SIZE;

static const char *
type_name(unsigned type)
{
	static const char *const name[] = { "type 0", "STREAM", "REGION",
	    "MAP", "PAGES", "ROUND", "OPAQUE", "END" };

	return type <= PM_TYPE_END ? name[type] : "of no known type";
}

/* A row of at most 16 bytes, or a run of one byte. */
static void
print_bytes(const uint8_t *bytes, size_t size, size_t row, const char *what)
{
	for (size_t at = 0, next; at < size; at = next) {
		for (next = at; next < size && bytes[next] == bytes[at];)
			next++;
		if (next - at > 32) {
			fprintf(text, "%02x x %zu", bytes[at], next - at);
		} else {
			next = size - at < row ? size : at + row;
			for (size_t i = at; i < next; i++)
				fprintf(text, "%s%02x", i > at ? " " : "",
				    bytes[i]);
		}
		fprintf(text, at == 0 ? "\t# %s\n" : "\n", what);
	}
}

/* The record as it stands in wire and rec->payload. */
static void
print_record(size_t table, size_t payload)
{
	fprintf(text, "# record %" PRIu64 ": %s\n", records,
	    type_name(rec->type));
	print_bytes(head, 8, 8, "type, codec, flags, entries");
	print_bytes(head + 8, 12, 12, "stored, decoded, region");
	print_bytes(head + 20, 4, 4, "check");
	print_bytes(head + 24, 16, 16, "digest");
	print_bytes(head + 40, 8, 8, "first page");
	print_bytes(head + PM_HEAD_SIZE, table, PM_ENTRY_SIZE, "entries");
	print_bytes(rec->payload, payload, 16, "payload");
}

static size_t
seal(void)
{
	memcpy(wire, PM_SIGNATURE, PM_SIGNATURE_SIZE);
	return pm_record_seal(rec, head) - PM_HEAD_SIZE;
}

/* Make the check right again for what now stands in wire. */
static void
renew_check(void)
{
	size_t table = (size_t)rec->entries * PM_ENTRY_SIZE;

	memset(head + 20, 0, 4);
	pm_put_le(head + 20, pm_hash_check(head, PM_HEAD_SIZE + table,
	    rec->payload, rec->type == PM_TYPE_PAGES ? 0 : rec->stored,
	    NULL, 0), 4);
}

/* Print what was sealed, and count it. */
static void
put(size_t table)
{
	if (rec->type == PM_TYPE_STREAM) {
		records = pages = 0;
		print_bytes(wire, PM_SIGNATURE_SIZE, 16, "signature");
	}
	print_record(table, rec->stored);
	records++;
	pages += pm_record_pages(rec);
}

static void
begin_stream(unsigned page_shift, uint32_t needs, struct pm_digest from)
{
	stream = (struct pm_stream){ .version = 1, .page_shift = page_shift,
	    .needs = needs, .from = from };
	regions = 0;
	pm_record_clear(rec, PM_TYPE_STREAM);
	rec->page_shift = page_shift;
	pm_stream_pack(&stream, rec);
}

static void
begin_region(const char *name, unsigned kind, uint64_t length,
    uint64_t old_length)
{
	struct pm_region *one = &region[regions];

	*one = (struct pm_region){ .kind = kind, .length = length,
	    .old_length = old_length, .key = pm_hash_key(name, strlen(name)),
	    .machine = kind == PM_REGION_PROCESS ? 62 : 0 };
	snprintf(one->name, sizeof(one->name), "%s", name);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(one, regions++, rec);
}

static void
begin_pages(uint32_t number, uint64_t first)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->region = number;
	rec->first = first;
}

static void
hold(uint64_t page, struct pm_digest content)
{
	unsigned at = 0;

	while (at < held_pages && (held[at].region != rec->region ||
	    held[at].page != page))
		at++;
	if (at == HELD_MAX)
		abort();
	held_pages += at == held_pages;
	held[at].region = rec->region;
	held[at].page = page;
	held[at].content = content;
}

static void
add_digest(struct pm_digest content, uint64_t page)
{
	rec->digest = pm_digest_add(rec->digest, pm_hash_page(content,
	    region[rec->region].key, page));
}

/* A page with content; bytes are what stands in the payload. */
static void
add_page(enum pm_kind kind, uint32_t page, const uint8_t *content,
    const uint8_t *bytes, uint32_t size)
{
	struct pm_digest digest = pm_hash_content(content,
	    (size_t)1 << stream.page_shift);

	rec->entry[rec->entries++] = pm_entry_of(page, kind, size);
	memcpy(rec->payload + rec->stored, bytes, size);
	rec->decoded = rec->stored += size;
	add_digest(digest, rec->first + page);
	hold(rec->first + page, digest);
}

/* A page of one byte over and over. */
static void
add_raw(uint32_t page, int byte)
{
	static uint8_t content[PM_PAGE_MAX];

	memset(content, byte, sizeof(content));
	add_page(PM_RAW, page, content, content, 1u << stream.page_shift);
}

/* A run without content; the model forgets the pages, or, SAME, keeps them. */
static void
add_run(enum pm_kind kind, uint32_t page, uint32_t length)
{
	uint64_t first = rec->first + page;

	rec->entry[rec->entries++] = pm_entry_of(page, kind, length);
	for (unsigned i = 0; i < held_pages; i++) {
		if (held[i].region != rec->region || held[i].page < first ||
		    held[i].page - first >= length)
			continue;
		if (kind == PM_SAME)
			add_digest(held[i].content, held[i].page);
		else
			held[i].content = (struct pm_digest){ 0, 0 };
	}
}

/* The id of the memory in the model. */
static struct pm_digest
generation(void)
{
	struct pm_digest id = { 0, 0 };

	for (unsigned i = 0; i < held_pages; i++)
		if (held[i].page < pm_region_pages(
		    region[held[i].region].length, stream.page_shift))
			id = pm_digest_add(id, pm_hash_page(held[i].content,
			    region[held[i].region].key, held[i].page));
	for (uint32_t i = 0; i < regions; i++)
		if (region[i].length > 0)
			id = pm_digest_add(id, pm_hash_region(region[i].key,
			    region[i].address, region[i].length));
	return id;
}

static void
begin_round(uint32_t number, int known)
{
	struct pm_round round = { .number = number, .known = known,
	    .records = records, .pages = pages, .pending = 1 };

	if (known)
		round.generation = generation();
	pm_record_clear(rec, PM_TYPE_ROUND);
	pm_round_pack(&round, rec);
}

static void
begin_end(struct pm_digest from)
{
	struct pm_end end = { .to = generation(), .from = from,
	    .records = records, .pages = pages };

	pm_record_clear(rec, PM_TYPE_END);
	pm_end_pack(&end, rec);
}

#endif /* DRAFT_H */
