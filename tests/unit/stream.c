/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "stream.h"

#define PAYLOAD	4096	/* of the one page with content */

static FILE *file;		/* nameless; what streams are read from */
static struct pm_record *rec;
static struct pm_fault fault;
static uint32_t least = UINT32_MAX;	/* bytes of a payload read apart */

static void
must(enum pm_status status)
{
	if (status != PM_OK) {
		printf("Bail out! cannot write: %s\n", fault.text);
		exit(1);
	}
}

static void
put(struct pm_writer *writer)
{
	must(pm_writer_put(writer, rec));
}

static void
put_stream(struct pm_writer *writer, struct pm_digest from)
{
	struct pm_stream stream = { .version = 1, .page_shift = 12,
	    .from = from };

	pm_record_clear(rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, rec);
	put(writer);
}

static void
put_region(struct pm_writer *writer, uint32_t number)
{
	struct pm_region region = { .length = 5 << 12 };

	snprintf(region.name, sizeof(region.name), "memory%u", number);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, number, rec);
	put(writer);
}

/* All types of record; the numbers are not those of any memory. */
static void
put_one_of_each(struct pm_writer *writer, struct pm_digest from,
    struct pm_digest to)
{
	struct pm_mapping mapping = { .start = 0, .end = 4096, .name = "m",
	    .name_size = 1 };
	struct pm_round round = { .number = 1, .records = 4, .pages = 5 };

	put_stream(writer, from);
	put_region(writer, 0);
	pm_record_clear(rec, PM_TYPE_MAP);
	pm_mapping_pack(&mapping, rec);
	put(writer);
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->entry[rec->entries++] = pm_entry_of(0, PM_ZERO, 4);
	rec->entry[rec->entries++] = pm_entry_of(4, PM_RAW, PAYLOAD);
	memset(rec->payload, 'p', PAYLOAD);
	rec->stored = rec->decoded = PAYLOAD;
	put(writer);
	pm_record_clear(rec, PM_TYPE_ROUND);
	pm_round_pack(&round, rec);
	put(writer);
	pm_record_clear(rec, PM_TYPE_OPAQUE);
	put(writer);
	must(pm_writer_end(writer, from, to, rec));
}

/* A chain of that many streams, in memory; *size is where the last ends. */
static uint8_t *
make_chain(unsigned streams, size_t *size)
{
	struct pm_writer writer;
	uint8_t *bytes;

	rewind(file);
	must(pm_writer_open(&writer, fileno(file), &fault));
	for (unsigned i = 0; i < streams; i++)
		put_one_of_each(&writer, (struct pm_digest){ i, 0 },
		    (struct pm_digest){ i + 1, 0 });
	*size = (size_t)pm_meter_get(&writer.meter.bytes);
	CHECK(pm_meter_get(&writer.meter.records) == 7 * streams);
	CHECK(pm_meter_get(&writer.meter.pages) == 5 * streams);
	pm_writer_close(&writer);
	bytes = malloc(*size);
	if (bytes == NULL || pread(fileno(file), bytes, *size, 0) !=
	    (ssize_t)*size)
		must(PM_ERR_SYSTEM);
	return bytes;
}

static enum pm_status
next(struct pm_reader *reader)
{
	enum pm_status status = pm_reader_head(reader, rec, least);

	return status == PM_OK ? pm_reader_payload(reader, rec) : status;
}

/* What a reader of those bytes says at last; they stay in the file. */
static enum pm_status
reads(const uint8_t *bytes, size_t size)
{
	struct pm_reader reader;
	enum pm_status status;

	memset(&fault, 0, sizeof(fault));
	if (ftruncate(fileno(file), 0) != 0 ||
	    pwrite(fileno(file), bytes, size, 0) != (ssize_t)size ||
	    lseek(fileno(file), 0, SEEK_SET) != 0)
		return PM_ERR_SYSTEM;
	status = pm_reader_open(&reader, fileno(file), &fault);
	while (status == PM_OK)
		status = next(&reader);
	pm_reader_close(&reader);
	return status;
}

/* Cut anywhere but behind an END record, it is truncated, and says so. */
static int
prefixes_are_truncated(const uint8_t *bytes, size_t size, size_t whole)
{
	for (size_t at = 0; at < size; at++) {
		enum pm_status want = at == whole ? PM_END : PM_ERR_TRUNCATED;

		if (reads(bytes, at) != want)
			return 0;
		if (want != PM_END && strncmp(fault.text,
		    "stream ends early", 17) != 0)
			return 0;
	}
	return reads(bytes, size) == PM_END;
}

/* It says the same whether payloads are read apart or not. */
static int
prefixes_read_alike(const uint8_t *bytes, size_t size)
{
	int good = 1;

	for (size_t at = 0; at <= size; at++) {
		enum pm_status status = reads(bytes, at);
		struct pm_fault whole = fault;

		least = 1;
		good &= reads(bytes, at) == status &&
		    strcmp(fault.text, whole.text) == 0 &&
		    fault.placed == whole.placed;
		least = UINT32_MAX;
	}
	return good;
}

/* Where the page stands, which only its digest covers. */
static size_t
find_payload(const uint8_t *bytes, size_t size)
{
	size_t at = 0;

	while (at + PAYLOAD <= size && (bytes[at] != 'p' ||
	    memcmp(bytes + at, bytes + at + 1, PAYLOAD - 1) != 0))
		at++;
	return at;
}

/* No byte is without meaning: changed in any one, it is refused. */
static int
changes_are_refused(uint8_t *bytes, size_t size)
{
	static const uint8_t change[] = { 0x01, 0x80, 0xff };
	size_t payload = find_payload(bytes, size);

	for (size_t at = 0; at < size; at++)
		for (size_t i = 0; i < sizeof(change); i++) {
			enum pm_status status;

			if (at >= payload && at < payload + PAYLOAD)
				continue;
			bytes[at] ^= change[i];
			status = reads(bytes, size);
			bytes[at] ^= change[i];
			if (status >= 0 || fault.text[0] == '\0') {
				printf("# byte %zu\n", at);
				return 0;
			}
		}
	return 1;
}

/* After each record the input stands right behind it. */
static int
reads_no_further(const uint8_t *bytes, size_t size)
{
	struct pm_reader reader;
	enum pm_status status;
	off_t at = PM_SIGNATURE_SIZE;
	int good = reads(bytes, size) == PM_END;

	if (lseek(fileno(file), 0, SEEK_SET) != 0)
		return 0;
	status = pm_reader_open(&reader, fileno(file), &fault);
	good &= lseek(fileno(file), 0, SEEK_CUR) == at;
	while (status == PM_OK) {
		status = pm_reader_head(&reader, rec, least);
		if (status != PM_OK)
			break;
		if (rec->type == PM_TYPE_STREAM && reader.streams > 1)
			at += PM_SIGNATURE_SIZE;
		good &= rec->offset == (uint64_t)at;
		at += PM_HEAD_SIZE + rec->entries * PM_ENTRY_SIZE +
		    rec->stored;
		good &= reader.left == (rec->type == PM_TYPE_PAGES &&
		    rec->stored >= least ? rec->stored : 0);
		good &= lseek(fileno(file), 0, SEEK_CUR) == at - reader.left;
		good &= pm_reader_payload(&reader, rec) == PM_OK &&
		    reader.left == 0;
		good &= lseek(fileno(file), 0, SEEK_CUR) == at;
		good &= pm_meter_get(&reader.meter.bytes) == (uint64_t)at;
		if (rec->type == PM_TYPE_PAGES)
			good &= rec->payload[0] == 'p' &&
			    memcmp(rec->payload, rec->payload + 1,
			    PAYLOAD - 1) == 0;
		memset(rec->payload, 0, PAYLOAD);
	}
	good &= status == PM_END && (size_t)at == size;
	good &= pm_reader_next(&reader, rec) == PM_END;
	good &= pm_meter_get(&reader.meter.bytes) == size;
	pm_reader_close(&reader);
	return good;
}

static int
regions_are_bounded(void)
{
	struct pm_writer writer;
	struct pm_reader reader;
	enum pm_status status;

	rewind(file);
	must(pm_writer_open(&writer, fileno(file), &fault));
	put_stream(&writer, (struct pm_digest){ 0, 0 });
	for (uint32_t i = 0; i <= PM_REGIONS_MAX; i++)
		put_region(&writer, i);
	pm_writer_close(&writer);
	if (lseek(fileno(file), 0, SEEK_SET) != 0)
		return 0;
	memset(&fault, 0, sizeof(fault));
	status = pm_reader_open(&reader, fileno(file), &fault);
	while (status == PM_OK)
		status = pm_reader_next(&reader, rec);
	pm_reader_close(&reader);
	return status == PM_ERR_CORRUPT && reader.regions == PM_REGIONS_MAX &&
	    strstr(fault.text, "record 1025 at byte ") != NULL &&
	    strstr(fault.text, "more than 1024 regions") != NULL;
}

int
main(void)
{
	uint8_t *bytes;
	size_t one, two;

	if ((file = tmpfile()) == NULL || (rec = pm_record_new()) == NULL)
		return 1;
	free(make_chain(1, &one));
	bytes = make_chain(2, &two);
	CHECK(two == 2 * one);
	CHECK(prefixes_are_truncated(bytes, two, one));
	CHECK(changes_are_refused(bytes, one));
	CHECK(reads_no_further(bytes, two));
	CHECK(prefixes_read_alike(bytes, one));
	least = PAYLOAD;
	CHECK(changes_are_refused(bytes, one));
	CHECK(reads_no_further(bytes, two));
	least = PAYLOAD + 1;
	CHECK(reads_no_further(bytes, two));
	least = UINT32_MAX;
	/* The second stream of the chain alone, and once more behind. */
	CHECK(reads(bytes + one, one) == PM_END);
	memcpy(bytes, bytes + one, one);
	CHECK(reads(bytes, two) == PM_ERR_CORRUPT);
	CHECK(strstr(fault.text, "the one before it led to") != NULL);
	CHECK(regions_are_bounded());
	free(bytes);
	pm_record_free(rec);
	fclose(file);
	return check_done();
}
