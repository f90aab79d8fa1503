/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the memory of a guest is among the pages of a source.
 */
#include <string.h>

#include "check.h"
#include "ram.h"

#define PAGE		4096u

static struct pm_fault fault;

static struct pm_source
source_of(struct pm_region *region, uint32_t regions)
{
	return (struct pm_source){ .page_shift = 12, .regions = regions,
	    .region = region };
}

static void
test_regions(void)
{
	struct pm_region region[] = {
		{ .length = 3 * PAGE, .name = "low" },
		{ .length = 9 * PAGE - 1, .name = "pc.ram" },
		{ .length = 9 * PAGE, .name = "other" },
		{ .length = 0, .name = "none" },
	};
	struct pm_source source = source_of(region, 4);
	struct pm_ram ram;

	CHECK(pm_ram_open(&ram, &source, NULL, &fault) == PM_OK);
	CHECK(ram.pages == 9 && ram.pieces == 1 && ram.piece[0].region == 1 &&
	    ram.piece[0].page == 0 && ram.piece[0].pages == 9);
	CHECK(pm_ram_find(&ram, 8) == &ram.piece[0]);
	CHECK(pm_ram_find(&ram, 9) == NULL);
	pm_ram_close(&ram);
	CHECK(pm_ram_open(&ram, &source, "low", &fault) == PM_OK &&
	    ram.pages == 3 && ram.piece[0].region == 0);
	pm_ram_close(&ram);
	CHECK(pm_ram_open(&ram, &source, "none", &fault) == PM_OK &&
	    ram.pages == 0 && pm_ram_find(&ram, 0) == NULL);
	pm_ram_close(&ram);

	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_ram_open(&ram, &source, "lo", &fault) == PM_ERR_REFUSED);
	CHECK(strcmp(fault.text,
	    "there is no region lo, only low, pc.ram, other, none") == 0);
	source.regions = 0;
	CHECK(pm_ram_open(&ram, &source, NULL, &fault) == PM_OK &&
	    ram.pages == 0);
	pm_ram_close(&ram);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_ram_open(&ram, &source, "lo", &fault) == PM_ERR_REFUSED);
	CHECK(strcmp(fault.text, "there is no region lo, only none") == 0);
}

/* All names that there can be do not fit in a message. */
static void
test_many_regions(void)
{
	static struct pm_region region[PM_REGIONS_MAX];
	struct pm_source source = source_of(region, PM_REGIONS_MAX);
	struct pm_ram ram;

	for (unsigned i = 0; i < PM_REGIONS_MAX; i++)
		snprintf(region[i].name, sizeof(region[i].name), "r%u", i);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_ram_open(&ram, &source, "r", &fault) == PM_ERR_REFUSED);
	CHECK(strstr(fault.text, ", r9, r10, r11") != NULL &&
	    strstr(fault.text, "...") != NULL);
}

static struct pm_mapping
mapping(uint64_t start, uint64_t pages, uint64_t offset, const char *name)
{
	return (struct pm_mapping){ .start = start * PAGE,
	    .end = (start + pages) * PAGE, .offset = offset * PAGE,
	    .flags = PM_MAPPING_CARRIED, .name = name,
	    .name_size = (uint32_t)strlen(name) };
}

/* The pieces of a line, as text: each is PAGE+PAGES@AT. */
static const char *
pieces(const struct pm_source *source)
{
	static char text[256];
	struct pm_ram ram;
	size_t used = 0;

	text[0] = '\0';
	if (pm_ram_open(&ram, source, NULL, &fault) != PM_OK)
		return "refused";
	for (size_t i = 0; i < ram.pieces; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used,
		    "%llu+%llu@%llu ", (unsigned long long)ram.piece[i].page,
		    (unsigned long long)ram.piece[i].pages,
		    (unsigned long long)ram.piece[i].at);
		if (ram.piece[i].region != 0 || pm_ram_find(&ram,
		    ram.piece[i].at) != &ram.piece[i] || pm_ram_find(&ram,
		    ram.piece[i].at + ram.piece[i].pages - 1) !=
		    &ram.piece[i])
			return "wrong";
	}
	pm_ram_close(&ram);
	return text;
}

static void
test_mappings(void)
{
	struct pm_region region = { .length = UINT64_C(1) << 47,
	    .kind = PM_REGION_PROCESS, .name = "process" };
	struct pm_source source = source_of(&region, 1);
	struct pm_mapping map[4];
	struct pm_ram ram;

	source.mapping = map;
	source.mappings = 3;
	map[0] = mapping(16, 4, 100, "/dev/shm/vm");
	map[1] = mapping(40, 2, 0, "/dev/shm/vm");
	map[2] = mapping(80, 7, 2, "/dev/shm/vm");
	CHECK(strcmp(pieces(&source), "40+2@0 80+7@2 16+4@9 ") == 0);
	/* What is not carried is not asked. */
	source.mappings = 4;
	map[3] = mapping(90, 1, 0, "[heap]");
	map[3].flags = 0;
	CHECK(strcmp(pieces(&source), "40+2@0 80+7@2 16+4@9 ") == 0);
	map[3].flags = PM_MAPPING_CARRIED;
	CHECK(strcmp(pieces(&source), "16+4@0 40+2@4 80+7@6 90+1@13 ") == 0);
	/* One that overlaps in the file: there is no order in it. */
	map[3] = mapping(90, 1, 8, "/dev/shm/vm");
	CHECK(strcmp(pieces(&source), "16+4@0 40+2@4 80+7@6 90+1@13 ") == 0);
	map[3].offset = 9 * PAGE;
	CHECK(strcmp(pieces(&source), "40+2@0 80+7@2 90+1@9 16+4@10 ") == 0);
	map[3].offset = UINT64_MAX - PAGE + 1;
	CHECK(strcmp(pieces(&source), "40+2@0 80+7@2 16+4@9 90+1@13 ") == 0);
	map[0].name = "/dev/shm/xm";
	CHECK(strcmp(pieces(&source), "16+4@0 40+2@4 80+7@6 90+1@13 ") == 0);
	for (int i = 0; i < 4; i++)
		map[i].name = "[anon]", map[i].name_size = 6;
	CHECK(strcmp(pieces(&source), "16+4@0 40+2@4 80+7@6 90+1@13 ") == 0);
	for (int i = 0; i < 4; i++)
		map[i].flags = 0;
	CHECK(strcmp(pieces(&source), "") == 0);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_ram_open(&ram, &source, "process", &fault) ==
	    PM_ERR_REFUSED && strstr(fault.text, "has mappings") != NULL);
}

int
main(void)
{
	test_regions();
	test_many_regions();
	test_mappings();
	return check_done();
}
