/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * token.h - what of a stream has arrived, in a line of text.
 *
 * A stream that was cut is worth something up to the end of its last whole
 * record.  A token says how many bytes and records of a chain of streams that
 * is, and what their hash is, so that who has the whole chain can tell that
 * it begins with the same bytes, and send the rest.
 *
 * Behind an END record a token may stand too, and another stream follow.  The
 * signature of a stream belongs to its first record.
 */
#ifndef PM_TOKEN_H
#define PM_TOKEN_H

#include <stdint.h>

#include "fault.h"
#include "hash.h"

#define PM_TOKEN_TEXT	75u	/* two numbers, a hash, two colons, a NUL */

struct pm_token {
	uint64_t offset;	/* bytes from the start of the chain */
	uint64_t records;	/* whole ones, of all streams that it has */
	struct pm_digest hash;	/* pm_hash_bytes of all before offset */
};

/*
 * Read what fd gives from where it stands to its end, as a pipe does, and
 * give the token of the longest part of it that is sound and ends where a
 * record does.  Pages are held against the digests of their records where
 * that needs no target, so deltas may be damaged and not be found; then the
 * hash is that of the damaged bytes.
 *
 * PM_OK when the input is whole or was cut, anywhere.  When it goes on, but
 * not as a stream, PM_ERR_CORRUPT or PM_ERR_VERSION, and the token is that of
 * what stands before.  PM_ERR_READ or PM_ERR_SYSTEM, and a token of nothing.
 */
enum pm_status pm_token_find(int fd, struct pm_token *, struct pm_fault *);

/* "OFFSET:RECORDS:HASH": two decimal numbers, and pm_digest_text. */
void pm_token_text(const struct pm_token *, char out[PM_TOKEN_TEXT]);

/*
 * Read what pm_token_text wrote, and nothing that it would not write.  0 when
 * text is anything else, or no stream has so many records in those bytes.
 */
int pm_token_parse(const char *text, struct pm_token *);

#endif /* PM_TOKEN_H */
