/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "size.h"

int
pm_size_parse(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t value = 0;
	unsigned shift = 0;

	if (*text < '0' || *text > '9')
		return 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (value > ((uint64_t)INT64_MAX - digit) / 10)
			return 0;
		value = value * 10 + digit;
	}
	if (*text != '\0') {
		if ((unit = strchr(units, *text)) == NULL || text[1] != '\0')
			return 0;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (value > (uint64_t)INT64_MAX >> shift)
		return 0;
	*bytes = value << shift;
	return 1;
}
