/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_ANONYMOUS */
#include <stdlib.h>
#include <sys/mman.h>

#include "parcel.h"

enum pm_status
pm_parcels_open(struct pm_parcels *parcels, size_t count)
{
	*parcels = (struct pm_parcels){ .count = count };
	parcels->all = calloc(count, sizeof(parcels->all[0]));
	if (parcels->all == NULL)
		return PM_ERR_SYSTEM;
	parcels->bytes = mmap(NULL, count * PM_WIRE_DATA_MAX,
	    PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (parcels->bytes == MAP_FAILED) {
		parcels->bytes = NULL;
		pm_parcels_close(parcels);
		return PM_ERR_SYSTEM;
	}
	for (size_t i = count; i-- > 0;) {
		parcels->all[i].bytes = parcels->bytes + i * PM_WIRE_DATA_MAX;
		pm_parcels_give(parcels, &parcels->all[i]);
	}
	return PM_OK;
}

void
pm_parcels_close(struct pm_parcels *parcels)
{
	if (parcels->bytes != NULL)
		(void)munmap(parcels->bytes,
		    parcels->count * PM_WIRE_DATA_MAX);
	free(parcels->all);
	*parcels = (struct pm_parcels){ .count = 0 };
}

struct pm_parcel *
pm_parcels_take(struct pm_parcels *parcels)
{
	struct pm_parcel *parcel = parcels->free;

	if (parcel == NULL)
		return NULL;
	parcels->free = parcel->next;
	parcels->left--;
	*parcel = (struct pm_parcel){ .peer = -1, .bytes = parcel->bytes };
	return parcel;
}

void
pm_parcels_give(struct pm_parcels *parcels, struct pm_parcel *parcel)
{
	parcel->next = parcels->free;
	parcels->free = parcel;
	parcels->left++;
}
