/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "guest_pages.h"

#define NODES_MAX	1024u
#define ZONES_MAX	8u
#define ZONE_MAX	65536u		/* bytes of a struct zone */
#define PAGE_MIN	32u		/* and of a struct page */
#define PAGE_MOST	256u
#define TYPES_MAX	16u		/* lists of a size */
#define STEP		(2u << 20)	/* of the array read at a time */
#define SECTION_PRESENT	3u		/* and its pages are in the array */
#define SECTION_FLAGS	((UINT64_C(1) << 21) - 1)
#define DRIFT		512u		/* of a count, for a processor */

/* What VMCOREINFO says. */
struct shape {
	uint64_t page, flags, count, mapcount, private, link, mapping;
	uint64_t buddy, in_use, lru, head;
	uint64_t node_data, nodes, node_zones, zones;
	uint64_t zone, areas, area, orders, types, stats, nr_free;
	uint64_t roots, root_count, section, section_map, section_bits;
	int is_single;			/* node_data is the only node */
};

struct pages {
	struct pm_guest *guest;
	struct pm_guest_space *space;
	const struct pm_guest_ranges *ram;
	const char **why;
	struct shape is;
	uint64_t slack;			/* of a zone's count of free pages */
	uint64_t counted[PM_GUEST_ORDERS];	/* blocks, by the zones */
	uint64_t forth, back;		/* sums of the hashes of links */
	uint64_t array;			/* address of page 0 */
	uint64_t busy_until;		/* page behind the last block */
	int in_cache;			/* the pages of a large one follow */
	size_t range;			/* of RAM, where the last block was */
	uint8_t *buffer;		/* STEP */
};

static enum pm_status
refuse(const struct pages *pages, const char *why)
{
	*pages->why = why;
	return PM_END;
}

/* Parts lie within what they are parts of. */
static int
is_sound(const struct shape *is)
{
	return is->page >= PAGE_MIN && is->page % 8 == 0 &&
	    STEP % is->page == 0 && is->flags <= is->page - 8 &&
	    is->count <= is->page - 4 && is->mapcount <= is->page - 4 &&
	    is->private <= is->page - 8 && is->mapping <= is->page - 8 &&
	    is->link <= is->page - 16 && is->orders > 0 &&
	    is->area == is->types * 16 + 8 &&
	    is->areas + is->orders * is->area <= is->zone &&
	    is->stats + is->nr_free * 8 + 8 <= is->zone &&
	    is->section >= 16 && is->section_map + 8 <= is->section &&
	    is->section_bits >= PM_GUEST_SHIFT + 9;
}

/* All that has to be there: how it is written, and what it may be. */
static int
read_shape(struct shape *is, const struct pm_guest_info *info)
{
	uint64_t link, list, next, prev, area_list;
	uint64_t lru_bit, private_bit, backed_bit;
	const struct {
		const char *key;
		uint64_t *value;
		uint64_t most;
	} wanted[] = {
		{ "SIZE(page)", &is->page, PAGE_MOST },
		{ "OFFSET(page.flags)", &is->flags, PAGE_MOST - 8 },
		{ "OFFSET(page._refcount)", &is->count, PAGE_MOST - 8 },
		{ "OFFSET(page._mapcount)", &is->mapcount, PAGE_MOST - 8 },
		{ "OFFSET(page.private)", &is->private, PAGE_MOST - 8 },
		{ "OFFSET(page.mapping)", &is->mapping, PAGE_MOST - 8 },
		{ "OFFSET(page.lru)", &is->link, PAGE_MOST - 16 },
		{ "OFFSET(page.compound_head)", &link, PAGE_MOST - 8 },
		{ "SIZE(list_head)", &list, 16 },
		{ "OFFSET(list_head.next)", &next, 0 },
		{ "OFFSET(list_head.prev)", &prev, 8 },
		{ "NUMBER(PG_lru)", &lru_bit, 63 },
		{ "NUMBER(PG_private)", &private_bit, 63 },
		{ "NUMBER(PG_swapbacked)", &backed_bit, 63 },
		{ "NUMBER(PG_head_mask)", &is->head, UINT64_MAX },
		{ "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", &is->buddy,
		    UINT64_MAX },
		{ "LENGTH(node_data)", &is->nodes, NODES_MAX },
		{ "OFFSET(pglist_data.node_zones)", &is->node_zones,
		    UINT32_MAX },
		{ "OFFSET(pglist_data.nr_zones)", &is->zones, UINT32_MAX },
		{ "SIZE(zone)", &is->zone, ZONE_MAX },
		{ "OFFSET(zone.free_area)", &is->areas, ZONE_MAX },
		{ "LENGTH(zone.free_area)", &is->orders, PM_GUEST_ORDERS },
		{ "SIZE(free_area)", &is->area, TYPES_MAX * 16 + 8 },
		{ "OFFSET(free_area.free_list)", &area_list, 0 },
		{ "LENGTH(free_area.free_list)", &is->types, TYPES_MAX },
		{ "OFFSET(zone.vm_stat)", &is->stats, ZONE_MAX },
		{ "NUMBER(NR_FREE_PAGES)", &is->nr_free, 64 },
		{ "LENGTH(mem_section)", &is->root_count, 1u << 20 },
		{ "SIZE(mem_section)", &is->section, 256 },
		{ "OFFSET(mem_section.section_mem_map)", &is->section_map,
		    256 - 8 },
		{ "NUMBER(SECTION_SIZE_BITS)", &is->section_bits, 27 },
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		/* A machine of one node has no list of them. */
		if (strcmp(wanted[i].key, "LENGTH(node_data)") == 0 &&
		    pm_guest_info_number(info, "SYMBOL(contig_page_data)", 16,
		    &is->node_data)) {
			is->is_single = 1;
			continue;
		}
		if (!pm_guest_info_number(info, wanted[i].key, 10,
		    wanted[i].value) || *wanted[i].value > wanted[i].most)
			return 0;
	}
	is->lru = UINT64_C(1) << lru_bit;
	is->in_use = is->lru | UINT64_C(1) << private_bit |
	    UINT64_C(1) << backed_bit | is->head;
	is->buddy &= UINT32_MAX;
	/* Both say the same: a page of a large one, or a link. */
	if (link != is->link || list != 16 || prev != 8 || !is_sound(is))
		return 0;
	return pm_guest_info_number(info, "SYMBOL(mem_section)", 16,
	    &is->roots) && (is->is_single || pm_guest_info_number(info,
	    "SYMBOL(node_data)", 16, &is->node_data));
}

/* A number of two, as good as any other, and different for each order. */
static uint64_t
mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b;

	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

static void
add_links(struct pages *pages, uint64_t self, const uint8_t *link)
{
	pages->forth += mix(self, pm_get_le(link, 8));
	pages->back += mix(pm_get_le(link + 8, 8), self);
}

/* A zone that never had pages is all zeroes, and has no lists. */
static int
is_list(const uint8_t *head)
{
	return (pm_get_le(head, 8) | pm_get_le(head + 8, 8)) != 0;
}

/* A zone: what it counts, and the heads of its lists. */
static enum pm_status
take_zone(struct pages *pages, uint64_t address, const uint8_t *zone)
{
	const struct shape *is = &pages->is;
	uint64_t free = 0, stat, most = pages->space->memory->size;

	for (unsigned order = 0; order < is->orders; order++) {
		uint64_t at = is->areas + order * is->area, blocks;

		for (unsigned type = 0; type < is->types; type++)
			if (is_list(zone + at + type * 16))
				add_links(pages, address + at + type * 16,
				    zone + at + type * 16);
		blocks = pm_get_le(zone + at + is->types * 16, 8);
		if (blocks > most >> PM_GUEST_SHIFT)
			return refuse(pages, "counts more free blocks than "
			    "it has pages");
		pages->counted[order] += blocks;
		free += blocks << order;
	}
	stat = pm_get_le(zone + is->stats + is->nr_free * 8, 8);
	if (free - stat + pages->slack > 2 * pages->slack)
		return refuse(pages, "has two counts of free pages that "
		    "differ");
	return PM_OK;
}

/* One of which there are only processors has no zones. */
static enum pm_status
read_node(struct pages *pages, uint64_t node)
{
	const struct shape *is = &pages->is;
	uint64_t zones, at = node + is->node_zones;
	enum pm_status status = pm_guest_space_number(pages->space, node +
	    is->zones, 4, &zones);

	if (status == PM_OK && zones > ZONES_MAX)
		return PM_END;
	for (; status == PM_OK && zones > 0; zones--, at += is->zone) {
		status = pm_guest_space_read(pages->space, at, pages->buffer,
		    (size_t)is->zone);
		if (status == PM_OK)
			status = take_zone(pages, at, pages->buffer);
	}
	return status;
}

static enum pm_status
read_nodes(struct pages *pages)
{
	const struct shape *is = &pages->is;
	enum pm_status status = PM_OK;
	uint64_t node = is->node_data;
	unsigned nodes = 0;

	*pages->why = "has zones of memory that make no sense";
	if (is->is_single)
		return read_node(pages, node);
	for (uint64_t i = 0; i < is->nodes && status == PM_OK; i++) {
		status = pm_guest_space_number(pages->space, is->node_data +
		    8 * i, 8, &node);
		if (status != PM_OK || node == 0)
			continue;
		nodes++;
		status = read_node(pages, node);
	}
	return status == PM_OK && nodes == 0 ? PM_END : status;
}

/* True when the pages are RAM, all of them. */
static int
is_ram(struct pages *pages, uint64_t from, uint64_t end)
{
	const struct pm_guest_ranges *ram = pages->ram;

	while (pages->range < ram->count &&
	    ram->range[pages->range].end >> PM_GUEST_SHIFT <= from)
		pages->range++;
	return pages->range < ram->count &&
	    ram->range[pages->range].start <= from << PM_GUEST_SHIFT &&
	    ram->range[pages->range].end >= end << PM_GUEST_SHIFT;
}

/* Nobody has it, as far as a page tells. */
static int
is_unused(const struct shape *is, const uint8_t *is_page)
{
	return pm_get_le(is_page + is->count, 4) == 0 &&
	    (pm_get_le(is_page + is->flags, 8) & is->in_use) == 0;
}

static enum pm_status
take_block(struct pages *pages, uint64_t page, const uint8_t *is_page)
{
	const struct shape *is = &pages->is;
	struct pm_guest *guest = pages->guest;
	uint64_t order = pm_get_le(is_page + is->private, 8), size, at, left;

	if (order >= is->orders || page % (UINT64_C(1) << order) != 0 ||
	    !is_unused(is, is_page))
		return refuse(pages, "has a free block that makes no sense");
	size = UINT64_C(1) << order;
	if (!is_ram(pages, page, page + size) || pm_guest_space_place(
	    pages->space, page << PM_GUEST_SHIFT, &at, &left) != PM_OK ||
	    left >> PM_GUEST_SHIFT < size)
		return refuse(pages, "has free pages where there is no RAM");
	add_links(pages, pages->array + page * is->page + is->link,
	    is_page + is->link);
	pages->busy_until = page + size;
	guest->blocks[order]++;
	guest->free += size;
	pm_bitmap_set_run(&guest->map, at >> PM_GUEST_SHIFT, size);
	return PM_OK;
}

/* A page that files, or processes together, have in the cache. */
static int
is_cache(struct pages *pages, const uint8_t *is_page)
{
	const struct shape *is = &pages->is;
	uint64_t flags = pm_get_le(is_page + is->flags, 8);
	uint64_t mapping = pm_get_le(is_page + is->mapping, 8);
	int is_tail = (is_page[is->link] & 1) != 0, is_first;

	if (is_tail)
		return pages->in_cache;
	is_first = (flags & is->lru) != 0 && mapping != 0 &&
	    (mapping & 3) == 0 && pm_get_le(is_page + is->count, 4) != 0;
	pages->in_cache = is_first && (flags & is->head) != 0;
	return is_first;
}

static enum pm_status
take_page(struct pages *pages, uint64_t page, const uint8_t *is_page)
{
	const struct shape *is = &pages->is;
	int is_buddy = pm_get_le(is_page + is->mapcount, 4) == is->buddy;

	if (page < pages->busy_until && is_buddy)
		return refuse(pages, "has a free block within another");
	if (page < pages->busy_until)
		return is_unused(is, is_page) ? PM_OK : refuse(pages,
		    "has a page in use within a free block");
	if (is_buddy) {
		pages->in_cache = 0;
		return take_block(pages, page, is_page);
	}
	pages->guest->cache += (uint64_t)is_cache(pages, is_page);
	return PM_OK;
}

/* The part of the array that is of some pages, from that one on. */
static enum pm_status
read_array(struct pages *pages, uint64_t page, uint64_t count)
{
	uint64_t size = pages->is.page, each = STEP / size;
	enum pm_status status = PM_OK;

	while (count > 0 && status == PM_OK) {
		uint64_t now = count < each ? count : each;

		status = pm_guest_space_read(pages->space, pages->array +
		    page * size, pages->buffer, (size_t)(now * size));
		for (uint64_t i = 0; i < now && status == PM_OK; i++)
			status = take_page(pages, page + i, pages->buffer +
			    i * size);
		page += now;
		count -= now;
	}
	return status;
}

static enum pm_status
take_section(struct pages *pages, uint64_t number, uint64_t map)
{
	unsigned shift = (unsigned)pages->is.section_bits - PM_GUEST_SHIFT;
	uint64_t array = map & ~SECTION_FLAGS;

	if ((map & SECTION_PRESENT) != SECTION_PRESENT)
		return PM_OK;
	if (pages->array == 0)
		pages->array = array;
	if (array != pages->array)
		return refuse(pages, "has pages in more than one array");
	return read_array(pages, number << shift, UINT64_C(1) << shift);
}

/* How many sections there may be, by the last RAM. */
static uint64_t
count_sections(const struct pages *pages)
{
	const struct pm_guest_ranges *ram = pages->ram;

	return ((ram->range[ram->count - 1].end - 1) >>
	    pages->is.section_bits) + 1;
}

/* A root is a page of sections, or nothing. */
static enum pm_status
read_sections(struct pages *pages)
{
	const struct shape *is = &pages->is;
	uint64_t each = PM_GUEST_PAGE / is->section, root = 0, map;
	uint64_t sections = count_sections(pages);
	enum pm_status status = PM_OK;

	for (uint64_t i = 0; i < sections && status == PM_OK; i++) {
		*pages->why = "has an array of pages that makes no sense";
		if (i / each >= is->root_count)
			return PM_END;
		if (i % each == 0)
			status = pm_guest_space_number(pages->space,
			    is->roots + i / each * 8, 8, &root);
		if (status == PM_OK && root == 0)
			i += each - 1;
		if (status != PM_OK || root == 0)
			continue;
		status = pm_guest_space_number(pages->space, root + i % each *
		    is->section + is->section_map, 8, &map);
		if (status == PM_OK)
			status = take_section(pages, i, map);
	}
	return status;
}

static enum pm_status
compare(struct pages *pages)
{
	for (unsigned i = 0; i < PM_GUEST_ORDERS; i++)
		if (pages->counted[i] != pages->guest->blocks[i])
			return refuse(pages, "counts other free blocks than "
			    "it has");
	return pages->forth == pages->back ? PM_OK : refuse(pages,
	    "has lists of free blocks with wrong links");
}

enum pm_status
pm_guest_pages_read(struct pm_guest *guest, struct pm_guest_space *space,
    const struct pm_guest_info *info, const struct pm_guest_ranges *ram,
    uint64_t processors, const char **why)
{
	struct pages pages = {
		.guest = guest, .space = space, .ram = ram, .why = why,
		.slack = processors * DRIFT, .buffer = malloc(STEP),
	};
	enum pm_status status = PM_ERR_SYSTEM;

	*why = "does not tell how it keeps its pages";
	if (pages.buffer != NULL)
		status = read_shape(&pages.is, info) ? read_nodes(&pages)
		    : PM_END;
	if (status == PM_OK)
		status = read_sections(&pages);
	if (status == PM_OK)
		status = compare(&pages);
	guest->orders = (unsigned)pages.is.orders;
	free(pages.buffer);
	return status;
}
