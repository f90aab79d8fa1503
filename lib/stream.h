/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream.h - page-record streams on a descriptor, one or a chain of them.
 *
 * A reader gives every record of the input, STREAM and END records too, and
 * checks all that holds between records: what comes first, that regions
 * are known and pages lie within them, that counts agree, that a chain
 * starts where the stream before it led.  It answers PM_END only behind an
 * end record, so a stream cut by a dying neighbour is never taken for a
 * short one.  It reads no byte beyond the record it gives, but for one
 * behind an end record, where the input ends or a chain goes on.
 *
 * A writer seals and writes records, each with one system call, and holds
 * none back.  The caller owns records and descriptors.
 */
#ifndef PM_STREAM_H
#define PM_STREAM_H

#include <stdint.h>

#include <sys/uio.h>

#include "fault.h"
#include "meter.h"
#include "record.h"

/*
 * Fill buffers, or write them, as pm_fd_readv and pm_fd_writev do with a
 * descriptor; arg is whatever stands in its place.
 */
typedef enum pm_status pm_stream_io(void *arg, struct iovec *, int count);

struct pm_reader {
	pm_stream_io *io;
	void *arg;
	int fd;				/* of the io that is a descriptor */
	struct pm_fault *fault;
	struct pm_meter meter;		/* of the whole input */

	/* The stream now being read. */
	struct pm_stream stream;
	struct pm_region *region;	/* as read so far */
	uint32_t regions;
	uint64_t records, pages;
	uint64_t streams;		/* begun so far */
	struct pm_end end;		/* of the last that ended */

	int state;
	uint8_t *table;
};

struct pm_writer {
	pm_stream_io *io;
	void *arg;
	int fd;
	struct pm_fault *fault;
	struct pm_meter meter;
	uint64_t records, pages;	/* of the stream now written */
	uint8_t *head;			/* head and table, sealed */
};

/*
 * Start on fd and read the signature.  fault may be NULL; it must outlive
 * the reader.  PM_ERR_CORRUPT when this is no page-record stream.
 */
enum pm_status pm_reader_open(struct pm_reader *, int fd, struct pm_fault *);
enum pm_status pm_reader_open_io(struct pm_reader *, pm_stream_io *,
    void *arg, struct pm_fault *);

/*
 * Read the next record into rec.  PM_END behind the last stream.  The
 * payload of PAGES is as it came: encoded, and not checked by digest.
 */
enum pm_status pm_reader_next(struct pm_reader *, struct pm_record *rec);

/* Release what open took; the descriptor stays open. */
void pm_reader_close(struct pm_reader *);

/* Start on fd. */
enum pm_status pm_writer_open(struct pm_writer *, int fd, struct pm_fault *);
enum pm_status pm_writer_open_io(struct pm_writer *, pm_stream_io *,
    void *arg, struct pm_fault *);

/*
 * Seal rec and write it; a STREAM record is preceded by the signature.
 */
enum pm_status pm_writer_put(struct pm_writer *, struct pm_record *rec);

/* Write the end of a stream, with its counts; rec is scratch. */
enum pm_status pm_writer_end(struct pm_writer *, struct pm_digest from,
    struct pm_digest to, struct pm_record *rec);

void pm_writer_close(struct pm_writer *);

#endif /* PM_STREAM_H */
