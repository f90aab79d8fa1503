/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bitmap.c - the map of dirty pages beside simpler ones.
 * usage: bitmap
 *
 * Each row is printed as: name, ours, its unit, what it is compared with,
 * theirs, ratio, lowest and highest ratio of a turn.  The map is that of a
 * memory of 512 GiB.  Beside ours there are a bitmap without a summary and a
 * map with a byte for each page, both read a word of 64 bits at a time.
 * They are walked in turn, each as cold as the walks of the others leave
 * it, and medians are taken.
 */
#define _GNU_SOURCE		/* MAP_ANONYMOUS */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bitmap.h"

#define PAGES	(UINT64_C(1) << 27)
#define TURNS	9
#define MAPS	3

enum { OURS, FLAT, BYTES };

static const char *const name[MAPS] = { "", "flat bitmap", "byte map" };

static struct pm_bitmap map;
static uint64_t *flat;
static uint8_t *bytes;
static uint64_t *place;		/* to look from */
static uint64_t places;
static uint64_t state = 1;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t
any_page(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % PAGES;
}

static uint64_t
flat_next(uint64_t from)
{
	uint64_t at = from / 64, word = flat[at] >> from % 64;

	if (word != 0)
		return from + (unsigned)__builtin_ctzll(word);
	while (++at < PAGES / 64)
		if (flat[at] != 0)
			return at * 64 + (unsigned)__builtin_ctzll(flat[at]);
	return PAGES;
}

static uint64_t
bytes_next(uint64_t from)
{
	uint64_t word;

	while (from % 8 != 0) {
		if (bytes[from] != 0)
			return from;
		from++;
	}
	for (; from < PAGES; from += 8) {
		memcpy(&word, bytes + from, sizeof(word));
		if (word == 0)
			continue;
		while (bytes[from] == 0)
			from++;
		return from;
	}
	return PAGES;
}

/* The numbers of the bits in a word, added up. */
static uint64_t
sum_of(uint64_t at, uint64_t word)
{
	uint64_t sum = 0;

	for (; word != 0; word &= word - 1)
		sum += at * 64 + (unsigned)__builtin_ctzll(word);
	return sum;
}

/* The sum of what was found, so that all are seen to find the same. */
static uint64_t
walk(int which)
{
	uint64_t sum = 0, at, word;

	switch (which) {
	case OURS:
		for (at = 0; (at = pm_bitmap_next_word(&map, at, PAGES / 64)) <
		    PAGES / 64; at++)
			sum += sum_of(at, map.word[at]);
		break;
	case FLAT:
		for (at = 0; at < PAGES / 64; at++)
			sum += sum_of(at, flat[at]);
		break;
	default:
		for (at = 0; at < PAGES; at += 8) {
			memcpy(&word, bytes + at, sizeof(word));
			if (word == 0)
				continue;
			for (unsigned i = 0; i < 8; i++)
				sum += bytes[at + i] != 0 ? at + i : 0;
		}
	}
	return sum;
}

/* The same with a call for each page. */
static uint64_t
call(int which)
{
	uint64_t sum = 0, at;

	if (which != OURS)
		return walk(which);
	for (at = pm_bitmap_next(&map, 0, PAGES); at < PAGES;
	    at = pm_bitmap_next(&map, at + 1, PAGES))
		sum += at;
	return sum;
}

static uint64_t
find(int which)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < places; i++)
		switch (which) {
		case OURS:
			sum += pm_bitmap_next(&map, place[i], PAGES);
			break;
		case FLAT:
			sum += flat_next(place[i]);
			break;
		default:
			sum += bytes_next(place[i]);
		}
	return sum;
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
rows(const char *what, uint64_t (*work)(int), double unit,
    const char *unit_name)
{
	double spent[MAPS][TURNS], ratio[MAPS][TURNS], began;
	uint64_t sum[MAPS];

	for (int turn = -1; turn < TURNS; turn++)
		for (int i = 0; i < MAPS; i++) {
			began = now();
			sum[i] = work(i);
			if (turn >= 0) {
				spent[i][turn] = now() - began;
				ratio[i][turn] = spent[i][turn] /
				    spent[OURS][turn];
			}
			if (sum[i] != sum[OURS])
				abort();
		}
	for (int i = 0; i < MAPS; i++) {
		qsort(spent[i], TURNS, sizeof(double), ascending);
		qsort(ratio[i], TURNS, sizeof(double), ascending);
	}
	for (int i = FLAT; i < MAPS; i++) {
		double ours = spent[OURS][TURNS / 2] / unit;
		double theirs = spent[i][TURNS / 2] / unit;

		printf("%s\t%.*f\t%s\t%s\t%.*f\t%.4f\t%.4f\t%.4f\n", what,
		    ours < 10 ? 3 : 0, ours, unit_name, name[i],
		    theirs < 10 ? 3 : 0, theirs, ratio[i][TURNS / 2],
		    ratio[i][0], ratio[i][TURNS - 1]);
	}
	fflush(stdout);
}

/* Kilobytes of memory that are in use. */
static long
resident(void)
{
	long value = 0;
	char line[128];
	FILE *file = fopen("/proc/self/smaps_rollup", "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "Anonymous:", 10) == 0)
			value = strtol(line + 10, NULL, 10);
	if (file != NULL)
		fclose(file);
	return value;
}

static void *
zeroes(size_t size)
{
	void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);

	if (made == MAP_FAILED)
		abort();
	(void)madvise(made, size, MADV_NOHUGEPAGE);
	return made;
}

/* So many pages at random, the same ones in all maps; a few may be twice. */
static void
fill(uint64_t pages)
{
	pm_bitmap_clear_all(&map);
	memset(flat, 0, PAGES / 8);
	memset(bytes, 0, PAGES);
	while (pages-- > 0) {
		uint64_t at = any_page();

		pm_bitmap_set(&map, at);
		flat[at / 64] |= UINT64_C(1) << at % 64;
		bytes[at] = 1;
	}
}

/* Make the maps, with pages in them, and tell how much that takes. */
static void
make(uint64_t pages)
{
	double began = (double)resident(), ours, theirs[MAPS];

	if (pm_bitmap_open(&map, PAGES) != PM_OK)
		abort();
	while (pages-- > 0)
		pm_bitmap_set(&map, any_page());
	ours = ((double)resident() - began) / 1024;
	began = (double)resident();
	flat = zeroes(PAGES / 8);
	memset(flat, 0, PAGES / 8);
	theirs[FLAT] = ((double)resident() - began) / 1024;
	began = (double)resident();
	bytes = zeroes(PAGES);
	memset(bytes, 0, PAGES);
	theirs[BYTES] = ((double)resident() - began) / 1024;
	for (int i = FLAT; i < MAPS; i++)
		printf("memory\t%.2f\tMiB\t%s\t%.2f\t%.4f\t-\t-\n", ours,
		    name[i], theirs[i], theirs[i] / ours);
}

int
main(void)
{
	/* Where there is little, each look passes over much. */
	static const struct {
		const char *name;
		double share;
		uint64_t places;
	} dirty[] = {
		{ "none", 0, 20 },
		{ "0.001 %", 0.00001, 5000 },
		{ "0.1 %", 0.001, 200000 },
		{ "10 %", 0.1, 200000 },
	};
	char what[80];

	make(PAGES / 10);
	place = calloc(200000, sizeof(place[0]));
	if (place == NULL)
		return 1;
	for (unsigned i = 0; i < sizeof(dirty) / sizeof(dirty[0]); i++) {
		fill((uint64_t)(dirty[i].share * (double)PAGES));
		snprintf(what, sizeof(what), "walk, %s dirty", dirty[i].name);
		rows(what, walk, 1e6, "ms");
		snprintf(what, sizeof(what), "walk by calls, %s dirty",
		    dirty[i].name);
		rows(what, call, 1e6, "ms");
		places = dirty[i].places;
		for (uint64_t j = 0; j < places; j++)
			place[j] = any_page();
		snprintf(what, sizeof(what), "find next, %s dirty",
		    dirty[i].name);
		rows(what, find, (double)places, "ns");
	}
	return 0;
}
