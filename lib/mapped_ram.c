/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "mapped_ram.h"
#include "qemu.h"
#include "qemu_tail.h"
#include "savefile.h"

#define HEADER_VERSION	1u	/* of a block's header */
#define HEADER_SIZE	28u
#define WORD_SIZE	8u
#define ALIGNMENT	(UINT64_C(1) << 20)	/* of pages in a file */

static enum pm_status
fail(const struct pm_mapped_cursor *cur, enum pm_status status,
    const char *why)
{
	return pm_fault_set(cur->fault, status, cur->path, "%s", why);
}

static enum pm_status
fail_block(const struct pm_mapped_cursor *cur, const struct pm_region *region,
    const char *why)
{
	return pm_fault_set(cur->fault, PM_ERR_CORRUPT, cur->path,
	    "block %.64s %s", region->name, why);
}

/* Bits for pages that there are not show that this is no bitmap of ours. */
static enum pm_status
check_bitmap(struct pm_mapped_cursor *cur, const struct pm_region *region,
    uint64_t bitmap)
{
	uint64_t pages = region->length >> cur->ram->page_shift;
	uint64_t last = (pages - 1) / 64;
	struct pm_mapped_cursor at = *cur;
	enum pm_status status;

	at.at = bitmap + last * 8;
	status = pm_mapped_take(&at, 8);
	if (status != PM_OK || pages % 64 == 0 ||
	    pm_get_le(at.in, 8) >> pages % 64 == 0)
		return status;
	return fail_block(cur, region, "has a bitmap of more pages than it "
	    "has");
}

/* Its places follow each other in the file, behind its header. */
static enum pm_status
take_places(struct pm_mapped_cursor *cur, struct pm_region *region)
{
	struct pm_mapped_ram *ram = cur->ram;
	enum pm_status status = pm_mapped_take(cur, HEADER_SIZE);
	uint64_t size, bitmap, pages, bitmap_size, mask;
	unsigned shift = PM_PAGE_SHIFT_MIN;

	if (status != PM_OK)
		return status;
	size = pm_qemu_get(cur->in + 4, 8);
	bitmap = pm_qemu_get(cur->in + 12, 8);
	pages = pm_qemu_get(cur->in + 20, 8);
	if (pm_qemu_get(cur->in, 4) != HEADER_VERSION)
		return fail_block(cur, region, "has a header of a version "
		    "other than 1");
	while (shift < PM_PAGE_SHIFT_MAX && size != UINT64_C(1) << shift)
		shift++;
	if (size != UINT64_C(1) << shift ||
	    (ram->page_shift != 0 && ram->page_shift != shift))
		return fail_block(cur, region, "has pages of an odd size");
	ram->page_shift = shift;
	mask = size - 1;
	if ((region->length & mask) != 0 || (pages & mask) != 0)
		return fail_block(cur, region, "is no whole number of pages");
	bitmap_size = ((region->length >> shift) + 63) / 64 * 8;
	if (bitmap < cur->at || bitmap > cur->end || pages > cur->end ||
	    pages < bitmap || pages - bitmap < bitmap_size)
		return fail_block(cur, region, "has its pages elsewhere");
	if (region->length > cur->end - pages)
		return fail(cur, PM_ERR_TRUNCATED, "the migration ends early");
	ram->block[ram->blocks] = (struct pm_mapped_block){
		.bitmap = bitmap, .pages = pages };
	cur->at = pages + region->length;
	return check_bitmap(cur, region, bitmap);
}

/* Its places in a file that is planned; the head has another header. */
static enum pm_status
give_places(struct pm_mapped_cursor *cur, struct pm_region *region)
{
	struct pm_mapped_ram *ram = cur->ram;
	struct pm_mapped_block *block = &ram->block[ram->blocks];
	size_t begun = ram->blocks > 0 ? block[-1].head_end : 0;
	uint64_t size = UINT64_C(1) << ram->page_shift;
	uint8_t header[HEADER_SIZE];

	if ((region->length & (size - 1)) != 0)
		return fail_block(cur, region, "is no whole number of pages");
	block->head_end = ram->head_size + HEADER_SIZE;
	block->bitmap = ram->rest + (block->head_end - begun);
	block->pages = block->bitmap + ((region->length >> ram->page_shift) +
	    63) / 64 * 8;
	block->pages = (block->pages + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (region->length > INT64_MAX - block->pages)
		return fail_block(cur, region, "is too long");
	ram->rest = block->pages + region->length;
	pm_qemu_put(header, HEADER_VERSION, 4);
	pm_qemu_put(header + 4, size, 8);
	pm_qemu_put(header + 12, block->bitmap, 8);
	pm_qemu_put(header + 20, block->pages, 8);
	return pm_mapped_keep(cur, header, sizeof(header));
}

static enum pm_status
pass_block(struct pm_mapped_cursor *cur, uint64_t *left)
{
	struct pm_mapped_ram *ram = cur->ram;
	struct pm_region *region = &ram->region[ram->blocks];
	enum pm_status status = pm_mapped_take_text(cur, 8);
	size_t name = cur->in[0];

	if (status != PM_OK)
		return status;
	if (ram->blocks == PM_REGIONS_MAX)
		return fail(cur, PM_ERR_REFUSED, "has too many blocks");
	*region = (struct pm_region){ .kind = PM_REGION_BLOCK,
	    .length = pm_qemu_get(cur->in + 1 + name, 8),
	    .key = pm_hash_key((const char *)cur->in + 1, name) };
	memcpy(region->name, cur->in + 1, name);
	if (name == 0 || memchr(cur->in + 1, 0, name) != NULL ||
	    region->length == 0 || region->length > *left)
		return fail(cur, PM_ERR_CORRUPT, "has an odd list of blocks");
	for (uint32_t i = 0; i < ram->blocks; i++)
		if (ram->region[i].key == region->key)
			return fail_block(cur, region, "is there twice");
	*left -= region->length;
	status = pm_mapped_keep(cur, cur->in, 1 + name + 8);
	if (status == PM_OK)
		status = cur->adds ? give_places(cur, region)
		    : take_places(cur, region);
	ram->blocks++;
	return status;
}

static enum pm_status
pass_blocks(struct pm_mapped_cursor *cur)
{
	enum pm_status status = pm_mapped_pass(cur, WORD_SIZE);
	uint64_t word = pm_qemu_get(cur->in, WORD_SIZE), left;
	const uint64_t flags = (1u << PM_PAGE_SHIFT_MIN) - 1;

	left = word & ~flags;
	if (status == PM_OK && ((word & flags) != PM_QEMU_MEM_SIZE ||
	    left == 0))
		return fail(cur, PM_ERR_CORRUPT, "has no list of blocks");
	while (status == PM_OK && left > 0)
		status = pass_block(cur, &left);
	return status;
}

typedef enum pm_status reading(struct pm_mapped_cursor *, size_t);

/* The word that ends a section of RAM, where no page may come. */
static enum pm_status
take_end(struct pm_mapped_cursor *cur, reading *how)
{
	enum pm_status status = how(cur, WORD_SIZE);
	uint64_t word = pm_qemu_get(cur->in, WORD_SIZE);

	if (status == PM_OK && word == PM_QEMU_MULTIFD_FLUSH)
		return fail(cur, PM_ERR_CORRUPT, "has a word of multifd's in "
		    "its stream, which QEMU refuses in such a file");
	if (status == PM_OK && word != PM_QEMU_EOS)
		return fail(cur, PM_ERR_CORRUPT, "has pages in its stream "
		    "too");
	return status;
}

static enum pm_status
take_footer(struct pm_mapped_cursor *cur, reading *how)
{
	enum pm_status status = how(cur, PM_MAPPED_SECTION);

	if (status == PM_OK && (cur->in[0] != PM_QEMU_FOOTER ||
	    pm_qemu_get(cur->in + 1, 4) != cur->section))
		return fail(cur, PM_ERR_CORRUPT, "has a section with "
		    "another's footer");
	return status;
}

/* RAM's first section ends, and one for the pages begins and ends. */
static enum pm_status
pass_end(struct pm_mapped_cursor *cur)
{
	struct pm_mapped_ram *ram = cur->ram;
	enum pm_status status = take_end(cur, pm_mapped_pass);
	uint8_t part[PM_MAPPED_SECTION];

	if (status == PM_OK)
		status = pm_mapped_look(cur, 1);
	cur->has_footer = status == PM_OK && cur->in[0] == PM_QEMU_FOOTER;
	if (cur->has_footer)
		status = take_footer(cur, pm_mapped_pass);
	if (status != PM_OK)
		return status;
	pm_qemu_put(ram->behind, PM_QEMU_EOS, WORD_SIZE);
	ram->behind_size = WORD_SIZE;
	part[0] = PM_QEMU_FOOTER;
	pm_qemu_put(part + 1, cur->section, 4);
	if (cur->has_footer) {
		memcpy(ram->behind + WORD_SIZE, part, sizeof(part));
		ram->behind_size += sizeof(part);
	}
	part[0] = PM_QEMU_PART;
	return pm_mapped_keep(cur, part, sizeof(part));
}

/*
 * Device state has no lengths, so what is not known to be device state could
 * have pages behind it that are never seen.
 */
static enum pm_status
check_devices(const struct pm_mapped_cursor *cur)
{
	switch (cur->in[0]) {
	case PM_QEMU_FULL:
	case PM_QEMU_EOF:
		return PM_OK;
	case PM_QEMU_START:
	case PM_QEMU_PART:
	case PM_QEMU_END:
		return fail(cur, PM_ERR_REFUSED, "has devices that are saved "
		    "in parts, as RAM is");
	default:
		return fail(cur, PM_ERR_CORRUPT, "has no device state behind "
		    "its RAM");
	}
}

/* Sections of RAM, which are empty, and commands, up to the devices. */
static enum pm_status
cross(struct pm_mapped_cursor *cur)
{
	enum pm_status status = PM_OK;

	cur->ram->rest = cur->at;
	while (status == PM_OK) {
		cur->ram->devices = cur->at;
		if ((status = pm_mapped_look(cur, PM_MAPPED_SECTION)) != PM_OK)
			break;
		if (cur->in[0] == PM_QEMU_COMMAND)
			cur->at += PM_MAPPED_SECTION +
			    pm_qemu_get(cur->in + 3, 2);
		else if ((cur->in[0] == PM_QEMU_PART ||
		    cur->in[0] == PM_QEMU_END) &&
		    pm_qemu_get(cur->in + 1, 4) == cur->section) {
			cur->at += PM_MAPPED_SECTION;
			status = take_end(cur, pm_mapped_take);
			if (status == PM_OK && cur->has_footer)
				status = take_footer(cur, pm_mapped_take);
		} else
			return check_devices(cur);
	}
	return status;
}

/* What cuts a file must not go unseen: device state has no lengths. */
static enum pm_status
check_tail(struct pm_mapped_cursor *cur)
{
	struct pm_qemu_tail tail = { 0 };
	enum pm_status status = PM_OK;

	while (status == PM_OK && cur->at < cur->end) {
		size_t now = cur->end - cur->at < PM_MAPPED_PIECE
		    ? (size_t)(cur->end - cur->at) : PM_MAPPED_PIECE;

		status = pm_mapped_take(cur, now);
		if (status == PM_OK)
			pm_qemu_tail_take(&tail, cur->in, now);
	}
	if (status == PM_OK && !pm_qemu_tail_is_whole(&tail,
	    cur->has_footer))
		return fail(cur, PM_ERR_TRUNCATED, "the migration ends early");
	return status;
}

/* What libvirt may have put before it. */
static enum pm_status
pass_libvirt(struct pm_mapped_cursor *cur)
{
	struct pm_savefile_head head;
	enum pm_status status = pm_mapped_look(cur, PM_SAVEFILE_SEEN_MIN);

	if (status != PM_OK || memcmp(cur->in, PM_SAVEFILE_MAGIC,
	    PM_SAVEFILE_SEEN_MIN) != 0)
		return status;
	if (lseek(cur->fd, PM_SAVEFILE_SEEN_MIN, SEEK_SET) < 0)
		return fail(cur, PM_ERR_READ, strerror(errno));
	status = pm_savefile_head(&head, cur->fd, PM_SAVEFILE_SEEN_MIN,
	    cur->fault);
	if (status == PM_OK && head.is_big_endian)
		return fail(cur, PM_ERR_REFUSED, "was saved by a machine that "
		    "is not little-endian");
	if (status == PM_OK && head.format != PM_SAVEFILE_SPARSE)
		return fail(cur, PM_ERR_REFUSED, "is a save image that is not "
		    "sparse; --format=qemu reads it");
	if (status == PM_OK)
		cur->at = PM_SAVEFILE_HEAD_SIZE + (uint64_t)head.text;
	return status;
}

static enum pm_status
read_all(struct pm_mapped_cursor *cur)
{
	static enum pm_status (*const part[])(struct pm_mapped_cursor *) = {
		pass_libvirt, pm_mapped_head, pass_blocks, pass_end, cross,
		check_tail,
	};
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]) &&
	    status == PM_OK; i++)
		status = part[i](cur);
	return status;
}

static enum pm_status
allocate(struct pm_mapped_cursor *cur)
{
	struct pm_mapped_ram *ram = cur->ram;

	*ram = (struct pm_mapped_ram){ .page_shift = 0 };
	ram->region = calloc(PM_REGIONS_MAX, sizeof(ram->region[0]));
	ram->block = calloc(PM_REGIONS_MAX, sizeof(ram->block[0]));
	return ram->region != NULL && ram->block != NULL ? PM_OK
	    : fail(cur, PM_ERR_SYSTEM, strerror(errno));
}

enum pm_status
pm_mapped_ram_open(struct pm_mapped_ram *ram, int fd, const char *path,
    struct pm_fault *fault)
{
	struct pm_mapped_cursor cur = { .ram = ram, .fd = fd, .path = path,
	    .fault = fault };
	enum pm_status status = allocate(&cur);
	off_t end = lseek(fd, 0, SEEK_END);

	if (status == PM_OK && end < 0)
		status = fail(&cur, PM_ERR_READ, strerror(errno));
	if (status != PM_OK)
		return status;
	ram->end = cur.end = (uint64_t)end;
	return read_all(&cur);
}

int
pm_mapped_ram_detect(int fd)
{
	struct pm_mapped_ram ram = { .page_shift = 0 };
	struct pm_mapped_cursor cur = { .ram = &ram, .fd = fd };
	off_t end = lseek(fd, 0, SEEK_END);
	int is;

	cur.end = end > 0 ? (uint64_t)end : 0;
	is = pass_libvirt(&cur) == PM_OK && pm_mapped_head(&cur) == PM_OK;
	pm_mapped_ram_close(&ram);
	return is;
}

enum pm_status
pm_mapped_ram_plan(struct pm_mapped_ram *ram, const uint8_t *in, size_t size,
    unsigned page_shift, size_t *used, struct pm_fault *fault)
{
	struct pm_mapped_cursor cur = { .ram = ram, .bytes = in, .adds = 1,
	    .end = size, .fault = fault };
	enum pm_status status = allocate(&cur);

	if (status != PM_OK)
		return status;
	ram->page_shift = page_shift;
	status = pm_mapped_head(&cur);
	if (status == PM_OK && ram->page_shift != page_shift)
		return fail(&cur, PM_ERR_CORRUPT, "says that its pages are of "
		    "another size");
	if (status == PM_OK)
		status = pass_blocks(&cur);
	*used = (size_t)cur.at;
	return status;
}

void
pm_mapped_ram_close(struct pm_mapped_ram *ram)
{
	free(ram->region);
	free(ram->block);
	free(ram->head);
	*ram = (struct pm_mapped_ram){ .page_shift = 0 };
}
