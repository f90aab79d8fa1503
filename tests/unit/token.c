/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <unistd.h>

#include "codec.h"
#include "tape.h"
#include "token.h"

#define ROOM	(1u << 16)	/* so that a pipe holds a whole chain */
#define PAGE	4096u
#define MOST	64u

static size_t boundary[MOST];	/* where records end; 0 is the first */
static unsigned boundaries;
static size_t unproved, unproved_end;	/* payload that only a target proves */
static size_t packed, packed_end;	/* payload that is compressed */

static void
mark(void)
{
	boundary[boundaries++] = wire_size;
}

static void
put_region(void)
{
	struct pm_region region = { .length = 16 * PAGE,
	    .old_length = 16 * PAGE, .name = "memory" };

	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, 0, rec);
	put();
	mark();
}

/* Three pages of text and some zeroes, squeezed or not. */
static void
put_raw(int squeezed)
{
	static uint8_t out[PM_PAYLOAD_MAX];
	uint64_t key = pm_hash_key("memory", 6);
	size_t used = 0;

	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->first = 1;
	rec->entry[rec->entries++] = pm_entry_of(0, PM_ZERO, 2);
	for (uint32_t i = 0; i < 3; i++) {
		uint8_t *page = rec->payload + i * PAGE;

		for (unsigned at = 0; at < PAGE; at++)
			page[at] = (uint8_t)(1 + (at / 7 + i) % 250);
		rec->entry[rec->entries++] = pm_entry_of(2 + i, PM_RAW, PAGE);
		rec->digest = pm_digest_add(rec->digest, pm_hash_page(
		    pm_hash_content(page, PAGE), key, 3 + i));
	}
	rec->stored = rec->decoded = 3 * PAGE;
	if (squeezed) {
		void *encoder = pm_codec_zstd.encoder_new(3);

		if (pm_codec_zstd.encode(encoder, rec->payload, rec->stored,
		    out, rec->stored - 1, &used, NULL) != PM_OK ||
		    used == 0)
			exit(1);
		pm_codec_zstd.encoder_free(encoder);
		memcpy(rec->payload, out, used);
		rec->stored = (uint32_t)used;
		rec->codec = PM_CODEC_ZSTD;
	}
	put();
	mark();
	packed = wire_size - rec->stored;
	packed_end = wire_size;
}

static void
put_delta(void)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->entry[rec->entries++] = pm_entry_of(0, PM_DELTA, 50);
	rec->entry[rec->entries++] = pm_entry_of(1, PM_SAME, 1);
	memset(rec->payload, 'd', 50);
	rec->stored = rec->decoded = 50;
	put();
	mark();
	unproved = wire_size - 50;
	unproved_end = wire_size;
}

static void
put_other(enum pm_type type, uint32_t size)
{
	pm_record_clear(rec, type);
	memset(rec->payload, 'o', size);
	rec->stored = rec->decoded = size;
	put();
	mark();
}

/* Two streams, and nothing of them is left to chance. */
static void
make_chain(void)
{
	struct pm_digest from = { 0, 0 }, to = { 5, 6 }, last = { 7, 8 };

	start_wire();
	boundaries = 0;
	mark();
	put_stream(12, from, 0);
	mark();
	put_region();
	put_raw(0);
	put_round(to);
	mark();
	put_end(from, to);
	mark();
	put_stream(12, to, PM_NEEDS_DELTA);
	mark();
	put_region();
	put_delta();
	put_raw(1);
	put_other(PM_TYPE_OPAQUE, 3);
	put_end(to, last);
	mark();
}

/* What is found in bytes that come through a pipe. */
static enum pm_status
find(const uint8_t *bytes, size_t size, struct pm_token *token)
{
	enum pm_status status;
	int fd[2];

	fault = (struct pm_fault){ .error = 0 };
	if (pipe(fd) != 0 || write(fd[1], bytes, size) != (ssize_t)size ||
	    close(fd[1]) != 0)
		exit(1);
	status = pm_token_find(fd[0], token, &fault);
	close(fd[0]);
	return status;
}

/* The token of what is common to those bytes and the chain. */
static int
is_right(const struct pm_token *token, const uint8_t *bytes, size_t size)
{
	size_t common = 0;
	unsigned at = 0;

	while (common < size && common < wire_size &&
	    bytes[common] == wire[common])
		common++;
	while (at + 1 < boundaries && boundary[at + 1] <= common)
		at++;
	if (token->offset == boundary[at] && token->records == at &&
	    pm_digest_equal(token->hash, pm_hash_bytes(wire, boundary[at])))
		return 1;
	printf("# %zu of %zu bytes in common: %llu, %llu records\n", common,
	    size, (unsigned long long)token->offset,
	    (unsigned long long)token->records);
	return 0;
}

/* All are tried, but within pages. */
static size_t
next_place(size_t at)
{
	return at > boundary[2] + 200 && at + 300 < boundary[3] ? at + 61
	    : at + CHECK_STRIDE;
}

static int
cuts_are_found(void)
{
	struct pm_token token;

	for (size_t at = 0; at <= wire_size; at = next_place(at))
		if (find(wire, at, &token) != PM_OK ||
		    !is_right(&token, wire, at) || fault.text[0] != '\0')
			return 0;
	return 1;
}

/* What a power cut leaves: a file as long as it was to be, and empty. */
static int
zeroes_are_found(uint8_t *bytes)
{
	struct pm_token token;

	for (size_t at = 0; at <= wire_size; at = next_place(at)) {
		enum pm_status status;

		if (at >= unproved && at < unproved_end)
			continue;
		memcpy(bytes, wire, at);
		memset(bytes + at, 0, 5000);
		status = find(bytes, at + 5000, &token);
		if (!is_right(&token, bytes, at + 5000) ||
		    (status != PM_OK && fault.text[0] == '\0'))
			return 0;
		/* They may be what a page lacks, and be cut again. */
		if (status != PM_ERR_CORRUPT && (status != PM_OK ||
		    at < boundary[2] || at >= boundary[3]))
			return 0;
	}
	return 1;
}

/*
 * Any byte that is changed ends what is sound, if it can be told.  A few bits
 * of what is compressed have no meaning.
 */
static int
damage_is_found(uint8_t *bytes)
{
	struct pm_token token;
	size_t missed = 0;

	memcpy(bytes, wire, wire_size);
	for (size_t at = 0; at < wire_size; at = next_place(at)) {
		enum pm_status status;

		if (at >= unproved && at < unproved_end)
			continue;
		bytes[at] ^= 0x10;
		status = find(bytes, wire_size, &token);
		if (at >= packed && at < packed_end && status == PM_OK &&
		    pm_digest_equal(token.hash, pm_hash_bytes(bytes,
		    wire_size)))
			missed++;
		else if (!is_right(&token, bytes, wire_size) ||
		    (status != PM_OK && status != PM_ERR_CORRUPT &&
		    status != PM_ERR_VERSION))
			return 0;
		bytes[at] ^= 0x10;
	}
	printf("# missed %zu in %zu bytes\n", missed, packed_end - packed);
	return missed <= (packed_end - packed) / 10;
}

/* Where it cannot be told, the hash tells. */
static void
test_unproved(uint8_t *bytes)
{
	struct pm_token token;

	memcpy(bytes, wire, wire_size);
	bytes[unproved + 7] ^= 1;
	CHECK(find(bytes, wire_size, &token) == PM_OK);
	CHECK(token.offset == wire_size && token.records == boundaries - 1);
	CHECK(pm_digest_equal(token.hash, pm_hash_bytes(bytes, wire_size)));
	CHECK(!pm_digest_equal(token.hash, pm_hash_bytes(wire, wire_size)));
}

static void
test_places(uint8_t *bytes)
{
	struct pm_token token;
	FILE *file = tmpfile();

	/* A descriptor is read from where it stands. */
	CHECK(file != NULL && fwrite("abc", 1, 3, file) == 3 &&
	    fwrite(wire, 1, wire_size - 1, file) == wire_size - 1 &&
	    fflush(file) == 0 && lseek(fileno(file), 3, SEEK_SET) == 3);
	CHECK(pm_token_find(fileno(file), &token, &fault) == PM_OK);
	CHECK(is_right(&token, wire, wire_size - 1));
	fclose(file);
	memcpy(bytes, "no stream at all", 16);
	CHECK(find(bytes, 16, &token) == PM_ERR_CORRUPT);
	CHECK(is_right(&token, bytes, 16));
	CHECK(strcmp(fault.text, "not a page-record stream") == 0);
	memcpy(bytes, wire, boundary[4]);
	memset(bytes + boundary[4], 0, 100);
	CHECK(find(bytes, boundary[4] + 100, &token) == PM_ERR_CORRUPT);
	CHECK(strncmp(fault.text, "record 4 at byte ", 17) == 0);
	memcpy(bytes, wire, wire_size);
	CHECK(find(bytes, wire_size + 1, &token) == PM_ERR_CORRUPT);
	CHECK(is_right(&token, wire, wire_size));
	/* What cannot be read has no token. */
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_token_find(-1, &token, &fault) == PM_ERR_READ);
	CHECK(token.offset == 0 && token.records == 0 && fault.error != 0);
}

static int
refuses(const char *text)
{
	struct pm_token token;

	return !pm_token_parse(text, &token);
}

#define HASH	"0123456789abcdef00000000000000fe"

static void
test_text(void)
{
	struct pm_token token = { INT64_MAX, 192153584101141162,
	    { UINT64_MAX, UINT64_MAX } }, got;
	char text[PM_TOKEN_TEXT];

	pm_token_text(&token, text);
	CHECK(strcmp(text, "9223372036854775807:192153584101141162:"
	    "ffffffffffffffffffffffffffffffff") == 0);
	CHECK(pm_token_parse(text, &got) && got.offset == token.offset &&
	    got.records == token.records &&
	    pm_digest_equal(got.hash, token.hash));
	CHECK(pm_token_parse("480:7:" HASH, &got) && got.offset == 480 &&
	    got.records == 7 && got.hash.high == 0x0123456789abcdef &&
	    got.hash.low == 0xfe);
	pm_token_text(&got, text);
	CHECK(strcmp(text, "480:7:" HASH) == 0);
	CHECK(find(wire, 0, &got) == PM_OK);
	pm_token_text(&got, text);
	CHECK(strcmp(text, "0:0:99aa06d3014798d86001c324468d497f") == 0);
	CHECK(pm_token_parse(text, &got) && got.offset == 0);
	CHECK(refuses("") && refuses(":") && refuses("::"));
	CHECK(refuses("480") && refuses("480:7") && refuses("480:7:"));
	CHECK(refuses("+480:7:" HASH) && refuses("480:-7:" HASH));
	CHECK(refuses(" 480:7:" HASH) && refuses("480:7:" HASH "\n"));
	CHECK(refuses("480: 7:" HASH) && refuses("480:7: " HASH));
	CHECK(refuses("0480:7:" HASH) && refuses("480:07:" HASH));
	CHECK(refuses("480::" HASH) && refuses(":7:" HASH));
	CHECK(refuses("4x0:7:" HASH) && refuses("0x480:7:" HASH));
	CHECK(refuses("480:7:0123456789ABCDEF00000000000000fe"));
	CHECK(refuses("480:7:0123456789abcdef00000000000000f"));
	CHECK(refuses("480:7:" HASH "0") && refuses("480:7:" HASH ":"));
	CHECK(refuses("480:7:0123456789abcdeg00000000000000fe"));
	CHECK(refuses("9223372036854775808:7:" HASH));
	CHECK(refuses("18446744073709552096:7:" HASH));
	CHECK(refuses("9223372036854775807:18446744073709551623:" HASH));
	/* So many records do not fit, and nothing is none. */
	CHECK(refuses("480:11:" HASH) && refuses("480:0:" HASH));
	CHECK(refuses("0:1:" HASH));
}

int
main(void)
{
	uint8_t *bytes = malloc(ROOM);

	start_tape(ROOM - 8192, 1);
	make_chain();
	printf("# %zu bytes, %u records\n", wire_size, boundaries - 1);
	if (bytes == NULL || boundary[3] - boundary[2] < 3 * PAGE)
		exit(1);
	CHECK(cuts_are_found());
	CHECK(zeroes_are_found(bytes));
	CHECK(damage_is_found(bytes));
	test_unproved(bytes);
	test_places(bytes);
	test_text();
	end_tape();
	free(bytes);
	return check_done();
}
