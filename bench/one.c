/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * one.c - the work of four programs in one process.
 * usage: one THREADS TABLE OLD NEW TARGET
 *
 * The same as
 *
 *	pm-snapshot --since TABLE NEW | pm-delta --base OLD |
 *	    pm-compress | pm-apply --in-place --trust-table TARGET
 *
 * on two threads, of which one has the first three steps, joined to the
 * other by a pipe; or on one thread, with the whole stream in memory
 * between its two halves.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "codec.h"
#include "delta.h"
#include "restore.h"
#include "source.h"
#include "squeeze.h"
#include "target.h"

/* The first half, and the stream that it makes. */
struct sender {
	const char *table, *old, *new;
	struct pm_writer out;
	struct pm_fault fault;
	struct pm_delta *delta;
	struct pm_squeeze *squeeze;
	struct pm_record *rec;
	uint64_t records;
};

/* A stream in memory. */
struct memory {
	uint8_t *bytes;
	size_t size, room, at;
};

_Noreturn static void
fail(const struct pm_fault *fault, const char *what)
{
	fprintf(stderr, "one: %s: %s\n", what, fault != NULL &&
	    fault->text[0] != '\0' ? fault->text : "failed");
	exit(1);
}

static void
check(enum pm_status status, const struct pm_fault *fault, const char *what)
{
	if (status != PM_OK)
		fail(fault, what);
}

/* Take a record that was captured through the two steps behind that. */
static enum pm_status
take(void *arg, struct iovec *iov, int count)
{
	struct sender *sender = arg;
	struct pm_record *rec = sender->rec;
	const uint8_t *head = iov[0].iov_base;
	struct pm_stream stream;
	enum pm_status status;

	if (count != 2)
		return PM_ERR_REFUSED;
	if (memcmp(head, PM_SIGNATURE, PM_SIGNATURE_SIZE) == 0)
		head += PM_SIGNATURE_SIZE;
	status = pm_record_unpack_head(rec, head, &sender->fault);
	if (status != PM_OK)
		return status;
	memcpy(rec->payload, iov[1].iov_base, rec->stored);
	status = pm_record_unpack_body(rec, head, head + PM_HEAD_SIZE,
	    &sender->fault);
	rec->number = sender->records++;
	if (status == PM_OK && rec->type == PM_TYPE_STREAM) {
		status = pm_stream_unpack(&stream, rec, &sender->fault);
		rec->page_shift = stream.page_shift;
	}
	if (status == PM_OK)
		status = pm_delta_step(rec, sender->delta, &sender->fault);
	if (status == PM_OK)
		status = pm_squeeze_step(rec, sender->squeeze,
		    &sender->fault);
	if (status == PM_OK)
		status = pm_writer_put(&sender->out, rec);
	return status;
}

static void
capture(struct sender *sender)
{
	struct pm_delta_options delta = { .cache_bytes = 64u << 20,
	    .base = sender->old };
	struct pm_capture_options how = { .record_size = PM_RECORD_PAYLOAD };
	struct pm_capture_counts counts;
	static struct pm_table since;
	enum pm_source_format format;
	struct pm_source *source;
	struct pm_writer captured;

	sender->delta = pm_delta_new(&delta);
	sender->squeeze = pm_squeeze_new(&pm_codec_zstd,
	    pm_codec_zstd.level_default);
	sender->rec = pm_record_new();
	if (sender->delta == NULL || sender->squeeze == NULL ||
	    sender->rec == NULL)
		fail(NULL, "memory");
	check(pm_source_detect(sender->new, &format, &sender->fault),
	    &sender->fault, sender->new);
	check(pm_source_open_image(&source, sender->new, format, 12, NULL, 0,
	    &sender->fault), &sender->fault, sender->new);
	check(pm_table_open(&since, sender->table, &sender->fault),
	    &sender->fault, sender->table);
	how.since = &since;
	check(pm_writer_open_io(&captured, take, sender, &sender->fault),
	    &sender->fault, "writer");
	check(pm_capture_run(source, &how, &captured, &counts,
	    &sender->fault), &sender->fault, "capture");
	source->ops->close(source);
	pm_table_close(&since);
	pm_writer_close(&captured);
	pm_delta_free(sender->delta);
	pm_squeeze_free(sender->squeeze);
	pm_record_free(sender->rec);
}

static void
restore(struct pm_reader *in, struct pm_fault *fault, const char *path)
{
	struct pm_record *rec = pm_record_new();
	struct pm_squeeze *undo = pm_squeeze_new(NULL, 0);
	struct pm_restore *restore;
	struct pm_target target;
	enum pm_status status;

	check(pm_target_open(&target, path, 1, 1, fault), fault, path);
	restore = pm_restore_new(&target, NULL, NULL, fault);
	if (rec == NULL || undo == NULL || restore == NULL)
		fail(fault, "memory");
	while ((status = pm_reader_next(in, rec)) == PM_OK) {
		check(pm_squeeze_step(rec, undo, fault), fault, "decode");
		check(pm_restore_take(restore, rec), fault, "restore");
	}
	if (status != PM_END)
		fail(fault, "stream");
	pm_target_close(&target);
	pm_restore_free(restore);
	pm_squeeze_free(undo);
	pm_record_free(rec);
	pm_reader_close(in);
}

static enum pm_status
append(void *arg, struct iovec *iov, int count)
{
	struct memory *memory = arg;

	for (int i = 0; i < count; i++) {
		if (memory->room - memory->size < iov[i].iov_len) {
			memory->room += iov[i].iov_len + (64u << 20);
			memory->bytes = realloc(memory->bytes, memory->room);
			if (memory->bytes == NULL)
				fail(NULL, "memory");
		}
		memcpy(memory->bytes + memory->size, iov[i].iov_base,
		    iov[i].iov_len);
		memory->size += iov[i].iov_len;
	}
	return PM_OK;
}

static enum pm_status
give(void *arg, struct iovec *iov, int count)
{
	struct memory *memory = arg;

	for (int i = 0; i < count; i++) {
		if (memory->at == memory->size && i == 0)
			return PM_END;
		if (memory->size - memory->at < iov[i].iov_len)
			return PM_ERR_TRUNCATED;
		memcpy(iov[i].iov_base, memory->bytes + memory->at,
		    iov[i].iov_len);
		memory->at += iov[i].iov_len;
	}
	return PM_OK;
}

static void
run_on_one(struct sender *sender, const char *target)
{
	struct memory memory = { 0 };
	struct pm_fault fault = { 0 };
	struct pm_reader in;

	check(pm_writer_open_io(&sender->out, append, &memory,
	    &sender->fault), &sender->fault, "writer");
	capture(sender);
	pm_writer_close(&sender->out);
	check(pm_reader_open_io(&in, give, &memory, &fault), &fault,
	    "reader");
	restore(&in, &fault, target);
	free(memory.bytes);
}

static void *
send_all(void *arg)
{
	struct sender *sender = arg;

	capture(sender);
	close(sender->out.fd);
	return NULL;
}

static void
run_on_two(struct sender *sender, const char *target)
{
	struct pm_fault fault = { 0 };
	struct pm_reader in;
	pthread_t thread;
	int pipes[2];

	if (pipe(pipes) != 0)
		fail(NULL, "pipe");
	check(pm_writer_open(&sender->out, pipes[1], &sender->fault),
	    &sender->fault, "writer");
	if (pthread_create(&thread, NULL, send_all, sender) != 0)
		fail(NULL, "thread");
	check(pm_reader_open(&in, pipes[0], &fault), &fault, "reader");
	restore(&in, &fault, target);
	pthread_join(thread, NULL);
	pm_writer_close(&sender->out);
}

int
main(int argc, char *argv[])
{
	static struct sender sender;

	if (argc != 6)
		return 2;
	sender.table = argv[2];
	sender.old = argv[3];
	sender.new = argv[4];
	if (strcmp(argv[1], "1") == 0)
		run_on_one(&sender, argv[5]);
	else if (strcmp(argv[1], "2") == 0)
		run_on_two(&sender, argv[5]);
	else
		return 2;
	return 0;
}
