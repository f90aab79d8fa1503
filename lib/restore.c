/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "outline.h"
#include "resolve.h"
#include "restore.h"

struct pm_restore {
	struct pm_target *target;
	pm_restore_proved *proved;
	void *arg;
	struct pm_fault *fault;
	struct pm_restore_counts counts;

	struct pm_product product;
	struct pm_outline outline;	/* of the stream at hand; who reads
					   may be ahead */
	struct pm_resolve resolve;
	int begun;			/* the target is ready */
	struct pm_digest proved_id;	/* the last one */
};

struct pm_restore *
pm_restore_new(struct pm_target *target, pm_restore_proved *proved,
    void *arg, struct pm_fault *fault)
{
	struct pm_restore *restore = calloc(1, sizeof(*restore));

	if (restore == NULL)
		return NULL;
	restore->target = target;
	restore->proved = proved;
	restore->arg = arg;
	restore->fault = fault;
	pm_product_open(&restore->product, PM_PRODUCT_WHOLE, NULL,
	    target->path, fault);
	if (pm_outline_open(&restore->outline, fault) == PM_OK &&
	    pm_resolve_open(&restore->resolve, restore->outline.region,
	    target, fault) == PM_OK)
		return restore;
	pm_restore_free(restore);
	return NULL;
}

void
pm_restore_free(struct pm_restore *restore)
{
	if (restore == NULL)
		return;
	pm_product_close(&restore->product);
	pm_outline_close(&restore->outline);
	pm_resolve_close(&restore->resolve);
	free(restore);
}

void
pm_restore_make(struct pm_restore *restore, enum pm_product_kind kind,
    const char *region)
{
	pm_product_open(&restore->product, kind, region,
	    restore->target->path, restore->fault);
	pm_target_keep(restore->target);
}

struct pm_restore_counts
pm_restore_counts(const struct pm_restore *restore)
{
	return restore->counts;
}

static enum pm_status
begin(struct pm_restore *restore)
{
	const struct pm_outline *outline = &restore->outline;
	uint32_t needs = outline->stream.needs;
	int late = (needs & PM_NEEDS_LATE_FROM) != 0;
	struct pm_target_plan plan = {
		.fresh = !late && pm_digest_is_zero(outline->stream.from),
		.checked = !late && !pm_digest_is_zero(outline->stream.from),
		.from = outline->stream.from,
		.list = pm_outline_is_process(outline) ? &outline->list
		    : NULL,
	};
	enum pm_status status;

	restore->begun = 1;
	restore->resolve.page_size = (size_t)1 << outline->stream.page_shift;
	plan.layout = pm_product_layout(&restore->product, outline, &status);
	if (status == PM_OK && (!plan.fresh || (needs & PM_NEEDS_DELTA) != 0)
	    && (plan.old_layout = pm_layout_of_blocks(outline->region,
	    outline->regions, outline->stream.page_shift, !plan.fresh))
	    == NULL)
		status = pm_fault_set(restore->fault, PM_ERR_SYSTEM, NULL,
		    "%s", strerror(errno));
	if (status == PM_OK)
		status = pm_target_begin(restore->target, &plan);
	pm_layout_free(plan.layout);
	pm_layout_free(plan.old_layout);
	return status;
}

/* Behind the first page, a list of mappings has ended. */
static enum pm_status
take_list(struct pm_restore *restore)
{
	struct pm_layout *plain;
	enum pm_status status;

	if (!pm_outline_is_process(&restore->outline))
		return PM_OK;
	plain = pm_outline_layout(&restore->outline, &status);
	return plain == NULL ? status : pm_target_remap(restore->target,
	    plain, &restore->outline.list);
}

static enum pm_status
set_table(struct pm_restore *restore, uint32_t region, uint64_t page,
    struct pm_digest content)
{
	struct pm_target *target = restore->target;
	struct pm_place place;

	if (target->table.fd < 0)
		return PM_OK;
	place = pm_layout_find(target->image.layout, region, page);
	if (!place.held)
		return PM_OK;
	return pm_table_set(&target->table, place.slot, content);
}

/* Slots up to the end of these pages are no longer virgin. */
static void
mark_written(struct pm_restore *restore, uint32_t region, uint64_t page,
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

/* What goes out in one call, straight from where it was built or read. */
struct run {
	uint64_t first, page;		/* of it, and behind it */
	struct iovec iov[2 * (PM_PAYLOAD_MAX >> PM_PAGE_SHIFT_MIN)];
	int count;
};

static void
add_pages(struct run *run, const uint8_t *from, size_t size)
{
	struct iovec *next = &run->iov[run->count];

	if (run->count > 0 && (uint8_t *)next[-1].iov_base +
	    next[-1].iov_len == from)
		next[-1].iov_len += size;
	else {
		*next = (struct iovec){ (void *)(uintptr_t)from, size };
		run->count++;
	}
}

/*
 * The pages with content from *at on that follow each other, or have old
 * pages between them that are written again.
 */
static void
collect_run(struct pm_restore *restore, const struct pm_record *rec,
    uint32_t *at, uint32_t *built, struct run *run)
{
	size_t size = restore->resolve.page_size;

	run->first = run->page = rec->first + rec->entry[*at].page;
	run->count = 0;
	for (; *at < rec->entries &&
	    pm_entry_kind(rec->entry[*at]) <= PM_DELTA; (*at)++, (*built)++) {
		uint64_t page = rec->first + rec->entry[*at].page;
		uint64_t gap = page - run->page;
		const uint8_t *old = gap == 0 ? NULL :
		    pm_resolve_gap(&restore->resolve, *built, gap);

		if (gap > 0 && old == NULL)
			break;
		if (gap > 0)
			add_pages(run, old, (size_t)gap * size);
		add_pages(run, restore->resolve.pages + *built * size, size);
		run->page = page + 1;
		(*(pm_entry_kind(rec->entry[*at]) == PM_RAW
		    ? &restore->counts.raw : &restore->counts.delta))++;
	}
}

static enum pm_status
write_run(struct pm_restore *restore, const struct pm_record *rec,
    uint32_t *at, uint32_t *built)
{
	uint32_t first = *at;
	const struct pm_digest *content = restore->resolve.content + *built;
	enum pm_status status;
	struct run run;

	collect_run(restore, rec, at, built, &run);
	status = pm_image_writev(&restore->target->image, rec->region,
	    run.first, run.iov, run.count);
	for (; first < *at && status == PM_OK; first++)
		status = set_table(restore, rec->region, rec->first +
		    rec->entry[first].page, *content++);
	restore->counts.written += (run.page - run.first) *
	    restore->resolve.page_size;
	mark_written(restore, rec->region, run.first, run.page - run.first);
	return status;
}

/* Old pages of a run that becomes zeroes leave the id, data by data. */
static enum pm_status
forget_run(struct pm_restore *restore, const struct pm_record *rec,
    uint64_t page, uint64_t pages)
{
	struct pm_target *target = restore->target;
	size_t size = restore->resolve.page_size;
	uint8_t *old = target->buf;	/* resolve.old is still needed */
	uint64_t now, most = PM_PAYLOAD_MAX / size;

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
			    page, (uint32_t)now, old);
		}
		for (uint64_t i = 0; data && status == PM_OK && i < now; i++) {
			status = pm_resolve_forget(&restore->resolve, rec,
			    page + i, pm_hash_content(old + i * size, size),
			    1);
			if (status == PM_OK)
				status = set_table(restore, rec->region,
				    page + i, (struct pm_digest){ 0, 0 });
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
	int virgin = pm_resolve_is_virgin(&restore->resolve, rec->region,
	    page);
	enum pm_status status = PM_OK;

	if (!virgin)
		status = forget_run(restore, rec, page, pages);
	if (status == PM_OK && !(virgin && target->blank))
		status = pm_image_punch(&target->image, rec->region, page,
		    pages);
	mark_written(restore, rec->region, page, pages);
	return status;
}

static enum pm_status
take_pages(struct pm_restore *restore, const struct pm_record *rec)
{
	enum pm_status status;
	uint32_t built = 0, at = 0;

	if (rec->codec != PM_CODEC_NONE)
		return pm_fault_set(restore->fault, PM_ERR_REFUSED, NULL,
		    "pages are compressed");
	status = pm_resolve_record(&restore->resolve, rec);
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

/* What was written on a device that kept the rest has no id before END. */
static int
knows_id(const struct pm_target *target)
{
	return target->virgin == UINT64_MAX || target->blank;
}

static enum pm_status
check_id(struct pm_restore *restore, struct pm_digest wants)
{
	return pm_generation_check(restore->target->id, wants,
	    PM_ERR_MISMATCH, restore->fault);
}

static enum pm_status
take_round(struct pm_restore *restore, const struct pm_record *rec)
{
	struct pm_round round;
	enum pm_status status = pm_round_unpack(&round, rec, restore->fault);

	if (status != PM_OK || !round.known || !knows_id(restore->target))
		return status;
	return check_id(restore, round.generation);
}

static enum pm_status
tell(struct pm_restore *restore)
{
	return restore->proved == NULL ? PM_OK
	    : restore->proved(restore->arg, restore->proved_id);
}

static enum pm_status
take_end(struct pm_restore *restore, const struct pm_record *rec)
{
	struct pm_target *target = restore->target;
	char is[PM_DIGEST_TEXT], wants[PM_DIGEST_TEXT];
	struct pm_end end;
	enum pm_status status = pm_end_unpack(&end, rec, restore->fault);

	if (status != PM_OK)
		return status;
	if ((restore->outline.stream.needs & PM_NEEDS_LATE_FROM) != 0 &&
	    !pm_digest_equal(target->old_id, end.from)) {
		pm_digest_text(target->old_id, is);
		pm_digest_text(end.from, wants);
		return pm_fault_set(restore->fault, PM_ERR_MISMATCH,
		    target->path, "holds generation %s, the stream starts "
		    "from %s", is, wants);
	}
	/* A device kept what no page of the stream was written over. */
	if (!knows_id(target))
		status = pm_image_id(&target->image, restore->resolve.old,
		    &target->id);
	if (status != PM_OK ||
	    (status = check_id(restore, end.to)) != PM_OK)
		return status;
	if ((status = pm_target_settle(target, &restore->outline.list))
	    != PM_OK)
		return status;
	restore->begun = 0;
	restore->counts.generations++;
	restore->proved_id = end.to;
	if ((status = pm_target_commit(target)) != PM_OK)
		return status;
	return target->is_kept ? PM_OK : tell(restore);
}

enum pm_status
pm_restore_finish(struct pm_restore *restore, int broke)
{
	struct pm_target *target = restore->target;
	enum pm_status status;
	uint64_t size = 0;

	if (target->kept.fd < 0 ||
	    (broke && !pm_product_outlives(&restore->product)))
		return PM_OK;
	status = pm_product_make(&restore->product, &target->old, &size);
	if (status == PM_OK)
		status = pm_target_finish(target, size);
	return status == PM_OK ? tell(restore) : status;
}

enum pm_status
pm_restore_take(struct pm_restore *restore, const struct pm_record *rec)
{
	int listed = restore->outline.listing && rec->type != PM_TYPE_MAP;
	enum pm_status status = PM_OK;

	if (listed && restore->begun)
		status = take_list(restore);
	if (status == PM_OK)
		status = pm_outline_take(&restore->outline, rec);
	if (status == PM_OK)
		status = pm_product_take(&restore->product, rec);
	if (status != PM_OK || (rec->type != PM_TYPE_PAGES &&
	    rec->type != PM_TYPE_ROUND && rec->type != PM_TYPE_END))
		return status;
	if (!restore->begun && (status = begin(restore)) != PM_OK)
		return status;
	return rec->type == PM_TYPE_PAGES ? take_pages(restore, rec)
	    : rec->type == PM_TYPE_ROUND ? take_round(restore, rec)
	    : take_end(restore, rec);
}
