/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "layout.h"
#include "maplist.h"

static struct pm_region
named(const char *name, uint64_t length)
{
	struct pm_region region = { .length = length };

	strcpy(region.name, name);
	region.key = pm_hash_key(name, strlen(name));
	return region;
}

/* A layout of blocks of those lengths, named "a", "b" and so on. */
static struct pm_layout *
blocks(unsigned count, const uint64_t *length)
{
	struct pm_region region[4];
	char name[2] = "a";

	for (unsigned i = 0; i < count; i++, name[0]++)
		region[i] = named(name, length[i]);
	return pm_layout_of_blocks(region, count, 12, 0);
}

static int
agree(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	struct pm_layout *x = blocks(3, (uint64_t[]){ a, b, c });
	struct pm_layout *y = blocks(3, (uint64_t[]){ d, e, f });
	int same = pm_layout_agree(x, y);

	if (pm_layout_agree(y, x) != same)
		same = -1;
	pm_layout_free(x);
	pm_layout_free(y);
	return same;
}

static void
test_agree(void)
{
	const uint64_t p = 4096;

	CHECK(agree(p, p, p, p, p, p) == 1);
	CHECK(agree(p, p, p, p, p, 3 * p) == 1);
	CHECK(agree(p, p, p, p, p, 0) == 1);
	CHECK(agree(p, p, p, p, 0, 0) == 1);
	CHECK(agree(p, 0, 0, 3 * p, 0, 0) == 1);
	CHECK(agree(p, p, p, 0, 0, 0) == 1);
	/* The first now has what the second had, or the other way round. */
	CHECK(agree(p, p, 0, 2 * p, 0, 0) == 0);
	CHECK(agree(2 * p, 0, 0, p, p, 0) == 0);
	CHECK(agree(p, p, p, 2 * p, p, p) == 0);
	CHECK(agree(p, p, p, p, 0, p) == 0);
	CHECK(agree(0, p, p, p, 0, 0) == 0);
	/* A last page that is there in part is a page. */
	CHECK(agree(p, 5, 0, p, 4096, 0) == 1);
	CHECK(agree(5, p, 0, p, p, 0) == 1);
}

static void
test_find(void)
{
	struct pm_layout *layout = blocks(3, (uint64_t[]){ 8192, 0, 4097 });
	struct pm_place place = pm_layout_find(layout, 0, 1);

	CHECK(layout->slots == 4 && layout->extents == 2);
	CHECK(place.held && place.slot == 1 && place.pages == 1);
	place = pm_layout_find(layout, 0, 2);
	CHECK(!place.held && place.pages == UINT64_MAX);
	place = pm_layout_find(layout, 1, 0);
	CHECK(!place.held && place.pages == UINT64_MAX);
	place = pm_layout_find(layout, 2, 0);
	CHECK(place.held && place.slot == 2 && place.pages == 2);
	CHECK(!pm_layout_find(layout, 2, UINT64_MAX).held);
	CHECK(!pm_layout_find(layout, UINT32_MAX, 0).held);
	CHECK(pm_layout_bytes(layout) == 3 * 4096 + 1);
	CHECK(pm_layout_region(layout, layout->region[2].key) == 2);
	CHECK(pm_layout_region(layout, 1) == UINT32_MAX);
	pm_layout_free(layout);

	layout = blocks(0, NULL);
	CHECK(pm_layout_bytes(layout) == 0 && layout->slots == 0);
	CHECK(!pm_layout_find(layout, 0, 0).held);
	pm_layout_free(layout);
}

static void
test_extents(void)
{
	struct pm_layout *layout = pm_layout_new(12), *copy;
	struct pm_region whole = named("whole", UINT64_C(100) << 12);
	struct pm_region huge = named("huge", INT64_MAX);

	CHECK(pm_layout_add_extent(layout, 0, 0, 1) == PM_ERR_CORRUPT);
	CHECK(pm_layout_add_region(layout, &whole) == PM_OK);
	CHECK(pm_layout_add_region(layout, &huge) == PM_OK);
	CHECK(pm_layout_add_extent(layout, 0, 0, 0) == PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, 10, 5) == PM_OK);
	CHECK(pm_layout_add_extent(layout, 0, 14, 1) == PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, 9, 1) == PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, 99, 2) == PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, UINT64_MAX, 2) ==
	    PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, 1, UINT64_MAX) ==
	    PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 0, 20, 80) == PM_OK);
	CHECK(pm_layout_add_extent(layout, 1, 0, INT64_MAX >> 12) ==
	    PM_ERR_CORRUPT);
	CHECK(pm_layout_add_extent(layout, 1, 7, 1) == PM_OK);
	CHECK(pm_layout_add_extent(layout, 0, 0, 1) == PM_ERR_CORRUPT);
	CHECK(pm_layout_find(layout, 0, 0).pages == 10);
	CHECK(pm_layout_find(layout, 0, 15).pages == 5);
	CHECK(pm_layout_find(layout, 0, 21).slot == 6);
	CHECK(pm_layout_find(layout, 1, 7).slot == 85);

	copy = pm_layout_copy(layout);
	CHECK(pm_layout_equal(copy, layout) && copy->slots == layout->slots);
	CHECK(pm_layout_add_extent(copy, 1, 8, 1) == PM_OK);
	CHECK(!pm_layout_equal(copy, layout));
	pm_layout_free(copy);
	pm_layout_free(layout);
	pm_layout_free(NULL);

	layout = pm_layout_new(12);
	for (unsigned i = 0; i < PM_REGIONS_MAX; i++)
		if (pm_layout_add_region(layout, &whole) != PM_OK)
			break;
	CHECK(layout->regions == PM_REGIONS_MAX);
	CHECK(pm_layout_add_region(layout, &whole) == PM_ERR_CORRUPT);
	pm_layout_free(layout);
}

/* A layout of one region with extents from a to b, c to d, and e to f. */
static struct pm_layout *
extents(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
    uint64_t f)
{
	struct pm_region region = named("process", UINT64_C(1) << 50);
	struct pm_layout *layout = pm_layout_new(12);

	CHECK(pm_layout_add_region(layout, &region) == PM_OK);
	(void)pm_layout_add_extent(layout, 0, a, b - a);
	(void)pm_layout_add_extent(layout, 0, c, d - c);
	(void)pm_layout_add_extent(layout, 0, e, f - e);
	return layout;
}

static uint64_t
slot_of(const struct pm_layout *layout, uint64_t page)
{
	struct pm_place place = pm_layout_find(layout, 0, page);

	return place.held ? place.slot : UINT64_MAX;
}

static void
test_remap(void)
{
	struct pm_layout *a = extents(10, 20, 20, 30, 40, 50), *b, *c, *d;

	/* What stays stays, whatever the mappings are; what comes is last. */
	b = extents(5, 12, 15, 28, 39, 60);
	c = pm_layout_remap(a, b);
	CHECK(slot_of(c, 10) == 0 && slot_of(c, 11) == 1);
	CHECK(slot_of(c, 12) == UINT64_MAX && slot_of(c, 14) == UINT64_MAX);
	CHECK(slot_of(c, 15) == 5 && slot_of(c, 27) == 17);
	CHECK(slot_of(c, 28) == UINT64_MAX && slot_of(c, 40) == 20);
	CHECK(slot_of(c, 49) == 29 && slot_of(c, 5) == 30);
	CHECK(slot_of(c, 9) == 34 && slot_of(c, 39) == 35);
	CHECK(slot_of(c, 50) == 36 && c->slots == 46);
	/* Extents: 5-10, 10-12, 15-28, 39-40, and 40-50; behind those 50-60. */
	CHECK(c->extents == 6 && !pm_layout_equal(c, b));
	CHECK(pm_layout_find(c, 0, 15).pages == 13);

	/* Slots that nothing stands in at the end are used again. */
	d = extents(10, 12, 20, 22, 22, 30);
	pm_layout_free(a);
	a = pm_layout_remap(c, d);
	CHECK(slot_of(a, 10) == 0 && slot_of(a, 20) == 10);
	CHECK(slot_of(a, 28) == 18 && a->slots == 20);
	CHECK(a->extents == 3 && !pm_layout_equal(a, d));
	pm_layout_free(b);
	b = pm_layout_copy(a);
	CHECK(pm_layout_equal(a, b) && a->slots == b->slots);
	CHECK(slot_of(b, 20) == 10);
	pm_layout_free(a);
	pm_layout_free(b);
	pm_layout_free(c);
	pm_layout_free(d);

	/* What only comes last, or goes last, is as if it always were so. */
	a = extents(1, 2, 3, 4, 5, 6);
	b = extents(1, 2, 3, 4, 5, 9);
	c = pm_layout_remap(a, b);
	CHECK(pm_layout_equal(c, b) && c->slots == b->slots);
	d = pm_layout_remap(c, a);
	CHECK(pm_layout_equal(d, a) && d->slots == a->slots);
	pm_layout_free(a);
	a = extents(1, 2, 3, 4, 4, 5);
	CHECK(!pm_layout_equal(d, a));
	pm_layout_free(a);
	pm_layout_free(b);
	pm_layout_free(c);
	pm_layout_free(d);

	/* Only so many slots. */
	a = extents(0, 1, 7, 8, UINT64_C(1) << 37, (UINT64_C(1) << 37) + 9);
	b = extents(7, 8, 9, 10, 11, UINT64_C(1) << 38);
	c = pm_layout_remap(a, b);
	CHECK(c != NULL && c->slots == (UINT64_C(1) << 38) - 8);
	pm_layout_free(a);
	pm_layout_free(c);
	a = extents(0, 1, 2, 3, 4, UINT64_C(1) << 38);
	a->extent[2].slot = ((uint64_t)INT64_MAX >> 12) - a->extent[2].pages;
	c = pm_layout_remap(a, b);
	CHECK(c != NULL);
	pm_layout_free(c);
	pm_layout_free(b);
	b = extents(3, 4, 5, 6, UINT64_C(1) << 37, UINT64_C(1) << 38);
	errno = 0;
	CHECK(pm_layout_remap(a, b) == NULL && errno == E2BIG);
	pm_layout_free(a);
	pm_layout_free(b);
}

static void
test_id(void)
{
	struct pm_region region[2] = { named("a", 5), named("b", 0) };

	CHECK(pm_digest_is_zero(pm_layout_id(region, 0)));
	CHECK(pm_digest_is_zero(pm_layout_id(&region[1], 1)));
	CHECK(pm_digest_equal(pm_layout_id(region, 2),
	    pm_hash_region(region[0].key, 0, 5)));
}

static enum pm_status
add_mapping(struct pm_maplist *list, uint64_t start, uint64_t end,
    uint32_t flags, uint32_t name_size)
{
	static const char name[PM_MAPPING_NAME_MAX] = "name";

	return pm_maplist_add(list, &(struct pm_mapping){ .start = start,
	    .end = end, .flags = flags, .name = name,
	    .name_size = name_size });
}

static void
test_mappings(void)
{
	struct pm_region process = named("process", UINT64_C(1) << 40);
	struct pm_maplist list = { 0 };
	struct pm_layout *layout;
	enum pm_status status = PM_OK;
	uint64_t at = 0x4000;

	CHECK(add_mapping(&list, 0x1000, 0x3000, PM_MAPPING_CARRIED, 4)
	    == PM_OK);
	CHECK(add_mapping(&list, 0x2000, 0x4000, 0, 0) == PM_ERR_CORRUPT);
	CHECK(add_mapping(&list, 0x3000, 0x4000, 0, 0) == PM_OK);
	CHECK(strcmp(list.mapping[0].name, "name") == 0);
	layout = pm_maplist_layout(list.mapping, list.count, &process, 12);
	CHECK(layout->extents == 1 && layout->slots == 2);
	pm_layout_free(layout);
	process.length = 0x2000;
	CHECK(pm_maplist_layout(list.mapping, list.count, &process, 12)
	    == NULL);

	/* Neither too many nor too large. */
	for (; status == PM_OK; at += 0x1000)
		status = add_mapping(&list, at, at + 0x1000, 0,
		    PM_MAPPING_NAME_MAX);
	CHECK(status == PM_ERR_CORRUPT && list.bytes <= PM_MAPLIST_BYTES);
	CHECK(list.count > 10000 && list.count < 20000);
	pm_maplist_clear(&list);
	CHECK(list.count == 0 && list.mapping == NULL);
}

static void
test_lead(void)
{
	struct pm_layout *layout = blocks(4, (uint64_t[]){ 8192, 5, 12288,
	    4097 });
	struct pm_layout *same = pm_layout_copy(layout);
	uint64_t taken = 0;

	CHECK(pm_layout_bytes(layout) == 2 * 4096 + 4096 + 3 * 4096 + 4097);
	pm_layout_lead(layout, 0);
	CHECK(pm_layout_equal(layout, same));
	pm_layout_lead(layout, 2);
	CHECK(!pm_layout_equal(layout, same) && layout->slots == 8);
	CHECK(pm_layout_find(layout, 2, 0).slot == 0);
	CHECK(pm_layout_find(layout, 0, 0).slot == 3);
	CHECK(pm_layout_find(layout, 1, 0).slot == 5);
	CHECK(pm_layout_find(layout, 3, 1).slot == 7);
	CHECK(pm_layout_find(layout, 3, 1).pages == 1);
	for (size_t i = 0; i < layout->extents; i++)
		for (uint64_t n = 0; n < layout->extent[i].pages; n++)
			taken |= UINT64_C(1) << (layout->extent[i].slot + n);
	CHECK(taken == 0xff);
	/* The file ends with a part of a page of whoever is last. */
	CHECK(pm_layout_bytes(layout) == 6 * 4096 + 4097);
	pm_layout_free(layout);
	layout = pm_layout_copy(same);
	pm_layout_lead(layout, 3);
	CHECK(pm_layout_bytes(layout) == 8 * 4096);
	pm_layout_free(layout);
	pm_layout_free(same);
}

int
main(void)
{
	test_find();
	test_lead();
	test_agree();
	test_extents();
	test_remap();
	test_id();
	test_mappings();
	return check_done();
}
