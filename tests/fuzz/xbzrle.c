/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A delta of any bytes: decoded into a page of each size, it stays within.
 */
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "xbzrle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned shift = PM_PAGE_SHIFT_MIN; shift <= PM_PAGE_SHIFT_MAX;
	    shift += 4) {
		size_t page_size = (size_t)1 << shift;
		uint8_t *page = calloc(2, page_size), *delta;
		size_t room = 2 * page_size, used;

		delta = malloc(room);
		if (page == NULL || delta == NULL)
			abort();
		/* What was decoded comes back from its own delta. */
		if (pm_xbzrle_decode(page, page_size, data, size, NULL) ==
		    PM_OK) {
			used = pm_xbzrle_encode(page + page_size, page,
			    page_size, delta, room);
			if (used > room || pm_xbzrle_decode(page + page_size,
			    page_size, delta, used, NULL) != PM_OK ||
			    memcmp(page, page + page_size, page_size) != 0)
				abort();
		}
		free(page);
		free(delta);
	}
	return 0;
}
