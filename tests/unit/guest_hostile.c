/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: guest_hostile [SEED [all]]
 *
 * Guests whose memory is not what a kernel would write: whatever it says,
 * it is read within its bounds, in a time that does not depend on what it
 * says, and what is found lies within it.
 */
#include <time.h>

#include "check.h"
#include "made_guest.h"

#define SECONDS		10.0	/* of a processor, under any sanitizer */
#define ALIASED		UINT64_C(0xffffa00000000000)	/* 512 GiB, all of */
#define FAR		(UINT64_C(1) << 50)	/* a part of RAM */
#define ALIAS		UINT64_C(0x800000)		/* these 2 MiB */

static struct made made;
static struct pm_guest guest;
static struct pm_fault fault;

static void
open_made(enum made_form form)
{
	made = (struct made){ .form = form, .levels = 4, .nodes = 1,
	    .seed = 5 };
	made_open(&made);
}

/* Look for it, and take no longer than that. */
static int
is_quick(void)
{
	struct pm_guest_memory memory = made_memory(&made);
	clock_t start = clock();
	enum pm_status status;
	double took;
	int good;

	memory.part[1].address = FAR;
	fault = (struct pm_fault){ .error = 0 };
	status = pm_guest_open(&guest, &memory, &fault);
	took = (double)(clock() - start) / CLOCKS_PER_SEC;
	good = status == PM_ERR_REFUSED && took < SECONDS &&
	    made_is_sane(&made, &guest, status, &fault);

	printf("# %.2f s, %" PRIu64 " reads, %" PRIu64 " bytes: %s\n", took,
	    made.reads, made.bytes, fault.text);
	pm_guest_close(&guest);
	made_close(&made);
	return good;
}

/* Have the same note in as many pages as are looked at, and more. */
static void
repeat_note(void)
{
	for (size_t at = 0x21000; at < MADE_FIRMWARE; at += 4096)
		memcpy(made.ram + at, made.ram + MADE_PLAIN, 4096);
	made_note_data(&made);
}

/* Map the same 2 MiB again and again. */
static void
alias(uint8_t byte)
{
	uint64_t upper = made.tables, lower = upper + 4096;

	made.tables += 8192;
	made_put(&made, MADE_TABLES + (ALIASED >> 39) % 512 * 8,
	    upper | MADE_PRESENT, 8);
	for (unsigned i = 0; i < 512; i++) {
		made_put(&made, upper + 8 * i, lower | MADE_PRESENT, 8);
		made_put(&made, lower + 8 * i, ALIAS | MADE_PRESENT | 0x80,
		    8);
	}
	memset(made.ram + ALIAS, byte, MADE_LARGE);
}

static void
move_to_alias(const char *key)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIx64, ALIASED);
	made_set(&made, key, text);
}

/* Millions of names, of thousands of tokens, of thousands of letters. */
static void
test_names(void)
{
	open_made(MADE_WHOLE);
	alias(0xff);
	move_to_alias("SYMBOL(kallsyms_names)");
	made_put(&made, MADE_COUNT, 4u << 20, 4);
	memset(made.ram + MADE_TOKENS + 5000, 'x', 3000);
	memset(made.ram + MADE_OFFSETS, 'x', 16384);
	made_set(&made, "SYMBOL(kallsyms_token_table)", "ffffffff86014000");
	repeat_note();
	CHECK(is_quick());
	/* As many as there may be, each of one token. */
	open_made(MADE_WHOLE);
	alias(1);
	move_to_alias("SYMBOL(kallsyms_names)");
	made_put(&made, MADE_COUNT, 4u << 20, 4);
	made_put(&made, MADE_INDEX + 2, 0, 2);
	memset(made.ram + MADE_TOKENS, 'x', 511);
	repeat_note();
	CHECK(is_quick());
}

/* A map of RAM with as many entries as there may be, none of which fits. */
static void
test_ranges(void)
{
	open_made(MADE_WHOLE);
	alias(0);
	made_put(&made, MADE_RAM_MAP, ALIASED, 8);
	made_put(&made, ALIAS, 4096, 4);
	for (uint64_t i = 0; i < 4096; i++) {
		made_put(&made, ALIAS + 4 + i * 20, i << 32, 8);
		made_put(&made, ALIAS + 12 + i * 20, 4096, 8);
		made_put(&made, ALIAS + 20 + i * 20, 1, 4);
	}
	repeat_note();
	CHECK(is_quick());
}

/* A thousand nodes of large zones. */
static void
test_nodes(void)
{
	made = (struct made){ .levels = 4, .nodes = 2, .seed = 5 };
	made_open(&made);
	alias(0);
	for (uint64_t i = 0; i < 1024; i++)
		made_put(&made, ALIAS + 8 * i, ALIASED + 0x100000, 8);
	made_put(&made, ALIAS + 0x100000 + NODE_NR_ZONES, 8, 4);
	move_to_alias("SYMBOL(node_data)");
	made_set(&made, "LENGTH(node_data)", "1024");
	made_set(&made, "SIZE(zone)", "65536");
	made_set(&made, "OFFSET(zone.free_area)", "60000");
	repeat_note();
	CHECK(is_quick());
}

/* Sections, and an array for all of them, where each page is large. */
static void
test_sections(void)
{
	open_made(MADE_SPLIT);
	alias(0);
	for (unsigned i = 0; i < 4096; i++)
		made_put(&made, ALIAS + 8 * i, ALIASED + 0x100000, 8);
	for (unsigned i = 0; i < 4096; i += 16)
		made_put(&made, ALIAS + 0x100000 + i, ALIASED | 3, 8);
	move_to_alias("SYMBOL(mem_section)");
	made_set(&made, "SIZE(page)", "256");
	repeat_note();
	CHECK(is_quick());
	/* RAM so far up that there are as many sections as there may be. */
	open_made(MADE_PARTS);
	alias(0);
	made_put(&made, MADE_E820 + 4 + 6 * 20, FAR, 8);
	move_to_alias("SYMBOL(mem_section)");
	made_set(&made, "LENGTH(mem_section)", "1048576");
	repeat_note();
	CHECK(is_quick());
}

/* Each read in turn fails, and that is what is said. */
static void
test_failing_reads(enum made_form form)
{
	enum pm_status status;
	uint64_t reads, at;
	int good = 1;

	open_made(form);
	CHECK(made_find(&made, &guest, &fault) == PM_OK);
	pm_guest_close(&guest);
	reads = made.reads;
	for (at = 1; at <= reads && good; at += CHECK_STRIDE) {
		made.fails = at;
		status = made_find(&made, &guest, &fault);
		good = status == PM_ERR_READ && made.reads == at &&
		    strcmp(fault.text, "torn") == 0 && made.strays == 0;
		pm_guest_close(&guest);
	}
	CHECK(good);
	made_close(&made);
}

/* A memory that is cut, at any place, holds no guest. */
static void
test_cut(void)
{
	int good = 1;

	open_made(MADE_WHOLE);
	for (uint64_t page = 0; page < MADE_PAGES && good; page += 1 +
	    page % 40) {
		enum pm_status status;

		/* 0 stands for all of it. */
		made.end = page << 12;
		if (page == 0)
			continue;
		status = made_find(&made, &guest, &fault);
		good = status == PM_ERR_REFUSED &&
		    made_is_sane(&made, &guest, status, &fault);
		pm_guest_close(&guest);
	}
	CHECK(good);
	made_close(&made);
}

/* What a word may be instead. */
static uint64_t
other_word(uint64_t at, unsigned which)
{
	switch (which) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return made_below(&made, UINT64_C(1) << 44) <<
		    made_below(&made, 21);
	case 3:
		return made_below(&made, 2) == 0 ? made_direct(&made, at)
		    : at | 0x63;
	default:
		at = made_area[made_below(&made, MADE_AREAS)].from;
		return made_below(&made, 3) == 0 ? at | 0x63
		    : made_below(&made, 2) == 0 ? made_image(&made, at)
		    : made_page(&made, made_below(&made, MADE_PAGES)) +
		    PAGE_LRU;
	}
}

struct tally {
	uint64_t runs, taken, other;
};

/* True when the map is what was made. */
static int
is_same(void)
{
	for (uint64_t page = 0; page < MADE_PAGES; page++)
		if (pm_bitmap_test(&guest.map, made_line_page(&made, page)) !=
		    made.is_free[page])
			return 0;
	return pm_bitmap_count(&guest.map) == made.free;
}

static int
withstands(uint64_t at, uint64_t word, struct tally *tally)
{
	uint64_t was = pm_get_le(made.ram + at, 8);
	uint8_t was_data = made.is_data[at >> 12];
	enum pm_status status;
	int good;

	made_put(&made, at, word, 8);
	made.is_data[at >> 12] = 1;
	status = made_find(&made, &guest, &fault);
	good = made_is_sane(&made, &guest, status, &fault);
	tally->runs++;
	if (status == PM_OK) {
		tally->taken++;
		tally->other += !is_same();
	}
	if (!good || (status == PM_OK && !is_same()))
		printf("# %" PRIx64 ": %" PRIx64 " for %" PRIx64 ": %d %s\n",
		    at, word, was, status, fault.text);
	pm_guest_close(&guest);
	made_put(&made, at, was, 8);
	made.is_data[at >> 12] = was_data;
	return good;
}

/* One word after the other is something else. */
static void
test_words(unsigned sort, uint64_t seed, int all)
{
	struct tally tally = { .runs = 0 };
	int good = 1;

	made = (struct made){ .form = sort % 3, .levels = 4 + sort % 2,
	    .nodes = 1 + sort % 2, .is_unsigned = sort % 2, .seed = seed };
	made_open(&made);
	for (size_t i = 0; i < MADE_AREAS; i++) {
		uint64_t step = all ? 1 : made_area[i].step *
		    CHECK_STRIDE;

		for (uint64_t at = made_area[i].from + made_below(&made,
		    step) * 8; at < made_area[i].end; at += step * 8)
			for (unsigned which = 0; which < 5; which++)
				good &= withstands(at, other_word(at, which),
				    &tally);
	}
	printf("# sort %u: %" PRIu64 " words, taken with %" PRIu64
	    ", for another with %" PRIu64 "\n", sort, tally.runs,
	    tally.taken, tally.other);
	CHECK(good);
	CHECK(tally.taken < tally.runs);
	made_close(&made);
}

int
main(int argc, char *argv[])
{
	uint64_t first = (uint64_t)time(NULL) % 1000000 + 1;

	if (argc > 1)
		first = strtoull(argv[1], NULL, 10);
	printf("# seed %" PRIu64 "\n", first);
	for (unsigned sort = 0; sort < 3; sort++)
		test_words(sort, first, argc > 2);
	test_failing_reads(MADE_WHOLE);
	test_failing_reads(MADE_SPLIT);
	test_cut();
	test_names();
	test_ranges();
	test_nodes();
	test_sections();
	return check_done();
}
