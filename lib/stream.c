/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fdio.h"
#include "stream.h"

enum {
	AT_STREAM,		/* a STREAM record must come */
	AT_REGIONS,		/* regions may still come */
	AT_PAGES,		/* the first page, or a round, has passed */
	AT_END,			/* an end record has passed */
};

static enum pm_status
read_fd(void *arg, struct iovec *iov, int count)
{
	return pm_fd_readv(*(const int *)arg, iov, count);
}

static enum pm_status
read_bytes(struct pm_reader *reader, void *buf, size_t size)
{
	struct iovec iov = { buf, size };

	return reader->io(reader->arg, &iov, 1);
}

static enum pm_status
fail_at(struct pm_reader *reader, enum pm_status status, uint64_t record,
    uint64_t offset)
{
	/* Any end of input before an end record is a truncation. */
	if (status == PM_END || status == PM_ERR_TRUNCATED)
		return pm_fault_set(reader->fault, PM_ERR_TRUNCATED, NULL,
		    "stream ends early, in record %" PRIu64 " at byte %" PRIu64,
		    record, offset);
	return pm_fault_set(reader->fault, status, NULL, "%s",
	    pm_status_text(status));
}

static enum pm_status
fail_read(struct pm_reader *reader, enum pm_status status)
{
	return fail_at(reader, status, reader->records,
	    pm_meter_get(&reader->meter.bytes));
}

enum pm_status
pm_reader_fail(struct pm_reader *reader, const struct pm_record *rec,
    enum pm_status status)
{
	return fail_at(reader, status, rec->number, rec->offset +
	    PM_HEAD_SIZE);
}

static enum pm_status
read_signature(struct pm_reader *reader, size_t already)
{
	uint8_t signature[PM_SIGNATURE_SIZE] = PM_SIGNATURE;
	uint8_t got[PM_SIGNATURE_SIZE] = PM_SIGNATURE;
	enum pm_status status;

	status = read_bytes(reader, got + already, sizeof(got) - already);
	if (status != PM_OK)
		return fail_read(reader, status);
	pm_meter_add(&reader->meter.bytes, sizeof(got) - already);
	if (memcmp(got, signature, sizeof(got)) == 0)
		return PM_OK;
	return pm_fault_set(reader->fault, PM_ERR_CORRUPT, NULL,
	    memcmp(got, "\x89PMS", 4) == 0
	    ? "stream was damaged by a transfer in text mode"
	    : "not a page-record stream");
}

/* On reader->fd, or -1. */
static enum pm_status
start_reader(struct pm_reader *reader, pm_stream_io *io, void *arg,
    struct pm_fault *fault)
{
	*reader = (struct pm_reader){ .io = io, .arg = arg,
	    .fd = reader->fd, .fault = fault, .state = AT_STREAM };
	reader->region = calloc(PM_REGIONS_MAX, sizeof(reader->region[0]));
	reader->table = malloc(PM_ENTRIES_SIZE);
	if (reader->region == NULL || reader->table == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	return read_signature(reader, 0);
}

enum pm_status
pm_reader_open(struct pm_reader *reader, int fd, struct pm_fault *fault)
{
	pm_fd_widen(fd);
	reader->fd = fd;
	return start_reader(reader, read_fd, &reader->fd, fault);
}

enum pm_status
pm_reader_open_io(struct pm_reader *reader, pm_stream_io *io, void *arg,
    struct pm_fault *fault)
{
	reader->fd = -1;
	return start_reader(reader, io, arg, fault);
}

void
pm_reader_pull(struct pm_reader *reader, int fd, pm_stream_pull *pull)
{
	reader->fd = fd;
	reader->pull = pull;
}

void
pm_reader_close(struct pm_reader *reader)
{
	free(reader->region);
	free(reader->table);
	reader->region = NULL;
	reader->table = NULL;
}

/* Behind an end record the input ends, or another stream begins. */
static enum pm_status
end_or_begin(struct pm_reader *reader)
{
	uint8_t first;
	enum pm_status status = read_bytes(reader, &first, 1);

	if (status == PM_END)
		return PM_END;
	if (status != PM_OK)
		return fail_read(reader, status);
	pm_meter_add(&reader->meter.bytes, 1);
	if (first != (uint8_t)PM_SIGNATURE[0])
		return pm_fault_set(reader->fault, PM_ERR_CORRUPT, NULL,
		    "bytes behind the end record are no stream, at byte %"
		    PRIu64, pm_meter_get(&reader->meter.bytes) - 1);
	reader->state = AT_STREAM;
	return read_signature(reader, 1);
}

static enum pm_status
corrupt(struct pm_reader *reader, const char *what)
{
	return pm_fault_set(reader->fault, PM_ERR_CORRUPT, NULL, "%s", what);
}

/* A chain goes on only from where it is. */
static enum pm_status
check_link(struct pm_reader *reader, struct pm_digest from,
    struct pm_digest before)
{
	char is[PM_DIGEST_TEXT], wants[PM_DIGEST_TEXT];

	if (pm_digest_equal(from, before))
		return PM_OK;
	pm_digest_text(before, is);
	pm_digest_text(from, wants);
	return pm_fault_set(reader->fault, PM_ERR_CORRUPT, NULL,
	    "stream starts from %s, the one before it led to %s", wants, is);
}

static enum pm_status
take_stream(struct pm_reader *reader, struct pm_record *rec)
{
	enum pm_status status;

	status = pm_stream_unpack(&reader->stream, rec, reader->fault);
	if (status != PM_OK)
		return status;
	if (reader->streams > 0 &&
	    (reader->stream.needs & PM_NEEDS_LATE_FROM) == 0)
		status = check_link(reader, reader->stream.from,
		    reader->end.to);
	rec->page_shift = reader->stream.page_shift;
	reader->streams++;
	reader->regions = 0;
	reader->pages = 0;
	reader->state = AT_REGIONS;
	return status;
}

static enum pm_status
take_region(struct pm_reader *reader, const struct pm_record *rec)
{
	struct pm_region *region = &reader->region[reader->regions];
	enum pm_status status;

	if (reader->state != AT_REGIONS)
		return corrupt(reader, "region comes behind the first page");
	if (rec->region != reader->regions)
		return corrupt(reader, "regions are not numbered in order");
	if (reader->regions == PM_REGIONS_MAX)
		return corrupt(reader, "stream has more than 1024 regions");
	status = pm_region_unpack(region, rec, rec->page_shift, reader->fault);
	if (status != PM_OK)
		return status;
	for (uint32_t i = 0; i < reader->regions; i++)
		if (reader->region[i].key == region->key)
			return corrupt(reader, "two regions have one name");
	reader->regions++;
	return PM_OK;
}

static enum pm_status
take_map(struct pm_reader *reader, const struct pm_record *rec)
{
	struct pm_mapping mapping;
	enum pm_status status;
	uint32_t at = 0;

	if (rec->region >= reader->regions)
		return corrupt(reader, "record speaks of an unknown region");
	while ((status = pm_mapping_unpack(&mapping, rec, &at,
	    reader->fault)) == PM_OK)
		;
	return status == PM_END ? PM_OK : status;
}

static enum pm_status
take_pages(struct pm_reader *reader, const struct pm_record *rec)
{
	const struct pm_region *region;
	uint64_t pages;

	reader->state = AT_PAGES;
	if (rec->region >= reader->regions)
		return corrupt(reader, "record speaks of an unknown region");
	region = &reader->region[rec->region];
	pages = pm_region_pages(region->length, rec->page_shift);
	if (rec->first > pages || pm_record_span(rec) > pages - rec->first)
		return pm_fault_set(reader->fault, PM_ERR_CORRUPT, NULL,
		    "pages lie beyond the end of region %" PRIu32,
		    rec->region);
	if ((reader->stream.needs & PM_NEEDS_DELTA) != 0)
		return PM_OK;
	for (uint32_t i = 0; i < rec->entries; i++)
		if (pm_entry_kind(rec->entry[i]) == PM_DELTA ||
		    pm_entry_kind(rec->entry[i]) == PM_SAME)
			return corrupt(reader,
			    "delta in a stream that declares none");
	return PM_OK;
}

static enum pm_status
take_round(struct pm_reader *reader, const struct pm_record *rec)
{
	struct pm_round round;
	enum pm_status status = pm_round_unpack(&round, rec, reader->fault);

	reader->state = AT_PAGES;
	if (status == PM_OK && (round.records != reader->records ||
	    round.pages != reader->pages))
		return corrupt(reader, "round mark miscounts the stream");
	return status;
}

static enum pm_status
take_end(struct pm_reader *reader, const struct pm_record *rec)
{
	struct pm_end end;
	enum pm_status status = pm_end_unpack(&end, rec, reader->fault);

	if (status != PM_OK)
		return status;
	if (end.records != reader->records || end.pages != reader->pages)
		return corrupt(reader, "end record miscounts the stream");
	if ((reader->stream.needs & PM_NEEDS_LATE_FROM) == 0) {
		if (!pm_digest_equal(end.from, reader->stream.from))
			return corrupt(reader,
			    "end record starts from elsewhere");
	} else if (reader->streams > 1 && (status = check_link(reader,
	    end.from, reader->end.to)) != PM_OK)
		return status;
	reader->end = end;
	reader->state = AT_END;
	return PM_OK;
}

/* What must hold between this record and those before it. */
static enum pm_status
check_order(struct pm_reader *reader, struct pm_record *rec)
{
	if ((reader->state == AT_STREAM) != (rec->type == PM_TYPE_STREAM))
		return corrupt(reader, reader->state == AT_STREAM
		    ? "stream does not begin with a stream record"
		    : "stream record comes twice");
	switch (rec->type) {
	case PM_TYPE_STREAM:
		return take_stream(reader, rec);
	case PM_TYPE_REGION:
		return take_region(reader, rec);
	case PM_TYPE_MAP:
		return take_map(reader, rec);
	case PM_TYPE_PAGES:
		return take_pages(reader, rec);
	case PM_TYPE_ROUND:
		return take_round(reader, rec);
	case PM_TYPE_END:
		return take_end(reader, rec);
	}
	return PM_OK;
}

/* What follows a head, but for the payload of PAGES if that may stay. */
static enum pm_status
read_body(struct pm_reader *reader, struct pm_record *rec, uint32_t least)
{
	size_t table = (size_t)rec->entries * PM_ENTRY_SIZE;
	struct iovec body[2] = {
		{ reader->table, table }, { rec->payload, rec->stored },
	};
	int stays = rec->type == PM_TYPE_PAGES && rec->stored >= least;
	enum pm_status status;

	status = reader->io(reader->arg, body, stays ? 1 : 2);
	if (status != PM_OK)
		return fail_read(reader, status);
	reader->left = stays ? rec->stored : 0;
	pm_meter_add(&reader->meter.bytes, table + rec->stored -
	    reader->left);
	return PM_OK;
}

enum pm_status
pm_reader_head(struct pm_reader *reader, struct pm_record *rec,
    uint32_t least)
{
	uint8_t head[PM_HEAD_SIZE];
	enum pm_status status;

	if (reader->state == AT_END &&
	    (status = end_or_begin(reader)) != PM_OK)
		return status;
	if (reader->state == AT_STREAM)
		reader->records = 0;
	rec->number = reader->records;
	rec->offset = pm_meter_get(&reader->meter.bytes);
	rec->page_shift = reader->stream.page_shift;

	if ((status = read_bytes(reader, head, sizeof(head))) != PM_OK)
		return fail_read(reader, status);
	pm_meter_add(&reader->meter.bytes, sizeof(head));
	status = pm_record_unpack_head(rec, head, reader->fault);
	if (status == PM_OK) {
		if ((status = read_body(reader, rec, least)) != PM_OK)
			return status;
		status = pm_record_unpack_body(rec, head, reader->table,
		    reader->fault);
	}
	if (status == PM_OK)
		status = check_order(reader, rec);
	if (status != PM_OK) {
		if (reader->fault != NULL)
			pm_fault_place(reader->fault, rec->number,
			    rec->offset);
		return status;
	}
	if (rec->type == PM_TYPE_PAGES) {
		uint64_t pages = pm_record_pages(rec);

		reader->pages += pages;
		pm_meter_add(&reader->meter.pages, pages);
	}
	reader->records++;
	pm_meter_add(&reader->meter.records, 1);
	return PM_OK;
}

enum pm_status
pm_reader_payload(struct pm_reader *reader, struct pm_record *rec)
{
	uint32_t size = reader->left;
	enum pm_status status;

	if (size == 0)
		return PM_OK;
	status = read_bytes(reader, rec->payload + rec->stored - size, size);
	if (status != PM_OK)
		return pm_reader_fail(reader, rec, status);
	pm_meter_add(&reader->meter.bytes, size);
	reader->left = 0;
	return PM_OK;
}

enum pm_status
pm_reader_next(struct pm_reader *reader, struct pm_record *rec)
{
	return pm_reader_head(reader, rec, UINT32_MAX);
}
