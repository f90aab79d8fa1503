/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tape.h - write streams to memory and apply them to a file.
 */
#ifndef TAPE_H
#define TAPE_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "restore.h"

static uint8_t *wire;
static size_t wire_room, wire_size, wire_at;
static struct pm_writer writer;
static struct pm_record *rec;
static struct pm_fault fault;
static uint64_t state;

/* What the last one that was applied left. */
static struct pm_restore_counts counts;
static uint64_t copied;

static inline uint64_t
chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static inline enum pm_status
store(void *arg, struct iovec *iov, int count)
{
	(void)arg;
	for (int i = 0; i < count; i++) {
		if (wire_size + iov[i].iov_len > wire_room)
			return PM_ERR_WRITE;
		memcpy(wire + wire_size, iov[i].iov_base, iov[i].iov_len);
		wire_size += iov[i].iov_len;
	}
	return PM_OK;
}

static inline enum pm_status
fetch(void *arg, struct iovec *iov, int count)
{
	size_t wants = 0;

	(void)arg;
	for (int i = 0; i < count; i++)
		wants += iov[i].iov_len;
	if (wants > wire_size - wire_at)
		return wire_at == wire_size ? PM_END : PM_ERR_TRUNCATED;
	for (int i = 0; i < count; i++) {
		memcpy(iov[i].iov_base, wire + wire_at, iov[i].iov_len);
		wire_at += iov[i].iov_len;
	}
	return PM_OK;
}

static inline void
put(void)
{
	if (pm_writer_put(&writer, rec) != PM_OK) {
		printf("Bail out! a stream is too long\n");
		exit(1);
	}
}

static inline void
put_stream(unsigned page_shift, struct pm_digest from, uint32_t needs)
{
	struct pm_stream stream = { .version = 1, .page_shift = page_shift,
	    .needs = needs, .from = from };

	pm_record_clear(rec, PM_TYPE_STREAM);
	rec->page_shift = page_shift;
	pm_stream_pack(&stream, rec);
	put();
}

static inline void
put_round(struct pm_digest is)
{
	struct pm_round round = { .number = 1, .known = 1, .generation = is,
	    .records = writer.records, .pages = writer.pages };

	pm_record_clear(rec, PM_TYPE_ROUND);
	pm_round_pack(&round, rec);
	put();
}

static inline void
put_end(struct pm_digest from, struct pm_digest to)
{
	if (pm_writer_end(&writer, from, to, rec) != PM_OK)
		exit(1);
}

static inline void
start_wire(void)
{
	wire_size = wire_at = 0;
	pm_writer_close(&writer);
	(void)pm_writer_open_io(&writer, store, NULL, NULL);
}

static inline enum pm_status
apply(const char *path, int in_place, int trust_table)
{
	struct pm_restore *restore;
	struct pm_target target;
	struct pm_reader reader;
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	wire_at = 0;
	status = pm_target_open(&target, path, in_place, trust_table, &fault);
	if (status == PM_OK)
		status = pm_reader_open_io(&reader, fetch, NULL, &fault);
	restore = pm_restore_new(&target, NULL, NULL, &fault);
	while (status == PM_OK &&
	    (status = pm_reader_next(&reader, rec)) == PM_OK)
		status = pm_restore_take(restore, rec);
	counts = pm_restore_counts(restore);
	copied = target.copied;
	pm_restore_free(restore);
	pm_reader_close(&reader);
	pm_target_close(&target);
	return status;
}

/* Buffers, a seed from the arguments or the clock, and room for a chain. */
static inline void
start_tape(size_t room, uint64_t seed)
{
	printf("# seed %llu\n", (unsigned long long)seed);
	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	wire_room = room;
	wire = malloc(room);
	rec = pm_record_new();
	if (wire == NULL || rec == NULL)
		exit(1);
}

static inline void
end_tape(void)
{
	pm_record_free(rec);
	pm_writer_close(&writer);
	free(wire);
}

#endif /* TAPE_H */
