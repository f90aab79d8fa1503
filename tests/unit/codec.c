/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "codec.h"
#include "squeeze.h"

#define SIZE	(128u << 10)
#define GUARD	0xa7

static const char *const names[] = { "zlib", "lz4", "zstd" };

static uint8_t text[PM_PAYLOAD_MAX], noise[PM_PAYLOAD_MAX];
static uint8_t coded[2 * PM_PAYLOAD_MAX], back[PM_PAYLOAD_MAX + 64];
static struct pm_fault fault;

static void
make_content(unsigned seed)
{
	srand(seed);
	for (size_t i = 0; i < sizeof(text); i++) {
		text[i] = (uint8_t)("pages of memory "[i % 16] + rand() % 2);
		noise[i] = (uint8_t)(rand() >> 7);
	}
}

/* Decode, and see that nothing was written beyond size. */
static enum pm_status
decode(const struct pm_codec *codec, void *decoder, const uint8_t *in,
    size_t in_size, size_t size)
{
	/* In memory of just that size, so that a sanitizer sees more. */
	uint8_t *exact = malloc(in_size + 1);
	enum pm_status status;

	memcpy(exact, in, in_size);
	memset(back, GUARD, sizeof(back));
	fault = (struct pm_fault){ .error = 0 };
	status = codec->decode(decoder, exact, in_size, back, size, &fault);
	free(exact);
	for (size_t i = 0; i < 64; i++)
		if (back[size + i] != GUARD) {
			printf("# %s wrote beyond\n", codec->name);
			exit(1);
		}
	return status;
}

static int
is_refused(const struct pm_codec *codec, void *decoder, const uint8_t *in,
    size_t in_size, size_t size)
{
	return decode(codec, decoder, in, in_size, size) == PM_ERR_CORRUPT &&
	    strstr(fault.text, codec->name) == fault.text;
}

static int
returns(const struct pm_codec *codec, void *encoder, void *decoder,
    const uint8_t *content, size_t size)
{
	size_t used = 0;

	return codec->encode(encoder, content, size, coded, sizeof(coded),
	    &used, &fault) == PM_OK && used > 0 &&
	    decode(codec, decoder, coded, used, size) == PM_OK &&
	    memcmp(content, back, size) == 0;
}

static int
every_level_returns(const struct pm_codec *codec)
{
	static const size_t sizes[] = { 1, 2, 4095, 4096, 65536, SIZE };
	void *decoder = codec->decoder_new();
	int good = decoder != NULL;

	for (int level = codec->level_min; level <= codec->level_max;
	    level++) {
		void *encoder = codec->encoder_new(level);

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			good &= returns(codec, encoder, decoder, text,
			    sizes[i]) && returns(codec, encoder, decoder,
			    noise, sizes[i]);
		codec->encoder_free(encoder);
	}
	codec->decoder_free(decoder);
	return good;
}

/* With less room than it takes it says 0, and keeps within the room. */
static int
keeps_within_room(const struct pm_codec *codec, int level)
{
	void *encoder = codec->encoder_new(level);
	void *decoder = codec->decoder_new();
	size_t whole = 0, used;
	int good = codec->encode(encoder, text, 4096, coded, sizeof(coded),
	    &whole, &fault) == PM_OK && whole > 0;

	for (size_t room = 0; room <= whole + 8; room++) {
		memset(coded, GUARD, whole + 64);
		used = 99999;
		good &= codec->encode(encoder, text, 4096, coded, room, &used,
		    &fault) == PM_OK && used <= room;
		for (size_t i = room; i < whole + 64; i++)
			good &= coded[i] == GUARD;
		if (used > 0)
			good &= decode(codec, decoder, coded, used, 4096) ==
			    PM_OK && memcmp(text, back, 4096) == 0;
	}
	/* After all that it still works. */
	good &= returns(codec, encoder, decoder, text, SIZE);
	codec->encoder_free(encoder);
	codec->decoder_free(decoder);
	return good;
}

static void
check_hostile(const struct pm_codec *codec)
{
	static uint8_t bad[8192];
	void *encoder = codec->encoder_new(codec->level_default);
	void *decoder = codec->decoder_new();
	size_t used = 0;
	int good = 1;

	(void)codec->encode(encoder, text, 4096, coded, sizeof(coded), &used,
	    &fault);
	CHECK(used > 0 && used < sizeof(bad));
	for (size_t size = 0; size < used; size++)
		good &= is_refused(codec, decoder, coded, size, 4096);
	CHECK(good);

	/* It must be exactly the size that was promised. */
	CHECK(is_refused(codec, decoder, coded, used, 4095));
	CHECK(is_refused(codec, decoder, coded, used, 4097));
	CHECK(is_refused(codec, decoder, coded, used, 1));
	CHECK(is_refused(codec, decoder, coded, used, PM_PAYLOAD_MAX));

	/* Nothing may follow; not even a second one of the same. */
	memcpy(bad, coded, used);
	bad[used] = 0;
	CHECK(is_refused(codec, decoder, bad, used + 1, 4096));
	memcpy(bad + used, coded, used);
	CHECK(is_refused(codec, decoder, bad, 2 * used, 4096));
	CHECK(is_refused(codec, decoder, bad, 2 * used, 8192));

	good = 1;
	for (size_t i = 0; i < used * 8; i++) {
		enum pm_status status;

		memcpy(bad, coded, used);
		bad[i / 8] ^= (uint8_t)(1 << i % 8);
		status = decode(codec, decoder, bad, used, 4096);
		good &= status == PM_OK || status == PM_ERR_CORRUPT;
	}
	CHECK(good);
	good = 1;
	for (unsigned i = 0; i < 3000 / CHECK_STRIDE; i++) {
		size_t size = (size_t)rand() % 300;
		const uint8_t *from = noise + rand() % 100000;

		/* Half of them begin as the codec's own do. */
		memcpy(bad, from, size);
		memcpy(bad, coded, size < 6 || i % 2 == 0 ? 0 : 6);
		good &= decode(codec, decoder, bad, size, 4096) != PM_ERR_SYSTEM;
	}
	CHECK(good);
	/* And the same decoder still decodes. */
	CHECK(returns(codec, encoder, decoder, text, SIZE));
	codec->encoder_free(encoder);
	codec->decoder_free(decoder);
}

static void
fill(struct pm_record *rec, const uint8_t *content, uint32_t size)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	memcpy(rec->payload, content, size);
	rec->stored = rec->decoded = size;
}

static void
check_undo(void)
{
	struct pm_decoders *decoders = pm_decoders_new();
	struct pm_record *rec = pm_record_new();
	uint8_t *spare = pm_record_buffer();

	for (size_t i = 0; i < 3; i++) {
		struct pm_squeeze *squeeze =
		    pm_squeeze_new(pm_codec_named(names[i]), 1);

		fill(rec, text, SIZE);
		CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
		    rec->codec == pm_codec_named(names[i])->id &&
		    rec->stored < SIZE && rec->decoded == SIZE);
		CHECK(pm_decoders_undo(decoders, rec, &spare, &fault) ==
		    PM_OK && rec->codec == PM_CODEC_NONE &&
		    rec->stored == SIZE &&
		    memcmp(rec->payload, text, SIZE) == 0);
		pm_squeeze_free(squeeze);
	}
	CHECK(pm_decoders_undo(decoders, rec, &spare, &fault) == PM_OK &&
	    rec->stored == SIZE);
	rec->codec = 77;
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_decoders_undo(decoders, rec, &spare, &fault) ==
	    PM_ERR_VERSION && rec->codec == 77);
	pm_decoders_free(decoders);
	pm_decoders_free(NULL);
	pm_record_free(rec);
	free(spare);
}

static void
check_squeeze(void)
{
	struct pm_squeeze *squeeze = pm_squeeze_new(&pm_codec_zstd, 1);
	struct pm_record *rec = pm_record_new();

	fill(rec, noise, SIZE);
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
	    rec->codec == PM_CODEC_NONE &&
	    memcmp(rec->payload, noise, SIZE) == 0);
	/* 1/32 of it can be saved, and then 1/8. */
	memcpy(coded, noise, SIZE);
	memset(coded, 0, SIZE / 32);
	fill(rec, coded, SIZE);
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
	    rec->codec == PM_CODEC_NONE && rec->stored == SIZE);
	memset(coded, 0, SIZE / 8);
	fill(rec, coded, SIZE);
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
	    rec->codec == PM_CODEC_ZSTD && rec->stored < SIZE / 16 * 15);
	/* What is compressed already is left, and so is what has no pages. */
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
	    rec->decoded == SIZE && rec->codec == PM_CODEC_ZSTD);
	fill(rec, text, SIZE);
	rec->type = PM_TYPE_OPAQUE;
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK &&
	    rec->codec == PM_CODEC_NONE && rec->stored == SIZE);
	fill(rec, text, 0);
	CHECK(pm_squeeze_step(rec, squeeze, &fault) == PM_OK);
	CHECK(pm_squeeze_counts(squeeze).squeezed == 1 &&
	    pm_squeeze_counts(squeeze).kept == 3);
	pm_squeeze_free(squeeze);
	pm_squeeze_free(NULL);
	pm_record_free(rec);
}

int
main(int argc, char *argv[])
{
	unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;

	printf("# seed %u\n", seed);
	make_content(seed);
	CHECK(pm_codec_named("gzip") == NULL && pm_codec_named("") == NULL);
	CHECK(pm_codec_numbered(0) == NULL && pm_codec_numbered(4) == NULL);
	for (size_t i = 0; i < 3; i++) {
		const struct pm_codec *codec = pm_codec_named(names[i]);

		CHECK(codec != NULL && pm_codec_numbered(codec->id) == codec);
		CHECK(every_level_returns(codec));
		CHECK(keeps_within_room(codec, codec->level_min));
		CHECK(keeps_within_room(codec, codec->level_max));
		check_hostile(codec);
		codec->encoder_free(NULL);
		codec->decoder_free(NULL);
	}
	check_undo();
	check_squeeze();
	return check_done();
}
