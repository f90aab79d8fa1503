/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include <lz4.h>
#include <lz4hc.h>

#include "codec.h"

#define LEVEL_HC	3	/* from here on the slow, tight compressor */

struct encoder {
	int level;
	void *state;
};

static void
encoder_free(void *context)
{
	struct encoder *encoder = context;

	if (encoder == NULL)
		return;
	free(encoder->state);
	free(encoder);
}

static void *
encoder_new(int level)
{
	struct encoder *encoder = calloc(1, sizeof(*encoder));
	int size = level < LEVEL_HC ? LZ4_sizeofState() : LZ4_sizeofStateHC();

	if (encoder == NULL)
		return NULL;
	encoder->level = level;
	if ((encoder->state = malloc((size_t)size)) == NULL) {
		encoder_free(encoder);
		return NULL;
	}
	return encoder;
}

static enum pm_status
encode(void *context, const uint8_t *in, size_t size, uint8_t *out,
    size_t room, size_t *used, struct pm_fault *fault)
{
	struct encoder *encoder = context;
	int got;

	(void)fault;
	/* Level 2 is the library's plain speed, level 1 four times hastier. */
	if (encoder->level < LEVEL_HC)
		got = LZ4_compress_fast_extState(encoder->state,
		    (const char *)in, (char *)out, (int)size, (int)room,
		    encoder->level == 1 ? 4 : 1);
	else
		got = LZ4_compress_HC_extStateHC(encoder->state,
		    (const char *)in, (char *)out, (int)size, (int)room,
		    encoder->level);
	*used = got > 0 ? (size_t)got : 0;
	return PM_OK;
}

/* LZ4 blocks are decoded without a context; this one is never looked at. */
static void *
decoder_new(void)
{
	return malloc(1);
}

static enum pm_status
decode(void *context, const uint8_t *in, size_t in_size, uint8_t *out,
    size_t size, struct pm_fault *fault)
{
	(void)context;
	if (LZ4_decompress_safe((const char *)in, (char *)out, (int)in_size,
	    (int)size) == (int)size)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
	    "lz4 payload does not decode");
}

const struct pm_codec pm_codec_lz4 = {
	PM_CODEC_LZ4, "lz4", 1, LZ4HC_CLEVEL_MAX, 2,
	encoder_new, encoder_free, encode, decoder_new, free, decode,
};
