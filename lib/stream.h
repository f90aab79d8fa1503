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
 *
 * A payload that nobody looks at need not be read: pm_reader_head leaves it
 * in the input, and pm_relay_put moves it on.
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

/*
 * Move some bytes, at most size, from arg to a descriptor, or to arg from
 * one, and say how many; as pm_fd_splice does, where more than the stream
 * goes over a descriptor.  If head is not empty it is written before them,
 * and is empty then.
 */
typedef enum pm_status pm_stream_pull(void *arg, int to, size_t size,
    size_t *moved);
typedef enum pm_status pm_stream_push(void *arg, struct iovec *head,
    int from, size_t size, size_t *moved);

struct pm_reader {
	pm_stream_io *io;
	void *arg;
	int fd;				/* where the bytes come from, or -1 */
	pm_stream_pull *pull;		/* how to move them, or NULL */
	uint32_t left;			/* bytes of a payload to be read yet */
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
	int fd;				/* as the reader's */
	pm_stream_push *push;
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

/* The io is on a descriptor after all, and this is how to move from there. */
void pm_reader_pull(struct pm_reader *, int fd, pm_stream_pull *);

/*
 * Read the next record into rec.  PM_END behind the last stream.  The
 * payload of PAGES is as it came: encoded, and not checked by digest.
 */
enum pm_status pm_reader_next(struct pm_reader *, struct pm_record *rec);

/*
 * The same, but leave the payload of PAGES in the input if it has at least
 * so many bytes.  Then reader->left is not 0, and the payload is to be read
 * or moved before the next record.
 */
enum pm_status pm_reader_head(struct pm_reader *, struct pm_record *rec,
    uint32_t least);

/* Read what is left of the payload, to its place in rec. */
enum pm_status pm_reader_payload(struct pm_reader *, struct pm_record *rec);

/* Say that what is left cannot be had, and why. */
enum pm_status pm_reader_fail(struct pm_reader *, const struct pm_record *rec,
    enum pm_status);

/* Release what open took; the descriptor stays open. */
void pm_reader_close(struct pm_reader *);

/* Start on fd. */
enum pm_status pm_writer_open(struct pm_writer *, int fd, struct pm_fault *);
enum pm_status pm_writer_open_io(struct pm_writer *, pm_stream_io *,
    void *arg, struct pm_fault *);

void pm_writer_push(struct pm_writer *, int fd, pm_stream_push *);

/*
 * Seal rec and write it; a STREAM record is preceded by the signature.
 */
enum pm_status pm_writer_put(struct pm_writer *, struct pm_record *rec);

/*
 * The same in parts: what stands before the payload of rec, until another is
 * sealed; write and count bytes; count the record.
 */
struct iovec pm_writer_seal(struct pm_writer *, struct pm_record *rec);
enum pm_status pm_writer_bytes(struct pm_writer *, struct iovec *, int count);
void pm_writer_count(struct pm_writer *, const struct pm_record *rec);

/* Say that it cannot be written, and why. */
enum pm_status pm_writer_fail(struct pm_writer *, enum pm_status);

/* Write the end of a stream, with its counts; rec is scratch. */
enum pm_status pm_writer_end(struct pm_writer *, struct pm_digest from,
    struct pm_digest to, struct pm_record *rec);

void pm_writer_close(struct pm_writer *);

#endif /* PM_STREAM_H */
