/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: source_free [SEED]
 *
 * What is left of an image without its free pages, beside an array with a
 * byte for each page.
 */
#define _GNU_SOURCE		/* memfd_create */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "free.h"

#define PAGE		4096u
#define FIRST		70u	/* pages of the first region */
#define PAGES		300u	/* of both */
#define SEEDS		200

static uint64_t state;
static struct pm_fault fault;
static char path[64];
static int fd;

static uint64_t
below(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 20) % limit;
}

/* Runs of holes, of zeroes, and of pages with content. */
static void
draw_image(void)
{
	static uint8_t page[PAGE];

	if (ftruncate(fd, 0) != 0 || ftruncate(fd, PAGES * PAGE) != 0)
		exit(1);
	for (unsigned i = 0, what = 0; i < PAGES; i++) {
		if (below(5) == 0)
			what = (unsigned)below(3);
		memset(page, what == 1 ? (int)(i % 251 + 1) : 0, PAGE);
		if (what > 0 && pwrite(fd, page, PAGE, (off_t)i * PAGE) !=
		    PAGE)
			exit(1);
	}
}

static struct pm_source *
open_image(void)
{
	static const struct pm_region cut[] = {
		{ .length = FIRST * PAGE, .name = "low" },
		{ .address = 1u << 20, .name = "high" },
	};
	struct pm_source *source;

	if (pm_source_open_image(&source, path, PM_SOURCE_RAW, 12, cut, 2,
	    &fault) != PM_OK)
		exit(1);
	return source;
}

/* Free is gone, and the rest is as the inner source has it. */
static int
tells_page(struct pm_source *source, struct pm_source *inner,
    uint32_t region, uint64_t at, const uint8_t *marks)
{
	uint64_t pages = region == 0 ? FIRST : PAGES - FIRST;
	struct pm_span span, was;

	if (source->ops->span(source, region, at, &span) != PM_OK ||
	    inner->ops->span(inner, region, at, &was) != PM_OK ||
	    span.pages == 0)
		return 0;
	/* One that ends early would be slow. */
	if (marks[at] && at + span.pages < pages && marks[at + span.pages])
		return 0;
	for (uint64_t i = at; i < at + span.pages && i < pages; i++)
		if (marks[i] != marks[at])
			return 0;
	return marks[at] ? span.kind == PM_SPAN_GONE
	    : span.kind == was.kind && span.pages <= was.pages;
}

static int
tells_right(struct pm_source *source, struct pm_source *inner,
    const uint8_t *is_free)
{
	for (uint64_t at = 0; at < FIRST; at++)
		if (!tells_page(source, inner, 0, at, is_free))
			return 0;
	for (uint64_t at = 0; at < PAGES - FIRST; at++)
		if (!tells_page(source, inner, 1, at, is_free + FIRST))
			return 0;
	return 1;
}

/* Its id is that of the image with zeroes where pages are free. */
static int
has_id_of_zeroes(struct pm_source *source, const uint8_t *is_free)
{
	static const uint8_t zero[PAGE];
	struct pm_digest id, wants;
	struct pm_source *other;
	int good;

	good = pm_source_id(source, &id) == PM_OK;
	for (unsigned i = 0; i < PAGES; i++)
		if (is_free[i] && pwrite(fd, zero, PAGE, (off_t)i * PAGE) !=
		    PAGE)
			exit(1);
	other = open_image();
	good &= pm_source_id(other, &wants) == PM_OK &&
	    pm_digest_equal(id, wants);
	other->ops->close(other);
	return good;
}

/* Mark some runs in both regions, beyond their ends too. */
static int
mark_some(struct pm_source *source, struct pm_free *marks, uint8_t *is_free)
{
	uint64_t sum = 0;
	int good = 1;

	memset(is_free, 0, PAGES);
	for (int i = 0; i < 12; i++) {
		int high = below(2) == 0;
		uint64_t at = below(PAGES - FIRST), pages = below(30);
		struct pm_ram ram;

		good &= pm_ram_open(&ram, source, high ? "high" : "low",
		    &fault) == PM_OK;
		good &= pm_free_set_ram(marks, &ram, at, pages) == PM_OK;
		for (; pages > 0 && at < ram.pages; pages--, at++)
			is_free[at + (high ? FIRST : 0)] = 1;
		pm_ram_close(&ram);
	}
	for (unsigned i = 0; i < PAGES; i++)
		sum += is_free[i];
	return good && sum == marks->pages;
}

static int
leaves_out(uint64_t seed)
{
	static uint8_t is_free[PAGES];
	struct pm_source *source, *inner;
	struct pm_free marks;
	int good;

	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	draw_image();
	inner = open_image();
	source = open_image();
	if (pm_free_open(&marks, source) != PM_OK)
		return 0;
	good = mark_some(source, &marks, is_free);
	good &= pm_source_without(&source, &marks, &fault) == PM_OK;
	/* It has taken them. */
	good &= marks.map == NULL && marks.regions == 0;
	good &= source->is_shared && tells_right(source, inner, is_free);
	inner->ops->close(inner);
	good &= has_id_of_zeroes(source, is_free);
	/* The one that it is around still judges. */
	good &= source->ops->done(source) == PM_OK &&
	    ftruncate(fd, PAGES * PAGE + 1) == 0 &&
	    source->ops->done(source) == PM_ERR_REFUSED;
	source->ops->close(source);
	return good;
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
	fd = memfd_create("image", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	printf("# seeds from %llu\n", (unsigned long long)first);
	for (seed = first; seed < first + seeds && leaves_out(seed); seed++)
		;
	if (seed < first + seeds)
		printf("# seed %llu\n", (unsigned long long)seed);
	CHECK(seed == first + seeds);
	close(fd);
	return check_done();
}
