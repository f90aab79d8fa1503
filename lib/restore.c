/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "restore.h"
#include "xbzrle.h"

struct pm_restore {
	const struct pm_reader *reader;
	struct pm_target *target;
	pm_restore_proved *proved;
	void *arg;
	struct pm_fault *fault;
	struct pm_restore_counts counts;

	struct pm_decoders *decoders;
	uint8_t *spare;			/* of the decoders */
	uint8_t *old;			/* pages as the target holds them */
	uint8_t *new;			/* pages of a record with deltas */
	const uint8_t *pages;		/* RAW and DELTA of the record, in
					   order: its payload, or new */
	struct pm_maplist list;		/* of the stream, if a process */
	int listing;			/* the record before was a mapping */
	int begun;			/* the target is ready */
	size_t page_size;
};

struct pm_restore *
pm_restore_new(const struct pm_reader *reader, struct pm_target *target,
    pm_restore_proved *proved, void *arg, struct pm_fault *fault)
{
	struct pm_restore *restore = calloc(1, sizeof(*restore));

	if (restore == NULL)
		return NULL;
	restore->reader = reader;
	restore->target = target;
	restore->proved = proved;
	restore->arg = arg;
	restore->fault = fault;
	restore->decoders = pm_decoders_new();
	restore->spare = pm_record_buffer();
	restore->old = pm_record_buffer();
	restore->new = pm_record_buffer();
	if (restore->decoders != NULL && restore->spare != NULL &&
	    restore->old != NULL && restore->new != NULL)
		return restore;
	pm_restore_free(restore);
	return NULL;
}

void
pm_restore_free(struct pm_restore *restore)
{
	if (restore == NULL)
		return;
	pm_decoders_free(restore->decoders);
	pm_maplist_clear(&restore->list);
	free(restore->spare);
	free(restore->old);
	free(restore->new);
	free(restore);
}

struct pm_restore_counts
pm_restore_counts(const struct pm_restore *restore)
{
	return restore->counts;
}

static enum pm_status
no_memory(struct pm_restore *restore)
{
	return pm_fault_set(restore->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

/* A list is the MAP records that follow each other; a later one replaces. */
static enum pm_status
take_map(struct pm_restore *restore, const struct pm_record *rec)
{
	struct pm_mapping mapping;
	enum pm_status status;
	uint32_t at = 0;

	if (restore->begun)
		return pm_fault_set(restore->fault, PM_ERR_REFUSED, NULL,
		    "mappings change behind the first page");
	if (!restore->listing)
		pm_maplist_clear(&restore->list);
	restore->listing = 1;
	while ((status = pm_mapping_unpack(&mapping, rec, &at,
	    restore->fault)) == PM_OK)
		if ((status = pm_maplist_add(&restore->list, &mapping))
		    != PM_OK)
			return status == PM_ERR_SYSTEM ? no_memory(restore) :
			    pm_fault_set(restore->fault, status, NULL,
			    "mappings descend, overlap, or are too many");
	return status == PM_END ? PM_OK : status;
}

/* Where the pages of this stream go. */
static enum pm_status
plan_process(struct pm_restore *restore, struct pm_target_plan *plan)
{
	const struct pm_reader *reader = restore->reader;

	if (reader->regions != 1)
		return pm_fault_set(restore->fault, PM_ERR_REFUSED, NULL,
		    "a process stands beside other regions");
	if (restore->list.count == 0)
		return pm_fault_set(restore->fault, PM_ERR_REFUSED, NULL,
		    "a process without its mappings makes no core file");
	plan->list = &restore->list;
	plan->layout = pm_maplist_layout(restore->list.mapping,
	    restore->list.count, reader->region, reader->stream.page_shift);
	if (plan->layout == NULL && errno == EINVAL)
		return pm_fault_set(restore->fault, PM_ERR_CORRUPT, NULL,
		    "a mapping lies outside the region");
	return plan->layout != NULL ? PM_OK : no_memory(restore);
}

static enum pm_status
plan_blocks(struct pm_restore *restore, struct pm_target_plan *plan)
{
	const struct pm_reader *reader = restore->reader;

	for (uint32_t i = 0; i < reader->regions; i++)
		if (reader->region[i].kind != PM_REGION_BLOCK)
			return pm_fault_set(restore->fault, PM_ERR_REFUSED,
			    NULL, "a process stands beside other regions");
	plan->layout = pm_layout_of_blocks(reader->region, reader->regions,
	    reader->stream.page_shift, 0);
	return plan->layout != NULL ? PM_OK : no_memory(restore);
}

static enum pm_status
begin(struct pm_restore *restore)
{
	const struct pm_reader *reader = restore->reader;
	uint32_t needs = reader->stream.needs;
	int late = (needs & PM_NEEDS_LATE_FROM) != 0;
	struct pm_target_plan plan = {
		.fresh = !late && pm_digest_is_zero(reader->stream.from),
		.checked = !late && !pm_digest_is_zero(reader->stream.from),
		.from = reader->stream.from,
	};
	enum pm_status status;

	restore->begun = 1;
	restore->page_size = (size_t)1 << reader->stream.page_shift;
	status = reader->regions > 0 &&
	    reader->region[0].kind == PM_REGION_PROCESS
	    ? plan_process(restore, &plan) : plan_blocks(restore, &plan);
	if (status == PM_OK && (!plan.fresh || (needs & PM_NEEDS_DELTA) != 0)
	    && (plan.old_layout = pm_layout_of_blocks(reader->region,
	    reader->regions, reader->stream.page_shift, !plan.fresh)) == NULL)
		status = no_memory(restore);
	if (status == PM_OK)
		status = pm_target_begin(restore->target, &plan);
	pm_layout_free(plan.layout);
	pm_layout_free(plan.old_layout);
	return status;
}

/* Pages of the region, in words, for a message. */
static enum pm_status
fail_pages(struct pm_restore *restore, enum pm_status status,
    const struct pm_record *rec, uint64_t page, uint64_t pages,
    const char *what)
{
	return pm_fault_set(restore->fault, status, NULL,
	    "region %.64s, pages %" PRIu64 " to %" PRIu64 ": %s",
	    restore->reader->region[rec->region].name, page,
	    page + pages - 1, what);
}

/* The slot of a page that was never written, whose content is no news. */
static int
is_virgin(const struct pm_restore *restore, uint32_t region, uint64_t page)
{
	struct pm_place place;

	if (restore->target->virgin == UINT64_MAX)
		return 0;
	place = pm_layout_find(restore->target->image.layout, region, page);
	return place.held && place.slot >= restore->target->virgin;
}

/*
 * An old page leaves the id.  Where there is a table it must be the page
 * that the table knows: else somebody changed it behind our back.
 */
static enum pm_status
forget_old(struct pm_restore *restore, const struct pm_record *rec,
    uint64_t page, struct pm_digest content, int leaves)
{
	struct pm_target *target = restore->target;
	uint64_t key = restore->reader->region[rec->region].key;

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
			return fail_pages(restore, PM_ERR_MISMATCH, rec, page,
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
has_tail(const struct pm_restore *restore, const struct pm_record *rec,
    uint64_t page, const uint8_t *content)
{
	uint64_t length = restore->reader->region[rec->region].length;
	uint64_t at = page * restore->page_size;

	for (uint64_t i = length > at ? length - at : 0;
	    i < restore->page_size; i++)
		if (content[i] != 0)
			return 1;
	return 0;
}

/* One page of an entry; old is what the target holds there, or NULL. */
static enum pm_status
resolve(struct pm_restore *restore, struct walk *walk,
    struct pm_entry entry, uint64_t page, const uint8_t *old)
{
	const struct pm_record *rec = walk->rec;
	uint64_t key = restore->reader->region[rec->region].key;
	enum pm_kind kind = pm_entry_kind(entry);
	size_t size = restore->page_size;
	uint8_t *to = restore->new + walk->built * size;
	const uint8_t *content = rec->payload + walk->from;
	struct pm_digest hash;

	if (kind == PM_SAME)
		content = old;
	else if (kind == PM_DELTA) {
		memcpy(to, old, size);
		if (pm_xbzrle_decode(to, size, content,
		    pm_entry_length(entry), NULL) != PM_OK)
			return fail_pages(restore, PM_ERR_CORRUPT, rec, page,
			    1, "delta does not decode");
		content = to;
	} else if (walk->copying) {
		memcpy(to, content, size);
		content = to;
	}
	hash = pm_hash_page(pm_hash_content(content, size), key, page);
	walk->digest = pm_digest_add(walk->digest, hash);
	if (kind == PM_SAME)
		return PM_OK;
	if (has_tail(restore, rec, page, content))
		return fail_pages(restore, PM_ERR_CORRUPT, rec, page, 1,
		    "bytes stand behind the end of the region");
	walk->added = pm_digest_add(walk->added, hash);
	walk->from += pm_entry_length(entry);
	walk->built++;
	return PM_OK;
}

/*
 * The entries with content from *at on whose pages follow each other, as
 * one run: what the target holds is read at once.
 */
static enum pm_status
resolve_run(struct pm_restore *restore, struct walk *walk, uint32_t *at)
{
	const struct pm_record *rec = walk->rec;
	uint64_t first = rec->first + rec->entry[*at].page, page = first;
	size_t size = restore->page_size;
	uint32_t end = *at;
	enum pm_status status = PM_OK;
	int virgin = is_virgin(restore, rec->region, first);

	while (end < rec->entries && pm_entry_kind(rec->entry[end]) <= PM_SAME
	    && rec->first + rec->entry[end].page == page)
		page += pm_entry_pages(rec->entry[end++]);
	if (virgin)
		memset(restore->old, 0, (size_t)(page - first) * size);
	else
		status = pm_image_read(&restore->target->image, rec->region,
		    first, (uint32_t)(page - first), restore->old);
	for (page = first; status == PM_OK && *at < end; (*at)++) {
		struct pm_entry entry = rec->entry[*at];
		int leaves = pm_entry_kind(entry) != PM_SAME;

		for (uint32_t i = 0; i < pm_entry_pages(entry) &&
		    status == PM_OK; i++, page++) {
			const uint8_t *old = restore->old + (page - first) *
			    size;

			status = resolve(restore, walk, entry, page, old);
			if (status == PM_OK && !virgin)
				status = forget_old(restore, rec, page,
				    pm_hash_content(old, size), leaves);
		}
	}
	return status;
}

static int
has_delta(const struct pm_record *rec)
{
	for (uint32_t i = 0; i < rec->entries; i++)
		if (pm_entry_kind(rec->entry[i]) == PM_DELTA)
			return 1;
	return 0;
}

/* Work out and check every page with content; nothing is written. */
static enum pm_status
verify(struct pm_restore *restore, const struct pm_record *rec)
{
	struct walk walk = { .rec = rec, .copying = has_delta(rec) };
	enum pm_status status = PM_OK;
	int leans = 0;

	for (uint32_t at = 0; at < rec->entries && status == PM_OK;) {
		enum pm_kind kind = pm_entry_kind(rec->entry[at]);

		leans |= kind == PM_DELTA || kind == PM_SAME;
		if (kind <= PM_SAME)
			status = resolve_run(restore, &walk, &at);
		else
			at++;
	}
	if (status != PM_OK)
		return status;
	if (!pm_digest_equal(walk.digest, rec->digest))
		return fail_pages(restore, leans ? PM_ERR_MISMATCH
		    : PM_ERR_CORRUPT, rec, rec->first, pm_record_span(rec),
		    leans ? "are not what the stream's deltas start from, or "
		    "were damaged on the way" : "were damaged on the way");
	restore->target->id = pm_digest_add(restore->target->id, walk.added);
	restore->pages = walk.copying ? restore->new : rec->payload;
	return PM_OK;
}

static enum pm_status
set_table(struct pm_restore *restore, uint32_t region, uint64_t page,
    const uint8_t *content)
{
	struct pm_target *target = restore->target;
	struct pm_place place;

	if (target->table.fd < 0)
		return PM_OK;
	place = pm_layout_find(target->image.layout, region, page);
	if (!place.held)
		return PM_OK;
	return pm_table_set(&target->table, place.slot, content == NULL
	    ? (struct pm_digest){ 0, 0 }
	    : pm_hash_content(content, restore->page_size));
}

/* Slots up to the end of these pages are no longer virgin. */
static void
deflower(struct pm_restore *restore, uint32_t region, uint64_t page,
    uint64_t pages)
{
	struct pm_target *target = restore->target;
	struct pm_place place;

	if (target->virgin == UINT64_MAX || pages == 0)
		return;
	place = pm_layout_find(target->image.layout, region,
	    page + pages - 1);
	if (place.held && place.slot >= target->virgin)
		target->virgin = place.slot + 1;
}

/* Pages with content go out in runs, straight from where they were built. */
static enum pm_status
write_run(struct pm_restore *restore, const struct pm_record *rec,
    uint32_t *at, uint32_t *built)
{
	uint64_t first = rec->first + rec->entry[*at].page;
	const uint8_t *from = restore->pages + *built * restore->page_size;
	uint32_t pages = 0;
	enum pm_status status = PM_OK;

	while (*at < rec->entries &&
	    pm_entry_kind(rec->entry[*at]) <= PM_DELTA &&
	    rec->first + rec->entry[*at].page == first + pages) {
		(*(pm_entry_kind(rec->entry[*at]) == PM_RAW
		    ? &restore->counts.raw : &restore->counts.delta))++;
		(*at)++;
		(*built)++;
		pages++;
	}
	status = pm_image_write(&restore->target->image, rec->region, first,
	    pages, from);
	for (uint32_t i = 0; i < pages && status == PM_OK; i++)
		status = set_table(restore, rec->region, first + i,
		    from + i * restore->page_size);
	restore->counts.written += pages * restore->page_size;
	deflower(restore, rec->region, first, pages);
	return status;
}

/* Old pages of a run that becomes zeroes leave the id, data by data. */
static enum pm_status
forget_run(struct pm_restore *restore, const struct pm_record *rec,
    uint64_t page, uint64_t pages)
{
	struct pm_target *target = restore->target;
	uint32_t most = PM_PAYLOAD_MAX / (uint32_t)restore->page_size;
	uint64_t now;

	for (; pages > 0; page += now, pages -= now) {
		enum pm_status status;
		int data;

		status = pm_image_span(&target->image, rec->region, page,
		    &data, &now);
		if (now > pages)
			now = pages;
		if (status == PM_OK && data) {
			if (now > most)
				now = most;
			status = pm_image_read(&target->image, rec->region,
			    page, (uint32_t)now, restore->old);
		}
		for (uint64_t i = 0; data && status == PM_OK && i < now; i++) {
			status = forget_old(restore, rec, page + i,
			    pm_hash_content(restore->old +
			    i * restore->page_size, restore->page_size), 1);
			if (status == PM_OK)
				status = set_table(restore, rec->region,
				    page + i, NULL);
		}
		if (status != PM_OK)
			return status;
	}
	return PM_OK;
}

static enum pm_status
take_run(struct pm_restore *restore, const struct pm_record *rec,
    uint64_t page, uint64_t pages)
{
	struct pm_target *target = restore->target;
	int virgin = is_virgin(restore, rec->region, page);
	enum pm_status status = PM_OK;

	if (!virgin)
		status = forget_run(restore, rec, page, pages);
	if (status == PM_OK && !(virgin && target->blank))
		status = pm_image_punch(&target->image, rec->region, page,
		    pages);
	deflower(restore, rec->region, page, pages);
	return status;
}

static enum pm_status
take_pages(struct pm_restore *restore, struct pm_record *rec)
{
	enum pm_status status;
	uint32_t built = 0, at = 0;

	status = pm_decoders_undo(restore->decoders, rec, &restore->spare,
	    restore->fault);
	if (status == PM_OK)
		status = verify(restore, rec);
	if (status == PM_OK)
		status = pm_target_touch(restore->target);
	while (at < rec->entries && status == PM_OK) {
		struct pm_entry entry = rec->entry[at];
		uint64_t pages = pm_entry_pages(entry);

		switch (pm_entry_kind(entry)) {
		case PM_RAW:
		case PM_DELTA:
			status = write_run(restore, rec, &at, &built);
			break;
		case PM_SAME:
			restore->counts.same += pages;
			at++;
			break;
		case PM_ZERO:
		case PM_GONE:
			*(pm_entry_kind(entry) == PM_ZERO
			    ? &restore->counts.zero : &restore->counts.gone)
			    += pages;
			status = take_run(restore, rec,
			    rec->first + entry.page, pages);
			at++;
			break;
		}
	}
	return status;
}

static enum pm_status
take_end(struct pm_restore *restore)
{
	const struct pm_end *end = &restore->reader->end;
	struct pm_target *target = restore->target;
	char is[PM_DIGEST_TEXT], wants[PM_DIGEST_TEXT];
	enum pm_status status = PM_OK;

	if ((restore->reader->stream.needs & PM_NEEDS_LATE_FROM) != 0 &&
	    !pm_digest_equal(target->old_id, end->from)) {
		pm_digest_text(target->old_id, is);
		pm_digest_text(end->from, wants);
		return pm_fault_set(restore->fault, PM_ERR_MISMATCH,
		    target->path, "holds generation %s, the stream starts "
		    "from %s", is, wants);
	}
	/* A device kept what no page of the stream was written over. */
	if (target->virgin != UINT64_MAX && !target->blank)
		status = pm_image_id(&target->image, restore->old,
		    &target->id);
	if (status != PM_OK)
		return status;
	if (!pm_digest_equal(target->id, end->to)) {
		pm_digest_text(target->id, is);
		pm_digest_text(end->to, wants);
		return pm_fault_set(restore->fault, PM_ERR_MISMATCH, NULL,
		    "leads to generation %s, not %s as it says", is, wants);
	}
	restore->begun = 0;
	restore->counts.generations++;
	if ((status = pm_target_commit(target)) != PM_OK)
		return status;
	return restore->proved != NULL
	    ? restore->proved(restore->arg, end->to) : PM_OK;
}

enum pm_status
pm_restore_take(struct pm_restore *restore, struct pm_record *rec)
{
	enum pm_status status = PM_OK;

	if (rec->type != PM_TYPE_MAP)
		restore->listing = 0;
	switch (rec->type) {
	case PM_TYPE_STREAM:
		pm_maplist_clear(&restore->list);
		return PM_OK;
	case PM_TYPE_MAP:
		return take_map(restore, rec);
	case PM_TYPE_PAGES:
	case PM_TYPE_ROUND:
	case PM_TYPE_END:
		if (!restore->begun)
			status = begin(restore);
		break;
	case PM_TYPE_OPAQUE:
		return pm_fault_set(restore->fault, PM_ERR_REFUSED, NULL,
		    "holds foreign bytes that an image has no place for");
	}
	if (status == PM_OK && rec->type == PM_TYPE_PAGES)
		status = take_pages(restore, rec);
	if (status == PM_OK && rec->type == PM_TYPE_END)
		status = take_end(restore);
	return status;
}
