/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * product.h - what becomes of a memory that was put together in a file.
 *
 * As a rule, the file itself: an image or a core file.  Or it is written
 * with its regions in other places, so that at the end it can be made
 *
 *	an image of one region, by cutting it: that region stands first; or
 *	a migration file of QEMU's with the capability mapped-ram
 *	(mapped_ram.h), by writing what stands between the pages: headers,
 *	bitmaps, and the foreign bytes of the stream.
 *
 * While that goes on it is an image all the same, whose id is known.
 */
#ifndef PM_PRODUCT_H
#define PM_PRODUCT_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "image.h"
#include "mapped_ram.h"
#include "outfile.h"
#include "outline.h"
#include "record.h"

enum pm_product_kind {
	PM_PRODUCT_WHOLE,
	PM_PRODUCT_REGION,
	PM_PRODUCT_MAPPED,
};

struct pm_product {
	enum pm_product_kind kind;
	const char *region;		/* name of it */
	const char *path;		/* what it will be */
	struct pm_fault *fault;

	/* Of the stream at hand: foreign bytes stand among its pages, and its
	   last mark does not know the generation. */
	int is_foreign, is_vague;

	/* Its foreign bytes. */
	uint8_t *head;			/* before the first page; */
	size_t head_size, head_room;
	int is_placed;			/* the plan was made of them; */
	struct pm_mapped_ram plan;
	struct pm_outfile rest;		/* then they go there */
	uint64_t rest_size;
};

/* region is for that kind alone.  It never fails; to be closed. */
void pm_product_open(struct pm_product *, enum pm_product_kind,
    const char *region, const char *path, struct pm_fault *);
void pm_product_close(struct pm_product *);

/*
 * Take the next record, of whatever type.  PM_ERR_REFUSED for foreign bytes
 * that have no place, and at the end of a stream of which pages may be among
 * them.
 */
enum pm_status pm_product_take(struct pm_product *, const struct pm_record *);

/*
 * The layout of the file while it is written, or NULL with *status:
 * PM_ERR_MISMATCH when the region is not there, PM_ERR_REFUSED when the
 * foreign bytes are not of QEMU and these regions, or for a process.
 */
struct pm_layout *pm_product_layout(struct pm_product *,
    const struct pm_outline *, enum pm_status *status);

/* True when it can be made behind a stream that broke, of those before it. */
static inline int
pm_product_outlives(const struct pm_product *product)
{
	return product->kind != PM_PRODUCT_MAPPED;
}

/*
 * Make it of an image of what the last stream led to: *size is how many bytes
 * of the file it is.
 */
enum pm_status pm_product_make(struct pm_product *, struct pm_image *,
    uint64_t *size);

#endif /* PM_PRODUCT_H */
