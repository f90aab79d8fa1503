/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "record.h"

/* Where each field stands; see pm-stream(5). */
enum {
	HEAD_TYPE = 0,		/* 1 */
	HEAD_CODEC = 1,		/* 1 */
	HEAD_FLAGS = 2,		/* 2 */
	HEAD_ENTRIES = 4,	/* 4 */
	HEAD_STORED = 8,	/* 4 */
	HEAD_DECODED = 12,	/* 4 */
	HEAD_REGION = 16,	/* 4 */
	HEAD_CHECK = 20,	/* 4 */
	HEAD_DIGEST = 24,	/* 16 */
	HEAD_FIRST = 40,	/* 8 */
};

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

uint8_t *
pm_record_buffer(void)
{
	return aligned_alloc(4096, PM_PAYLOAD_MAX);
}

struct pm_record *
pm_record_new(void)
{
	struct pm_record *rec = calloc(1, sizeof(*rec));

	if (rec == NULL)
		return NULL;
	rec->entry = malloc(PM_ENTRIES_MAX * sizeof(rec->entry[0]));
	rec->payload = pm_record_buffer();
	if (rec->entry == NULL || rec->payload == NULL) {
		pm_record_free(rec);
		return NULL;
	}
	return rec;
}

void
pm_record_free(struct pm_record *rec)
{
	if (rec == NULL)
		return;
	free(rec->entry);
	free(rec->payload);
	free(rec);
}

void
pm_record_clear(struct pm_record *rec, enum pm_type type)
{
	*rec = (struct pm_record){
		.type = (uint8_t)type,
		.page_shift = rec->page_shift,
		.entry = rec->entry,
		.payload = rec->payload,
	};
}

static void
pack_head(const struct pm_record *rec, uint8_t *out)
{
	out[HEAD_TYPE] = rec->type;
	out[HEAD_CODEC] = rec->codec;
	pm_put_le(out + HEAD_FLAGS, rec->flags, 2);
	pm_put_le(out + HEAD_ENTRIES, rec->entries, 4);
	pm_put_le(out + HEAD_STORED, rec->stored, 4);
	pm_put_le(out + HEAD_DECODED, rec->decoded, 4);
	pm_put_le(out + HEAD_REGION, rec->region, 4);
	pm_put_le(out + HEAD_CHECK, 0, 4);
	pm_digest_pack(rec->digest, out + HEAD_DIGEST);
	pm_put_le(out + HEAD_FIRST, rec->first, 8);
}

/* The check of a record whose head, with check 0, and table stand there. */
static uint32_t
check_of(const struct pm_record *rec, const uint8_t *head,
    const uint8_t *table)
{
	size_t payload = rec->type == PM_TYPE_PAGES ? 0 : rec->stored;

	return pm_hash_check(head, PM_HEAD_SIZE, table,
	    (size_t)rec->entries * PM_ENTRY_SIZE, rec->payload, payload);
}

size_t
pm_record_seal(struct pm_record *rec, uint8_t *out)
{
	uint8_t *table = out + PM_HEAD_SIZE;

	if (rec->type != PM_TYPE_PAGES)
		rec->digest = pm_hash_bytes(rec->payload, rec->stored);
	pack_head(rec, out);
	for (uint32_t i = 0; i < rec->entries; i++) {
		pm_put_le(table + 8 * (size_t)i, rec->entry[i].page, 4);
		pm_put_le(table + 8 * (size_t)i + 4, rec->entry[i].word, 4);
	}
	rec->check = check_of(rec, out, table);
	pm_put_le(out + HEAD_CHECK, rec->check, 4);
	return PM_HEAD_SIZE + (size_t)rec->entries * PM_ENTRY_SIZE;
}

static enum pm_status
corrupt(struct pm_fault *fault, const char *what)
{
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL, "%s", what);
}

static int
is_known(unsigned type)
{
	return type >= PM_TYPE_STREAM && type <= PM_TYPE_END;
}

static enum pm_status
check_head(const struct pm_record *rec, struct pm_fault *fault)
{
	if (rec->type == 0)
		return corrupt(fault, "record type is 0");
	if (!is_known(rec->type) && (rec->flags & PM_FLAG_SKIPPABLE) == 0)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "record type %u needs a newer version", rec->type);
	if (!is_known(rec->type))
		return PM_OK;
	if (rec->type == PM_TYPE_MAP &&
	    (rec->flags & PM_FLAG_SKIPPABLE) == 0)
		return corrupt(fault, "mappings are not marked skippable");
	if ((rec->flags & ~(rec->type == PM_TYPE_MAP ? PM_FLAG_SKIPPABLE
	    : 0)) != 0)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "record flags %#x need a newer version", rec->flags);
	if (rec->codec > PM_CODEC_ZSTD)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "codec %u needs a newer version", rec->codec);
	if (rec->codec == PM_CODEC_NONE ? rec->stored != rec->decoded
	    : rec->stored >= rec->decoded)
		return corrupt(fault, "payload sizes contradict the codec");
	if (rec->type == PM_TYPE_PAGES)
		return rec->entries > 0 ? PM_OK
		    : corrupt(fault, "record holds no pages");
	if (rec->entries != 0 || rec->first != 0 ||
	    rec->codec != PM_CODEC_NONE)
		return corrupt(fault, "record head has fields that its type "
		    "does not use");
	if (rec->region != 0 && rec->type != PM_TYPE_REGION &&
	    rec->type != PM_TYPE_MAP)
		return corrupt(fault, "record of no region names one");
	return PM_OK;
}

enum pm_status
pm_record_unpack_head(struct pm_record *rec, const uint8_t in[PM_HEAD_SIZE],
    struct pm_fault *fault)
{
	rec->type = in[HEAD_TYPE];
	rec->codec = in[HEAD_CODEC];
	rec->flags = (uint16_t)pm_get_le(in + HEAD_FLAGS, 2);
	rec->entries = (uint32_t)pm_get_le(in + HEAD_ENTRIES, 4);
	rec->stored = (uint32_t)pm_get_le(in + HEAD_STORED, 4);
	rec->decoded = (uint32_t)pm_get_le(in + HEAD_DECODED, 4);
	rec->region = (uint32_t)pm_get_le(in + HEAD_REGION, 4);
	rec->check = (uint32_t)pm_get_le(in + HEAD_CHECK, 4);
	rec->digest = pm_digest_unpack(in + HEAD_DIGEST);
	rec->first = pm_get_le(in + HEAD_FIRST, 8);
	if (rec->entries > PM_ENTRIES_MAX || rec->stored > PM_PAYLOAD_MAX ||
	    rec->decoded > PM_PAYLOAD_MAX)
		return corrupt(fault, "record is larger than the format allows");
	return PM_OK;
}

/* Entries ascend, do not overlap, and add up to the decoded payload. */
static enum pm_status
check_entries(const struct pm_record *rec, struct pm_fault *fault)
{
	uint64_t next = 0, bytes = 0, content = 0;

	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];
		enum pm_kind kind = pm_entry_kind(entry);
		uint32_t length = pm_entry_length(entry);

		if (kind == 0)
			return corrupt(fault, "entry has no kind");
		if (kind > PM_GONE)
			return pm_fault_set(fault, PM_ERR_VERSION, NULL,
			    "entry kind %u needs a newer version",
			    (unsigned)kind);
		if (length == 0)
			return corrupt(fault, "entry has no length");
		if (kind == PM_RAW && length != 1u << rec->page_shift)
			return corrupt(fault, "raw entry is not a page long");
		if (kind == PM_DELTA && length > 1u << rec->page_shift)
			return corrupt(fault, "delta is longer than a page");
		if (entry.page < next)
			return corrupt(fault, "entries overlap or descend");
		next = (uint64_t)entry.page + pm_entry_pages(entry);
		bytes += pm_entry_bytes(entry);
		if (kind <= PM_SAME)
			content += pm_entry_pages(entry);
	}
	if (content > PM_PAYLOAD_MAX >> rec->page_shift)
		return corrupt(fault, "record holds more than 1 MiB of pages");
	if (bytes != rec->decoded)
		return corrupt(fault, "entries do not add up to the payload");
	if (rec->first > PM_PAGES_MAX || next > PM_PAGES_MAX - rec->first)
		return corrupt(fault, "page number is out of range");
	return PM_OK;
}

enum pm_status
pm_record_unpack_body(struct pm_record *rec, const uint8_t head[PM_HEAD_SIZE],
    const uint8_t *table, struct pm_fault *fault)
{
	uint8_t cleared[PM_HEAD_SIZE];
	enum pm_status status;

	memcpy(cleared, head, sizeof(cleared));
	pm_put_le(cleared + HEAD_CHECK, 0, 4);
	if (check_of(rec, cleared, table) != rec->check)
		return corrupt(fault, "check of the record does not match");
	if (rec->type != PM_TYPE_PAGES && !pm_digest_equal(rec->digest,
	    pm_hash_bytes(rec->payload, rec->stored)))
		return corrupt(fault, "digest of the record does not match");
	if ((status = check_head(rec, fault)) != PM_OK)
		return status;
	for (uint32_t i = 0; i < rec->entries; i++)
		rec->entry[i] = (struct pm_entry){
			(uint32_t)pm_get_le(table + 8 * (size_t)i, 4),
			(uint32_t)pm_get_le(table + 8 * (size_t)i + 4, 4),
		};
	return rec->type == PM_TYPE_PAGES ? check_entries(rec, fault) : PM_OK;
}

uint64_t
pm_record_span(const struct pm_record *rec)
{
	struct pm_entry last;

	if (rec->entries == 0)
		return 0;
	last = rec->entry[rec->entries - 1];
	return (uint64_t)last.page + pm_entry_pages(last);
}

uint64_t
pm_record_pages(const struct pm_record *rec)
{
	uint64_t pages = 0;

	if (rec->type != PM_TYPE_PAGES)
		return 0;
	for (uint32_t i = 0; i < rec->entries; i++)
		pages += pm_entry_pages(rec->entry[i]);
	return pages;
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
