/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"

static const struct pm_codec *const codecs[] = {
	&pm_codec_zlib, &pm_codec_lz4, &pm_codec_zstd,
};

#define CODECS	(sizeof(codecs) / sizeof(codecs[0]))

struct pm_decoders {
	void *context[CODECS];
};

const struct pm_codec *
pm_codec_named(const char *name)
{
	for (size_t i = 0; i < CODECS; i++)
		if (strcmp(codecs[i]->name, name) == 0)
			return codecs[i];
	return NULL;
}

const struct pm_codec *
pm_codec_numbered(unsigned id)
{
	for (size_t i = 0; i < CODECS; i++)
		if (codecs[i]->id == id)
			return codecs[i];
	return NULL;
}

struct pm_decoders *
pm_decoders_new(void)
{
	return calloc(1, sizeof(struct pm_decoders));
}

void
pm_decoders_free(struct pm_decoders *decoders)
{
	if (decoders == NULL)
		return;
	for (size_t i = 0; i < CODECS; i++)
		if (decoders->context[i] != NULL)
			codecs[i]->decoder_free(decoders->context[i]);
	free(decoders);
}

enum pm_status
pm_decoders_undo(struct pm_decoders *decoders, struct pm_record *rec,
    uint8_t **spare, struct pm_fault *fault)
{
	enum pm_status status;
	uint8_t *payload = rec->payload;
	size_t at = 0;

	if (rec->codec == PM_CODEC_NONE)
		return PM_OK;
	while (at < CODECS && codecs[at]->id != rec->codec)
		at++;
	if (at == CODECS)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "codec %u needs a newer version", rec->codec);
	if (decoders->context[at] == NULL &&
	    (decoders->context[at] = codecs[at]->decoder_new()) == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	status = codecs[at]->decode(decoders->context[at], payload,
	    rec->stored, *spare, rec->decoded, fault);
	if (status != PM_OK)
		return status;
	rec->payload = *spare;
	*spare = payload;
	rec->stored = rec->decoded;
	rec->codec = PM_CODEC_NONE;
	return PM_OK;
}
