/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A payload of any bytes, for any codec: it decodes to what was asked for,
 * or is refused.  Input: codec, decoded size in 3 bytes, payload.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pm_decoders *decoders;
	static struct pm_record *rec;
	static uint8_t *spare;
	enum pm_status status;
	uint32_t decoded;

	if (rec == NULL) {
		decoders = pm_decoders_new();
		rec = pm_record_new();
		spare = pm_record_buffer();
	}
	if (decoders == NULL || rec == NULL || spare == NULL)
		abort();
	if (size < 4 || size - 4 > PM_PAYLOAD_MAX)
		return 0;
	decoded = (uint32_t)pm_get_le(data + 1, 3);
	if (decoded > PM_PAYLOAD_MAX)
		return 0;
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->codec = data[0] % 5;
	rec->stored = (uint32_t)(size - 4);
	rec->decoded = decoded;
	memcpy(rec->payload, data + 4, size - 4);
	status = pm_decoders_undo(decoders, rec, &spare, NULL);
	if (status == PM_OK && rec->codec != PM_CODEC_NONE)
		abort();
	if (status == PM_OK && data[0] % 5 != PM_CODEC_NONE &&
	    rec->stored != decoded)
		abort();
	return 0;
}
