/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration streams of all shapes come back as they were, whole and cut,
 * right and wrong; and what is understood of them becomes pages.
 */
#define _GNU_SOURCE		/* memfd_create, pipe2 */
#include <fcntl.h>
#include <sys/wait.h>

#include "check.h"
#include "migration.h"
#include "roundtrip.h"

static struct pm_qemu_capture_counts counts;
static struct pm_fault fault;

static int
holds(int fd, const void *bytes, size_t size)
{
	uint8_t *back = malloc(size + 1);
	int same = back != NULL &&
	    pread(fd, back, size + 1, 0) == (ssize_t)size &&
	    memcmp(back, bytes, size) == 0;

	free(back);
	return same;
}

static enum pm_status
capture_of(const struct migration *m, size_t size, struct memory *stream)
{
	int in = file_of(m->bytes, size);
	enum pm_status status;

	fault = (struct pm_fault){ .text = "" };
	status = capture(in, NULL, stream, &counts, &fault);
	close(in);
	return status;
}

static int
comes_back(const struct migration *m, unsigned pieces)
{
	struct pm_delta *none[2] = { NULL, NULL };
	struct memory stream = { 0 };
	int out = file_of("", 0);
	int good = capture_of(m, m->size, &stream) == PM_OK &&
	    emit(&stream, out, none, pieces, NULL, &fault) == PM_OK &&
	    holds(out, m->bytes, m->size);

	if (!good)
		printf("# %s\n", fault.text);
	close(out);
	free(stream.bytes);
	return good;
}

/* The last mark of its stream knows the generation. */
static int
knows_all(const struct migration *m)
{
	struct pm_record *rec = pm_record_new();
	struct pm_round round = { .known = -1 };
	struct memory stream = { 0 };
	struct pm_reader reader;

	if (rec == NULL || capture_of(m, m->size, &stream) != PM_OK ||
	    pm_reader_open_io(&reader, load, &stream, NULL) != PM_OK)
		abort();
	while (pm_reader_next(&reader, rec) == PM_OK)
		if (rec->type == PM_TYPE_ROUND)
			(void)pm_round_unpack(&round, rec, NULL);
	pm_reader_close(&reader);
	pm_record_free(rec);
	free(stream.bytes);
	return round.known;
}

/* The same, and so many pages were seen in it. */
static int
comes_back_with(const struct migration *m, uint64_t raw, uint64_t zero)
{
	int good = comes_back(m, 0) && counts.pages.raw == raw &&
	    counts.pages.zero == zero;

	if (!good)
		printf("# raw %llu zero %llu\n",
		    (unsigned long long)counts.pages.raw,
		    (unsigned long long)counts.pages.zero);
	return good && comes_back(m, 5) && comes_back(m, 300);
}

#define RAW_ONE		(M_PAGES - M_PAGES / 3 + 1)
#define ZERO_ONE	(M_PAGES / 3 + 2)
#define RAW_ALL		(RAW_ONE + 6)
#define ZERO_ALL	(ZERO_ONE + 2)

static void
test_machines(void)
{
	static const uint8_t filler[M_PAGE] = { 1, 2, 3 };
	struct migration m;

	m_whole(&m);
	CHECK(comes_back_with(&m, RAW_ALL, ZERO_ALL));
	CHECK(counts.rounds == 2 && counts.pages.gone == 0);
	CHECK(knows_all(&m) == 1);
	CHECK(counts.device_bytes == m.size - m.devices);
	free(m.bytes);

	/* One of long ago: no configuration, and no footers. */
	m_open(&m);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, M_PAGES * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", M_PAGES);
	m_number(&m, 0x10, 8);
	m_section(&m, 3, M_RAM, NULL, 0);
	m_page(&m, "pc.ram", 1, 1);
	m_number(&m, 0x10, 8);
	m_section(&m, 4, 3, "timer", 2);
	m_bytes(&m, "state", 5);
	m_number(&m, 0, 1);
	CHECK(comes_back_with(&m, 1, 0) && counts.pages.gone == M_PAGES - 1);
	free(m.bytes);

	/* Addresses and page sizes in the list of blocks, and commands. */
	m_open(&m);
	m_configuration(&m, "pc-q35-7.2");
	m_subsection(&m, "configuration/capabilities");
	m_number(&m, 1, 4);
	m_text(&m, "x-ignore-shared");
	m_subsection(&m, "configuration/uuid");
	m_bytes(&m, "0123456789abcdef", 16);
	m_number(&m, 8, 1);
	m_number(&m, 3, 2);
	m_number(&m, 16, 2);
	m_number(&m, 0x200000, 8);
	m_number(&m, 0x1000, 8);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, (M_PAGES + M_SMALL) * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", M_PAGES);
	m_number(&m, 0x200000, 8);
	m_number(&m, 0, 8);
	m_block(&m, "vga.vram", M_SMALL);
	m_number(&m, 0xfd000000, 8);
	m_end_of_ram(&m);
	m_first_pass(&m);
	m_number(&m, 8, 1);
	m_number(&m, 11, 2);
	m_number(&m, 0, 2);
	m_more_passes(&m);
	m_devices(&m);
	CHECK(comes_back_with(&m, RAW_ALL, ZERO_ALL));
	CHECK(knows_all(&m) == 0);
	free(m.bytes);

	/* A snapshot has no last section of RAM. */
	m_open(&m);
	m_configuration(&m, "pc");
	m_start(&m);
	m_first_pass(&m);
	m_devices(&m);
	CHECK(comes_back_with(&m, RAW_ONE, ZERO_ONE) && counts.rounds == 1);
	CHECK(counts.device_bytes == m.size - m.devices);
	free(m.bytes);

	/* Pages of 16 KiB. */
	m_open(&m);
	m_configuration(&m, "virt-7.2");
	m_subsection(&m, "configuration/target-page-bits");
	m_number(&m, 14, 4);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, 8 * 4 * M_PAGE | 4, 8);
	m_block(&m, "mach-virt.ram", 32);
	m_end_of_ram(&m);
	m_section(&m, 3, M_RAM, NULL, 0);
	m_page(&m, "mach-virt.ram", 4, 1);
	for (unsigned i = 0; i < 3; i++)
		m_bytes(&m, filler, M_PAGE);
	m_zero(&m, NULL, 8);
	m_end_of_ram(&m);
	m_devices(&m);
	CHECK(comes_back_with(&m, 1, 1) && counts.pages.gone == 6);
	free(m.bytes);
}

/* Sections of others before the last of RAM; their bytes look like some. */
static void
test_others(void)
{
	struct migration m;

	m_open(&m);
	m_configuration(&m, "pc");
	m_section(&m, 4, 90, "virtio-mem-early", 1);
	m_bytes(&m, "\x7e\0\0\0\x5a\x99", 6);
	m_footer(&m, 90);
	m_section(&m, 1, 1, "block", 1);
	m_bytes(&m, "\x7e\0\0\0\x01\x02\0\0\0\x07 disk \x7e\x7e\0\0", 21);
	m_footer(&m, 1);
	m_start(&m);
	m_section(&m, 1, 5, "dirty-bitmap", 1);
	m_bytes(&m, "bits\x7e\0\0\0\x02\x02", 10);
	m_footer(&m, 5);
	m_first_pass(&m);
	m_section(&m, 2, 1, NULL, 0);
	m_footer(&m, 1);
	m_section(&m, 2, 5, NULL, 0);
	m_bytes(&m, "more bits", 9);
	m_footer(&m, 5);
	m_more_passes(&m);
	m_section(&m, 3, 5, NULL, 0);
	m_footer(&m, 5);
	m_section(&m, 3, 1, NULL, 0);
	m_footer(&m, 1);
	m_devices(&m);
	CHECK(comes_back_with(&m, RAW_ALL, ZERO_ALL));
	CHECK(counts.device_bytes == m.size - m.devices);
	free(m.bytes);
}

/* What is not expected makes the rest foreign. */
static void
surprise(const char *what, void (*put)(struct migration *))
{
	struct migration m;

	m_open(&m);
	m_configuration(&m, "pc");
	m_start(&m);
	m_first_pass(&m);
	m_section(&m, 2, M_RAM, NULL, 0);
	m_zero(&m, "pc.ram", 0);
	put(&m);
	m_page(&m, NULL, 7, 77);
	m_end_of_ram(&m);
	m_devices(&m);
	printf("# %s\n", what);
	CHECK(comes_back_with(&m, RAW_ONE, ZERO_ONE + 1));
	CHECK(counts.device_bytes == 0 && !knows_all(&m));
	free(m.bytes);
}

static void
put_xbzrle(struct migration *m)
{
	m_word(m, 0x40, NULL, 2);
	m_bytes(m, "\1\0\3\0\1x", 6);
}

static void
put_compressed(struct migration *m)
{
	m_word(m, 0x100, NULL, 2);
	m_number(m, 3, 4);
	m_bytes(m, "zip", 3);
}

static void
put_filled(struct migration *m)
{
	m_word(m, 0x02, NULL, 2);
	m_number(m, 0xff, 1);
}

static void
put_named(struct migration *m)
{
	m_zero(m, "pc.ram", 2);
}

static void
put_unknown(struct migration *m)
{
	m_zero(m, "pc.rom", 2);
}

static void
put_beyond(struct migration *m)
{
	m_zero(m, NULL, M_PAGES);
}

static void
put_hook(struct migration *m)
{
	m_number(m, 0x80, 8);
}

static void
put_footer(struct migration *m)
{
	m_number(m, 0x10, 8);
	m_footer(m, M_RAM + 1);
}

static void
put_postcopy(struct migration *m)
{
	m_end_of_ram(m);
	m_number(m, 8, 1);
	m_number(m, 4, 2);
	m_number(m, 0, 2);
}

static void
put_section(struct migration *m)
{
	m_end_of_ram(m);
	m_section(m, 2, 77, NULL, 0);
}

static void
test_surprises(void)
{
	surprise("XBZRLE", put_xbzrle);
	surprise("compressed", put_compressed);
	surprise("filled with something", put_filled);
	surprise("a block that is named anew", put_named);
	surprise("a block that is not known", put_unknown);
	surprise("a page beyond the block", put_beyond);
	surprise("a word that is not known", put_hook);
	surprise("another footer", put_footer);
	surprise("postcopy", put_postcopy);
	surprise("a section that did not start", put_section);
}

/* A stream that was cut is never taken for a whole one. */
static void
test_cuts(void)
{
	struct memory stream = { 0 };
	struct migration m;
	int good = 1;

	m_whole(&m);
	for (size_t size = 0; size < m.size; size += size < 600 ||
	    size > m.devices - 300 ? CHECK_STRIDE : 997) {
		enum pm_status status = capture_of(&m, size, &stream);

		/* Of machines without a description, here would be the end. */
		if (size == m.end)
			continue;
		good &= status == PM_ERR_TRUNCATED ||
		    (size < 4 && status == PM_ERR_CORRUPT);
		if (!good) {
			printf("# cut at %zu: %d %s\n", size, status,
			    fault.text);
			break;
		}
	}
	CHECK(good);
	free(stream.bytes);
	free(m.bytes);
}

/*
 * The size of pages comes late; and what stands before RAM may have no end
 * that can be found.
 */
static void
test_heads(void)
{
	static const uint8_t page[4 * M_PAGE] = { 1, 2, 3 };
	struct pm_delta *none[2] = { NULL, NULL };
	struct memory stream = { 0 };
	struct migration m;
	int end[2], out;
	pid_t child;

	m_open(&m);
	m_configuration(&m, "virt-7.2");
	m_subsection(&m, "configuration/target-page-bits");
	m_number(&m, 14, 4);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, 8 * sizeof(page) | 4, 8);
	m_block(&m, "mach-virt.ram", 32);
	m_end_of_ram(&m);
	m_section(&m, 3, M_RAM, NULL, 0);
	m_word(&m, 0x08, "mach-virt.ram", 4);
	m_bytes(&m, page, sizeof(page));
	m_end_of_ram(&m);
	m_devices(&m);
	if (pipe(end) != 0 || (child = fork()) < 0)
		abort();
	if (child == 0) {
		close(end[0]);
		for (size_t at = 0; at < m.size; at += at < 80 ? 1 : m.size)
			if (usleep(2000) != 0 || write(end[1], m.bytes + at,
			    at < 80 ? 1 : m.size - at) < 1)
				_exit(1);
		_exit(0);
	}
	close(end[1]);
	CHECK(capture(end[0], NULL, &stream, &counts, &fault) == PM_OK);
	CHECK(counts.page_shift == 14 && counts.pages.raw == 1);
	out = file_of("", 0);
	CHECK(emit(&stream, out, none, 0, NULL, &fault) == PM_OK &&
	    holds(out, m.bytes, m.size));
	close(out);
	close(end[0]);
	waitpid(child, NULL, 0);
	free(m.bytes);

	m_open(&m);
	m_section(&m, 1, 1, "block", 1);
	m_bytes(&m, "disk \x7e\0\0\0\1 and \x7e", 17);
	m_section(&m, 1, M_RAM, "ram", 4);
	m_number(&m, M_PAGES * M_PAGE | 4, 8);
	m_block(&m, "pc.ram", M_PAGES);
	m_number(&m, 0x10, 8);
	m_bytes(&m, "devices \x7e\0\0\0\1\0", 14);
	CHECK(comes_back_with(&m, 0, 0));
	free(m.bytes);
	free(stream.bytes);
}

/* Whatever a byte is changed to, what comes back is what came. */
static void
test_flips(void)
{
	struct memory stream = { 0 };
	struct migration m;
	int good = 1;

	m_whole(&m);
	for (size_t at = 0; at < m.size && good; at += at < 300 ?
	    CHECK_STRIDE : 61) {
		uint8_t was = m.bytes[at];

		m.bytes[at] ^= (uint8_t)(1 << at % 8);
		if (capture_of(&m, m.size, &stream) == PM_OK)
			good = comes_back(&m, (unsigned)at % 9);
		if (!good)
			printf("# flipped at %zu\n", at);
		m.bytes[at] = was;
	}
	CHECK(good);
	free(stream.bytes);
	free(m.bytes);
}

/* However it is written, the pages are the same. */
static void
test_pieces(void)
{
	struct pm_delta *none[2] = { NULL, NULL };
	struct memory stream = { 0 };
	struct migration m;
	int end[2], out;

	m_whole(&m);
	for (unsigned seed = 1; seed < 40; seed += 13) {
		pid_t child;

		if (pipe2(end, O_DIRECT) != 0 || (child = fork()) < 0)
			abort();
		if (child == 0) {
			for (size_t at = 0, now; at < m.size; at += now) {
				now = (at * seed + 11) % 1500 + 1;
				if (now > m.size - at)
					now = m.size - at;
				if (write(end[1], m.bytes + at, now) !=
				    (ssize_t)now)
					_exit(1);
			}
			_exit(0);
		}
		close(end[1]);
		fault = (struct pm_fault){ .text = "" };
		CHECK(capture(end[0], NULL, &stream, &counts, &fault) ==
		    PM_OK);
		close(end[0]);
		waitpid(child, NULL, 0);
		CHECK(counts.pages.raw == RAW_ALL &&
		    counts.pages.zero == ZERO_ALL);
		out = file_of("", 0);
		CHECK(emit(&stream, out, none, 0, NULL, &fault) == PM_OK &&
		    holds(out, m.bytes, m.size));
		close(out);
	}
	free(stream.bytes);
	free(m.bytes);
}

/* All that came is written before more is waited for, the last byte too. */
static void
test_pauses(void)
{
	struct memory stream = { 0 };
	struct migration m;
	int end[2], said[2];
	size_t cut;
	pid_t child;
	char byte;

	m_whole(&m);
	for (unsigned part = 0; part < 2; part++) {
		cut = part == 0 ? m.devices : m.size;
		if (pipe(end) != 0 || pipe(said) != 0 || (child = fork()) < 0)
			abort();
		if (child == 0) {
			struct pm_writer writer;
			struct pm_qemu_capture_options options = {
				.record_size = PM_RECORD_PAYLOAD,
				.page_shift = 12,
				.seen = (const uint8_t *)"",
			};

			close(end[1]);
			alarm(20);
			if (pm_writer_open(&writer, said[1], NULL) != PM_OK)
				_exit(1);
			(void)pm_qemu_capture_run(end[0], &options, &writer,
			    &counts, NULL);
			_exit(0);
		}
		close(end[0]);
		close(said[1]);
		if (write(end[1], m.bytes, cut) != (ssize_t)cut)
			abort();
		/* Pages and bytes of all that was written, by records. */
		struct pm_record *rec = pm_record_new();
		struct pm_reader reader;
		uint64_t got = 0;

		CHECK(pm_reader_open(&reader, said[0], NULL) == PM_OK);
		while (got < (part == 0 ? RAW_ALL : cut - m.devices) &&
		    pm_reader_next(&reader, rec) == PM_OK) {
			for (uint32_t i = 0; part == 0 && i < rec->entries;
			    i++)
				got += pm_entry_kind(rec->entry[i]) == PM_RAW;
			if (part == 1 && rec->type == PM_TYPE_OPAQUE &&
			    reader.pages > 0 && rec->payload[0] == 4)
				got += rec->stored;
		}
		CHECK(got == (part == 0 ? RAW_ALL : cut - m.devices));
		close(end[1]);
		while (read(said[0], &byte, 1) > 0)
			;
		waitpid(child, NULL, 0);
		close(said[0]);
		pm_reader_close(&reader);
		pm_record_free(rec);
	}
	free(stream.bytes);
	free(m.bytes);
}

int
main(void)
{
	test_machines();
	test_others();
	test_surprises();
	test_cuts();
	test_heads();
	test_flips();
	test_pieces();
	test_pauses();
	return check_done();
}
