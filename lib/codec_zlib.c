/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include <zlib.h>

#include "codec.h"

static void *
encoder_new(int level)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z != NULL && deflateInit(z, level) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void
encoder_free(void *context)
{
	if (context == NULL)
		return;
	deflateEnd(context);
	free(context);
}

static enum pm_status
failed(struct pm_fault *fault, const z_stream *z, int code)
{
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL, "zlib: %s",
	    z->msg != NULL ? z->msg : zError(code));
}

static enum pm_status
encode(void *context, const uint8_t *in, size_t size, uint8_t *out,
    size_t room, size_t *used, struct pm_fault *fault)
{
	z_stream *z = context;
	int code = deflateReset(z);

	z->next_in = (z_const Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)size;
	z->next_out = out;
	z->avail_out = (uInt)room;
	if (code == Z_OK)
		code = deflate(z, Z_FINISH);
	*used = code == Z_STREAM_END ? room - z->avail_out : 0;
	if (code == Z_STREAM_END || code == Z_OK || code == Z_BUF_ERROR)
		return PM_OK;
	return failed(fault, z, code);
}

static void *
decoder_new(void)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (z != NULL && inflateInit(z) != Z_OK) {
		free(z);
		return NULL;
	}
	return z;
}

static void
decoder_free(void *context)
{
	if (context == NULL)
		return;
	inflateEnd(context);
	free(context);
}

static enum pm_status
decode(void *context, const uint8_t *in, size_t in_size, uint8_t *out,
    size_t size, struct pm_fault *fault)
{
	z_stream *z = context;
	int code = inflateReset(z);

	z->next_in = (z_const Bytef *)(uintptr_t)in;
	z->avail_in = (uInt)in_size;
	z->next_out = out;
	z->avail_out = (uInt)size;
	if (code == Z_OK)
		code = inflate(z, Z_FINISH);
	if (code == Z_STREAM_END && z->avail_in == 0 && z->avail_out == 0)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
	    "zlib payload does not decode: %s", z->msg != NULL ? z->msg
	    : "wrong size");
}

const struct pm_codec pm_codec_zlib = {
	PM_CODEC_ZLIB, "zlib", 1, 9, 1,
	encoder_new, encoder_free, encode, decoder_new, decoder_free, decode,
};
