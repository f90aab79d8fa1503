/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "check.h"
#include "hash.h"
#include "record.h"

static uint8_t page[PM_PAGE_MAX];

static int
reads(struct pm_digest digest, const char *digits)
{
	char text[PM_DIGEST_TEXT];

	pm_digest_text(digest, text);
	return strcmp(text, digits) == 0;
}

/* The numbers of pm-stream(5), THE DIGEST. */
static void
check_example(void)
{
	uint64_t key = pm_hash_key("memory", 6);
	struct pm_digest one, two, region;

	memset(page, 'A', 4096);
	one = pm_hash_content(page, 4096);
	CHECK(reads(one, "3360baa89cda0ecaa03de37a157c16bd"));
	one = pm_hash_page(one, key, 1);
	CHECK(reads(one, "4c8b6b755b25642d9532389b86e4cb9e"));
	memset(page, 'B', 4096);
	two = pm_hash_page(pm_hash_content(page, 4096), key, 2);
	CHECK(reads(two, "dd312d253e1b7247e3894b5807ab00f5"));
	region = pm_hash_region(key, 0, 32768);
	CHECK(key == 0x474a6471f9a98f8d);
	CHECK(reads(region, "df708caa3ded08c697985ceaa4a8ad50"));
	CHECK(reads(pm_digest_add(pm_digest_add(one, two), region),
	    "092d2544d72ddf3c1053e0de333879e3"));
}

/* A byte anywhere in a page of any size is seen. */
static int
zeroes_are_zeroes(void)
{
	for (unsigned shift = PM_PAGE_SHIFT_MIN; shift <= PM_PAGE_SHIFT_MAX;
	    shift++) {
		size_t size = (size_t)1 << shift;

		memset(page, 0, size);
		if (!pm_hash_is_zero(page, size) ||
		    !pm_digest_is_zero(pm_hash_content(page, size)))
			return 0;
		for (size_t at = 0; at < size; at += at < 300 ? 1 : 251) {
			page[at] = 0x80;
			if (pm_hash_is_zero(page, size) ||
			    pm_digest_is_zero(pm_hash_content(page, size)))
				return 0;
			page[at] = 0;
		}
	}
	return 1;
}

/* However the bytes are divided, the check is that of all of them. */
static int
check_joins(void)
{
	uint32_t whole;

	for (size_t i = 0; i < 600; i++)
		page[i] = (uint8_t)(i * 7);
	whole = pm_hash_check(page, 600, NULL, 0, NULL, 0);
	for (size_t a = 0; a <= 600; a += 50)
		for (size_t b = a; b <= 600; b += 25)
			if (pm_hash_check(page, a, page + a, b - a, page + b,
			    600 - b) != whole)
				return 0;
	return 1;
}

/* However they come, and with a sum taken each time. */
static int
pieces_join(void)
{
	uint8_t *bytes = page;
	struct pm_hash *hash = NULL;
	int good = 1;

	for (size_t i = 0; i < sizeof(page); i++)
		bytes[i] = (uint8_t)(i * i >> 7);
	for (size_t piece = 1; piece < 3000 && good; piece += piece < 300 ? 1
	    : 97) {
		size_t at = 0, next;

		if ((hash = pm_hash_begin()) == NULL)
			return 0;
		good &= pm_digest_equal(pm_hash_sum(hash),
		    pm_hash_bytes(NULL, 0));
		for (; at < 5000 && good; at = next) {
			next = at + piece;
			pm_hash_add(hash, bytes + at, piece);
			pm_hash_add(hash, NULL, 0);
			good = pm_digest_equal(pm_hash_sum(hash),
			    pm_hash_bytes(bytes, next));
		}
		pm_hash_end(hash);
	}
	return good;
}

int
main(void)
{
	static const struct pm_digest most = { UINT64_MAX, UINT64_MAX };
	static const struct pm_digest one = { 1, 0 }, carried = { 0, 1 };
	static const struct pm_digest low = { UINT64_MAX, 0 };
	uint8_t bytes[PM_DIGEST_SIZE];

	check_example();
	CHECK(pm_digest_is_zero(pm_digest_add(most, one)));
	CHECK(pm_digest_equal(pm_digest_add(low, one), carried));
	CHECK(pm_digest_equal(pm_digest_subtract(carried, one), low));
	CHECK(!pm_digest_equal(one, carried));
	CHECK(!pm_digest_is_zero(carried));
	pm_digest_pack((struct pm_digest){ 0x0102030405060708, 9 }, bytes);
	CHECK(bytes[0] == 8 && bytes[7] == 1 && bytes[8] == 9);
	CHECK(pm_digest_unpack(bytes).low == 0x0102030405060708 &&
	    pm_digest_unpack(bytes).high == 9);
	CHECK(reads(pm_digest_unpack(bytes),
	    "00000000000000090102030405060708"));
	CHECK(pm_digest_is_zero(pm_hash_page((struct pm_digest){ 0, 0 }, 1,
	    2)));
	CHECK(zeroes_are_zeroes());
	CHECK(check_joins());
	CHECK(pieces_join());
	pm_hash_end(NULL);
	return check_done();
}
