/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "ring.h"

#define RECORDS		120u		/* of pages; STREAM, REGION, END too */
#define ALL		(RECORDS + 3)
#define PAGE		4096u
#define THREADS_MAX	8u
#define NEVER		UINT64_MAX

/* A stream in memory, to read, and where it is written. */
static struct {
	uint8_t *bytes;
	size_t size;
	uint64_t start[ALL + 1];	/* of each record */
} source;

static struct {
	uint8_t *bytes;
	size_t size, at;		/* written, and read */
	atomic_uint_least64_t read, written;	/* calls that carried a record */
	uint64_t ahead;			/* most of read over written */

	/* What goes wrong, and where. */
	size_t cut;			/* bytes that there are */
	uint64_t full;			/* record that is not written */
	uint64_t bad[2];		/* records that the step fails at */
	int slow_step, slow_writer, patient_reader;
	struct pm_fault in_fault, out_fault;
} run;

static void
nap(long us)
{
	struct timespec ts = { 0, us * 1000 };

	nanosleep(&ts, NULL);
}

static enum pm_status
read_memory(void *arg, struct iovec *iov, int count)
{
	uint64_t read = atomic_load(&run.read);
	int begun = 0;

	(void)arg;
	/* Heads are read alone, so this counts no record twice. */
	if (count == 2) {
		atomic_store(&run.read, read + 1);
		if (read + 1 - atomic_load(&run.written) > run.ahead)
			run.ahead = read + 1 - atomic_load(&run.written);
	} else if (run.patient_reader)
		/* A source that waits for what it gave to come out. */
		for (int i = 0; i < 20000 &&
		    atomic_load(&run.written) < read; i++)
			nap(100);
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > run.cut - run.at)
			return begun || run.cut > run.at ? PM_ERR_TRUNCATED
			    : PM_END;
		memcpy(iov[i].iov_base, source.bytes + run.at,
		    iov[i].iov_len);
		run.at += iov[i].iov_len;
		begun |= iov[i].iov_len > 0;
	}
	return PM_OK;
}

static enum pm_status
write_memory(void *arg, struct iovec *iov, int count)
{
	(void)arg;
	if (atomic_load(&run.written) == run.full) {
		errno = ENOSPC;
		return PM_ERR_WRITE;
	}
	if (run.slow_writer)
		nap(300 * run.slow_writer);
	for (int i = 0; i < count; i++) {
		memcpy(run.bytes + run.size, iov[i].iov_base, iov[i].iov_len);
		run.size += iov[i].iov_len;
	}
	atomic_fetch_add(&run.written, 1);
	return PM_OK;
}

/* Turn each byte around, and take a time that has nothing to do with it. */
static enum pm_status
step(struct pm_record *rec, void *state, struct pm_fault *fault)
{
	unsigned *steps = state;

	if (run.slow_step)
		nap((long)(rec->number * 7919 % 13 * 40));
	(*steps)++;
	if (rec->number == run.bad[0] || rec->number == run.bad[1]) {
		/* The earlier of two is found later. */
		if (rec->number == run.bad[0])
			nap(5000);
		errno = EDOM;
		return pm_fault_set(fault, PM_ERR_CORRUPT, "here",
		    "record %llu is bad", (unsigned long long)rec->number);
	}
	for (uint32_t i = 0; rec->type == PM_TYPE_PAGES && i < rec->stored;
	    i++)
		rec->payload[i] = (uint8_t)~rec->payload[i];
	return PM_OK;
}

static void
clear(void)
{
	uint8_t *bytes = run.bytes;

	memset(&run, 0, sizeof(run));
	run.bytes = bytes;
	run.cut = source.size;
	run.full = run.bad[0] = run.bad[1] = NEVER;
}

/* threads 0 is the serial run, which is right by definition. */
static enum pm_status
go(unsigned threads)
{
	unsigned steps[THREADS_MAX] = { 0 };
	void *state[THREADS_MAX];
	struct pm_record *rec = pm_record_new();
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;

	run.size = run.at = 0;
	run.ahead = 0;
	atomic_store(&run.read, 0);
	atomic_store(&run.written, 0);
	run.in_fault = run.out_fault = (struct pm_fault){ .error = 0 };
	for (unsigned i = 0; i < THREADS_MAX; i++)
		state[i] = &steps[i];
	status = pm_writer_open_io(&out, write_memory, NULL, &run.out_fault);
	if (status == PM_OK)
		status = pm_reader_open_io(&in, read_memory, NULL,
		    &run.in_fault);
	if (status == PM_OK)
		status = threads == 0
		    ? pm_filter_run(&in, &out, step, state[0], rec)
		    : pm_ring_run(&in, &out, step, state, threads);
	if (out.fault != &run.out_fault || in.fault != &run.in_fault)
		status = PM_ERR_SYSTEM;
	pm_reader_close(&in);
	pm_writer_close(&out);
	pm_record_free(rec);
	return status;
}

/* Any number of threads gives the bytes, status and words of one. */
static int
runs_as_serial(enum pm_status expected)
{
	static uint8_t *bytes;
	struct pm_fault in, out;
	size_t size;
	int good;

	if (go(0) != expected)
		return 0;
	size = run.size;
	free(bytes);
	bytes = malloc(size + 1);
	memcpy(bytes, run.bytes, size);
	in = run.in_fault;
	out = run.out_fault;
	good = expected == PM_OK ||
	    (in.text[0] == '\0') != (out.text[0] == '\0');
	for (unsigned threads = 1; threads <= THREADS_MAX; threads *= 2) {
		good &= go(threads) == expected && run.size == size &&
		    memcmp(run.bytes, bytes, size) == 0 &&
		    strcmp(in.text, run.in_fault.text) == 0 &&
		    strcmp(in.subject, run.in_fault.subject) == 0 &&
		    in.error == run.in_fault.error &&
		    strcmp(out.text, run.out_fault.text) == 0 &&
		    out.error == run.out_fault.error;
		if (!good) {
			printf("# %u threads: %s %s\n", threads,
			    run.in_fault.text, run.out_fault.text);
			return 0;
		}
	}
	return good;
}

static enum pm_status
append(void *arg, struct iovec *iov, int count)
{
	uint64_t *records = arg;

	source.start[(*records)++] = source.size;
	for (int i = 0; i < count; i++) {
		memcpy(source.bytes + source.size, iov[i].iov_base,
		    iov[i].iov_len);
		source.size += iov[i].iov_len;
	}
	return PM_OK;
}

/* Records of 1 to 4 pages, of a stream that nobody checks by digest. */
static void
make_source(void)
{
	struct pm_stream stream = { .version = 1, .page_shift = 12 };
	struct pm_region region = { .length = 4 * PAGE * RECORDS,
	    .name = "memory" };
	struct pm_digest zero = { 0, 0 };
	struct pm_record *rec = pm_record_new();
	struct pm_writer writer;
	uint64_t records = 0;

	source.bytes = malloc((4 * PAGE + 512) * (size_t)ALL);
	run.bytes = malloc((4 * PAGE + 512) * (size_t)ALL);
	(void)pm_writer_open_io(&writer, append, &records, NULL);
	pm_record_clear(rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, rec);
	(void)pm_writer_put(&writer, rec);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, 0, rec);
	(void)pm_writer_put(&writer, rec);
	for (unsigned i = 0; i < RECORDS; i++) {
		pm_record_clear(rec, PM_TYPE_PAGES);
		rec->first = 4 * i;
		rec->entries = i % 4 + 1;
		rec->stored = rec->decoded = PAGE * rec->entries;
		for (uint32_t page = 0; page < rec->entries; page++)
			rec->entry[page] = pm_entry_of(page, PM_RAW, PAGE);
		for (uint32_t at = 0; at < rec->stored; at++)
			rec->payload[at] = (uint8_t)(i * 31 + at);
		(void)pm_writer_put(&writer, rec);
	}
	(void)pm_writer_end(&writer, zero, zero, rec);
	pm_writer_close(&writer);
	pm_record_free(rec);
}

static void
check_order(void)
{
	clear();
	CHECK(runs_as_serial(PM_OK));
	CHECK(run.size == source.size);
	run.slow_step = 1;
	CHECK(runs_as_serial(PM_OK));
	run.slow_step = 0;
	run.slow_writer = 1;
	CHECK(runs_as_serial(PM_OK));
}

/* Memory is bounded, and nothing is held back while input is awaited. */
static void
check_flow(void)
{
	uint64_t ahead = 0;

	/* Where the writer is slow enough, all slots are used. */
	for (int i = 1; i <= 32 && ahead < 2 * PM_RING_SLOTS; i *= 2) {
		clear();
		run.slow_writer = i;
		if (go(2) != PM_OK || run.ahead > 2 * PM_RING_SLOTS + 1)
			break;
		if (run.ahead > ahead)
			ahead = run.ahead;
	}
	CHECK(run.ahead <= 2 * PM_RING_SLOTS + 1);
	CHECK(ahead >= 2 * PM_RING_SLOTS);
	clear();
	run.patient_reader = 1;
	CHECK(go(4) == PM_OK && run.ahead == 1);
}

static void
check_failures(void)
{
	clear();
	run.slow_step = 1;
	run.bad[0] = 0;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));
	CHECK(strcmp(run.in_fault.text, "record 0 at byte 8: "
	    "record 0 is bad") == 0);
	run.bad[0] = 50;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));
	run.bad[0] = ALL - 1;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));

	/* Two are bad, and the later is found first. */
	run.bad[0] = 40;
	run.bad[1] = 41;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));
	CHECK(strstr(run.in_fault.text, "record 40 is bad") != NULL);

	/* A bad one, and the input ends soon after it, and before it. */
	run.cut = source.start[43] + 100;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));
	run.cut = source.start[40] + 100;
	CHECK(runs_as_serial(PM_ERR_TRUNCATED));

	/* One that is not written, a bad one behind it and before it. */
	clear();
	run.full = 30;
	CHECK(runs_as_serial(PM_ERR_WRITE));
	CHECK(run.out_fault.error == ENOSPC && run.in_fault.text[0] == '\0');
	run.bad[0] = 31;
	CHECK(runs_as_serial(PM_ERR_WRITE));
	run.bad[0] = 29;
	CHECK(runs_as_serial(PM_ERR_CORRUPT));
	run.full = 0;
	CHECK(runs_as_serial(PM_ERR_WRITE));
}

static void
check_cuts(void)
{
	int good = 1;

	clear();
	for (unsigned i = 0; i < ALL; i += 7) {
		run.cut = source.start[i] + (i == 0 ? 8 : 0);
		good &= runs_as_serial(PM_ERR_TRUNCATED);
		run.cut = source.start[i] + 30;
		good &= runs_as_serial(PM_ERR_TRUNCATED);
	}
	CHECK(good);
	run.cut = source.size - 1;
	CHECK(runs_as_serial(PM_ERR_TRUNCATED));
}

int
main(void)
{
	make_source();
	check_order();
	check_flow();
	check_failures();
	check_cuts();
	free(source.bytes);
	free(run.bytes);
	return check_done();
}
