/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_tail.h - whether a migration stream came to its end.
 *
 * Device state has no lengths, but behind it stands the byte 0, and then,
 * of most machines, a description: the byte 6, its length, and JSON.  Where
 * sections have footers, one stands before the 0: 0x7e and the number of a
 * section, of which there are less than 65536.
 */
#ifndef PM_QEMU_TAIL_H
#define PM_QEMU_TAIL_H

#include <stddef.h>
#include <stdint.h>

#define PM_QEMU_TAIL_ENDS	16u

struct pm_qemu_tail {
	uint64_t size;			/* bytes so far */
	uint8_t last[6];		/* of them */
	unsigned ends;
	uint64_t end[PM_QEMU_TAIL_ENDS];	/* of descriptions, maybe */
};

/* More of it came.  A tail begins as zeroes. */
void pm_qemu_tail_take(struct pm_qemu_tail *, const uint8_t *, size_t);

/* True if it may end here, with footers or without. */
int pm_qemu_tail_is_whole(const struct pm_qemu_tail *, int has_footers);

#endif /* PM_QEMU_TAIL_H */
