/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* MAP_NORESERVE */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fdio.h"
#include "qemu.h"
#include "qemu_tail.h"
#include "source.h"

/* What is read at a time: it stays in the cache of a processor. */
#define READ_SIZE	(256u << 10)
#define BUF_SIZE	(PM_QEMU_TOKEN_MAX + READ_SIZE)
#define LEAF		32768u		/* pages that memory is taken for */
#define LEAF_SIZE	(LEAF * sizeof(uint64_t))

struct migration_source {
	struct pm_source base;
	struct pm_qemu qemu;		/* its blocks are the regions */
	int fd;
	uint64_t end;			/* size of the file */
	uint64_t pages;			/* of all blocks, one after another */
	uint64_t first[PM_REGIONS_MAX];	/* page of each block, among them */
	/* Where in the file the content of a page is; 0: it is zeroes. */
	uint64_t **leaf;
};

/* The way through the stream, which is gone once that was made. */
struct scan {
	struct migration_source *self;
	struct pm_fault *fault;
	struct pm_qemu_tail tail;
	uint64_t at;			/* place in the file of buf's start */
	uint8_t *buf;			/* BUF_SIZE */
	size_t size;
};

static struct migration_source *
self_of(struct pm_source *source)
{
	return (struct migration_source *)source;
}

static enum pm_status
fail_memory(struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

static enum pm_status
fail_read(enum pm_status status, struct pm_fault *fault)
{
	/* All was within the file when it was opened. */
	if (status != PM_ERR_READ)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "shrank while it was read");
	return pm_fault_set(fault, PM_ERR_READ, NULL, "%s",
	    pm_status_text(PM_ERR_READ));
}

static enum pm_status
refuse(const struct scan *scan, const char *why)
{
	return pm_fault_set(scan->fault, PM_ERR_REFUSED, NULL,
	    "can't be looked into: %s", why);
}

/* Zeroes of the kernel's, which take room page by page as they are written. */
static void *
take(uint64_t size)
{
	void *at;

	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	(void)madvise(at, (size_t)size, MADV_NOHUGEPAGE);
	return at;
}

static uint64_t
leaves(const struct migration_source *self)
{
	return self->pages / LEAF + 1;
}

static enum pm_status
begin_pages(struct scan *scan)
{
	struct migration_source *self = scan->self;

	for (uint32_t i = 0; i < self->qemu.blocks; i++) {
		self->first[i] = self->pages;
		self->pages += self->qemu.block[i].length >>
		    self->qemu.page_shift;
	}
	self->leaf = take(leaves(self) * sizeof(self->leaf[0]));
	return self->leaf != NULL ? PM_OK : fail_memory(scan->fault);
}

/* The last that is said of a page counts; at is 0 for zeroes. */
static enum pm_status
set_page(struct scan *scan, const struct pm_qemu_token *token, uint64_t at)
{
	struct migration_source *self = scan->self;
	uint64_t page = self->first[token->block] + token->page;
	uint64_t **leaf = &self->leaf[page / LEAF];

	if (*leaf == NULL && at == 0)
		return PM_OK;
	if (*leaf == NULL && (*leaf = take(LEAF_SIZE)) == NULL)
		return fail_memory(scan->fault);
	(*leaf)[page % LEAF] = at;
	return PM_OK;
}

static enum pm_status
take_bytes(struct scan *scan, const uint8_t *in, size_t size, int within)
{
	const struct pm_qemu *qemu = &scan->self->qemu;

	/* QEMU writes this word where the pages go another way. */
	if (within && size == 8 &&
	    pm_qemu_get(in, 8) == PM_QEMU_MULTIFD_FLUSH)
		return refuse(scan, "its pages were sent beside it: switch "
		    "the capability multifd off");
	if (qemu->state == PM_QEMU_AT_REST || qemu->state == PM_QEMU_AT_CROSS)
		pm_qemu_tail_take(&scan->tail, in, size);
	return PM_OK;
}

/* Nothing is known of pages that stand behind what is not understood. */
static enum pm_status
take_rest(const struct scan *scan)
{
	const struct pm_qemu *qemu = &scan->self->qemu;

	if (qemu->surprise != NULL)
		return refuse(scan, qemu->surprise);
	if (!qemu->listed)
		return refuse(scan, "it lists no blocks of RAM");
	return qemu->ignores_shared ? refuse(scan, "capability "
	    "x-ignore-shared leaves memory out") : PM_OK;
}

/* within: pages could stand where the token does, which starts at in. */
static enum pm_status
take_token(struct scan *scan, const struct pm_qemu_token *token, size_t in,
    int within)
{
	switch (token->kind) {
	case PM_QEMU_IS_BYTES:
		return take_bytes(scan, scan->buf + in, token->size, within);
	case PM_QEMU_IS_PAGE:
		return set_page(scan, token, scan->at +
		    (uint64_t)(token->content - scan->buf));
	case PM_QEMU_IS_ZERO:
		return set_page(scan, token, 0);
	case PM_QEMU_IS_LIST:
		return begin_pages(scan);
	case PM_QEMU_IS_REST:
		return take_rest(scan);
	case PM_QEMU_IS_BREAK:
	case PM_QEMU_IS_MORE:
		break;
	}
	return PM_OK;
}

/* All tokens of what was read; of a last one, the beginning is kept. */
static enum pm_status
take_all(struct scan *scan)
{
	struct pm_qemu *qemu = &scan->self->qemu;
	enum pm_status status = PM_OK;
	struct pm_qemu_token token;
	size_t from = 0;

	do {
		int within = pm_qemu_takes_pages(qemu);

		token = pm_qemu_next(qemu, scan->buf + from,
		    scan->size - from);
		status = take_token(scan, &token, from, within);
		from += token.size;
	} while (token.kind != PM_QEMU_IS_MORE && status == PM_OK);
	scan->size -= from;
	scan->at += from;
	memmove(scan->buf, scan->buf + from, scan->size);
	return status;
}

/* True when it came to its end, as far as that can be told. */
static int
is_whole(const struct scan *scan)
{
	const struct pm_qemu *qemu = &scan->self->qemu;

	return qemu->state == PM_QEMU_AT_REST && scan->size == 0 &&
	    pm_qemu_tail_is_whole(&scan->tail, qemu->has_footers > 0);
}

static enum pm_status
look_at_magic(const struct scan *scan)
{
	const struct migration_source *self = scan->self;
	uint8_t magic[PM_QEMU_MAGIC_SIZE] = { 0 };
	enum pm_status status = PM_OK;

	if (scan->at < self->end && self->end - scan->at >= sizeof(magic))
		status = pm_fd_pread(self->fd, magic, sizeof(magic), scan->at);
	if (status != PM_OK)
		return fail_read(status, scan->fault);
	return memcmp(magic, PM_QEMU_MAGIC, sizeof(magic)) == 0 ? PM_OK
	    : pm_fault_set(scan->fault, PM_ERR_CORRUPT, NULL,
	    "this is no migration stream of QEMU");
}

static enum pm_status
run(struct scan *scan)
{
	struct migration_source *self = scan->self;
	enum pm_status status = look_at_magic(scan);
	uint64_t next = scan->at;

	while (status == PM_OK && next < self->end) {
		size_t now = self->end - next < READ_SIZE
		    ? (size_t)(self->end - next) : READ_SIZE;

		status = pm_fd_pread(self->fd, scan->buf + scan->size, now,
		    next);
		if (status != PM_OK)
			return fail_read(status, scan->fault);
		scan->size += now;
		next += now;
		status = take_all(scan);
	}
	if (status == PM_OK && pm_qemu_end(&self->qemu))
		status = take_rest(scan);
	if (status == PM_OK && !is_whole(scan))
		status = pm_fault_set(scan->fault, PM_ERR_TRUNCATED, NULL,
		    "the migration stream ends early");
	return status;
}

static uint64_t
offset_of(const struct migration_source *self, uint64_t page)
{
	const uint64_t *leaf = self->leaf[page / LEAF];

	return leaf == NULL ? 0 : leaf[page % LEAF];
}

static enum pm_status
span(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *out)
{
	const struct migration_source *self = self_of(source);
	uint64_t at = self->first[region] + page, from = at;
	uint64_t end = (at / LEAF + 1) * LEAF;
	uint64_t last = self->first[region] +
	    (source->region[region].length >> source->page_shift);
	int some = offset_of(self, at) != 0;

	if (end > last)
		end = last;
	if (self->leaf[at / LEAF] == NULL)
		at = end;
	while (at < end && (offset_of(self, at) != 0) == some)
		at++;
	*out = (struct pm_span){ some ? PM_SPAN_DATA : PM_SPAN_ZERO,
	    at - from };
	return PM_OK;
}

/* Heads of pages stand between those that follow each other. */
static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	const struct migration_source *self = self_of(source);
	size_t size = (size_t)1 << source->page_shift;
	enum pm_status status = PM_OK;

	*got = pages;
	for (uint32_t i = 0; i < pages && status == PM_OK; i++) {
		uint64_t at = offset_of(self, self->first[region] + page + i);

		if (at == 0)
			memset(out + i * size, 0, size);
		else
			status = pm_fd_pread(self->fd, out + i * size, size,
			    at);
	}
	return status == PM_OK ? PM_OK : fail_read(status, fault);
}

static enum pm_status
done(struct pm_source *source)
{
	const struct migration_source *self = self_of(source);
	struct stat st;

	if (fstat(self->fd, &st) != 0)
		return fail_read(PM_ERR_READ, source->fault);
	return (uint64_t)st.st_size == self->end ? PM_OK
	    : pm_fault_set(source->fault, PM_ERR_REFUSED, NULL,
	    "changed its size while it was read");
}

static void
close_source(struct pm_source *source)
{
	struct migration_source *self = self_of(source);

	for (uint64_t at = 0; self->leaf != NULL && at < leaves(self); at++)
		if (self->leaf[at] != NULL)
			munmap(self->leaf[at], LEAF_SIZE);
	if (self->leaf != NULL)
		munmap(self->leaf, (size_t)leaves(self) *
		    sizeof(self->leaf[0]));
	pm_qemu_close(&self->qemu);
	free(self);
}

static const struct pm_source_ops migration_ops = {
	span, read_pages, NULL, done, close_source,
};

static enum pm_status
find_pages(struct migration_source *self, uint64_t from, unsigned page_shift,
    struct pm_fault *fault)
{
	struct scan scan = { .self = self, .fault = fault, .at = from };
	enum pm_status status;
	struct stat st;

	if (fstat(self->fd, &st) != 0)
		return fail_read(PM_ERR_READ, fault);
	if (!S_ISREG(st.st_mode))
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "is not a regular file");
	self->end = (uint64_t)st.st_size;
	scan.buf = malloc(BUF_SIZE);
	status = scan.buf != NULL && pm_qemu_open(&self->qemu, page_shift) ==
	    PM_OK ? run(&scan) : fail_memory(fault);
	free(scan.buf);
	return status;
}

enum pm_status
pm_source_open_migration(struct pm_source **source, int fd, uint64_t from,
    unsigned page_shift, struct pm_fault *fault)
{
	struct migration_source *self = calloc(1, sizeof(*self));
	enum pm_status status;

	if (self == NULL)
		return fail_memory(fault);
	self->fd = fd;
	status = find_pages(self, from, page_shift, fault);
	if (status != PM_OK) {
		close_source(&self->base);
		return status;
	}
	self->base = (struct pm_source){
		.ops = &migration_ops, .fault = fault, .is_shared = 1,
		.page_shift = self->qemu.page_shift,
		.regions = self->qemu.blocks, .region = self->qemu.block,
	};
	*source = &self->base;
	return PM_OK;
}
