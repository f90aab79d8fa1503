/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image.h - memory at rest in a file: a raw image or a core file.
 *
 * An image is a descriptor and a layout.  Reads never fail for want of
 * bytes: holes and what lies beyond the end of the file read as zeroes.
 * Offsets are checked against the layout by whoever made it.
 */
#ifndef PM_IMAGE_H
#define PM_IMAGE_H

#include <stdint.h>

#include <sys/uio.h>

#include "fault.h"
#include "holes.h"
#include "layout.h"

struct pm_image {
	int fd;
	uint64_t data;			/* byte in the file of slot 0 */
	uint64_t size;			/* bytes of the file, when opened */
	struct pm_layout *layout;	/* freed by close */
	const char *path;		/* the caller's, for messages */
	struct pm_fault *fault;
	struct pm_holes holes;
	int takes_room;			/* written for the first time, where
					   room may be asked for ahead */
};

/* Take fd, which close closes, and layout, which it frees. */
void pm_image_take(struct pm_image *, int fd, struct pm_layout *layout,
    uint64_t data, const char *path, struct pm_fault *);

/*
 * Open path to read.  If the regions are of a process it is a core file,
 * which brings its own; otherwise it is a raw image, laid out as they are.
 */
enum pm_status pm_image_open(struct pm_image *, const char *path,
    const struct pm_region *region, uint32_t regions, unsigned page_shift,
    int old, struct pm_fault *);

/* Close the file and free the layout; nothing when they are closed. */
void pm_image_close(struct pm_image *);

/*
 * How the pages from page on are held: *data is 1 for bytes in the file, 0
 * for a hole, beyond the end, or in no extent; *pages for how many.
 */
enum pm_status pm_image_span(struct pm_image *, uint32_t region,
    uint64_t page, int *data, uint64_t *pages);

/* Read pages into out, across whatever they are held as. */
enum pm_status pm_image_read(struct pm_image *, uint32_t region,
    uint64_t page, uint32_t pages, uint8_t *out);

/* The same on any thread, which tells there what fails. */
enum pm_status pm_image_fetch(const struct pm_image *, uint32_t region,
    uint64_t page, uint32_t pages, uint8_t *out, struct pm_fault *);

/* Write pages, all of which are held; the caller sets the file's length. */
enum pm_status pm_image_write(struct pm_image *, uint32_t region,
    uint64_t page, uint32_t pages, const uint8_t *in);

/* The same of several buffers, each of whole pages, in one go if it can. */
enum pm_status pm_image_writev(struct pm_image *, uint32_t region,
    uint64_t page, const struct iovec *, int count);

/* Make pages that are held read as zeroes, as a hole where that can be. */
enum pm_status pm_image_punch(struct pm_image *, uint32_t region,
    uint64_t page, uint64_t pages);

/*
 * Read all of it and add up its generation id.  buf is scratch of
 * PM_PAYLOAD_MAX bytes.
 */
enum pm_status pm_image_id(struct pm_image *, uint8_t *buf,
    struct pm_digest *id);

#endif /* PM_IMAGE_H */
