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
