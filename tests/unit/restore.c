/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of chance, and some that nobody should write, into files of every
 * sort.  The seed is printed, and may be given as the argument.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "tape.h"
#include "xbzrle.h"

#define PAGE	4096u
#define PAGES	24u		/* of a region at most */
#define REGIONS	3u
#define ROOM	(8u << 20)	/* of a chain of streams */

/* The memory as it is, and the stream that is being written. */
static struct pm_region region[REGIONS];
static uint8_t memory[REGIONS][PAGES][PAGE];
static uint32_t regions;
static unsigned shift = 12;

static char directory[] = "/dev/shm/pm-restore-XXXXXX";
static char path[64];

static uint32_t
pages_of(uint32_t number)
{
	return (uint32_t)pm_region_pages(region[number].length, shift);
}

static struct pm_digest
generation(void)
{
	struct pm_digest id = pm_layout_id(region, regions);

	for (uint32_t i = 0; i < regions; i++)
		for (uint32_t page = 0; page < pages_of(i); page++)
			id = pm_digest_add(id, pm_hash_page(pm_hash_content(
			    memory[i][page], PAGE), region[i].key, page));
	return id;
}

static void
put_region(uint32_t number)
{
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region[number], number, rec);
	put();
}

/* Give regions new lengths, and lose what stood behind. */
static void
resize(uint32_t number, uint64_t length)
{
	uint64_t old = region[number].old_length = region[number].length;
	uint8_t *bytes = memory[number][0];

	region[number].length = length;
	if (length < old)
		memset(bytes + length, 0, (size_t)(sizeof(memory[0]) - length));
}

static void
begin_pages(uint32_t number, uint64_t first)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->region = number;
	rec->first = first;
}

/* The bytes of a page that lie within its region. */
static size_t
within(uint32_t number, uint64_t page)
{
	uint64_t left = region[number].length - page * PAGE;

	return left < PAGE ? (size_t)left : PAGE;
}

static void
add_page(enum pm_kind kind, uint64_t page)
{
	uint8_t *is = memory[rec->region][page], old[PAGE];
	size_t most = within(rec->region, page), size = PAGE;

	memcpy(old, is, PAGE);
	if (kind == PM_RAW)
		memset(is, (int)chance(4), most);
	for (uint64_t i = 1 + chance(5); kind != PM_SAME && i > 0; i--)
		is[chance(most)] = (uint8_t)chance(256);
	if (kind == PM_DELTA)
		size = pm_xbzrle_encode(old, is, PAGE, rec->payload +
		    rec->stored, PAGE);
	if (size == 0 || size > PAGE)	/* equal, or too long */
		kind = PM_RAW;
	if (kind == PM_RAW) {
		size = PAGE;
		memcpy(rec->payload + rec->stored, is, PAGE);
	}
	rec->entry[rec->entries++] = pm_entry_of((uint32_t)(page -
	    rec->first), kind, kind == PM_SAME ? 1 : (uint32_t)size);
	if (kind != PM_SAME)
		rec->decoded = rec->stored += (uint32_t)size;
	rec->digest = pm_digest_add(rec->digest, pm_hash_page(
	    pm_hash_content(is, PAGE), region[rec->region].key, page));
}

static void
add_run(enum pm_kind kind, uint64_t page, uint32_t pages)
{
	rec->entry[rec->entries++] = pm_entry_of((uint32_t)(page -
	    rec->first), kind, pages);
	memset(memory[rec->region][page], 0, pages * PAGE);
}

/* A record of some pages of a region, with gaps where that may be. */
static void
put_pages(uint32_t number, uint64_t from, uint64_t to, int gaps, int deltas)
{
	begin_pages(number, from);
	while (from < to) {
		uint64_t kind = chance(6), run = 1 + chance(4);

		if (run > to - from)
			run = to - from;
		if (kind < 2 || (!deltas && kind > 3)) {
			add_page(PM_RAW, from);
			run = 1;
		} else if (kind < 4)
			add_run(kind == 2 ? PM_ZERO : PM_GONE, from,
			    (uint32_t)run);
		else {
			add_page(kind == 4 ? PM_DELTA : PM_SAME, from);
			run = 1;
		}
		from += run;
		if (gaps && chance(3) == 0)
			from += chance(4);
	}
	put();
}

/* All pages of all regions, in parts and in no order, some of them twice. */
static void
put_full(void)
{
	struct { uint32_t number, from, to; } part[REGIONS * PAGES], one;
	unsigned parts = 0;

	memset(memory, 0, sizeof(memory));
	for (uint32_t i = 0; i < regions; i++)
		for (uint32_t at = 0; at < pages_of(i);) {
			uint32_t end = at + 1 + (uint32_t)chance(8);

			part[parts].number = i;
			part[parts].from = at;
			part[parts].to = at = end < pages_of(i) ? end
			    : pages_of(i);
			parts++;
		}
	for (unsigned i = 0; i < parts; i++) {
		unsigned with = (unsigned)chance(parts);

		one = part[i];
		part[i] = part[with];
		part[with] = one;
	}
	for (unsigned i = 0; i < parts; i++) {
		put_pages(part[i].number, part[i].from, part[i].to, 0, 0);
		if (chance(3) == 0)
			put_pages(part[i].number, part[i].from, part[i].to,
			    0, 0);
		if (chance(5) == 0)
			put_round(generation());
	}
}

static void
put_changes(void)
{
	uint32_t last = regions - 1, cut = (uint32_t)(region[last].length /
	    PAGE);

	/* A page that lost its end is another page. */
	if (region[last].length < region[last].old_length &&
	    region[last].length % PAGE != 0) {
		begin_pages(last, cut);
		add_page(PM_RAW, cut);
		put();
	}
	for (unsigned i = 0; i < 6; i++) {
		uint32_t number = (uint32_t)chance(regions);
		uint64_t all = pages_of(number), from;

		if (all == 0)
			continue;
		from = chance(all);
		put_pages(number, from, from + 1 + chance(all - from), 1, 1);
		if (chance(4) == 0)
			put_round(generation());
	}
}

/* A full stream of new regions, or one of changes. */
static void
put_generation(int full, int late)
{
	struct pm_digest from = full ? (struct pm_digest){ 0, 0 }
	    : generation();
	uint32_t needs = full ? 0 : PM_NEEDS_DELTA;

	for (uint32_t i = 0; i < regions; i++) {
		uint64_t length = chance(PAGES * PAGE + 1);

		if (full) {
			resize(i, length);
			region[i].old_length = 0;
		} else if (i + 1 == regions)
			resize(i, chance(2) == 0 ? length : region[i].length);
		else
			resize(i, region[i].length);
	}
	put_stream(shift, late ? (struct pm_digest){ 0, 0 } : from,
	    needs | (late ? PM_NEEDS_LATE_FROM : 0));
	for (uint32_t i = 0; i < regions; i++)
		put_region(i);
	if (full)
		put_full();
	else
		put_changes();
	put_end(from, generation());
}

static enum pm_status
restore(int in_place, int trust_table, uint64_t *generations)
{
	enum pm_status status = apply(path, in_place, trust_table);

	*generations = counts.generations;
	return status;
}

/* Whether the file holds the memory, and not a byte more. */
static int
file_is_memory(void)
{
	static uint8_t bytes[REGIONS * PAGES * PAGE + PAGE];
	static uint8_t wants[sizeof(bytes)];
	size_t size = 0, end = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY);

	for (uint32_t i = 0; i < regions; i++) {
		memcpy(wants + end, memory[i], pages_of(i) * PAGE);
		if (region[i].length > 0)
			size = end + (size_t)region[i].length;
		end += pages_of(i) * PAGE;
	}
	got = read(fd, bytes, sizeof(bytes));
	close(fd);
	return got == (ssize_t)size && memcmp(bytes, wants, size) == 0;
}

static void
name_regions(uint32_t count)
{
	static const char *const name[REGIONS] = { "one", "two", "three" };

	regions = count;
	memset(memory, 0, sizeof(memory));
	for (uint32_t i = 0; i < REGIONS; i++) {
		region[i] = (struct pm_region){ .address = i << 20 };
		strcpy(region[i].name, name[i]);
		region[i].key = pm_hash_key(name[i], strlen(name[i]));
	}
}

static void
test_chance(void)
{
	unsigned failed = 0;
	uint64_t generations;

	for (unsigned round = 0; round < 300; round++) {
		int in_place = chance(2) == 0, table = chance(2) == 0;
		unsigned streams = 1 + (unsigned)chance(4);
		enum pm_status status;

		if (chance(4) == 0)
			unlink(path);
		name_regions(1 + (uint32_t)chance(REGIONS));
		start_wire();
		put_generation(1, 0);
		for (unsigned i = 1; i < streams; i++)
			put_generation(0, !in_place && chance(3) == 0);
		status = restore(in_place, table, &generations);
		if (status == PM_END && generations == streams &&
		    file_is_memory())
			continue;
		failed++;
		printf("# round %u, in place %d, table %d: %s\n", round,
		    in_place, table, fault.text);
	}
	CHECK(failed == 0);
}

/* The same, but a target that has it, applied one stream at a time. */
static void
test_steps(void)
{
	unsigned failed = 0;
	uint64_t generations;

	for (unsigned round = 0; round < 40; round++) {
		int in_place = chance(2) == 0;

		name_regions(1 + (uint32_t)chance(REGIONS));
		for (unsigned i = 0; i < 5; i++) {
			start_wire();
			put_generation(i == 0, 0);
			if (restore(in_place, round % 2 == 0, &generations) !=
			    PM_END || !file_is_memory()) {
				printf("# round %u: %s\n", round, fault.text);
				failed++;
			}
		}
	}
	CHECK(failed == 0);
}

/* A small memory in the file, and a stream begun that starts from it. */
static void
begin_small(uint64_t length, uint32_t needs)
{
	uint64_t generations;
	struct pm_digest from;

	name_regions(1);
	unlink(path);
	start_wire();
	resize(0, length);
	region[0].old_length = 0;
	put_stream(shift, (struct pm_digest){ 0, 0 }, 0);
	put_region(0);
	put_full();
	begin_pages(0, 2);
	add_page(PM_RAW, 2);
	put();
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(restore(0, 0, &generations) == PM_END);
	from = generation();
	start_wire();
	region[0].old_length = region[0].length;
	put_stream(shift, from, needs);
	put_region(0);
}

static int
is_refused(enum pm_status wants, const char *words)
{
	uint64_t generations;
	struct stat before, after;
	int there = stat(path, &before) == 0;
	enum pm_status status = restore(0, 0, &generations);

	if (there && (stat(path, &after) != 0 ||
	    before.st_ino != after.st_ino ||
	    before.st_mtim.tv_nsec != after.st_mtim.tv_nsec))
		printf("# the file changed\n");
	else if (status == wants && strstr(fault.text, words) != NULL)
		return 1;
	printf("# %d %s\n", status, fault.text);
	return 0;
}

static void
test_lies(void)
{
	struct pm_digest from, to;

	/* It leads elsewhere than it says. */
	begin_small(20000, 0);
	from = generation();
	put_pages(0, 1, 2, 0, 0);
	to = generation();
	to.low++;
	put_end(from, to);
	CHECK(is_refused(PM_ERR_MISMATCH, "leads to generation "));

	/* Or a round does. */
	begin_small(20000, 0);
	from = generation();
	put_pages(0, 1, 2, 0, 0);
	to = generation();
	to.high++;
	put_round(to);
	put_end(from, generation());
	CHECK(is_refused(PM_ERR_MISMATCH, "leads to generation "));

	/* A digest of other pages. */
	begin_small(20000, 0);
	from = generation();
	begin_pages(0, 0);
	add_page(PM_RAW, 0);
	rec->digest.high ^= 1;
	put();
	put_end(from, generation());
	CHECK(is_refused(PM_ERR_CORRUPT, "were damaged on the way"));

	/* Something behind the end of the region. */
	begin_small(20000, 0);
	from = generation();
	region[0].length = 20480;
	begin_pages(0, 4);
	add_page(PM_RAW, 4);
	rec->digest = pm_digest_subtract(rec->digest, pm_hash_page(
	    pm_hash_content(memory[0][4], PAGE), region[0].key, 4));
	memory[0][4][PAGE - 1] = rec->payload[PAGE - 1] = 1;
	rec->digest = pm_digest_add(rec->digest, pm_hash_page(
	    pm_hash_content(memory[0][4], PAGE), region[0].key, 4));
	region[0].length = 20000;
	put();
	put_end(from, generation());
	CHECK(is_refused(PM_ERR_CORRUPT, "behind the end of the region"));

	/* Pages of another size than those of the target before. */
	begin_small(20000, 0);
	wire_size = 0;
	from = generation();
	shift = 16;
	put_stream(shift, from, 0);
	put_region(0);
	put_end(from, from);
	shift = 12;
	CHECK(is_refused(PM_ERR_MISMATCH, "holds generation"));
}

/* The id of a chain is known, so nothing but the size of pages is wrong. */
static void
test_other_pages(void)
{
	uint64_t generations;
	struct pm_digest id;

	name_regions(1);
	unlink(path);
	start_wire();
	resize(0, 20 * PAGE);
	region[0].old_length = 0;
	put_stream(shift, (struct pm_digest){ 0, 0 }, 0);
	put_region(0);
	put_full();
	id = generation();
	put_end((struct pm_digest){ 0, 0 }, id);
	region[0].old_length = region[0].length;
	shift = 16;
	put_stream(shift, id, 0);
	put_region(0);
	shift = 12;
	put_end(id, id);
	CHECK(restore(0, 0, &generations) == PM_ERR_MISMATCH);
	CHECK(generations == 1 && strstr(fault.text,
	    "has pages of 4096 bytes, the stream of 65536") != NULL);
	CHECK(file_is_memory());
}

static void
put_process(uint64_t start, uint32_t flags)
{
	struct pm_mapping mapping = { .start = start, .end = start + 2 * PAGE,
	    .flags = flags, .name = "", };

	name_regions(1);
	unlink(path);
	start_wire();
	region[0].kind = PM_REGION_PROCESS;
	region[0].length = PAGES * PAGE;
	put_stream(shift, (struct pm_digest){ 0, 0 }, 0);
	put_region(0);
	pm_record_clear(rec, PM_TYPE_MAP);
	if (pm_mapping_pack(&mapping, rec))
		put();
}

static void
test_processes(void)
{
	uint64_t generations;

	put_process(4 * PAGE, PM_MAPPING_CARRIED);
	begin_pages(0, 3);
	add_run(PM_GONE, 3, 1);
	add_page(PM_RAW, 4);
	add_page(PM_RAW, 5);
	put();
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(restore(0, 1, &generations) == PM_END);
	CHECK(restore(0, 1, &generations) == PM_END);
	CHECK(restore(1, 0, &generations) == PM_ERR_REFUSED);

	put_process(4 * PAGE, PM_MAPPING_CARRIED);
	begin_pages(0, 3);
	add_page(PM_RAW, 3);
	put();
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(is_refused(PM_ERR_CORRUPT, "no place in the file"));

	put_process(4 * PAGE, 0);
	begin_pages(0, 4);
	add_page(PM_RAW, 4);
	put();
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(is_refused(PM_ERR_CORRUPT, "no place in the file"));

	put_process(PAGES * PAGE, PM_MAPPING_CARRIED);
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(is_refused(PM_ERR_CORRUPT, "mapping lies outside the region"));

	put_process(4 * PAGE, PM_MAPPING_CARRIED);
	pm_record_clear(rec, PM_TYPE_MAP);
	rec->flags = PM_FLAG_SKIPPABLE;
	put();
	put_end((struct pm_digest){ 0, 0 }, generation());
	CHECK(restore(0, 0, &generations) == PM_END);
	CHECK(access(path, F_OK) == 0);
}

int
main(int argc, char *argv[])
{
	start_tape(ROOM, argc > 1 ? strtoull(argv[1], NULL, 10)
	    : (uint64_t)time(NULL));
	/* In memory, for each generation is made durable. */
	if (access("/dev/shm", W_OK) != 0)
		strcpy(directory, "/tmp/pm-restore-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/target", directory);
	test_chance();
	test_steps();
	test_lies();
	test_other_pages();
	test_processes();
	unlink(path);
	strcat(path, ".pm-table");
	unlink(path);
	CHECK(rmdir(directory) == 0);
	end_tape();
	return check_done();
}
