/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "delta.h"
#include "xbzrle.h"

#define SIZE		4096u
#define PAGES		6u		/* of each region */
#define REGIONS		2u
#define BASE_PAGES	8u		/* in the file: the last are beyond */

enum what {
	NEW_CONTENT, OLD_CONTENT, SMALL_CHANGE, RAW_ZEROES, ZEROES, NOTHING,
	KINDS
};

static const char *const names[REGIONS] = { "low", "high" };

/* A source, its encoder, and two targets: one before, one behind -d. */
static struct {
	struct pm_record *in, *wire, *out;
	struct pm_delta *encoder, *decoder;
	struct pm_fault fault;
	unsigned order;			/* region of the record numbered 0 */
	uint8_t source[REGIONS][PAGES][SIZE], target[REGIONS][PAGES][SIZE];
	int known[REGIONS][PAGES];	/* the target has it from the source */
} run;

static uint8_t base_content[REGIONS][PAGES][SIZE];
static uint8_t noise[16 * SIZE];
static char base_path[] = "/tmp/pm-delta-XXXXXX";
static uint8_t head[2][PM_HEAD_SIZE + PM_ENTRIES_MAX * PM_ENTRY_SIZE];

static void
copy_record(struct pm_record *to, const struct pm_record *from)
{
	struct pm_entry *entry = to->entry;
	uint8_t *payload = to->payload;

	*to = *from;
	to->entry = entry;
	to->payload = payload;
	memcpy(entry, from->entry, from->entries * sizeof(entry[0]));
	memcpy(payload, from->payload, from->stored);
}

static int
are_equal(struct pm_record *a, struct pm_record *b)
{
	size_t size = pm_record_seal(a, head[0]);

	return pm_record_seal(b, head[1]) == size &&
	    memcmp(head[0], head[1], size) == 0 && a->stored == b->stored &&
	    memcmp(a->payload, b->payload, a->stored) == 0;
}

/* What pm-apply would do with a record that is not compressed. */
static int
apply(const struct pm_record *rec)
{
	unsigned region = rec->region ^ run.order;
	const uint8_t *in = rec->payload;

	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];
		uint64_t first = rec->first + entry.page;
		uint8_t *page = run.target[region][first];

		if (pm_entry_kind(entry) == PM_RAW)
			memcpy(page, in, SIZE);
		else if (pm_entry_kind(entry) == PM_DELTA) {
			if (pm_xbzrle_decode(page, SIZE, in,
			    pm_entry_length(entry), NULL) != PM_OK)
				return 0;
		} else if (pm_entry_kind(entry) != PM_SAME)
			memset(page, 0, pm_entry_pages(entry) * SIZE);
		in += pm_entry_bytes(entry);
		for (uint32_t n = 0; n < pm_entry_pages(entry); n++)
			run.known[region][first + n] = 1;
	}
	return 1;
}

static int
target_is_right(void)
{
	for (unsigned r = 0; r < REGIONS; r++)
		for (unsigned p = 0; p < PAGES; p++)
			if (run.known[r][p] && memcmp(run.target[r][p],
			    run.source[r][p], SIZE) != 0)
				return 0;
	return 1;
}

/* Pass run.in on through both ends; 1 when all is as it must be. */
static int
passes(void)
{
	struct pm_digest digest = run.in->digest;

	copy_record(run.wire, run.in);
	if (pm_delta_step(run.wire, run.encoder, &run.fault) != PM_OK)
		return 0;
	if (run.in->type == PM_TYPE_PAGES &&
	    !pm_digest_equal(run.wire->digest, digest))
		return 0;
	if (run.in->type == PM_TYPE_PAGES && !apply(run.wire))
		return 0;
	copy_record(run.out, run.wire);
	return target_is_right() &&
	    pm_delta_step(run.out, run.decoder, &run.fault) == PM_OK &&
	    are_equal(run.in, run.out);
}

static void
make_stream(struct pm_record *rec, uint32_t needs, uint32_t cache_pages)
{
	struct pm_stream stream = { .version = 1, .page_shift = 12,
	    .needs = needs, .cache_pages = cache_pages };

	pm_record_clear(rec, PM_TYPE_STREAM);
	pm_stream_pack(&stream, rec);
	rec->page_shift = 12;
}

static void
make_region(struct pm_record *rec, uint32_t number, const char *name,
    uint64_t pages)
{
	struct pm_region region = { .length = pages * SIZE };

	strcpy(region.name, name);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, number, rec);
}

static int
passes_begin(unsigned order)
{
	run.order = order;
	make_stream(run.in, 0, 0);
	if (!passes())
		return 0;
	for (uint32_t i = 0; i < REGIONS; i++) {
		make_region(run.in, i, names[i ^ order], PAGES);
		if (!passes())
			return 0;
	}
	return 1;
}

static int
passes_round(void)
{
	struct pm_round round = { .number = 1 };

	pm_record_clear(run.in, PM_TYPE_ROUND);
	pm_round_pack(&round, run.in);
	return passes();
}

/* Change a page of the source and append it to run.in. */
static void
add_page(unsigned region, uint32_t page, enum what what)
{
	static const uint8_t zeroes[SIZE];
	struct pm_record *rec = run.in;
	uint8_t *content = run.source[region][page];

	switch (what) {
	case NEW_CONTENT:
		memcpy(content, noise + rand() % (int)sizeof(noise) / 2, SIZE);
		break;
	case SMALL_CHANGE:
		content[rand() % (int)SIZE] ^= 0x55;
		break;
	case OLD_CONTENT:
		break;
	default:
		memcpy(content, zeroes, SIZE);
	}
	rec->region = region ^ run.order;
	if (what == ZEROES || what == NOTHING) {
		rec->entry[rec->entries++] = pm_entry_of(page,
		    what == ZEROES ? PM_ZERO : PM_GONE, 1);
		return;
	}
	rec->entry[rec->entries++] = pm_entry_of(page, PM_RAW, SIZE);
	memcpy(rec->payload + rec->stored, content, SIZE);
	rec->stored += SIZE;
	rec->decoded = rec->stored;
	rec->digest = pm_digest_add(rec->digest, pm_hash_page(
	    pm_hash_content(content, SIZE), pm_hash_key(names[region],
	    strlen(names[region])), page));
}

static void
make_delta(struct pm_delta **delta, int decode, uint64_t bytes,
    const char *base)
{
	struct pm_delta_options options = { .decode = decode,
	    .cache_bytes = bytes, .base = base };

	pm_delta_free(*delta);
	*delta = pm_delta_new(&options);
}

/* A source and targets that begin as the base, or without one unlike. */
static int
begins(uint32_t slots, int with_base)
{
	const char *base = with_base ? base_path : NULL;

	make_delta(&run.encoder, 0, slots * SIZE, base);
	make_delta(&run.decoder, 1, 1 << 20, base);
	run.fault = (struct pm_fault){ .text = "" };
	memcpy(run.source, base_content, sizeof(run.source));
	memcpy(run.target, base_content, sizeof(run.target));
	if (!with_base)
		memset(run.target, 0xee, sizeof(run.target));
	for (unsigned r = 0; r < REGIONS; r++)
		for (unsigned p = 0; p < PAGES; p++)
			run.known[r][p] = with_base &&
			    r * PAGES + p < BASE_PAGES;
	return run.encoder != NULL && run.decoder != NULL && passes_begin(0);
}

static int
counts_agree(void)
{
	struct pm_delta_counts a = pm_delta_counts(run.encoder);
	struct pm_delta_counts b = pm_delta_counts(run.decoder);

	return memcmp(&a, &b, sizeof(a)) == 0 &&
	    a.pages == a.hits + a.misses;
}

/* Three steps over three pages, with and without a round between them. */
static int
sequence_passes(unsigned number, unsigned rounds)
{
	for (unsigned step = 0; step < 3; step++) {
		/* Two pages that the base holds, and one that it does not. */
		unsigned page = number % 3, region = page == 2;
		enum what what = (enum what)(number / 3 % KINDS);

		number /= 3 * KINDS;
		pm_record_clear(run.in, PM_TYPE_PAGES);
		add_page(region, page + 2, what);
		if (!passes())
			return 0;
		if ((rounds >> step & 1) != 0 && !passes_round())
			return 0;
	}
	return counts_agree();
}

/* Pages 0 and 1 are alike: only sequences that meet 0 first are new. */
static int
meets_page_1_first(unsigned number)
{
	while (number % 3 == 2)
		number /= 3 * KINDS;
	return number % 3 == 1;
}

static int
every_sequence_passes(uint32_t slots, int with_base)
{
	const unsigned one = 3 * KINDS;
	/* Rounds matter to a cache that is full. */
	const unsigned marks = slots < 3 ? 4 : 1;

	for (unsigned number = 0; number < one * one * one;
	    number += CHECK_STRIDE)
		for (unsigned rounds = 0; rounds < marks &&
		    !meets_page_1_first(number); rounds++)
			if (!begins(slots, with_base) ||
			    !sequence_passes(number, rounds)) {
				printf("# sequence %u, rounds %u: %s\n",
				    number, rounds, run.fault.text);
				return 0;
			}
	return 1;
}

/* A record of some pages, of any kinds. */
static int
random_record_passes(void)
{
	unsigned region = (unsigned)rand() % REGIONS;

	pm_record_clear(run.in, PM_TYPE_PAGES);
	for (uint32_t page = 0; page < PAGES; page++)
		if (rand() % 2 == 0)
			add_page(region, page, (enum what)(rand() % KINDS));
	if (run.in->entries == 0)
		return 1;
	return passes();
}

static int
random_chains_pass(unsigned seed, int chains)
{
	static const uint32_t slots[] = { 1, 2, 3, 5, 16 };

	srand(seed);
	while (chains-- > 0) {
		if (!begins(slots[rand() % 5], rand() % 2))
			return 0;
		for (int step = 0; step < 60; step++) {
			int what = rand() % 10;

			if (!(what == 0 ? passes_begin((unsigned)rand() % 2)
			    : what < 3 ? passes_round()
			    : random_record_passes())) {
				printf("# step %d of chain %d: %s\n", step,
				    chains, run.fault.text);
				return 0;
			}
		}
		if (!counts_agree())
			return 0;
	}
	return 1;
}

/* The kinds of the entries that the encoder makes, as letters. */
static const char *
kinds_of(const struct pm_record *rec)
{
	static char kinds[PAGES + 1];

	for (uint32_t i = 0; i < rec->entries; i++)
		kinds[i] = "?RDSZG"[pm_entry_kind(rec->entry[i])];
	kinds[rec->entries] = '\0';
	return kinds;
}

static void
check_kinds(void)
{
	CHECK(begins(16, 1));
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 0, OLD_CONTENT);
	add_page(0, 1, OLD_CONTENT);
	add_page(0, 2, SMALL_CHANGE);
	add_page(0, 3, OLD_CONTENT);
	add_page(0, 5, NEW_CONTENT);
	CHECK(passes() && strcmp(kinds_of(run.wire), "SDSR") == 0);
	CHECK(pm_entry_pages(run.wire->entry[0]) == 2);
	CHECK(pm_delta_counts(run.encoder).hits == 5 &&
	    pm_delta_counts(run.encoder).unchanged == 3 &&
	    pm_delta_counts(run.encoder).overflows == 1 &&
	    pm_delta_counts(run.encoder).bytes == run.wire->entry[1].word -
	    (uint32_t)(PM_DELTA << 28));

	/* Of pages that passed and became zeroes, one is raw zeroes now. */
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 2, ZEROES);
	add_page(0, 5, NOTHING);
	CHECK(passes() && strcmp(kinds_of(run.wire), "ZG") == 0);
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 2, RAW_ZEROES);
	add_page(0, 5, SMALL_CHANGE);
	CHECK(passes() && strcmp(kinds_of(run.wire), "SD") == 0);

	/* The base is no guide to a page that passed and was not kept. */
	CHECK(begins(0, 1));
	for (int i = 0; i < 2; i++) {
		pm_record_clear(run.in, PM_TYPE_PAGES);
		add_page(0, 0, SMALL_CHANGE);
		CHECK(passes() && strcmp(kinds_of(run.wire), i == 0 ? "D"
		    : "R") == 0);
	}
}

static int
wire_continues(void)
{
	struct pm_stream stream;

	return pm_stream_unpack(&stream, run.wire, NULL) == PM_OK &&
	    (stream.may & PM_MAY_CONTINUE) != 0;
}

static enum pm_status
step_into(struct pm_delta *delta, const struct pm_record *rec)
{
	run.fault = (struct pm_fault){ .text = "" };
	copy_record(run.out, rec);
	return pm_delta_step(run.out, delta, &run.fault);
}

static void
check_streams(void)
{
	/* A chain goes on from what is remembered. */
	CHECK(begins(16, 0));
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 0, NEW_CONTENT);
	CHECK(passes());
	make_stream(run.in, 0, 0);
	CHECK(passes() && wire_continues());
	make_region(run.in, 0, names[1], PAGES);
	CHECK(passes());
	make_region(run.in, 1, names[0], PAGES);
	CHECK(passes());
	run.order = 1;
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 0, SMALL_CHANGE);
	CHECK(passes() && strcmp(kinds_of(run.wire), "D") == 0);

	/* A stream that was here before passes; the next starts afresh. */
	make_stream(run.in, PM_NEEDS_DELTA, 99);
	CHECK(step_into(run.encoder, run.in) == PM_OK &&
	    are_equal(run.in, run.out));
	CHECK(pm_delta_counts(run.encoder).passed_streams == 1);
	make_region(run.in, 0, names[0], PAGES);
	CHECK(step_into(run.encoder, run.in) == PM_OK);
	copy_record(run.in, run.wire);
	run.in->region = 0;
	CHECK(step_into(run.encoder, run.in) == PM_OK &&
	    are_equal(run.in, run.out));
	make_stream(run.in, 0, 0);
	copy_record(run.wire, run.in);
	CHECK(pm_delta_step(run.wire, run.encoder, NULL) == PM_OK &&
	    !wire_continues());

	make_stream(run.in, 0, 0);
	run.in->payload[2] = 13;
	CHECK(step_into(run.encoder, run.in) == PM_ERR_REFUSED);
	make_delta(&run.encoder, 0, SIZE - 1, NULL);
	make_stream(run.in, 0, 0);
	CHECK(step_into(run.encoder, run.in) == PM_ERR_REFUSED);
	CHECK(strstr(run.fault.text, "4095") != NULL);
}

/* Begin run.decoder with a stream of one region. */
static int
decoder_begins(uint32_t cache_pages, const char *base)
{
	make_delta(&run.decoder, 1, 1 << 20, base);
	make_stream(run.in, PM_NEEDS_DELTA, cache_pages);
	if (step_into(run.decoder, run.in) != PM_OK)
		return 0;
	make_region(run.in, 0, names[0], PAGES);
	if (step_into(run.decoder, run.in) != PM_OK)
		return 0;
	run.order = 0;
	pm_record_clear(run.in, PM_TYPE_PAGES);
	return 1;
}

static void
check_decoder(void)
{
	CHECK(!decoder_begins(300, NULL));
	CHECK(strstr(run.fault.text, "1048576 are allowed") != NULL);
	CHECK(!decoder_begins(UINT32_MAX, NULL));

	CHECK(decoder_begins(16, NULL));
	run.in->entry[run.in->entries++] = pm_entry_of(3, PM_SAME, 1);
	CHECK(step_into(run.decoder, run.in) == PM_ERR_CORRUPT);
	CHECK(strstr(run.fault.text, "page 3 of region 0") != NULL);
	run.in->entry[0] = pm_entry_of(0, PM_SAME, 257);
	CHECK(step_into(run.decoder, run.in) == PM_ERR_CORRUPT);
	CHECK(strstr(run.fault.text, "more than the format") != NULL);
	run.in->codec = PM_CODEC_ZLIB;
	CHECK(step_into(run.decoder, run.in) == PM_ERR_REFUSED);
	run.in->codec = PM_CODEC_NONE;
	run.in->region = 1;
	CHECK(step_into(run.decoder, run.in) == PM_ERR_CORRUPT);

	CHECK(decoder_begins(16, NULL));
	add_page(0, 3, NEW_CONTENT);
	CHECK(step_into(run.decoder, run.in) == PM_OK);
	run.in->payload[7] ^= 1;
	CHECK(step_into(run.decoder, run.in) == PM_ERR_CORRUPT);
	CHECK(strstr(run.fault.text, "pages 3 to 3 of region 0") != NULL);
	run.in->entry[0] = pm_entry_of(3, PM_DELTA, 2);
	memcpy(run.in->payload, "\x05\x00", 2);
	CHECK(step_into(run.decoder, run.in) == PM_ERR_CORRUPT);
	CHECK(strstr(run.fault.text, "page 3 of region 0: delta") != NULL);

	/* The wrong base is found by the digest, and named. */
	CHECK(decoder_begins(16, base_path));
	memcpy(run.source, base_content, sizeof(run.source));
	add_page(0, 3, SMALL_CHANGE);
	run.in->entry[0] = pm_entry_of(3, PM_SAME, 1);
	run.in->stored = run.in->decoded = 0;
	CHECK(step_into(run.decoder, run.in) == PM_ERR_MISMATCH);
	CHECK(strcmp(run.fault.subject, base_path) == 0);
	CHECK(decoder_begins(16, "/nonexistent"));
	add_page(0, 3, OLD_CONTENT);
	CHECK(step_into(run.decoder, run.in) == PM_ERR_READ);
}

/* A run far longer than cache and base together, and one within them. */
static void
check_long_runs(void)
{
	CHECK(begins(16, 1));
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 0, NEW_CONTENT);
	CHECK(passes());
	pm_record_clear(run.in, PM_TYPE_PAGES);
	run.in->entry[run.in->entries++] = pm_entry_of(0, PM_GONE, PM_RUN_MAX);
	CHECK(step_into(run.encoder, run.in) == PM_OK);
	memset(run.source, 0, sizeof(run.source));
	pm_record_clear(run.in, PM_TYPE_PAGES);
	add_page(0, 0, SMALL_CHANGE);
	add_page(0, 1, SMALL_CHANGE);
	CHECK(step_into(run.encoder, run.in) == PM_OK &&
	    strcmp(kinds_of(run.out), "DR") == 0);
	CHECK(memcmp(run.source, base_content, SIZE) != 0);
}

/* Any record that a reader lets through, to a decoder with cache and base. */
static int
survives_noise(unsigned seed, int rounds)
{
	struct pm_record *rec = run.in;

	srand(seed);
	while (rounds-- > 0) {
		uint64_t next = 0;

		if (rounds % 100 == 0 && !decoder_begins(4, base_path))
			return 0;
		pm_record_clear(rec, PM_TYPE_PAGES);
		rec->first = rand() % 9 == 0 ? PM_PAGES_MAX - PAGES : 0;
		while (next < PAGES && rec->entries < PAGES) {
			enum pm_kind kind = (enum pm_kind)(1 + rand() % 5);
			uint32_t length = kind == PM_RAW ? SIZE
			    : kind == PM_DELTA ? 1 + (uint32_t)rand() % 20
			    : rand() % 50 == 0 ? PM_RUN_MAX : 1;
			struct pm_entry entry = pm_entry_of((uint32_t)next,
			    kind, length);

			memcpy(rec->payload + rec->stored,
			    noise + rand() % (int)sizeof(noise) / 2, SIZE);
			if (kind == PM_DELTA && rand() % 2 == 0)
				memcpy(rec->payload + rec->stored,
				    "\0\1a\1\1a\1\1a\1\1a\1\1a\1\1a\1\1",
				    20);
			rec->entry[rec->entries++] = entry;
			rec->stored += pm_entry_bytes(entry);
			next += pm_entry_pages(entry) + (uint64_t)rand() % 2;
		}
		rec->decoded = rec->stored;
		(void)step_into(run.decoder, rec);
	}
	return 1;
}

static int
write_base(void)
{
	const size_t size = BASE_PAGES * SIZE;
	int fd = mkstemp(base_path), ok;

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rand();
	/* What lies beyond the end of the file is zeroes. */
	memcpy(base_content, noise, size);
	ok = fd >= 0 && write(fd, base_content, size) == (ssize_t)size;
	close(fd);
	return ok;
}

int
main(void)
{
	run.in = pm_record_new();
	run.wire = pm_record_new();
	run.out = pm_record_new();
	CHECK(run.in != NULL && run.wire != NULL && run.out != NULL);
	CHECK(write_base());
	check_kinds();
	check_streams();
	check_decoder();
	check_long_runs();
	for (unsigned i = 0; i < 6; i++)
		CHECK(every_sequence_passes((uint32_t[]){ 1, 2, 16 }[i / 2],
		    i % 2));
	CHECK(random_chains_pass(4, 2000 / CHECK_STRIDE));
	CHECK(survives_noise(5, 20000 / CHECK_STRIDE));
	pm_delta_free(run.encoder);
	pm_delta_free(run.decoder);
	pm_record_free(run.in);
	pm_record_free(run.wire);
	pm_record_free(run.out);
	unlink(base_path);
	return check_done();
}
