/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bucket.h"

#define SECOND		1000000u	/* microseconds; parts of a token */
#define DEBT_MAX	(INT64_C(1) << 62)

static int64_t
room_of(const struct pm_bucket *bucket)
{
	uint64_t room = bucket->rate / (SECOND / PM_BUCKET_TICK_US);

	return (int64_t)(room > PM_BUCKET_LEAST ? room : PM_BUCKET_LEAST);
}

static void
fill(struct pm_bucket *bucket, int64_t room)
{
	bucket->tokens = room;
	bucket->part = 0;
}

/*
 * What came in since then.  A rate is below 2^40 and a second below 2^20
 * microseconds, so what comes in within one has a number.
 */
static void
refill(struct pm_bucket *bucket, uint64_t now)
{
	int64_t room = room_of(bucket);
	uint64_t passed, missing, came;

	if (now <= bucket->then)
		return;
	passed = now - bucket->then;
	bucket->then = now;
	if (bucket->rate == 0)
		return;
	missing = (uint64_t)(room - bucket->tokens);
	if (passed / SECOND > missing / bucket->rate) {
		fill(bucket, room);
		return;
	}
	came = passed % SECOND * bucket->rate + bucket->part;
	bucket->part = came % SECOND;
	came = came / SECOND + passed / SECOND * bucket->rate;
	if (came >= missing)
		fill(bucket, room);
	else
		bucket->tokens += (int64_t)came;
}

void
pm_bucket_set(struct pm_bucket *bucket, uint64_t rate, uint64_t now)
{
	int64_t room;

	refill(bucket, now);
	bucket->rate = rate < PM_BUCKET_RATE_MAX ? rate : PM_BUCKET_RATE_MAX;
	room = room_of(bucket);
	if (bucket->tokens >= room)
		fill(bucket, room);
	if (rate == 0)
		fill(bucket, 0);
}

size_t
pm_bucket_allows(struct pm_bucket *bucket, uint64_t now)
{
	if (bucket->rate == 0)
		return SIZE_MAX;
	refill(bucket, now);
	if (bucket->tokens <= 0)
		return 0;
	return (uint64_t)bucket->tokens < SIZE_MAX ? (size_t)bucket->tokens
	    : SIZE_MAX;
}

void
pm_bucket_take(struct pm_bucket *bucket, uint64_t bytes)
{
	if (bucket->rate == 0)
		return;
	if (bytes > (uint64_t)(bucket->tokens + DEBT_MAX))
		bucket->tokens = -DEBT_MAX;
	else
		bucket->tokens -= (int64_t)bytes;
}

uint64_t
pm_bucket_wait_us(struct pm_bucket *bucket, uint64_t now, size_t want)
{
	int64_t enough = room_of(bucket) / 2;
	uint64_t missing, part, us;

	if (want < (uint64_t)enough)
		enough = (int64_t)want;
	if (bucket->rate == 0)
		return 0;
	refill(bucket, now);
	if (bucket->tokens >= enough)
		return 0;
	/* All but the last of them, and what that one lacks. */
	missing = (uint64_t)(enough - bucket->tokens) - 1;
	part = missing % bucket->rate * SECOND + SECOND - bucket->part;
	us = (part + bucket->rate - 1) / bucket->rate;
	if (missing / bucket->rate > (UINT64_MAX - us) / SECOND)
		return UINT64_MAX;
	us += missing / bucket->rate * SECOND;
	return us > PM_BUCKET_NAP_US ? us : PM_BUCKET_NAP_US;
}
