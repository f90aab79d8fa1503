/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bytes.h - little-endian integers in byte buffers, for any alignment.
 */
#ifndef PM_BYTES_H
#define PM_BYTES_H

#include <stdint.h>

static inline void
pm_put_le(uint8_t *p, uint64_t value, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		p[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t
pm_get_le(const uint8_t *p, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value |= (uint64_t)p[i] << (8 * i);
	return value;
}

#endif /* PM_BYTES_H */
