/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: bitmap [SEED]
 *
 * Random operations on a bitmap, beside an array with a byte for each bit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bitmap.h"
#include "check.h"

#define BITS_MAX	40000u
#define SEEDS		300
#define STEPS		400

static uint8_t model[BITS_MAX];
static uint64_t state;

/* A number below that one, by a xorshift generator. */
static uint64_t
below(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 20) % limit;
}

/* The first place in [from, end) of the model with that value, or end. */
static uint64_t
find(uint8_t value, uint64_t from, uint64_t end)
{
	while (from < end && model[from] != value)
		from++;
	return from;
}

static uint64_t
total(uint64_t bits)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < bits; at++)
		sum += model[at];
	return sum;
}

/* The summary has a bit exactly for the words that are not 0. */
static int
summary_is_right(const struct pm_bitmap *map)
{
	for (uint64_t at = 0; at < (map->bits + 63) / 64; at++)
		if ((map->word[at] != 0) !=
		    (map->summary[at / 64] >> at % 64 & 1))
			return 0;
	return 1;
}

static int
is_equal(const struct pm_bitmap *map)
{
	uint64_t found = 0, last = 0;

	for (uint64_t at = pm_bitmap_next(map, 0, map->bits); at < map->bits;
	    at = pm_bitmap_next(map, at + 1, map->bits)) {
		if (!model[at] || (found > 0 && at <= last))
			return 0;
		found++;
		last = at;
	}
	for (uint64_t at = 0; at < map->bits; at++)
		if (pm_bitmap_test(map, at) != model[at])
			return 0;
	return found == pm_bitmap_count(map) && found == total(map->bits) &&
	    summary_is_right(map);
}

/* A range within the bits; often short, often to whole words, often empty. */
static void
choose_range(uint64_t bits, uint64_t *from, uint64_t *end)
{
	uint64_t size = below(4) == 0 ? bits : below(3) == 0 ? 6000 : 140;

	*from = below(bits + 1);
	*end = *from + below(size + 1);
	if (below(3) == 0)
		*from &= ~UINT64_C(63);
	if (below(3) == 0)
		*end &= ~UINT64_C(63);
	if (*end > bits)
		*end = bits;
	if (*end < *from)
		*end = *from;
}

static void
change(struct pm_bitmap *map)
{
	uint64_t from, end, at = below(map->bits);

	choose_range(map->bits, &from, &end);
	switch (below(8)) {
	case 0:
	case 1:
		pm_bitmap_set(map, at);
		model[at] = 1;
		break;
	case 2:
		if (below(2) == 0)
			at = find(1, at, map->bits - 1);
		pm_bitmap_clear(map, at);
		model[at] = 0;
		break;
	case 3:
	case 4:
		pm_bitmap_set_run(map, from, end - from);
		memset(model + from, 1, (size_t)(end - from));
		break;
	case 5:
	case 6:
		pm_bitmap_clear_run(map, from, end - from);
		memset(model + from, 0, (size_t)(end - from));
		break;
	default:
		if (below(30) != 0)
			break;
		pm_bitmap_clear_all(map);
		memset(model, 0, (size_t)map->bits);
	}
}

/* One life of a bitmap; 0 when it is not as the model. */
static int
live(uint64_t seed)
{
	struct pm_bitmap map;
	uint64_t from, end;
	int good = 1;

	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	memset(model, 0, sizeof(model));
	if (pm_bitmap_open(&map, 1 + below(below(2) ? BITS_MAX : 300)) !=
	    PM_OK)
		return 0;
	for (unsigned step = 0; good && step < STEPS; step++) {
		change(&map);
		choose_range(map.bits, &from, &end);
		good = pm_bitmap_next(&map, from, end) == find(1, from, end) &&
		    pm_bitmap_run(&map, from, end) == find(0, from, end) &&
		    (step % 16 != 0 || is_equal(&map));
		if (!good)
			printf("# seed %llu, step %u, %llu bits\n",
			    (unsigned long long)seed, step,
			    (unsigned long long)map.bits);
	}
	good &= is_equal(&map);
	pm_bitmap_close(&map);
	return good;
}

/* Kilobytes of memory that this process has in use, and of page tables. */
static long
resident(void)
{
	long value = 0;
	char line[128];
	FILE *file = fopen("/proc/self/status", "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "RssAnon:", 8) == 0 ||
		    strncmp(line, "VmPTE:\t", 7) == 0)
			value += strtol(line + 8, NULL, 10);
	if (file != NULL)
		fclose(file);
	return value;
}

static void
test_large(unsigned shift)
{
	uint64_t bits = UINT64_C(1) << shift, half = bits / 2;
	struct pm_bitmap map;
	long before = resident();

	if (pm_bitmap_open(&map, bits) != PM_OK) {
		printf("ok %d - 2^%u bits # SKIP no room for them: %s\n",
		    ++check_run, shift, strerror(errno));
		return;
	}
	pm_bitmap_set(&map, half + 77);
	pm_bitmap_set_run(&map, bits - 70, 70);
	CHECK(pm_bitmap_count(&map) == 71);
	CHECK(pm_bitmap_next(&map, half - 5, half + 100) == half + 77);
	CHECK(pm_bitmap_next(&map, half - 5, half + 77) == half + 77);
	CHECK(pm_bitmap_next(&map, bits - 1000, bits) == bits - 70);
	CHECK(pm_bitmap_run(&map, bits - 50, bits) == bits);
	/* To look at each of those words would take page tables for them. */
	pm_bitmap_clear_run(&map, 1000, UINT64_C(1) << 30);
	CHECK(pm_bitmap_count(&map) == 71);
	CHECK(resident() > 0 && resident() - before < 128);
	if (shift <= 37) {
		CHECK(pm_bitmap_next(&map, 0, bits) == half + 77);
		pm_bitmap_clear_all(&map);
		CHECK(pm_bitmap_count(&map) == 0 &&
		    pm_bitmap_next(&map, 0, bits) == bits);
		CHECK(resident() - before < 1024);
	}
	pm_bitmap_close(&map);
}

static void
test_edges(void)
{
	struct pm_bitmap map;

	CHECK(pm_bitmap_open(&map, 0) == PM_OK);
	CHECK(pm_bitmap_next(&map, 0, 0) == 0 && pm_bitmap_run(&map, 0, 0) ==
	    0);
	pm_bitmap_set_run(&map, 0, 0);
	pm_bitmap_clear_all(&map);
	CHECK(pm_bitmap_count(&map) == 0);
	pm_bitmap_close(&map);
	pm_bitmap_close(&map);

	errno = 0;
	CHECK(pm_bitmap_open(&map, UINT64_MAX) == PM_ERR_SYSTEM &&
	    errno == ENOMEM);
	pm_bitmap_close(&map);
}

int
main(int argc, char *argv[])
{
	uint64_t first = (uint64_t)time(NULL) % 1000000 + 1, seed;
	uint64_t seeds = SEEDS;

	if (argc > 1) {
		first = strtoull(argv[1], NULL, 10);
		seeds = 1;
	}
	printf("# seeds from %llu\n", (unsigned long long)first);
	for (seed = first; seed < first + seeds && live(seed); seed++)
		;
	CHECK(seed == first + seeds);
	test_edges();
	test_large(35);
	test_large(37);
	test_large(44);
	return check_done();
}
