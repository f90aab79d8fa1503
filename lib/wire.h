/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - a stream in frames, between pm-send and pm-recv.
 *
 * Both ends say hello with the versions they speak; then the sender sends
 * the stream in DATA frames and says END behind it, or ABORT when it has to
 * give up.  The receiver answers with one RESULT: an exit status and text.
 * The sender acknowledges that with BYE, so that each end knows that the
 * other knows.  All numbers are little-endian.
 *
 *	hello	8 bytes of signature, u16 highest version, u16 lowest
 *		version, u32 features (0)
 *	frame	u8 type, 3 bytes of zero, u32 size, then size bytes
 *
 * A receiver also takes a bare stream, which it knows by its signature;
 * then there is nobody to answer to.
 */
#ifndef PM_WIRE_H
#define PM_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include <sys/uio.h>

#include "fault.h"

#define PM_WIRE_SIGNATURE	"\x89PMW\r\n\x1a\n"
#define PM_WIRE_VERSION		1u
#define PM_WIRE_FRAME_MAX	(2u << 20)	/* bytes of a DATA frame */
#define PM_WIRE_TEXT_MAX	(64u << 10)	/* bytes of a text */

struct pm_wire {
	int fd;
	const char *peer;		/* the caller's, for messages */
	struct pm_fault *fault;
	int bare;			/* no frames: just the stream */
	int ended;			/* END came, or a bare stream's end */
	uint32_t left;			/* bytes of the DATA frame now read */
	size_t owed;			/* and of one now sent */
	uint8_t pushed[8];		/* read ahead to know what it is */
	size_t pushed_from;		/* sizeof(pushed): none */
};

/* What the receiver said. */
struct pm_wire_result {
	uint32_t status;		/* an exit status */
	uint32_t size;
	char text[PM_WIRE_TEXT_MAX + 1];	/* and a NUL */
};

/* Say hello on a connected descriptor; wait at most seconds for an answer. */
enum pm_status pm_wire_greet(struct pm_wire *, int fd, unsigned seconds,
    const char *peer, struct pm_fault *);

/* Take a hello, or the beginning of a bare stream, and answer it. */
enum pm_status pm_wire_welcome(struct pm_wire *, int fd, unsigned seconds,
    const char *peer, struct pm_fault *);

/*
 * pm_stream_io: the sender's writer, the receiver's reader.  The writer
 * fails with PM_ERR_PEER when a result came before the end; pm_wire_await
 * then gives it.  The reader answers PM_END at END, PM_ERR_TRUNCATED when
 * the sender gave up or vanished.
 */
enum pm_status pm_wire_writev(void *wire, struct iovec *, int count);
enum pm_status pm_wire_readv(void *wire, struct iovec *, int count);

/*
 * pm_stream_push and pm_stream_pull, beside them.  What is in the input at
 * the time goes into one frame, with the head.
 */
enum pm_status pm_wire_push(void *wire, struct iovec *head, int from,
    size_t size, size_t *moved);
enum pm_status pm_wire_pull(void *wire, int to, size_t size, size_t *moved);

/*
 * The sender's last words: all was sent, or why not.  There are none in the
 * middle of a frame; the receiver then sees the connection break.
 */
enum pm_status pm_wire_end(struct pm_wire *);
enum pm_status pm_wire_abort(struct pm_wire *, const char *why);

/*
 * The receiver's answer, and the sender's wait for it.  PM_ERR_PEER when
 * the other end is gone without a word.
 */
enum pm_status pm_wire_answer(struct pm_wire *, uint32_t status,
    const char *text, size_t size);
enum pm_status pm_wire_await(struct pm_wire *, struct pm_wire_result *);

#endif /* PM_WIRE_H */
