/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "qemu.h"

#define FOOTER_SIZE	5u

enum pm_status
pm_qemu_open(struct pm_qemu *qemu, unsigned page_shift)
{
	*qemu = (struct pm_qemu){
		.page_shift = page_shift, .state = PM_QEMU_AT_MAGIC,
		.last = PM_QEMU_NONE, .written = PM_QEMU_NONE,
		.ram_id = PM_QEMU_NONE,
		.has_footers = -1,
		.block = calloc(PM_REGIONS_MAX, sizeof(qemu->block[0])),
	};
	return qemu->block != NULL ? PM_OK : PM_ERR_SYSTEM;
}

void
pm_qemu_close(struct pm_qemu *qemu)
{
	free(qemu->block);
	qemu->block = NULL;
}

static int
is_live(const struct pm_qemu *qemu, uint64_t id)
{
	for (uint32_t i = 0; i < qemu->lives; i++)
		if (qemu->live[i] == id)
			return 1;
	return 0;
}

/* The size of the head of a START or FULL section, or 0 if not all of it. */
static size_t
whole_head(const struct pm_qemu_view *view)
{
	size_t end = pm_qemu_text_end(view, 5);

	return end == 0 || view->size < end + 8 ? 0 : end + 8;
}

/*
 * A head in full: section, name, instance, version.  RAM is the one that is
 * known; another's end is found by its footer, if there are footers.
 */
static struct pm_qemu_token
read_whole_head(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;
	size_t size = whole_head(view);

	if (size == 0)
		return pm_qemu_more();
	qemu->section_id = (uint32_t)pm_qemu_get(view->in + 1, 4);
	qemu->section_type = view->in[0];
	if (qemu->section_type == PM_QEMU_START &&
	    !is_live(qemu, qemu->section_id)) {
		if (qemu->lives == PM_QEMU_LIVE_MAX)
			return pm_qemu_surprise(view,
			    "it has too many live sections");
		qemu->live[qemu->lives++] = qemu->section_id;
	}
	if (qemu->section_type == PM_QEMU_START &&
	    pm_qemu_is_text(view, 5, "ram")) {
		if (qemu->ram_id != PM_QEMU_NONE)
			return pm_qemu_surprise(view, "it has RAM twice");
		if (qemu->section_id == PM_QEMU_NONE ||
		    pm_qemu_get(view->in + size - 4, 4) != 4)
			return pm_qemu_surprise(view,
			    "its RAM is not of version 4");
		qemu->ram_id = qemu->section_id;
		return pm_qemu_bytes(view, size, PM_QEMU_AT_RAM);
	}
	if (qemu->has_footers == 0)
		return pm_qemu_surprise(view, "sections have no footers");
	qemu->others |= qemu->section_type == PM_QEMU_START;
	return pm_qemu_bytes(view, size, PM_QEMU_AT_CROSS);
}

static struct pm_qemu_token
read_part_head(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;

	if (view->size < 5)
		return pm_qemu_more();
	qemu->section_type = view->in[0];
	qemu->section_id = (uint32_t)pm_qemu_get(view->in + 1, 4);
	if (!is_live(qemu, qemu->section_id))
		return pm_qemu_surprise(view,
		    "a section goes on that did not start");
	if (qemu->section_id == qemu->ram_id)
		return pm_qemu_bytes(view, 5, PM_QEMU_AT_RAM);
	return qemu->has_footers == 0
	    ? pm_qemu_surprise(view, "sections have no footers")
	    : pm_qemu_bytes(view, 5, PM_QEMU_AT_CROSS);
}

/* Those that change how the stream goes on are of postcopy and of COLO. */
static struct pm_qemu_token
read_command(struct pm_qemu_view *view)
{
	uint64_t number;

	if (view->size < 5)
		return pm_qemu_more();
	number = pm_qemu_get(view->in + 1, 2);
	if (number >= 4 && number <= 9)
		return pm_qemu_surprise(view,
		    "it goes over to postcopy or COLO");
	view->qemu->left = pm_qemu_get(view->in + 3, 2);
	return pm_qemu_bytes(view, 5, PM_QEMU_AT_SKIP);
}

static struct pm_qemu_token
read_section(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;

	if (qemu->ended) {
		qemu->ended = 0;
		return (struct pm_qemu_token){ .kind = PM_QEMU_IS_BREAK };
	}
	if (view->size < 1)
		return pm_qemu_more();
	switch (view->in[0]) {
	case PM_QEMU_START:
		return read_whole_head(view);
	case PM_QEMU_PART:
	case PM_QEMU_END:
		return read_part_head(view);
	case PM_QEMU_COMMAND:
		return read_command(view);
	case PM_QEMU_FULL:
		if (qemu->ram_id == PM_QEMU_NONE)
			return read_whole_head(view);
		break;
	case PM_QEMU_EOF:
		break;
	default:
		return pm_qemu_surprise(view, "a section is of no known kind");
	}
	if (qemu->ram_id == PM_QEMU_NONE)
		return pm_qemu_surprise(view, "it has no RAM");
	qemu->in_devices = 1;
	qemu->state = PM_QEMU_AT_REST;
	return (struct pm_qemu_token){ .kind = PM_QEMU_IS_REST };
}

static struct pm_qemu_token
skip(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;
	size_t now = view->size < qemu->left ? view->size
	    : (size_t)qemu->left;

	if (qemu->left > 0 && now == 0)
		return pm_qemu_more();
	qemu->left -= now;
	return pm_qemu_bytes(view, now, qemu->left > 0 ? PM_QEMU_AT_SKIP
	    : PM_QEMU_AT_SECTION);
}

/*
 * A page.  QEMU names its block exactly when it is another than that of the
 * page before, which lets that be written again.
 */
static struct pm_qemu_token
read_page(struct pm_qemu_view *view, uint64_t word, unsigned flag)
{
	struct pm_qemu *qemu = view->qemu;
	struct pm_qemu_token token = {
		.kind = flag == PM_QEMU_ZERO ? PM_QEMU_IS_ZERO
		    : PM_QEMU_IS_PAGE,
		.block = qemu->last, .page = word >> qemu->page_shift,
	};
	size_t at = 8;

	if ((word & PM_QEMU_CONTINUE) == 0) {
		if ((at = pm_qemu_text_end(view, 8)) == 0)
			return pm_qemu_more();
		token.block = pm_qemu_find_block(qemu, view->in + 8);
		if (token.block == qemu->last && token.block != PM_QEMU_NONE)
			return pm_qemu_surprise(view,
			    "a page names its block anew");
	}
	if (token.block == PM_QEMU_NONE || token.page >=
	    qemu->block[token.block].length >> qemu->page_shift)
		return pm_qemu_surprise(view,
		    "a page is of no block of the list");
	token.size = at + (flag == PM_QEMU_ZERO ? 1
	    : (size_t)1 << qemu->page_shift);
	if (view->size < token.size)
		return pm_qemu_more();
	if (flag == PM_QEMU_ZERO && view->in[at] != 0)
		return pm_qemu_surprise(view,
		    "a page is filled with another byte");
	token.content = flag == PM_QEMU_ZERO ? NULL : view->in + at;
	qemu->last = token.block;
	return token;
}

static struct pm_qemu_token
read_word(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;
	uint64_t word, flags;

	if (view->size < 8)
		return pm_qemu_more();
	word = pm_qemu_get(view->in, 8);
	flags = word & ((UINT64_C(1) << qemu->page_shift) - 1);
	switch (flags & ~(uint64_t)PM_QEMU_CONTINUE) {
	case PM_QEMU_ZERO:
		return read_page(view, word, PM_QEMU_ZERO);
	case PM_QEMU_PAGE:
		return read_page(view, word, PM_QEMU_PAGE);
	case PM_QEMU_XBZRLE:
		return pm_qemu_surprise(view,
		    "pages come as XBZRLE already: switch the capability "
		    "xbzrle off");
	case PM_QEMU_COMPRESS:
		return pm_qemu_surprise(view,
		    "pages are compressed already: switch the capability "
		    "compress off");
	default:
		break;
	}
	if (flags == PM_QEMU_MEM_SIZE)
		return pm_qemu_begin_list(view, word - flags);
	if (word == PM_QEMU_MULTIFD_FLUSH)
		return pm_qemu_bytes(view, 8, PM_QEMU_AT_RAM);
	return word == PM_QEMU_EOS ? pm_qemu_bytes(view, 8, PM_QEMU_AT_FOOTER)
	    : pm_qemu_surprise(view, "a word of RAM is not known here");
}

static int
is_footer(const struct pm_qemu_view *view)
{
	return view->in[0] == PM_QEMU_FOOTER &&
	    pm_qemu_get(view->in + 1, 4) == view->qemu->section_id;
}

static struct pm_qemu_token
read_footer(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;

	if (view->size < 1)
		return pm_qemu_more();
	if (qemu->has_footers < 0)
		qemu->has_footers = view->in[0] == PM_QEMU_FOOTER;
	qemu->ended = 1;
	if (!qemu->has_footers) {
		qemu->state = PM_QEMU_AT_SECTION;
		return pm_qemu_next(qemu, view->in, view->size);
	}
	if (view->size < FOOTER_SIZE)
		return pm_qemu_more();
	return is_footer(view)
	    ? pm_qemu_bytes(view, FOOTER_SIZE, PM_QEMU_AT_SECTION)
	    : pm_qemu_surprise(view, "a section has another's footer");
}

/* Whether a section may begin here: 1 yes, 0 no, -1 more is needed. */
static int
looks_like_section(const struct pm_qemu_view *view)
{
	size_t end;

	if (view->size < 1)
		return -1;
	switch (view->in[0]) {
	case PM_QEMU_PART:
	case PM_QEMU_END:
		return view->size < 5 ? -1 : is_live(view->qemu,
		    pm_qemu_get(view->in + 1, 4));
	case PM_QEMU_START:
	case PM_QEMU_FULL:
		if ((end = whole_head(view)) == 0)
			return -1;
		for (size_t i = 6; i < end - 8; i++)
			if (view->in[i] < ' ' || view->in[i] > '~')
				return 0;
		return view->in[5] > 0;
	case PM_QEMU_COMMAND:
		return view->size < 5 ? -1 : view->in[1] == 0;
	case PM_QEMU_EOF:
		return view->size < 2 ? -1
		    : view->in[1] == PM_QEMU_VMDESCRIPTION;
	default:
		return 0;
	}
}

/* So many bytes are still of another's section, if any. */
static struct pm_qemu_token
pass_on(struct pm_qemu_view *view, size_t size)
{
	return size > 0 ? pm_qemu_bytes(view, size, PM_QEMU_AT_CROSS)
	    : pm_qemu_more();
}

/* Another's section ends at its footer with a section behind it. */
static struct pm_qemu_token
cross(struct pm_qemu_view *view)
{
	for (size_t at = 0;; at++) {
		const uint8_t *next = at == view->size ? NULL
		    : memchr(view->in + at, PM_QEMU_FOOTER, view->size - at);
		struct pm_qemu_view here = { view->qemu, next, 0 };
		int found = -1;

		if (next == NULL)
			return pass_on(view, view->size);
		at = (size_t)(next - view->in);
		here.size = view->size - at;
		if (here.size >= FOOTER_SIZE && !is_footer(&here))
			continue;
		if (here.size >= FOOTER_SIZE) {
			here.in += FOOTER_SIZE;
			here.size -= FOOTER_SIZE;
			found = looks_like_section(&here);
		}
		if (found > 0)
			return pm_qemu_bytes(view, at + FOOTER_SIZE,
			    PM_QEMU_AT_SECTION);
		if (found < 0)
			return pass_on(view, at);
	}
}

struct pm_qemu_token
pm_qemu_next(struct pm_qemu *qemu, const uint8_t *in, size_t size)
{
	struct pm_qemu_view view = { qemu, in, size };

	switch ((enum pm_qemu_state)qemu->state) {
	case PM_QEMU_AT_MAGIC:
		return pm_qemu_read_magic(&view);
	case PM_QEMU_AT_CONFIGURATION:
		return pm_qemu_read_configuration(&view);
	case PM_QEMU_AT_SUBSECTION:
		return pm_qemu_read_subsection(&view);
	case PM_QEMU_AT_CAPABILITIES:
		return pm_qemu_read_capability(&view);
	case PM_QEMU_AT_SECTION:
		return read_section(&view);
	case PM_QEMU_AT_SKIP:
		return skip(&view);
	case PM_QEMU_AT_RAM:
		return read_word(&view);
	case PM_QEMU_AT_LIST:
		return pm_qemu_read_list(&view);
	case PM_QEMU_AT_FOOTER:
		return read_footer(&view);
	case PM_QEMU_AT_CROSS:
		return cross(&view);
	case PM_QEMU_AT_REST:
		break;
	}
	return size > 0 ? pm_qemu_bytes(&view, size, PM_QEMU_AT_REST)
	    : pm_qemu_more();
}

int
pm_qemu_takes_pages(const struct pm_qemu *qemu)
{
	return qemu->listed && (qemu->state == PM_QEMU_AT_RAM ||
	    qemu->state == PM_QEMU_AT_LIST);
}

int
pm_qemu_end(struct pm_qemu *qemu)
{
	if (qemu->state != PM_QEMU_AT_CROSS || qemu->ram_id != PM_QEMU_NONE)
		return 0;
	qemu->surprise = "a section before that of RAM has no end";
	qemu->state = PM_QEMU_AT_REST;
	return 1;
}

void
pm_qemu_pass_page(struct pm_qemu *qemu, uint32_t block)
{
	if (qemu->state == PM_QEMU_AT_LIST)
		qemu->state = PM_QEMU_AT_RAM;
	qemu->last = block;
}

size_t
pm_qemu_put_page(struct pm_qemu *qemu, unsigned flag, uint32_t block,
    uint64_t page, uint8_t *out)
{
	size_t size = strlen(qemu->block[block].name);

	if (block == qemu->written) {
		pm_qemu_put(out, page << qemu->page_shift | flag |
		    PM_QEMU_CONTINUE, 8);
		return 8;
	}
	qemu->written = block;
	pm_qemu_put(out, page << qemu->page_shift | flag, 8);
	out[8] = (uint8_t)size;
	memcpy(out + 9, qemu->block[block].name, size);
	return 9 + size;
}
