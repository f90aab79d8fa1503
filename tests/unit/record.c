/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "check.h"
#include "record.h"

static uint8_t wire[PM_HEAD_SIZE + PM_ENTRIES_MAX * PM_ENTRY_SIZE];
static struct pm_record *rec, *back;

/* What a reader makes of rec, in back. */
static enum pm_status
reread(void)
{
	enum pm_status status;

	pm_record_seal(rec, wire);
	status = pm_record_unpack_head(back, wire, NULL);
	if (status != PM_OK)
		return status;
	back->page_shift = rec->page_shift;
	memcpy(back->payload, rec->payload, rec->stored);
	return pm_record_unpack_body(back, wire, wire + PM_HEAD_SIZE, NULL);
}

static void
begin(enum pm_type type)
{
	pm_record_clear(rec, type);
	rec->page_shift = 12;
}

static void
check_limits(void)
{
	begin(PM_TYPE_PAGES);
	for (uint32_t i = 0; i < PM_ENTRIES_MAX; i++)
		rec->entry[rec->entries++] = pm_entry_of(i * 2, PM_ZERO, 1);
	CHECK(reread() == PM_OK && back->entries == PM_ENTRIES_MAX);
	CHECK(pm_record_pages(back) == PM_ENTRIES_MAX);
	CHECK(pm_record_span(back) == 2 * PM_ENTRIES_MAX - 1);

	begin(PM_TYPE_OPAQUE);
	rec->stored = rec->decoded = PM_PAYLOAD_MAX;
	memset(rec->payload, 1, PM_PAYLOAD_MAX);
	CHECK(reread() == PM_OK && back->stored == PM_PAYLOAD_MAX);
	CHECK(pm_record_pages(back) == 0 && pm_record_span(back) == 0);

	begin(PM_TYPE_PAGES);
	rec->entries = 2;
	rec->entry[0] = pm_entry_of(0, PM_GONE, PM_RUN_MAX);
	rec->entry[1] = pm_entry_of(UINT32_MAX, PM_GONE, PM_RUN_MAX);
	rec->first = PM_PAGES_MAX - UINT32_MAX - PM_RUN_MAX;
	CHECK(reread() == PM_OK);
	CHECK(pm_record_span(back) == (uint64_t)UINT32_MAX + PM_RUN_MAX);
	rec->first++;
	CHECK(reread() == PM_ERR_CORRUPT);
}

/* Each kind of entry, with gaps, at each page size. */
static int
entries_come_back(unsigned shift)
{
	uint32_t size = 1u << shift;

	begin(PM_TYPE_PAGES);
	rec->page_shift = shift;
	rec->region = 3;
	rec->first = 7;
	rec->entry[rec->entries++] = pm_entry_of(0, PM_RAW, size);
	rec->entry[rec->entries++] = pm_entry_of(1, PM_DELTA, size);
	rec->entry[rec->entries++] = pm_entry_of(5, PM_DELTA, 1);
	rec->entry[rec->entries++] = pm_entry_of(6, PM_SAME, 2);
	rec->entry[rec->entries++] = pm_entry_of(9, PM_ZERO, 1);
	rec->entry[rec->entries++] = pm_entry_of(10, PM_GONE, 90);
	rec->stored = rec->decoded = 2 * size + 1;
	memset(rec->payload, 9, rec->stored);
	rec->digest = (struct pm_digest){ 5, 6 };
	return reread() == PM_OK && back->region == 3 && back->first == 7 &&
	    pm_digest_equal(back->digest, rec->digest) &&
	    memcmp(back->entry, rec->entry,
	    rec->entries * sizeof(rec->entry[0])) == 0 &&
	    pm_record_pages(back) == 96 && pm_record_span(back) == 100;
}

static enum pm_status
reread_region(const struct pm_region *region, unsigned shift)
{
	struct pm_region got;
	enum pm_status status;

	begin(PM_TYPE_REGION);
	pm_region_pack(region, 2, rec);
	if ((status = reread()) != PM_OK)
		return status;
	status = pm_region_unpack(&got, back, shift, NULL);
	if (status == PM_OK && (got.length != region->length ||
	    got.old_length != region->old_length ||
	    got.address != region->address || got.kind != region->kind ||
	    got.machine != region->machine || back->region != 2 ||
	    got.key != pm_hash_key(region->name, strlen(region->name)) ||
	    strcmp(got.name, region->name) != 0))
		return PM_ERR_MISMATCH;
	return status;
}

static void
check_regions(void)
{
	struct pm_region region = { .address = 0x40000, .length = 5000,
	    .old_length = 1, .kind = PM_REGION_PROCESS, .machine = 62 };

	memset(region.name, 'n', PM_NAME_MAX);
	CHECK(reread_region(&region, 12) == PM_OK);
	region.name[1] = '\0';
	CHECK(reread_region(&region, 12) == PM_OK);
	region.length = (uint64_t)INT64_MAX - 4095;
	CHECK(reread_region(&region, 12) == PM_OK);
	CHECK(reread_region(&region, 13) == PM_ERR_CORRUPT);
	region.length++;
	CHECK(reread_region(&region, 12) == PM_ERR_CORRUPT);
	region.length = 4096;
	region.old_length = (uint64_t)INT64_MAX;
	CHECK(reread_region(&region, 12) == PM_ERR_CORRUPT);
	region.old_length = 0;
	region.address = UINT64_MAX - 4095;
	CHECK(reread_region(&region, 12) == PM_ERR_CORRUPT);
	region.length = 4095;
	CHECK(reread_region(&region, 12) == PM_OK);
	CHECK(reread_region(&region, 13) == PM_ERR_CORRUPT);
	region.kind = 2;
	CHECK(reread_region(&region, 12) == PM_ERR_VERSION);
}

static void
check_mappings(void)
{
	static char name[PM_MAPPING_NAME_MAX + 2];
	struct pm_mapping mapping = { .start = 4096, .end = 12288,
	    .offset = 8192, .flags = PM_MAPPING_READ | PM_MAPPING_CARRIED,
	    .name = name, .name_size = PM_MAPPING_NAME_MAX }, got;
	uint32_t count = 0, at = 0;

	memset(name, '/', sizeof(name));
	begin(PM_TYPE_MAP);
	while (pm_mapping_pack(&mapping, rec))
		count++;
	CHECK(count == PM_PAYLOAD_MAX / (32 + PM_MAPPING_NAME_MAX));
	CHECK(reread() == PM_OK);
	while (pm_mapping_unpack(&got, back, &at, NULL) == PM_OK) {
		if (got.start != 4096 || got.end != 12288 ||
		    got.offset != 8192 || got.flags != mapping.flags ||
		    got.name_size != PM_MAPPING_NAME_MAX)
			break;
		count--;
	}
	CHECK(count == 0 && at == back->stored);
	begin(PM_TYPE_MAP);
	mapping.name_size++;
	CHECK(!pm_mapping_pack(&mapping, rec));
}

static void
check_others(void)
{
	struct pm_stream stream = { .version = 1, .page_shift = 16,
	    .needs = PM_NEEDS_DELTA, .may = 0x80000001, .cache_pages = 77,
	    .from = { 1, 2 } }, stream_back;
	struct pm_round round = { .number = 3, .known = 1,
	    .generation = { 4, 5 }, .records = 6, .pages = 7, .pending = 8 },
	    round_back;
	struct pm_end end = { .to = { 1, 2 }, .from = { 3, 4 },
	    .records = 5, .pages = 6 }, end_back;

	begin(PM_TYPE_STREAM);
	pm_stream_pack(&stream, rec);
	CHECK(reread() == PM_OK);
	CHECK(pm_stream_unpack(&stream_back, back, NULL) == PM_OK);
	CHECK(stream_back.may == stream.may && stream_back.cache_pages == 77
	    && stream_back.page_shift == 16 && stream_back.needs == 1);
	CHECK(pm_digest_equal(stream_back.from, stream.from));

	begin(PM_TYPE_ROUND);
	pm_round_pack(&round, rec);
	CHECK(reread() == PM_OK);
	CHECK(pm_round_unpack(&round_back, back, NULL) == PM_OK);
	CHECK(round_back.number == 3 && round_back.known == 1 &&
	    pm_digest_equal(round_back.generation, round.generation) &&
	    round_back.records == 6 && round_back.pages == 7 &&
	    round_back.pending == 8);

	begin(PM_TYPE_END);
	pm_end_pack(&end, rec);
	CHECK(reread() == PM_OK);
	CHECK(pm_end_unpack(&end_back, back, NULL) == PM_OK);
	CHECK(pm_digest_equal(end_back.to, end.to) &&
	    pm_digest_equal(end_back.from, end.from) &&
	    end_back.records == 5 && end_back.pages == 6);
}

int
main(void)
{
	struct pm_record kept;

	rec = pm_record_new();
	back = pm_record_new();
	if (rec == NULL || back == NULL)
		return 1;
	CHECK((uintptr_t)rec->payload % 4096 == 0);
	kept = *rec;
	begin(PM_TYPE_END);
	CHECK(rec->payload == kept.payload && rec->entry == kept.entry);
	check_limits();
	CHECK(entries_come_back(12));
	CHECK(entries_come_back(16));
	check_regions();
	check_mappings();
	check_others();
	CHECK(pm_region_pages(0, 12) == 0 && pm_region_pages(1, 12) == 1 &&
	    pm_region_pages(4096, 12) == 1 && pm_region_pages(4097, 12) == 2);
	pm_record_free(rec);
	pm_record_free(back);
	pm_record_free(NULL);
	return check_done();
}
