/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - what pm-send and pm-recv say to each other, as bytes.
 *
 * A session carries one input, from one sender to one receiver, over one
 * connection or several, each of which may break and be made again.  On
 * each the sender says hello and the receiver replies; then both send
 * frames.  A byte of the input has an offset, and a frame may come twice, on
 * whatever connection: so the receiver can put all in order.
 *
 *	hello	80 bytes: signature, u16 highest version, u16 lowest, u32 0,
 *		16 bytes that name the session, u32 number of this
 *		connection, u32 connections, u32 frames that may be under
 *		way, u32 ms a break may last, u32 ms of silence, u32 0, u64
 *		first byte that can be sent again, 16 bytes of zero
 *	reply	80 bytes: signature, u16 highest version, u16 lowest, u32
 *		code, 16 bytes that name the receiver, u32 flags, u32 0, u32
 *		frames, u32 ms, u32 ms of silence, u32 0, u64 first byte that
 *		is wanted, 16 bytes: XXH3-128 of all before it, if the flags
 *		say so
 *	frame	u8 type, 3 bytes of zero, u32 size, u64 offset, size bytes
 *
 * All numbers are little-endian.  Before a hello there is nothing, or, where
 * both ends were given keys, a handshake of TLS.
 *
 * The sender's frames are DATA, END at the offset where the input ended, or
 * ABORT with a text when it has to give up, and BYE once it has heard the
 * RESULT: an exit status and text.  The receiver's are ACK, at the offset up
 * to which it needs nothing any more, and RESULT.  Both send PING when they
 * have nothing to say, so that silence means loss.
 */
#ifndef PM_WIRE_H
#define PM_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "hash.h"

#define PM_WIRE_SIGNATURE	"\x89PMW\r\n\x1a\n"
#define PM_WIRE_VERSION		2u
#define PM_WIRE_HELLO_SIZE	80u	/* and of a reply */
#define PM_WIRE_HEAD_SIZE	16u	/* of a frame, before its bytes */
#define PM_WIRE_NAME_SIZE	16u
#define PM_WIRE_DATA_MAX	(320u << 10)	/* bytes of a DATA frame */
#define PM_WIRE_TEXT_MAX	(64u << 10)	/* bytes of a text */
#define PM_WIRE_CONNECTIONS_MAX	64u
#define PM_WIRE_FRAMES_MAX	65536u	/* under way; and at least */
#define PM_WIRE_FRAMES_MIN	16u

enum pm_wire_type {
	PM_WIRE_DATA = 1,
	PM_WIRE_END = 2,
	PM_WIRE_ABORT = 3,
	PM_WIRE_RESULT = 4,		/* u32 exit status, then text */
	PM_WIRE_BYE = 5,
	PM_WIRE_ACK = 6,
	PM_WIRE_PING = 7,
};

enum pm_wire_code {
	PM_WIRE_WELCOME = 0,
	PM_WIRE_BUSY = 1,		/* with another session */
	PM_WIRE_UNSPOKEN = 2,		/* the version */
	PM_WIRE_TOO_LATE = 3,		/* it wants what cannot be sent again */
};

#define PM_WIRE_RESUMES	1u	/* flag: it may be started again, and go on */

struct pm_wire_hello {
	uint8_t session[PM_WIRE_NAME_SIZE];
	uint32_t connection, connections;
	uint32_t frames;
	uint32_t break_ms, silence_ms;
	uint64_t from;
};

struct pm_wire_reply {
	uint32_t code, flags;
	uint8_t receiver[PM_WIRE_NAME_SIZE];
	uint32_t frames;
	uint32_t break_ms, silence_ms;
	uint64_t offset;
	struct pm_digest hash;
};

struct pm_wire_head {
	uint32_t type, size;
	uint64_t offset;
};

/* Microseconds as milliseconds, and the lesser of the two. */
uint32_t pm_wire_ms(uint64_t us);
uint64_t pm_wire_lesser(uint64_t us, uint32_t ms);

/* What begins with these bytes?  size is at most 8. */
enum pm_wire_kind {
	PM_WIRE_IS_HELLO,
	PM_WIRE_IS_STREAM,		/* bare, as nc or --raw sends it */
	PM_WIRE_IS_TLS,			/* an alert, or the first message */
	PM_WIRE_IS_GARBAGE,
} pm_wire_tell(const uint8_t *bytes, size_t size);

void pm_wire_pack_hello(const struct pm_wire_hello *,
    uint8_t out[PM_WIRE_HELLO_SIZE]);
void pm_wire_pack_reply(const struct pm_wire_reply *,
    uint8_t out[PM_WIRE_HELLO_SIZE]);
void pm_wire_pack_head(const struct pm_wire_head *,
    uint8_t out[PM_WIRE_HEAD_SIZE]);

/*
 * The same back.  PM_ERR_PEER when the version is not spoken here, and
 * PM_ERR_CORRUPT when it makes no sense; peer is named in the fault.  Of a
 * frame, that type and size fit each other and the side that said it.
 */
enum pm_status pm_wire_unpack_hello(struct pm_wire_hello *,
    const uint8_t in[PM_WIRE_HELLO_SIZE], const char *peer,
    struct pm_fault *);
enum pm_status pm_wire_unpack_reply(struct pm_wire_reply *,
    const uint8_t in[PM_WIRE_HELLO_SIZE], const char *peer,
    struct pm_fault *);
enum pm_status pm_wire_unpack_head(struct pm_wire_head *,
    const uint8_t in[PM_WIRE_HEAD_SIZE], int from_sender, const char *peer,
    struct pm_fault *);

#endif /* PM_WIRE_H */
