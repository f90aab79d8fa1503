/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage: free [SEED]
 *
 * Bitmaps of free pages, beside an array with a byte for each page; and those
 * that are no such bitmaps.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "free.h"

#define PAGE		4096u
#define MOST		700000u		/* pages of a line */
#define SEEDS		200
/* Of a process, whose bitmap has to fit where addresses are short. */
#define SPACE_SHIFT	(sizeof(void *) < 8 ? 36 : 47)

static uint64_t state;
static struct pm_fault fault;
static uint8_t bits[MOST / 8 + 64];
static uint8_t model[MOST];	/* of a line */

static uint64_t
below(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * UINT64_C(0x2545f4914f6cdd1d) >> 20) % limit;
}

/* What a bitmap of so many pages has in its file, of random runs. */
static size_t
draw_bits(uint64_t pages, enum pm_free_order order)
{
	memset(bits, 0, sizeof(bits));
	memset(model, 0, sizeof(model));
	for (uint64_t at = 0; at < pages;) {
		uint64_t run = 1 + below(below(2) == 0 ? 5 : 300);
		int is_free = below(2) == 0;

		for (; run > 0 && at < pages; run--, at++) {
			unsigned bit = (unsigned)(at % 8);

			if (!is_free)
				continue;
			model[at] = 1;
			bits[at / 8] |= (uint8_t)(1u << (order == PM_FREE_LSB
			    ? bit : 7 - bit));
		}
	}
	return (size_t)((pages + 7) / 8);
}

static int
file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("free", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET) != 0)
		exit(1);
	return fd;
}

/* Read the first bytes of bits as a bitmap. */
static enum pm_status
read_bits(struct pm_free *marks, const struct pm_ram *ram, size_t size,
    enum pm_free_order order)
{
	int fd = file_of(bits, size);
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	status = pm_free_read(marks, ram, fd, "bitmap", order, &fault);
	close(fd);
	return status;
}

static uint64_t
total(uint64_t pages)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < pages; at++)
		sum += model[at];
	return sum;
}

/* Each page of the line is marked as the model has it, and no other. */
static int
is_marked(const struct pm_free *marks, const struct pm_ram *ram)
{
	for (uint64_t at = 0; at < ram->pages; at++) {
		const struct pm_ram_piece *piece = pm_ram_find(ram, at);

		if (piece == NULL || at < piece->at || at - piece->at >=
		    piece->pages || pm_free_test(marks, piece->region,
		    piece->page + (at - piece->at)) != model[at])
			return 0;
	}
	return marks->pages == total(ram->pages);
}

static struct pm_source
source_of(struct pm_region *region, uint32_t regions)
{
	return (struct pm_source){ .page_shift = 12, .regions = regions,
	    .region = region };
}

static struct pm_mapping
mapping(uint64_t start, uint64_t pages, uint64_t offset, const char *name)
{
	return (struct pm_mapping){ .start = start * PAGE,
	    .end = (start + pages) * PAGE, .offset = offset * PAGE,
	    .flags = PM_MAPPING_CARRIED, .name = name,
	    .name_size = (uint32_t)strlen(name) };
}

/* A random source: regions, or mappings of a process. */
static struct pm_region random_region[5];
static struct pm_mapping random_mapping[20];

static struct pm_source
draw_source(void)
{
	struct pm_source source = source_of(random_region,
	    1 + (uint32_t)below(5));
	uint64_t at = 16;

	memset(random_region, 0, sizeof(random_region));
	if (below(2) == 0) {
		source.regions = 1;
		random_region[0].length = UINT64_C(1) << SPACE_SHIFT;
		source.mappings = 1 + below(20);
		source.mapping = random_mapping;
		for (size_t i = 0; i < source.mappings; i++) {
			random_mapping[i] = mapping(at, 1 + below(200),
			    below(3000), "/a");
			at = random_mapping[i].end / PAGE + below(3) *
			    below(UINT64_C(1) << (SPACE_SHIFT - 18));
			if (below(4) == 0)
				random_mapping[i].flags = 0;
		}
		return source;
	}
	for (uint32_t i = 0; i < source.regions; i++) {
		random_region[i].length = below(3000) * PAGE + below(PAGE);
		random_region[i].name[0] = (char)('a' + i);
	}
	return source;
}

/* Spans tell what single pages do. */
static int
spans_are_right(const struct pm_free *marks, const struct pm_source *source,
    const struct pm_ram *ram)
{
	for (unsigned i = 0; i < 50 && ram->pages > 0; i++) {
		const struct pm_ram_piece *piece = pm_ram_find(ram,
		    below(ram->pages));
		uint64_t page = piece->page + below(piece->pages), run = 1;
		uint64_t most = pm_region_pages(
		    source->region[piece->region].length, 12);
		uint64_t end = page + 1 + below(500), got;
		int is_free, is;

		if (end > most)
			end = most;
		got = pm_free_span(marks, piece->region, page, end, &is_free);
		is = pm_free_test(marks, piece->region, page);
		while (page + run < end && pm_free_test(marks, piece->region,
		    page + run) == is)
			run++;
		if (is != is_free || got != run)
			return 0;
	}
	return 1;
}

static int
reads_back(uint64_t seed)
{
	enum pm_free_order order;
	struct pm_source source;
	struct pm_free marks;
	struct pm_ram ram;
	char name[2] = "";
	size_t size;
	int good;

	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	source = draw_source();
	order = below(2) == 0 ? PM_FREE_LSB : PM_FREE_MSB;
	if (source.mappings == 0 && below(2) == 0)
		name[0] = (char)('a' + below(source.regions));
	if (pm_ram_open(&ram, &source, name[0] != '\0' ? name : NULL, &fault)
	    != PM_OK || pm_free_open(&marks, &source) != PM_OK)
		return 0;
	size = draw_bits(ram.pages, order);
	if (below(2) == 0)
		size = (size + 7) / 8 * 8;
	good = read_bits(&marks, &ram, size, order) == PM_OK &&
	    is_marked(&marks, &ram) && spans_are_right(&marks, &source, &ram);
	/* Some are in use after all, and clearing twice is clearing once. */
	for (int i = 0; i < 100 && ram.pages > 0; i++) {
		uint64_t at = below(ram.pages);
		const struct pm_ram_piece *piece = pm_ram_find(&ram, at);

		pm_free_clear(&marks, piece->region, piece->page +
		    (at - piece->at));
		model[at] = 0;
	}
	good &= is_marked(&marks, &ram);
	pm_free_close(&marks);
	pm_ram_close(&ram);
	return good;
}

/* A bitmap of so many pages with one free, in so many bytes: is refused. */
static int
refuses(uint64_t pages, size_t size, uint64_t bit, const char *text)
{
	struct pm_region region = { .length = pages * PAGE, .name = "r" };
	struct pm_source source = source_of(&region, 1);
	struct pm_free marks;
	struct pm_ram ram;
	enum pm_status status;

	memset(bits, 0, sizeof(bits));
	bits[bit / 8] |= (uint8_t)(1u << bit % 8);
	if (pm_ram_open(&ram, &source, NULL, &fault) != PM_OK ||
	    pm_free_open(&marks, &source) != PM_OK)
		return 0;
	status = read_bits(&marks, &ram, size, PM_FREE_LSB);
	pm_free_close(&marks);
	pm_ram_close(&ram);
	if (text == NULL)
		return status == PM_OK;
	if (strstr(fault.text, text) == NULL)
		printf("# not '%s' but '%s'\n", text, fault.text);
	return status == PM_ERR_REFUSED && strcmp(fault.subject, "bitmap") ==
	    0 && strstr(fault.text, text) != NULL;
}

static void
test_refusals(void)
{
	CHECK(refuses(100, 13, 99, NULL));
	CHECK(refuses(100, 16, 99, NULL));
	CHECK(refuses(100, 12, 9,
	    "has 12 bytes, and a bitmap of 100 pages has 13"));
	CHECK(refuses(100, 14, 9, "has 14 bytes"));
	CHECK(refuses(100, 15, 9, "has 15 bytes"));
	CHECK(refuses(100, 17, 9, "has 17 bytes"));
	CHECK(refuses(100, 80000, 9, "has 80000 bytes"));
	CHECK(refuses(100, 0, 9, "has 0 bytes"));
	CHECK(refuses(100, 13, 100, "bits behind those of 100 pages"));
	CHECK(refuses(100, 16, 127, "bits behind those of 100 pages"));
	CHECK(refuses(64, 8, 63, NULL));
	CHECK(refuses(64, 16, 9, "has 16 bytes"));
	CHECK(refuses(0, 0, 9, NULL));
	CHECK(refuses(0, 1, 0, "has 1 bytes"));
	/* More than is read at a time, and exactly that. */
	CHECK(refuses(600000, 75000, 599999, NULL));
	CHECK(refuses(600000, 74999, 9, "has 74999 bytes"));
	CHECK(refuses(600000, 75001, 9, "has 75001 bytes"));
	CHECK(refuses(65536 * 8, 65536, 65536 * 8 - 1, NULL));
	CHECK(refuses(65536 * 8, 65537, 9, "has 65537 bytes"));
	CHECK(refuses(65536 * 8 + 1, 65536, 9, "has 65536 bytes"));
	CHECK(refuses(UINT64_C(1) << 50, 8, 9, "has 8 bytes"));
}

/* A pipe gives it piece by piece, and a nonblocking one at times nothing. */
static void
test_pipe(size_t excess)
{
	struct pm_region region = { .length = UINT64_C(650000) * PAGE };
	struct pm_source source = source_of(&region, 1);
	size_t size = draw_bits(650000, PM_FREE_LSB) + excess;
	struct pm_free marks;
	struct pm_ram ram;
	int end[2], status;
	pid_t pid;

	CHECK(pm_ram_open(&ram, &source, NULL, &fault) == PM_OK &&
	    pm_free_open(&marks, &source) == PM_OK);
	if (pipe2(end, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		exit(1);
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		close(end[0]);
		for (size_t at = 0, now; at < size; at += now) {
			now = 1 + below(9000);
			if (now > size - at)
				now = size - at;
			if (write(end[1], bits + at, now) != (ssize_t)now)
				_exit(1);
		}
		_exit(0);
	}
	close(end[1]);
	(void)fcntl(end[0], F_SETFL, O_NONBLOCK);
	fault = (struct pm_fault){ .error = 0 };
	status = pm_free_read(&marks, &ram, end[0], "pipe", PM_FREE_LSB,
	    &fault);
	if (excess == 0)
		CHECK(status == PM_OK && is_marked(&marks, &ram));
	else
		CHECK(status == PM_ERR_REFUSED &&
		    strstr(fault.text, "has at least 8") != NULL);
	close(end[0]);
	CHECK(waitpid(pid, &status, 0) == pid);
	pm_free_close(&marks);
	pm_ram_close(&ram);
}

static void
test_unreadable(void)
{
	struct pm_region region = { .length = 8 * PAGE };
	struct pm_source source = source_of(&region, 1);
	int fd = open("/", O_RDONLY | O_CLOEXEC);
	struct pm_free marks;
	struct pm_ram ram;

	CHECK(pm_ram_open(&ram, &source, NULL, &fault) == PM_OK &&
	    pm_free_open(&marks, &source) == PM_OK);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_free_read(&marks, &ram, fd, "/", PM_FREE_LSB, &fault) ==
	    PM_ERR_READ && fault.error == EISDIR);
	close(fd);
	/* A region that no bitmap can be for. */
	region.length = UINT64_MAX;
	pm_free_close(&marks);
	pm_ram_close(&ram);
	CHECK(pm_ram_open(&ram, &source, NULL, &fault) == PM_OK &&
	    pm_free_open(&marks, &source) == PM_OK);
	CHECK(pm_free_set_ram(&marks, &ram, 5, 1) == PM_ERR_SYSTEM ||
	    marks.pages == 1);
	CHECK(pm_free_set_ram(&marks, &ram, UINT64_MAX, 1) == PM_OK);
	CHECK(!pm_free_test(&marks, 1, 0) && !pm_free_test(&marks, 0, 0));
	/* A line of more regions than the marks are for. */
	ram.piece[0].region = 5;
	CHECK(pm_free_set_ram(&marks, &ram, 0, 7) == PM_OK &&
	    !pm_free_test(&marks, 5, 0));
	pm_free_close(&marks);
	pm_free_close(&marks);
	pm_ram_close(&ram);
}

int
main(int argc, char *argv[])
{
	uint64_t first = (uint64_t)time(NULL) % 1000000 + 1;
	uint64_t seeds = SEEDS, seed;

	if (argc > 1) {
		first = strtoull(argv[1], NULL, 10);
		seeds = 1;
	}
	state = first;
	printf("# seeds from %llu\n", (unsigned long long)first);
	test_refusals();
	test_pipe(0);
	test_pipe(7);
	test_unreadable();
	for (seed = first; seed < first + seeds && reads_back(seed); seed++)
		;
	if (seed < first + seeds)
		printf("# seed %llu\n", (unsigned long long)seed);
	CHECK(seed == first + seeds);
	return check_done();
}
