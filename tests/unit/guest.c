/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: guest [SEED]
 *
 * Guests made by made_guest.h, of which all free pages are found, wherever
 * their RAM and their note are.
 */
#include <time.h>

#include "made_check.h"

#define SORTS		24u

/* One of each sort: where RAM is, levels, nodes, how symbols are stored. */
static int
finds_sort(unsigned sort, uint64_t seed)
{
	int good;

	made = (struct made){
		.form = sort % 3, .levels = sort / 3 % 2 ? 5 : 4,
		.nodes = 1 + sort / 6 % 2, .is_unsigned = sort / 12 % 2,
		.seed = seed,
	};
	made_open(&made);
	good = finds();
	if (!good)
		printf("# sort %u, seed %" PRIu64 "\n", sort, seed);
	made_close(&made);
	return good;
}

static uint64_t
free_of_zone(unsigned wanted)
{
	uint64_t sum = 0;

	for (uint64_t page = 0; page < MADE_PAGES; page++) {
		unsigned node, zone;

		made_zone_of(&made, page, &node, &zone);
		sum += zone == wanted ? made.is_free[page] : 0;
	}
	return sum;
}

/* The other count of a zone's free pages is off by 512 for a processor. */
static void
test_drift(void)
{
	static const int64_t drift[] = { 1024, -1024, 1025, -1025, INT64_MIN,
	    INT64_MAX };

	for (unsigned i = 0; i < sizeof(drift) / sizeof(drift[0]); i++) {
		open_plain();
		pm_put_le(made_zone_at(&made, 0, 1) + ZONE_STATS,
		    free_of_zone(1) + (uint64_t)drift[i], 8);
		if (i < 2)
			CHECK(finds_changed());
		else
			CHECK(is_refused(MADE_RELEASE " has two counts of "
			    "free pages that differ"));
		made_close(&made);
	}
}

/* A second note, before the one that is right. */
static void
put_before(const char *const (*change)[2], unsigned changes)
{
	char right[MADE_NOTE_MAX];

	memcpy(right, made.note, sizeof(right));
	for (unsigned i = 0; i < changes; i++)
		made_set(&made, change[i][0], change[i][1]);
	memcpy(made.ram + MADE_FOREIGN, made.ram + MADE_PLAIN, 4096);
	memcpy(made.note, right, sizeof(right));
	made_put_note(&made);
}

/* Where the note may stand, and what else may look like one. */
static void
test_places(void)
{
	static const char *const other[][2] = {
		{ "OSRELEASE", "5.10.0" }, { "OSRELEASE", "6.99" },
		{ "NUMBER(phys_base)", "4096" },
		{ "SYMBOL(swapper_pg_dir)", "ffffffff86600000" },
		{ "SYMBOL(kallsyms_names)", "ffffffff86010000" },
		{ "SYMBOL(contig_page_data)", "ffffffff86210000" },
		{ "OFFSET(page.private)", "32" },
		{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "-1" },
	};
	/* By this one all pages are free, up to the first of a file. */
	static const char *const blind[][2] = {
		{ "OFFSET(page._mapcount)", "56" },
		{ "OFFSET(page._refcount)", "60" },
		{ "OFFSET(page.private)", "56" },
		{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", "0" },
	};

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		open_plain();
		put_before(&other[i], 1);
		CHECK(finds_changed());
		/* Of two that are wrong, it is the farther that counts. */
		made_set(&made, "OSRELEASE", "4.19");
		CHECK(is_refused(i < 2 ? UNKNOWN : MADE_RELEASE " "));
		made_close(&made);
	}
	open_plain();
	put_before(blind, 4);
	CHECK(finds_changed());
	memset(made.ram + MADE_FOREIGN, 0, 4096);
	memset(made.ram + MADE_PLAIN, 0, 4096);
	CHECK(finds_changed());
	made_put_note(&made);
	memset(made.ram + MADE_ELF, 0, 8192);
	CHECK(finds_changed());
	/* The last page of all. */
	memcpy(made.ram + MADE_BYTES - 4096, made.ram + MADE_PLAIN, 4096);
	memset(made.ram + MADE_PLAIN, 0, 4096);
	CHECK(finds_changed());
	memset(made.ram + MADE_BYTES - 4096, 0, 4096);
	/* A note that is cut has no last line, or not all of them. */
	made_put_note(&made);
	memset(made.ram + MADE_PLAIN, 0, 4096);
	made_put(&made, MADE_ELF + 4, strlen(made.note) - 1, 4);
	CHECK(is_refused("no Linux kernel is found that tells where it is"));
	made_put(&made, MADE_ELF + 4, 24, 4);
	CHECK(is_refused(NO_MACHINE));
	made_put(&made, MADE_ELF + 4, UINT32_MAX, 4);
	CHECK(finds_changed());
	made_put(&made, MADE_ELF + 24 + 100, 0x80, 1);
	CHECK(is_refused("no Linux kernel is found that tells where it is"));
	made_close(&made);
}

/* What may be otherwise. */
static void
test_others(void)
{
	struct pm_guest_memory memory = { .read = made_read,
	    .next = made_next, .arg = &made };

	/* A kernel that has no poison, and does not zero. */
	open_plain();
	made_put(&made, MADE_COUNT, MADE_SYMBOLS - 3, 4);
	made_put(&made, MADE_EARLY, 1, 1);
	made_put(&made, MADE_ZEROES, 1, 4);
	CHECK(finds_changed());
	made_close(&made);
	/* Tokens that end where the kernel's image does. */
	open_plain();
	memcpy(made.ram + 0x7ffe00, made.ram + MADE_TOKENS, 512);
	made_set(&made, "SYMBOL(kallsyms_token_table)", "ffffffff865ffe00");
	CHECK(finds_changed());
	made_close(&made);
	/* Less memory than RAM, above 4 GiB. */
	made = (struct made){ .form = MADE_SPLIT, .levels = 4, .nodes = 1 };
	made_open(&made);
	made.end = made_memory(&made).size - 4096;
	CHECK(is_refused(WRONG_RAM));
	/* And more of it. */
	made.end = 0;
	made_put(&made, MADE_E820 + 4 + 6 * 20 + 8, MADE_BYTES - MADE_LOW -
	    4096, 8);
	CHECK(is_refused(WRONG_RAM));
	made_close(&made);
	/* RAM above 4 GiB in which nothing of the kernel's is. */
	made = (struct made){ .form = MADE_SPLIT, .levels = 4, .nodes = 1,
	    .is_low = 1 };
	made_open(&made);
	CHECK(is_refused(MADE_RELEASE " has nothing that shows where its RAM "
	    "above 4 GiB is"));
	made_close(&made);
	made = (struct made){ .form = MADE_PARTS, .levels = 4, .nodes = 1,
	    .is_low = 1 };
	made_open(&made);
	CHECK(finds());
	made_close(&made);
	/* Parts that are elsewhere. */
	made = (struct made){ .form = MADE_PARTS, .levels = 4, .nodes = 1 };
	made_open(&made);
	memory = made_memory(&made);
	memory.part[1].address += 4096;
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_guest_open(&guest, &memory, &fault) == PM_ERR_REFUSED &&
	    strcmp(fault.text, WRONG_RAM) == 0);
	pm_guest_close(&guest);
	memory.part[0].address = 4096;
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_guest_open(&guest, &memory, &fault) == PM_ERR_REFUSED &&
	    strcmp(fault.text, NO_TABLES) == 0);
	pm_guest_close(&guest);
	/* No fault is asked for, and there is nothing. */
	memory.size = memory.parts = 0;
	CHECK(pm_guest_open(&guest, &memory, NULL) == PM_ERR_REFUSED);
	pm_guest_close(&guest);
	pm_guest_close(&guest);
	memset(made.ram, 0, MADE_BYTES);
	CHECK(is_refused("no Linux kernel is found that tells where it is"));
	made_close(&made);
}

int
main(int argc, char *argv[])
{
	uint64_t first = (uint64_t)time(NULL) % 1000000 + 1;

	if (argc > 1)
		first = strtoull(argv[1], NULL, 10);
	printf("# seeds from %" PRIu64 "\n", first);
	for (unsigned sort = 0; sort < SORTS; sort++)
		CHECK(finds_sort(sort, first + sort));
	test_drift();
	test_places();
	test_others();
	return check_done();
}
