/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fdio.h"
#include "move.h"

int
pm_move_is_still(const struct pm_image *from, const struct pm_image *to)
{
	return from->data == to->data &&
	    pm_layout_equal(from->layout, to->layout);
}

static struct pm_digest
id_of_regions(const struct pm_image *image)
{
	return pm_layout_id(image->layout->region, image->layout->regions);
}

/* A page of that content goes on to be, if it still has a place. */
static enum pm_status
keep_page(struct pm_move *move, uint32_t region, uint64_t page,
    struct pm_digest content)
{
	const struct pm_layout *layout = move->to->layout;
	struct pm_place place = pm_layout_find(layout, region, page);

	if (!place.held)
		return PM_OK;
	move->is = pm_digest_add(move->is, pm_hash_page(content,
	    layout->region[region].key, page));
	return move->table != NULL
	    ? pm_table_set(move->table, place.slot, content) : PM_OK;
}

static enum pm_status
write_kept(struct pm_move *move, uint32_t region, uint64_t page,
    uint32_t pages)
{
	size_t shift = move->to->layout->page_shift;
	const uint8_t *from = move->buf;

	while (pages > 0) {
		struct pm_place place = pm_layout_find(move->to->layout,
		    region, page);
		uint32_t now = place.pages < pages ? (uint32_t)place.pages
		    : pages;
		enum pm_status status;

		if (place.held) {
			status = pm_image_write(move->to, region, page, now,
			    from);
			if (status != PM_OK)
				return status;
			move->copied += (uint64_t)now << shift;
		}
		from += (size_t)now << shift;
		page += now;
		pages -= now;
	}
	return PM_OK;
}

/* Pages of one span of data; region is that of the new layout. */
static enum pm_status
move_pages(struct pm_move *move, const struct pm_extent *extent, uint64_t at,
    uint32_t pages, uint32_t region)
{
	const struct pm_layout *old = move->from->layout;
	size_t page_size = (size_t)1 << old->page_shift;
	uint64_t key = old->region[extent->region].key;
	uint64_t page = extent->first + at;
	enum pm_status status;

	status = pm_image_read(move->from, extent->region, page, pages,
	    move->buf);
	if (status != PM_OK)
		return status;
	move->read += pages * page_size;
	for (uint32_t i = 0; i < pages; i++) {
		struct pm_digest content;

		if (move->known != NULL)
			status = pm_table_get(move->known, extent->slot + at
			    + i, &content);
		else {
			content = pm_hash_content(move->buf + i * page_size,
			    page_size);
			move->was = pm_digest_add(move->was,
			    pm_hash_page(content, key, page + i));
		}
		if (status == PM_OK && region != UINT32_MAX)
			status = keep_page(move, region, page + i, content);
		if (status != PM_OK)
			return status;
	}
	return move->copy && region != UINT32_MAX
	    ? write_kept(move, region, page, pages) : PM_OK;
}

static enum pm_status
move_extent(struct pm_move *move, const struct pm_extent *extent)
{
	const struct pm_layout *old = move->from->layout;
	uint32_t most = PM_PAYLOAD_MAX >> old->page_shift;
	uint32_t region = pm_layout_region(move->to->layout,
	    old->region[extent->region].key);
	uint64_t pages;

	for (uint64_t at = 0; at < extent->pages; at += pages) {
		enum pm_status status;
		int data;

		status = pm_image_span(move->from, extent->region,
		    extent->first + at, &data, &pages);
		if (status == PM_OK && data) {
			if (pages > most)
				pages = most;
			status = move_pages(move, extent, at, (uint32_t)pages,
			    region);
		}
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

enum pm_status
pm_move_run(struct pm_move *move)
{
	const struct pm_layout *old = move->from->layout;
	enum pm_status status = PM_OK;

	move->was = move->known != NULL ? move->known->id
	    : id_of_regions(move->from);
	move->is = id_of_regions(move->to);
	for (size_t i = 0; i < old->extents && status == PM_OK; i++)
		status = move_extent(move, &old->extent[i]);
	return status;
}

enum pm_status
pm_move_table(struct pm_move *move)
{
	const struct pm_table *known = move->known;
	struct pm_table *table = move->table;
	struct pm_holes holes = { 0 };
	enum pm_status status = PM_OK;
	uint64_t at = known->data, until;

	move->was = known->id;
	move->is = pm_digest_add(id_of_regions(move->to),
	    pm_digest_subtract(known->id, id_of_regions(move->from)));
	while (at < known->size && status == PM_OK) {
		int hole = pm_holes_at(&holes, known->fd, known->size, at,
		    &until);
		size_t now = until - at < PM_PAYLOAD_MAX
		    ? (size_t)(until - at) : PM_PAYLOAD_MAX;

		if (!hole) {
			status = pm_fd_pread(known->fd, move->buf, now, at);
			if (status == PM_OK)
				status = pm_fd_pwrite(table->fd, move->buf,
				    now, table->data + (at - known->data));
		}
		at = hole ? until : at + now;
	}
	return status == PM_OK ? PM_OK : pm_fault_set(table->fault,
	    PM_ERR_WRITE, table->path, "%s", pm_status_text(status));
}
