/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "image_options.h"

struct image_options image_options = {
	.format = "auto", .page_size = "4K",
};

unsigned
image_page_shift(void)
{
	uint64_t size = cli_size("--page-size", image_options.page_size);

	for (unsigned shift = PM_PAGE_SHIFT_MIN; shift <= PM_PAGE_SHIFT_MAX;
	    shift++)
		if (size == UINT64_C(1) << shift)
			return shift;
	cli_die(CLI_USAGE, "--page-size: %s: not one of 4K 8K 16K 32K 64K",
	    image_options.page_size);
}

/* NAME:ADDRESS:SIZE, the address in hexadecimal after 0x. */
static struct pm_region
parse_region(const char *text)
{
	const char *colon = strchr(text, ':'), *size;
	struct pm_region region = { 0 };
	char address[32], *end;

	if (colon == NULL || colon == text ||
	    colon - text > (ptrdiff_t)PM_NAME_MAX ||
	    (size = strchr(colon + 1, ':')) == NULL ||
	    (size_t)(size - colon) > sizeof(address))
		cli_die(CLI_USAGE, "--region: %s: not NAME:ADDRESS:SIZE",
		    text);
	memcpy(region.name, text, (size_t)(colon - text));
	memcpy(address, colon + 1, (size_t)(size - colon - 1));
	address[size - colon - 1] = '\0';
	errno = 0;
	if (strncmp(address, "0x", 2) == 0) {
		region.address = strtoull(address, &end, 16);
		if (errno != 0 || *end != '\0' || address[2] == '\0')
			cli_die(CLI_USAGE, "--region: %s: bad address", text);
	} else
		region.address = cli_size("--region", address);
	region.length = *++size == '\0' ? 0 : cli_size("--region", size);
	if (region.address > INT64_MAX ||
	    (region.address & (PM_PAGE_MAX - 1)) != 0)
		cli_die(CLI_USAGE, "--region: %s: bad address", text);
	return region;
}

static const struct pm_region *
parse_regions(uint32_t *count)
{
	static struct pm_region region[PM_REGIONS_MAX];
	const char **text = image_options.regions;

	for (*count = 0; text != NULL && text[*count] != NULL; (*count)++)
		;
	if (*count > PM_REGIONS_MAX)
		cli_die(CLI_USAGE, "--region: more than 1024");
	for (uint32_t i = 0; i < *count; i++) {
		region[i] = parse_region(text[i]);
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(region[i].name, region[j].name) == 0)
				cli_die(CLI_USAGE, "--region: %s: named twice",
				    region[i].name);
	}
	return region;
}

/* It has regions and pages of its own. */
static struct pm_source *
open_mapped(const char *path)
{
	struct pm_source *source;

	if (image_options.regions != NULL)
		cli_die(CLI_USAGE, "--region: %s is a migration file", path);
	cli_check(pm_source_open_mapped(&source, path, &cli_fault));
	return source;
}

struct pm_source *
image_open(const char *path)
{
	enum pm_source_format format = PM_SOURCE_RAW;
	struct pm_source *source;
	const struct pm_region *cut;
	uint32_t cuts;

	if (strcmp(image_options.format, "mapped-ram") == 0)
		return open_mapped(path);
	if (strcmp(image_options.format, "auto") == 0)
		cli_check(pm_source_detect(path, &format, &cli_fault));
	else if (strcmp(image_options.format, "core") == 0)
		format = PM_SOURCE_CORE;
	else if (strcmp(image_options.format, "raw") != 0)
		cli_die(CLI_USAGE, "--format: %s: not auto, raw, core or "
		    "mapped-ram", image_options.format);
	cut = parse_regions(&cuts);
	if (cuts > 0 && format == PM_SOURCE_CORE)
		cli_die(CLI_USAGE, "--region: %s is a core file", path);
	cli_check(pm_source_open_image(&source, path, format,
	    image_page_shift(), cut, cuts, &cli_fault));
	return source;
}
