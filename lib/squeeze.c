/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "squeeze.h"

struct pm_squeeze {
	const struct pm_codec *codec;	/* NULL: undo */
	void *encoder;
	struct pm_decoders *decoders;
	uint8_t *spare;
	struct pm_squeeze_counts counts;
};

struct pm_squeeze *
pm_squeeze_new(const struct pm_codec *codec, int level)
{
	struct pm_squeeze *squeeze = calloc(1, sizeof(*squeeze));

	if (squeeze == NULL)
		return NULL;
	squeeze->codec = codec;
	squeeze->spare = pm_record_buffer();
	if (codec != NULL)
		squeeze->encoder = codec->encoder_new(level);
	else
		squeeze->decoders = pm_decoders_new();
	if (squeeze->spare == NULL ||
	    (squeeze->encoder == NULL && squeeze->decoders == NULL)) {
		pm_squeeze_free(squeeze);
		return NULL;
	}
	return squeeze;
}

void
pm_squeeze_free(struct pm_squeeze *squeeze)
{
	if (squeeze == NULL)
		return;
	if (squeeze->codec != NULL)
		squeeze->codec->encoder_free(squeeze->encoder);
	pm_decoders_free(squeeze->decoders);
	free(squeeze->spare);
	free(squeeze);
}

static enum pm_status
compress(struct pm_squeeze *squeeze, struct pm_record *rec,
    struct pm_fault *fault)
{
	size_t room = rec->stored - (rec->stored + 15) / 16, used = 0;
	uint8_t *payload = rec->payload;
	enum pm_status status;

	status = squeeze->codec->encode(squeeze->encoder, payload,
	    rec->stored, squeeze->spare, room, &used, fault);
	if (status != PM_OK)
		return status;
	if (used == 0) {
		squeeze->counts.kept++;
		return PM_OK;
	}
	rec->payload = squeeze->spare;
	squeeze->spare = payload;
	rec->codec = (uint8_t)squeeze->codec->id;
	rec->stored = (uint32_t)used;
	squeeze->counts.squeezed++;
	return PM_OK;
}

enum pm_status
pm_squeeze_step(struct pm_record *rec, void *state, struct pm_fault *fault)
{
	struct pm_squeeze *squeeze = state;
	enum pm_status status = PM_OK;

	if (rec->type != PM_TYPE_PAGES || rec->stored == 0)
		return PM_OK;
	squeeze->counts.bytes_in += rec->stored;
	if ((rec->codec == PM_CODEC_NONE) == (squeeze->codec == NULL))
		squeeze->counts.kept++;
	else if (squeeze->codec != NULL)
		status = compress(squeeze, rec, fault);
	else {
		status = pm_decoders_undo(squeeze->decoders, rec,
		    &squeeze->spare, fault);
		squeeze->counts.squeezed++;
	}
	squeeze->counts.bytes_out += rec->stored;
	return status;
}

struct pm_squeeze_counts
pm_squeeze_counts(const struct pm_squeeze *squeeze)
{
	return squeeze->counts;
}
