/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * good.h - drafts of streams that every reader takes.
 */
#ifndef GOOD_H
#define GOOD_H

#include "draft.h"

static const struct pm_digest none = { 0, 0 };

static void
put_stream(unsigned page_shift, uint32_t needs, struct pm_digest from)
{
	begin_stream(page_shift, needs, from);
	put(seal());
}

static void
put_region(const char *name, unsigned kind, uint64_t length,
    uint64_t old_length)
{
	begin_region(name, kind, length, old_length);
	put(seal());
}

static void
put_round(uint32_t number, int known)
{
	begin_round(number, known);
	put(seal());
}

static void
put_end(struct pm_digest from)
{
	begin_end(from);
	put(seal());
}

static void
put_mapping(uint32_t number, uint64_t start, uint64_t end, uint32_t flags,
    const char *name)
{
	struct pm_mapping mapping = { .start = start, .end = end,
	    .flags = flags, .name = name, .name_size =
	    (uint32_t)strlen(name) };

	pm_record_clear(rec, PM_TYPE_MAP);
	rec->region = number;
	if (!pm_mapping_pack(&mapping, rec))
		abort();
	put(seal());
}

static void
good_empty(void)
{
	put_stream(12, 0, none);
	put_end(none);
}

static void
good_empty_image(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 0, 0);
	put_end(none);
}

static void
good_zero(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, UINT64_C(1) << 40, 0);
	begin_pages(0, 0);
	add_run(PM_ZERO, 0, PM_RUN_MAX);
	add_run(PM_ZERO, PM_RUN_MAX, 1);
	put(seal());
	put_end(none);
}

static void
good_full(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 8 << 12, 0);
	begin_pages(0, 0);
	add_run(PM_ZERO, 0, 1);
	add_raw(1, 'A');
	add_raw(2, 'B');
	add_run(PM_ZERO, 3, 5);
	put(seal());
	put_end(none);
}

static void
put_incremental(struct pm_digest from, uint32_t needs)
{
	static const uint8_t delta[] = { 0xc8, 0x01, 0x03, 'n', 'e', 'w',
	    0x0a, 0x01, '!' };
	uint8_t content[1 << 12];

	put_stream(12, PM_NEEDS_DELTA | needs,
	    needs & PM_NEEDS_LATE_FROM ? none : from);
	put_region("memory", PM_REGION_BLOCK, 8 << 12, 8 << 12);
	memset(content, 'A', sizeof(content));
	memcpy(content + 200, "new", 3);
	content[213] = '!';
	begin_pages(0, 1);
	add_page(PM_DELTA, 0, content, delta, sizeof(delta));
	add_run(PM_SAME, 1, 1);
	add_run(PM_GONE, 3, 3);
	put(seal());
	put_end(from);
}

/* What comes behind the full stream, without writing that one. */
static void
hold_full(void)
{
	FILE *real = text;

	text = fopen("/dev/null", "w");
	if (text == NULL)
		abort();
	good_full();
	fclose(text);
	text = real;
}

static void
good_incremental(void)
{
	hold_full();
	put_incremental(generation(), 0);
}

static void
good_chain(void)
{
	good_full();
	put_incremental(generation(), 0);
	put_incremental(generation(), PM_NEEDS_LATE_FROM);
}

static void
good_late_from(void)
{
	hold_full();
	put_incremental(generation(), PM_NEEDS_LATE_FROM);
}

static void
good_rounds(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 4 << 12, 0);
	begin_pages(0, 0);
	add_raw(0, '1');
	add_raw(1, '2');
	add_run(PM_GONE, 2, 2);
	put(seal());
	put_round(1, 1);
	begin_pages(0, 0);
	add_run(PM_ZERO, 0, 1);
	add_raw(3, '3');
	put(seal());
	put_round(2, 0);
	begin_pages(0, 3);
	add_raw(0, '4');
	put(seal());
	put_end(none);
}

static void
good_opaque(void)
{
	put_stream(12, 0, none);
	for (int i = 0; i < 3; i++) {
		pm_record_clear(rec, PM_TYPE_OPAQUE);
		rec->stored = rec->decoded = i == 1 ? 0 : 4;
		memcpy(rec->payload, "QEVM", 4);
		put(seal());
		if (i == 0)
			put_region("pc.ram", PM_REGION_BLOCK, 1 << 12, 0);
		if (i > 0)
			continue;
		begin_pages(0, 0);
		add_raw(0, 'r');
		put(seal());
	}
	put_end(none);
}

static void
good_process(void)
{
	const uint64_t end = UINT64_C(0xff00003000);
	const uint32_t stack = 0xff00001;	/* page */

	put_stream(12, 0, none);
	put_region("process", PM_REGION_PROCESS, UINT64_C(1) << 40, 0);
	put_mapping(0, 0x400000, 0x402000, PM_MAPPING_READ |
	    PM_MAPPING_EXEC, "/bin/true");
	put_mapping(0, end - 0x2000, end, PM_MAPPING_READ |
	    PM_MAPPING_WRITE | PM_MAPPING_CARRIED, "[stack]");
	begin_pages(0, 0);
	add_run(PM_GONE, 0, stack);
	add_run(PM_ZERO, stack, 1);
	add_raw(stack + 1, 's');
	add_run(PM_GONE, stack + 2, (1 << 28) - stack - 2);
	put(seal());
	put_end(none);
}

static void
good_map(void)
{
	const uint32_t flags = PM_MAPPING_READ | PM_MAPPING_CARRIED;

	put_stream(12, 0, none);
	put_region("process", PM_REGION_PROCESS, 1 << 20, 0);
	put_mapping(0, 0x10000, 0x11000, PM_MAPPING_READ, "");
	put_mapping(0, 0x11000, 0x12000, flags, "[heap]");
	begin_pages(0, 0);
	add_run(PM_GONE, 0, 0x11);
	add_raw(0x11, 'm');
	add_run(PM_GONE, 0x12, 256 - 0x12);
	put(seal());
	put_mapping(0, 0x11000, 0x13000, flags, "[heap]");
	begin_pages(0, 0x12);
	add_raw(0, 'n');
	put(seal());
	put_end(none);
}

static void
put_heap(uint64_t end)
{
	put_mapping(0, 0x10000, end, PM_MAPPING_READ | PM_MAPPING_WRITE |
	    PM_MAPPING_CARRIED, "[heap]");
}

static void
put_others(uint64_t start, uint64_t end)
{
	put_mapping(0, start, end, PM_MAPPING_READ | PM_MAPPING_CARRIED, "");
}

/* A mapping grows, another goes and comes back, shorter, a third comes. */
static void
good_live(void)
{
	put_stream(12, 0, none);
	put_region("process", PM_REGION_PROCESS, 1 << 20, 0);
	put_heap(0x12000);
	put_others(0x20000, 0x22000);
	begin_pages(0, 0);
	add_run(PM_GONE, 0, 0x10);
	add_raw(0x10, 'a');
	add_run(PM_ZERO, 0x11, 1);
	add_run(PM_GONE, 0x12, 0x20 - 0x12);
	add_raw(0x20, 'b');
	add_raw(0x21, 'c');
	add_run(PM_GONE, 0x22, 256 - 0x22);
	put(seal());
	put_round(1, 1);
	begin_pages(0, 0x20);
	add_run(PM_GONE, 0, 2);
	put(seal());
	put_others(0x8000, 0x9000);
	put_heap(0x13000);
	begin_pages(0, 8);
	add_raw(0, 'd');
	add_raw(0x12 - 8, 'e');
	put(seal());
	put_round(2, 1);
	put_others(0x8000, 0x9000);
	put_heap(0x13000);
	put_others(0x20000, 0x21000);
	begin_pages(0, 0x10);
	add_raw(0, 'f');
	add_raw(0x10, 'g');
	put(seal());
	put_end(none);
}

static void
good_live_end(void)
{
	put_stream(12, 0, none);
	put_region("process", PM_REGION_PROCESS, 1 << 20, 0);
	put_others(0x8000, 0x9000);
	put_heap(0x13000);
	put_others(0x20000, 0x21000);
	begin_pages(0, 0);
	add_run(PM_GONE, 0, 8);
	add_raw(8, 'd');
	add_run(PM_GONE, 9, 7);
	add_raw(0x10, 'f');
	add_run(PM_ZERO, 0x11, 1);
	add_raw(0x12, 'e');
	add_run(PM_GONE, 0x13, 0xd);
	add_raw(0x20, 'g');
	add_run(PM_GONE, 0x21, 256 - 0x21);
	put(seal());
	put_end(none);
}

static void
good_skippable(void)
{
	put_stream(12, 0, none);
	pm_record_clear(rec, (enum pm_type)200);
	rec->flags = PM_FLAG_SKIPPABLE | 1;
	rec->codec = 9;
	rec->entries = 2;
	rec->entry[0] = (struct pm_entry){ 7, 0 };
	rec->entry[1] = (struct pm_entry){ 3, 0xffffffff };
	rec->region = 77;
	rec->first = 42;
	rec->stored = 5;
	memcpy(rec->payload, "later", 5);
	put(seal());
	put_region("memory", PM_REGION_BLOCK, 0, 0);
	put_end(none);
}

static void
good_may(void)
{
	begin_stream(12, 0, none);
	stream.may = UINT32_C(1) << 31 | PM_MAY_CONTINUE;
	stream.cache_pages = 16384;
	pm_stream_pack(&stream, rec);
	put(seal());
	put_end(none);
}

static void
good_partial(void)
{
	uint8_t content[1 << 12] = { 0 };

	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 5000, 0);
	begin_pages(0, 0);
	add_raw(0, 'p');
	memset(content, 'q', 5000 - 4096);
	add_page(PM_RAW, 1, content, content, sizeof(content));
	put(seal());
	put_end(none);
}

static void
good_regions(void)
{
	struct pm_digest from;

	put_stream(12, 0, none);
	put_region("a", PM_REGION_BLOCK, 1 << 12, 0);
	put_region("b", PM_REGION_BLOCK, 2 << 12, 0);
	put_region("c", PM_REGION_BLOCK, 0, 0);
	for (uint32_t i = 0; i < 2; i++) {
		begin_pages(i, 0);
		add_raw(0, 'a' + (int)i);
		if (i == 1)
			add_raw(1, 'z');
		put(seal());
	}
	put_end(none);
	from = generation();
	put_stream(12, 0, from);
	put_region("a", PM_REGION_BLOCK, 3 << 12, 1 << 12);
	put_region("b", PM_REGION_BLOCK, 0, 2 << 12);
	put_region("c", PM_REGION_BLOCK, 1 << 12, 0);
	begin_pages(2, 0);
	add_raw(0, 'c');
	put(seal());
	begin_pages(0, 2);
	add_raw(0, 'A');
	put(seal());
	put_end(from);
}

static void
good_page_64k(void)
{
	put_stream(16, 0, none);
	put_region("memory", PM_REGION_BLOCK, 3 << 16, 0);
	begin_pages(0, 0);
	add_raw(0, 'x');
	add_run(PM_ZERO, 1, 2);
	put(seal());
	put_end(none);
}

static void
good_raw_zeroes(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 9 << 12, 0);
	begin_pages(0, 0);
	add_run(PM_ZERO, 0, 2);
	add_raw(2, 0);
	add_raw(3, 0);
	add_run(PM_ZERO, 4, 1);
	add_run(PM_GONE, 5, 1);
	add_raw(6, 0);
	add_raw(7, 'A');
	add_raw(8, 0);
	put(seal());
	put_end(none);
}

static void
good_no_raw_zeroes(void)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 9 << 12, 0);
	begin_pages(0, 0);
	add_run(PM_ZERO, 0, 5);
	add_run(PM_GONE, 5, 1);
	add_run(PM_ZERO, 6, 1);
	add_raw(7, 'A');
	add_run(PM_ZERO, 8, 1);
	put(seal());
	put_end(none);
}

/* One page of 'A', as bytes of that codec. */
static void
put_coded(enum pm_codec_id codec, const uint8_t *bytes, uint32_t size)
{
	put_stream(12, 0, none);
	put_region("memory", PM_REGION_BLOCK, 1 << 12, 0);
	begin_pages(0, 0);
	add_raw(0, 'A');
	rec->codec = (uint8_t)codec;
	rec->stored = size;
	memcpy(rec->payload, bytes, size);
	put(seal());
	put_end(none);
}

static void
good_zlib(void)
{
	static const uint8_t bytes[] = { 0x78, 0x9c, 0xed, 0xc1, 0x01, 0x0d,
	    0, 0, 0, 0xc2, 0xa0, 0x6c, 0xef, 0x5f, 0xca, 0x1e, 0x0e, 0x28,
	    0, 0, 0, 0xe0, 0xdd, 0x00, 0xff, 0xad, 0x10, 0x3d };

	put_coded(PM_CODEC_ZLIB, bytes, sizeof(bytes));
}

/* A literal, a match at 1 of 4090 bytes, and the 5 literals that must end. */
static void
good_lz4(void)
{
	static const uint8_t bytes[] = { 0x1f, 'A', 1, 0, 255, 255, 255, 255,
	    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 246, 0x50,
	    'A', 'A', 'A', 'A', 'A' };

	put_coded(PM_CODEC_LZ4, bytes, sizeof(bytes));
}

/* A frame of no content size and no checksum, whose block is a run. */
static void
good_zstd(void)
{
	static const uint8_t bytes[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x10,
	    0x03, 0x80, 0x00, 'A' };

	put_coded(PM_CODEC_ZSTD, bytes, sizeof(bytes));
}

#endif /* GOOD_H */
