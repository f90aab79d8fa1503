/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_out.h - small pieces and large ones, written in few calls.
 *
 * Small ones are copied, large ones stay where they are until all is
 * written.
 */
#ifndef PM_QEMU_OUT_H
#define PM_QEMU_OUT_H

#include <stddef.h>
#include <stdint.h>

#include <sys/uio.h>

#include "fault.h"

#define PM_QEMU_OUT_PIECES	512u
#define PM_QEMU_OUT_SIZE	(128u << 10)

struct pm_qemu_out {
	int fd;
	struct pm_fault *fault;
	uint64_t bytes;			/* put so far */
	int count;
	struct iovec piece[PM_QEMU_OUT_PIECES];
	size_t used;
	uint8_t buf[PM_QEMU_OUT_SIZE];
};

/* Put bytes that are copied, at most PM_QEMU_OUT_SIZE; or that stay. */
enum pm_status pm_qemu_out_copy(struct pm_qemu_out *, const void *, size_t);
enum pm_status pm_qemu_out_put(struct pm_qemu_out *, const void *, size_t);

/* Write all that was put.  PM_ERR_WRITE. */
enum pm_status pm_qemu_out_flush(struct pm_qemu_out *);

#endif /* PM_QEMU_OUT_H */
