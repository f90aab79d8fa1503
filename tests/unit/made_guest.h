/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * made_guest.h - a small Linux guest, made for tests: all that its kernel has
 * in memory and that leads to its free pages.
 *
 * It is written from what Linux 6.1 does, and shares nothing with what reads
 * it but bytes.h.  Its free blocks, its cache and the rest are where chance
 * puts them, by a seed.
 */
#ifndef MADE_GUEST_H
#define MADE_GUEST_H

#include "made_note.h"

#define MADE_SHIFT	UINT64_C(0x5000000)
#define MADE_LARGE	(UINT64_C(2) << 20)
#define MADE_PRESENT	UINT64_C(0x8000000000000063)	/* not to execute,
							   writable */

/* The bytes that one of its pointers leads to. */
static inline uint8_t *
made_at(struct made *made, uint64_t address)
{
	uint64_t page = (address - made->array) / PAGE_SIZE_OF;

	if (address >= made_image(made, 0))
		return made->ram + (address - made_image(made, 0));
	if (address - made->direct < MADE_BYTES)
		return made->ram + (address - made->direct);
	if (made->form != MADE_WHOLE && page >= MADE_HIGH >> 12)
		page -= (MADE_HIGH >> 12) - (MADE_LOW >> 12);
	return made_page_at(made, page) + address % PAGE_SIZE_OF;
}

/* Map a page, small or of 2 MiB, in tables that are made as needed. */
static inline void
made_map(struct made *made, uint64_t address, uint64_t physical, int is_large)
{
	uint64_t table = MADE_TABLES, at;

	for (unsigned level = made->levels;; level--) {
		at = table + (address >> (12 + (level - 1) * 9)) % 512 * 8;
		if (level == (is_large ? 2 : 1))
			break;
		if (pm_get_le(made->ram + at, 8) == 0) {
			made_put(made, at, made->tables | MADE_PRESENT, 8);
			made->tables += 4096;
		}
		table = pm_get_le(made->ram + at, 8) & 0xffffff000;
	}
	made_put(made, at, physical | MADE_PRESENT | (is_large ? 0x80 : 0),
	    8);
}

static inline void
made_write_tables(struct made *made)
{
	made->tables = MADE_TABLES + 4096;
	for (uint64_t at = MADE_TEXT; at < MADE_END; at += MADE_LARGE)
		made_map(made, made_image(made, at), at, 1);
	for (uint64_t at = 0; at < MADE_LOW; at += MADE_LARGE)
		made_map(made, made->direct + at, at, 1);
	for (uint64_t page = 0; page < MADE_PAGES; page += 64)
		made_map(made, made_page(made, page), made_frame(made,
		    made_array_page(made, page / 64) >> 12) << 12, 0);
}

static inline void
made_write_e820(struct made *made)
{
	const struct {
		uint64_t from, end;
		uint32_t type;
	} entry[] = {
		{ 0, MADE_FIRMWARE + 0xc00, 1 },
		{ MADE_FIRMWARE + 0xc00, MADE_FIRMWARE + 0x1000, 2 },
		{ 0xf0000, 0x100000, 2 },
		{ 0x100000, 0x400000, 1 },
		{ 0x400000, made->form == MADE_WHOLE ? MADE_BYTES
		    : made->form == MADE_SPLIT ? MADE_GAP_END : MADE_LOW, 1 },
		{ 0xfeffc000, 0xff000000, 2 },
		{ MADE_HIGH, MADE_HIGH + MADE_BYTES - MADE_LOW, 1 },
	};
	uint64_t at = MADE_E820 + 4;
	unsigned entries = made->form == MADE_WHOLE ? 6 : 7;

	made_put(made, MADE_RAM_MAP, made_image(made, MADE_E820), 8);
	made_put(made, MADE_E820, entries, 4);
	for (unsigned i = 0; i < entries; i++, at += 20) {
		made_put(made, at, entry[i].from, 8);
		made_put(made, at + 8, entry[i].end - entry[i].from, 8);
		made_put(made, at + 16, entry[i].type, 4);
	}
}

static inline void
made_write_state(struct made *made)
{
	memcpy(made->ram + MADE_UTS + NAME_OFFSET, "Linux", 6);
	memcpy(made->ram + MADE_UTS + NAME_OFFSET + 2 * 65, MADE_RELEASE,
	    sizeof(MADE_RELEASE));
	made_put(made, MADE_STATE, 3, 4);
	made_put(made, MADE_PANIC, UINT32_MAX, 4);
	made_put(made, MADE_CPUS, 2, 4);
	made_put(made, MADE_TOTAL, MADE_PAGES - 900, 8);
}

/* Where a section is, in the page of its root. */
static inline uint64_t
made_section_at(const struct made *made, uint64_t page)
{
	uint64_t number = made_frame(made, page) >> (SECTION_BITS - 12);

	return MADE_SECTIONS + (made_is_high(made, page) ? 4096u : 0u) +
	    number % (4096 / SECTION_SIZE) * SECTION_SIZE;
}

static inline void
made_write_sections(struct made *made)
{
	for (uint64_t page = 0; page < MADE_PAGES; page += 512) {
		uint64_t number = made_frame(made, page) >>
		    (SECTION_BITS - 12), at = made_section_at(made, page);

		made_put(made, MADE_ROOTS + number / (4096 / SECTION_SIZE) *
		    8, made_direct(made, at & ~UINT64_C(4095)), 8);
		made_put(made, at, made->array | 0xf, 8);
	}
}

static inline void
made_link(struct made *made, uint64_t one, uint64_t next)
{
	pm_put_le(made_at(made, one), next, 8);
	pm_put_le(made_at(made, next) + 8, one, 8);
}

/* Zones: of one node, or of two, of which the second has none of the first. */
static inline void
made_zone_of(const struct made *made, uint64_t page, unsigned *node,
    unsigned *zone)
{
	*node = made->nodes > 1 && page >= 2048;
	*zone = page >= 1024;
}

static inline void
made_write_zones(struct made *made)
{
	for (unsigned i = 0; i < made->nodes; i++)
		made_put(made, MADE_NODE + i * 4096 + NODE_NR_ZONES, 2, 4);
	for (unsigned i = 0; i < made->nodes * 2; i++) {
		uint64_t zone = made_node(made, i / 2) + i % 2 * ZONE_SIZE;

		/* Linux makes no lists for a zone that has no pages. */
		for (unsigned k = 0; k < MADE_ORDERS * MADE_TYPES && i != 2;
		    k++) {
			uint64_t head = zone + ZONE_AREAS + k / MADE_TYPES *
			    AREA_SIZE + k % MADE_TYPES * 16;

			made_link(made, head, head);
		}
	}
	if (made->nodes == 1)
		return;
	/* One may be missing, and one may have processors only. */
	made_put(made, MADE_NODE_DATA, made_node(made, 0), 8);
	made_put(made, MADE_NODE_DATA + 16, made_node(made, 2), 8);
	made_put(made, MADE_NODE_DATA + 24, made_node(made, 1), 8);
}

/* Pages that are in use, whatever chance says, or are no RAM. */
static inline int
made_is_taken(uint64_t page)
{
	uint64_t at = page << 12;

	return at < 0x20000 || (at >= MADE_FIRMWARE && at < 0x100000) ||
	    (at >= MADE_TEXT && at < MADE_END) || at >= MADE_ARRAY_HIGH;
}

static inline void
made_put_block(struct made *made, uint64_t page, unsigned order)
{
	uint8_t *is_page = made_page_at(made, page), *area;
	uint64_t self = made_page(made, page) + PAGE_LRU, head, other;
	unsigned node, zone;

	made_zone_of(made, page, &node, &zone);
	area = made_zone_at(made, node, zone) + ZONE_AREAS + order *
	    AREA_SIZE;
	head = made_node(made, node) + zone * ZONE_SIZE + ZONE_AREAS + order *
	    AREA_SIZE + made_below(made, MADE_TYPES) * 16;
	memset(is_page, 0, PAGE_SIZE_OF);
	pm_put_le(is_page + PAGE_PRIVATE, order, 8);
	pm_put_le(is_page + PAGE_MAPCOUNT, BUDDY, 4);
	if (made_below(made, 2) == 0) {
		other = pm_get_le(made_at(made, head), 8);
		made_link(made, head, self);
		made_link(made, self, other);
	} else {
		other = pm_get_le(made_at(made, head) + 8, 8);
		made_link(made, other, self);
		made_link(made, self, head);
	}
	pm_put_le(area + MADE_TYPES * 16, pm_get_le(area + MADE_TYPES * 16,
	    8) + 1, 8);
	made->first[order] = page;
	made->blocks[order]++;
	made->free += UINT64_C(1) << order;
	memset(made->is_free + page, 1, (size_t)1 << order);
}

/* A page of a file, of a process, of the kernel, or of none. */
static inline void
made_put_used(struct made *made, uint64_t page, unsigned kind)
{
	static const uint64_t flags[4] = { 1u << BIT_LRU, 1u << BIT_LRU |
	    1u << BIT_SWAPBACKED, 1u << 9, 0 };
	static const uint64_t mapping[4] = { UINT64_C(0xffff888000123450),
	    UINT64_C(0xffff888000123451), 0, 0 };
	uint8_t *is_page = made_page_at(made, page);

	pm_put_le(is_page + PAGE_FLAGS, flags[kind] | UINT64_C(1) << 54, 8);
	pm_put_le(is_page + PAGE_LRU, UINT64_C(0xffffea0000000008) + page *
	    64, 8);
	pm_put_le(is_page + PAGE_LRU + 8, UINT64_C(0xdead000000000122), 8);
	pm_put_le(is_page + PAGE_MAPPING, mapping[kind], 8);
	pm_put_le(is_page + PAGE_PRIVATE, made_below(made, 12), 8);
	pm_put_le(is_page + PAGE_MAPCOUNT, UINT32_MAX, 4);
	pm_put_le(is_page + PAGE_REFCOUNT, kind < 3, 4);
	made->cache += kind == 0;
}

/* Four pages that are one large page of a file. */
static inline void
made_put_large(struct made *made, uint64_t page)
{
	uint8_t *is_page = made_page_at(made, page);

	for (unsigned i = 0; i < 4; i++) {
		made_put_used(made, page + i, i == 0 ? 0 : 3);
		if (i > 0)
			pm_put_le(made_page_at(made, page + i) + PAGE_LRU,
			    made_page(made, page) + 1, 8);
	}
	pm_put_le(is_page, pm_get_le(is_page, 8) | 1u << BIT_HEAD, 8);
	made->cache += 3;
}

/* The largest order that a block may have here. */
static inline unsigned
made_order(uint64_t page, unsigned order)
{
	uint64_t size = UINT64_C(1) << order;

	for (uint64_t at = page; at < page + size; at++)
		if (page % size != 0 || at >= MADE_PAGES || made_is_taken(at))
			return made_order(page, order - 1);
	return order;
}

static inline void
made_write_pages(struct made *made)
{
	for (uint64_t page = 0, size; page < MADE_PAGES; page += size) {
		uint64_t chance = made_below(made, 16);

		size = 1;
		if (made_is_taken(page)) {
			made_put_used(made, page, 2);
		} else if (chance < 6) {
			unsigned order = made_order(page, (unsigned)made_below(
			    made, MADE_ORDERS));

			size = UINT64_C(1) << order;
			for (uint64_t i = 0; i < size; i++)
				made_put_used(made, page + i, 3);
			made_put_block(made, page, order);
		} else if (chance == 6 && made_order(page, 2) == 2) {
			size = 4;
			made_put_large(made, page);
		} else
			made_put_used(made, page, (unsigned)chance % 4);
	}
}

/* The count of a zone is off by what single processors know. */
static inline void
made_write_stats(struct made *made)
{
	for (uint64_t page = 0; page < MADE_PAGES; page++) {
		unsigned node, zone;
		uint8_t *stat;

		made_zone_of(made, page, &node, &zone);
		stat = made_zone_at(made, node, zone) + ZONE_STATS;
		pm_put_le(stat, pm_get_le(stat, 8) + made->is_free[page], 8);
	}
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *stat = made_zone_at(made, made->nodes - 1, 1) +
		    ZONE_STATS;

		pm_put_le(stat, pm_get_le(stat, 8) + made_below(made, 100) -
		    50, 8);
	}
}

/* Make one, as its first fields say. */
static inline void
made_open(struct made *made)
{
	made->shift = MADE_SHIFT;
	made->direct = made->levels == 5 ? UINT64_C(0xff11a00040000000)
	    : UINT64_C(0xffff9a0040000000);
	made->array = made->levels == 5 ? UINT64_C(0xffd4012340000000)
	    : UINT64_C(0xffffe70000000000);
	made->seed = made->seed * 2 + 1;
	if ((made->ram = calloc(1, MADE_BYTES)) == NULL)
		abort();
	made_write_tables(made);
	made_write_note(made);
	made_write_symbols(made);
	made_write_e820(made);
	made_write_state(made);
	made_write_sections(made);
	made_write_zones(made);
	made_write_pages(made);
	made_write_stats(made);
	made_note_data(made);
}

static inline void
made_close(struct made *made)
{
	free(made->ram);
	*made = (struct made){ .ram = NULL };
}

/* Look for it. */
static inline enum pm_status
made_find(struct made *made, struct pm_guest *guest, struct pm_fault *fault)
{
	const struct pm_guest_memory memory = made_memory(made);

	made->reads = made->bytes = 0;
	*fault = (struct pm_fault){ .error = 0 };
	return pm_guest_open(guest, &memory, fault);
}

/* What must hold of any guest, whatever its memory says. */
static inline int
made_is_sane(struct made *made, const struct pm_guest *guest,
    enum pm_status status, const struct pm_fault *fault)
{
	uint64_t pages = made_memory(made).size >> 12;
	uint64_t last = 0, at = 0;

	while ((at = pm_bitmap_next(&guest->map, at, pages)) < pages)
		last = at = pm_bitmap_run(&guest->map, at, pages);
	if (made->strays != 0 || guest->map.bits != pages || last > pages ||
	    memchr(guest->release, '\0', sizeof(guest->release)) == NULL)
		return 0;
	return status == PM_OK ? guest->free <= guest->total &&
	    guest->free == pm_bitmap_count(&guest->map) &&
	    fault->text[0] == '\0'
	    : status == PM_ERR_REFUSED && fault->text[0] != '\0';
}

#endif /* MADE_GUEST_H */
