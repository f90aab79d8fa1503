/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fdio.h"
#include "product.h"

#define HEAD_MAX	(16u << 20)
#define BITS		(8u * 4096u)	/* of a bitmap, at once */

static enum pm_status
fail(const struct pm_product *product, enum pm_status status,
    const char *why)
{
	return pm_fault_set(product->fault, status, product->path, "%s", why);
}

static enum pm_status
refuse(const struct pm_product *product, const char *why)
{
	return pm_fault_set(product->fault, PM_ERR_REFUSED, NULL, "%s", why);
}

void
pm_product_open(struct pm_product *product, enum pm_product_kind kind,
    const char *region, const char *path, struct pm_fault *fault)
{
	*product = (struct pm_product){ .kind = kind, .region = region,
	    .path = path, .fault = fault, .rest = { .fd = -1 } };
}

void
pm_product_close(struct pm_product *product)
{
	free(product->head);
	product->head = NULL;
	pm_mapped_ram_close(&product->plan);
	pm_outfile_drop(&product->rest);
}

static void
begin(struct pm_product *product)
{
	pm_mapped_ram_close(&product->plan);
	product->head_size = 0;
	product->rest_size = 0;
	product->is_placed = 0;
}

/* Behind the first page there is no telling how much it will be. */
static enum pm_status
add_rest(struct pm_product *product, const uint8_t *bytes, size_t size)
{
	enum pm_status status = PM_OK;

	if (product->rest.fd < 0)
		status = pm_outfile_open(&product->rest, product->path);
	if (status == PM_OK)
		status = pm_fd_pwrite(product->rest.fd, bytes, size,
		    product->rest_size);
	product->rest_size += size;
	return status == PM_OK ? PM_OK : fail(product, PM_ERR_WRITE,
	    pm_status_text(PM_ERR_WRITE));
}

static enum pm_status
add_head(struct pm_product *product, const uint8_t *bytes, size_t size)
{
	size_t room = 2 * (product->head_size + size);
	uint8_t *head = product->head;

	if (size > HEAD_MAX - product->head_size)
		return refuse(product, "has too many foreign bytes before "
		    "its pages");
	if (size > product->head_room - product->head_size) {
		if ((head = realloc(head, room)) == NULL)
			return fail(product, PM_ERR_SYSTEM, strerror(errno));
		product->head = head;
		product->head_room = room;
	}
	memcpy(head + product->head_size, bytes, size);
	product->head_size += size;
	return PM_OK;
}

static enum pm_status
take_stream(struct pm_product *product, const struct pm_record *rec)
{
	struct pm_stream stream;
	enum pm_status status = pm_stream_unpack(&stream, rec,
	    product->fault);

	begin(product);
	product->is_foreign = status == PM_OK &&
	    (stream.may & PM_MAY_FOREIGN) != 0;
	product->is_vague = 1;
	return status;
}

static enum pm_status
take_round(struct pm_product *product, const struct pm_record *rec)
{
	struct pm_round round;
	enum pm_status status = pm_round_unpack(&round, rec, product->fault);

	product->is_vague = status == PM_OK && !round.known;
	return status;
}

static enum pm_status
take_opaque(struct pm_product *product, const struct pm_record *rec)
{
	if (rec->stored == 0 || product->kind == PM_PRODUCT_REGION)
		return PM_OK;
	if (product->kind == PM_PRODUCT_WHOLE)
		return refuse(product, "holds foreign bytes that an image has "
		    "no place for: give --region NAME, or --format=qemu or "
		    "mapped-ram");
	return product->is_placed
	    ? add_rest(product, rec->payload, rec->stored)
	    : add_head(product, rec->payload, rec->stored);
}

/* What is proved then is what the stream says, and not what QEMU sent. */
static enum pm_status
check_end(const struct pm_product *product)
{
	if (product->kind == PM_PRODUCT_WHOLE || !product->is_foreign ||
	    !product->is_vague)
		return PM_OK;
	return refuse(product, "its source did not understand all of the "
	    "migration stream: pages may be missing");
}

enum pm_status
pm_product_take(struct pm_product *product, const struct pm_record *rec)
{
	switch (rec->type) {
	case PM_TYPE_STREAM:
		return take_stream(product, rec);
	case PM_TYPE_ROUND:
		return take_round(product, rec);
	case PM_TYPE_OPAQUE:
		return take_opaque(product, rec);
	case PM_TYPE_END:
		return check_end(product);
	default:
		return PM_OK;
	}
}

/* The block that an extent is, or UINT32_MAX. */
static uint32_t
block_of(const struct pm_product *product, const struct pm_region *region)
{
	const struct pm_mapped_ram *plan = &product->plan;

	for (uint32_t i = 0; i < plan->blocks; i++)
		if (plan->region[i].key == region->key)
			return plan->region[i].length == region->length ? i
			    : UINT32_MAX;
	return UINT32_MAX;
}

static enum pm_status
place(struct pm_product *product, struct pm_layout *layout)
{
	struct pm_mapped_ram *plan = &product->plan;
	enum pm_status status;
	size_t used = 0;

	if (product->head_size == 0)
		return refuse(product, "has no foreign bytes of QEMU, which "
		    "a migration file needs");
	status = pm_mapped_ram_plan(plan, product->head, product->head_size,
	    layout->page_shift, &used, product->fault);
	if (status != PM_OK)
		return status;
	for (size_t i = 0; i < layout->extents; i++) {
		struct pm_extent *extent = &layout->extent[i];
		uint32_t block = block_of(product,
		    &layout->region[extent->region]);

		if (block == UINT32_MAX || layout->extents != plan->blocks)
			return refuse(product, "has other regions than blocks "
			    "of QEMU's");
		extent->slot = plan->block[block].pages >> layout->page_shift;
	}
	layout->slots = plan->rest >> layout->page_shift;
	product->is_placed = 1;
	return product->head_size == used ? PM_OK : add_rest(product,
	    product->head + used, product->head_size - used);
}

struct pm_layout *
pm_product_layout(struct pm_product *product,
    const struct pm_outline *outline, enum pm_status *status)
{
	struct pm_layout *layout;
	uint32_t region = 0;

	*status = PM_OK;
	if (product->kind == PM_PRODUCT_REGION)
		*status = pm_outline_choose(outline, product->region, &region);
	else if (product->kind == PM_PRODUCT_MAPPED &&
	    pm_outline_is_process(outline))
		*status = refuse(product, "is of a process, which makes no "
		    "migration file");
	layout = *status == PM_OK ? pm_outline_layout(outline, status) : NULL;
	if (layout != NULL && product->kind == PM_PRODUCT_REGION)
		pm_layout_lead(layout, region);
	if (layout == NULL || product->kind != PM_PRODUCT_MAPPED ||
	    (*status = place(product, layout)) == PM_OK)
		return layout;
	pm_layout_free(layout);
	return NULL;
}

/* The bits of pages that are data, from a page on that is a whole byte. */
static enum pm_status
find_bits(struct pm_image *image, uint32_t region, uint64_t from,
    uint64_t pages, uint8_t *bits)
{
	uint64_t at = 0, now;
	enum pm_status status = PM_OK;
	int data;

	memset(bits, 0, BITS / 8);
	for (; at < pages && status == PM_OK; at += now) {
		status = pm_image_span(image, region, from + at, &data, &now);
		if (now > pages - at)
			now = pages - at;
		for (uint64_t i = at; data && i < at + now; i++)
			bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << i % 8);
	}
	return status;
}

static enum pm_status
write_bitmap(struct pm_product *product, struct pm_image *image,
    uint32_t block)
{
	const struct pm_region *region = &product->plan.region[block];
	uint64_t pages = region->length >> image->layout->page_shift, now;
	uint32_t number = pm_layout_region(image->layout, region->key);
	enum pm_status status = PM_OK;
	uint8_t bits[BITS / 8];

	for (uint64_t at = 0; at < pages && status == PM_OK; at += now) {
		now = pages - at < BITS ? pages - at : BITS;
		status = find_bits(image, number, at, now, bits);
		if (status == PM_OK && pm_fd_pwrite(image->fd, bits,
		    (size_t)((now + 63) / 64 * 8),
		    product->plan.block[block].bitmap + at / 8) != PM_OK)
			status = fail(product, PM_ERR_WRITE,
			    pm_status_text(PM_ERR_WRITE));
	}
	return status;
}

/* What stands before the bitmap of each block, and the bitmap. */
static enum pm_status
write_heads(struct pm_product *product, struct pm_image *image)
{
	const struct pm_mapped_ram *plan = &product->plan;
	enum pm_status status = PM_OK;
	uint64_t to = 0;
	size_t from = 0;

	for (uint32_t i = 0; i < plan->blocks && status == PM_OK; i++) {
		const struct pm_mapped_block *block = &plan->block[i];

		if (pm_fd_pwrite(image->fd, plan->head + from,
		    block->head_end - from, to) != PM_OK)
			return fail(product, PM_ERR_WRITE,
			    pm_status_text(PM_ERR_WRITE));
		status = write_bitmap(product, image, i);
		from = block->head_end;
		to = block->pages + plan->region[i].length;
	}
	return status;
}

static enum pm_status
write_rest(struct pm_product *product, struct pm_image *image)
{
	uint8_t bytes[BITS / 8];
	enum pm_status status = PM_OK;
	uint64_t at = 0;

	while (at < product->rest_size && status == PM_OK) {
		size_t now = product->rest_size - at < sizeof(bytes)
		    ? (size_t)(product->rest_size - at) : sizeof(bytes);

		status = pm_fd_pread(product->rest.fd, bytes, now, at);
		if (status == PM_OK)
			status = pm_fd_pwrite(image->fd, bytes, now,
			    product->plan.rest + at);
		at += now;
	}
	return status == PM_OK ? PM_OK : fail(product, PM_ERR_WRITE,
	    pm_status_text(PM_ERR_WRITE));
}

/* It is read as QEMU would: foreign bytes are whatever the stream has. */
static enum pm_status
check(const struct pm_product *product, const struct pm_image *image)
{
	struct pm_mapped_ram ram;
	enum pm_status status = pm_mapped_ram_open(&ram, image->fd,
	    product->path, product->fault);

	pm_mapped_ram_close(&ram);
	return status;
}

enum pm_status
pm_product_make(struct pm_product *product, struct pm_image *image,
    uint64_t *size)
{
	const struct pm_layout *layout = image->layout;
	enum pm_status status;
	uint32_t region;

	if (product->kind == PM_PRODUCT_REGION) {
		region = pm_layout_region(layout, pm_hash_key(product->region,
		    strlen(product->region)));
		*size = layout->region[region].length;
		return PM_OK;
	}
	if ((status = write_heads(product, image)) != PM_OK ||
	    (status = write_rest(product, image)) != PM_OK)
		return status;
	*size = product->plan.rest + product->rest_size;
	return check(product, image);
}
