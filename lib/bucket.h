/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket.h - a token bucket: bytes go out at a rate, and evenly.
 *
 * Tokens are bytes that may be sent.  They come in all the time, exactly at
 * the rate however often anyone looks, and the bucket holds what comes in
 * 10 ms, or 4 KiB where that is more.  So in any time t no more than t * rate
 * and one bucket full is let through.  Who has to send more at once than
 * there is, a record say, may: that is debt, and is paid before more is let
 * through.
 *
 * It knows no clock: now is in microseconds, of one that does not go back.
 * Where it does, no time has passed.
 */
#ifndef PM_BUCKET_H
#define PM_BUCKET_H

#include <stddef.h>
#include <stdint.h>

#define PM_BUCKET_TICK_US	10000u		/* what it holds comes in so */
#define PM_BUCKET_LEAST		4096u		/* bytes that it always holds */
#define PM_BUCKET_NAP_US	1000u		/* no wait is shorter */
#define PM_BUCKET_RATE_MAX	(UINT64_C(1) << 40)

struct pm_bucket {
	uint64_t rate;		/* bytes a second; 0: there is no limit */
	int64_t tokens;		/* bytes; below 0: debt */
	uint64_t part;		/* of a token, in millionths */
	uint64_t then;		/* when they were counted, microseconds */
};

/*
 * Begin, with a struct of zeroes, or change the rate: tokens and debt stay,
 * as far as the bucket holds them.  It begins empty.  A rate above
 * PM_BUCKET_RATE_MAX is taken for that, and 0 is no limit, which forgets
 * any debt.
 */
void pm_bucket_set(struct pm_bucket *, uint64_t rate, uint64_t now);

/* Bytes that may be sent now; SIZE_MAX without a limit. */
size_t pm_bucket_allows(struct pm_bucket *, uint64_t now);

/* So many bytes were sent, whether they were allowed or not. */
void pm_bucket_take(struct pm_bucket *, uint64_t bytes);

/*
 * Microseconds until so many bytes may be sent, or half of what the bucket
 * holds if that is less: who wakes up a little late then loses nothing.  0
 * when they may be sent now, and else never so little that to wait for it
 * would be to wait busily.  UINT64_MAX is for a time that has no number.
 */
uint64_t pm_bucket_wait_us(struct pm_bucket *, uint64_t now, size_t want);

#endif /* PM_BUCKET_H */
