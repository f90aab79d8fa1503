/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec.h - the compressors behind one table.
 *
 * A codec works from buffer to buffer.  What it needs to work lives in a
 * context, made once for each thread; coding allocates nothing.
 */
#ifndef PM_CODEC_H
#define PM_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "record.h"
#include "status.h"

struct pm_codec {
	enum pm_codec_id id;
	const char *name;		/* "zstd" */
	int level_min, level_max, level_default;
	/* A context for that level, or NULL when memory ran out. */
	void *(*encoder_new)(int level);
	void (*encoder_free)(void *);
	/*
	 * Encode into at most room bytes of out and give the bytes used, 0
	 * when they do not fit.  PM_ERR_REFUSED when the library failed.
	 */
	enum pm_status (*encode)(void *, const uint8_t *in, size_t size,
	    uint8_t *out, size_t room, size_t *used, struct pm_fault *);
	void *(*decoder_new)(void);
	void (*decoder_free)(void *);
	/* Decode to exactly size bytes of out, or PM_ERR_CORRUPT. */
	enum pm_status (*decode)(void *, const uint8_t *in, size_t in_size,
	    uint8_t *out, size_t size, struct pm_fault *);
};

extern const struct pm_codec pm_codec_zlib, pm_codec_lz4, pm_codec_zstd;

/* The codec of that name or number, or NULL. */
const struct pm_codec *pm_codec_named(const char *name);
const struct pm_codec *pm_codec_numbered(unsigned id);

/* Decoders of all codecs, each made when first needed. */
struct pm_decoders;
struct pm_decoders *pm_decoders_new(void);
void pm_decoders_free(struct pm_decoders *);

/*
 * Undo the codec of rec; *spare is a buffer from pm_record_buffer, which
 * changes places with rec->payload.  PM_ERR_CORRUPT when it does not decode
 * to what the head says.  A record without a codec is left alone.
 */
enum pm_status pm_decoders_undo(struct pm_decoders *, struct pm_record *rec,
    uint8_t **spare, struct pm_fault *);

#endif /* PM_CODEC_H */
