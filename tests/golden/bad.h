/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bad.h - drafts of streams that a reader refuses, each for one reason.
 *
 * All are one small stream, spoiled in one place: a hook is called for each
 * of its records, before it is made, when it is to be sealed, and when it
 * stands in wire.
 */
#ifndef BAD_H
#define BAD_H

#include "good.h"

enum moment { BEFORE, MADE, SEALED };

/* Before a record, say 1 to leave it out; else the answer is ignored. */
typedef int hook(enum moment, unsigned type);

static void
put_spoiled(unsigned type, hook *spoil)
{
	size_t table;

	spoil(MADE, type);
	table = seal();
	spoil(SEALED, type);
	put(table);
}

static void
put_small(hook *spoil)
{
	if (!spoil(BEFORE, PM_TYPE_STREAM)) {
		begin_stream(12, 0, none);
		put_spoiled(PM_TYPE_STREAM, spoil);
	}
	if (!spoil(BEFORE, PM_TYPE_REGION)) {
		begin_region("memory", PM_REGION_BLOCK, 6 << 12, 0);
		put_spoiled(PM_TYPE_REGION, spoil);
	}
	if (!spoil(BEFORE, PM_TYPE_PAGES)) {
		begin_pages(0, 0);
		add_run(PM_ZERO, 0, 2);
		add_raw(2, 'x');
		add_run(PM_ZERO, 3, 3);
		put_spoiled(PM_TYPE_PAGES, spoil);
	}
	if (!spoil(BEFORE, PM_TYPE_END)) {
		begin_end(none);
		put_spoiled(PM_TYPE_END, spoil);
	}
}

/* A hook of one statement, for the record of that type at that moment. */
#define SPOIL(name, when, what, statement)				\
static int								\
name(enum moment moment, unsigned type)					\
{									\
	if (moment == (when) && type == (what)) {			\
		statement;						\
	}								\
	return 0;							\
}

/* Signature, heads, checks. */
SPOIL(signature_text, SEALED, PM_TYPE_STREAM,
    memcpy(wire, "\x89PMS\n\x1a\n\x01", 8))
SPOIL(signature_other, SEALED, PM_TYPE_STREAM, memcpy(wire, "QEVM\0\0\0\3", 8))
SPOIL(check_wrong, SEALED, PM_TYPE_PAGES, head[20] ^= 1)
SPOIL(digest_wrong, SEALED, PM_TYPE_REGION, head[24] ^= 1; renew_check())
SPOIL(digest_of_pages, MADE, PM_TYPE_PAGES, rec->digest.low ^= 1)
SPOIL(type_0, MADE, PM_TYPE_REGION, rec->type = 0)
SPOIL(entries_many, SEALED, PM_TYPE_PAGES,
    pm_put_le(head + 4, PM_ENTRIES_MAX + 1, 4))
SPOIL(stored_large, SEALED, PM_TYPE_PAGES,
    pm_put_le(head + 8, PM_PAYLOAD_MAX + 1, 4))
SPOIL(decoded_large, MADE, PM_TYPE_PAGES, rec->codec = PM_CODEC_LZ4;
    rec->decoded = PM_PAYLOAD_MAX + 1)
SPOIL(decoded_other, MADE, PM_TYPE_PAGES, rec->decoded--)
SPOIL(codec_grows, MADE, PM_TYPE_PAGES, rec->codec = PM_CODEC_LZ4)
SPOIL(codec_garbage, MADE, PM_TYPE_PAGES, rec->codec = PM_CODEC_ZLIB;
    rec->stored--)
SPOIL(codec_of_region, MADE, PM_TYPE_REGION, rec->codec = PM_CODEC_LZ4;
    rec->decoded++)
SPOIL(pages_none, MADE, PM_TYPE_PAGES, rec->entries = 0;
    rec->stored = rec->decoded = 0)
SPOIL(first_of_end, MADE, PM_TYPE_END, rec->first = 1)
SPOIL(region_of_end, MADE, PM_TYPE_END, rec->region = 1)

/* Entries. */
SPOIL(entry_empty, MADE, PM_TYPE_PAGES,
    rec->entry[0] = pm_entry_of(0, PM_ZERO, 0))
SPOIL(raw_short, MADE, PM_TYPE_PAGES,
    rec->entry[1] = pm_entry_of(2, PM_RAW, 4095);
    rec->stored = --rec->decoded)
SPOIL(delta_long, MADE, PM_TYPE_PAGES,
    rec->entry[1] = pm_entry_of(2, PM_DELTA, 4097);
    rec->stored = ++rec->decoded)
SPOIL(entries_overlap, MADE, PM_TYPE_PAGES,
    rec->entry[0] = pm_entry_of(0, PM_ZERO, 3))
SPOIL(entries_descend, MADE, PM_TYPE_PAGES,
    rec->entry[2] = pm_entry_of(1, PM_ZERO, 1))
SPOIL(pages_many, MADE, PM_TYPE_PAGES, rec->entries = 1;
    rec->entry[0] = pm_entry_of(0, PM_SAME, 257);
    rec->stored = rec->decoded = 0)
SPOIL(sums, MADE, PM_TYPE_PAGES, rec->stored = --rec->decoded)
SPOIL(pages_far, MADE, PM_TYPE_PAGES, rec->first = PM_PAGES_MAX)
SPOIL(pages_beyond, MADE, PM_TYPE_PAGES, rec->first = 1)
SPOIL(delta_undeclared, MADE, PM_TYPE_PAGES,
    rec->entry[0] = pm_entry_of(0, PM_SAME, 2))
SPOIL(pages_of_unknown, MADE, PM_TYPE_PAGES, rec->region = 1)

/* Payloads of the other records. */
SPOIL(stream_short, MADE, PM_TYPE_STREAM, rec->stored = --rec->decoded)
SPOIL(stream_reserved, MADE, PM_TYPE_STREAM, rec->payload[3] = 1)
SPOIL(version_0, MADE, PM_TYPE_STREAM, rec->payload[0] = 0)
SPOIL(page_shift, MADE, PM_TYPE_STREAM, rec->payload[2] = 17)
SPOIL(from_twice, MADE, PM_TYPE_STREAM,
    rec->payload[4] = PM_NEEDS_LATE_FROM; rec->payload[16] = 1)
SPOIL(name_nul, MADE, PM_TYPE_REGION, rec->payload[34] = 0)
SPOIL(name_size, MADE, PM_TYPE_REGION, rec->payload[28]--)
SPOIL(name_none, MADE, PM_TYPE_REGION, rec->payload[28] = 0;
    rec->stored = rec->decoded = 32)
SPOIL(region_long, MADE, PM_TYPE_REGION,
    pm_put_le(rec->payload + 8, UINT64_C(1) << 63, 8))
SPOIL(region_address, MADE, PM_TYPE_REGION, rec->payload[0] = 1)
SPOIL(region_number, MADE, PM_TYPE_REGION, rec->region = 1)
SPOIL(end_records, MADE, PM_TYPE_END, rec->payload[32]++)
SPOIL(end_pages, MADE, PM_TYPE_END, rec->payload[40]--)
SPOIL(end_from, MADE, PM_TYPE_END, rec->payload[16]++)
SPOIL(end_short, MADE, PM_TYPE_END, rec->stored = --rec->decoded)

/* Records too many, missing, or out of order. */
SPOIL(region_twice, BEFORE, PM_TYPE_PAGES,
    put_region("memory", PM_REGION_BLOCK, 0, 0))
SPOIL(region_late, BEFORE, PM_TYPE_END,
    put_region("late", PM_REGION_BLOCK, 0, 0))
SPOIL(round_bad, BEFORE, PM_TYPE_END, begin_round(1, 1);
    rec->payload[4] = 2; put(seal()))
SPOIL(map_flags, BEFORE, PM_TYPE_PAGES, pm_record_clear(rec, PM_TYPE_MAP);
    put(seal()))
SPOIL(mapping_empty, BEFORE, PM_TYPE_PAGES,
    put_mapping(0, 4096, 4096, 0, "a"))
SPOIL(mapping_cut, BEFORE, PM_TYPE_PAGES,
    pm_record_clear(rec, PM_TYPE_MAP); rec->flags = PM_FLAG_SKIPPABLE;
    rec->stored = rec->decoded = 31; put(seal()))
SPOIL(map_of_unknown, BEFORE, PM_TYPE_PAGES,
    put_mapping(1, 0, 4096, 0, "a"))

static int
no_stream(enum moment moment, unsigned type)
{
	if (moment == BEFORE && type == PM_TYPE_STREAM)
		print_bytes((const uint8_t *)PM_SIGNATURE, PM_SIGNATURE_SIZE,
		    16, "signature");
	return type == PM_TYPE_STREAM;
}

/* A second STREAM record; records go on being counted. */
static int
second_stream(enum moment moment, unsigned type)
{
	if (moment == BEFORE && type == PM_TYPE_REGION) {
		begin_stream(12, 0, none);
		print_record(seal(), rec->stored);
		records++;
	}
	return 0;
}

static int
no_end(enum moment moment, unsigned type)
{
	(void)moment;
	return type == PM_TYPE_END;
}

SPOIL(cut_short, SEALED, PM_TYPE_END, rec->stored--)

static void
put_trailing(void)
{
	good_full();
	print_bytes((const uint8_t *)"\n", 1, 16, "a byte too many");
}

static void
put_broken_chain(void)
{
	good_full();
	put_incremental((struct pm_digest){ 1, 0 }, 0);
}

static void
put_broken_late(void)
{
	good_full();
	put_incremental((struct pm_digest){ 1, 0 }, PM_NEEDS_LATE_FROM);
}

/* What only a newer reader may take. */
SPOIL(newer_version, MADE, PM_TYPE_STREAM, rec->payload[0] = 2;
    rec->stored = rec->decoded = 40; memset(rec->payload + 32, 1, 8))
SPOIL(newer_needs, MADE, PM_TYPE_STREAM, rec->payload[7] = 0x80)
SPOIL(newer_flags, MADE, PM_TYPE_REGION, rec->flags = 1)
SPOIL(newer_codec, MADE, PM_TYPE_PAGES, rec->codec = 4; rec->stored--)
SPOIL(newer_kind, MADE, PM_TYPE_PAGES,
    rec->entry[0].word = UINT32_C(6) << 28 | 2)
SPOIL(newer_region, MADE, PM_TYPE_REGION, rec->payload[24] = 2)
SPOIL(newer_type, BEFORE, PM_TYPE_REGION,
    pm_record_clear(rec, (enum pm_type)8); put(seal()))

#endif /* BAD_H */
