/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_input.h - files with the memory of a guest, to look into.
 */
#ifndef GUEST_INPUT_H
#define GUEST_INPUT_H

#include "qemu_input.h"
#include "source.h"

/*
 * The memory that a migration stream in a file leaves.  PM_ERR_REFUSED if it
 * is in no file, or packed.  The input stays open, and where it is.
 */
enum pm_status guest_open_stream(struct pm_source **,
    const struct qemu_input *, struct pm_fault *);

/* The file at path, an image or a migration stream, or exit. */
struct pm_source *guest_open(const char *path);

#endif /* GUEST_INPUT_H */
