/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bucket.h"
#include "check.h"

#define SECOND	UINT64_C(1000000)
#define HOUR	(3600 * SECOND)
#define DAY	(24 * HOUR)
#define KEPT	4096u		/* a power of two */

static uint64_t state = 88172645463325252u;

static uint64_t
chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static uint64_t
holds(uint64_t rate)
{
	return rate / 100 > 4096 ? rate / 100 : 4096;
}

/* What a greedy sender gets in hours, to the byte. */
static int
is_exact(uint64_t rate, uint64_t most_us)
{
	struct pm_bucket bucket = { 0 };
	uint64_t begin = 123456789, now = begin, sent = 0;

	pm_bucket_set(&bucket, rate, now);
	while (now < begin + 2 * HOUR) {
		size_t bytes;

		now += 1 + chance(most_us);
		bytes = pm_bucket_allows(&bucket, now);
		pm_bucket_take(&bucket, bytes);
		sent += bytes;
	}
	/* Whole seconds first, for what has no number in microseconds. */
	now -= begin;
	return sent == now / SECOND * rate + now % SECOND * rate / SECOND;
}

static void
test_exact(void)
{
	CHECK(is_exact(1, 50000));
	CHECK(is_exact(7, 9000));
	CHECK(is_exact(999983, 4000));
	CHECK(is_exact(1000003, 9000));
	CHECK(is_exact(125000000, 9000));
	CHECK(is_exact((UINT64_C(1) << 40) - 87, 3000));
	CHECK(is_exact(UINT64_C(1) << 40, 3000));
}

/*
 * Sent at any times and in any portions: what went out within 10 ms, each
 * time, is what the bucket holds and what comes in then, at most.
 */
static int
is_smooth(uint64_t rate)
{
	static struct { uint64_t at, bytes; } kept[KEPT];
	struct pm_bucket bucket = { 0 };
	uint64_t now = 5, within = 0;
	unsigned first = 0, next = 0;

	pm_bucket_set(&bucket, rate, now);
	for (unsigned i = 0; i < 1000000; i++) {
		size_t bytes;

		now += chance(100) == 0 ? chance(50000) : 5 + chance(100);
		while (first != next && kept[first % KEPT].at + 10000 <= now)
			within -= kept[first++ % KEPT].bytes;
		bytes = pm_bucket_allows(&bucket, now);
		if (bytes > 0 && chance(4) == 0)
			bytes = (size_t)chance(bytes) + 1;
		pm_bucket_take(&bucket, bytes);
		kept[next % KEPT].at = now;
		kept[next++ % KEPT].bytes = bytes;
		within += bytes;
		if (next - first == KEPT ||
		    within > holds(rate) + rate / 100 + 1)
			return 0;
	}
	return 1;
}

static void
test_smooth(void)
{
	CHECK(is_smooth(100));
	CHECK(is_smooth(1000003));
	CHECK(is_smooth(125000000));
	CHECK(is_smooth(UINT64_C(1) << 40));
}

/* It is full after a while, and never fuller. */
static void
test_full(void)
{
	uint64_t now = SECOND, most = (UINT64_C(1) << 40) / 100;
	struct pm_bucket bucket = { 0 };

	pm_bucket_set(&bucket, 50000000, now);
	CHECK(pm_bucket_allows(&bucket, now) == 0);
	CHECK(pm_bucket_allows(&bucket, now + 10) == 500);
	CHECK(pm_bucket_allows(&bucket, now + 9999) == 499950);
	CHECK(pm_bucket_allows(&bucket, now + 10000) == 500000);
	CHECK(pm_bucket_allows(&bucket, now + 10001) == 500000);
	CHECK(pm_bucket_allows(&bucket, now + 500 * DAY) == 500000);
	/* A clock that goes back gives nothing, and takes nothing. */
	CHECK(pm_bucket_allows(&bucket, now) == 500000);
	now += 500 * DAY;
	pm_bucket_take(&bucket, 500000);
	CHECK(pm_bucket_allows(&bucket, now) == 0);
	CHECK(pm_bucket_allows(&bucket, now - DAY) == 0);
	CHECK(pm_bucket_allows(&bucket, now + 100) == 5000);
	/* Slow ones hold enough to send in portions. */
	pm_bucket_set(&bucket, 10, now);
	CHECK(pm_bucket_allows(&bucket, now + DAY) == 4096);
	pm_bucket_set(&bucket, UINT64_MAX, now + DAY);
	CHECK(bucket.rate == PM_BUCKET_RATE_MAX);
	CHECK(pm_bucket_allows(&bucket, UINT64_MAX) ==
	    (SIZE_MAX < most ? SIZE_MAX : most));
}

static void
test_debt(void)
{
	struct pm_bucket bucket = { 0 };

	pm_bucket_set(&bucket, 1000000, 0);
	pm_bucket_take(&bucket, 1000000);
	CHECK(pm_bucket_allows(&bucket, 0) == 0);
	CHECK(pm_bucket_allows(&bucket, SECOND) == 0);
	CHECK(pm_bucket_allows(&bucket, SECOND + 1) == 1);
	/* Days of it are paid to the microsecond. */
	for (int day = 0; day < 30; day++)
		pm_bucket_take(&bucket, DAY);
	CHECK(pm_bucket_allows(&bucket, SECOND + 30 * DAY) == 0);
	CHECK(pm_bucket_allows(&bucket, SECOND + 30 * DAY + 1) == 1);
	CHECK(pm_bucket_allows(&bucket, 31 * DAY) == 10000);
	/* No debt is too big to have a number, and none wraps. */
	for (int i = 0; i < 40; i++)
		pm_bucket_take(&bucket, UINT64_MAX);
	CHECK(pm_bucket_allows(&bucket, UINT64_MAX / 8) == 0);
	pm_bucket_set(&bucket, 1, UINT64_MAX / 8);
	CHECK(pm_bucket_wait_us(&bucket, UINT64_MAX / 8, 1) == UINT64_MAX);
}

static void
test_change(void)
{
	struct pm_bucket bucket = { 0 };

	pm_bucket_set(&bucket, 1000000, 0);
	pm_bucket_take(&bucket, 100000);
	/* Half of it is paid at the old rate, and half at the new. */
	pm_bucket_set(&bucket, 500000, 50000);
	CHECK(pm_bucket_allows(&bucket, 150000) == 0);
	CHECK(pm_bucket_allows(&bucket, 150002) == 1);
	/* Half a token is not lost. */
	pm_bucket_take(&bucket, 1);
	CHECK(pm_bucket_allows(&bucket, 150003) == 0);
	pm_bucket_set(&bucket, 250000, 150003);
	CHECK(pm_bucket_allows(&bucket, 150004) == 0);
	CHECK(pm_bucket_allows(&bucket, 150005) == 1);
	/* What a slower one does not hold is. */
	pm_bucket_set(&bucket, 100000000, 150005);
	CHECK(pm_bucket_allows(&bucket, SECOND) == 1000000);
	pm_bucket_set(&bucket, 1000000, SECOND);
	CHECK(pm_bucket_allows(&bucket, SECOND) == 10000);
}

static void
test_none(void)
{
	struct pm_bucket bucket = { 0 };

	pm_bucket_set(&bucket, 0, 7);
	CHECK(pm_bucket_allows(&bucket, 7) == SIZE_MAX);
	pm_bucket_take(&bucket, SIZE_MAX);
	CHECK(pm_bucket_allows(&bucket, 7) == SIZE_MAX);
	CHECK(pm_bucket_wait_us(&bucket, 7, SIZE_MAX) == 0);
	pm_bucket_set(&bucket, 1000000, DAY);
	CHECK(pm_bucket_allows(&bucket, DAY) == 0);
	CHECK(pm_bucket_allows(&bucket, DAY + 5) == 5);
	pm_bucket_take(&bucket, 1000000);
	pm_bucket_set(&bucket, 0, DAY + 5);
	CHECK(pm_bucket_allows(&bucket, DAY + 5) == SIZE_MAX);
	pm_bucket_set(&bucket, 1000000, DAY + 6);
	CHECK(pm_bucket_allows(&bucket, DAY + 7) == 1);
}

static void
test_wait(void)
{
	struct pm_bucket bucket = { 0 };

	pm_bucket_set(&bucket, 1000000, 0);
	CHECK(pm_bucket_wait_us(&bucket, 0, 3000) == 3000);
	CHECK(pm_bucket_wait_us(&bucket, 1000, 3000) == 2000);
	CHECK(pm_bucket_wait_us(&bucket, 2999, 3000) == 1000);
	CHECK(pm_bucket_wait_us(&bucket, 3000, 3000) == 0);
	CHECK(pm_bucket_wait_us(&bucket, 3000, 1 << 20) == 2000);
	CHECK(pm_bucket_wait_us(&bucket, 5000, SIZE_MAX) == 0);
	CHECK(pm_bucket_wait_us(&bucket, 5000, 0) == 0);
	pm_bucket_take(&bucket, 5000 + 1000000);
	CHECK(pm_bucket_wait_us(&bucket, 5000, 1) == 1000001);
	/* Parts of a token count, and waiting is never for too little. */
	pm_bucket_set(&bucket, 3, 2 * SECOND);
	pm_bucket_set(&bucket, 0, 2 * SECOND);
	pm_bucket_set(&bucket, 3, 2 * SECOND);
	CHECK(pm_bucket_wait_us(&bucket, 2 * SECOND, 1) == 333334);
	CHECK(pm_bucket_wait_us(&bucket, 2 * SECOND + 1, 1) == 333333);
	CHECK(pm_bucket_wait_us(&bucket, 2 * SECOND + 333333, 2) == 333334);
}

/*
 * Who sends records of 256 KiB, each time one may go, and sleeps as long as
 * is said, or up to 4 ms longer, sends at the rate; and does not wake up more
 * often than it has to.
 */
static int
sends_at(uint64_t rate, size_t record)
{
	struct pm_bucket bucket = { 0 };
	uint64_t now = 0, sent = 0, most = 60 * rate;
	unsigned naps = 0;

	pm_bucket_set(&bucket, rate, now);
	while (now < 60 * SECOND) {
		uint64_t us = pm_bucket_wait_us(&bucket, now, record);

		if (us > 0) {
			naps++;
			now += us + chance(4000);
			if (pm_bucket_wait_us(&bucket, now, record) != 0)
				return 0;
		}
		pm_bucket_take(&bucket, record);
		sent += record;
	}
	return sent >= most - rate / 100 - record &&
	    sent <= most + rate / 100 + 2 * record && naps <= 60000;
}

static void
test_sender(void)
{
	CHECK(sends_at(100000, 4096));
	CHECK(sends_at(1000000, 1 << 18));
	CHECK(sends_at(125000000, 1 << 18));
	CHECK(sends_at(1250000000, 1 << 18));
	CHECK(sends_at(UINT64_C(10) << 30, 1 << 20));
}

int
main(void)
{
	test_exact();
	test_smooth();
	test_full();
	test_debt();
	test_change();
	test_none();
	test_wait();
	test_sender();
	return check_done();
}
