/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hash.h"
#include "qemu.h"

#define LENGTH_MAX	(UINT64_C(1) << 46)	/* bytes of RAM */

#define CONFIGURED	"configuration/"

struct pm_qemu_token
pm_qemu_read_magic(struct pm_qemu_view *view)
{
	if (view->size < 8)
		return pm_qemu_more();
	if (memcmp(view->in, PM_QEMU_MAGIC, PM_QEMU_MAGIC_SIZE) != 0 ||
	    pm_qemu_get(view->in + 4, 4) != PM_QEMU_VERSION)
		return pm_qemu_surprise(view, "its version is not 3");
	return pm_qemu_bytes(view, 8, PM_QEMU_AT_CONFIGURATION);
}

/* Machines of old have none. */
struct pm_qemu_token
pm_qemu_read_configuration(struct pm_qemu_view *view)
{
	size_t size;

	if (view->size < 1)
		return pm_qemu_more();
	if (view->in[0] != PM_QEMU_CONFIGURATION) {
		view->qemu->state = PM_QEMU_AT_SECTION;
		return pm_qemu_next(view->qemu, view->in, view->size);
	}
	if (view->size < 5)
		return pm_qemu_more();
	size = (size_t)pm_qemu_get(view->in + 1, 4);
	if (size > PM_NAME_MAX)
		return pm_qemu_surprise(view,
		    "the name of its machine is too long");
	return view->size < 5 + size ? pm_qemu_more()
	    : pm_qemu_bytes(view, 5 + size, PM_QEMU_AT_SUBSECTION);
}

static struct pm_qemu_token
read_page_bits(struct pm_qemu_view *view, size_t at)
{
	uint64_t bits;

	if (view->size < at + 4)
		return pm_qemu_more();
	bits = pm_qemu_get(view->in + at, 4);
	if (bits < PM_PAGE_SHIFT_MIN || bits > PM_PAGE_SHIFT_MAX)
		return pm_qemu_surprise(view,
		    "its pages are not of 4 to 64 KiB");
	view->qemu->page_shift = (unsigned)bits;
	return pm_qemu_bytes(view, at + 4, PM_QEMU_AT_SUBSECTION);
}

struct pm_qemu_token
pm_qemu_read_subsection(struct pm_qemu_view *view)
{
	const size_t prefix = sizeof(CONFIGURED) - 1;
	size_t at;

	if (view->size < 1)
		return pm_qemu_more();
	if (view->in[0] != PM_QEMU_SUBSECTION) {
		view->qemu->state = PM_QEMU_AT_SECTION;
		return pm_qemu_next(view->qemu, view->in, view->size);
	}
	if ((at = pm_qemu_text_end(view, 1)) == 0 || view->size < at + 4)
		return pm_qemu_more();
	if (view->in[1] < prefix ||
	    memcmp(view->in + 2, CONFIGURED, prefix) != 0)
		return pm_qemu_surprise(view,
		    "it has a subsection without a section");
	at += 4;
	if (pm_qemu_is_text(view, 1, CONFIGURED "target-page-bits"))
		return read_page_bits(view, at);
	if (pm_qemu_is_text(view, 1, CONFIGURED "uuid"))
		return view->size < at + 16 ? pm_qemu_more()
		    : pm_qemu_bytes(view, at + 16, PM_QEMU_AT_SUBSECTION);
	if (!pm_qemu_is_text(view, 1, CONFIGURED "capabilities"))
		return pm_qemu_surprise(view,
		    "its configuration is not known here");
	if (view->size < at + 4)
		return pm_qemu_more();
	view->qemu->left = pm_qemu_get(view->in + at, 4);
	return pm_qemu_bytes(view, at + 4, PM_QEMU_AT_CAPABILITIES);
}

struct pm_qemu_token
pm_qemu_read_capability(struct pm_qemu_view *view)
{
	size_t end;

	if (view->qemu->left == 0) {
		view->qemu->state = PM_QEMU_AT_SUBSECTION;
		return pm_qemu_next(view->qemu, view->in, view->size);
	}
	if ((end = pm_qemu_text_end(view, 0)) == 0)
		return pm_qemu_more();
	if (pm_qemu_is_text(view, 0, "mapped-ram")) {
		view->qemu->is_mapped = 1;
		return pm_qemu_surprise(view,
		    "capability mapped-ram puts its pages elsewhere: read the "
		    "file with --format=mapped-ram");
	}
	view->qemu->ignores_shared |= pm_qemu_is_text(view, 0,
	    "x-ignore-shared");
	view->qemu->left--;
	return pm_qemu_bytes(view, end, PM_QEMU_AT_CAPABILITIES);
}

uint32_t
pm_qemu_find_block(const struct pm_qemu *qemu, const uint8_t *text)
{
	for (uint32_t i = 0; i < qemu->blocks; i++)
		if (strlen(qemu->block[i].name) == text[0] &&
		    memcmp(qemu->block[i].name, text + 1, text[0]) == 0)
			return i;
	return PM_QEMU_NONE;
}

/* The address of a word, where it stands for no page, is a length. */
struct pm_qemu_token
pm_qemu_begin_list(struct pm_qemu_view *view, uint64_t length)
{
	struct pm_qemu *qemu = view->qemu;

	if (qemu->section_type != PM_QEMU_START || qemu->listed)
		return pm_qemu_surprise(view,
		    "a list of blocks stands elsewhere");
	if (length > LENGTH_MAX)
		return pm_qemu_surprise(view, "it has more than 64 TiB of RAM");
	qemu->left = length;
	return pm_qemu_bytes(view, 8, PM_QEMU_AT_LIST);
}

static struct pm_qemu_token
add_block(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;
	struct pm_region *block = &qemu->block[qemu->blocks];
	size_t name = view->in[0], at = pm_qemu_text_end(view, 0);
	uint64_t length, key;

	if (at == 0 || view->size < at + 8)
		return pm_qemu_more();
	length = pm_qemu_get(view->in + at, 8);
	if (qemu->blocks == PM_REGIONS_MAX || length > qemu->left ||
	    length == 0 ||
	    (length & ((UINT64_C(1) << qemu->page_shift) - 1)) != 0 ||
	    memchr(view->in + 1, 0, name) != NULL)
		return pm_qemu_surprise(view, "its list of blocks is odd");
	key = pm_hash_key((const char *)view->in + 1, name);
	for (uint32_t i = 0; i < qemu->blocks; i++)
		if (qemu->block[i].key == key)
			return pm_qemu_surprise(view,
			    "two blocks have one name");
	*block = (struct pm_region){ .length = length,
	    .kind = PM_REGION_BLOCK };
	memcpy(block->name, view->in + 1, name);
	block->key = key;
	qemu->blocks++;
	qemu->left -= length;
	return pm_qemu_bytes(view, at + 8, PM_QEMU_AT_LIST);
}

/*
 * Behind a block there may be its page size (postcopy) and its address
 * (x-ignore-shared), a number each, of which nothing else tells here.  Their
 * first byte is 0, as no name has it, and they have none of the flags that
 * each word has.
 */
struct pm_qemu_token
pm_qemu_read_list(struct pm_qemu_view *view)
{
	struct pm_qemu *qemu = view->qemu;

	if (qemu->left == 0 && qemu->blocks > 0 && !qemu->listed) {
		qemu->listed = 1;
		return (struct pm_qemu_token){ .kind = PM_QEMU_IS_LIST };
	}
	if (view->size < 1)
		return pm_qemu_more();
	if (view->in[0] != 0)
		return qemu->left > 0 ? add_block(view)
		    : pm_qemu_surprise(view, "its list of blocks is too long");
	if (view->size < 8)
		return pm_qemu_more();
	if ((pm_qemu_get(view->in, 8) & PM_QEMU_FLAGS) == 0 && qemu->blocks > 0)
		return pm_qemu_bytes(view, 8, PM_QEMU_AT_LIST);
	if (!qemu->listed)
		return pm_qemu_surprise(view,
		    "its list of blocks is too short");
	qemu->state = PM_QEMU_AT_RAM;
	return pm_qemu_next(qemu, view->in, view->size);
}

