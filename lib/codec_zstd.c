/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <zstd.h>
#include <zstd_errors.h>

#include "codec.h"

static void
encoder_free(void *context)
{
	ZSTD_freeCCtx(context);
}

static void *
encoder_new(int level)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();

	if (context != NULL && (ZSTD_isError(ZSTD_CCtx_setParameter(context,
	    ZSTD_c_compressionLevel, level)) || ZSTD_isError(
	    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1)))) {
		encoder_free(context);
		return NULL;
	}
	return context;
}

static enum pm_status
encode(void *context, const uint8_t *in, size_t size, uint8_t *out,
    size_t room, size_t *used, struct pm_fault *fault)
{
	size_t got = ZSTD_compress2(context, out, room, in, size);

	*used = ZSTD_isError(got) ? 0 : got;
	if (!ZSTD_isError(got) ||
	    ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL, "zstd: %s",
	    ZSTD_getErrorName(got));
}

static void *
decoder_new(void)
{
	return ZSTD_createDCtx();
}

static void
decoder_free(void *context)
{
	ZSTD_freeDCtx(context);
}

static enum pm_status
decode(void *context, const uint8_t *in, size_t in_size, uint8_t *out,
    size_t size, struct pm_fault *fault)
{
	size_t got = ZSTD_findFrameCompressedSize(in, in_size);

	/* One frame: the library would take several, and skippable ones. */
	if (!ZSTD_isError(got) && got != in_size)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "zstd payload is not one frame");
	got = ZSTD_decompressDCtx(context, out, size, in, in_size);
	if (got == size)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
	    "zstd payload does not decode: %s", ZSTD_isError(got)
	    ? ZSTD_getErrorName(got) : "wrong size");
}

const struct pm_codec pm_codec_zstd = {
	PM_CODEC_ZSTD, "zstd", 1, 19, 1,
	encoder_new, encoder_free, encode, decoder_new, decoder_free, decode,
};
