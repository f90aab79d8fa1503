/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_capture.h - make a stream of a migration stream of QEMU.
 *
 * Blocks of RAM become regions, their pages page records, and all other
 * bytes opaque records, in their order, so that qemu_emit.h gives back the
 * bytes that came.  A pass of QEMU over its RAM is a round.  Before the
 * first byte of device state stands a round mark, with all pages that were
 * never mentioned made GONE; whoever holds device state back until it saw
 * that mark starts no guest from pages that are not right.
 */
#ifndef PM_QEMU_CAPTURE_H
#define PM_QEMU_CAPTURE_H

#include "capture.h"
#include "free.h"
#include "source.h"
#include "stream.h"
#include "table.h"

struct pm_qemu_capture_options {
	uint32_t record_size;		/* as in struct pm_capture_options */
	unsigned page_shift;		/* of a machine that does not say */
	const uint8_t *seen;		/* read from fd already, and how */
	size_t seen_size;		/* much, at most PM_QEMU_TOKEN_MAX */

	/* Send what differs from it, or NULL. */
	struct pm_table *since;

	/*
	 * A table to remember the hashes in, or NULL; it is asked for when
	 * all was read.
	 */
	struct pm_table *(*save)(const struct pm_source *);

	/*
	 * Called when the blocks of RAM are listed, to say which pages are
	 * free: they are left out of the stream, and GONE in its end.  Or
	 * NULL.  They have to be free from when they come first.  One that
	 * comes again was written since and is sent, unless free_is_last:
	 * then they are free at the end of the migration, and are left out
	 * however often they come.
	 */
	pm_free_find *find_free;
	void *find_arg;
	int free_is_last;

	/* From here on nothing is understood, and why; or NULL. */
	void (*warn)(const char *text);

	/* The input ended: what wrote it may say that it was not whole. */
	enum pm_status (*ended)(void *arg);
	void *arg;
};

struct pm_qemu_capture_counts {
	struct pm_capture_counts pages;
	unsigned page_shift;
	struct pm_table_stamp stamp;	/* for the table that was saved */
	uint64_t rounds;
	uint64_t foreign;		/* bytes */
	uint64_t device_bytes;		/* from the first of device state on */
	uint64_t device_us;		/* from when it came until the last one
					   was written */
};

/*
 * Read a migration stream from fd to its end and write one whole stream,
 * end record included.  What has come is written before more is waited for.
 * PM_ERR_CORRUPT if it is none, PM_ERR_TRUNCATED when it was cut, as far as
 * that can be told; PM_ERR_REFUSED for a mapped-ram file and, with since or
 * save, for what a chain can't hold: what is not understood to its end, or
 * is of another machine than since.
 */
enum pm_status pm_qemu_capture_run(int fd,
    const struct pm_qemu_capture_options *, struct pm_writer *out,
    struct pm_qemu_capture_counts *, struct pm_fault *);

#endif /* PM_QEMU_CAPTURE_H */
