/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bytes.h"
#include "guest_space.h"

#define PRESENT		UINT64_C(0x001)
#define LARGE		UINT64_C(0x080)
#define ADDRESS		UINT64_C(0x000ffffffffff000)
#define FOUR_GIB	(UINT64_C(1) << 32)
#define TABLE_SHIFT	9u		/* entries of one */
#define LOWEST_SHIFT	(PM_GUEST_SHIFT + TABLE_SHIFT)

void
pm_guest_space_split(struct pm_guest_space *space, uint64_t low)
{
	uint64_t size = space->memory->size;

	space->is_read = 0;
	space->parts = size > low ? 2 : 1;
	space->part[0] = (struct pm_guest_part){ 0, 0, size > low ? low
	    : size };
	space->part[1] = (struct pm_guest_part){ FOUR_GIB, low,
	    size > low ? size - low : 0 };
}

enum pm_status
pm_guest_space_place(const struct pm_guest_space *space, uint64_t physical,
    uint64_t *at, uint64_t *left)
{
	for (unsigned i = 0; i < space->parts; i++) {
		const struct pm_guest_part *part = &space->part[i];

		if (physical < part->address ||
		    physical - part->address >= part->size)
			continue;
		*at = part->at + (physical - part->address);
		*left = part->size - (physical - part->address);
		return PM_OK;
	}
	return PM_END;
}

enum pm_status
pm_guest_space_spend(struct pm_guest_space *space, uint64_t bytes)
{
	if (bytes > space->work)
		space->work = 0;
	else
		space->work -= bytes;
	return space->work > 0 ? PM_OK : PM_END;
}

enum pm_status
pm_guest_space_fetch(struct pm_guest_space *space, uint64_t physical,
    void *out, size_t size)
{
	const struct pm_guest_memory *memory = space->memory;
	uint64_t at, left;

	if (pm_guest_space_place(space, physical, &at, &left) != PM_OK ||
	    left < size)
		return PM_END;
	/* A few bytes may cost a page. */
	if (pm_guest_space_spend(space, size < PM_GUEST_PAGE ? PM_GUEST_PAGE
	    : size) != PM_OK)
		return PM_END;
	space->reads_high |= physical >= FOUR_GIB;
	return memory->read(memory->arg, at, out, size, space->fault);
}

/*
 * The entry of an address in a table of that level, of which 1 is the lowest;
 * *table is one that it leads to.
 */
static enum pm_status
descend(struct pm_guest_space *space, uint64_t address, unsigned level,
    uint64_t *table, uint64_t *entry)
{
	unsigned shift = PM_GUEST_SHIFT + (level - 1) * TABLE_SHIFT;
	uint8_t bytes[8];
	enum pm_status status = pm_guest_space_fetch(space, *table +
	    (address >> shift) % (1u << TABLE_SHIFT) * 8, bytes, 8);

	if (status != PM_OK)
		return status;
	*entry = pm_get_le(bytes, 8);
	*table = *entry & ADDRESS;
	return (*entry & PRESENT) != 0 ? PM_OK : PM_END;
}

static enum pm_status
found(uint64_t address, uint64_t base, unsigned shift, uint64_t *physical,
    uint64_t *left)
{
	uint64_t size = UINT64_C(1) << shift, offset = address & (size - 1);

	*physical = (base & ~(size - 1)) + offset;
	*left = size - offset;
	return PM_OK;
}

/* Have the lowest table for an address, or find what a large page holds. */
static enum pm_status
walk(struct pm_guest_space *space, uint64_t address, uint64_t *physical,
    uint64_t *left, int *is_large)
{
	uint64_t table = space->root, entry;
	enum pm_status status;

	*is_large = 0;
	for (unsigned level = space->levels; level > 1; level--) {
		status = descend(space, address, level, &table, &entry);
		if (status != PM_OK)
			return status;
		if (level > 3 || (entry & LARGE) == 0)
			continue;
		*is_large = 1;
		return found(address, table, PM_GUEST_SHIFT + (level - 1) *
		    TABLE_SHIFT, physical, left);
	}
	space->is_read = 0;
	status = pm_guest_space_fetch(space, table, space->table,
	    sizeof(space->table));
	if (status != PM_OK)
		return status;
	space->region = address >> LOWEST_SHIFT;
	space->is_read = 1;
	return PM_OK;
}

/* Addresses have a sign, of as many bits as the tables leave. */
static int
is_canonical(const struct pm_guest_space *space, uint64_t address)
{
	unsigned bits = PM_GUEST_SHIFT + space->levels * TABLE_SHIFT;
	uint64_t high = address >> (bits - 1);

	return high == 0 || high == UINT64_MAX >> (bits - 1);
}

enum pm_status
pm_guest_space_translate(struct pm_guest_space *space, uint64_t address,
    uint64_t *physical, uint64_t *left)
{
	enum pm_status status;
	uint64_t entry;
	int is_large;

	if (!is_canonical(space, address))
		return PM_END;
	if (!space->is_read || space->region != address >> LOWEST_SHIFT) {
		status = walk(space, address, physical, left, &is_large);
		if (status != PM_OK || is_large)
			return status;
	}
	entry = pm_get_le(space->table + (address >> PM_GUEST_SHIFT) %
	    (1u << TABLE_SHIFT) * 8, 8);
	return (entry & PRESENT) == 0 ? PM_END : found(address, entry &
	    ADDRESS, PM_GUEST_SHIFT, physical, left);
}

enum pm_status
pm_guest_space_read(struct pm_guest_space *space, uint64_t address,
    void *out, size_t size)
{
	uint8_t *to = out;

	while (size > 0) {
		uint64_t physical, left;
		enum pm_status status = pm_guest_space_translate(space,
		    address, &physical, &left);
		size_t now = left < size ? (size_t)left : size;

		if (status == PM_OK)
			status = pm_guest_space_fetch(space, physical, to,
			    now);
		if (status != PM_OK)
			return status;
		to += now;
		address += now;
		size -= now;
	}
	return PM_OK;
}

enum pm_status
pm_guest_space_number(struct pm_guest_space *space, uint64_t address,
    unsigned width, uint64_t *value)
{
	uint8_t bytes[8] = { 0 };
	enum pm_status status = pm_guest_space_read(space, address, bytes,
	    width);

	*value = pm_get_le(bytes, width);
	return status;
}
