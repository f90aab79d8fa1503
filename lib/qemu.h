/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu.h - QEMU's migration stream, cut into pages and foreign bytes.
 *
 * A tokenizer: bytes in, tokens out, and no I/O.  Tokens follow each other
 * without a gap, so what was read can be written again bit for bit: foreign
 * bytes as they came, pages by pm_qemu_put_page.  It knows the sections of
 * RAM and what stands between them.  Sections of others that may come
 * before the last of RAM are crossed by looking for their footer.  From the
 * first byte of device state on, which has no lengths, all is foreign; and
 * from the first thing on that it does not expect.  So a stream that is
 * misunderstood is larger than it could be, and the same when it is written
 * again without deltas.
 *
 * The format is that of QEMU's docs/devel/migration and migration/ram.c,
 * versions 7.2 to 10.
 */
#ifndef PM_QEMU_H
#define PM_QEMU_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "record.h"
#include "status.h"

#define PM_QEMU_MAGIC		"QEVM"
#define PM_QEMU_MAGIC_SIZE	4u
#define PM_QEMU_VERSION		3u

/* No token takes more, but for foreign bytes that are cut anywhere. */
#define PM_QEMU_TOKEN_MAX	(PM_PAGE_MAX + 512)
#define PM_QEMU_HEAD_MAX	(8 + 1 + PM_NAME_MAX)	/* of a page */
#define PM_QEMU_LIVE_MAX	32u	/* sections that come in parts */

/* Of a guest in a chain: up to the end of RAM's first section, and behind
   its last. */
#define PM_QEMU_HEAD_SIZE_MAX	(1u << 20)
#define PM_QEMU_DEVICES_MAX	(1u << 30)

/* Kinds of sections, their first byte. */
enum {
	PM_QEMU_EOF = 0x00,
	PM_QEMU_START = 0x01,
	PM_QEMU_PART = 0x02,
	PM_QEMU_END = 0x03,
	PM_QEMU_FULL = 0x04,
	PM_QEMU_SUBSECTION = 0x05,
	PM_QEMU_VMDESCRIPTION = 0x06,
	PM_QEMU_CONFIGURATION = 0x07,
	PM_QEMU_COMMAND = 0x08,
	PM_QEMU_FOOTER = 0x7e,
};

/* Flags of a word of RAM; above them there is an address. */
enum {
	PM_QEMU_ZERO = 0x02,
	PM_QEMU_MEM_SIZE = 0x04,
	PM_QEMU_PAGE = 0x08,
	PM_QEMU_EOS = 0x10,
	PM_QEMU_CONTINUE = 0x20,
	PM_QEMU_XBZRLE = 0x40,
	PM_QEMU_COMPRESS = 0x100,
	PM_QEMU_MULTIFD_FLUSH = 0x200,
};

enum pm_qemu_kind {
	PM_QEMU_IS_MORE,	/* nothing before more bytes are there */
	PM_QEMU_IS_BYTES,	/* foreign */
	PM_QEMU_IS_PAGE,	/* of RAM, with its content */
	PM_QEMU_IS_ZERO,	/* of RAM, zeroes */

	/* Of no bytes; what is known now: */
	PM_QEMU_IS_LIST,	/* the blocks of RAM */
	PM_QEMU_IS_BREAK,	/* a section of RAM has ended */
	PM_QEMU_IS_REST,	/* all that follows is foreign */
};

struct pm_qemu_token {
	enum pm_qemu_kind kind;
	size_t size;			/* bytes of the stream */
	uint32_t block;			/* number of it; of a page */
	uint64_t page;			/* in its block */
	const uint8_t *content;		/* of PAGE; within what was read */
};

struct pm_qemu {
	unsigned page_shift;
	uint32_t blocks;
	struct pm_region *block;	/* PM_REGIONS_MAX; as regions are */
	int listed;			/* they are known */
	int in_devices;			/* IS_REST: device state begins */
	const char *surprise;		/* IS_REST: why; else NULL */
	int surprised_in_ram;		/* where a page might have stood */
	int is_mapped;			/* pages stand elsewhere in the file */
	int ignores_shared;		/* blocks may have no pages here */
	int others;			/* sections in parts that are not RAM */

	/* Where it is; for itself. */
	int state;
	uint32_t last;			/* block of the page before, */
	uint32_t written;		/* and of the one that was written */
	uint32_t ram_id, section_id;
	uint8_t section_type;
	int has_footers;		/* -1: not known yet */
	int ended;			/* a section of RAM, just now */
	uint64_t left;			/* of what is skipped, or listed */
	uint32_t lives;
	uint32_t live[PM_QEMU_LIVE_MAX];
};

/*
 * Begin a stream.  page_shift is that of pages, unless the stream says
 * another: streams of most machines don't.  PM_ERR_SYSTEM with errno.
 */
enum pm_status pm_qemu_open(struct pm_qemu *, unsigned page_shift);
void pm_qemu_close(struct pm_qemu *);

/*
 * The token that in begins with.  IS_MORE only below PM_QEMU_TOKEN_MAX
 * bytes.  A stream begins with PM_QEMU_MAGIC; the caller has looked.
 */
struct pm_qemu_token pm_qemu_next(struct pm_qemu *, const uint8_t *in,
    size_t size);

/*
 * The stream ended here.  True if it may have, though no rest began: a
 * section before RAM had no end that could be found, and all of it is
 * foreign.  What is left is then to be taken.
 */
int pm_qemu_end(struct pm_qemu *);

/* True where a page of RAM may stand. */
int pm_qemu_takes_pages(const struct pm_qemu *);

/* A page stands here, which will not be read as a token. */
void pm_qemu_pass_page(struct pm_qemu *, uint32_t block);

/*
 * Write what goes before the content of a page, or before the fill byte of
 * ZERO, or the encoding of XBZRLE, to out, of PM_QEMU_HEAD_MAX bytes.
 * Returns its size.
 */
size_t pm_qemu_put_page(struct pm_qemu *, unsigned flag, uint32_t block,
    uint64_t page, uint8_t *out);

/* Big-endian numbers, as they stand there. */
static inline uint64_t
pm_qemu_get(const uint8_t *p, unsigned width)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < width; i++)
		value = value << 8 | p[i];
	return value;
}

static inline void
pm_qemu_put(uint8_t *p, uint64_t value, unsigned width)
{
	for (unsigned i = width; i-- > 0; value >>= 8)
		p[i] = (uint8_t)value;
}

/*
 * What the parts of the tokenizer share; not for others.  Each state has a
 * function that looks at the bytes at hand, and says what they begin with
 * and what state follows.
 */
#define PM_QEMU_NONE	UINT32_MAX
#define PM_QEMU_FLAGS	0x3ffu		/* of a word; pages may be 1 KiB */

enum pm_qemu_state {
	PM_QEMU_AT_MAGIC,
	PM_QEMU_AT_CONFIGURATION,
	PM_QEMU_AT_SUBSECTION,	/* of the configuration, or no more */
	PM_QEMU_AT_CAPABILITIES,
	PM_QEMU_AT_SECTION,
	PM_QEMU_AT_SKIP,	/* left bytes, then a section */
	PM_QEMU_AT_RAM,
	PM_QEMU_AT_LIST,	/* left bytes of RAM to be listed */
	PM_QEMU_AT_FOOTER,
	PM_QEMU_AT_CROSS,	/* looking for another section's footer */
	PM_QEMU_AT_REST,
};

/* What a function of a state looks at. */
struct pm_qemu_view {
	struct pm_qemu *qemu;
	const uint8_t *in;
	size_t size;
};

static inline struct pm_qemu_token
pm_qemu_more(void)
{
	return (struct pm_qemu_token){ .kind = PM_QEMU_IS_MORE };
}

static inline struct pm_qemu_token
pm_qemu_bytes(struct pm_qemu_view *view, size_t size, enum pm_qemu_state next)
{
	view->qemu->state = (int)next;
	return (struct pm_qemu_token){ .kind = PM_QEMU_IS_BYTES,
	    .size = size };
}

static inline struct pm_qemu_token
pm_qemu_surprise(struct pm_qemu_view *view, const char *text)
{
	view->qemu->surprised_in_ram = pm_qemu_takes_pages(view->qemu);
	view->qemu->surprise = text;
	view->qemu->state = PM_QEMU_AT_REST;
	return (struct pm_qemu_token){ .kind = PM_QEMU_IS_REST };
}

/* From at on there is a text with its length before it; 0 if not all of it. */
static inline size_t
pm_qemu_text_end(const struct pm_qemu_view *view, size_t at)
{
	if (view->size <= at || view->size < at + 1 + view->in[at])
		return 0;
	return at + 1 + view->in[at];
}

static inline int
pm_qemu_is_text(const struct pm_qemu_view *view, size_t at, const char *text)
{
	size_t size = strlen(text);

	return view->in[at] == size &&
	    memcmp(view->in + at + 1, text, size) == 0;
}

/* The number of the block of that name, or PM_QEMU_NONE. */
uint32_t pm_qemu_find_block(const struct pm_qemu *, const uint8_t *text);

/* What stands before the sections, and the list of blocks. */
struct pm_qemu_token pm_qemu_read_magic(struct pm_qemu_view *);
struct pm_qemu_token pm_qemu_read_configuration(struct pm_qemu_view *);
struct pm_qemu_token pm_qemu_read_subsection(struct pm_qemu_view *);
struct pm_qemu_token pm_qemu_read_capability(struct pm_qemu_view *);
struct pm_qemu_token pm_qemu_begin_list(struct pm_qemu_view *,
    uint64_t length);
struct pm_qemu_token pm_qemu_read_list(struct pm_qemu_view *);

#endif /* PM_QEMU_H */
