/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of a process whose mappings change between its rounds.  The core
 * file must be, byte by byte, what one full stream of the last state makes.
 * The seed is printed, and may be given as the argument.
 */
#include <fcntl.h>

#include "check.h"
#include "mapped.h"

/* What is where in the process, page by page. */
static struct {
	uint32_t mapping;	/* 0: none; the same as before: goes on */
	uint32_t flags;
} mapped[PAGES];

static char other[64];

static int
is_carried(uint32_t page)
{
	return mapped[page].mapping != 0 &&
	    (mapped[page].flags & PM_MAPPING_CARRIED) != 0;
}

/* Mappings of chance; some stay as they are. */
static void
change_mappings(void)
{
	static uint32_t number;

	for (uint32_t page = 0; page < PAGES;) {
		uint32_t end = page + 1 + (uint32_t)chance(12);
		uint64_t what = chance(8);

		for (number++; page < end && page < PAGES; page++) {
			if (what < 4)
				continue;
			mapped[page].mapping = what < 6 ? number : 0;
			mapped[page].flags = PM_MAPPING_READ |
			    (chance(4) > 0 ? PM_MAPPING_CARRIED : 0);
			if (page > 0 && mapped[page - 1].mapping == number)
				mapped[page].flags = mapped[page - 1].flags;
		}
	}
	/* No list is empty. */
	mapped[7].mapping = UINT32_MAX;
	mapped[7].flags = CARRIED;
}

static void
put_list(void)
{
	static uint64_t ended;

	/* Right behind another they would be one. */
	if (writer.records == ended)
		put_round(generation());
	begin_list();
	for (uint32_t page = 0, from; page < PAGES;) {
		from = page++;
		while (page < PAGES &&
		    mapped[page].mapping == mapped[from].mapping)
			page++;
		if (mapped[from].mapping == 0)
			continue;
		put_mapping(from, page, mapped[from].flags, name_of(from));
		if (chance(5) == 0) {
			put();
			begin_list();
		}
	}
	put();			/* sometimes with nothing more */
	ended = writer.records;
}

static void
change_page(uint32_t page)
{
	static uint8_t before[PAGE];
	uint64_t kind = chance(6);

	memcpy(before, memory[page], PAGE);
	if (kind == 0) {
		add_run(chance(2) == 0 ? PM_ZERO : PM_GONE, page, 1);
		return;
	}
	if (kind == 1) {
		add_page(PM_SAME, page, before);
		return;
	}
	if (chance(3) == 0)
		memset(memory[page], (int)chance(3), PAGE);
	else
		memory[page][chance(PAGE)] = (uint8_t)chance(256);
	add_page(kind < 4 ? PM_DELTA : PM_RAW, page, before);
}

/* Some pages that are carried, with gaps between them. */
static void
put_changes(void)
{
	begin_pages(chance(PAGES));
	for (uint32_t page = (uint32_t)rec->first; page < PAGES; page++) {
		if (is_carried(page) && chance(4) > 0)
			change_page(page);
		else if (!is_carried(page) && chance(4) == 0)
			add_run(PM_GONE, page, 1);
	}
	if (rec->entries > 0)
		put();
}

/* Before mappings go, so does what they hold. */
static void
put_gone(void)
{
	begin_pages(0);
	for (uint32_t page = 0; page < PAGES; page++)
		if (!is_carried(page) && (chance(3) == 0 ||
		    !pm_hash_is_zero(memory[page], PAGE)))
			add_run(chance(2) == 0 ? PM_ZERO : PM_GONE, page, 1);
	if (rec->entries > 0)
		put();
}

static void
put_rounds(uint64_t rounds)
{
	for (; rounds > 0; rounds--) {
		for (uint64_t i = chance(3); i > 0; i--)
			put_changes();
		if (chance(3) == 0)
			put_round(generation());
		if (chance(4) > 0)
			change_mappings();
		put_gone();
		put_list();
	}
	if (chance(2) == 0)
		put_changes();
}

/* All of the process as it is, in one stream without changes. */
static void
put_whole(void)
{
	begin_stream(none, 0);
	put_list();
	begin_pages(0);
	for (uint32_t page = 0; page < PAGES; page++)
		if (is_carried(page) &&
		    !pm_hash_is_zero(memory[page], PAGE))
			add_page(PM_RAW, page, NULL);
		else
			add_run(PM_GONE, page, 1);
	put();
	put_end(none, generation());
}

static void
put_live(int full, int late)
{
	struct pm_digest from = full ? none : generation();
	uint32_t needs = PM_NEEDS_DELTA | (late ? PM_NEEDS_LATE_FROM : 0);

	change_mappings();
	begin_stream(late ? none : from, needs);
	put_list();
	if (full)
		memset(memory, 0, sizeof(memory));
	begin_pages(0);
	for (uint32_t page = 0; page < PAGES; page++)
		if (full ? chance(2) == 0 || !is_carried(page)
		    : !is_carried(page))
			add_run(PM_GONE, page, 1);
		else if (full)
			change_page(page);
	if (rec->entries > 0)
		put();
	put_rounds(1 + chance(6));
	put_end(from, generation());
}

static int
same_files(void)
{
	static uint8_t a[1 << 20], b[1 << 20];
	int one = open(path, O_RDONLY), two = open(other, O_RDONLY);
	ssize_t got = read(one, a, sizeof(a));
	int same = got > 0 && got < (ssize_t)sizeof(a) &&
	    read(two, b, sizeof(b)) == got &&
	    memcmp(a, b, (size_t)got) == 0;

	close(one);
	close(two);
	return same;
}

/* Whether path is what one full stream makes. */
static int
is_right(void)
{
	start_wire();
	put_whole();
	unlink(other);
	return apply(other, 0, 0) == PM_END && same_files();
}

static void
test_chance(void)
{
	unsigned failed = 0;

	for (unsigned round = 0; round < 400; round++) {
		int trust = chance(2) == 0;
		uint64_t streams = 1 + chance(3);
		enum pm_status status;

		if (chance(3) == 0)
			unlink(path);
		unlink(table);
		start_wire();
		if (access(path, F_OK) != 0)
			put_live(1, 0);
		else		/* what the round before left */
			put_live(0, chance(2) == 0);
		for (uint64_t i = 1; i < streams; i++)
			put_live(0, chance(3) == 0);
		status = apply(path, 0, trust);
		if (status == PM_END && counts.generations == streams &&
		    (!trust || has_table()) && is_right())
			continue;
		failed++;
		printf("# round %u, table %d: %s\n", round, trust,
		    fault.text);
		unlink(path);
	}
	CHECK(failed == 0);
}

int
main(int argc, char *argv[])
{
	start_mapped(argc, argv);
	snprintf(other, sizeof(other), "%s/other", directory);
	test_chance();
	unlink(other);
	end_mapped();
	return check_done();
}
