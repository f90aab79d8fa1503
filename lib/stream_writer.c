/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fdio.h"
#include "stream.h"

static enum pm_status
write_fd(void *arg, struct iovec *iov, int count)
{
	return pm_fd_writev(*(const int *)arg, iov, count);
}

/* On writer->fd, or -1. */
static enum pm_status
start_writer(struct pm_writer *writer, pm_stream_io *io, void *arg,
    struct pm_fault *fault)
{
	*writer = (struct pm_writer){ .io = io, .arg = arg,
	    .fd = writer->fd, .fault = fault };
	writer->head = malloc(PM_SIGNATURE_SIZE + PM_HEAD_SIZE +
	    PM_ENTRIES_SIZE);
	if (writer->head == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	memcpy(writer->head, PM_SIGNATURE, PM_SIGNATURE_SIZE);
	return PM_OK;
}

enum pm_status
pm_writer_open(struct pm_writer *writer, int fd, struct pm_fault *fault)
{
	pm_fd_widen(fd);
	writer->fd = fd;
	return start_writer(writer, write_fd, &writer->fd, fault);
}

enum pm_status
pm_writer_open_io(struct pm_writer *writer, pm_stream_io *io, void *arg,
    struct pm_fault *fault)
{
	writer->fd = -1;
	return start_writer(writer, io, arg, fault);
}

void
pm_writer_push(struct pm_writer *writer, int fd, pm_stream_push *push)
{
	writer->fd = fd;
	writer->push = push;
}

void
pm_writer_close(struct pm_writer *writer)
{
	free(writer->head);
	writer->head = NULL;
}

enum pm_status
pm_writer_fail(struct pm_writer *writer, enum pm_status status)
{
	return pm_fault_set(writer->fault, status, NULL, "%s",
	    pm_status_text(status));
}

struct iovec
pm_writer_seal(struct pm_writer *writer, struct pm_record *rec)
{
	uint8_t *head = writer->head + PM_SIGNATURE_SIZE;
	size_t size = pm_record_seal(rec, head);

	if (rec->type != PM_TYPE_STREAM)
		return (struct iovec){ head, size };
	writer->records = writer->pages = 0;
	return (struct iovec){ writer->head, size + PM_SIGNATURE_SIZE };
}

enum pm_status
pm_writer_bytes(struct pm_writer *writer, struct iovec *iov, int count)
{
	enum pm_status status;
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += iov[i].iov_len;
	if ((status = writer->io(writer->arg, iov, count)) != PM_OK)
		return pm_writer_fail(writer, status);
	pm_meter_add(&writer->meter.bytes, size);
	return PM_OK;
}

void
pm_writer_count(struct pm_writer *writer, const struct pm_record *rec)
{
	uint64_t pages = pm_record_pages(rec);

	writer->records++;
	writer->pages += pages;
	pm_meter_add(&writer->meter.records, 1);
	pm_meter_add(&writer->meter.pages, pages);
}

enum pm_status
pm_writer_put(struct pm_writer *writer, struct pm_record *rec)
{
	struct iovec iov[2] = {
		pm_writer_seal(writer, rec), { rec->payload, rec->stored },
	};
	enum pm_status status = pm_writer_bytes(writer, iov, 2);

	if (status == PM_OK)
		pm_writer_count(writer, rec);
	return status;
}

enum pm_status
pm_writer_end(struct pm_writer *writer, struct pm_digest from,
    struct pm_digest to, struct pm_record *rec)
{
	struct pm_end end = {
		.to = to,
		.from = from,
		.records = writer->records,
		.pages = writer->pages,
	};

	pm_record_clear(rec, PM_TYPE_END);
	pm_end_pack(&end, rec);
	return pm_writer_put(writer, rec);
}
