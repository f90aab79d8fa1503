/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * made_check.h - whether a made guest is found as it was made, or refused for
 * the reason that is expected.
 */
#ifndef MADE_CHECK_H
#define MADE_CHECK_H

#include "check.h"
#include "made_guest.h"

static struct made made;
static struct pm_guest guest;
static struct pm_fault fault;

/* All figures, and each page of the map, are those that were made. */
static inline int
is_right(void)
{
	uint64_t sum = 0;

	for (uint64_t page = 0; page < MADE_PAGES; page++) {
		int is_free = pm_bitmap_test(&guest.map, made_line_page(&made,
		    page));

		if (is_free != made.is_free[page])
			return 0;
		sum += made.is_free[page];
	}
	for (unsigned order = 0; order < MADE_ORDERS; order++)
		if (guest.blocks[order] != made.blocks[order])
			return 0;
	return guest.free == sum && guest.free == made.free &&
	    pm_bitmap_count(&guest.map) == sum &&
	    guest.map.bits == made_memory(&made).size >> 12 &&
	    guest.cache == made.cache && guest.total == MADE_PAGES - 900 &&
	    guest.orders == MADE_ORDERS && guest.levels == made.levels &&
	    guest.kernel == MADE_TEXT && guest.shift == MADE_SHIFT &&
	    strcmp(guest.release, MADE_RELEASE) == 0;
}

/* The parts are those that its RAM was made of. */
static inline int
is_placed(void)
{
	uint64_t low = made.form == MADE_SPLIT ? MADE_GAP_END : MADE_LOW;

	if (made.form == MADE_WHOLE)
		return guest.parts == 1 && guest.part[0].address == 0 &&
		    guest.part[0].at == 0 && guest.part[0].size == MADE_BYTES;
	return guest.parts == 2 && guest.part[0].address == 0 &&
	    guest.part[0].at == 0 && guest.part[0].size == low &&
	    guest.part[1].address == MADE_HIGH && guest.part[1].at == low &&
	    guest.part[1].size == MADE_BYTES - MADE_LOW;
}

/* It is found; in any case say what was said. */
static inline int
finds(void)
{
	enum pm_status status = made_find(&made, &guest, &fault);
	int good = status == PM_OK && is_right() && is_placed() &&
	    made.strays == 0;

	if (!good)
		printf("# %d: %s%s\n", status, fault.text,
		    made.strays > 0 ? ", reads beyond its end" : "");
	pm_guest_close(&guest);
	return good;
}

static inline void
open_plain(void)
{
	made = (struct made){ .levels = 4, .nodes = 1, .seed = 11 };
	made_open(&made);
}

/* It is refused, for that reason, and nothing is left to read. */
static inline int
is_refused(const char *why)
{
	enum pm_status status;
	int good;

	made_note_data(&made);
	status = made_find(&made, &guest, &fault);
	good = status == PM_ERR_REFUSED && made.strays == 0 &&
	    strstr(fault.text, why) != NULL;
	if (!good)
		printf("# %d: \"%s\" and not \"%s\"\n", status, fault.text,
		    why);
	pm_guest_close(&guest);
	return good;
}

static inline int
finds_changed(void)
{
	made_note_data(&made);
	return finds();
}

#define NO_MACHINE	MADE_RELEASE " is not one for x86-64"
#define NO_TABLES	MADE_RELEASE " has no page tables where they should be"
#define NO_SYMBOLS	MADE_RELEASE " does not tell where its symbols are"
#define NO_SHAPE	MADE_RELEASE " does not tell how it keeps its pages"
#define WRONG_SYMBOLS	MADE_RELEASE " has symbols that make no sense"
#define WRONG_NAME	MADE_RELEASE " has another name in use"
#define WRONG_RAM	MADE_RELEASE " has RAM that is not in this memory, or" \
			" another map of it"
#define WRONG_ZONES	MADE_RELEASE " has zones of memory that make no sense"
#define WRONG_ARRAY	MADE_RELEASE " has an array of pages that makes no " \
			"sense"
#define WRONG_BLOCK	MADE_RELEASE " has a free block that makes no sense"
#define WRONG_COUNT	MADE_RELEASE " counts other free blocks than it has"
#define WRONG_USE	MADE_RELEASE " has a page in use within a free block"
#define WRONG_LINKS	MADE_RELEASE " has lists of free blocks with wrong " \
			"links"
#define UNKNOWN		" is not a kernel that is known here: those are 6.0 " \
			"to 6.19"

#endif /* MADE_CHECK_H */
