/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernels.c - the inner loops by themselves, beside the machine's own speed.
 * usage: kernels [OLD NEW]	images whose changed pages are encoded too
 *
 * Each row is printed as: name, our GB/s, what it is compared with, its GB/s,
 * ratio, the ratio that is the aim or "-".  Ours and the other run in turn,
 * and medians are taken.  A GB is of the pages worked on, which do not fit
 * any cache.  Every set of loops that the processor can run is shown for
 * XBZRLE and the hash; the first is the one that the programs use.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "hash.h"
#include "kernel.h"
#include "xbzrle.h"

#define PAGE	4096u
#define PAGES	32768u		/* 128 MiB: several times the cache */
#define TURNS	7

static uint8_t *old, *new, *deltas, *copy;
static uint16_t *length;	/* of each page's delta */
static uint32_t pages;		/* in use */
static volatile uint64_t sink;	/* keeps results alive */
static const struct pm_kernel *kernel;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * What the memory gives: bytes read and added up, as fast as the machine
 * can, for which the compiler makes a loop for each kind of processor.
 */
#if PM_KERNEL_X86 && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default"),
    optimize("O3")))
#endif
static uint64_t
add_up(const uint64_t *word, size_t words)
{
	uint64_t sum[32] = { 0 };

	for (size_t at = 0; at < words; at += 32)
		for (unsigned i = 0; i < 32; i++)
			sum[i] |= word[at + i];
	for (unsigned i = 1; i < 32; i++)
		sum[0] |= sum[i];
	return sum[0];
}

static void
read_memory(void)
{
	sink = add_up((const uint64_t *)(const void *)new,
	    (size_t)pages * PAGE / 8);
}

static void
test_zero(void)
{
	uint64_t zeroes = 0;

	for (uint32_t i = 0; i < pages; i++)
		zeroes += (uint64_t)kernel->is_zero(new + (size_t)i * PAGE,
		    PAGE);
	sink = zeroes;
}

static void
hash_pages(void)
{
	uint64_t sum = 0, out[2];

	for (uint32_t i = 0; i < pages; i++) {
		kernel->hash(new + (size_t)i * PAGE, PAGE, out);
		sum += out[0] ^ out[1];
	}
	sink = sum;
}

/* All that a source does with a page that it will send. */
static void
digest_pages(void)
{
	struct pm_digest sum = { 0, 0 };

	for (uint32_t i = 0; i < pages; i++)
		sum = pm_digest_add(sum, pm_hash_page(pm_hash_content(new +
		    (size_t)i * PAGE, PAGE), 1, i));
	sink = sum.low;
}

static void
compare_pages(void)
{
	uint64_t equal = 0;

	for (uint32_t i = 0; i < pages; i++)
		equal += memcmp(old + (size_t)i * PAGE, new + (size_t)i *
		    PAGE, PAGE) == 0;
	sink = equal;
}

/* Deltas are written over and over to a buffer, as a program would. */
static uint8_t *
hot(uint32_t i)
{
	return deltas + (size_t)(i % 64) * PAGE;
}

static void
encode(void)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < pages; i++)
		total += kernel->encode(old + (size_t)i * PAGE,
		    new + (size_t)i * PAGE, PAGE, hot(i), PAGE * 3 / 4);
	sink = total;
}

/* All of them, to be decoded. */
static void
make_deltas(void)
{
	for (uint32_t i = 0; i < pages; i++)
		length[i] = (uint16_t)kernel->encode(old + (size_t)i * PAGE,
		    new + (size_t)i * PAGE, PAGE, deltas + (size_t)i * PAGE,
		    PAGE * 3 / 4);
}

static void
decode(void)
{
	for (uint32_t i = 0; i < pages; i++)
		if (length[i] <= PAGE * 3 / 4 && pm_xbzrle_decode(old +
		    (size_t)i * PAGE, PAGE, deltas + (size_t)i * PAGE,
		    length[i], NULL) != PM_OK)
			abort();
}

static void
copy_pages(void)
{
	for (uint32_t i = 0; i < pages; i++)
		memcpy(copy + (size_t)i * PAGE, new + (size_t)i * PAGE, PAGE);
}

static uint64_t
difference(const uint8_t *a, const uint8_t *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

static int
has_zero_byte(uint64_t word)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	return ((word - ones) & ~word & (ones << 7)) != 0;
}

/* The classic loop, a word at a time and bytes where a run ends. */
static size_t
encode_words(const uint8_t *a, const uint8_t *b, uint8_t *out, size_t room)
{
	size_t at = 0, used = 0;

	for (;;) {
		size_t same = at, differ;

		while (PAGE - at >= 8 && difference(a + at, b + at) == 0)
			at += 8;
		while (at < PAGE && a[at] == b[at])
			at++;
		if (at == PAGE)
			return used;
		same = at - same;
		differ = at;
		while (PAGE - at >= 8 &&
		    !has_zero_byte(difference(a + at, b + at)))
			at += 8;
		while (at < PAGE && a[at] != b[at])
			at++;
		differ = at - differ;
		if (used + 4 + differ > room)
			return room + 1;
		if (same >= 128)
			out[used++] = (uint8_t)(same | 0x80);
		out[used++] = (uint8_t)(same >= 128 ? same >> 7 : same);
		if (differ >= 128)
			out[used++] = (uint8_t)(differ | 0x80);
		out[used++] = (uint8_t)(differ >= 128 ? differ >> 7 : differ);
		memcpy(out + used, b + at - differ, differ);
		used += differ;
	}
}

static void
encode_scalar(void)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < pages; i++)
		total += encode_words(old + (size_t)i * PAGE, new +
		    (size_t)i * PAGE, hot(i), PAGE * 3 / 4);
	sink = total;
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
rate(double *seconds)
{
	qsort(seconds, TURNS, sizeof(seconds[0]), ascending);
	return (double)pages * PAGE / seconds[TURNS / 2] / 1e9;
}

static void
row(const char *name, void (*ours)(void), const char *other_name,
    void (*other)(void), const char *aim)
{
	double mine[TURNS], theirs[TURNS], began;

	ours();
	other();
	for (unsigned i = 0; i < TURNS; i++) {
		began = now();
		ours();
		mine[i] = now() - began;
		began = now();
		other();
		theirs[i] = now() - began;
	}
	printf("%s\t%.2f\t%s\t%.2f\t%.2f\t%s\n", name, rate(mine),
	    other_name, rate(theirs), rate(mine) / rate(theirs), aim);
	fflush(stdout);
}

/* A row for each set of loops; only the best one has an aim. */
static void
rows(const char *name, void (*ours)(void), const char *other_name,
    void (*other)(void), const char *aim)
{
	char full[80];

	for (unsigned i = 0; (kernel = pm_kernel_at(i)) != NULL; i++) {
		snprintf(full, sizeof(full), "%s, %s", name, kernel->name);
		row(full, ours, other_name, other, i == 0 ? aim : "-");
	}
	kernel = pm_kernel_best();
}

static void
fill(uint8_t *to, uint64_t state)
{
	uint64_t *word = (uint64_t *)(void *)to;

	for (size_t i = 0; i < (size_t)pages * PAGE / 8; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		word[i] = state;
	}
}

/* Change bytes of each page, so many of a thousand, scattered. */
static void
scatter(unsigned per_mille)
{
	uint64_t state = 7;

	memcpy(new, old, (size_t)pages * PAGE);
	for (size_t i = 0; i < (size_t)pages * PAGE; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		if ((state >> 33) % 1000 < per_mille)
			new[i] ^= (uint8_t)(state >> 40) | 1;
	}
}

/* Only the pages that differ, up to as many as there is room for. */
static int
load_changed(const char *old_path, const char *new_path)
{
	int a = open(old_path, O_RDONLY), b = open(new_path, O_RDONLY);
	off_t at = 0;

	pages = 0;
	while (a >= 0 && b >= 0 && pages < PAGES) {
		uint8_t *x = old + (size_t)pages * PAGE;
		uint8_t *y = new + (size_t)pages * PAGE;

		if (pread(a, x, PAGE, at) != (ssize_t)PAGE ||
		    pread(b, y, PAGE, at) != (ssize_t)PAGE)
			break;
		at += PAGE;
		pages += memcmp(x, y, PAGE) != 0;
	}
	return pages > 0;
}

int
main(int argc, char *argv[])
{
	size_t size = (size_t)PAGES * PAGE;

	old = aligned_alloc(PAGE, size);
	new = aligned_alloc(PAGE, size);
	deltas = aligned_alloc(PAGE, size);
	copy = aligned_alloc(PAGE, size);
	length = calloc(PAGES, sizeof(length[0]));
	if (old == NULL || new == NULL || deltas == NULL || copy == NULL ||
	    length == NULL)
		return 1;
	pages = PAGES;
	memset(deltas, 1, size);
	memset(copy, 1, size);

	kernel = pm_kernel_best();

	memset(new, 0, size);
	row("zero test, zeroes", test_zero, "read", read_memory, "0.9");
	fill(old, 1);
	memcpy(new, old, size);
	rows("hash", hash_pages, "read", read_memory, "0.7");
	row("zero test, hash and place", digest_pages, "read", read_memory,
	    "-");
	row("encode, equal pages", encode, "memcmp", compare_pages, "0.8");
	scatter(1);
	rows("encode, 0.1 % of bytes", encode, "word loop", encode_scalar,
	    "-");
	scatter(50);
	rows("encode, 5 % of bytes", encode, "word loop", encode_scalar, "4");
	make_deltas();
	row("decode, 5 % of bytes", decode, "memcpy", copy_pages, "-");
	scatter(250);
	rows("encode, 25 % of bytes", encode, "word loop", encode_scalar,
	    "-");
	fill(new, 2);
	rows("encode, different pages", encode, "word loop", encode_scalar,
	    "3");
	scatter(1000);
	rows("encode, every byte differs", encode, "word loop",
	    encode_scalar, "-");
	if (argc == 3 && load_changed(argv[1], argv[2])) {
		rows("encode, changed pages", encode, "word loop",
		    encode_scalar, "1.6");
		make_deltas();
		row("decode, changed pages", decode, "memcpy", copy_pages,
		    "-");
	}
	return 0;
}
