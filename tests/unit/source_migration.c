/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A migration stream in a file, looked into: of each page what came last,
 * whatever came before; and a stream that is not all there, or not all
 * understood, is not taken for a guest's memory.
 */
#define _GNU_SOURCE		/* memfd_create */
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "migration.h"
#include "source.h"

#define BLOCKS		3u
#define PAGES_MAX	70000u
#define LEAF		32768u	/* pages that the source takes memory for */

/* What a guest has: block by block, the seed of each page; 0 is zeroes. */
static const struct {
	const char *name;
	uint64_t pages;
} block[BLOCKS] = {
	{ "pc.ram", 70000 }, { "vga.vram", 3 }, { "0000:00:02.0/rom", 300 },
};
static unsigned seeds[BLOCKS][PAGES_MAX];
static uint8_t page[65536], wanted[65536];
static struct migration m;
static struct pm_fault fault;
static int fd;
static uint64_t state;

static uint64_t
chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static void
write_file(uint64_t from, size_t size)
{
	if (ftruncate(fd, 0) != 0 || pwrite(fd, m.bytes, size, (off_t)from) !=
	    (ssize_t)size)
		abort();
}

static enum pm_status
open_at(struct pm_source **source, uint64_t from)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_source_open_migration(source, fd, from, 12, &fault);
}

static int
fails(enum pm_status wants, const char *text)
{
	struct pm_source *source = NULL;
	enum pm_status status = open_at(&source, 0);

	if (status == PM_OK)
		source->ops->close(source);
	if (status == wants && strstr(fault.text, text) != NULL)
		return 1;
	printf("# %d %s\n", status, fault.text);
	return 0;
}

/* What was put into m is opened with that outcome; then m is gone. */
static int
opens_as(enum pm_status wants, const char *text)
{
	int good;

	write_file(0, m.size);
	good = fails(wants, text);
	free(m.bytes);
	return good;
}

static void
begin(void)
{
	uint64_t pages = 0;

	memset(seeds, 0, sizeof(seeds));
	m_open(&m);
	m_configuration(&m, "pc-i440fx-7.2");
	m_section(&m, 1, M_RAM, "ram", 4);
	for (unsigned i = 0; i < BLOCKS; i++)
		pages += block[i].pages;
	m_number(&m, pages * M_PAGE | 4, 8);
	for (unsigned i = 0; i < BLOCKS; i++)
		m_block(&m, block[i].name, block[i].pages);
	m_end_of_ram(&m);
	m_section(&m, 2, M_RAM, NULL, 0);
	m.last = -1;
}

/* A page of QEMU's: content, or zeroes if the seed is 0. */
static void
say(unsigned at, uint64_t number, unsigned seed)
{
	const char *name = m.last == (int)at ? NULL : block[at].name;

	m.last = (int)at;
	seeds[at][number] = seed;
	if (seed == 0)
		m_zero(&m, name, number);
	else
		m_page(&m, name, number, seed);
}

static void
next_section(unsigned type)
{
	m_end_of_ram(&m);
	m_section(&m, type, M_RAM, NULL, 0);
}

static void
end(void)
{
	m_end_of_ram(&m);
	m_devices(&m);
}

/* As m_page says it. */
static void
fill(uint64_t number, unsigned seed)
{
	memset(wanted, 0, M_PAGE);
	for (size_t i = 0; seed != 0 && i < M_PAGE; i++)
		wanted[i] = (uint8_t)(i % 64 + number);
	if (seed != 0)
		memcpy(wanted + seed % 4000, &seed, sizeof(seed));
}

static int
page_is_right(struct pm_source *source, uint32_t at, uint64_t number)
{
	uint32_t got = 0;

	fill(number, seeds[at][number]);
	memset(page, 0x5a, M_PAGE);
	return source->ops->read(source, at, number, 1, page, &got, &fault) ==
	    PM_OK && got == 1 && memcmp(page, wanted, M_PAGE) == 0;
}

/* Span by span, no span ending where its kind does not, but at a leaf. */
static int
block_is_right(struct pm_source *source, uint32_t at)
{
	uint64_t pages = block[at].pages, number = 0, spans = 0, kinds = 0;
	enum pm_span_kind last = PM_SPAN_GONE;

	for (; number < pages; spans++) {
		struct pm_span span = { PM_SPAN_GONE, 0 };

		if (source->ops->span(source, at, number, &span) != PM_OK ||
		    span.pages == 0 || span.pages > pages - number)
			return 0;
		kinds += span.kind != last;
		last = span.kind;
		for (; span.pages > 0; span.pages--, number++)
			if (span.kind != (seeds[at][number] != 0
			    ? PM_SPAN_DATA : PM_SPAN_ZERO) ||
			    !page_is_right(source, at, number))
				return 0;
	}
	return number == pages && spans <= kinds + pages / LEAF + 1;
}

static int
is_right(struct pm_source *source)
{
	int good = source->regions == BLOCKS && source->page_shift == 12 &&
	    source->foreign == NULL && source->is_shared;

	for (uint32_t i = 0; i < BLOCKS && good; i++)
		good = strcmp(source->region[i].name, block[i].name) == 0 &&
		    source->region[i].length == block[i].pages * M_PAGE &&
		    block_is_right(source, i);
	return good && source->ops->done(source) == PM_OK;
}

/* The stream that stands in m is right, wherever it begins. */
static int
holds(uint64_t from)
{
	struct pm_source *source = NULL;
	int good;

	write_file(from, m.size);
	if (lseek(fd, 17, SEEK_SET) != 17)
		abort();
	if (open_at(&source, from) != PM_OK) {
		printf("# %s\n", fault.text);
		return 0;
	}
	good = is_right(source);
	source->ops->close(source);
	/* The caller's descriptor is as it was. */
	return good && lseek(fd, 0, SEEK_CUR) == 17;
}

static void
test_last_counts(void)
{
	begin();
	say(0, 0, 1);		/* only once */
	say(0, 1, 2);		/* other content later */
	say(0, 2, 3);		/* zeroes later */
	say(0, 3, 0);		/* content later */
	say(0, 4, 4);		/* content, zeroes, content */
	say(1, 1, 5);
	say(0, 5, 0);		/* zeroes, content, zeroes */
	next_section(2);
	say(0, 4, 0);
	say(0, 5, 6);
	say(1, 1, 7);
	say(1, 2, 8);
	say(2, 299, 9);
	next_section(3);
	say(0, 1, 10);
	say(0, 2, 0);
	say(0, 3, 11);
	say(0, 4, 12);
	say(0, 5, 0);
	end();
	CHECK(holds(0));
	CHECK(holds(1));
	CHECK(holds(92 + 100003));
	free(m.bytes);
}

/* The blocks lie across what memory is taken for. */
static void
test_leaves(void)
{
	begin();
	say(0, LEAF - 2, 1);
	say(0, LEAF - 1, 2);
	say(0, LEAF, 3);
	say(0, LEAF + 1, 4);
	say(0, 2 * LEAF, 5);
	say(0, 69999, 6);
	say(1, 0, 7);
	say(1, 2, 8);
	say(2, 0, 9);
	end();
	CHECK(holds(0));
	free(m.bytes);
}

static void
test_random(void)
{
	int good = 1;

	for (unsigned turn = 0; turn < 20 && good; turn++) {
		begin();
		for (unsigned i = 0; i < 400; i++) {
			unsigned at = (unsigned)chance(BLOCKS);
			uint64_t pages = block[at].pages;

			if (chance(30) == 0)
				next_section(chance(2) == 0 ? 2 : 3);
			say(at, chance(2) == 0 ? chance(pages)
			    : chance(pages < 60 ? pages : 60),
			    chance(3) == 0 ? 0 : (unsigned)chance(4000) + 1);
		}
		end();
		good = holds(chance(3) * 1001);
		free(m.bytes);
	}
	CHECK(good);
}

/* Several pages at once, zeroes among them. */
static void
test_long_reads(void)
{
	static uint8_t out[8 * M_PAGE];
	struct pm_source *source = NULL;
	uint32_t got = 0;
	int good = 1;

	begin();
	for (unsigned i = 7; i-- > 0;)
		if (i != 3)
			say(2, i, i + 1);
	end();
	write_file(0, m.size);
	CHECK(open_at(&source, 0) == PM_OK);
	memset(out, 0x5a, sizeof(out));
	CHECK(source->ops->read(source, 2, 0, 8, out, &got, &fault) == PM_OK
	    && got == 8);
	for (unsigned i = 0; i < 8; i++) {
		fill(i, seeds[2][i]);
		good &= memcmp(out + i * M_PAGE, wanted, M_PAGE) == 0;
	}
	CHECK(good);
	/* What was there and is not. */
	CHECK(ftruncate(fd, 8000) == 0);
	CHECK(source->ops->read(source, 2, 0, 8, out, &got, &fault) ==
	    PM_ERR_REFUSED && strstr(fault.text, "shrank") != NULL);
	CHECK(source->ops->done(source) == PM_ERR_REFUSED);
	source->ops->close(source);
	free(m.bytes);
}

static void
test_page_size(void)
{
	struct pm_source *source = NULL;
	struct pm_span span;
	uint32_t got = 0;

	m_open(&m);
	m_configuration(&m, "virt-7.2");
	m_subsection(&m, "configuration/target-page-bits");
	m_number(&m, 14, 4);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, 8 * 4 * M_PAGE | 4, 8);
	m_block(&m, "mach-virt.ram", 32);
	m_end_of_ram(&m);
	m_section(&m, 3, M_RAM, NULL, 0);
	m_word(&m, 0x08, "mach-virt.ram", 4);
	for (unsigned i = 0; i < sizeof(wanted); i++)
		wanted[i] = (uint8_t)(i >> 10);
	m_bytes(&m, wanted, 4 * M_PAGE);
	m_end_of_ram(&m);
	m_devices(&m);
	write_file(0, m.size);
	CHECK(open_at(&source, 0) == PM_OK && source->page_shift == 14);
	CHECK(source->ops->span(source, 0, 0, &span) == PM_OK &&
	    span.kind == PM_SPAN_ZERO && span.pages == 1);
	CHECK(source->ops->span(source, 0, 1, &span) == PM_OK &&
	    span.kind == PM_SPAN_DATA && span.pages == 1);
	CHECK(source->ops->span(source, 0, 2, &span) == PM_OK &&
	    span.kind == PM_SPAN_ZERO && span.pages == 6);
	CHECK(source->ops->read(source, 0, 1, 1, page, &got, &fault) == PM_OK
	    && memcmp(page, wanted, 4 * M_PAGE) == 0);
	source->ops->close(source);
	free(m.bytes);
}

/* A small guest that is all there. */
static void
put_small(void)
{
	m_open(&m);
	m_configuration(&m, "pc-i440fx-7.2");
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, 5 * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", 3);
	m_block(&m, "vga.vram", 2);
	m_end_of_ram(&m);
	m_section(&m, 2, M_RAM, NULL, 0);
	m_page(&m, "pc.ram", 0, 1);
	m_zero(&m, NULL, 1);
	m_page(&m, "vga.vram", 1, 2);
	m_end_of_ram(&m);
	m_section(&m, 3, M_RAM, NULL, 0);
	m_page(&m, NULL, 0, 3);
	m_page(&m, "pc.ram", 1, 4);
	m_end_of_ram(&m);
	m_devices(&m);
}

/*
 * Wherever it ends, that is seen; in device state too, though all pages are
 * there then.  Where a machine without a description ends, it may.
 */
static void
test_cuts(void)
{
	size_t size, bad = 0;

	put_small();
	write_file(0, m.size);
	CHECK(fails(PM_OK, ""));
	for (size = m.size; size-- > 0;) {
		struct pm_source *source = NULL;
		enum pm_status status, wants = size < 4 ? PM_ERR_CORRUPT
		    : size == m.end ? PM_OK : PM_ERR_TRUNCATED;

		if (ftruncate(fd, (off_t)size) != 0)
			abort();
		status = open_at(&source, 0);
		if (status == PM_OK)
			source->ops->close(source);
		if (status != wants && bad++ == 0)
			printf("# cut at %zu: %d %s\n", size, status,
			    fault.text);
	}
	CHECK(bad == 0);
	free(m.bytes);
}

static void
look_at_all(struct pm_source *source)
{
	struct pm_span span = { PM_SPAN_GONE, 0 };
	uint32_t got;

	for (uint32_t i = 0; i < source->regions; i++) {
		uint64_t pages = source->region[i].length >>
		    source->page_shift;

		for (uint64_t at = 0; at < pages; at += span.pages) {
			if (source->ops->span(source, i, at, &span) != PM_OK ||
			    span.pages == 0 || span.pages > pages - at)
				abort();
			if (span.kind == PM_SPAN_DATA &&
			    source->ops->read(source, i, at, 1, page, &got,
			    &fault) != PM_OK)
				abort();
		}
	}
}

/* Whatever stands there, what is opened can be read to its end. */
static void
test_flips(void)
{
	unsigned opened = 0, refusals = 0;

	put_small();
	write_file(0, m.size);
	for (unsigned i = 0; i < 20000 / CHECK_STRIDE; i++) {
		size_t heads = 160, size = i % 2 == 0 ? heads : m.size;
		struct pm_source *source = NULL;
		unsigned flips = 1 + (unsigned)chance(3);
		uint8_t was[3];
		size_t at[3];

		for (unsigned n = 0; n < flips; n++) {
			uint8_t is;

			at[n] = (size_t)chance(size);
			if (pread(fd, &was[n], 1, (off_t)at[n]) != 1)
				abort();
			is = (uint8_t)(was[n] ^ 1u << chance(8));
			if (pwrite(fd, &is, 1, (off_t)at[n]) != 1)
				abort();
		}
		if (open_at(&source, 0) == PM_OK) {
			opened++;
			look_at_all(source);
			source->ops->close(source);
		} else
			refusals++;
		while (flips-- > 0)
			if (pwrite(fd, &was[flips], 1, (off_t)at[flips]) != 1)
				abort();
	}
	printf("# %u opened, %u refused\n", opened, refusals);
	CHECK(opened > 1000 && refusals > 1000);
	CHECK(fails(PM_OK, ""));
	free(m.bytes);
}

/* The first section of RAM, with blocks of any size; not yet its end. */
static void
list(uint64_t total, const char *name, uint64_t pages)
{
	m_open(&m);
	m_configuration(&m, "pc-i440fx-7.2");
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, total * M_PAGE | 4, 8);
	m_block(&m, name, pages);
}

static void
put_rest(void)
{
	m_end_of_ram(&m);
	m_devices(&m);
}

static long
memory_kib(void)
{
	struct rusage usage = { .ru_maxrss = 0 };

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		abort();
	return usage.ru_maxrss;
}

/* 64 TiB that nothing is said of cost nothing, neither room nor time. */
static void
test_large(void)
{
	const uint64_t pages = UINT64_C(1) << 34, each = pages / 2;
	struct pm_source *source = NULL;
	struct pm_span span;
	uint32_t got = 0;
	long was = memory_kib();

	list(pages, "pc.ram", each);
	m_block(&m, "more", each);
	m_page(&m, "more", each - 1, 1);
	m_page(&m, "pc.ram", each / 3, 2);
	m_zero(&m, NULL, each / 2);
	put_rest();
	write_file(0, m.size);
	CHECK(open_at(&source, 0) == PM_OK);
	look_at_all(source);
	CHECK(source->ops->span(source, 1, each - 1, &span) == PM_OK &&
	    span.kind == PM_SPAN_DATA && span.pages == 1);
	fill(each - 1, 1);
	CHECK(source->ops->read(source, 1, each - 1, 1, page, &got, &fault) ==
	    PM_OK && memcmp(page, wanted, M_PAGE) == 0);
	source->ops->close(source);
	free(m.bytes);
	CHECK(memory_kib() - was < 32 << 10);
}

static void
test_hostile_lists(void)
{
	const uint64_t most = UINT64_C(1) << 34;
	char name[16];

	list(most + 1, "pc.ram", most + 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "64 TiB"));
	list(5, "pc.ram", 6);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "odd"));
	list(5, "pc.ram", 0);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "odd"));
	list(5, "pc.ram", 3);
	m_block(&m, "pc.ram", 2);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "one name"));
	list(5, "pc.ram", 4);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "too short"));
	list(5, "pc.ram", 5);
	m_block(&m, "more", 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "too long"));
	list(1025, "first", 1);
	for (unsigned i = 1; i < 1025; i++) {
		snprintf(name, sizeof(name), "block %u", i);
		m_block(&m, name, 1);
	}
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "odd"));
	list(5, "pc.ram", 5);
	m_page(&m, "pc.ram", 5, 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "no block of the list"));
	list(5, "pc.ram", 5);
	m_zero(&m, "pc.ram", most);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "no block of the list"));
	list(5, "pc.ram", 5);
	m_page(&m, "pc.rom", 0, 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "no block of the list"));
	m_open(&m);
	m_section(&m, 1, M_RAM, "ram", 4);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "lists no blocks"));
}

/* Pages after a good one, that are not to be had. */
static void
begin_surprise(void)
{
	list(5, "pc.ram", 5);
	m_page(&m, "pc.ram", 0, 1);
}

static void
begin_with_capability(const char *name)
{
	m_open(&m);
	m_configuration(&m, "pc-i440fx-9.0");
	m_subsection(&m, "configuration/capabilities");
	m_number(&m, 1, 4);
	m_text(&m, name);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, 5 * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", 5);
	m_page(&m, "pc.ram", 0, 1);
	put_rest();
}

static void
test_surprises(void)
{
	begin_surprise();
	m_word(&m, 0x40, NULL, 0);
	m_bytes(&m, "\1\0\3\0\1x", 6);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "can't be looked into: pages come as "
	    "XBZRLE"));
	begin_surprise();
	m_word(&m, 0x100, NULL, 2);
	m_number(&m, 3, 4);
	m_bytes(&m, "zip", 3);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "can't be looked into: pages are "
	    "compressed"));
	begin_surprise();
	m_word(&m, 0x02, NULL, 2);
	m_number(&m, 0xff, 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "another byte"));
	begin_surprise();
	m_number(&m, 0x200, 8);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "multifd"));
	begin_surprise();
	m_end_of_ram(&m);
	m_number(&m, 8, 1);
	m_number(&m, 4, 2);
	m_number(&m, 0, 2);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "postcopy"));
	begin_surprise();
	m_end_of_ram(&m);
	m_number(&m, 99, 1);
	put_rest();
	CHECK(opens_as(PM_ERR_REFUSED, "no known kind"));
	begin_with_capability("xbzrle");
	CHECK(opens_as(PM_OK, ""));
	begin_with_capability("mapped-ram");
	CHECK(opens_as(PM_ERR_REFUSED, "can't be looked into: capability "
	    "mapped-ram"));
	begin_with_capability("x-ignore-shared");
	CHECK(opens_as(PM_ERR_REFUSED, "can't be looked into: capability "
	    "x-ignore-shared"));
	m_open(&m);
	m_configuration(&m, "pc");
	m_devices(&m);
	CHECK(opens_as(PM_ERR_REFUSED, "has no RAM"));
	m_open(&m);
	m_section(&m, 1, 1, "block", 1);
	m_bytes(&m, "disk", 4);
	CHECK(opens_as(PM_ERR_REFUSED, "a section before that of RAM"));
	m_open(&m);
	m.bytes[7] = 2;
	CHECK(opens_as(PM_ERR_REFUSED, "version"));
}

static void
test_no_streams(void)
{
	struct pm_source *source = NULL;
	int ends[2];

	put_small();
	write_file(0, m.size);
	CHECK(open_at(&source, 1) == PM_ERR_CORRUPT);
	CHECK(open_at(&source, m.size - 2) == PM_ERR_CORRUPT);
	CHECK(open_at(&source, m.size) == PM_ERR_CORRUPT);
	CHECK(open_at(&source, m.size + 1) == PM_ERR_CORRUPT);
	CHECK(open_at(&source, UINT64_MAX) == PM_ERR_CORRUPT);
	free(m.bytes);
	if (pipe(ends) != 0)
		abort();
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_source_open_migration(&source, ends[0], 0, 12, &fault) ==
	    PM_ERR_REFUSED && strstr(fault.text, "regular file") != NULL);
	close(ends[0]);
	close(ends[1]);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_source_open_migration(&source, ends[0], 0, 12, &fault) ==
	    PM_ERR_READ);
	CHECK(source == NULL);
}

int
main(int argc, char *argv[])
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

	printf("# seed %llu\n", (unsigned long long)seed);
	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	fd = memfd_create("pm test", MFD_CLOEXEC);
	if (fd < 0)
		return 1;
	test_large();
	test_last_counts();
	test_leaves();
	test_random();
	test_long_reads();
	test_page_size();
	test_cuts();
	test_flips();
	test_hostile_lists();
	test_surprises();
	test_no_streams();
	return check_done();
}
