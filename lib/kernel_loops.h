/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel_loops.h - the text that every set of kernels is compiled from.
 *
 * Included once by each kernel_*.c, behind its primitives, which work on
 * PM_KERNEL_STEP bytes from the pointers on:
 *
 *	static inline int any_bit(const uint8_t *p)
 *		whether a bit of them is set
 *	static inline int any_difference(const uint8_t *a, const uint8_t *b)
 *	static inline void find_differences(const uint8_t *a,
 *	    const uint8_t *b, uint64_t mask[4])
 *		one bit for each byte, the first one lowest, set where they
 *		differ
 *	static inline void leave_wide(void)
 *		ends the use of wide registers: their upper halves, left in
 *		use, slow down whatever runs on narrow ones later, several
 *		times over; compilers see to that, but not all of them always
 *	XXH_VECTOR
 *		which of its loops xxHash is to use
 */
#ifndef PM_KERNEL_LOOPS_H
#define PM_KERNEL_LOOPS_H

#include <string.h>

/* Ahead by a page: pages follow each other, and memory is far away. */
#define XXH_PREFETCH_DIST	4096
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "kernel.h"

#define PAGE_MAX	65536u
#define BLOCK		4096u		/* of a page, whose edges are held */
#define STEPS		(BLOCK / PM_KERNEL_STEP)

/* Where two pages differ; one bit for each byte, the first one lowest. */
struct differences {
	uint64_t mask[PAGE_MAX / 64];		/* of the steps that count: */
	uint32_t steps[PAGE_MAX / BLOCK];	/* those that hold a bit, and
						   those that end a run */
};

static int
is_zero(const void *page, size_t size)
{
	const uint8_t *p = page;
	size_t at = 0;

	while (at < size && !any_bit(p + at))
		at += PM_KERNEL_STEP;
	leave_wide();
	return at >= size;
}

static void
hash(const void *bytes, size_t size, uint64_t out[2])
{
	XXH128_hash_t got = XXH3_128bits(bytes, size);

	leave_wide();
	out[0] = got.low64;
	out[1] = got.high64;
}

static uint8_t *
put_length(uint8_t *out, size_t value)
{
	for (; value >= 0x80; value >>= 7)
		*out++ = (uint8_t)(value | 0x80);
	*out++ = (uint8_t)value;
	return out;
}

static size_t
length_size(size_t value)
{
	return value < 1u << 7 ? 1 : value < 1u << 14 ? 2 : 3;
}

/*
 * Find them, from the step at on.  A delta takes two bytes for each run, or
 * more where a length is above 127, and those that differ: 0 as soon as
 * that is known to be more than room.
 */
static int
compare(const uint8_t *old, const uint8_t *new, size_t at, size_t size,
    size_t room, struct differences *found)
{
	uint64_t carry = 0;
	size_t bytes = 0, runs = 0;

	memset(found->steps, 0, sizeof(found->steps));
	for (; at < size; at += PM_KERNEL_STEP) {
		uint64_t *mask = found->mask + at / 64;

		if (carry == 0 && !any_difference(old + at, new + at))
			continue;
		found->steps[at / BLOCK] |= 1u << at / PM_KERNEL_STEP % STEPS;
		find_differences(old + at, new + at, mask);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t starts = mask[i] & ~(mask[i] << 1 | carry);

			carry = mask[i] >> 63;
			bytes += (size_t)__builtin_popcountll(mask[i]);
			runs += (size_t)__builtin_popcountll(starts);
		}
	}
	return bytes + 2 * runs <= room;
}

/* The first of the bits, counted from base on; returns the others. */
static inline uint64_t
take_edge(uint64_t bits, size_t base, uint32_t *edge)
{
	*edge = (uint32_t)(base + (size_t)__builtin_ctzll(bits |
	    UINT64_C(1) << 63));
	return bits & (bits - 1);
}

/*
 * Where runs of differing bytes begin and end within a block, in turn,
 * counted from the start of the page; *carry says whether one goes on from
 * the block before and, in the end, into the next.  Returns how many.
 */
static size_t
find_edges(const struct differences *found, size_t from, uint64_t *carry,
    uint32_t *edge)
{
	uint32_t *next = edge;

	for (uint32_t steps = found->steps[from / BLOCK]; steps != 0;
	    steps &= steps - 1) {
		size_t at = from + (size_t)__builtin_ctz(steps) *
		    PM_KERNEL_STEP;
		const uint64_t *mask = found->mask + at / 64;

		for (unsigned i = 0; i < 4; i++, at += 64) {
			uint64_t bits = mask[i] ^ (mask[i] << 1 | *carry);
			uint32_t *here = next;

			*carry = mask[i] >> 63;
			next += __builtin_popcountll(bits);
			/*
			 * Ahead of the count, of which there is often none:
			 * that costs less than a branch that is not foreseen.
			 */
			do {
				bits = take_edge(bits, at, &here[0]);
				bits = take_edge(bits, at, &here[1]);
				bits = take_edge(bits, at, &here[2]);
				bits = take_edge(bits, at, &here[3]);
				bits = take_edge(bits, at, &here[4]);
				bits = take_edge(bits, at, &here[5]);
				bits = take_edge(bits, at, &here[6]);
				bits = take_edge(bits, at, &here[7]);
				here += 8;
			} while (bits != 0);
		}
	}
	return (size_t)(next - edge);
}

struct sink {
	const uint8_t *new;
	size_t size;		/* of the page */
	size_t at;		/* of the page; what comes next */
	uint8_t *out, *end;
};

/* One zrun and one nzrun; 0 when there is no room for them. */
static int
put_run(struct sink *sink, size_t start, size_t stop)
{
	size_t same = start - sink->at, differ = stop - start;

	if (length_size(same) + length_size(differ) + differ >
	    (size_t)(sink->end - sink->out))
		return 0;
	sink->out = put_length(sink->out, same);
	sink->out = put_length(sink->out, differ);
	memcpy(sink->out, sink->new + start, differ);
	sink->out += differ;
	sink->at = stop;
	return 1;
}

/* A length below 2^14, without a branch; two bytes are written in any case. */
static inline uint8_t *
put_short_length(uint8_t *out, size_t value)
{
	size_t is_long = value >= 0x80;

	out[0] = (uint8_t)(value | is_long << 7);
	out[1] = (uint8_t)(value >> 7);
	return out + 1 + is_long;
}

/*
 * As many runs as are short, which nearly all of them are: each is copied as
 * 32 bytes, whatever follows it.  Returns the edges taken.
 */
static inline size_t
put_short_runs(struct sink *sink, const uint32_t *edge, size_t edges)
{
	const uint8_t *new = sink->new;
	uint8_t *out = sink->out;
	size_t at = sink->at, taken = 0;

	while (taken + 1 < edges) {
		size_t start = edge[taken], stop = edge[taken + 1];

		if (start - at >= 1u << 14 || stop - start > 32 ||
		    sink->size - start < 32 || sink->end - out < 36)
			break;
		out = put_short_length(out, start - at);
		*out++ = (uint8_t)(stop - start);
		memcpy(out, new + start, 32);
		out += stop - start;
		at = stop;
		taken += 2;
	}
	sink->out = out;
	sink->at = at;
	return taken;
}

static size_t
put_runs(const struct differences *found, const uint8_t *new, size_t size,
    uint8_t *out, size_t room)
{
	struct sink sink = { new, size, 0, out, out + room };
	uint32_t edge[BLOCK + 16];	/* and what is written ahead */
	size_t edges = 0, at;
	uint64_t carry = 0;

	for (size_t from = 0; from < size; from += BLOCK) {
		edges += find_edges(found, from, &carry, edge + edges);
		at = put_short_runs(&sink, edge, edges);
		while (at + 1 < edges) {
			if (!put_run(&sink, edge[at], edge[at + 1]))
				return room + 1;
			at += 2;
			at += put_short_runs(&sink, edge + at, edges - at);
		}
		/* A run that goes on has its beginning here. */
		edge[0] = edge[at];
		edges -= at;
	}
	if (edges != 0 && !put_run(&sink, edge[0], size))
		return room + 1;
	return (size_t)(sink.out - out);
}

/* From the first step on that holds a difference. */
static size_t
encode_rest(const uint8_t *old, const uint8_t *new, size_t at, size_t size,
    uint8_t *out, size_t room)
{
	struct differences found;
	size_t used = room + 1;

	if (compare(old, new, at, size, room, &found))
		used = put_runs(&found, new, size, out, room);
	leave_wide();
	return used;
}

static size_t
encode(const uint8_t *old, const uint8_t *new, size_t size, uint8_t *out,
    size_t room)
{
	size_t at = 0;

	while (at < size && !any_difference(old + at, new + at))
		at += PM_KERNEL_STEP;
	if (at < size)
		return encode_rest(old, new, at, size, out, room);
	leave_wide();
	return 0;
}

#define PM_KERNEL_SET(called)	{ called, is_zero, hash, encode }

#endif /* PM_KERNEL_LOOPS_H */
