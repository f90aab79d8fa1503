/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * move.h - bring the pages of an old generation into a new one.
 *
 * The new file may hold them already, because it is the old one or a clone
 * of it; otherwise they are copied, each to its place in the new layout.
 * Holes are not read.  On the way every page is hashed, so that to know
 * what the old generation was costs nothing more.
 */
#ifndef PM_MOVE_H
#define PM_MOVE_H

#include <stdint.h>

#include "image.h"
#include "table.h"

struct pm_move {
	struct pm_image *from, *to;	/* with pages of one size */
	struct pm_table *known;		/* hashes of from, trusted; or NULL */
	struct pm_table *table;		/* of to, to be filled; or NULL */
	int copy;			/* the bytes are not in to already */
	uint8_t *buf;			/* PM_PAYLOAD_MAX */

	/* What came of it. */
	struct pm_digest was;		/* the id of from */
	struct pm_digest is;		/* and of what to holds now */
	uint64_t read, copied;		/* bytes */
};

/* True when all pages have the same place in both files. */
int pm_move_is_still(const struct pm_image *from, const struct pm_image *to);

enum pm_status pm_move_run(struct pm_move *);

/*
 * The same for a table that is known, where nothing moves and nothing is
 * copied: no page is read.
 */
enum pm_status pm_move_table(struct pm_move *);

#endif /* PM_MOVE_H */
