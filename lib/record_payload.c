/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "record.h"

/* Where each field of a payload stands; see pm-stream(5). */
enum {
	STREAM_VERSION = 0,	/* 2 */
	STREAM_PAGE_SHIFT = 2,	/* 1, then 1 of zero */
	STREAM_NEEDS = 4,	/* 4 */
	STREAM_MAY = 8,		/* 4 */
	STREAM_CACHE = 12,	/* 4 */
	STREAM_FROM = 16,	/* 16 */
	STREAM_SIZE = 32,

	REGION_ADDRESS = 0,	/* 8 */
	REGION_LENGTH = 8,	/* 8 */
	REGION_OLD_LENGTH = 16,	/* 8 */
	REGION_KIND = 24,	/* 2 */
	REGION_MACHINE = 26,	/* 2 */
	REGION_NAME_SIZE = 28,	/* 2, then 2 of zero */
	REGION_NAME = 32,	/* to the end */

	MAPPING_START = 0,	/* 8 */
	MAPPING_END = 8,	/* 8 */
	MAPPING_OFFSET = 16,	/* 8 */
	MAPPING_FLAGS = 24,	/* 4 */
	MAPPING_NAME_SIZE = 28,	/* 4 */
	MAPPING_NAME = 32,

	ROUND_NUMBER = 0,	/* 4 */
	ROUND_KNOWN = 4,	/* 4: 0 or 1 */
	ROUND_GENERATION = 8,	/* 16 */
	ROUND_RECORDS = 24,	/* 8 */
	ROUND_PAGES = 32,	/* 8 */
	ROUND_PENDING = 40,	/* 8 */
	ROUND_SIZE = 48,

	END_TO = 0,		/* 16 */
	END_FROM = 16,		/* 16 */
	END_RECORDS = 32,	/* 8 */
	END_PAGES = 40,		/* 8 */
	END_SIZE = 48,
};

static enum pm_status
corrupt(struct pm_fault *fault, const char *what)
{
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL, "%s", what);
}

static void
set_payload(struct pm_record *rec, uint32_t size)
{
	rec->stored = rec->decoded = size;
}

void
pm_stream_pack(const struct pm_stream *stream, struct pm_record *rec)
{
	uint8_t *p = rec->payload;

	memset(p, 0, STREAM_SIZE);
	pm_put_le(p + STREAM_VERSION, stream->version, 2);
	p[STREAM_PAGE_SHIFT] = (uint8_t)stream->page_shift;
	pm_put_le(p + STREAM_NEEDS, stream->needs, 4);
	pm_put_le(p + STREAM_MAY, stream->may, 4);
	pm_put_le(p + STREAM_CACHE, stream->cache_pages, 4);
	pm_digest_pack(stream->from, p + STREAM_FROM);
	set_payload(rec, STREAM_SIZE);
}

enum pm_status
pm_stream_unpack(struct pm_stream *stream, const struct pm_record *rec,
    struct pm_fault *fault)
{
	const uint8_t *p = rec->payload;

	if (rec->stored < STREAM_SIZE)
		return corrupt(fault, "stream record is too short");
	*stream = (struct pm_stream){
		.version = (unsigned)pm_get_le(p + STREAM_VERSION, 2),
		.page_shift = p[STREAM_PAGE_SHIFT],
		.needs = (uint32_t)pm_get_le(p + STREAM_NEEDS, 4),
		.may = (uint32_t)pm_get_le(p + STREAM_MAY, 4),
		.cache_pages = (uint32_t)pm_get_le(p + STREAM_CACHE, 4),
		.from = pm_digest_unpack(p + STREAM_FROM),
	};
	if (stream->version > PM_VERSION_MAX)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "format version %u is newer than %u", stream->version,
		    PM_VERSION_MAX);
	if ((stream->needs & ~(uint32_t)PM_NEEDS_KNOWN) != 0)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "features %#" PRIx32 " need a newer version",
		    stream->needs & ~(uint32_t)PM_NEEDS_KNOWN);
	if (stream->version == 0 || rec->stored != STREAM_SIZE ||
	    p[STREAM_PAGE_SHIFT + 1] != 0)
		return corrupt(fault, "stream record has a bad field");
	if (stream->page_shift < PM_PAGE_SHIFT_MIN ||
	    stream->page_shift > PM_PAGE_SHIFT_MAX)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "page shift %u is not in 12..16", stream->page_shift);
	if ((stream->needs & PM_NEEDS_LATE_FROM) != 0 &&
	    !pm_digest_is_zero(stream->from))
		return corrupt(fault, "from is given twice");
	return PM_OK;
}

void
pm_region_pack(const struct pm_region *region, uint32_t number,
    struct pm_record *rec)
{
	uint8_t *p = rec->payload;
	size_t size = strlen(region->name);

	rec->region = number;
	memset(p, 0, REGION_NAME);
	pm_put_le(p + REGION_ADDRESS, region->address, 8);
	pm_put_le(p + REGION_LENGTH, region->length, 8);
	pm_put_le(p + REGION_OLD_LENGTH, region->old_length, 8);
	pm_put_le(p + REGION_KIND, region->kind, 2);
	pm_put_le(p + REGION_MACHINE, region->machine, 2);
	pm_put_le(p + REGION_NAME_SIZE, size, 2);
	memcpy(p + REGION_NAME, region->name, size);
	set_payload(rec, (uint32_t)(REGION_NAME + size));
}

enum pm_status
pm_region_unpack(struct pm_region *region, const struct pm_record *rec,
    unsigned page_shift, struct pm_fault *fault)
{
	const uint8_t *p = rec->payload;
	uint64_t longest = PM_PAGES_MAX, mask;
	size_t size;

	if (rec->stored < REGION_NAME)
		return corrupt(fault, "region record is too short");
	size = (size_t)pm_get_le(p + REGION_NAME_SIZE, 2);
	if (size == 0 || size > PM_NAME_MAX ||
	    rec->stored != REGION_NAME + size ||
	    pm_get_le(p + REGION_NAME_SIZE + 2, 2) != 0 ||
	    memchr(p + REGION_NAME, '\0', size) != NULL)
		return corrupt(fault, "region has a bad name");
	*region = (struct pm_region){
		.address = pm_get_le(p + REGION_ADDRESS, 8),
		.length = pm_get_le(p + REGION_LENGTH, 8),
		.old_length = pm_get_le(p + REGION_OLD_LENGTH, 8),
		.kind = (unsigned)pm_get_le(p + REGION_KIND, 2),
		.machine = (unsigned)pm_get_le(p + REGION_MACHINE, 2),
		.key = pm_hash_key((const char *)p + REGION_NAME, size),
	};
	memcpy(region->name, p + REGION_NAME, size);
	if (region->kind > PM_REGION_PROCESS)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "region kind %u needs a newer version", region->kind);
	/* File offsets are signed, and so is what a region may reach. */
	mask = (UINT64_C(1) << page_shift) - 1;
	if (longest > (uint64_t)INT64_MAX >> page_shift)
		longest = (uint64_t)INT64_MAX >> page_shift;
	if (pm_region_pages(region->length, page_shift) > longest ||
	    pm_region_pages(region->old_length, page_shift) > longest)
		return corrupt(fault, "region is too long");
	if ((region->address & mask) != 0 ||
	    region->address > UINT64_MAX - region->length)
		return corrupt(fault, "region has a bad address");
	return PM_OK;
}

int
pm_mapping_pack(const struct pm_mapping *mapping, struct pm_record *rec)
{
	uint8_t *p = rec->payload + rec->stored;

	if (mapping->name_size > PM_MAPPING_NAME_MAX ||
	    rec->stored + MAPPING_NAME + mapping->name_size > PM_PAYLOAD_MAX)
		return 0;
	rec->flags = PM_FLAG_SKIPPABLE;
	pm_put_le(p + MAPPING_START, mapping->start, 8);
	pm_put_le(p + MAPPING_END, mapping->end, 8);
	pm_put_le(p + MAPPING_OFFSET, mapping->offset, 8);
	pm_put_le(p + MAPPING_FLAGS, mapping->flags, 4);
	pm_put_le(p + MAPPING_NAME_SIZE, mapping->name_size, 4);
	memcpy(p + MAPPING_NAME, mapping->name, mapping->name_size);
	set_payload(rec, rec->stored + MAPPING_NAME + mapping->name_size);
	return 1;
}

enum pm_status
pm_mapping_unpack(struct pm_mapping *mapping, const struct pm_record *rec,
    uint32_t *at, struct pm_fault *fault)
{
	const uint8_t *p = rec->payload + *at;
	uint32_t left = rec->stored - *at;
	uint64_t mask = (UINT64_C(1) << rec->page_shift) - 1;

	if (left == 0)
		return PM_END;
	if (left < MAPPING_NAME)
		return corrupt(fault, "mapping is cut short");
	*mapping = (struct pm_mapping){
		.start = pm_get_le(p + MAPPING_START, 8),
		.end = pm_get_le(p + MAPPING_END, 8),
		.offset = pm_get_le(p + MAPPING_OFFSET, 8),
		.flags = (uint32_t)pm_get_le(p + MAPPING_FLAGS, 4),
		.name_size = (uint32_t)pm_get_le(p + MAPPING_NAME_SIZE, 4),
		.name = (const char *)p + MAPPING_NAME,
	};
	if (mapping->name_size > PM_MAPPING_NAME_MAX ||
	    mapping->name_size > left - MAPPING_NAME)
		return corrupt(fault, "mapping has a bad name");
	if (mapping->start >= mapping->end ||
	    ((mapping->start | mapping->end) & mask) != 0)
		return corrupt(fault, "mapping has a bad address");
	*at += MAPPING_NAME + mapping->name_size;
	return PM_OK;
}

void
pm_round_pack(const struct pm_round *round, struct pm_record *rec)
{
	uint8_t *p = rec->payload;

	pm_put_le(p + ROUND_NUMBER, round->number, 4);
	pm_put_le(p + ROUND_KNOWN, round->known != 0, 4);
	pm_digest_pack(round->generation, p + ROUND_GENERATION);
	pm_put_le(p + ROUND_RECORDS, round->records, 8);
	pm_put_le(p + ROUND_PAGES, round->pages, 8);
	pm_put_le(p + ROUND_PENDING, round->pending, 8);
	set_payload(rec, ROUND_SIZE);
}

enum pm_status
pm_round_unpack(struct pm_round *round, const struct pm_record *rec,
    struct pm_fault *fault)
{
	const uint8_t *p = rec->payload;

	if (rec->stored != ROUND_SIZE || pm_get_le(p + ROUND_KNOWN, 4) > 1)
		return corrupt(fault, "round mark has a bad field");
	*round = (struct pm_round){
		.number = (uint32_t)pm_get_le(p + ROUND_NUMBER, 4),
		.known = pm_get_le(p + ROUND_KNOWN, 4) != 0,
		.generation = pm_digest_unpack(p + ROUND_GENERATION),
		.records = pm_get_le(p + ROUND_RECORDS, 8),
		.pages = pm_get_le(p + ROUND_PAGES, 8),
		.pending = pm_get_le(p + ROUND_PENDING, 8),
	};
	return PM_OK;
}

void
pm_end_pack(const struct pm_end *end, struct pm_record *rec)
{
	uint8_t *p = rec->payload;

	pm_digest_pack(end->to, p + END_TO);
	pm_digest_pack(end->from, p + END_FROM);
	pm_put_le(p + END_RECORDS, end->records, 8);
	pm_put_le(p + END_PAGES, end->pages, 8);
	set_payload(rec, END_SIZE);
}

enum pm_status
pm_end_unpack(struct pm_end *end, const struct pm_record *rec,
    struct pm_fault *fault)
{
	const uint8_t *p = rec->payload;

	if (rec->stored != END_SIZE)
		return corrupt(fault, "end record has a bad size");
	*end = (struct pm_end){
		.to = pm_digest_unpack(p + END_TO),
		.from = pm_digest_unpack(p + END_FROM),
		.records = pm_get_le(p + END_RECORDS, 8),
		.pages = pm_get_le(p + END_PAGES, 8),
	};
	return PM_OK;
}

enum pm_status
pm_generation_check(struct pm_digest is, struct pm_digest says,
    enum pm_status otherwise, struct pm_fault *fault)
{
	char found[PM_DIGEST_TEXT], said[PM_DIGEST_TEXT];

	if (pm_digest_equal(is, says))
		return PM_OK;
	pm_digest_text(is, found);
	pm_digest_text(says, said);
	return pm_fault_set(fault, otherwise, NULL,
	    "leads to generation %s, not %s as it says", found, said);
}
