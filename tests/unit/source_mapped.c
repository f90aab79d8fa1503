/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create */
#include <sys/mman.h>

#include "capture.h"
#include "ramfile.h"
#include "tape.h"

#define PAGES_MAX	64u

static uint8_t page[65536], wanted[65536];

/* A file of /proc stands for one that has no name. */
static char path[64], stream_path[64];
static int fd, stream_fd;
static struct ramfile file;

static void
make(struct ramfile how)
{
	file = how;
	if (file.shift == 0)
		file.shift = 12;
	if (file.section == 0)
		file.section = 2;
	if (ftruncate(fd, 0) != 0 || ftruncate(stream_fd, 0) != 0)
		exit(1);
	ramfile_make(&file, fd, stream_fd);
}

static struct pm_source *
open_it(enum pm_status wants)
{
	struct pm_source *source = NULL;
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	status = pm_source_open_mapped(&source, path, &fault);
	if (status != PM_OK)
		printf("# %s\n", fault.text);
	if (status == PM_OK && wants != PM_OK)
		source->ops->close(source);
	return status == wants && wants == PM_OK ? source : NULL;
}

static int
fails(enum pm_status wants, const char *text)
{
	(void)open_it(wants);
	if (fault.taken && strstr(fault.text, text) != NULL)
		return 1;
	printf("# not: %s\n", text);
	return 0;
}

static int
opens(void)
{
	struct pm_source *source = open_it(PM_OK);

	if (source != NULL)
		source->ops->close(source);
	return source != NULL;
}

/* All pages of a region, span by span, are those that were written. */
static int
region_is_right(struct pm_source *source, uint32_t region)
{
	uint64_t pages = ramfile_block[region].pages, spans = 0;
	uint32_t got = 0;

	for (uint64_t at = 0; at < pages; spans++) {
		struct pm_span span = { PM_SPAN_GONE, 0 };

		if (source->ops->span(source, region, at, &span) != PM_OK ||
		    span.pages == 0 || span.kind == PM_SPAN_GONE)
			return 0;
		for (; span.pages > 0 && at < pages; span.pages--, at++) {
			int some = ramfile_page(&file, region, at, wanted);

			if (some != (span.kind == PM_SPAN_DATA))
				return 0;
			if (!some)
				continue;
			if (source->ops->read(source, region, at, 1, page,
			    &got, &fault) != PM_OK || got != 1 ||
			    memcmp(page, wanted, (size_t)1 << file.shift)
			    != 0)
				return 0;
		}
	}
	/* Spans are long where pages are alike. */
	return region != 0 || spans < 10000;
}

/* The bytes of one part, which are those of the stream from there on. */
static uint64_t
compare_part(struct pm_source *source, enum pm_source_part part,
    uint64_t from, size_t room)
{
	static uint8_t out[70000], is[70000];
	uint64_t at = 0;
	size_t got;

	while (source->foreign(source, part, at, out, room, &got) == PM_OK &&
	    got > 0) {
		if (pread(stream_fd, is, got, (off_t)(from + at)) !=
		    (ssize_t)got || memcmp(out, is, got) != 0)
			return UINT64_MAX;
		at += got;
	}
	return at;
}

static int
parts_are_right(struct pm_source *source, size_t room)
{
	uint64_t end = (uint64_t)lseek(stream_fd, 0, SEEK_END);
	uint64_t footer = file.no_footers ? 0 : 5;
	uint64_t rest = file.devices - file.rest + 8 + footer;
	uint64_t devices = file.end - file.devices;
	uint64_t head = compare_part(source, PM_SOURCE_BEFORE, 0, room);
	uint8_t word[8], first[8] = { 0, 0, 0, 0, 0, 0, 0, 8 };

	if (!ramfile_page(&file, 0, 0, page))
		first[7] = 2;
	/* The next thing is the first page. */
	return head < end && pread(stream_fd, word, 8, (off_t)head) == 8 &&
	    memcmp(word, first, 8) == 0 &&
	    compare_part(source, PM_SOURCE_BEHIND, end - devices - rest, room)
	    == rest && compare_part(source, PM_SOURCE_AFTER, end - devices,
	    room) == devices;
}

static void
test_source(struct ramfile how, const char *what)
{
	struct pm_source *source;

	printf("# %s\n", what);
	make(how);
	source = open_it(PM_OK);
	CHECK(source != NULL);
	if (source == NULL)
		return;
	CHECK(source->regions == RAMFILE_BLOCKS);
	CHECK(source->page_shift == file.shift);
	CHECK((source->may & PM_MAY_FOREIGN) != 0);
	for (uint32_t i = 0; i < RAMFILE_BLOCKS; i++) {
		CHECK(strcmp(source->region[i].name, ramfile_block[i].name)
		    == 0 && source->region[i].length ==
		    ramfile_block[i].pages << file.shift);
		CHECK(region_is_right(source, i));
	}
	CHECK(parts_are_right(source, 65536));
	CHECK(parts_are_right(source, 7));
	CHECK(source->ops->done(source) == PM_OK);
	CHECK(ftruncate(fd, (off_t)file.end + 1) == 0);
	CHECK(source->ops->done(source) == PM_ERR_REFUSED);
	source->ops->close(source);
}

/* A stream of it: the kinds of records, one letter each, runs as one. */
static void
list_kinds(char *kinds, size_t room, struct pm_stream *stream,
    struct pm_round *round, struct pm_end *end)
{
	static const char letter[] = "?SRMPTOE";
	struct pm_reader reader;
	size_t size = 0;

	wire_at = 0;
	memset(kinds, 0, room);
	if (pm_reader_open_io(&reader, fetch, NULL, &fault) != PM_OK)
		return;
	while (pm_reader_next(&reader, rec) == PM_OK) {
		if (rec->type == PM_TYPE_STREAM)
			(void)pm_stream_unpack(stream, rec, &fault);
		if (rec->type == PM_TYPE_ROUND)
			(void)pm_round_unpack(round, rec, &fault);
		if (rec->type == PM_TYPE_END)
			(void)pm_end_unpack(end, rec, &fault);
		if (size + 1 < room && (size == 0 || kinds[size - 1] !=
		    letter[rec->type]))
			kinds[size++] = letter[rec->type];
	}
	pm_reader_close(&reader);
}

static enum pm_status
capture(struct pm_table *since, struct pm_table *save,
    struct pm_capture_counts *out)
{
	struct pm_capture_options how = { .record_size = PM_RECORD_PAYLOAD,
	    .threads = 2, .since = since, .save = save };
	struct pm_source *source = open_it(PM_OK);
	enum pm_status status;

	start_wire();
	status = pm_capture_run(source, &how, &writer, out, &fault);
	if (status == PM_OK && save != NULL)
		status = pm_table_seal(save, out->to,
		    &(struct pm_table_stamp){ 0 });
	source->ops->close(source);
	return status;
}

static void
begin_table(struct pm_table *table, const char *name, int table_fd)
{
	struct pm_source *source = open_it(PM_OK);
	struct pm_layout *layout = pm_layout_of_blocks(source->region,
	    source->regions, source->page_shift, 0);

	CHECK(pm_table_begin(table, table_fd, name, layout, &fault) == PM_OK);
	pm_layout_free(layout);
	source->ops->close(source);
}

static enum pm_status
apply_region(const char *name, const char *region)
{
	struct pm_restore *restore;
	struct pm_target target;
	struct pm_reader reader;
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	wire_at = 0;
	status = pm_target_open(&target, name, 0, 0, &fault);
	if (status == PM_OK)
		status = pm_reader_open_io(&reader, fetch, NULL, &fault);
	restore = pm_restore_new(&target, NULL, NULL, &fault);
	pm_restore_make(restore, PM_PRODUCT_REGION, region);
	while (status == PM_OK &&
	    (status = pm_reader_next(&reader, rec)) == PM_OK)
		status = pm_restore_take(restore, rec);
	if (status == PM_END && pm_restore_finish(restore, 0) != PM_OK)
		status = PM_ERR_SYSTEM;
	pm_restore_free(restore);
	pm_reader_close(&reader);
	pm_target_close(&target);
	return status;
}

static int
image_is_right(const char *name, uint32_t block)
{
	int image = open(name, O_RDONLY | O_CLOEXEC);
	size_t size = (size_t)1 << file.shift;
	int same = image >= 0 && lseek(image, 0, SEEK_END) ==
	    (off_t)(ramfile_block[block].pages << file.shift);

	for (uint64_t at = 0; at < ramfile_block[block].pages && same; at++) {
		(void)ramfile_page(&file, block, at, wanted);
		same = pread(image, page, size, (off_t)(at << file.shift)) ==
		    (ssize_t)size && memcmp(page, wanted, size) == 0;
	}
	close(image);
	return same;
}

static void
test_capture(const char *home)
{
	struct pm_capture_counts full, part;
	struct pm_stream stream = { 0 };
	struct pm_round round = { 0 };
	struct pm_end end = { { 0, 0 }, { 0, 0 }, 0, 0 };
	struct pm_table table, since;
	char kinds[64], name[128];
	int table_fd;

	make((struct ramfile){ .parts = 2, .command = 1, .seed = 5 });
	CHECK(capture(NULL, NULL, &full) == PM_OK);
	list_kinds(kinds, sizeof(kinds), &stream, &round, &end);
	CHECK(strcmp(kinds, "SROPOTOE") == 0);
	CHECK(stream.may == PM_MAY_FOREIGN);
	CHECK(round.known && round.number == 1);
	CHECK(pm_digest_equal(round.generation, end.to));
	CHECK(round.pages == 40001 + 64 + 3 + 130 && end.pages == round.pages);
	snprintf(name, sizeof(name), "%s/image", home);
	for (uint32_t i = 0; i < RAMFILE_BLOCKS; i++) {
		CHECK(apply_region(name, ramfile_block[i].name) == PM_END);
		CHECK(image_is_right(name, i));
	}
	unlink(name);

	/* What changed since, by a table. */
	snprintf(name, sizeof(name), "%s/table", home);
	table_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	begin_table(&table, name, table_fd);
	CHECK(capture(NULL, &table, &full) == PM_OK);
	list_kinds(kinds, sizeof(kinds), &stream, &round, &end);
	CHECK(stream.may == (PM_MAY_FOREIGN | PM_MAY_SAVED));
	make((struct ramfile){ .seed = 5, .changed = 50 });
	CHECK(pm_table_open(&since, name, &fault) == PM_OK);
	CHECK(capture(&since, NULL, &part) == PM_OK);
	list_kinds(kinds, sizeof(kinds), &stream, &round, &end);
	CHECK(strcmp(kinds, "SROPOTOE") == 0);
	CHECK(stream.may == (PM_MAY_FOREIGN | PM_MAY_SAVED));
	CHECK(pm_digest_equal(stream.from, full.to));
	CHECK(pm_digest_equal(round.generation, end.to));
	CHECK(part.raw > 0 && part.raw < full.raw / 10 && part.gone == 0);
	pm_table_close(&since);
	pm_table_close(&table);
	unlink(name);
}

static void
poke(uint64_t at, uint64_t value, unsigned width)
{
	struct ramfile_out out = { fd, at };

	ramfile_number(&out, value, width);
}

/* A file that is right but for one number. */
static int
spoils(uint64_t at, uint64_t value, unsigned width, enum pm_status wants,
    const char *text)
{
	uint8_t was[8];
	int good;

	if (pread(fd, was, width, (off_t)at) != (ssize_t)width)
		return 0;
	poke(at, value, width);
	good = fails(wants, text);
	return pwrite(fd, was, width, (off_t)at) == (ssize_t)width && good;
}

static void
test_refused(void)
{
	const enum pm_status bad = PM_ERR_CORRUPT, no = PM_ERR_REFUSED;
	uint64_t machine = 8 + 5 + strlen("pc-i440fx-9.0");
	uint64_t capability = machine + 1 + 27 + 4 + 4;
	uint64_t section;

	make((struct ramfile){ .other = 1, .parts = 1 });
	CHECK(opens());
	CHECK(spoils(0, 0x51, 2, no, "no migration"));
	CHECK(spoils(4, 2, 4, no, "version"));
	CHECK(spoils(8, 1, 1, no, "no configuration"));
	CHECK(spoils(9, 256, 4, no, "no configuration"));
	CHECK(spoils(machine + 2, 'd', 1, no, "configuration"));
	CHECK(spoils(machine + 27, 'z', 1, no, "configuration"));
	CHECK(spoils(capability - 4, 1025, 4, bad, "too many"));
	CHECK(spoils(capability + 1, 'n', 1, no, "without"));
	section = capability + 11 + 13;
	CHECK(spoils(section, 2, 1, no, "with RAM"));
	CHECK(spoils(section + 6, 'R', 1, no, "with RAM"));
	CHECK(spoils(section + 13, 5, 4, no, "version 4"));
	CHECK(section + 25 == file.list);
	CHECK(spoils(file.list - 1, 0x02, 1, bad, "no list"));
	CHECK(spoils(file.list - 8, 4, 8, bad, "no list"));
	CHECK(spoils(file.list - 8, 4096 | 4, 8, bad, "odd list"));
	CHECK(spoils(file.list, 0, 1, bad, "odd list"));
	CHECK(spoils(file.list + 3, 0, 1, bad, "odd list"));
	CHECK(spoils(file.header[0] - 8, 0, 8, bad, "odd list"));
	CHECK(spoils(file.header[0] - 8, 40000 * 4096 + 5, 8, bad, "whole"));
	CHECK(spoils(file.header[0], 2, 4, bad, "version"));
	CHECK(spoils(file.header[0], 0, 4, bad, "version"));
	CHECK(spoils(file.header[0] + 4, 2048, 8, bad, "odd size"));
	CHECK(spoils(file.header[1] + 4, 8192, 8, bad, "odd size"));
	CHECK(spoils(file.header[0] + 12, 0, 8, bad, "elsewhere"));
	CHECK(spoils(file.header[0] + 12, UINT64_MAX, 8, bad, "elsewhere"));
	CHECK(spoils(file.header[0] + 20, 4096, 8, bad, "elsewhere"));
	CHECK(spoils(file.header[0] + 20, UINT64_MAX << 12, 8, bad,
	    "elsewhere"));
	CHECK(spoils(file.header[0] + 20, file.pages[0] + 1, 8, bad,
	    "whole"));
	CHECK(spoils(file.header[3] + 20, file.end & ~UINT64_C(4095), 8,
	    PM_ERR_TRUNCATED, "ends early"));
	CHECK(spoils(file.bitmap[3] + 16, 4, 1, bad, "more pages"));
	CHECK(spoils(file.rest - 13 + 7, 8, 1, bad, "stream too"));
	CHECK(spoils(file.rest - 4, 3, 4, bad, "footer"));
	CHECK(spoils(file.rest + 12, 0x20, 1, bad, "stream too"));
	CHECK(spoils(file.rest + 13, 0, 1, bad, "footer"));
	/* Words of multifd, in the first section and in a later one. */
	CHECK(spoils(file.rest - 13, 0x200, 8, bad, "multifd"));
	CHECK(spoils(file.rest + 5, 0x200, 8, bad, "multifd"));
	/* Sections that are not device state, of RAM or of others. */
	CHECK(spoils(file.devices, 1, 1, no, "in parts"));
	CHECK(spoils(file.devices, 2, 1, no, "in parts"));
	CHECK(spoils(file.devices, 3, 1, no, "in parts"));
	CHECK(spoils(file.rest + 1, 7, 4, no, "in parts"));
	CHECK(spoils(file.rest, 1, 1, no, "in parts"));
	CHECK(spoils(file.devices, 5, 1, bad, "no device state"));
	CHECK(spoils(file.devices, 0x7e, 1, bad, "no device state"));
	/* All was put back as it was. */
	CHECK(opens());
	make((struct ramfile){ .other = 0 });
	CHECK(spoils(capability - 4, 0, 4, no, "without"));
}

/* Bitmaps of machines that are known to be big-endian are not misread. */
static void
test_big_endian(void)
{
	make((struct ramfile){ .other = 1 });
	CHECK(spoils(13, 0x733339302d636377, 8, PM_ERR_REFUSED,
	    "little-endian"));	/* "s390-ccw" */
	CHECK(opens());
	make((struct ramfile){ .libvirt = 1 });
	poke(16, 2, 4);
	poke(20, 200, 4);
	poke(28, 6, 4);
	CHECK(fails(PM_ERR_REFUSED, "little-endian"));
}

/* Commands may come before RAM, but not without end. */
static void
test_long_head(void)
{
	static const uint8_t command[4096] = { 8, 0, 2, 0x0f,
	    0xfb };
	struct ramfile_out out = { fd, 0 };

	make((struct ramfile){ .other = 1 });
	out.at = file.list - 8 - 17;
	while (out.at < 17u << 20)
		ramfile_bytes(&out, command, sizeof(command));
	CHECK(fails(PM_ERR_REFUSED, "too much before"));
}

/* Some fields are texts, whose lengths stay: shared memory, and a name. */
static void
test_texts(void)
{
	uint64_t machine = 8 + 5 + strlen("pc-i440fx-9.0");
	struct ramfile_out out = { fd, machine + 1 + 27 + 4 + 4 };

	make((struct ramfile){ .other = 1 });
	ramfile_text(&out, "x-ignore-shared");
	CHECK(fails(PM_ERR_REFUSED, "x-ignore-shared"));
	make((struct ramfile){ .libvirt = 1 });
	poke(16 + 12, 0, 1);
	CHECK(fails(PM_ERR_REFUSED, "not sparse"));
	make((struct ramfile){ .libvirt = 1 });
	poke(16 + 4, 201, 1);
	CHECK(fails(PM_ERR_REFUSED, "no migration"));
}

/*
 * Wherever it ends, that is seen, unless with the byte that ends a stream
 * without a description.  The pages themselves are passed over.
 */
static void
test_cut(void)
{
	uint64_t bad = 0, tried = 0, at, step;

	make((struct ramfile){ .parts = 1 });
	for (at = file.end; at-- > 0; at -= step) {
		struct pm_source *source = NULL;
		uint8_t last = 1;

		step = at < 100 || at + 60 > file.end ? 0 : at < file.rest
		    ? file.rest / 40 : 9973;
		if (step > at)
			step = at;
		if (ftruncate(fd, (off_t)at) != 0 || (at > file.devices &&
		    pread(fd, &last, 1, (off_t)at - 1) != 1))
			exit(1);
		if (last == 0)
			continue;
		fault = (struct pm_fault){ .error = 0 };
		if (pm_source_open_mapped(&source, path, &fault) == PM_OK) {
			source->ops->close(source);
			bad++;
		}
		tried++;
	}
	CHECK(bad == 0 && tried > 100);
	printf("# %llu of %llu\n", (unsigned long long)bad,
	    (unsigned long long)tried);
}

static void
put_byte(uint64_t at, uint8_t byte)
{
	if (pwrite(fd, &byte, 1, (off_t)at) != 1)
		exit(1);
}

/* Bits that flip lead to no harm: what is opened can be read. */
static void
test_flips(void)
{
	unsigned opened = 0;

	make((struct ramfile){ .parts = 1, .other = 1 });
	for (unsigned i = 0; i < 3000 / CHECK_STRIDE; i++) {
		uint64_t at = i % 4 == 0 ? chance(file.header[0] + 28)
		    : i % 4 == 1 ? file.header[1] - 40 + chance(68)
		    : i % 4 == 2 ? file.header[3] - 20 + chance(68)
		    : file.rest - 13 + chance(60);
		struct pm_source *source = NULL;
		uint8_t was, is;

		if (pread(fd, &was, 1, (off_t)at) != 1)
			continue;
		is = (uint8_t)(was ^ 1u << chance(8));
		put_byte(at, is);
		fault = (struct pm_fault){ .error = 0 };
		if (pm_source_open_mapped(&source, path, &fault) == PM_OK) {
			struct pm_span span;
			size_t got;

			opened++;
			for (uint32_t n = 0; n < source->regions; n++)
				(void)source->ops->span(source, n, 0, &span);
			for (int part = PM_SOURCE_BEFORE;
			    part <= PM_SOURCE_AFTER; part++)
				(void)source->foreign(source,
				    (enum pm_source_part)part, 0, page,
				    sizeof(page), &got);
			source->ops->close(source);
		}
		put_byte(at, was);
	}
	/* A name or a word that nobody looks at may change. */
	CHECK(opened > 100 && opened < 2500);
}

int
main(int argc, char *argv[])
{
	char home[] = "/tmp/pm-mapped-XXXXXX";

	start_tape(64u << 20, argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
	fd = memfd_create("pm test", MFD_CLOEXEC);
	stream_fd = memfd_create("pm test", MFD_CLOEXEC);
	if (fd < 0 || stream_fd < 0 || mkdtemp(home) == NULL)
		return 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	snprintf(stream_path, sizeof(stream_path), "/proc/self/fd/%d",
	    stream_fd);
	test_source((struct ramfile){ .seed = 1 }, "as QEMU 9.0 writes it");
	test_source((struct ramfile){ .seed = 2, .parts = 3, .command = 1,
	    .section = 77, .other = 1 }, "with more sections and capabilities");
	test_source((struct ramfile){ .seed = 3, .no_footers = 1 },
	    "of a machine without footers");
	test_source((struct ramfile){ .seed = 4, .shift = 14, .bits = 1 },
	    "with pages of 16 KiB, which it says");
	test_source((struct ramfile){ .seed = 6, .libvirt = 1 },
	    "as a save image of libvirt");
	test_capture(home);
	test_refused();
	test_big_endian();
	test_long_head();
	test_texts();
	test_cut();
	test_flips();
	rmdir(home);
	end_tape();
	return check_done();
}
