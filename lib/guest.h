/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest.h - which pages a Linux guest has no use for, from its memory alone.
 *
 * The kernel keeps a note for crash dumps in its memory, VMCOREINFO, with
 * addresses and offsets of what a dump's reader needs.  It leads to the
 * kernel's page tables, its symbols, its map of RAM, its zones and its page
 * array.  Blocks that the array marks as the buddy allocator's are free.
 * Pages that wait in the lists of single processors are not among them; nor
 * are pages that were never used, which are zeroes or a hole anyway.
 *
 * What a guest's memory says is not believed.  Every address and size is
 * bounded, and all that can be counted twice has to agree: see guest_pages.h
 * for the page array.  A guest that lies well has only pages of its own
 * dropped; one that is merely strange is refused, and its pages are all sent.
 *
 * The formats are those of Linux 6.0 to 6.19 for x86-64; see
 * Documentation/admin-guide/kdump/vmcoreinfo.rst in its source.
 */
#ifndef PM_GUEST_H
#define PM_GUEST_H

#include <stddef.h>
#include <stdint.h>

#include "bitmap.h"
#include "fault.h"

#define PM_GUEST_SHIFT		12u	/* pages of 4 KiB, always */
#define PM_GUEST_PAGE		((size_t)1 << PM_GUEST_SHIFT)
#define PM_GUEST_ORDERS		16u
#define PM_GUEST_PARTS		16u
#define PM_GUEST_RELEASE_MAX	65u	/* with its end, as in utsname */

/* RAM from a guest-physical address on. */
struct pm_guest_part {
	uint64_t address;
	uint64_t at;			/* where it stands in the memory */
	uint64_t size;			/* bytes */
};

/* The RAM of a guest, in one line from byte 0 on. */
struct pm_guest_memory {
	/* Bytes that are all within it. */
	enum pm_status (*read)(void *arg, uint64_t at, void *out, size_t size,
	    struct pm_fault *);
	/* The first page boundary from at on, itself one, behind which there
	   may be something but zeroes, or size. */
	uint64_t (*next)(void *arg, uint64_t at);
	void *arg;
	uint64_t size;			/* bytes, whole pages */
	/*
	 * Where parts of it stand; none if that is not known.  It is then
	 * taken to begin at address 0 and, if it does not fit below what
	 * machines keep below 4 GiB for devices, to go on at 4 GiB.
	 */
	unsigned parts;
	struct pm_guest_part part[PM_GUEST_PARTS];
};

/* What was found. */
struct pm_guest {
	char release[PM_GUEST_RELEASE_MAX];
	uint64_t kernel;		/* physical address of its text */
	uint64_t shift;			/* by which its addresses are random */
	unsigned levels;		/* of page tables */
	unsigned parts;			/* where its RAM is */
	struct pm_guest_part part[PM_GUEST_PARTS];
	uint64_t total;			/* pages that it manages */
	uint64_t free;			/* in all blocks */
	uint64_t cache;			/* of files and shared memory */
	unsigned orders;		/* sizes of blocks: 2^0 and so on */
	uint64_t blocks[PM_GUEST_ORDERS];
	struct pm_bitmap map;		/* of the memory's pages: is free */
};

/*
 * Find the kernel in a memory, which stands still, and what pages it has no
 * use for.  PM_ERR_REFUSED, and the fault tells why, if there is none that is
 * known, it has crashed or is not running, or anything does not add up; what
 * read fails with; PM_ERR_SYSTEM for want of memory.  Close in any case.
 */
enum pm_status pm_guest_open(struct pm_guest *,
    const struct pm_guest_memory *, struct pm_fault *);
void pm_guest_close(struct pm_guest *);

#endif /* PM_GUEST_H */
