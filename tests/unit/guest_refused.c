/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests that are refused: for what a note says, for what stands in memory,
 * and for blocks that do not add up.
 */
#include "made_check.h"

/* What a note says, or does not. */
static void
test_notes(void)
{
	static const char *const change[][3] = {
		{ "OSRELEASE", "5.10.0", "5.10.0" UNKNOWN },
		{ "OSRELEASE", "6.20.0", "6.20.0" UNKNOWN },
		{ "OSRELEASE", "6.", "6." UNKNOWN },
		{ "OSRELEASE", "6x", "6x" UNKNOWN },
		{ "OSRELEASE", "7.0.0", "7.0.0" UNKNOWN },
		{ "OSRELEASE", "", "the kernel's release has no name" },
		{ "OSRELEASE", "6.1 x", "the kernel's release has no name" },
		{ "OSRELEASE", "6.1.0-51-made", "has another name in use" },
		{ "SYMBOL(init_uts_ns)", NULL, WRONG_NAME },
		{ "OFFSET(uts_namespace.name)", "8", WRONG_NAME },
		{ "SYMBOL(swapper_pg_dir)", NULL, NO_MACHINE },
		{ "SYMBOL(swapper_pg_dir)", "swapper", NO_MACHINE },
		{ "SYMBOL(swapper_pg_dir)", "ffffffff86201000", NO_TABLES },
		{ "SYMBOL(swapper_pg_dir)", "0", NO_TABLES },
		{ "SYMBOL(_stext)", "ffffffff00000000", NO_TABLES },
		{ "SYMBOL(_stext)", "ffffffff86001000", WRONG_SYMBOLS },
		{ "SYMBOL(_stext)", "7fffffffffffffff", NO_TABLES },
		{ "NUMBER(phys_base)", "0", NO_TABLES },
		{ "NUMBER(phys_base)", "-9223372036854775808", NO_TABLES },
		{ "NUMBER(phys_base)", "0x10", NO_MACHINE },
		{ "NUMBER(pgtable_l5_enabled)", "1", NO_TABLES },
		{ "NUMBER(pgtable_l5_enabled)", NULL, NO_MACHINE },
		{ "KERNELOFFSET", NULL, NO_MACHINE },
		{ "NUMBER(sme_mask)", "140737488355328",
		    MADE_RELEASE " encrypts its memory" },
		{ "SYMBOL(kallsyms_names)", NULL, NO_SYMBOLS },
		{ "SYMBOL(kallsyms_offsets)", "", NO_SYMBOLS },
		{ "SYMBOL(kallsyms_names)", "ffffffff86010801",
		    WRONG_SYMBOLS },
		{ "SYMBOL(kallsyms_num_syms)", "0", WRONG_SYMBOLS },
		{ "SYMBOL(kallsyms_token_table)", "ffffffff7fffffff",
		    WRONG_SYMBOLS },
		{ "SYMBOL(kallsyms_token_index)", "ffffffff86460000",
		    WRONG_SYMBOLS },
		{ "SYMBOL(kallsyms_offsets)", "fffffffffffffffe",
		    WRONG_SYMBOLS },
		{ "SYMBOL(kallsyms_relative_base)", "ffffffff86010010",
		    WRONG_SYMBOLS },
		{ "SIZE(page)", "60", NO_SHAPE },
		{ "SIZE(page)", "96", NO_SHAPE },
		{ "SIZE(page)", "32", NO_SHAPE },
		{ "SIZE(page)", "512", NO_SHAPE },
		{ "OFFSET(page._refcount)", "61", NO_SHAPE },
		{ "OFFSET(page.lru)", "-8", NO_SHAPE },
		{ "OFFSET(page.compound_head)", "16", NO_SHAPE },
		{ "SIZE(list_head)", "8", NO_SHAPE },
		{ "NUMBER(PG_lru)", "64", NO_SHAPE },
		{ "SIZE(zone)", "1031", NO_SHAPE },
		{ "SIZE(zone)", "65537", NO_SHAPE },
		{ "SIZE(free_area)", "80", NO_SHAPE },
		{ "LENGTH(zone.free_area)", "0", NO_SHAPE },
		{ "LENGTH(zone.free_area)", "17", NO_SHAPE },
		{ "LENGTH(zone.free_area)", "15", NO_SHAPE },
		{ "LENGTH(zone.free_area)", "3",
		    MADE_RELEASE " has two counts of free pages" },
		{ "OFFSET(zone.vm_stat)", "1209", NO_SHAPE },
		{ "NUMBER(NR_FREE_PAGES)", "64", NO_SHAPE },
		{ "NUMBER(SECTION_SIZE_BITS)", "20", NO_SHAPE },
		{ "NUMBER(SECTION_SIZE_BITS)", "28", NO_SHAPE },
		{ "OFFSET(mem_section.section_mem_map)", "9", NO_SHAPE },
		{ "SYMBOL(mem_section)", NULL, NO_SHAPE },
		{ "SYMBOL(mem_section)", "10", WRONG_ARRAY },
		{ "LENGTH(mem_section)", "0", WRONG_ARRAY },
		{ "SYMBOL(contig_page_data)", NULL, NO_SHAPE },
		{ "SYMBOL(contig_page_data)", "fffffffffffffff8",
		    WRONG_ZONES },
		{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "-128", WRONG_COUNT },
	};

	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		open_plain();
		made_set(&made, change[i][0], change[i][1]);
		CHECK(is_refused(change[i][2]));
		made_close(&made);
	}
}

/* What stands in memory. */
static void
test_words(void)
{
	static const struct {
		uint64_t at, value;
		unsigned width;
		const char *why;
	} change[] = {
		{ MADE_PANIC, 1, 4, MADE_RELEASE " has crashed" },
		{ MADE_STATE, 1, 4,
		    MADE_RELEASE " is starting or coming down" },
		{ MADE_STATE, 4, 4,
		    MADE_RELEASE " is starting or coming down" },
		{ MADE_EARLY, 1, 1, MADE_RELEASE " poisons free pages" },
		{ MADE_POISON, 1, 4, MADE_RELEASE " poisons free pages" },
		{ MADE_ZEROES, 1, 4, MADE_RELEASE " zeroes free pages" },
		{ MADE_UTS + NAME_OFFSET + 131, '!', 1, WRONG_NAME },
		{ MADE_TABLES + 511 * 8, 0, 8, NO_TABLES },
		/* A table that leads to itself, and one that is nowhere. */
		{ MADE_TABLES + 511 * 8, MADE_TABLES | 0x63, 8, NO_TABLES },
		{ MADE_TABLES + 511 * 8, MADE_BYTES | 0x63, 8, NO_TABLES },
		{ MADE_TABLES + 511 * 8, UINT64_MAX - 4, 8, NO_TABLES },
		/* The text is not where the tables are. */
		{ MADE_TABLES + 2 * 4096 + 48 * 8, 0x6000e3, 8, NO_TABLES },
		{ MADE_COUNT, 0, 4, WRONG_SYMBOLS },
		{ MADE_COUNT, UINT32_MAX, 4, WRONG_SYMBOLS },
		{ MADE_COUNT, MADE_SYMBOLS + 1, 4, WRONG_SYMBOLS },
		{ MADE_COUNT, MADE_SYMBOLS - 4, 4, MADE_RELEASE
		    " has not the symbols" },
		{ MADE_BASE, 0, 8, WRONG_SYMBOLS },
		{ MADE_INDEX + 2 * 'u', 16384, 2, WRONG_SYMBOLS },
		{ MADE_OFFSETS + 4, 5, 4, WRONG_SYMBOLS },
		{ MADE_OFFSETS + 4 * 3, 5, 4,
		    MADE_RELEASE " has symbols that are not there" },
		{ MADE_RAM_MAP, 0, 8, WRONG_RAM },
		{ MADE_RAM_MAP, UINT64_MAX, 8, WRONG_RAM },
		{ MADE_E820, 0, 4, WRONG_RAM },
		{ MADE_E820, 4097, 4, WRONG_RAM },
		{ MADE_E820, UINT32_MAX, 4, WRONG_RAM },
		{ MADE_E820 + 4 + 80 + 8, MADE_BYTES, 8, WRONG_RAM },
		{ MADE_E820 + 4 + 80 + 8, UINT64_MAX, 8, WRONG_RAM },
		{ MADE_E820 + 4 + 80, UINT64_MAX - 4095, 8, WRONG_RAM },
		{ MADE_E820 + 4 + 60 + 8, 0x400000, 8, WRONG_RAM },
		{ MADE_CPUS, 0, 4, MADE_RELEASE " has no number" },
		{ MADE_CPUS, 8193, 4, MADE_RELEASE " has no number" },
		{ MADE_TOTAL, 100, 8,
		    MADE_RELEASE " has more free pages than pages" },
		{ MADE_NODE + NODE_NR_ZONES, 9, 4, WRONG_ZONES },
		{ MADE_NODE + NODE_NR_ZONES, 0, 4, WRONG_COUNT },
		{ MADE_NODE + NODE_NR_ZONES, 1, 4, WRONG_COUNT },
		{ MADE_NODE + ZONE_AREAS + MADE_TYPES * 16, UINT64_MAX, 8,
		    MADE_RELEASE " counts more free blocks" },
		{ MADE_NODE + ZONE_AREAS + MADE_TYPES * 16, 4000, 8,
		    MADE_RELEASE " has two counts of free pages" },
		{ MADE_ROOTS, 0, 8, WRONG_COUNT },
		{ MADE_ROOTS, 1, 8, WRONG_ARRAY },
		{ MADE_SECTIONS + 48, 0, 8, WRONG_COUNT },
		{ MADE_SECTIONS + 48, 0xf, 8,
		    MADE_RELEASE " has pages in more than one array" },
	};

	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		open_plain();
		made_put(&made, change[i].at, change[i].value,
		    change[i].width);
		CHECK(is_refused(change[i].why));
		made_close(&made);
	}
}

/* A page of the array that the kernel uses, and one that is no RAM. */
#define USED	(MADE_TEXT >> 12)
#define NO_RAM	((MADE_FIRMWARE >> 12) + 1)

static void
mark(uint64_t page, uint64_t order)
{
	uint8_t *is_page = made_page_at(&made, page);

	memset(is_page, 0, PAGE_SIZE_OF);
	pm_put_le(is_page + PAGE_MAPCOUNT, BUDDY, 4);
	pm_put_le(is_page + PAGE_PRIVATE, order, 8);
}

/* Blocks that are none. */
static void
test_blocks(void)
{
	static const struct {
		int is_block;		/* of order 2; or it is a page */
		uint64_t page, at, value;
		unsigned width;
		const char *why;
	} change[] = {
		{ 1, 0, PAGE_REFCOUNT, 1, 4, WRONG_BLOCK },
		{ 1, 0, PAGE_FLAGS, 1u << BIT_LRU, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_FLAGS, 1u << BIT_PRIVATE, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_FLAGS, 1u << BIT_SWAPBACKED, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_FLAGS, 1u << BIT_HEAD, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_PRIVATE, MADE_ORDERS, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_PRIVATE, 64, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_PRIVATE, UINT64_MAX, 8, WRONG_BLOCK },
		{ 1, 0, PAGE_PRIVATE, 1, 8, WRONG_COUNT },
		{ 1, 0, PAGE_MAPCOUNT, UINT32_MAX, 4, WRONG_COUNT },
		{ 1, 0, PAGE_LRU, 0, 8, WRONG_LINKS },
		{ 1, 0, PAGE_LRU + 8, 0, 8, WRONG_LINKS },
		{ 1, 1, PAGE_MAPCOUNT, BUDDY, 4,
		    MADE_RELEASE " has a free block within another" },
		{ 1, 3, PAGE_MAPCOUNT, BUDDY, 4,
		    MADE_RELEASE " has a free block within another" },
		{ 1, 1, PAGE_REFCOUNT, 1, 4, WRONG_USE },
		{ 1, 3, PAGE_FLAGS, 1u << BIT_LRU, 8, WRONG_USE },
		{ 0, USED + 1, PAGE_PRIVATE, 1, 8, WRONG_BLOCK },
		{ 0, USED, PAGE_PRIVATE, 0, 8, WRONG_COUNT },
		{ 0, NO_RAM, PAGE_PRIVATE, 0, 8,
		    MADE_RELEASE " has free pages where there is no RAM" },
		/* One that begins in RAM, and ends behind it. */
		{ 0, NO_RAM - 4, PAGE_PRIVATE, 2, 8,
		    MADE_RELEASE " has free pages where there is no RAM" },
	};

	for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
		uint64_t page = change[i].page;

		open_plain();
		if (change[i].is_block)
			page += made.first[2];
		else
			mark(page, 0);
		pm_put_le(made_page_at(&made, page) + change[i].at,
		    change[i].value, change[i].width);
		CHECK(is_refused(change[i].why));
		made_close(&made);
	}
}

static void
swap(uint8_t *one, uint8_t *other)
{
	uint8_t bytes[8];

	memcpy(bytes, one, 8);
	memcpy(one, other, 8);
	memcpy(other, bytes, 8);
}

/* Lists of which each link leads to a block, but to a wrong one. */
static void
test_links(void)
{
	uint8_t *one, *other;

	for (unsigned back = 0; back < 2; back++) {
		open_plain();
		one = made_page_at(&made, made.first[2]) + PAGE_LRU;
		other = made_page_at(&made, made.first[3]) + PAGE_LRU;
		swap(one + back * 8, other + back * 8);
		CHECK(is_refused(WRONG_LINKS));
		made_close(&made);
	}
	/* A head that forgot its list. */
	open_plain();
	one = made_zone_at(&made, 0, 1) + ZONE_AREAS;
	memset(one, 0, MADE_TYPES * 16);
	CHECK(is_refused(WRONG_LINKS));
	made_close(&made);
}

int
main(void)
{
	test_notes();
	test_words();
	test_blocks();
	test_links();
	return check_done();
}
