/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"
#include "xbzrle.h"

enum pm_status
pm_resolve_open(struct pm_resolve *resolve, const struct pm_region *region,
    struct pm_target *target, struct pm_fault *fault)
{
	void *old;

	*resolve = (struct pm_resolve){ .region = region, .target = target,
	    .fault = fault };
	/* Every page with content may come with a gap. */
	if (posix_memalign(&old, PM_PAGE_MAX, (1 + PM_RESOLVE_GAP) *
	    PM_PAYLOAD_MAX) == 0)
		resolve->old = old;
	resolve->new = pm_record_buffer();
	return resolve->old != NULL && resolve->new != NULL ? PM_OK
	    : PM_ERR_SYSTEM;
}

void
pm_resolve_close(struct pm_resolve *resolve)
{
	free(resolve->old);
	free(resolve->new);
	resolve->old = resolve->new = NULL;
}

/* Pages of the region, in words, for a message. */
static enum pm_status
fail_pages(struct pm_resolve *resolve, enum pm_status status,
    const struct pm_record *rec, uint64_t page, uint64_t pages,
    const char *what)
{
	return pm_fault_set(resolve->fault, status, NULL,
	    "region %.64s, pages %" PRIu64 " to %" PRIu64 ": %s",
	    resolve->region[rec->region].name, page,
	    page + pages - 1, what);
}

int
pm_resolve_is_virgin(const struct pm_resolve *resolve, uint32_t region,
    uint64_t page)
{
	struct pm_place place;

	if (resolve->target->virgin == UINT64_MAX)
		return 0;
	place = pm_layout_find(resolve->target->image.layout, region, page);
	return place.held && place.slot >= resolve->target->virgin;
}

enum pm_status
pm_resolve_forget(struct pm_resolve *resolve, const struct pm_record *rec,
    uint64_t page, struct pm_digest content, int leaves)
{
	struct pm_target *target = resolve->target;
	uint64_t key = resolve->region[rec->region].key;

	if (target->table.fd >= 0) {
		struct pm_place place = pm_layout_find(target->image.layout,
		    rec->region, page);
		struct pm_digest known = content;
		enum pm_status status = PM_OK;

		if (place.held)
			status = pm_table_get(&target->table, place.slot,
			    &known);
		if (status != PM_OK)
			return status;
		if (!pm_digest_equal(known, content))
			return fail_pages(resolve, PM_ERR_MISMATCH, rec, page,
			    1, "changed in the target since its table was "
			    "made");
	}
	if (leaves)
		target->id = pm_digest_subtract(target->id,
		    pm_hash_page(content, key, page));
	return PM_OK;
}

struct walk {
	const struct pm_record *rec;
	uint32_t from;			/* bytes of payload passed */
	uint32_t built;			/* RAW and DELTA pages so far */
	int copying;			/* they are built in new */
	struct pm_digest digest;
	struct pm_digest added;		/* to the id, by RAW and DELTA */
};

/* The last page of a region holds nothing behind its end. */
static int
has_tail(const struct pm_resolve *resolve, const struct pm_record *rec,
    uint64_t page, const uint8_t *content)
{
	uint64_t length = resolve->region[rec->region].length;
	uint64_t at = page * resolve->page_size;

	for (uint64_t i = length > at ? length - at : 0;
	    i < resolve->page_size; i++)
		if (content[i] != 0)
			return 1;
	return 0;
}

/* One page of an entry; old is what the target holds there, or NULL. */
static enum pm_status
resolve_page(struct pm_resolve *resolve, struct walk *walk,
    struct pm_entry entry, uint64_t page, const uint8_t *old)
{
	const struct pm_record *rec = walk->rec;
	uint64_t key = resolve->region[rec->region].key;
	enum pm_kind kind = pm_entry_kind(entry);
	size_t size = resolve->page_size;
	uint8_t *to = resolve->new + walk->built * size;
	const uint8_t *content = rec->payload + walk->from;
	struct pm_digest digest, hash;

	if (kind == PM_SAME)
		content = old;
	else if (kind == PM_DELTA) {
		memcpy(to, old, size);
		if (pm_xbzrle_decode(to, size, content,
		    pm_entry_length(entry), NULL) != PM_OK)
			return fail_pages(resolve, PM_ERR_CORRUPT, rec, page,
			    1, "delta does not decode");
		content = to;
	} else if (walk->copying) {
		memcpy(to, content, size);
		content = to;
	}
	digest = pm_hash_content(content, size);
	hash = pm_hash_page(digest, key, page);
	walk->digest = pm_digest_add(walk->digest, hash);
	if (kind == PM_SAME)
		return PM_OK;
	if (has_tail(resolve, rec, page, content))
		return fail_pages(resolve, PM_ERR_CORRUPT, rec, page, 1,
		    "bytes stand behind the end of the region");
	walk->added = pm_digest_add(walk->added, hash);
	walk->from += pm_entry_length(entry);
	resolve->content[walk->built] = digest;
	resolve->old_at[walk->built++] = (uint32_t)((size_t)(old -
	    resolve->old) / size);
	return PM_OK;
}

/*
 * The entries with content from *at on whose pages follow each other, or
 * nearly so, as one run: what the target holds is read at once.
 */
static enum pm_status
resolve_run(struct pm_resolve *resolve, struct walk *walk, uint32_t *at)
{
	const struct pm_record *rec = walk->rec;
	uint64_t first = rec->first + rec->entry[*at].page, page = first;
	size_t size = resolve->page_size;
	uint8_t *base = resolve->old + resolve->old_pages * size;
	uint32_t end = *at;
	enum pm_status status = PM_OK;
	int virgin = pm_resolve_is_virgin(resolve, rec->region, first);

	while (end < rec->entries && pm_entry_kind(rec->entry[end]) <= PM_SAME
	    && rec->first + rec->entry[end].page - page <=
	    (end == *at || virgin ? 0 : PM_RESOLVE_GAP)) {
		page = rec->first + rec->entry[end].page +
		    pm_entry_pages(rec->entry[end]);
		end++;
	}
	if (virgin)
		memset(base, 0, (size_t)(page - first) * size);
	else
		status = pm_image_read(&resolve->target->image, rec->region,
		    first, (uint32_t)(page - first), base);
	resolve->old_pages += (uint32_t)(page - first);
	for (; status == PM_OK && *at < end; (*at)++) {
		struct pm_entry entry = rec->entry[*at];
		int leaves = pm_entry_kind(entry) != PM_SAME;

		page = rec->first + entry.page;
		for (uint32_t i = 0; i < pm_entry_pages(entry) &&
		    status == PM_OK; i++, page++) {
			const uint8_t *old = base + (page - first) * size;

			status = resolve_page(resolve, walk, entry, page,
			    old);
			if (status == PM_OK && !virgin)
				status = pm_resolve_forget(resolve, rec, page,
				    pm_hash_content(old, size), leaves);
		}
	}
	return status;
}

uint8_t *
pm_resolve_gap(const struct pm_resolve *resolve, uint32_t built, uint64_t gap)
{
	size_t size = resolve->page_size;
	uint8_t *old;

	/*
	 * In one run, old pages are as far apart as the pages are.  What a
	 * clone shares with the old file is not written: it would be copied.
	 */
	if (gap > PM_RESOLVE_GAP || built == 0 || resolve->target->cloned ||
	    resolve->old_at[built] != resolve->old_at[built - 1] + 1 + gap)
		return NULL;
	old = resolve->old + (resolve->old_at[built] - (size_t)gap) * size;
	for (uint64_t i = 0; i < gap; i++)
		if (pm_hash_is_zero(old + i * size, size))
			return NULL;
	return old;
}

static int
has_delta(const struct pm_record *rec)
{
	for (uint32_t i = 0; i < rec->entries; i++)
		if (pm_entry_kind(rec->entry[i]) == PM_DELTA)
			return 1;
	return 0;
}

enum pm_status
pm_resolve_record(struct pm_resolve *resolve, const struct pm_record *rec)
{
	struct walk walk = { .rec = rec, .copying = has_delta(rec) };
	enum pm_status status = PM_OK;
	int leans = 0;

	resolve->old_pages = 0;
	for (uint32_t at = 0; at < rec->entries && status == PM_OK;) {
		enum pm_kind kind = pm_entry_kind(rec->entry[at]);

		leans |= kind == PM_DELTA || kind == PM_SAME;
		if (kind <= PM_SAME)
			status = resolve_run(resolve, &walk, &at);
		else
			at++;
	}
	if (status != PM_OK)
		return status;
	if (!pm_digest_equal(walk.digest, rec->digest))
		return fail_pages(resolve, leans ? PM_ERR_MISMATCH
		    : PM_ERR_CORRUPT, rec, rec->first, pm_record_span(rec),
		    leans ? "are not what the stream's deltas start from, or "
		    "were damaged on the way" : "were damaged on the way");
	resolve->target->id = pm_digest_add(resolve->target->id, walk.added);
	resolve->pages = walk.copying ? resolve->new : rec->payload;
	return PM_OK;
}
