/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "fdio.h"
#include "table.h"

#define VERSION		1u
#define ALIGN		4096u

/* A head, then the regions, then the extents, then the hashes. */
enum {
	AT_MAGIC = 0,		/* 8; zeroes until it is sealed */
	AT_VERSION = 8,		/* 4 */
	AT_PAGE_SHIFT = 12,	/* 4 */
	AT_REGIONS = 16,	/* 8 */
	AT_EXTENTS = 24,	/* 8 */
	AT_ID = 32,		/* 16 */
	AT_STAMP = 48,		/* 5 * 8 */
	AT_CHECK = 88,		/* 4, then 4 of zero: of all but the hashes */
	HEAD_SIZE = 96,

	REGION_ADDRESS = 0,	/* 8 */
	REGION_LENGTH = 8,	/* 8 */
	REGION_KIND = 16,	/* 4 */
	REGION_MACHINE = 20,	/* 4 */
	REGION_NAME = 24,	/* 256, zeroes to the end */
	REGION_SIZE = 280,

	EXTENT_REGION = 0,	/* 8 */
	EXTENT_FIRST = 8,	/* 8 */
	EXTENT_PAGES = 16,	/* 8 */
	EXTENT_SIZE = 24,
};

static enum pm_status
fail(struct pm_table *table, enum pm_status status)
{
	return pm_fault_set(table->fault, status, table->path, "%s",
	    pm_status_text(status));
}

static enum pm_status
damaged(struct pm_table *table)
{
	return pm_fault_set(table->fault, PM_ERR_REFUSED, table->path,
	    "is not a page table, or damaged");
}

static uint64_t
nanoseconds(const struct timespec *at)
{
	return (uint64_t)at->tv_sec * 1000000000u + (uint64_t)at->tv_nsec;
}

struct pm_table_stamp
pm_table_stamp_of(const struct stat *st)
{
	return (struct pm_table_stamp){ {
		(uint64_t)st->st_dev, (uint64_t)st->st_ino,
		(uint64_t)st->st_size, nanoseconds(&st->st_mtim),
		nanoseconds(&st->st_ctim),
	} };
}

int
pm_table_stamp_equal(const struct pm_table_stamp *a,
    const struct pm_table_stamp *b)
{
	return memcmp(a->of, b->of, sizeof(a->of)) == 0;
}

static size_t
head_size(uint64_t regions, uint64_t extents)
{
	return HEAD_SIZE + (size_t)regions * REGION_SIZE +
	    (size_t)extents * EXTENT_SIZE;
}

static uint64_t
data_offset(uint64_t regions, uint64_t extents)
{
	return (head_size(regions, extents) + ALIGN - 1) / ALIGN * ALIGN;
}

enum pm_status
pm_table_begin(struct pm_table *table, int fd, const char *path,
    const struct pm_layout *layout, struct pm_fault *fault)
{
	*table = (struct pm_table){
		.fd = fd, .path = path, .fault = fault, .window = UINT64_MAX,
	};
	table->layout = pm_layout_copy(layout);
	if (table->layout == NULL)
		return fail(table, PM_ERR_SYSTEM);
	table->data = data_offset(layout->regions, layout->extents);
	table->size = table->data + layout->slots * PM_DIGEST_SIZE;
	if (ftruncate(fd, (off_t)table->size) != 0)
		return fail(table, PM_ERR_WRITE);
	return PM_OK;
}

static uint64_t
window_offset(const struct pm_table *table)
{
	return table->data + table->window * PM_DIGEST_SIZE;
}

static size_t
window_size(const struct pm_table *table)
{
	uint64_t left = table->layout->slots - table->window;

	return (size_t)(left < PM_TABLE_WINDOW ? left : PM_TABLE_WINDOW) *
	    PM_DIGEST_SIZE;
}

static enum pm_status
flush_window(struct pm_table *table)
{
	enum pm_status status;

	if (!table->dirty)
		return PM_OK;
	table->dirty = 0;
	pm_holes_forget(&table->holes);
	status = pm_fd_pwrite(table->fd, table->hash, window_size(table),
	    window_offset(table));
	return status == PM_OK ? PM_OK : fail(table, status);
}

/* Hold the window that slot stands in. */
static enum pm_status
hold(struct pm_table *table, uint64_t slot)
{
	uint64_t window = slot - slot % PM_TABLE_WINDOW;
	enum pm_status status;

	if (window == table->window)
		return PM_OK;
	if ((status = flush_window(table)) != PM_OK)
		return status;
	table->window = window;
	status = pm_fd_pread(table->fd, table->hash, window_size(table),
	    window_offset(table));
	if (status == PM_OK)
		return PM_OK;
	table->window = UINT64_MAX;
	if (status == PM_ERR_READ)
		return fail(table, status);
	return pm_fault_set(table->fault, PM_ERR_REFUSED, table->path,
	    "is cut short");
}

enum pm_status
pm_table_get(struct pm_table *table, uint64_t slot, struct pm_digest *hash)
{
	enum pm_status status = hold(table, slot);

	if (status == PM_OK)
		*hash = pm_digest_unpack(table->hash +
		    slot % PM_TABLE_WINDOW * PM_DIGEST_SIZE);
	return status;
}

enum pm_status
pm_table_set(struct pm_table *table, uint64_t slot, struct pm_digest hash)
{
	uint8_t *at = table->hash + slot % PM_TABLE_WINDOW * PM_DIGEST_SIZE;
	enum pm_status status = hold(table, slot);

	/* Zeroes over zeroes would fill the hole that stands for them. */
	if (status != PM_OK || pm_digest_equal(hash, pm_digest_unpack(at)))
		return status;
	pm_digest_pack(hash, at);
	table->dirty = 1;
	return PM_OK;
}

/* How many slots of the window, from this one on, are zero or are not. */
static uint64_t
count_alike(const struct pm_table *table, uint64_t slot, int *data)
{
	size_t from = (size_t)(slot % PM_TABLE_WINDOW) * PM_DIGEST_SIZE;
	size_t at = from, end = window_size(table);

	*data = !pm_digest_is_zero(pm_digest_unpack(table->hash + at));
	while (at < end && *data ==
	    !pm_digest_is_zero(pm_digest_unpack(table->hash + at)))
		at += PM_DIGEST_SIZE;
	return (at - from) / PM_DIGEST_SIZE;
}

enum pm_status
pm_table_span(struct pm_table *table, uint32_t region, uint64_t page,
    int *data, uint64_t *pages)
{
	struct pm_place place = pm_layout_find(table->layout, region, page);
	uint64_t until, slots, offset;
	enum pm_status status;

	*data = 0;
	*pages = place.pages;
	if (!place.held)
		return PM_OK;
	if ((status = flush_window(table)) != PM_OK)
		return status;
	offset = table->data + place.slot * PM_DIGEST_SIZE;
	if (pm_holes_at(&table->holes, table->fd, table->size, offset,
	    &until) && until - offset >= PM_DIGEST_SIZE)
		slots = (until - offset) / PM_DIGEST_SIZE;
	else if ((status = hold(table, place.slot)) == PM_OK)
		slots = count_alike(table, place.slot, data);
	else
		return status;
	if (slots < *pages)
		*pages = slots;
	return PM_OK;
}

static void
pack_head(const struct pm_table *table, uint8_t *head, size_t size)
{
	const struct pm_layout *layout = table->layout;
	uint8_t *at = head + HEAD_SIZE;

	memcpy(head + AT_MAGIC, PM_TABLE_MAGIC, PM_TABLE_MAGIC_SIZE);
	pm_put_le(head + AT_VERSION, VERSION, 4);
	pm_put_le(head + AT_PAGE_SHIFT, layout->page_shift, 4);
	pm_put_le(head + AT_REGIONS, layout->regions, 8);
	pm_put_le(head + AT_EXTENTS, layout->extents, 8);
	pm_digest_pack(table->id, head + AT_ID);
	for (unsigned i = 0; i < 5; i++)
		pm_put_le(head + AT_STAMP + 8 * i, table->stamp.of[i], 8);
	for (uint32_t i = 0; i < layout->regions; i++, at += REGION_SIZE) {
		const struct pm_region *region = &layout->region[i];

		pm_put_le(at + REGION_ADDRESS, region->address, 8);
		pm_put_le(at + REGION_LENGTH, region->length, 8);
		pm_put_le(at + REGION_KIND, region->kind, 4);
		pm_put_le(at + REGION_MACHINE, region->machine, 4);
		memcpy(at + REGION_NAME, region->name, strlen(region->name));
	}
	for (size_t i = 0; i < layout->extents; i++, at += EXTENT_SIZE) {
		pm_put_le(at + EXTENT_REGION, layout->extent[i].region, 8);
		pm_put_le(at + EXTENT_FIRST, layout->extent[i].first, 8);
		pm_put_le(at + EXTENT_PAGES, layout->extent[i].pages, 8);
	}
	pm_put_le(head + AT_CHECK, pm_hash_check(head, size, NULL, 0, NULL,
	    0), 4);
}

enum pm_status
pm_table_seal(struct pm_table *table, struct pm_digest id,
    const struct pm_table_stamp *stamp)
{
	size_t size = head_size(table->layout->regions,
	    table->layout->extents);
	uint8_t *head = calloc(1, size);
	enum pm_status status = flush_window(table);

	table->id = id;
	if (stamp != NULL)
		table->stamp = *stamp;
	if (head == NULL)
		status = fail(table, PM_ERR_SYSTEM);
	else if (status == PM_OK) {
		pack_head(table, head, size);
		status = pm_fd_pwrite(table->fd, head, size, 0);
		if (status != PM_OK)
			status = fail(table, status);
	}
	free(head);
	return status;
}

static int
unpack_layout(struct pm_table *table, const uint8_t *head)
{
	uint64_t regions = pm_get_le(head + AT_REGIONS, 8);
	uint64_t extents = pm_get_le(head + AT_EXTENTS, 8);
	const uint8_t *at = head + HEAD_SIZE;

	table->layout = pm_layout_new(
	    (unsigned)pm_get_le(head + AT_PAGE_SHIFT, 4));
	if (table->layout == NULL)
		return 0;
	for (uint64_t i = 0; i < regions; i++, at += REGION_SIZE) {
		struct pm_region region = {
			.address = pm_get_le(at + REGION_ADDRESS, 8),
			.length = pm_get_le(at + REGION_LENGTH, 8),
			.kind = (unsigned)pm_get_le(at + REGION_KIND, 4),
			.machine = (unsigned)pm_get_le(at + REGION_MACHINE, 4),
		};

		memcpy(region.name, at + REGION_NAME, PM_NAME_MAX);
		region.key = pm_hash_key(region.name, strlen(region.name));
		if (region.name[0] == '\0' || region.length > INT64_MAX ||
		    pm_layout_add_region(table->layout, &region) != PM_OK)
			return 0;
	}
	for (uint64_t i = 0; i < extents; i++, at += EXTENT_SIZE)
		if (pm_get_le(at + EXTENT_REGION, 8) >= regions ||
		    pm_layout_add_extent(table->layout,
		    (uint32_t)pm_get_le(at + EXTENT_REGION, 8),
		    pm_get_le(at + EXTENT_FIRST, 8),
		    pm_get_le(at + EXTENT_PAGES, 8)) != PM_OK)
			return 0;
	return 1;
}

/* Everything before the hashes, checked; malloced. */
static uint8_t *
read_head(struct pm_table *table)
{
	uint8_t first[HEAD_SIZE], *head;
	uint64_t regions, extents;
	uint32_t check;
	size_t size;

	if (pm_fd_pread(table->fd, first, sizeof(first), 0) != PM_OK ||
	    memcmp(first, PM_TABLE_MAGIC, PM_TABLE_MAGIC_SIZE) != 0 ||
	    pm_get_le(first + AT_VERSION, 4) != VERSION)
		return NULL;
	regions = pm_get_le(first + AT_REGIONS, 8);
	extents = pm_get_le(first + AT_EXTENTS, 8);
	if (regions > PM_REGIONS_MAX || extents > PM_MAPPINGS_MAX ||
	    pm_get_le(first + AT_PAGE_SHIFT, 4) < PM_PAGE_SHIFT_MIN ||
	    pm_get_le(first + AT_PAGE_SHIFT, 4) > PM_PAGE_SHIFT_MAX)
		return NULL;
	size = head_size(regions, extents);
	if ((head = malloc(size)) == NULL)
		return NULL;
	if (pm_fd_pread(table->fd, head, size, 0) == PM_OK) {
		check = (uint32_t)pm_get_le(head + AT_CHECK, 4);
		pm_put_le(head + AT_CHECK, 0, 4);
		table->data = data_offset(regions, extents);
		if (pm_hash_check(head, size, NULL, 0, NULL, 0) == check)
			return head;
	}
	free(head);
	return NULL;
}

static enum pm_status
load(struct pm_table *table)
{
	uint8_t *head = read_head(table);
	int good = head != NULL && unpack_layout(table, head);
	uint64_t wants;

	if (good) {
		table->id = pm_digest_unpack(head + AT_ID);
		for (unsigned i = 0; i < 5; i++)
			table->stamp.of[i] = pm_get_le(head + AT_STAMP +
			    8 * i, 8);
	}
	free(head);
	if (!good)
		return damaged(table);
	wants = table->data + table->layout->slots * PM_DIGEST_SIZE;
	if (table->size != wants)
		return pm_fault_set(table->fault, PM_ERR_REFUSED, table->path,
		    "holds %" PRIu64 " bytes, its head says %" PRIu64,
		    table->size, wants);
	return PM_OK;
}

/* What the hashes of one extent add to the id. */
static enum pm_status
add_extent(struct pm_table *table, const struct pm_extent *extent,
    struct pm_digest *id)
{
	uint64_t key = table->layout->region[extent->region].key, pages;
	enum pm_status status;
	int data;

	for (uint64_t at = 0; at < extent->pages; at += pages) {
		status = pm_table_span(table, extent->region,
		    extent->first + at, &data, &pages);
		for (uint64_t i = 0; status == PM_OK && data && i < pages;
		    i++) {
			struct pm_digest content = { 0, 0 };

			status = pm_table_get(table, extent->slot + at + i,
			    &content);
			*id = pm_digest_add(*id, pm_hash_page(content, key,
			    extent->first + at + i));
		}
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

static enum pm_status
check_hashes(struct pm_table *table)
{
	const struct pm_layout *layout = table->layout;
	struct pm_digest id = pm_layout_id(layout->region, layout->regions);
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < layout->extents && status == PM_OK; i++)
		status = add_extent(table, &layout->extent[i], &id);
	if (status == PM_OK && !pm_digest_equal(id, table->id))
		return damaged(table);
	return status;
}

enum pm_status
pm_table_open(struct pm_table *table, const char *path,
    struct pm_fault *fault)
{
	enum pm_status status;
	off_t end;

	*table = (struct pm_table){ .path = path, .fault = fault,
	    .window = UINT64_MAX };
	table->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (table->fd < 0)
		return fail(table, PM_ERR_READ);
	end = lseek(table->fd, 0, SEEK_END);
	table->size = end > 0 ? (uint64_t)end : 0;
	status = load(table);
	if (status == PM_OK)
		status = check_hashes(table);
	if (status != PM_OK)
		pm_table_close(table);
	return status;
}

void
pm_table_close(struct pm_table *table)
{
	int error = errno;

	if (table->fd >= 0)
		close(table->fd);
	pm_layout_free(table->layout);
	*table = (struct pm_table){ .fd = -1 };
	errno = error;
}
