/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * made_layout.h - what stands where in the memory of a guest made for tests.
 *
 * It has 16 MiB of RAM.  All of it may lie from address 0 on, or the last
 * 4 MiB at 4 GiB; of that there are two forms.  In one there is RAM up to
 * 1 GiB besides, of which all from 12 MiB on is zeroes and is not in the page
 * array; in the other it is said where the parts are.  A page here is known by
 * its number among the 16 MiB, whatever its address.
 */
#ifndef MADE_LAYOUT_H
#define MADE_LAYOUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "guest.h"

#define MADE_BYTES	((size_t)16 << 20)
#define MADE_PAGES	(MADE_BYTES >> 12)
#define MADE_LOW	((size_t)12 << 20)	/* below 4 GiB, of two parts */
#define MADE_GAP_END	(UINT64_C(1) << 30)	/* RAM below 4 GiB, if there
						   are zeroes */
#define MADE_HIGH	(UINT64_C(1) << 32)
#define MADE_ORDERS	11u
#define MADE_TYPES	4u
#define MADE_NODES	2u
#define MADE_RELEASE	"6.1.0-50-made"
#define MADE_NOTE_MAX	4000u

/* Physical addresses.  The kernel is mapped in pages of 2 MiB. */
enum {
	MADE_PLAIN	= 0x010000,	/* the note, in a page of its own */
	MADE_ELF	= 0x014000,	/* and as an ELF note */
	MADE_FOREIGN	= 0x003000,	/* where there may be another */
	MADE_FIRMWARE	= 0x09f000,	/* no RAM, up to 1 MiB */
	MADE_TEXT	= 0x200000,
	MADE_COUNT	= 0x210000,	/* of symbols */
	MADE_BASE	= 0x210008,
	MADE_NAMES	= 0x210800,	/* they cross the end of a page */
	MADE_TOKENS	= 0x212000,
	MADE_INDEX	= 0x213000,
	MADE_OFFSETS	= 0x214000,
	MADE_DATA	= 0x400000,
	MADE_TABLES	= 0x400000,	/* of pages; the first is the root */
	MADE_UTS	= 0x410100,
	MADE_STATE	= 0x410800,
	MADE_PANIC	= 0x410804,
	MADE_CPUS	= 0x410808,
	MADE_EARLY	= 0x41080c,
	MADE_POISON	= 0x410810,
	MADE_ZEROES	= 0x410814,
	MADE_TOTAL	= 0x410818,
	MADE_RAM_MAP	= 0x410820,	/* a pointer to */
	MADE_E820	= 0x410ff8,	/* which crosses a page, too */
	MADE_NODE_DATA	= 0x412000,
	MADE_NODE	= 0x413000,	/* a page each */
	MADE_ROOTS	= 0x604000,	/* of sections */
	MADE_SECTIONS	= 0x605000,	/* a page for each root */
	MADE_ARRAY	= 0x620000,	/* of pages, in a mixed order */
	MADE_END	= 0x660000,
	MADE_ARRAY_HIGH	= 0xff0000,	/* of those above 4 GiB, up to the
					   end of RAM */
};

/* What the structures look like, as VMCOREINFO tells. */
enum {
	PAGE_SIZE_OF	= 64,
	PAGE_FLAGS	= 0,
	PAGE_LRU	= 8,
	PAGE_MAPPING	= 24,
	PAGE_PRIVATE	= 40,
	PAGE_MAPCOUNT	= 48,
	PAGE_REFCOUNT	= 52,
	AREA_SIZE	= MADE_TYPES * 16 + 8,
	ZONE_AREAS	= 192,
	ZONE_STATS	= 1024,
	ZONE_SIZE	= 1216,
	NODE_NR_ZONES	= 2 * ZONE_SIZE + 64,
	SECTION_BITS	= 21,
	SECTION_SIZE	= 16,
	NAME_OFFSET	= 4,		/* in init_uts_ns */
	BIT_LRU		= 4,
	BIT_PRIVATE	= 13,
	BIT_HEAD	= 16,
	BIT_SWAPBACKED	= 19,
};
#define BUDDY		UINT32_C(0xffffff7f)	/* -129 */

/* What all of it is made of, without most zeroes. */
static const struct {
	uint64_t from, end;
	unsigned step;			/* one word of so many */
} made_area[] = {
	{ MADE_PLAIN, MADE_PLAIN + 2048, 7 },
	{ MADE_ELF, MADE_ELF + 2048, 7 },
	{ MADE_COUNT, MADE_COUNT + 16, 1 },
	{ MADE_NAMES, MADE_NAMES + 512, 7 },
	{ MADE_TOKENS, MADE_TOKENS + 512, 7 },
	{ MADE_INDEX, MADE_INDEX + 512, 7 },
	{ MADE_OFFSETS, MADE_OFFSETS + 40, 1 },
	{ MADE_TABLES, MADE_TABLES + 12 * 4096, 61 },
	{ MADE_UTS, MADE_UTS + 256, 7 },
	{ MADE_STATE, MADE_E820 + 160, 13 },
	{ MADE_NODE_DATA, MADE_NODE_DATA + 64, 1 },
	{ MADE_NODE, MADE_NODE + 8192, 13 },
	{ MADE_ROOTS, MADE_ROOTS + 256, 5 },
	{ MADE_SECTIONS, MADE_SECTIONS + 8192, 61 },
	{ MADE_ARRAY, MADE_END, 401 },
	{ MADE_ARRAY_HIGH, MADE_BYTES, 401 },
};
#define MADE_AREAS	(sizeof(made_area) / sizeof(made_area[0]))

enum made_form { MADE_WHOLE, MADE_SPLIT, MADE_PARTS };

struct made {
	/* How it is to be. */
	enum made_form form;
	unsigned levels;		/* of page tables */
	unsigned nodes;
	int is_low;			/* no part of the array is above */
	int is_unsigned;		/* the offsets of symbols, as in 6.15 */
	uint64_t seed;

	uint8_t *ram;			/* MADE_BYTES */
	uint8_t is_data[MADE_PAGES];	/* not a page of zeroes */
	uint64_t tables;		/* address behind the last */
	uint64_t shift;			/* of the kernel's addresses, */
	uint64_t direct, array;		/* of RAM's, of page 0 in the array */
	char note[MADE_NOTE_MAX];

	/* What is to be found. */
	uint8_t is_free[MADE_PAGES];
	uint64_t blocks[MADE_ORDERS];
	uint64_t free, cache;
	uint64_t first[MADE_ORDERS];	/* a page where such a block begins */

	/* Where the memory ends, if it is cut; and what became of reads. */
	uint64_t end;
	uint64_t reads, strays;
	uint64_t fails;			/* each time after so many; or 0 */
	uint64_t bytes;			/* that were read */
};

static inline uint64_t
made_below(struct made *made, uint64_t limit)
{
	made->seed ^= made->seed << 13;
	made->seed ^= made->seed >> 7;
	made->seed ^= made->seed << 17;
	return (made->seed * UINT64_C(0x2545f4914f6cdd1d) >> 20) % limit;
}

static inline int
made_is_high(const struct made *made, uint64_t page)
{
	return made->form != MADE_WHOLE && page >= MADE_LOW >> 12;
}

/* The number that the guest's kernel has for a page. */
static inline uint64_t
made_frame(const struct made *made, uint64_t page)
{
	return made_is_high(made, page) ? page - (MADE_LOW >> 12) +
	    (MADE_HIGH >> 12) : page;
}

/* Where it is in the line that the library reads. */
static inline uint64_t
made_line_page(const struct made *made, uint64_t page)
{
	return made->form == MADE_SPLIT && made_is_high(made, page)
	    ? page - (MADE_LOW >> 12) + (MADE_GAP_END >> 12) : page;
}

/* Addresses of the kernel's image and of RAM, by physical ones. */
static inline uint64_t
made_image(const struct made *made, uint64_t physical)
{
	return UINT64_C(0xffffffff81000000) + made->shift - MADE_TEXT +
	    physical;
}

static inline uint64_t
made_direct(const struct made *made, uint64_t physical)
{
	return made->direct + physical;
}

static inline uint64_t
made_page(const struct made *made, uint64_t page)
{
	return made->array + made_frame(made, page) * PAGE_SIZE_OF;
}

/*
 * A page of the array is of 64 pages.  It stands somewhere among the others;
 * or, as Linux does it, where the pages are.
 */
static inline uint64_t
made_array_page(const struct made *made, uint64_t number)
{
	return made_is_high(made, number * 64) && !made->is_low
	    ? MADE_ARRAY_HIGH + (MADE_PAGES / 64 - 1 - number) * 4096
	    : MADE_ARRAY + number * 37 % (MADE_PAGES / 64) * 4096;
}

static inline uint8_t *
made_page_at(struct made *made, uint64_t page)
{
	return made->ram + made_array_page(made, page / 64) + page % 64 *
	    PAGE_SIZE_OF;
}

static inline uint64_t
made_node(const struct made *made, unsigned node)
{
	return made->nodes > 1 ? made_direct(made, MADE_NODE + node * 4096)
	    : made_image(made, MADE_NODE);
}

static inline uint8_t *
made_zone_at(struct made *made, unsigned node, unsigned zone)
{
	return made->ram + MADE_NODE + node * 4096 + zone * ZONE_SIZE;
}

static inline void
made_put(struct made *made, uint64_t physical, uint64_t value, unsigned width)
{
	pm_put_le(made->ram + physical, value, width);
}

static inline void
made_note_data(struct made *made)
{
	for (size_t page = 0; page < MADE_PAGES; page++) {
		const uint8_t *at = made->ram + page * 4096;

		made->is_data[page] = at[0] != 0 ||
		    memcmp(at, at + 1, 4095) != 0;
	}
}

/* The line has its zeroes where there is no memory of ours. */
static inline enum pm_status
made_read(void *arg, uint64_t at, void *out, size_t size,
    struct pm_fault *fault)
{
	struct made *made = arg;
	uint64_t end = MADE_BYTES;
	uint8_t *to = out;

	made->reads++;
	made->bytes += size;
	if (made->fails != 0 && made->reads % made->fails == 0)
		return pm_fault_set(fault, PM_ERR_READ, "made", "torn");
	if (made->form == MADE_SPLIT)
		end = MADE_GAP_END + MADE_BYTES - MADE_LOW;
	if (made->end > 0)
		end = made->end;
	if (size == 0 || at > end || size > end - at) {
		made->strays++;
		return PM_ERR_CORRUPT;
	}
	if (made->form != MADE_SPLIT) {
		memcpy(out, made->ram + at, size);
		return PM_OK;
	}
	for (size_t now; size > 0; size -= now, to += now, at += now) {
		now = 4096 - (size_t)(at % 4096);
		if (now > size)
			now = size;
		if (at < MADE_LOW)
			memcpy(to, made->ram + at, now);
		else if (at < MADE_GAP_END)
			memset(to, 0, now);
		else
			memcpy(to, made->ram + (at - MADE_GAP_END) +
			    MADE_LOW, now);
	}
	return PM_OK;
}

static inline uint64_t
made_next(void *arg, uint64_t at)
{
	const struct made *made = arg;
	uint64_t gap = made->form == MADE_SPLIT ? MADE_GAP_END - MADE_LOW : 0;
	uint64_t page = at >> 12;

	if (gap > 0 && at >= MADE_LOW)
		page = at < MADE_GAP_END ? MADE_LOW >> 12
		    : (at - gap) >> 12;
	while (page < MADE_PAGES && !made->is_data[page])
		page++;
	return (page << 12) + (page >= MADE_LOW >> 12 ? gap : 0);
}

static inline struct pm_guest_memory
made_memory(struct made *made)
{
	struct pm_guest_memory memory = {
		.read = made_read, .next = made_next, .arg = made,
		.size = MADE_BYTES,
	};

	if (made->form == MADE_SPLIT)
		memory.size = MADE_GAP_END + MADE_BYTES - MADE_LOW;
	if (made->end > 0)
		memory.size = made->end;
	if (made->form == MADE_PARTS) {
		memory.parts = 2;
		memory.part[0] = (struct pm_guest_part){ 0, 0, MADE_LOW };
		memory.part[1] = (struct pm_guest_part){ MADE_HIGH, MADE_LOW,
		    MADE_BYTES - MADE_LOW };
	}
	return memory;
}

#endif /* MADE_LAYOUT_H */
