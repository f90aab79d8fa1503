/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_stream.h - the stream that is made of a migration stream's tokens.
 *
 * Pages and foreign bytes come in their order and go into records, which
 * are written when they are full, when the one follows the other, or when
 * they are flushed.
 */
#ifndef PM_QEMU_STREAM_H
#define PM_QEMU_STREAM_H

#include "bitmap.h"
#include "free.h"
#include "gather.h"
#include "older.h"
#include "qemu.h"
#include "qemu_memory.h"
#include "source.h"
#include "stream.h"
#include "table.h"

struct pm_qemu_stream {
	const struct pm_qemu *qemu;	/* what the tokens come from */
	struct pm_fault *fault;
	struct pm_source source;	/* its regions are the blocks */
	struct pm_older older;
	struct pm_gather gather;
	struct pm_record *foreign;	/* bytes gathered */
	int begun;			/* the size of pages is known */
	uint32_t number[PM_REGIONS_MAX];	/* of blocks in the stream */

	struct pm_qemu_memory memory;	/* as the stream has it so far */
	struct pm_bitmap mentioned;
	uint64_t at;			/* behind the last page, of all */
	int breaks;			/* of sections, since the last round */

	/* Set by who opened it; see struct pm_qemu_capture_options. */
	pm_free_find *find_free;
	void *find_arg;
	int free_is_last;
	struct pm_free free;

	uint64_t rounds, read, equal;	/* pages read; not sent as the same */
	uint64_t written_us;		/* when foreign bytes last were */
};

/*
 * A stream with these features, to out, of what differs from since, which
 * may be NULL.  PM_ERR_SYSTEM; close in any case.
 */
enum pm_status pm_qemu_stream_open(struct pm_qemu_stream *,
    const struct pm_qemu *, uint32_t may, uint32_t record_size,
    struct pm_table *since, struct pm_writer *out, struct pm_fault *);
void pm_qemu_stream_close(struct pm_qemu_stream *);

/* Foreign bytes; the list of blocks is known; a page; a section ended. */
enum pm_status pm_qemu_stream_bytes(struct pm_qemu_stream *,
    const uint8_t *, size_t);
enum pm_status pm_qemu_stream_list(struct pm_qemu_stream *);
enum pm_status pm_qemu_stream_page(struct pm_qemu_stream *,
    const struct pm_qemu_token *);
void pm_qemu_stream_break(struct pm_qemu_stream *);

/* No page will follow: those that never came are gone, and a mark says so. */
enum pm_status pm_qemu_stream_rest(struct pm_qemu_stream *);

/* Write what was gathered. */
enum pm_status pm_qemu_stream_flush(struct pm_qemu_stream *);

#endif /* PM_QEMU_STREAM_H */
