/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zero.c - turn pages of zeroes in a page-record stream into runs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { STREAM = 1, REGION, MAP, PAGES, ROUND, OPAQUE, END };
enum { RAW = 1, DELTA, SAME, ZERO, GONE };
enum { HEAD = 48, ENTRY = 8, MOST_ENTRIES = 4096, MOST_BYTES = 1 << 20 };
enum { SKIPPABLE = 1 << 7, NEEDS_KNOWN = 3, LONGEST_RUN = (1 << 28) - 1 };

static const char signature[] = "\x89PMS\r\n\x1a\n";
static uint8_t rec[HEAD + MOST_ENTRIES * ENTRY + MOST_BYTES];
static uint32_t page_size;

static _Noreturn void
die(int status, const char *why)
{
	fprintf(stderr, "zero: %s\n", why);
	exit(status);
}

static uint32_t
get(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void
put(uint8_t *p, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = value >> (8 * i);
}

static void
take(void *buf, size_t size)
{
	if (fread(buf, 1, size, stdin) == size)
		return;
	if (ferror(stdin))
		die(1, "cannot read");
	die(3, "stream ends early");
}

/* The check of the record in rec, which leaves that field 0. */
static uint32_t
check(void)
{
	size_t size = HEAD + ENTRY * get(rec + 4);

	put(rec + 20, 0);
	if (rec[0] != PAGES)
		size += get(rec + 8);
	return XXH3_64bits(rec, size);
}

static int
is_zero(const uint8_t *p, size_t size)
{
	return p[0] == 0 && memcmp(p, p + 1, size - 1) == 0;
}

/* Rewrite table and payload in place; both can only become shorter. */
static void
squeeze(void)
{
	uint32_t entries = get(rec + 4), left = get(rec + 8), kept = 0;
	uint8_t *table = rec + HEAD, *payload = table + entries * ENTRY;
	uint8_t *from = payload, *to = payload;
	uint64_t next = 0, zero_end = UINT64_MAX;	/* of a run to extend */

	if (left != get(rec + 12))
		die(3, "an entry contradicts its record");
	for (uint32_t i = 0; i < entries; i++) {
		uint32_t page = get(table + i * ENTRY);
		uint32_t word = get(table + i * ENTRY + 4);
		uint32_t kind = word >> 28, length = word & LONGEST_RUN;
		uint32_t bytes = kind <= DELTA ? length : 0;
		uint8_t *last = table + kept * ENTRY - 4;

		if (kind < RAW || kind > GONE)
			die(3, "this stream needs a newer version");
		if (length == 0 || page < next || bytes > left ||
		    (kind == RAW && bytes != page_size))
			die(3, "an entry contradicts its record");
		next = (uint64_t)page + (bytes > 0 ? 1 : length);
		if (kind == RAW && is_zero(from, bytes)) {
			kind = ZERO;
			length = 1;
		} else {
			memmove(to, from, bytes);
			to += bytes;
		}
		from += bytes;
		left -= bytes;
		if (kind == ZERO && page == zero_end &&
		    length <= LONGEST_RUN - (get(last) & LONGEST_RUN)) {
			put(last, get(last) + length);
		} else {
			put(table + kept * ENTRY, page);
			put(table + kept++ * ENTRY + 4, kind << 28 | length);
		}
		zero_end = kind == ZERO ? next : UINT64_MAX;
	}
	if (left != 0)
		die(3, "an entry contradicts its record");
	memmove(table + kept * ENTRY, payload, to - payload);
	put(rec + 4, kept);
	put(rec + 8, to - payload);
	put(rec + 12, to - payload);
}

/* Pass one record on. */
static void
pass_record(int is_first)
{
	uint32_t found;
	size_t body;

	take(rec, HEAD);
	if (rec[0] == 0 || (rec[0] == STREAM) != is_first)
		die(3, "a record stands where it must not");
	if ((rec[0] > END && (rec[3] & SKIPPABLE) == 0) ||
	    (rec[0] == PAGES && (rec[2] | rec[3]) != 0))
		die(3, "this stream needs a newer version");
	if (get(rec + 4) > MOST_ENTRIES || get(rec + 8) > MOST_BYTES)
		die(3, "a record is too large");
	body = ENTRY * get(rec + 4) + get(rec + 8);
	take(rec + HEAD, body);
	found = get(rec + 20);
	if (check() != found)
		die(3, "the check of a record does not match");
	if (rec[0] == STREAM) {
		const uint8_t *payload = rec + HEAD;

		if (body < 32 || payload[0] != 1 || payload[1] != 0 ||
		    get(payload + 4) > NEEDS_KNOWN)
			die(3, "this stream needs a newer version");
		if (payload[2] < 12 || payload[2] > 16)
			die(3, "the page size is out of range");
		page_size = 1 << payload[2];
	}
	if (rec[0] == PAGES && rec[1] == 0)
		squeeze();		/* compressed ones are let pass */
	put(rec + 20, check());
	body = ENTRY * get(rec + 4) + get(rec + 8);
	if (fwrite(rec, 1, HEAD + body, stdout) != HEAD + body ||
	    fflush(stdout) != 0)
		die(1, "cannot write");
}

int
main(void)
{
	char got[8];
	int c;

	do {			/* for each stream of the chain */
		take(got, 8);
		if (memcmp(got, signature, 8) != 0)
			die(3, "not a page-record stream");
		fwrite(got, 1, 8, stdout);
		pass_record(1);
		while (rec[0] != END)
			pass_record(0);
	} while ((c = getchar()) != EOF && ungetc(c, stdin) == c);
	if (ferror(stdin))
		die(1, "cannot read");
	return 0;
}
