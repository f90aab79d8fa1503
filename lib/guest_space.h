/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_space.h - addresses of a guest's kernel, by its page tables.
 *
 * PM_END stands for an address that is not there; what a memory's read fails
 * with is passed on.  The tables are those of x86-64, with 4 or 5 levels.
 */
#ifndef PM_GUEST_SPACE_H
#define PM_GUEST_SPACE_H

#include "guest.h"

struct pm_guest_space {
	const struct pm_guest_memory *memory;
	struct pm_fault *fault;
	unsigned parts;
	struct pm_guest_part part[PM_GUEST_PARTS];
	unsigned levels;
	uint64_t root;			/* physical address of the tables */
	uint64_t work;			/* bytes that may be read yet */
	int reads_high;			/* some were above 4 GiB */

	/* The last table of pages that was read, and what it is of. */
	int is_read;
	uint64_t region;
	uint8_t table[PM_GUEST_PAGE];
};

/* Put RAM where machines have it that keep addresses from low to 4 GiB. */
void pm_guest_space_split(struct pm_guest_space *, uint64_t low);

/* Where a physical address stands in the memory, and bytes that follow. */
enum pm_status pm_guest_space_place(const struct pm_guest_space *,
    uint64_t physical, uint64_t *at, uint64_t *left);

/*
 * Have so many bytes less to read, or PM_END: so all work has an end, however
 * often tables and lists lead to the same.
 */
enum pm_status pm_guest_space_spend(struct pm_guest_space *, uint64_t bytes);

/* Read from a physical address on; or from a virtual one. */
enum pm_status pm_guest_space_fetch(struct pm_guest_space *,
    uint64_t physical, void *out, size_t size);
enum pm_status pm_guest_space_read(struct pm_guest_space *, uint64_t address,
    void *out, size_t size);

/* A number of that many bytes. */
enum pm_status pm_guest_space_number(struct pm_guest_space *,
    uint64_t address, unsigned width, uint64_t *value);

/* The physical address of a virtual one, and bytes that follow in a row. */
enum pm_status pm_guest_space_translate(struct pm_guest_space *,
    uint64_t address, uint64_t *physical, uint64_t *left);

#endif /* PM_GUEST_SPACE_H */
