/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped_ram.h - a migration file of QEMU in which pages have fixed places.
 *
 * With the capability mapped-ram, QEMU 9.0 and later write each block of RAM
 * to a place of its own in a file: its list of blocks has, behind each, a
 * header, a bitmap of the pages that were written, room, and the pages.
 * Pages without a bit are zeroes.  The stream goes on behind the last block.
 * The format is that of QEMU's docs/devel/migration/mapped-ram.rst and
 * migration/ram.c.
 *
 * All but the pages is given as the stream would have it without that
 * capability, which QEMU before 9.0 loads too: a head, up to where a section
 * of RAM begins; the pages, which are not here; and the rest.  A bitmap is in
 * the byte order of the machine that wrote it, and is taken as little-endian:
 * nothing in the file tells, but for libvirt's header, and for the name of the
 * machine where that is one of s390.  What these show to be big-endian is
 * refused.
 *
 * What libvirt calls a sparse save image is such a file behind a header of
 * libvirt's (savefile.h).
 */
#ifndef PM_MAPPED_RAM_H
#define PM_MAPPED_RAM_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "record.h"

#define PM_MAPPED_BEHIND_MAX	13u	/* a word and a footer */

struct pm_mapped_block {
	uint64_t bitmap, pages;		/* bytes in the file */
	size_t head_end;		/* of a plan: bytes of the head before
					   its bitmap */
};

struct pm_mapped_ram {
	unsigned page_shift;
	uint32_t blocks;
	struct pm_region *region;	/* PM_REGIONS_MAX */
	struct pm_mapped_block *block;

	uint8_t *head;			/* before the first page, */
	size_t head_size, head_room;
	uint8_t behind[PM_MAPPED_BEHIND_MAX];	/* and behind the last; */
	size_t behind_size;
	uint64_t rest;			/* then the file from there on, */
	uint64_t devices;		/* where device state begins, */
	uint64_t end;			/* to this byte */
};

/*
 * Read all but bitmaps and pages from a file.  PM_ERR_REFUSED for what is no
 * such file, or has what is not known here, such as devices that come in parts;
 * PM_ERR_CORRUPT for one that contradicts itself, PM_ERR_TRUNCATED for one that
 * was cut.  To be closed in any case.  path is for messages.
 */
enum pm_status pm_mapped_ram_open(struct pm_mapped_ram *, int fd,
    const char *path, struct pm_fault *);
void pm_mapped_ram_close(struct pm_mapped_ram *);

/*
 * True when a file begins as one does, bare or within libvirt's; the place in
 * it may change.
 */
int pm_mapped_ram_detect(int fd);

/*
 * The other way round: from the first bytes of a plain stream, with pages of
 * that size, the places that such a file has.  Its head, with the capability
 * and with headers, is that of the file as far as the bitmap of the first
 * block, and then in pieces from behind the pages of each block on; rest is
 * where the bytes go from *used on, those behind the list of blocks.
 * PM_ERR_REFUSED when these are not the first bytes of one.
 */
enum pm_status pm_mapped_ram_plan(struct pm_mapped_ram *, const uint8_t *in,
    size_t size, unsigned page_shift, size_t *used, struct pm_fault *);

/*
 * What its parts share; not for others.  What is passed is kept for the head
 * of the plain stream; what is taken is not.
 */
#define PM_MAPPED_PIECE		4096u
#define PM_MAPPED_SECTION	5u	/* bytes of its type and number */

/* Where in the file we are, and what was read last. */
struct pm_mapped_cursor {
	struct pm_mapped_ram *ram;
	struct pm_fault *fault;
	const char *path;
	int fd;
	const uint8_t *bytes;		/* in place of the file, or NULL */
	int adds;			/* the capability comes in, not out */
	uint64_t at, end;
	uint32_t section;		/* number of RAM's */
	int has_footer;
	uint8_t in[PM_MAPPED_PIECE];
};

/*
 * Read the next bytes, at most PM_MAPPED_PIECE, to in: stay before them, or
 * go on behind them, or keep them too.  PM_ERR_TRUNCATED.
 */
enum pm_status pm_mapped_look(struct pm_mapped_cursor *, size_t size);
enum pm_status pm_mapped_take(struct pm_mapped_cursor *, size_t size);
enum pm_status pm_mapped_pass(struct pm_mapped_cursor *, size_t size);

/* A text with its length, a byte, before it, and so many bytes behind it. */
enum pm_status pm_mapped_take_text(struct pm_mapped_cursor *, size_t behind);

/* Add to the head of the plain stream; PM_ERR_REFUSED when it is too long. */
enum pm_status pm_mapped_keep(struct pm_mapped_cursor *, const void *bytes,
    size_t size);

/*
 * Pass all up to the start of RAM, without the capability that is no more.
 * PM_ERR_REFUSED without it, or for what is not known.
 */
enum pm_status pm_mapped_head(struct pm_mapped_cursor *);

#endif /* PM_MAPPED_RAM_H */
