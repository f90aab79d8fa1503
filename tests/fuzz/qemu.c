/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes that claim to be a migration stream: they are refused, or come
 * back as they were.  The first byte says in what pieces.
 */
#define _GNU_SOURCE		/* memfd_create */

#include "../unit/roundtrip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
compare(int fd, const uint8_t *bytes, size_t size)
{
	uint8_t *back = malloc(size + 1);

	if (back == NULL || pread(fd, back, size + 1, 0) != (ssize_t)size ||
	    memcmp(back, bytes, size) != 0)
		abort();
	free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pm_delta *none[2] = { NULL, NULL };
	struct pm_qemu_capture_counts counts;
	struct memory stream = { 0 };
	int in, out;

	if (size < 1)
		return 0;
	in = file_of(data + 1, size - 1);
	out = file_of(data, 0);
	if (capture(in, NULL, &stream, &counts, NULL) == PM_OK) {
		if (emit(&stream, out, none, data[0] % 16, NULL, NULL) !=
		    PM_OK)
			abort();
		compare(out, data + 1, size - 1);
	}
	close(in);
	close(out);
	free(stream.bytes);
	return 0;
}
