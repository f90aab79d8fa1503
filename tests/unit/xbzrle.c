/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "record.h"
#include "xbzrle.h"

/* A byte behind what may be written shows whether it was. */
static uint8_t old[PM_PAGE_MAX], new[PM_PAGE_MAX], page[PM_PAGE_MAX + 1];
static uint8_t runs[2 * PM_PAGE_MAX], expected[3 * PM_PAGE_MAX];

static size_t
append_length(uint8_t *out, size_t value)
{
	size_t used = 0;

	do {
		out[used++] = (uint8_t)(value > 127 ? value | 128 : value);
	} while ((value >>= 7) != 0);
	return used;
}

/* The format as QEMU's document has it, byte by byte. */
static size_t
encode_plainly(size_t size, uint8_t *out)
{
	size_t used = 0, same = 0, differ = 0;

	for (size_t at = 0; at < size; at += differ) {
		for (same = 0; at < size && old[at] == new[at]; at++)
			same++;
		for (differ = 0; at + differ < size &&
		    old[at + differ] != new[at + differ]; differ++)
			;
		if (differ == 0)
			break;
		used += append_length(out + used, same);
		used += append_length(out + used, differ);
		memcpy(out + used, new + at, differ);
		used += differ;
	}
	return used;
}

/* True when the delta of old and new is right, with any room for it. */
static int
round_trips(size_t size)
{
	size_t want = encode_plainly(size, expected);
	size_t short_of = want == 0 ? 0 : want - 1;

	runs[want] = 0xa5;
	if (pm_xbzrle_encode(old, new, size, runs, want) != want ||
	    memcmp(runs, expected, want) != 0 || runs[want] != 0xa5)
		return 0;
	runs[short_of] = 0xa5;
	if (want > 0 && (pm_xbzrle_encode(old, new, size, runs, short_of) !=
	    want || runs[short_of] != 0xa5))
		return 0;
	memcpy(page, old, size);
	page[size] = 0xa5;
	return pm_xbzrle_decode(page, size, expected, want, NULL) == PM_OK &&
	    memcmp(page, new, size) == 0 && page[size] == 0xa5;
}

/* Few changes or many, single bytes and runs, at all alignments. */
static int
random_pages_round_trip(unsigned seed, int rounds)
{
	srand(seed);
	while (rounds-- > 0) {
		size_t size = (size_t)4096 << rand() % 5;
		int writes = 1 << rand() % 11;

		memcpy(new, old, size);
		while (writes-- > 0) {
			size_t at = (size_t)rand() % size;
			size_t run = rand() % 4 == 0
			    ? (size_t)rand() % 100 : 1;

			for (; run > 0 && at < size; run--)
				new[at++] = (uint8_t)(rand() % 3);
		}
		if (!round_trips(size))
			return 0;
		memcpy(old, new, size);
	}
	return 1;
}

/* Every place of a zrun and an nzrun that begin and end within 40 bytes. */
static int
short_runs_round_trip(void)
{
	memset(old, 0, 4096);
	for (size_t from = 0; from < 40; from++)
		for (size_t to = from + 1; to <= 40; to++)
			for (size_t gap = from; gap < to; gap++) {
				memset(new, 0, 4096);
				memset(new + from, 0x80, to - from);
				new[gap] = 0;
				if (!round_trips(4096))
					return 0;
			}
	return 1;
}

/* The example of QEMU's docs/xbzrle.txt, so that we stay its dialect. */
static int
matches_qemu_example(void)
{
	static const uint8_t before[] = { 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	    15, 16, 17, 18, 19, 0x68, 0, 0, 0x6b, 0, 0x6d };
	static const uint8_t after[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
	    11, 12, 13, 14, 15, 0x68, 0, 0, 0x67, 0, 0x69 };
	static const uint8_t want[] = { 0xe9, 0x07, 0x0f, 1, 2, 3, 4, 5, 6, 7,
	    8, 9, 10, 11, 12, 13, 14, 15, 0x03, 0x01, 0x67, 0x01, 0x01,
	    0x69 };
	size_t size;

	memset(old, 0, 4096);
	memset(new, 0, 4096);
	memcpy(old + 1001, before, sizeof(before));
	memcpy(new + 1001, after, sizeof(after));
	size = pm_xbzrle_encode(old, new, 4096, runs, 4096);
	return size == sizeof(want) && memcmp(runs, want, size) == 0;
}

static int
decodes(const char *in, size_t size, size_t page_size)
{
	return pm_xbzrle_decode(page, page_size, (const uint8_t *)in, size,
	    NULL) == PM_OK;
}

/*
 * Noise, and deltas with one byte made noise, must not reach behind the
 * page, nor be read behind their end, which a copy of that size shows to
 * a sanitizer.
 */
static int
noise_stays_within(unsigned seed, int rounds)
{
	size_t size = encode_plainly(4096, expected);

	srand(seed);
	while (rounds-- > 0) {
		size_t used = rounds % 2 == 0 ? (size_t)rand() % 64 : size;
		uint8_t *noise = malloc(used + 1);

		if (noise == NULL)
			return 0;
		memcpy(noise, expected, used);
		for (size_t i = 0; i < used && used != size; i++)
			noise[i] = (uint8_t)(rand() % 40 * 7);
		noise[(size_t)rand() % (used + 1)] = (uint8_t)rand();
		page[4096] = 0xa5;
		(void)pm_xbzrle_decode(page, 4096, noise, used, NULL);
		free(noise);
		if (page[4096] != 0xa5)
			return 0;
	}
	return 1;
}

static void
check_decoder(void)
{
	struct pm_fault fault = { .text = "" };

	CHECK(decodes("", 0, 4096));
	CHECK(decodes("\x00\x01" "a", 3, 4096));
	CHECK(decodes("\x80\x00\x81\x00" "a", 5, 4096));
	CHECK(!decodes("\x80\x80\x80\x00\x01" "a", 6, 4096));
	CHECK(!decodes("\x80\x80\x80\x80\x80", 5, 4096));
	CHECK(decodes("\xff\x1f\x01" "a", 4, 4096));
	CHECK(!decodes("\xff\x1f\x02" "ab", 5, 4096));
	CHECK(decodes("\xff\xff\x03\x01" "a", 5, PM_PAGE_MAX));
	CHECK(!decodes("\xff\xff\x03\x02" "ab", 6, PM_PAGE_MAX));
	CHECK(!decodes("\x80\x20\x01" "a", 4, 4096));
	CHECK(!decodes("\x81\x20\x01" "a", 4, 4096));
	CHECK(!decodes("\x00\x00", 2, 4096));
	CHECK(!decodes("\x05\x00", 2, 4096));
	CHECK(!decodes("\x05", 1, 4096));
	CHECK(!decodes("\x05\x80", 2, 4096));
	CHECK(!decodes("\x05\x02" "a", 3, 4096));
	CHECK(!decodes("\x00\x01" "a" "\x00\x01" "b", 6, 4096));
	CHECK(decodes("\x00\x01" "a" "\x01\x01" "b", 6, 4096));
	CHECK(pm_xbzrle_decode(page, 4096, (const uint8_t *)"\x05\x02" "a", 3,
	    &fault) == PM_ERR_CORRUPT && strcmp(fault.text,
	    "delta is cut short") == 0);
}

int
main(void)
{
	CHECK(pm_xbzrle_encode(old, old, 4096, runs, 0) == 0);
	new[4095] = 1;
	CHECK(pm_xbzrle_encode(old, new, 4096, runs, 4) == 4);
	CHECK(memcmp(runs, "\xff\x1f\x01\x01", 4) == 0);
	CHECK(pm_xbzrle_encode(old, new, 4096, runs, 3) == 4);
	memset(new, 1, sizeof(new));
	CHECK(round_trips(4096) && round_trips(PM_PAGE_MAX));
	CHECK(matches_qemu_example());
	CHECK(short_runs_round_trip());
	CHECK(random_pages_round_trip(1, 5000));
	check_decoder();
	CHECK(noise_stays_within(2, 200000));
	return check_done();
}
