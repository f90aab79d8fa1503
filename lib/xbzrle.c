/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "kernel.h"
#include "xbzrle.h"

#define LENGTH_SIZE_MAX	3	/* bytes of any length within a page */

size_t
pm_xbzrle_encode(const uint8_t *old, const uint8_t *new, size_t size,
    uint8_t *out, size_t room)
{
	return pm_kernel_best()->encode(old, new, size, out, room);
}

/* Take a length off the front of in; 0 when none stands there. */
static int
get_length(const uint8_t **in, const uint8_t *end, size_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < LENGTH_SIZE_MAX && *in < end; i++) {
		uint8_t byte = *(*in)++;

		*value |= (size_t)(byte & 0x7f) << (7 * i);
		if ((byte & 0x80) == 0)
			return 1;
	}
	return 0;
}

static enum pm_status
corrupt(struct pm_fault *fault, const char *what)
{
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL, "%s", what);
}

/* Most runs are of a few bytes, for which memcpy is far to go. */
static inline void
copy_run(uint8_t *to, const uint8_t *from, size_t size)
{
	if (size == 1)
		*to = *from;
	else if (size > 16)
		memcpy(to, from, size);
	else if (size >= 8) {
		memcpy(to, from, 8);
		memcpy(to + size - 8, from + size - 8, 8);
	} else
		for (size_t i = 0; i < size; i++)
			to[i] = from[i];
}

enum pm_status
pm_xbzrle_decode(uint8_t *page, size_t size, const uint8_t *in,
    size_t in_size, struct pm_fault *fault)
{
	const uint8_t *end = in + in_size;
	size_t at = 0, same, differ;
	int first = 1;

	while (in < end) {
		if (!get_length(&in, end, &same) ||
		    !get_length(&in, end, &differ))
			return corrupt(fault, "delta has no length "
			    "where one must stand");
		if (differ == 0 || (same == 0 && !first))
			return corrupt(fault, "delta has an empty run");
		if (same > size - at || differ > size - at - same)
			return corrupt(fault, "delta goes beyond its page");
		if (differ > (size_t)(end - in))
			return corrupt(fault, "delta is cut short");
		at += same;
		copy_run(page + at, in, differ);
		at += differ;
		in += differ;
		first = 0;
	}
	return PM_OK;
}
