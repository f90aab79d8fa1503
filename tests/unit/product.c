/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create */
#include <sys/mman.h>
#include <sys/stat.h>

#include "capture.h"
#include "ramfile.h"
#include "tape.h"

#define PART	18u		/* an empty section of RAM */

static char home[] = "/tmp/pm-product-XXXXXX", path[64], made[128];
static int fd;
static struct ramfile file;
static unsigned told;
static const char *region;		/* to be made, or NULL for all */
static const char *marks;		/* NULL, or in place of each: one that
					   knows its generation or "?" */

static void
make(struct ramfile how)
{
	file = how;
	file.shift = file.shift == 0 ? 12 : file.shift;
	file.section = 2;
	if (ftruncate(fd, 0) != 0)
		exit(1);
	ramfile_make(&file, fd, -1);
}

/* Add a stream of it to the chain. */
static int
capture(struct pm_source *base)
{
	struct pm_capture_options how = { .record_size = PM_RECORD_PAYLOAD,
	    .threads = 1, .base = base };
	struct pm_capture_counts out;
	struct pm_source *source = NULL;
	enum pm_status status;

	status = pm_source_open_mapped(&source, path, &fault);
	if (status == PM_OK)
		status = pm_capture_run(source, &how, &writer, &out, &fault);
	if (source != NULL)
		source->ops->close(source);
	return status == PM_OK;
}

static enum pm_status
tell(void *arg, struct pm_digest id)
{
	(void)arg;
	(void)id;
	told++;
	return PM_OK;
}

/* A record; each mark is replaced by those that are wanted. */
static enum pm_status
take(struct pm_restore *restore)
{
	enum pm_status status = PM_OK;
	struct pm_round round, other;

	if (rec->type != PM_TYPE_ROUND || marks == NULL)
		return pm_restore_take(restore, rec);
	if (pm_round_unpack(&round, rec, &fault) != PM_OK)
		return PM_ERR_CORRUPT;
	for (const char *mark = marks; *mark && status == PM_OK; mark++) {
		other = round;
		other.known = *mark != '?';
		if (!other.known)
			other.generation = (struct pm_digest){ 0, 0 };
		pm_record_clear(rec, PM_TYPE_ROUND);
		pm_round_pack(&other, rec);
		status = pm_restore_take(restore, rec);
	}
	return status;
}

/* Apply the chain, of which cut bytes are missing. */
static enum pm_status
make_product(size_t cut)
{
	struct pm_restore *restore;
	struct pm_target target;
	struct pm_reader reader;
	enum pm_status status, finished;
	size_t size = wire_size;

	fault = (struct pm_fault){ .error = 0 };
	wire_at = 0;
	wire_size -= cut;
	told = 0;
	if (pm_target_open(&target, made, 0, 0, &fault) != PM_OK ||
	    pm_reader_open_io(&reader, fetch, NULL, &fault) != PM_OK)
		exit(1);
	restore = pm_restore_new(&target, tell, NULL, &fault);
	pm_restore_make(restore, region != NULL ? PM_PRODUCT_REGION
	    : PM_PRODUCT_MAPPED, region);
	while ((status = pm_reader_next(&reader, rec)) == PM_OK &&
	    (status = take(restore)) == PM_OK)
		;
	finished = pm_restore_finish(restore, status != PM_END);
	if (status == PM_END)
		status = finished;
	if (status != PM_OK)
		printf("# %s\n", fault.text);
	pm_restore_free(restore);
	pm_reader_close(&reader);
	pm_target_close(&target);
	wire_size = size;
	return status;
}

static int
are_same(int other, uint64_t at, uint64_t other_at, uint64_t size)
{
	static uint8_t a[65536], b[65536];

	for (size_t now; size > 0; at += now, other_at += now, size -= now) {
		now = size < sizeof(a) ? (size_t)size : sizeof(a);
		if (pread(fd, a, now, (off_t)at) != (ssize_t)now ||
		    pread(other, b, now, (off_t)other_at) != (ssize_t)now ||
		    memcmp(a, b, now) != 0)
			return 0;
	}
	return 1;
}

/* Pages are the same, and those with content have a bit, and no others. */
static int
block_is_right(int other, unsigned i)
{
	uint64_t pages = ramfile_block[i].pages, size = UINT64_C(1) <<
	    file.shift;
	static const uint8_t zeroes[65536];
	static uint8_t page[65536];

	for (uint64_t n = 0; n < pages; n++) {
		uint64_t at = file.pages[i] + n * size;
		uint8_t bits;

		(void)ramfile_page(&file, i, n, page);
		if (pread(other, &bits, 1, (off_t)(file.bitmap[i] + n / 8))
		    != 1 || !are_same(other, at, at, size) ||
		    (bits >> n % 8 & 1) != (memcmp(page, zeroes, size) != 0))
			return 0;
	}
	return 1;
}

/*
 * What QEMU would have written, but for pages of zeroes, which have no bit,
 * and for an empty section of RAM where the stream has pages.
 */
static void
check_product(void)
{
	int other = open(made, O_RDONLY | O_CLOEXEC);
	uint64_t from = 0;

	CHECK(other >= 0);
	for (unsigned i = 0; i < RAMFILE_BLOCKS; i++) {
		CHECK(are_same(other, from, from, file.bitmap[i] - from));
		CHECK(block_is_right(other, i));
		from = file.pages[i] + (ramfile_block[i].pages << file.shift);
	}
	CHECK(are_same(other, from, from, file.rest - from));
	CHECK(are_same(other, file.rest, file.rest + PART,
	    file.end - file.rest));
	CHECK(lseek(other, 0, SEEK_END) == (off_t)(file.end + PART));
	close(other);
}

static void
test_whole(struct ramfile how, const char *what)
{
	printf("# %s\n", what);
	make(how);
	start_wire();
	CHECK(capture(NULL));
	CHECK(make_product(0) == PM_OK && told == 1);
	check_product();
}

/* The capability joins others, and the file is as if QEMU had. */
static void
test_other(void)
{
	struct pm_source *source = NULL;
	struct pm_digest was = { 0, 0 }, is = { 1, 0 };

	make((struct ramfile){ .seed = 3, .other = 1, .bits = 1 });
	start_wire();
	CHECK(capture(NULL));
	CHECK(make_product(0) == PM_OK);
	CHECK(pm_source_open_mapped(&source, path, &fault) == PM_OK &&
	    pm_source_id(source, &was) == PM_OK);
	source->ops->close(source);
	CHECK(pm_source_open_mapped(&source, made, &fault) == PM_OK &&
	    pm_source_id(source, &is) == PM_OK);
	source->ops->close(source);
	CHECK(pm_digest_equal(was, is));
}

static uint64_t
inode(void)
{
	struct stat st;

	return stat(made, &st) == 0 ? st.st_ino : 0;
}

/* A chain has one file in the end, or none. */
static void
test_chain(void)
{
	struct pm_source *base = NULL;
	int was = memfd_create("pm test", MFD_CLOEXEC);
	char name[64];
	uint64_t before;
	size_t full;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", was);
	file = (struct ramfile){ .shift = 12, .section = 2, .seed = 9 };
	ramfile_make(&file, was, -1);
	make((struct ramfile){ .seed = 9 });
	start_wire();
	CHECK(capture(NULL));
	full = wire_size;
	make((struct ramfile){ .seed = 9, .changed = 3 });
	CHECK(pm_source_open_mapped(&base, name, &fault) == PM_OK);
	CHECK(capture(base) && wire_size > full);
	base->ops->close(base);
	CHECK(make_product(0) == PM_OK && told == 1);
	check_product();
	/* What breaks leaves what was there, also behind a whole stream. */
	before = inode();
	CHECK(make_product(1) == PM_ERR_TRUNCATED && told == 0);
	CHECK(make_product(wire_size - full - 100) == PM_ERR_TRUNCATED);
	CHECK(make_product(wire_size - full - 10) == PM_ERR_TRUNCATED);
	CHECK(make_product(wire_size / 2) == PM_ERR_TRUNCATED);
	CHECK(inode() == before);
	check_product();
	unlink(made);
	CHECK(make_product(1) == PM_ERR_TRUNCATED && inode() == 0);
	close(was);
}

/* One region of a page, with foreign bytes before and behind it. */
static enum pm_status
try_foreign(const void *before, size_t size)
{
	struct pm_digest zero = { 0, 0 };
	struct pm_region block = { .length = 4096, .name = "pc.ram",
	    .key = pm_hash_key("pc.ram", 6) };

	start_wire();
	put_stream(12, zero, 0);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&block, 0, rec);
	put();
	pm_record_clear(rec, PM_TYPE_OPAQUE);
	memcpy(rec->payload, before, size);
	rec->stored = rec->decoded = (uint32_t)size;
	put();
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->entries = 1;
	rec->entry[0] = pm_entry_of(0, PM_ZERO, 1);
	put();
	put_round(pm_layout_id(&block, 1));
	put_end(zero, pm_layout_id(&block, 1));
	return make_product(0);
}

/* Of a source that did not understand all, the last mark knows nothing. */
static void
test_vague(void)
{
	static const char *const regions[] = { NULL, "pc.ram" };

	make((struct ramfile){ .seed = 3 });
	start_wire();
	CHECK(capture(NULL));
	unlink(made);
	for (unsigned i = 0; i < 2; i++) {
		region = regions[i];
		marks = "?";
		CHECK(make_product(0) == PM_ERR_REFUSED);
		CHECK(strstr(fault.text, "pages may be missing") != NULL);
		marks = "!?";
		CHECK(make_product(0) == PM_ERR_REFUSED);
		CHECK(inode() == 0 && told == 0);
		marks = "?!";
		CHECK(make_product(0) == PM_OK && told == 1);
		CHECK(inode() != 0);
		unlink(made);
	}
	/* One that is no migration may have such marks, as a live copy has. */
	CHECK(try_foreign("", 0) == PM_OK);
	marks = "!?";
	CHECK(try_foreign("", 0) == PM_OK);
	marks = NULL;
	region = NULL;
}

static void
test_refused(void)
{
	struct ramfile_out out = { memfd_create("pm test", MFD_CLOEXEC), 0 };
	uint8_t bytes[512];
	size_t size;

	unlink(made);
	CHECK(try_foreign("", 0) == PM_ERR_REFUSED);
	CHECK(try_foreign("QEVM", 4) == PM_ERR_TRUNCATED);
	CHECK(try_foreign("something else", 14) == PM_ERR_REFUSED);
	/* A list of another block, and of that one, and of it in part. */
	file = (struct ramfile){ .shift = 12, .section = 2 };
	ramfile_configuration(&file, &out, 0);
	ramfile_number(&out, 1, 1);
	ramfile_number(&out, 2, 4);
	ramfile_text(&out, "ram");
	ramfile_number(&out, 4, 8);
	ramfile_number(&out, 4096 | 4, 8);
	ramfile_text(&out, "pc.rom");
	ramfile_number(&out, 4096, 8);
	ramfile_number(&out, 0x10, 8);
	size = (size_t)out.at;
	CHECK(pread(out.fd, bytes, size, 0) == (ssize_t)size);
	CHECK(try_foreign(bytes, size) == PM_ERR_REFUSED);
	memcpy(bytes + size - 8 - 8 - 2, "am", 2);
	CHECK(try_foreign(bytes, size - 9) == PM_ERR_TRUNCATED);
	bytes[size - 8 - 2] = 0x20;
	CHECK(try_foreign(bytes, size) == PM_ERR_CORRUPT);
	bytes[size - 8 - 2] = 0x10;
	/* Now the list is right, and what should follow it is not there. */
	CHECK(try_foreign(bytes, size) == PM_ERR_TRUNCATED);
	CHECK(strstr(fault.text, "ends early") != NULL && told == 0);
	CHECK(inode() == 0);
	close(out.fd);
}

int
main(int argc, char *argv[])
{
	start_tape(64u << 20, argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
	fd = memfd_create("pm test", MFD_CLOEXEC);
	if (fd < 0 || mkdtemp(home) == NULL)
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(made, sizeof(made), "%s/made", home);
	test_whole((struct ramfile){ .seed = 1 }, "as QEMU has it");
	test_whole((struct ramfile){ .seed = 2, .parts = 3, .command = 1 },
	    "with more sections");
	test_whole((struct ramfile){ .seed = 4, .shift = 14 },
	    "with pages of 16 KiB");
	test_other();
	test_chain();
	test_vague();
	test_refused();
	unlink(made);
	rmdir(home);
	end_tape();
	return check_done();
}
