/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "check.h"
#include "parcel.h"

#define COUNT	5u

static struct pm_parcels parcels;

static void
test_all(void)
{
	struct pm_parcel *taken[COUNT];
	int fresh = 1, apart = 1;

	CHECK(pm_parcels_open(&parcels, COUNT) == PM_OK);
	CHECK(parcels.left == COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		struct pm_parcel *one = taken[i] = pm_parcels_take(&parcels);

		if (one == NULL)
			break;
		fresh &= one->next == NULL && one->offset == 0 &&
		    one->type == 0 && one->size == 0 && one->filled == 0 &&
		    one->peer == -1 && one->times == 0;
		memset(one->bytes, (int)i + 1, PM_WIRE_DATA_MAX);
	}
	CHECK(parcels.left == 0 && fresh);
	for (unsigned i = 0; i < COUNT; i++)
		for (unsigned at = 0; at < PM_WIRE_DATA_MAX; at++)
			apart &= taken[i]->bytes[at] == i + 1;
	CHECK(apart);
	CHECK(pm_parcels_take(&parcels) == NULL);

	/* The one that was given back last comes first, as if it were new. */
	*taken[3] = (struct pm_parcel){ .offset = 7, .type = 1, .size = 2,
	    .filled = 2, .peer = 4, .times = 9, .next = taken[0],
	    .bytes = taken[3]->bytes };
	pm_parcels_give(&parcels, taken[1]);
	pm_parcels_give(&parcels, taken[3]);
	CHECK(parcels.left == 2);
	CHECK(pm_parcels_take(&parcels) == taken[3]);
	CHECK(taken[3]->offset == 0 && taken[3]->size == 0 &&
	    taken[3]->filled == 0 && taken[3]->peer == -1 &&
	    taken[3]->times == 0 && taken[3]->next == NULL &&
	    taken[3]->bytes[0] == 4);
	CHECK(pm_parcels_take(&parcels) == taken[1]);
	CHECK(pm_parcels_take(&parcels) == NULL);
	pm_parcels_close(&parcels);
	CHECK(pm_parcels_take(&parcels) == NULL);
	pm_parcels_close(&parcels);
}

/* As many as a session may have are there, though no memory is touched. */
static void
test_many(void)
{
	struct pm_parcel *last = NULL, *one;
	unsigned taken = 0;

	if (sizeof(void *) < 8) {
		printf("# SKIP no room for all of them in 32 bits\n");
		return;
	}
	CHECK(pm_parcels_open(&parcels, PM_WIRE_FRAMES_MAX) == PM_OK);
	while ((one = pm_parcels_take(&parcels)) != NULL) {
		last = one;
		taken++;
	}
	CHECK(taken == PM_WIRE_FRAMES_MAX);
	last->bytes[PM_WIRE_DATA_MAX - 1] = 1;
	CHECK(last->bytes[PM_WIRE_DATA_MAX - 1] == 1);
	pm_parcels_close(&parcels);
}

int
main(void)
{
	test_all();
	test_many();
	return check_done();
}
