/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_emit.h - write a migration stream for QEMU.
 *
 * Foreign bytes go out as they came, pages as records of RAM
 * (qemu_pages.h).  Without deltas the bytes are those that were captured.
 * Device state goes out at once, but only behind a round mark that agreed
 * with all pages before it, by its counts, and by its id if both know it:
 * QEMU waits at both ends for an answer, so nothing can wait for the end of
 * the stream, and a guest starts only from device state.
 *
 * In a chain of saved guests the first stream's bytes stand, with the pages
 * of those that follow in a section of their own, and the device state of
 * the last, which is held until the input ends.
 */
#ifndef PM_QEMU_EMIT_H
#define PM_QEMU_EMIT_H

#include "fault.h"
#include "record.h"

struct pm_qemu_emit;

struct pm_qemu_emit_counts {
	uint64_t raw, delta, same, zero, gone;	/* pages */
	uint64_t generations;
	uint64_t bytes;			/* written */
	uint64_t device_bytes;		/* from the first of device state on */
	uint64_t device_us;		/* from when it came until the last one
					   was written */
	struct pm_digest id;		/* that the last stream led to */
};

/* NULL when memory ran out. */
struct pm_qemu_emit *pm_qemu_emit_new(int fd, struct pm_fault *);
void pm_qemu_emit_free(struct pm_qemu_emit *);

/*
 * Take the next record, as a reader gave it, but for compression.
 * PM_ERR_CORRUPT when pages stand where a migration stream has none, a
 * record has not its digest, or the memory is not that of a mark;
 * PM_ERR_REFUSED for what cannot be written.
 */
enum pm_status pm_qemu_emit_take(struct pm_qemu_emit *,
    const struct pm_record *);

/* The input ended: write what was held. */
enum pm_status pm_qemu_emit_finish(struct pm_qemu_emit *);

struct pm_qemu_emit_counts pm_qemu_emit_counts(const struct pm_qemu_emit *);

#endif /* PM_QEMU_EMIT_H */
