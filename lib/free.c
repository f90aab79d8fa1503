/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "free.h"

#define STEP	65536u		/* bytes read at a time; whole words */
#define WORD	8u		/* bytes */

/* A bitmap on its way. */
struct reading {
	struct pm_free *marks;
	const struct pm_ram *ram;
	int fd;
	const char *name;
	enum pm_free_order order;
	struct pm_fault *fault;
	uint64_t taken;		/* bytes, in whole words */
	uint64_t from, pages;	/* free ones that were not marked yet */
};

enum pm_status
pm_free_open(struct pm_free *marks, const struct pm_source *source)
{
	*marks = (struct pm_free){ 0 };
	marks->map = calloc((size_t)source->regions + 1,
	    sizeof(marks->map[0]));
	if (marks->map == NULL)
		return PM_ERR_SYSTEM;
	marks->regions = source->regions;
	for (uint32_t i = 0; i < source->regions; i++)
		marks->map[i].bits = pm_region_pages(
		    source->region[i].length, source->page_shift);
	return PM_OK;
}

void
pm_free_close(struct pm_free *marks)
{
	for (uint32_t i = 0; i < marks->regions; i++)
		pm_bitmap_close(&marks->map[i]);
	free(marks->map);
	*marks = (struct pm_free){ 0 };
}

/* Pages of one region. */
static enum pm_status
set_run(struct pm_free *marks, uint32_t region, uint64_t page, uint64_t pages)
{
	struct pm_bitmap *map = &marks->map[region];
	uint64_t bits, before;
	enum pm_status status;

	if (region >= marks->regions)
		return PM_OK;
	bits = map->bits;
	if (map->size == 0 && (status = pm_bitmap_open(map, bits)) != PM_OK) {
		map->bits = bits;
		return status;
	}
	/* A mapping may go beyond what the region is said to have. */
	if (page >= bits)
		return PM_OK;
	before = map->count;
	pm_bitmap_set_run(map, page, pages < bits - page ? pages
	    : bits - page);
	marks->pages += map->count - before;
	return PM_OK;
}

enum pm_status
pm_free_set_ram(struct pm_free *marks, const struct pm_ram *ram, uint64_t at,
    uint64_t pages)
{
	const struct pm_ram_piece *piece = pm_ram_find(ram, at);
	enum pm_status status = PM_OK;

	if (piece == NULL)
		return PM_OK;
	if (pages > ram->pages - at)
		pages = ram->pages - at;
	for (; pages > 0 && status == PM_OK; piece++) {
		uint64_t skip = at - piece->at, now = piece->pages - skip;

		if (now > pages)
			now = pages;
		status = set_run(marks, piece->region, piece->page + skip,
		    now);
		at += now;
		pages -= now;
	}
	return status;
}

void
pm_free_clear(struct pm_free *marks, uint32_t region, uint64_t page)
{
	if (!pm_free_test(marks, region, page))
		return;
	pm_bitmap_clear(&marks->map[region], page);
	marks->pages--;
}

uint64_t
pm_free_span(const struct pm_free *marks, uint32_t region, uint64_t page,
    uint64_t end, int *is_free)
{
	const struct pm_bitmap *map = &marks->map[region];

	*is_free = pm_free_test(marks, region, page);
	if (map->size == 0)
		return end - page;
	return (*is_free ? pm_bitmap_run(map, page, end)
	    : pm_bitmap_next(map, page, end)) - page;
}

static enum pm_status
fail(struct reading *in, enum pm_status status)
{
	return pm_fault_set(in->fault, status, in->name, "%s",
	    strerror(errno));
}

/* Its size is wrong; what is known of that may be only the least it is. */
static enum pm_status
refuse(struct reading *in, uint64_t has, int is_least)
{
	uint64_t takes = in->ram->pages / 8 + (in->ram->pages % 8 != 0);
	struct stat st;

	if (is_least && fstat(in->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size >= has) {
		has = (uint64_t)st.st_size;
		is_least = 0;
	}
	return pm_fault_set(in->fault, PM_ERR_REFUSED, in->name,
	    "has %s%" PRIu64 " bytes, and a bitmap of %" PRIu64
	    " pages has %" PRIu64, is_least ? "at least " : "", has,
	    in->ram->pages, takes);
}

/* Mark the free pages that were gathered, and begin with others. */
static enum pm_status
mark(struct reading *in, uint64_t from, uint64_t pages)
{
	enum pm_status status = PM_OK;

	if (in->pages > 0 && in->from + in->pages == from) {
		in->pages += pages;
		return PM_OK;
	}
	if (in->pages > 0)
		status = pm_free_set_ram(in->marks, in->ram, in->from,
		    in->pages);
	in->from = from;
	in->pages = pages;
	return status == PM_OK ? PM_OK : fail(in, status);
}

/* Eight bytes, of which bit 0 is that of the first page. */
static enum pm_status
take_word(struct reading *in, uint64_t word)
{
	uint64_t at = in->taken * 8;
	enum pm_status status = PM_OK;

	in->taken += WORD;
	if (word == 0)
		return PM_OK;
	if (at >= in->ram->pages || (in->ram->pages - at < 64 &&
	    word >> (in->ram->pages - at) != 0))
		return pm_fault_set(in->fault, PM_ERR_REFUSED, in->name,
		    "has bits behind those of %" PRIu64 " pages",
		    in->ram->pages);
	if (word == UINT64_MAX)
		return mark(in, at, 64);
	while (word != 0 && status == PM_OK) {
		unsigned zeroes = (unsigned)__builtin_ctzll(word), ones;

		word >>= zeroes;
		at += zeroes;
		/* Not all 64 are set, so there is a 0 above. */
		ones = (unsigned)__builtin_ctzll(~word);
		status = mark(in, at, ones);
		word >>= ones;
		at += ones;
	}
	return status;
}

static void
reverse_bits(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned b = bytes[i];

		b = (b & 0xf0) >> 4 | (b & 0x0f) << 4;
		b = (b & 0xcc) >> 2 | (b & 0x33) << 2;
		bytes[i] = (uint8_t)((b & 0xaa) >> 1 | (b & 0x55) << 1);
	}
}

/* Some bytes, or none at the end of the input. */
static enum pm_status
read_some(struct reading *in, uint8_t *buf, size_t size, size_t *got)
{
	struct pollfd pfd = { .fd = in->fd, .events = POLLIN };
	ssize_t now;

	while ((now = read(in->fd, buf, size)) < 0) {
		if (errno == EAGAIN)
			(void)poll(&pfd, 1, -1);
		else if (errno != EINTR)
			return fail(in, PM_ERR_READ);
	}
	*got = (size_t)now;
	return PM_OK;
}

/* Fill buf, but for the end of the input; *got tells how far. */
static enum pm_status
read_step(struct reading *in, uint8_t *buf, size_t size, size_t *got)
{
	enum pm_status status = PM_OK;
	size_t now = 1;

	for (*got = 0; *got < size && now > 0 && status == PM_OK;
	    *got += now) {
		now = 0;
		status = read_some(in, buf + *got, size - *got, &now);
	}
	return status;
}

/* What one step has read, whose end may be that of all. */
static enum pm_status
take_step(struct reading *in, uint8_t *buf, size_t size)
{
	enum pm_status status = PM_OK;

	if (in->order == PM_FREE_MSB)
		reverse_bits(buf, size);
	memset(buf + size, 0, WORD);
	for (size_t i = 0; i < size && status == PM_OK; i += WORD)
		status = take_word(in, pm_get_le(buf + i, WORD));
	return status;
}

enum pm_status
pm_free_read(struct pm_free *marks, const struct pm_ram *ram, int fd,
    const char *name, enum pm_free_order order, struct pm_fault *fault)
{
	struct reading in = { .marks = marks, .ram = ram, .fd = fd,
	    .name = name, .order = order, .fault = fault };
	uint64_t least = ram->pages / 8 + (ram->pages % 8 != 0), has = 0;
	uint64_t most = (least + WORD - 1) / WORD * WORD;
	enum pm_status status = PM_OK;
	size_t got = STEP;
	uint8_t *buf = malloc(STEP + WORD);

	if (buf == NULL)
		return fail(&in, PM_ERR_SYSTEM);
	while (status == PM_OK && got == STEP) {
		status = read_step(&in, buf, STEP, &got);
		has += got;
		if (status == PM_OK && has > most)
			status = refuse(&in, has, 1);
		if (status == PM_OK)
			status = take_step(&in, buf, got);
	}
	if (status == PM_OK && has != least && has != most)
		status = refuse(&in, has, 0);
	if (status == PM_OK)
		status = mark(&in, 0, 0);
	free(buf);
	return status;
}
