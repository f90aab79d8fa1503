/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "xbzrle.h"

#define LENGTH_SIZE_MAX	3	/* bytes of any length within a page */

/* Eight bytes of old and new, exclusive or, the first one lowest. */
static uint64_t
difference(const uint8_t *old, const uint8_t *new)
{
	uint64_t a, b;

	memcpy(&a, old, sizeof(a));
	memcpy(&b, new, sizeof(b));
	a ^= b;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	a = __builtin_bswap64(a);
#endif
	return a;
}

static size_t
first_byte(uint64_t word)
{
	return (size_t)__builtin_ctzll(word) / 8;
}

/* The first byte from at on that is not the same, or size. */
static size_t
skip_same(const uint8_t *old, const uint8_t *new, size_t at, size_t size)
{
	uint64_t word;

	/* Most of a page is the same: four words at a time. */
	for (; size - at >= 32; at += 32) {
		word = difference(old + at, new + at) |
		    difference(old + at + 8, new + at + 8) |
		    difference(old + at + 16, new + at + 16) |
		    difference(old + at + 24, new + at + 24);
		if (word != 0)
			break;
	}
	for (; size - at >= 8; at += 8)
		if ((word = difference(old + at, new + at)) != 0)
			return at + first_byte(word);
	while (at < size && old[at] == new[at])
		at++;
	return at;
}

/* The first byte from at on that is the same, or size. */
static size_t
skip_different(const uint8_t *old, const uint8_t *new, size_t at, size_t size)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	for (; size - at >= 8; at += 8) {
		/*
		 * The high bit of each byte that is zero, and perhaps of
		 * bytes above one: the lowest is always right.
		 */
		word = difference(old + at, new + at);
		word = (word - ones) & ~word & (ones << 7);
		if (word != 0)
			return at + first_byte(word);
	}
	while (at < size && old[at] != new[at])
		at++;
	return at;
}

static size_t
length_size(size_t value)
{
	return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : 3;
}

static uint8_t *
put_length(uint8_t *out, size_t value)
{
	for (; value >= 0x80; value >>= 7)
		*out++ = (uint8_t)(value | 0x80);
	*out++ = (uint8_t)value;
	return out;
}

size_t
pm_xbzrle_encode(const uint8_t *old, const uint8_t *new, size_t size,
    uint8_t *out, size_t room)
{
	size_t at = 0, used = 0;

	for (;;) {
		size_t start = skip_same(old, new, at, size);
		size_t same = start - at, differ;

		if (start == size)
			return used;
		at = skip_different(old, new, start, size);
		differ = at - start;
		used += length_size(same) + length_size(differ) + differ;
		if (used > room)
			return room + 1;
		out = put_length(out, same);
		out = put_length(out, differ);
		memcpy(out, new + start, differ);
		out += differ;
	}
}

/* Take a length off the front of in; 0 when none stands there. */
static int
get_length(const uint8_t **in, const uint8_t *end, size_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < LENGTH_SIZE_MAX && *in < end; i++) {
		uint8_t byte = *(*in)++;

		*value |= (size_t)(byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0)
			return 1;
	}
	return 0;
}

static enum pm_status
corrupt(struct pm_fault *fault, const char *what)
{
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL, "%s", what);
}

enum pm_status
pm_xbzrle_decode(uint8_t *page, size_t size, const uint8_t *in,
    size_t in_size, struct pm_fault *fault)
{
	const uint8_t *end = in + in_size;
	size_t at = 0, same, differ;
	int first = 1;

	while (in < end) {
		if (!get_length(&in, end, &same) ||
		    !get_length(&in, end, &differ))
			return corrupt(fault, "delta has no length "
			    "where one must stand");
		if (differ == 0 || (same == 0 && !first))
			return corrupt(fault, "delta has an empty run");
		if (same > size - at || differ > size - at - same)
			return corrupt(fault, "delta goes beyond its page");
		if (differ > (size_t)(end - in))
			return corrupt(fault, "delta is cut short");
		at += same;
		memcpy(page + at, in, differ);
		at += differ;
		in += differ;
		first = 0;
	}
	return PM_OK;
}
