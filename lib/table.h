/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * table.h - a file with the hash of every page of a memory.
 *
 * Sixteen bytes a page, in the slots of a layout; pages of zeroes are holes
 * of the file.  A source compares with it instead of with the old image,
 * and pm-apply finds by it what changed behind its back.  Hashes are those
 * of content alone (pm_hash_content), without position.
 */
#ifndef PM_TABLE_H
#define PM_TABLE_H

#include <stdint.h>

#include <sys/stat.h>

#include "fault.h"
#include "holes.h"
#include "layout.h"

#define PM_TABLE_MAGIC		"\x89PMT\r\n\x1a\n"
#define PM_TABLE_MAGIC_SIZE	8u
#define PM_TABLE_WINDOW	256u		/* hashes held at a time */

/* What tells whether a file is still the one that a table was made of. */
struct pm_table_stamp {
	uint64_t of[5];			/* device, inode, size, and the times
					   of content and inode in ns */
};

struct pm_table {
	int fd;
	const char *path;		/* the caller's, for messages */
	struct pm_fault *fault;
	struct pm_layout *layout;	/* freed by close */
	struct pm_digest id;		/* of the whole memory */
	struct pm_table_stamp stamp;
	uint64_t data;			/* byte of slot 0 */
	uint64_t size;			/* bytes of the file, when opened */

	uint64_t window;		/* first slot held; UINT64_MAX: none */
	int dirty;
	struct pm_holes holes;
	uint8_t hash[PM_TABLE_WINDOW * PM_DIGEST_SIZE];
};

struct pm_table_stamp pm_table_stamp_of(const struct stat *);
int pm_table_stamp_equal(const struct pm_table_stamp *,
    const struct pm_table_stamp *);

/*
 * Begin a table in fd, an empty file, for that layout, of which a copy is
 * made.  Nothing of it is valid before pm_table_seal.
 */
enum pm_status pm_table_begin(struct pm_table *, int fd, const char *path,
    const struct pm_layout *, struct pm_fault *);

/* Write what is held and the head, with what it is the table of. */
enum pm_status pm_table_seal(struct pm_table *, struct pm_digest id,
    const struct pm_table_stamp *);

/*
 * Open a table to read; all of it is read, to see that its hashes add up to
 * its id.  PM_ERR_REFUSED when it is none or damaged.
 */
enum pm_status pm_table_open(struct pm_table *, const char *path,
    struct pm_fault *);
void pm_table_close(struct pm_table *);

/* The hash of a slot of the layout: read it, or change it. */
enum pm_status pm_table_get(struct pm_table *, uint64_t slot,
    struct pm_digest *);
enum pm_status pm_table_set(struct pm_table *, uint64_t slot,
    struct pm_digest);

/*
 * Whether pages from page on may have content (*data), and how many are
 * the same way; pages outside the layout have none.
 */
enum pm_status pm_table_span(struct pm_table *, uint32_t region,
    uint64_t page, int *data, uint64_t *pages);

#endif /* PM_TABLE_H */
