/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * roundtrip.h - a migration stream, captured and written again.  Whoever
 * includes it defines _GNU_SOURCE, for memfd_create.
 */
#ifndef ROUNDTRIP_H
#define ROUNDTRIP_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "delta.h"
#include "qemu_capture.h"
#include "qemu_emit.h"

/* A file with these bytes, to be read from its beginning. */
static inline int
file_of(const void *bytes, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return fd;
}

struct memory {
	uint8_t *bytes;
	size_t size, room, at;
};

static inline enum pm_status
store(void *arg, struct iovec *iov, int count)
{
	struct memory *memory = arg;

	for (int i = 0; i < count; i++) {
		if (memory->size + iov[i].iov_len > memory->room) {
			memory->room = 2 * (memory->size + iov[i].iov_len);
			memory->bytes = realloc(memory->bytes, memory->room);
			if (memory->bytes == NULL)
				abort();
		}
		memcpy(memory->bytes + memory->size, iov[i].iov_base,
		    iov[i].iov_len);
		memory->size += iov[i].iov_len;
	}
	return PM_OK;
}

static inline enum pm_status
load(void *arg, struct iovec *iov, int count)
{
	struct memory *memory = arg;

	for (int i = 0; i < count; i++) {
		size_t left = memory->size - memory->at;

		if (left < iov[i].iov_len)
			return left == 0 && i == 0 ? PM_END
			    : PM_ERR_TRUNCATED;
		memcpy(iov[i].iov_base, memory->bytes + memory->at,
		    iov[i].iov_len);
		memory->at += iov[i].iov_len;
	}
	return PM_OK;
}

/* The page-record stream of what fd gives. */
static inline enum pm_status
capture(int fd, struct pm_table *since, struct memory *out,
    struct pm_qemu_capture_counts *counts, struct pm_fault *fault)
{
	struct pm_qemu_capture_options options = {
		.record_size = PM_RECORD_PAYLOAD,
		.page_shift = PM_PAGE_SHIFT_MIN, .since = since,
		.seen = (const uint8_t *)"",
	};
	struct pm_writer writer;
	enum pm_status status;

	out->size = 0;
	if (pm_writer_open_io(&writer, store, out, fault) != PM_OK)
		abort();
	status = pm_qemu_capture_run(fd, &options, &writer, counts, fault);
	pm_writer_close(&writer);
	return status;
}

/* A record of foreign bytes in pieces of 1 to most bytes. */
static inline enum pm_status
take_pieces(struct pm_qemu_emit *emit, const struct pm_record *rec,
    unsigned most)
{
	struct pm_record piece = *rec;
	enum pm_status status = PM_OK;

	for (uint32_t at = 0; at < rec->stored && status == PM_OK;
	    at += piece.stored) {
		piece.payload = rec->payload + at;
		piece.stored = 1 + (at * 7 + 3) % most;
		if (piece.stored > rec->stored - at)
			piece.stored = rec->stored - at;
		status = pm_qemu_emit_take(emit, &piece);
	}
	return status;
}

/*
 * The migration stream of a page-record stream, to fd; through these steps,
 * NULL for none, with foreign bytes in pieces of at most so many, or 0.
 */
static inline enum pm_status
emit(struct memory *in, int fd, struct pm_delta *step[2], unsigned pieces,
    struct pm_qemu_emit_counts *counts, struct pm_fault *fault)
{
	struct pm_qemu_emit *emit = pm_qemu_emit_new(fd, fault);
	struct pm_record *rec = pm_record_new();
	struct pm_reader reader;
	enum pm_status status;

	if (emit == NULL || rec == NULL)
		abort();
	in->at = 0;
	status = pm_reader_open_io(&reader, load, in, fault);
	while (status == PM_OK &&
	    (status = pm_reader_next(&reader, rec)) == PM_OK) {
		for (int i = 0; i < 2 && status == PM_OK; i++)
			if (step[i] != NULL)
				status = pm_delta_step(rec, step[i], fault);
		if (status == PM_OK)
			status = pieces > 0 && rec->type == PM_TYPE_OPAQUE
			    ? take_pieces(emit, rec, pieces)
			    : pm_qemu_emit_take(emit, rec);
	}
	if (status == PM_END)
		status = pm_qemu_emit_finish(emit);
	if (counts != NULL)
		*counts = pm_qemu_emit_counts(emit);
	pm_reader_close(&reader);
	pm_record_free(rec);
	pm_qemu_emit_free(emit);
	return status;
}

#endif /* ROUNDTRIP_H */
