/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * record.h - one record of a page-record stream, in memory and as bytes.
 *
 * A pure codec: bytes in, struct out, and back; no I/O.  pm-stream(5) is
 * the specification it follows, in the same order.
 *
 * On the wire a record is a head, a table of entries and a payload.  Only
 * PAGES records have a table; each of their entries names one page with
 * content or a run of pages without.  A record belongs to whoever holds the
 * struct: the reader fills it, a step changes it in place, the writer
 * copies it out.
 */
#ifndef PM_RECORD_H
#define PM_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "hash.h"
#include "status.h"

#define PM_SIGNATURE		"\x89PMS\r\n\x1a\n"
#define PM_SIGNATURE_SIZE	8u
#define PM_VERSION_MAX		1u	/* of the format */

#define PM_HEAD_SIZE		48u
#define PM_ENTRY_SIZE		8u
#define PM_ENTRIES_MAX		4096u
#define PM_ENTRIES_SIZE		(PM_ENTRIES_MAX * PM_ENTRY_SIZE)
#define PM_PAYLOAD_MAX		(1u << 20)
#define PM_RECORD_PAYLOAD	(256u << 10)	/* what sources write */
#define PM_PAGE_SHIFT_MIN	12
#define PM_PAGE_SHIFT_MAX	16
#define PM_PAGE_MAX		(1u << PM_PAGE_SHIFT_MAX)
#define PM_RUN_MAX		((1u << 28) - 1)	/* pages of one entry */
#define PM_REGIONS_MAX		1024u
#define PM_NAME_MAX		255u	/* bytes of a region's name */
#define PM_MAPPINGS_MAX		(1u << 20)	/* of one list */
#define PM_MAPPING_NAME_MAX	4095u	/* bytes, as PATH_MAX */
#define PM_PAGES_MAX		(UINT64_C(1) << 52)	/* of a region */

enum pm_type {
	PM_TYPE_STREAM = 1,
	PM_TYPE_REGION = 2,
	PM_TYPE_MAP = 3,
	PM_TYPE_PAGES = 4,
	PM_TYPE_ROUND = 5,
	PM_TYPE_OPAQUE = 6,
	PM_TYPE_END = 7,
};

enum {
	PM_FLAG_SKIPPABLE = 1 << 15,	/* who does not know it passes it on */
};

enum pm_codec_id {
	PM_CODEC_NONE = 0,
	PM_CODEC_ZLIB = 1,
	PM_CODEC_LZ4 = 2,
	PM_CODEC_ZSTD = 3,
};

/* What an entry says of its pages; 0 is never written. */
enum pm_kind {
	PM_RAW = 1,		/* the page; length is the page size */
	PM_DELTA = 2,		/* XBZRLE against what the target holds */
	PM_SAME = 3,		/* content the target already holds */
	PM_ZERO = 4,		/* zeroes */
	PM_GONE = 5,		/* freed or unmapped; reads as zeroes */
};

struct pm_entry {
	uint32_t page;		/* from the record's first page */
	uint32_t word;		/* kind << 28 | length */
};

static inline struct pm_entry
pm_entry_of(uint32_t page, enum pm_kind kind, uint32_t length)
{
	return (struct pm_entry){ page, (uint32_t)kind << 28 | length };
}

static inline enum pm_kind
pm_entry_kind(struct pm_entry entry)
{
	return (enum pm_kind)(entry.word >> 28);
}

/* Bytes of payload for RAW and DELTA, pages of the run for the others. */
static inline uint32_t
pm_entry_length(struct pm_entry entry)
{
	return entry.word & PM_RUN_MAX;
}

static inline int
pm_entry_has_payload(struct pm_entry entry)
{
	return pm_entry_kind(entry) <= PM_DELTA;
}

/* Pages that the entry speaks of. */
static inline uint32_t
pm_entry_pages(struct pm_entry entry)
{
	return pm_entry_has_payload(entry) ? 1 : pm_entry_length(entry);
}

/* Bytes that it has in the decoded payload. */
static inline uint32_t
pm_entry_bytes(struct pm_entry entry)
{
	return pm_entry_has_payload(entry) ? pm_entry_length(entry) : 0;
}

struct pm_record {
	uint8_t type;		/* enum pm_type, or one not known here */
	uint8_t codec;		/* enum pm_codec_id */
	uint16_t flags;
	uint32_t entries;
	uint32_t stored;	/* bytes used in payload */
	uint32_t decoded;	/* bytes of it once decoded */
	uint32_t region;
	uint32_t check;		/* as read; sealing computes it anew */
	struct pm_digest digest;
	uint64_t first;		/* page */

	/* Not in the stream: where the record stood in it. */
	unsigned page_shift;	/* of its stream; 0 before the first record */
	uint64_t number;	/* within its stream, from 0 */
	uint64_t offset;	/* byte of its head in the input */

	struct pm_entry *entry;	/* PM_ENTRIES_MAX */
	uint8_t *payload;	/* PM_PAYLOAD_MAX bytes, aligned to a page */
};

/* A record with its buffers, or NULL when memory ran out. */
struct pm_record *pm_record_new(void);
void pm_record_free(struct pm_record *);

/* A payload buffer such as a record has, to exchange with one; free(3) it. */
uint8_t *pm_record_buffer(void);

/* Make rec an empty record of that type. */
void pm_record_clear(struct pm_record *, enum pm_type);

/*
 * Renew the check of a record, and the digest of one that is not PAGES,
 * and write its head and table into out (room for PM_HEAD_SIZE and
 * PM_ENTRIES_MAX entries).  Returns the bytes used.
 */
size_t pm_record_seal(struct pm_record *, uint8_t *out);

/*
 * Read a head into rec and check its sizes, so that rec->entries <=
 * PM_ENTRIES_MAX and rec->stored <= PM_PAYLOAD_MAX.  Nothing else of it may
 * be trusted before pm_record_unpack_body.  PM_ERR_CORRUPT.
 */
enum pm_status pm_record_unpack_head(struct pm_record *,
    const uint8_t in[PM_HEAD_SIZE], struct pm_fault *);

/*
 * Check head, table and payload of a record whose head was unpacked from
 * head and whose wire table is table; fills rec->entry.  The check comes
 * first, so that damage is never taken for a newer format.  Entries ascend,
 * do not overlap and add up; pages of a region are the reader's to bound.
 * PM_ERR_CORRUPT or PM_ERR_VERSION.
 */
enum pm_status pm_record_unpack_body(struct pm_record *,
    const uint8_t head[PM_HEAD_SIZE], const uint8_t *table,
    struct pm_fault *);

/* The pages from rec->first to the end of the last entry; 0 for none. */
uint64_t pm_record_span(const struct pm_record *);

/* Pages that the entries speak of. */
uint64_t pm_record_pages(const struct pm_record *);

/* Features a reader must know, of struct pm_stream. */
enum {
	PM_NEEDS_DELTA = 1 << 0,	/* DELTA and SAME may occur */
	PM_NEEDS_LATE_FROM = 1 << 1,	/* from stands in the end record */
	PM_NEEDS_KNOWN = (1 << 2) - 1,
};

/* Features a reader may ignore. */
enum {
	PM_MAY_CONTINUE = 1 << 0,	/* pm-delta's cache goes on from the
					   stream before this one */
	PM_MAY_FOREIGN = 1 << 1,	/* foreign bytes among the pages */
	PM_MAY_SAVED = 1 << 2,		/* and others may follow in a chain,
					   of which the last is what counts */
};

/* The payloads of the records that are not PAGES. */
struct pm_stream {
	unsigned version, page_shift;
	uint32_t needs, may;
	uint32_t cache_pages;		/* of pm-delta; 0 for none */
	struct pm_digest from;		/* 0 for a full stream */
};

enum pm_region_kind {
	PM_REGION_BLOCK = 0,		/* an image, a slot: length bytes */
	PM_REGION_PROCESS = 1,		/* an address space, mostly GONE */
};

struct pm_region {
	uint64_t address;		/* where its subject has it */
	uint64_t length;		/* bytes at "to"; 0: it is gone */
	uint64_t old_length;		/* bytes at "from"; 0: it is new */
	unsigned kind;			/* enum pm_region_kind */
	unsigned machine;		/* ELF e_machine of a process, or 0 */
	uint64_t key;			/* pm_hash_key of the name; derived */
	char name[PM_NAME_MAX + 1];
};

enum {
	PM_MAPPING_READ = 1, PM_MAPPING_WRITE = 2, PM_MAPPING_EXEC = 4,
	PM_MAPPING_SHARED = 8,
	PM_MAPPING_CARRIED = 16,	/* its pages are in the stream */
};

struct pm_mapping {
	uint64_t start, end;		/* addresses, of whole pages */
	uint64_t offset;		/* in the file it maps, or 0 */
	uint32_t flags;
	uint32_t name_size;
	const char *name;		/* not NUL terminated; path or "[heap]" */
};

struct pm_round {
	uint32_t number;		/* from 1 */
	int known;			/* generation is given */
	struct pm_digest generation;	/* as of this mark */
	uint64_t records, pages;	/* of the stream so far */
	uint64_t pending;		/* pages known to be stale already */
};

struct pm_end {
	struct pm_digest to, from;
	uint64_t records;		/* before this one, of its stream */
	uint64_t pages;			/* mentioned by PAGES records */
};

/*
 * Fill a cleared record from what it says, or read it back with every field
 * checked.  Mappings are appended; pm_mapping_pack is 0 when the record is
 * full, and pm_mapping_unpack steps through the payload by *at and returns
 * PM_END behind the last.
 */
void pm_stream_pack(const struct pm_stream *, struct pm_record *);
enum pm_status pm_stream_unpack(struct pm_stream *, const struct pm_record *,
    struct pm_fault *);
void pm_region_pack(const struct pm_region *, uint32_t number,
    struct pm_record *);
enum pm_status pm_region_unpack(struct pm_region *, const struct pm_record *,
    unsigned page_shift, struct pm_fault *);
int pm_mapping_pack(const struct pm_mapping *, struct pm_record *);
enum pm_status pm_mapping_unpack(struct pm_mapping *,
    const struct pm_record *, uint32_t *at, struct pm_fault *);
void pm_round_pack(const struct pm_round *, struct pm_record *);
enum pm_status pm_round_unpack(struct pm_round *, const struct pm_record *,
    struct pm_fault *);
void pm_end_pack(const struct pm_end *, struct pm_record *);
enum pm_status pm_end_unpack(struct pm_end *, const struct pm_record *,
    struct pm_fault *);

/*
 * PM_OK when the memory is of the generation that a mark or an end says;
 * or this status, and both ids in the fault.
 */
enum pm_status pm_generation_check(struct pm_digest is,
    struct pm_digest says, enum pm_status otherwise, struct pm_fault *);

/* Pages that length bytes take, the last one padded with zeroes. */
static inline uint64_t
pm_region_pages(uint64_t length, unsigned page_shift)
{
	return (length >> page_shift) +
	    ((length & ((UINT64_C(1) << page_shift) - 1)) != 0);
}

#endif /* PM_RECORD_H */
