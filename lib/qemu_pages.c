/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_pages.h"
#include "xbzrle.h"

#define XBZRLE_SHIFT_MAX	14	/* QEMU's lengths have as many bits */
#define XBZRLE_FLAG		1	/* the only encoding there is */

/* One record, and where it is looked at. */
struct work {
	struct pm_qemu_pages *pages;
	struct pm_qemu *qemu;
	const struct pm_record *rec;
	struct pm_qemu_out *out;
	uint32_t block;
	uint64_t key;
	size_t size;			/* of a page */
	struct pm_digest digest;	/* of all pages of known content */
	int has_unknown, has_unsent;
};

enum pm_status
pm_qemu_pages_open(struct pm_qemu_pages *pages, const struct pm_qemu *qemu,
    struct pm_fault *fault)
{
	enum pm_status status;

	pages->fault = fault;
	status = pm_qemu_memory_open(&pages->memory, qemu, fault);
	pages->page = malloc(PM_PAYLOAD_MAX);
	if (status != PM_OK || (pages->page != NULL &&
	    pm_bitmap_open(&pages->sent, pages->memory.pages) == PM_OK &&
	    pm_bitmap_open(&pages->unknown, pages->memory.pages) == PM_OK))
		return status;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

void
pm_qemu_pages_close(struct pm_qemu_pages *pages)
{
	pm_qemu_memory_close(&pages->memory);
	pm_bitmap_close(&pages->sent);
	pm_bitmap_close(&pages->unknown);
	free(pages->page);
	*pages = (struct pm_qemu_pages){ .fault = pages->fault };
}

static uint64_t
at_of(const struct work *work, uint64_t page)
{
	return pm_qemu_memory_at(&work->pages->memory, work->block, page);
}

static enum pm_status
remember(struct work *work, uint64_t page, struct pm_digest content)
{
	pm_bitmap_clear(&work->pages->unknown, at_of(work, page));
	return pm_qemu_memory_set(&work->pages->memory, work->block, page,
	    content, NULL);
}

/* QEMU makes something of a page that is not known here. */
static enum pm_status
lose(struct work *work, uint64_t page)
{
	pm_bitmap_set(&work->pages->unknown, at_of(work, page));
	return pm_qemu_memory_set(&work->pages->memory, work->block, page,
	    (struct pm_digest){ 0, 0 }, NULL);
}

enum pm_status
pm_qemu_pages_name(struct pm_qemu_pages *pages, struct pm_qemu *qemu,
    struct pm_qemu_out *out)
{
	const uint8_t nothing[3] = { XBZRLE_FLAG, 0, 0 };
	uint8_t head[PM_QEMU_HEAD_MAX + sizeof(nothing)];
	uint64_t at, base = pm_qemu_memory_at(&pages->memory, qemu->last, 0);
	uint64_t end = base + pm_qemu_memory_pages(&pages->memory,
	    qemu->last);
	size_t size;

	at = pm_bitmap_next(&pages->sent, base, end);
	if (at == end || qemu->page_shift > XBZRLE_SHIFT_MAX)
		return pm_fault_set(pages->fault, PM_ERR_REFUSED, NULL,
		    "what is not understood can't follow pages that were "
		    "left out: put pm-delta -d before");
	size = pm_qemu_put_page(qemu, PM_QEMU_XBZRLE, qemu->last, at - base,
	    head);
	memcpy(head + size, nothing, sizeof(nothing));
	return pm_qemu_out_copy(out, head, size + sizeof(nothing));
}

int
pm_qemu_pages_tell(const struct pm_qemu_pages *pages,
    const struct pm_record *rec, uint32_t block)
{
	for (uint32_t i = 0; i < rec->entries; i++) {
		struct pm_entry entry = rec->entry[i];
		uint64_t at = pm_qemu_memory_at(&pages->memory, block,
		    rec->first + entry.page);
		uint64_t end = at + pm_entry_pages(entry);

		if (pm_entry_kind(entry) != PM_GONE ||
		    pm_bitmap_next(&pages->sent, at, end) != end)
			return 1;
	}
	return 0;
}

static int
is_sent(const struct work *work, uint64_t page)
{
	return pm_bitmap_test(&work->pages->sent, at_of(work, page));
}

static enum pm_status
fail_page(struct work *work, uint64_t page, enum pm_status status,
    const char *why)
{
	return pm_fault_set(work->pages->fault, status, NULL,
	    "page %" PRIu64 " of region %" PRIu32 " %s", page,
	    work->rec->region, why);
}

static void
add_known(struct work *work, uint64_t page, struct pm_digest content)
{
	work->digest = pm_digest_add(work->digest, pm_hash_page(content,
	    work->key, page));
}

/* A delta that decodes has lengths of at most three bytes; QEMU takes two. */
static int
qemu_decodes(const uint8_t *in, uint32_t length)
{
	for (uint32_t at = 0, run = 0; at < length; run++) {
		uint32_t count = in[at] & 0x7f;

		if ((in[at++] & 0x80) != 0) {
			if ((in[at] & 0x80) != 0)
				return 0;
			count |= (uint32_t)in[at++] << 7;
		}
		at += run % 2 == 1 ? count : 0;
	}
	return 1;
}

/* Whether a delta is one; made against zeroes, it becomes a page. */
static enum pm_status
look_at_delta(struct work *work, uint64_t page, const uint8_t *in,
    uint32_t length, uint32_t at)
{
	struct pm_qemu_pages *pages = work->pages;
	uint8_t *out = pages->page + at * work->size;

	memset(out, 0, work->size);
	if (pm_xbzrle_decode(out, work->size, in, length, NULL) != PM_OK)
		return fail_page(work, page, PM_ERR_CORRUPT,
		    "is a delta that does not decode");
	if (is_sent(work, page)) {
		work->has_unknown = 1;
		if (work->qemu->page_shift > XBZRLE_SHIFT_MAX)
			return fail_page(work, page, PM_ERR_REFUSED, "is a "
			    "delta, and too large for QEMU to take it: put "
			    "pm-delta -d before");
		return qemu_decodes(in, length) ? PM_OK : fail_page(work,
		    page, PM_ERR_CORRUPT, "is a delta that QEMU does not "
		    "decode");
	}
	work->has_unsent = 1;
	pages->content[at] = pm_hash_content(out, work->size);
	add_known(work, page, pages->content[at]);
	return PM_OK;
}

static void
look_at_same(struct work *work, uint64_t page, uint64_t count)
{
	const struct pm_qemu_pages *pages = work->pages;

	for (; count > 0; page++, count--) {
		work->has_unsent |= !is_sent(work, page);
		if (pm_bitmap_test(&pages->unknown, at_of(work, page)))
			work->has_unknown = 1;
		else
			add_known(work, page, pm_qemu_memory_get(
			    &pages->memory, work->block, page));
	}
}

/* All pages, before any of them is written. */
static enum pm_status
look(struct work *work)
{
	const struct pm_record *rec = work->rec;
	const uint8_t *in = rec->payload;
	enum pm_status status = PM_OK;
	uint32_t at = 0;

	for (uint32_t i = 0; i < rec->entries && status == PM_OK; i++) {
		struct pm_entry entry = rec->entry[i];
		uint64_t page = rec->first + entry.page;

		if (pm_entry_kind(entry) == PM_RAW) {
			work->pages->content[at] = pm_hash_content(in,
			    work->size);
			add_known(work, page, work->pages->content[at++]);
		} else if (pm_entry_kind(entry) == PM_DELTA)
			status = look_at_delta(work, page, in,
			    pm_entry_length(entry), at++);
		else if (pm_entry_kind(entry) == PM_SAME)
			look_at_same(work, page, pm_entry_pages(entry));
		in += pm_entry_bytes(entry);
	}
	if (status != PM_OK)
		return status;
	if (work->has_unknown && work->has_unsent)
		return fail_page(work, rec->first, PM_ERR_CORRUPT, "or one "
		    "behind it depends on content that was not sent");
	if (work->has_unknown || pm_digest_equal(work->digest, rec->digest))
		return PM_OK;
	return fail_page(work, rec->first, PM_ERR_CORRUPT,
	    "and those behind it do not have the digest of their record");
}

static enum pm_status
put(struct work *work, unsigned flag, uint64_t page, const void *bytes,
    size_t size)
{
	uint8_t head[PM_QEMU_HEAD_MAX + 3], *behind;
	size_t used = pm_qemu_put_page(work->qemu, flag, work->block, page,
	    head);
	enum pm_status status;

	behind = head + used;
	if (flag == PM_QEMU_ZERO)
		behind[0] = 0;
	if (flag == PM_QEMU_XBZRLE) {
		behind[0] = XBZRLE_FLAG;
		pm_qemu_put(behind + 1, size, 2);
	}
	used += flag == PM_QEMU_ZERO ? 1 : flag == PM_QEMU_XBZRLE ? 3 : 0;
	status = pm_qemu_out_copy(work->out, head, used);
	if (status == PM_OK && size > 0)
		status = pm_qemu_out_put(work->out, bytes, size);
	pm_bitmap_set(&work->pages->sent, at_of(work, page));
	return status;
}

static enum pm_status
put_delta(struct work *work, uint64_t page, const uint8_t *in,
    uint32_t length, uint32_t at)
{
	struct pm_qemu_pages *pages = work->pages;
	enum pm_status status;

	pages->delta++;
	if (is_sent(work, page)) {
		status = lose(work, page);
		return status != PM_OK ? status : put(work, PM_QEMU_XBZRLE,
		    page, in, length);
	}
	status = remember(work, page, pages->content[at]);
	return status != PM_OK ? status : put(work, PM_QEMU_PAGE, page,
	    pages->page + at * work->size, work->size);
}

/* Zeroes for pages that QEMU holds otherwise, or may do. */
static enum pm_status
put_zeroes(struct work *work, enum pm_kind kind, uint64_t page,
    uint64_t count)
{
	struct pm_qemu_pages *pages = work->pages;
	uint64_t at = at_of(work, page), end = at + count;
	enum pm_status status = PM_OK;

	for (uint64_t i = at; i < end && status == PM_OK; i++) {
		int sent = pm_bitmap_test(&pages->sent, i);

		/* Nothing is held of the whole run: this is one step. */
		if (kind == PM_GONE && !sent) {
			i = pm_bitmap_next(&pages->sent, i, end);
			if (i == end)
				break;
		}
		if (kind == PM_SAME && sent)
			continue;
		if (kind != PM_SAME)
			status = remember(work, page + (i - at),
			    (struct pm_digest){ 0, 0 });
		if (status == PM_OK)
			status = put(work, PM_QEMU_ZERO, page + (i - at),
			    NULL, 0);
	}
	return status;
}

static enum pm_status
put_entry(struct work *work, struct pm_entry entry, const uint8_t *in,
    uint32_t at)
{
	struct pm_qemu_pages *pages = work->pages;
	uint64_t page = work->rec->first + entry.page;
	uint64_t count = pm_entry_pages(entry);
	enum pm_status status;

	switch (pm_entry_kind(entry)) {
	case PM_RAW:
		pages->raw++;
		status = remember(work, page, pages->content[at]);
		return status != PM_OK ? status : put(work, PM_QEMU_PAGE,
		    page, in, work->size);
	case PM_DELTA:
		return put_delta(work, page, in, pm_entry_length(entry), at);
	case PM_SAME:
		pages->same += count;
		break;
	case PM_ZERO:
		pages->zero += count;
		break;
	case PM_GONE:
		pages->gone += count;
		break;
	}
	return put_zeroes(work, pm_entry_kind(entry), page, count);
}

enum pm_status
pm_qemu_pages_put(struct pm_qemu_pages *pages, struct pm_qemu *qemu,
    const struct pm_record *rec, uint32_t block, struct pm_qemu_out *out)
{
	struct work work = {
		.pages = pages, .qemu = qemu, .rec = rec, .out = out,
		.block = block, .key = qemu->block[block].key,
		.size = (size_t)1 << qemu->page_shift,
	};
	const uint8_t *in = rec->payload;
	enum pm_status status = look(&work);
	uint32_t at = 0;

	for (uint32_t i = 0; i < rec->entries && status == PM_OK; i++) {
		if (pm_entry_kind(rec->entry[i]) != PM_GONE)
			pm_qemu_pass_page(qemu, block);
		status = put_entry(&work, rec->entry[i], in, at);
		in += pm_entry_bytes(rec->entry[i]);
		at += pm_entry_has_payload(rec->entry[i]) != 0;
	}
	/* Scratch and payload will be used again. */
	return status != PM_OK ? status : pm_qemu_out_flush(out);
}
