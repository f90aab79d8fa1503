/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "chunk.h"

_Static_assert(PM_CHUNK_PAGES <= 64, "gone has a bit for each page");

struct pm_chunk *
pm_chunk_new(void)
{
	struct pm_chunk *chunk = calloc(1, sizeof(*chunk));

	if (chunk == NULL)
		return NULL;
	chunk->new = aligned_alloc(PM_PAGE_MAX, PM_CHUNK_BYTES);
	chunk->old = aligned_alloc(PM_PAGE_MAX, PM_CHUNK_BYTES);
	if (chunk->new != NULL && chunk->old != NULL)
		return chunk;
	pm_chunk_free(chunk);
	return NULL;
}

void
pm_chunk_free(struct pm_chunk *chunk)
{
	if (chunk == NULL)
		return;
	free(chunk->new);
	free(chunk->old);
	free(chunk);
}

/* Pages that are not there after all are passed over. */
static enum pm_status
read_new(struct pm_chunk *chunk, struct pm_source *source,
    struct pm_fault *fault)
{
	uint32_t at = 0, pages = (uint32_t)chunk->pages, got;

	while (at < pages) {
		enum pm_status status = source->ops->read(source,
		    chunk->region, chunk->page + at, pages - at, chunk->new +
		    ((size_t)at << source->page_shift), &got, fault);

		if (status != PM_OK)
			return status;
		at += got;
		if (at < pages)
			chunk->gone |= UINT64_C(1) << at++;
	}
	return PM_OK;
}

/* What the page holds, and what it held. */
static void
look_at_page(struct pm_chunk *chunk, uint32_t i, size_t page_size,
    int has_base)
{
	const uint8_t *new = chunk->new + i * page_size;
	const uint8_t *old = chunk->old + i * page_size;
	struct pm_digest zero = { 0, 0 };
	int is_there = pm_chunk_has(chunk, i);

	chunk->content[i] = is_there ? pm_hash_content(new, page_size) : zero;
	chunk->hash[i] = pm_hash_page(chunk->content[i], chunk->key,
	    chunk->page + i);
	chunk->to = pm_digest_add(chunk->to, chunk->hash[i]);
	if (!has_base)
		return;
	/* To compare is faster than to hash. */
	if (is_there && memcmp(new, old, page_size) == 0) {
		chunk->was[i] = chunk->content[i];
		chunk->from = pm_digest_add(chunk->from, chunk->hash[i]);
		return;
	}
	chunk->was[i] = pm_hash_content(old, page_size);
	chunk->from = pm_digest_add(chunk->from, pm_hash_page(chunk->was[i],
	    chunk->key, chunk->page + i));
}

enum pm_status
pm_chunk_look(struct pm_chunk *chunk, struct pm_source *source,
    const struct pm_older *older, struct pm_fault *fault)
{
	int has_base = chunk->old_data && older->base != NULL;
	enum pm_status status = PM_OK;

	chunk->gone = 0;
	chunk->to = chunk->from = (struct pm_digest){ 0, 0 };
	if (chunk->kind == PM_SPAN_DATA)
		status = read_new(chunk, source, fault);
	if (status == PM_OK && has_base)
		status = pm_older_read(older, chunk->old_region, chunk->page,
		    (uint32_t)chunk->pages, chunk->old, fault);
	if (status == PM_OK && (chunk->kind == PM_SPAN_DATA || has_base))
		for (uint32_t i = 0; i < chunk->pages; i++)
			look_at_page(chunk, i, (size_t)1 <<
			    source->page_shift, has_base);
	return status;
}
