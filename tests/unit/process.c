/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create, MAP_ANONYMOUS, pipe2 */
#include <elf.h>

#include "memory.h"
#include "pagemap.h"

static const struct pm_mapping *
mapping_at(const struct pm_source *source, const void *at)
{
	for (size_t i = 0; i < source->mappings; i++)
		if (source->mapping[i].start <= (uintptr_t)at &&
		    (uintptr_t)at < source->mapping[i].end)
			return &source->mapping[i];
	return NULL;
}

static int
is_mapping(const struct pm_source *source, const void *at, uint32_t flags,
    const char *name)
{
	const struct pm_mapping *mapping = mapping_at(source, at);

	return mapping != NULL && mapping->flags == flags &&
	    mapping->name_size == strlen(name) &&
	    memcmp(mapping->name, name, mapping->name_size) == 0;
}

static void
check_region(const struct pm_source *source)
{
	const struct pm_region *region = source->region;
	uint64_t behind = 0;
	int ascend = 1;

	CHECK(source->regions == 1 && strcmp(region->name, "process") == 0);
	CHECK(region->kind == PM_REGION_PROCESS && region->address == 0);
	CHECK(region->length == UINT64_C(1) << 47 ||
	    region->length == UINT64_C(1) << 56);
	CHECK(region->key == pm_hash_key("process", 7));
	CHECK((size_t)1 << source->page_shift == page_size);
#ifdef __x86_64__
	CHECK(region->machine == EM_X86_64);
#endif
	for (size_t i = 0; i < source->mappings; i++) {
		ascend &= source->mapping[i].start >= behind;
		behind = source->mapping[i].end;
	}
	CHECK(source->mappings > 10 && ascend);
}

static void
check_mappings(const struct pm_source *source, const struct places *is)
{
	const uint32_t rw = PM_MAPPING_READ | PM_MAPPING_WRITE;
	const uint32_t carried = rw | PM_MAPPING_CARRIED;
	uint32_t kernels = 0;

	/* Neighbours of like kind are one mapping, so take those with names. */
	CHECK(is_mapping(source, is->shared, carried | PM_MAPPING_SHARED,
	    "/dev/zero (deleted)"));
	CHECK(is_mapping(source, is->sparse, carried | PM_MAPPING_SHARED,
	    "/memfd:pm test (deleted)"));
	CHECK(is_mapping(source, is->zero, carried, "/dev/zero"));
	CHECK(is_mapping(source, is->locked, 0, ""));
	CHECK(is_mapping(source, is->constant, PM_MAPPING_READ, ""));
	CHECK((mapping_at(source, is)->flags & carried) == carried);
	for (size_t i = 0; i < source->mappings; i++)
		if (strncmp(source->mapping[i].name, "[v", 2) == 0)
			kernels |= source->mapping[i].flags;
	CHECK((kernels & PM_MAPPING_CARRIED) == 0);
}

static void
check_anonymous(struct pm_source *source, const struct places *is)
{
	struct pm_span span;

	CHECK(has_even(source, is->touched, 100));
	CHECK(all_are(source, is->huge, HUGE_PAGES / 2, PM_SPAN_ZERO));
	CHECK(reads_as(source, is->huge + HUGE_PAGES / 2 * page_size, 200));
	CHECK(all_are(source, is->huge + (HUGE_PAGES / 2 + 1) * page_size,
	    HUGE_PAGES / 2 - 1, PM_SPAN_ZERO));
	CHECK(all_are(source, is->locked, PAGES, PM_SPAN_GONE));
	CHECK(all_are(source, is->constant, PAGES, PM_SPAN_GONE));
	CHECK(all_are(source, is->later, PAGES, PM_SPAN_ZERO));
	CHECK(reads_as(source, is->zero, 700));
	CHECK(all_are(source, is->zero + page_size, PAGES - 1, PM_SPAN_ZERO));
	/* The first pages of an address space are never mapped. */
	span = span_at(source, NULL);
	CHECK(span.kind == PM_SPAN_GONE && span.pages >= 16);
}

static void
check_files(struct pm_source *source, const struct places *is)
{
	CHECK(reads_as(source, is->shared, 400));
	CHECK(reads_as(source, is->shared + 62 * page_size, 462));
	CHECK(reads_as(source, is->sparse + 3 * page_size, 3));
	CHECK(reads_as(source, is->sparse + 1000 * page_size, 1000));
	CHECK(reads_as(source, is->private, 500));
	CHECK(reads_as(source, is->private + page_size, 501));
	CHECK(reads_as(source, is->private + 3 * page_size, 503));
	CHECK(reads_as(source, is->beyond, 600));
	if (geteuid() == 0) {
		CHECK(has_even(source, is->shared, 400));
		CHECK(all_are(source, is->sparse, 3, PM_SPAN_ZERO));
		CHECK(all_are(source, is->sparse + 4 * page_size, 996,
		    PM_SPAN_ZERO));
		CHECK(all_are(source, is->sparse + 1001 * page_size,
		    SPARSE_PAGES - 1001, PM_SPAN_ZERO));
		CHECK(is_span(source, is->private + (PAGES - 1) * page_size,
		    PM_SPAN_ZERO));
		CHECK(all_are(source, is->beyond + PAGES / 2 * page_size,
		    PAGES / 2, PM_SPAN_GONE));
	} else
		printf("ok %d # SKIP needs to follow map_files\n",
		    ++check_run);
}

/* Pages behind the end of a file cannot be read, those before it can. */
static void
check_short_read(struct pm_source *source, const struct places *is)
{
	CHECK(read_at(source, is->beyond, PAGES) == PAGES / 2);
	CHECK(is_filled(buf, 600) && buf[page_size] == 0);
	CHECK(read_at(source, is->beyond + PAGES / 2 * page_size, 1) == 0);
}

static int
kernel_scans(void)
{
	struct pm_fault none = { .error = 0 };
	struct pm_pagemap pagemap;
	int scans = pm_pagemap_open(&pagemap, getpid(), PM_PAGEMAP_SCAN, 12,
	    &none) == PM_OK;

	pm_pagemap_close(&pagemap);
	return scans;
}

static void
test_memory(void)
{
	struct places is;
	struct child child = start(&is);
	long rss = child_status(child.pid, "VmRSS:", NULL);
	long tables = child_status(child.pid, "VmPTE:", NULL);
	struct pm_source *source = open_process(child.pid, NULL, NULL);
	char byte = 0;

	CHECK(source != NULL);
	check_region(source);
	check_mappings(source, &is);
	check_anonymous(source, &is);
	if (kernel_scans())
		CHECK(all_are(source, is.looked_at, PAGES, PM_SPAN_ZERO));
	else
		printf("ok %d # SKIP needs PAGEMAP_SCAN\n", ++check_run);
	check_files(source, &is);
	check_short_read(source, &is);
	CHECK(source->ops->done(source) == PM_OK);
	CHECK(source->frozen_us > 0);
	source->ops->close(source);
	/* Stacks and libraries are read; what was never touched is not. */
	printf("# VmRSS %ld to %ld, VmPTE %ld to %ld kB\n", rss,
	    child_status(child.pid, "VmRSS:", NULL), tables,
	    child_status(child.pid, "VmPTE:", NULL));
	CHECK(child_status(child.pid, "VmRSS:", NULL) < rss + 512);
	CHECK(child_status(child.pid, "VmPTE:", NULL) < tables + 32);
	CHECK(child_tell(child.to, "w", 1));
	CHECK(child_hear(child.from, &byte, 1) && byte == 1);
	CHECK(child_end(&child) == 0);
}

static void
test_globs(void)
{
	static const char *const anonymous[] = { "[heap]", "[anon]", NULL };
	static const char *const memfd[] = { "/nothing", "/memfd:*t", NULL };
	static const char *const all[] = { "*", NULL };
	struct places is;
	struct child child = start(&is);
	struct pm_source *source = open_process(child.pid, anonymous, NULL);
	size_t refused = 0;

	CHECK(source != NULL);
	CHECK(has_even(source, is.touched, 100));
	CHECK(has_even(source, is.locked, 300));
	CHECK(has_even(source, is.constant, 350));
	CHECK(all_are(source, is.shared, PAGES, PM_SPAN_GONE));
	CHECK(is_mapping(source, is.locked, PM_MAPPING_CARRIED, ""));
	source->ops->close(source);

	source = open_process(child.pid, memfd, NULL);
	CHECK(source != NULL);
	CHECK(reads_as(source, is.sparse + 3 * page_size, 3));
	CHECK(all_are(source, is.touched, PAGES, PM_SPAN_GONE));
	CHECK(source->ops->done(source) == PM_OK);
	source->ops->close(source);

	source = open_process(child.pid, all, NULL);
	CHECK(source != NULL);
	for (size_t i = 0; i < source->mappings; i++)
		if ((source->mapping[i].flags & PM_MAPPING_CARRIED) == 0) {
			refused++;
			CHECK(strncmp(source->mapping[i].name, "[v", 2) == 0);
		}
	CHECK(refused > 0 && refused < 5);
	source->ops->close(source);
	CHECK(child_end(&child) == 0);
}

static void
test_killed(void)
{
	struct places is;
	struct child child = start(&is);
	struct pm_source *source = open_process(child.pid, NULL, NULL);

	CHECK(source != NULL && reads_as(source, is.touched, 100));
	kill(child.pid, SIGKILL);
	CHECK(source->ops->done(source) == PM_ERR_SYSTEM);
	CHECK(strstr(fault.text, "died while it was read") != NULL);
	source->ops->close(source);
	CHECK(WIFSIGNALED(child_end(&child)));
	CHECK(open_process(child.pid, NULL, NULL) == NULL);
	CHECK(strstr(fault.text, "does not exist") != NULL);
}

int
main(void)
{
	prepare();
	test_memory();
	test_globs();
	test_killed();
	free(buf);
	return check_done();
}
