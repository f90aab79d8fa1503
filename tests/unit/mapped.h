/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mapped.h - streams of a process whose mappings change on the way.
 */
#ifndef MAPPED_H
#define MAPPED_H

#include <time.h>
#include <unistd.h>

#include "tape.h"
#include "xbzrle.h"

#define PAGE	4096u
#define PAGES	48u
#define CARRIED	(PM_MAPPING_READ | PM_MAPPING_CARRIED)

static struct pm_region process = { .kind = PM_REGION_PROCESS,
    .length = PAGES * PAGE, .machine = 62, .name = "process" };
static uint8_t memory[PAGES][PAGE];
static const struct pm_digest none;

static char directory[] = "/dev/shm/pm-remap-XXXXXX";
static char path[64], table[80];

static struct pm_digest
generation(void)
{
	struct pm_digest id = pm_layout_id(&process, 1);

	for (uint32_t page = 0; page < PAGES; page++)
		id = pm_digest_add(id, pm_hash_page(pm_hash_content(
		    memory[page], PAGE), process.key, page));
	return id;
}

static void
begin_list(void)
{
	pm_record_clear(rec, PM_TYPE_MAP);
	rec->flags = PM_FLAG_SKIPPABLE;
}

static void
put_mapping(uint64_t from, uint64_t to, uint32_t flags, const char *name)
{
	struct pm_mapping mapping = { .start = from * PAGE,
	    .end = to * PAGE, .flags = flags, .name = name,
	    .name_size = (uint32_t)strlen(name) };

	if (pm_mapping_pack(&mapping, rec))
		return;
	put();
	begin_list();
	(void)pm_mapping_pack(&mapping, rec);
}

/* Long enough that heads come in several sizes. */
static const char *
name_of(uint32_t page)
{
	static const char path_of_it[] = "/usr/lib/a/directory/with/a/very/"
	    "long/name/in/which/there/are/more/and/more/and/more/directories/"
	    "until/at/last/there/is/a/library/of/some/sort.so";

	return page % 3 == 0 ? "" : path_of_it + page;
}

static void
begin_stream(struct pm_digest from, uint32_t needs)
{
	put_stream(12, from, needs);
	process.old_length = (needs & PM_NEEDS_LATE_FROM) == 0 &&
	    pm_digest_is_zero(from) ? 0 : process.length;
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&process, 0, rec);
	put();
}

static void
begin_pages(uint64_t first)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->first = first;
}

/* A page as it is now; before is what the target has. */
static void
add_page(enum pm_kind kind, uint32_t page, const uint8_t *before)
{
	uint32_t size = PAGE;

	if (kind == PM_DELTA) {
		size = (uint32_t)pm_xbzrle_encode(before, memory[page], PAGE,
		    rec->payload + rec->stored, PAGE);
		if (size == 0 || size > PAGE) {
			kind = PM_RAW;
			size = PAGE;
		}
	}
	if (kind == PM_RAW)
		memcpy(rec->payload + rec->stored, memory[page], PAGE);
	rec->entry[rec->entries++] = pm_entry_of(page - (uint32_t)rec->first,
	    kind, kind == PM_SAME ? 1 : size);
	if (kind != PM_SAME)
		rec->decoded = rec->stored += size;
	rec->digest = pm_digest_add(rec->digest, pm_hash_page(
	    pm_hash_content(memory[page], PAGE), process.key, page));
}

static void
add_run(enum pm_kind kind, uint32_t page, uint32_t pages)
{
	rec->entry[rec->entries++] = pm_entry_of(page - (uint32_t)rec->first,
	    kind, pages);
	memset(memory[page], 0, (size_t)pages * PAGE);
}

/* Whether its table, if there is one, is that of the process. */
static int
has_table(void)
{
	struct pm_table known;
	int good;

	if (pm_table_open(&known, table, NULL) != PM_OK)
		return 0;
	good = pm_digest_equal(known.id, generation());
	pm_table_close(&known);
	return good;
}

/*
 * A seed from the arguments or the clock; a directory in memory, for each
 * generation is made durable.
 */
static void
start_mapped(int argc, char *argv[])
{
	process.key = pm_hash_key(process.name, strlen(process.name));
	start_tape(64u << 20, argc > 1 ? strtoull(argv[1], NULL, 10)
	    : (uint64_t)time(NULL));
	if (access("/dev/shm", W_OK) != 0)
		strcpy(directory, "/tmp/pm-remap-XXXXXX");
	if (mkdtemp(directory) == NULL)
		exit(1);
	snprintf(path, sizeof(path), "%s/target", directory);
	snprintf(table, sizeof(table), "%s.pm-table", path);
}

static void
end_mapped(void)
{
	unlink(path);
	unlink(table);
	CHECK(rmdir(directory) == 0);
	end_tape();
}

#endif /* MAPPED_H */
