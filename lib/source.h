/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source.h - memory that a stream is made of.
 *
 * What a source knows without reading is told in spans; what it must read
 * is read page by page into the caller's buffer.  capture.c turns any
 * source into a stream.
 */
#ifndef PM_SOURCE_H
#define PM_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "record.h"
#include "span.h"

struct pm_source;

struct pm_source_ops {
	/* What begins at that page, which lies within the region. */
	enum pm_status (*span)(struct pm_source *, uint32_t region,
	    uint64_t page, struct pm_span *);
	/*
	 * Read pages of one data span into out, padding the last page of a
	 * region with zeroes.  *got is how many could be read; fewer than
	 * asked means that the page behind them is not there after all.
	 * What fails is told in the fault.
	 */
	enum pm_status (*read)(struct pm_source *, uint32_t region,
	    uint64_t page, uint32_t pages, uint8_t *out, uint32_t *got,
	    struct pm_fault *);
	/* The file may change: ask anew where it has holes.  Or NULL. */
	void (*forget)(struct pm_source *);
	/*
	 * All was read: let go of what was held (thaw), and fail if what
	 * was read is not one consistent state.
	 */
	enum pm_status (*done)(struct pm_source *);
	/* The same without judging, and release all; after a failure too. */
	void (*close)(struct pm_source *);
};

/* Where bytes of another format stand among the pages of a source. */
enum pm_source_part {
	PM_SOURCE_BEFORE,	/* the first page */
	PM_SOURCE_BEHIND,	/* the last page */
	PM_SOURCE_AFTER,	/* the mark of the round that these make */
};

struct pm_source {
	const struct pm_source_ops *ops;
	/*
	 * The foreign bytes of that part from byte at on, as many as there is
	 * room for; *got is 0 behind the last.  NULL: it has none.
	 */
	enum pm_status (*foreign)(struct pm_source *, enum pm_source_part,
	    uint64_t at, uint8_t *out, size_t room, size_t *got);
	struct pm_fault *fault;
	int is_shared;			/* several threads may call read at
					   once, while one calls span */
	uint32_t may;			/* features of its stream */
	unsigned page_shift;
	uint32_t regions;
	struct pm_region *region;	/* numbered in order; the source's */
	size_t mappings;		/* of region 0, if it is a process */
	struct pm_mapping *mapping;	/* ascending; the source's */
	uint64_t frozen_us;		/* how long the subject stood still */
	uint64_t page_bytes;		/* expected to be read; 0 unknown */
};

/* True when it has a region of that key. */
static inline int
pm_source_has(const struct pm_source *source, uint64_t key)
{
	for (uint32_t i = 0; i < source->regions; i++)
		if (source->region[i].key == key)
			return 1;
	return 0;
}

/* Read all of it, and be done: the id of the generation that it is. */
enum pm_status pm_source_id(struct pm_source *, struct pm_digest *id);

enum pm_source_format {
	PM_SOURCE_RAW,		/* bytes of memory and nothing else */
	PM_SOURCE_CORE,		/* a core file that pm-apply wrote */
};

/*
 * What the first bytes of a file show it to be.  PM_ERR_REFUSED, naming it,
 * for a format that is known and not read; what shows nothing is raw.
 */
enum pm_status pm_source_detect(const char *path, enum pm_source_format *,
    struct pm_fault *);

/*
 * A file of that format; holes are found by SEEK_DATA.  A raw one is cut, in
 * order and at page boundaries, into the regions given, of which the last
 * takes the rest of the file if its length is 0; with none, the file is one
 * region, "memory".  page_shift is that of a raw file.
 */
enum pm_status pm_source_open_image(struct pm_source **, const char *path,
    enum pm_source_format, unsigned page_shift, const struct pm_region *cut,
    uint32_t cuts, struct pm_fault *);

/*
 * A migration file of QEMU's in which pages have fixed places
 * (mapped_ram.h), bare or as libvirt's sparse save image.  Its blocks of RAM
 * are the regions, and all else is foreign bytes, as a stream of a QEMU
 * without that capability would have them.
 */
enum pm_status pm_source_open_mapped(struct pm_source **, const char *path,
    struct pm_fault *);

/*
 * The memory that QEMU's migration stream (qemu.h) leaves, in a regular file
 * from that byte on: of a page that comes several times, what came last, and
 * zeroes where nothing came.  Its blocks of RAM are the regions.  The file is
 * read once here, to find out where each page is, of which 8 bytes are kept
 * if it has content; and again where pages are asked for.  fd stays the
 * caller's, and open, and its position is neither used nor changed.
 * page_shift is that of pages, unless the stream says another.
 *
 * This source is to look into: it has no device state, so that a stream
 * made of it is no migration.  PM_ERR_CORRUPT for a file that does not begin
 * as such a stream, PM_ERR_TRUNCATED for one that is cut, in its device
 * state too, as far as that can be told.  PM_ERR_REFUSED, with the reason,
 * where what stands before the device state is not understood to its end, or
 * pages are elsewhere; of a cut stream this may be found first.
 */
enum pm_status pm_source_open_migration(struct pm_source **, int fd,
    uint64_t from, unsigned page_shift, struct pm_fault *);

struct pm_process_options {
	const char *const *glob;	/* NULL-terminated names of mappings
					   to carry, or NULL for all that are
					   writable */
	const char *spool;		/* directory for an unnamed copy, so
					   that the freeze ends with the copy;
					   or NULL */
	/*
	 * Called when the process is frozen, and nothing was read; it may
	 * put another source around this one, as pm_source_without does.  Or
	 * NULL.
	 */
	enum pm_status (*frozen)(void *arg, struct pm_source **);
	void *arg;
};

/*
 * A live process, or that of a thread, frozen from here until done or close,
 * or until the copy is made if it is spooled.  It has one region, "process",
 * the whole address space.  Pages that were never touched are not touched by
 * reading them.  PM_ERR_REFUSED for this process and for one without memory.
 *
 * A freeze belongs to the thread that asked for it: all calls for such a
 * source come from one thread, and the process goes on when that one ends.
 * What other processes write to memory they share with it is not held back.
 */
enum pm_status pm_source_open_process(struct pm_source **, pid_t pid,
    const struct pm_process_options *, struct pm_fault *);

/*
 * Copy what a source has into an unnamed file in a directory and let go of
 * its subject; the source becomes the copy.  After a failure it is as it
 * was, read in part.
 */
enum pm_status pm_source_spool(struct pm_source **, const char *directory,
    struct pm_fault *);

/*
 * A source without its free pages (free.h), which are gone: they are never
 * read.  All else is that of the source given, which is the new one's, as is
 * what is marked; after a failure both are as they were.
 */
struct pm_free;
enum pm_status pm_source_without(struct pm_source **, struct pm_free *,
    struct pm_fault *);

#endif /* PM_SOURCE_H */
