/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What QEMU would hold after a stream that was written with deltas, or as a
 * chain, is what it would hold after the one that came; and nothing that is
 * not right gets to its device state.
 */
#define _GNU_SOURCE		/* memfd_create */
#include <sys/stat.h>

#include "check.h"
#include "layout.h"
#include "migration.h"
#include "roundtrip.h"
#include "xbzrle.h"

static struct pm_qemu_capture_counts counts;
static struct pm_qemu_emit_counts emitted;
static struct pm_fault fault;

/* A destination: its RAM, and what device state it was given. */
struct guest {
	uint8_t ram[M_PAGES + M_SMALL][M_PAGE];
	uint64_t xbzrle, pages;
	size_t devices;		/* bytes; 0: it does not start */
	uint8_t state[4096];
};

static uint64_t
number(const uint8_t *p, unsigned width)
{
	uint64_t value = 0;

	while (width-- > 0)
		value = value << 8 | *p++;
	return value;
}

/* The sections of RAM of a stream of m_start; 0 when it is wrong. */
static int
load_ram(struct guest *guest, const uint8_t **next, const uint8_t *end)
{
	const uint8_t *p = *next;
	static uint8_t *block;

	for (;;) {
		uint64_t word = number(p, 8), flags = word % M_PAGE;
		uint8_t *page;

		if (end - p < 8)
			return 0;
		p += 8;
		if (flags == 0x10)
			break;
		if ((flags & M_SAME) == 0) {
			block = memcmp(p, "\6pc.ram", 7) == 0 ? guest->ram[0]
			    : guest->ram[M_PAGES];
			p += 1 + p[0];
		}
		page = block + (word - flags);
		switch (flags & ~(uint64_t)M_SAME) {
		case 0x02:
			memset(page, *p++, M_PAGE);
			break;
		case 0x08:
			memcpy(page, p, M_PAGE);
			p += M_PAGE;
			guest->pages++;
			break;
		case 0x40:
			if (p[0] != 1 || pm_xbzrle_decode(page, M_PAGE, p + 3,
			    number(p + 1, 2), NULL) != PM_OK)
				return 0;
			p += 3 + number(p + 1, 2);
			guest->xbzrle++;
			break;
		default:
			return 0;
		}
	}
	if (end - p < 5 || p[0] != 0x7e || number(p + 1, 4) != M_RAM)
		return 0;
	*next = p + 5;
	return 1;
}

/* What a QEMU would make of a stream with such a head. */
static int
load_guest(struct guest *guest, const uint8_t *bytes, size_t size,
    size_t head)
{
	const uint8_t *p = bytes + head, *end = bytes + size;

	/* What the memory was given for holds, it may hold before. */
	memset(guest, 0, sizeof(*guest));
	memset(guest->ram, 0xa5, sizeof(guest->ram));
	if (size < head)
		return 0;
	while (p < end && (*p == 2 || *p == 3)) {
		p += 5;
		if (!load_ram(guest, &p, end))
			return 0;
	}
	guest->devices = (size_t)(end - p);
	if (guest->devices > sizeof(guest->state))
		return 0;
	memcpy(guest->state, p, guest->devices);
	return 1;
}

static int
load_file(struct guest *guest, int fd, size_t head)
{
	struct stat st;
	uint8_t *bytes;
	int good;

	if (fstat(fd, &st) != 0 || (bytes = malloc((size_t)st.st_size + 8))
	    == NULL || pread(fd, bytes, (size_t)st.st_size, 0) != st.st_size)
		abort();
	memset(bytes + st.st_size, 0, 8);
	good = load_guest(guest, bytes, (size_t)st.st_size, head);
	free(bytes);
	return good;
}

/* The head of m_start ends here. */
static size_t
head_of(void)
{
	struct migration m;
	size_t size;

	m_open(&m);
	m_configuration(&m, "pc-i440fx-7.2");
	m_start(&m);
	size = m.size;
	free(m.bytes);
	return size;
}

static void
capture_all(const struct migration *m, struct pm_table *since,
    struct memory *stream)
{
	int in = file_of(m->bytes, m->size);

	fault = (struct pm_fault){ .text = "" };
	if (capture(in, since, stream, &counts, &fault) != PM_OK)
		printf("# %s\n", fault.text);
	close(in);
}

static struct pm_delta *
new_delta(int decode, uint64_t bytes)
{
	struct pm_delta *delta = pm_delta_new(&(struct pm_delta_options){
	    .decode = decode, .cache_bytes = bytes });

	if (delta == NULL)
		abort();
	return delta;
}

static void
test_deltas(void)
{
	static struct guest was, is;
	struct memory stream = { 0 };
	struct migration m;
	const uint64_t cache[] = { M_PAGE, 5 * M_PAGE, 1 << 20 };

	m_whole(&m);
	CHECK(load_guest(&was, m.bytes, m.size, head_of()));
	for (unsigned i = 0; i < 3; i++) {
		struct pm_delta *step[2] = { new_delta(0, cache[i]), NULL };
		int out = file_of("", 0);

		capture_all(&m, NULL, &stream);
		fault = (struct pm_fault){ .text = "" };
		CHECK(emit(&stream, out, step, 0, &emitted, &fault) == PM_OK);
		CHECK(load_file(&is, out, head_of()));
		CHECK(memcmp(was.ram, is.ram, sizeof(is.ram)) == 0);
		CHECK(is.devices == was.devices &&
		    memcmp(is.state, was.state, is.devices) == 0);
		/* Pages 2, twice, and 3 came again with what they had. */
		CHECK(i < 2 || (is.xbzrle == 2 && emitted.delta == 2 &&
		    emitted.same == 1 && was.pages == is.pages + 3));
		pm_delta_free(step[0]);
		close(out);

		/* And without a trace of it, decoded again. */
		capture_all(&m, NULL, &stream);
		step[0] = new_delta(0, cache[i]);
		step[1] = new_delta(1, 2 << 20);
		out = file_of("", 0);
		CHECK(emit(&stream, out, step, 3, &emitted, &fault) == PM_OK);
		CHECK(load_file(&is, out, head_of()) && is.xbzrle == 0 &&
		    is.pages == was.pages && emitted.bytes == m.size);
		pm_delta_free(step[0]);
		pm_delta_free(step[1]);
		close(out);
	}
	free(stream.bytes);
	free(m.bytes);
}

/*
 * What is not understood goes on with the block of the page before, of which
 * QEMU was told nothing as it was the same.
 */
static void
test_surprise(void)
{
	static struct guest was, is;
	struct memory stream = { 0 };
	struct migration m;

	for (unsigned i = 0; i < 2; i++) {
		struct pm_delta *step[2] = { new_delta(0, 1 << 20), NULL };
		int out = file_of("", 0);

		m_open(&m);
		m_configuration(&m, "pc-i440fx-7.2");
		m_start(&m);
		m_first_pass(&m);
		m_section(&m, 2, M_RAM, NULL, 0);
		m_page(&m, "pc.ram", 2, 11);
		m_page(&m, "vga.vram", 1, 9);		/* the same */
		if (i == 1)
			m_end_of_ram(&m);
		if (i == 1)
			m_section(&m, 3, M_RAM, NULL, 0);
		m_word(&m, 0x40, NULL, 2);
		m_bytes(&m, "\1\0\3\0\1x", 6);
		m_page(&m, NULL, 0, 5);
		m_end_of_ram(&m);
		m_devices(&m);
		CHECK(load_guest(&was, m.bytes, m.size, head_of()));
		capture_all(&m, NULL, &stream);
		CHECK(emit(&stream, out, step, i * 3, &emitted, &fault) ==
		    PM_OK);
		CHECK(emitted.same == 1 && emitted.delta == 1);
		CHECK(load_file(&is, out, head_of()) && is.devices > 0);
		CHECK(memcmp(was.ram, is.ram, sizeof(is.ram)) == 0);
		pm_delta_free(step[0]);
		close(out);
		free(m.bytes);
	}
	free(stream.bytes);
}

static unsigned
chance(uint64_t *state, unsigned of)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(*state >> 33) % of;
}

/* Some pages of a pass, in order or not; those that come again often equal. */
static void
put_pass(struct migration *m, uint64_t *state, int surprises)
{
	static uint8_t told[M_PAGES + M_SMALL];
	int in_order = chance(state, 3) > 0, block = m->last;
	unsigned pages = chance(state, 50), at = 0;

	if (block < 0)
		memset(told, 0, sizeof(told));
	for (unsigned i = 0; i < pages; i++) {
		unsigned page = in_order ? at++ % (M_PAGES + M_SMALL)
		    : chance(state, M_PAGES + M_SMALL);
		int is_small = page >= M_PAGES;
		unsigned number = is_small ? page - M_PAGES : page;
		const char *name = is_small != block ||
		    (surprises && chance(state, 60) == 0) ? is_small
		    ? "vga.vram" : "pc.ram" : NULL;

		block = is_small;
		if (surprises && told[page] && chance(state, 40) == 0) {
			m_word(m, 0x40, name, number);
			m_bytes(m, "\1\0\3\0\1x", 6);
		} else if (chance(state, 4) == 0)
			m_zero(m, name, number);
		else
			m_page(m, name, number, chance(state, 3) == 0
			    ? chance(state, 2000) : page + 1);
		told[page] = 1;
	}
	m->last = block;
}

/*
 * Whatever QEMU sends, a destination holds the same after deltas of it; and
 * after deltas and their decoder it was sent the same.
 */
static void
test_random(void)
{
	static struct guest was, is;
	const char *text = getenv("PM_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
	uint64_t deltas = 0, same = 0;
	struct memory stream = { 0 };
	struct migration m;
	int good = 1;

	printf("# seed %llu\n", (unsigned long long)seed);
	for (uint64_t end = seed + 120; seed < end && good; seed++) {
		uint64_t state = seed;
		int surprises = chance(&state, 2) != 0;
		unsigned passes = 1 + chance(&state, 6);

		m_open(&m);
		m_configuration(&m, "pc-i440fx-7.2");
		m_start(&m);
		m.last = -1;
		for (unsigned i = 1; i <= passes; i++) {
			m_section(&m, i < passes ? 2 : 3, M_RAM, NULL, 0);
			put_pass(&m, &state, surprises);
			m_end_of_ram(&m);
		}
		m_devices(&m);
		good &= load_guest(&was, m.bytes, m.size, head_of());
		for (unsigned mode = 0; mode < 2; mode++) {
			struct pm_delta *step[2] = { new_delta(0, M_PAGE *
			    (1 + chance(&state, 40))), mode == 0 ? NULL
			    : new_delta(1, 1 << 20) };
			int out = file_of("", 0);

			capture_all(&m, NULL, &stream);
			good &= emit(&stream, out, step, chance(&state, 9),
			    &emitted, &fault) == PM_OK &&
			    load_file(&is, out, head_of()) &&
			    is.devices == was.devices &&
			    memcmp(is.ram, was.ram, sizeof(is.ram)) == 0 &&
			    (mode == 0 || emitted.bytes == m.size);
			deltas += emitted.delta;
			same += emitted.same;
			pm_delta_free(step[0]);
			pm_delta_free(step[1]);
			close(out);
			if (!good)
				printf("# PM_SEED=%llu mode %u: %s\n",
				    (unsigned long long)seed, mode,
				    fault.text);
		}
		free(m.bytes);
	}
	CHECK(good && deltas > 400 && same > 400);
	free(stream.bytes);
}

/* A table of what a capture led to, as it is saved. */
static struct pm_table table;

static struct pm_table *
begin_table(const struct pm_source *source)
{
	struct pm_layout *layout = pm_layout_of_blocks(source->region,
	    source->regions, source->page_shift, 0);

	if (layout == NULL || pm_table_begin(&table, file_of("", 0), "table",
	    layout, NULL) != PM_OK)
		abort();
	pm_layout_free(layout);
	return &table;
}

/* Capture a stream of a chain, and open the table that it leaves. */
static void
capture_next(const struct migration *m, struct pm_table *since,
    struct memory *stream)
{
	struct pm_qemu_capture_options options = {
		.record_size = PM_RECORD_PAYLOAD, .page_shift = 12,
		.since = since, .seen = (const uint8_t *)"",
		.save = begin_table,
	};
	int in = file_of(m->bytes, m->size);
	struct pm_table_stamp stamp = { { 0 } };
	struct pm_writer writer;
	char path[64];
	int fd;

	stream->size = 0;
	CHECK(pm_writer_open_io(&writer, store, stream, &fault) == PM_OK &&
	    pm_qemu_capture_run(in, &options, &writer, &counts, &fault) ==
	    PM_OK);
	pm_writer_close(&writer);
	close(in);
	stamp = counts.stamp;
	CHECK(pm_table_seal(&table, counts.pages.to, &stamp) == PM_OK);
	if (since != NULL)
		pm_table_close(since);
	fd = dup(table.fd);
	pm_table_close(&table);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(pm_table_open(&table, path, &fault) == PM_OK);
	table.path = "table";
	close(fd);
}

/* A capture that is to be part of a chain, and can't be. */
static int
is_no_part(const struct migration *m, struct pm_table *since)
{
	struct pm_qemu_capture_options options = {
		.record_size = PM_RECORD_PAYLOAD, .page_shift = 12,
		.since = since, .seen = (const uint8_t *)"",
		.save = since == NULL ? begin_table : NULL,
	};
	struct memory stream = { 0 };
	int in = file_of(m->bytes, m->size);
	struct pm_writer writer;
	enum pm_status status;

	fault = (struct pm_fault){ .text = "" };
	if (pm_writer_open_io(&writer, store, &stream, &fault) != PM_OK)
		abort();
	status = pm_qemu_capture_run(in, &options, &writer, &counts, &fault);
	pm_writer_close(&writer);
	close(in);
	free(stream.bytes);
	return status == PM_ERR_REFUSED &&
	    strstr(fault.text, "part of a chain") != NULL;
}

static void
append(struct memory *all, const struct memory *stream)
{
	struct iovec iov = { stream->bytes, stream->size };

	store(all, &iov, 1);
}

/* A guest that is saved again and again, and what it is at the end. */
static void
test_chain(void)
{
	static struct guest was, is;
	static struct pm_table since;
	struct memory all = { 0 }, stream = { 0 };
	struct pm_delta *step[2] = { NULL, NULL };
	struct migration m[3], none;
	int out;

	for (unsigned i = 0; i < 3; i++) {
		m_open(&m[i]);
		m_configuration(&m[i], "pc-i440fx-7.2");
		m_start(&m[i]);
		m_section(&m[i], 2, M_RAM, NULL, 0);
		for (unsigned page = 0; page < M_PAGES; page++)
			if (page == 22 && i == 0)
				continue;	/* told of later */
			else if (page == 3 + i || page == 20 || page == 22)
				m_zero(&m[i], page == 0 ? "pc.ram" : NULL,
				    page);
			else if (i != 2 || page != 21)
				m_page(&m[i], page == 0 ? "pc.ram" : NULL,
				    page, page == 9 ? 50 + i : 7);
		m_end_of_ram(&m[i]);
		m_section(&m[i], 3, M_RAM, NULL, 0);
		for (unsigned page = 0; page < M_SMALL; page++)
			m_zero(&m[i], page == 0 ? "vga.vram" : NULL, page);
		m_end_of_ram(&m[i]);
		m_section(&m[i], 4, 10, "state", i + 1);
		m_devices(&m[i]);
		capture_next(&m[i], i == 0 ? NULL : &since, &stream);
		since = table;
		append(&all, &stream);
		CHECK(i == 0 || counts.pages.raw == 2);
		CHECK(i < 2 || counts.pages.gone == 1);
	}
	CHECK(load_guest(&was, m[2].bytes, m[2].size, head_of()));
	/* What the last one did not mention is gone, and reads as zeroes. */
	memset(was.ram[21], 0, M_PAGE);
	for (unsigned i = 0; i < 2; i++) {
		out = file_of("", 0);
		step[0] = i == 0 ? NULL : new_delta(0, 1 << 20);
		CHECK(emit(&all, out, step, i * 4, &emitted, &fault) == PM_OK);
		CHECK(load_file(&is, out, head_of()));
		CHECK(memcmp(was.ram, is.ram, sizeof(is.ram)) == 0);
		CHECK(is.devices == was.devices &&
		    memcmp(is.state, was.state, is.devices) == 0);
		CHECK(emitted.generations == 3 && (i == 0) == (is.xbzrle ==
		    0));
		pm_delta_free(step[0]);
		close(out);
	}

	/* A guest without memory. */
	m_open(&none);
	m_section(&none, 1, M_RAM, "ram", 4);
	m_end_of_ram(&none);
	m_devices(&none);
	CHECK(is_no_part(&none, NULL) && is_no_part(&none, &since));
	free(none.bytes);

	/* What that guest is not. */
	for (unsigned i = 0; i < 2; i++) {
		struct migration other;

		m_open(&other);
		m_configuration(&other, i == 0 ? "pc-i440fx-7.1"
		    : "pc-i440fx-7.2");
		m_start(&other);
		if (i == 1) {
			m_section(&other, 1, 5, "dirty-bitmap", 1);
			m_footer(&other, 5);
		}
		m_first_pass(&other);
		m_devices(&other);
		CHECK(is_no_part(&other, &since));
		if (i == 1)
			CHECK(is_no_part(&other, NULL));
		free(other.bytes);
	}

	/* Alone, the second has nothing to start from. */
	step[0] = NULL;
	out = file_of("", 0);
	fault = (struct pm_fault){ .text = "" };
	CHECK(emit(&stream, out, step, 0, NULL, &fault) == PM_ERR_CORRUPT);
	close(out);

	/* And no chain follows a guest that was passed on. */
	all.size = 0;
	capture_all(&m[0], NULL, &stream);
	append(&all, &stream);
	append(&all, &stream);
	out = file_of("", 0);
	fault = (struct pm_fault){ .text = "" };
	CHECK(emit(&all, out, step, 0, NULL, &fault) != PM_OK);
	close(out);
	pm_table_close(&table);
	for (unsigned i = 0; i < 3; i++)
		free(m[i].bytes);
	free(stream.bytes);
	free(all.bytes);
}

/* Feed the records of a stream, changed or left out; what QEMU is given. */
static enum pm_status
feed(struct memory *stream, int (*change)(struct pm_record *),
    struct guest *guest)
{
	int out = file_of("", 0);
	struct pm_qemu_emit *emit;
	struct pm_record *rec = pm_record_new();
	struct pm_reader reader;
	enum pm_status status;

	fault = (struct pm_fault){ .text = "" };
	emit = pm_qemu_emit_new(out, &fault);
	stream->at = 0;
	if (emit == NULL || rec == NULL ||
	    pm_reader_open_io(&reader, load, stream, NULL) != PM_OK)
		abort();
	while ((status = pm_reader_next(&reader, rec)) == PM_OK)
		if (change(rec) &&
		    (status = pm_qemu_emit_take(emit, rec)) != PM_OK)
			break;
	/* One that was cut does not start. */
	(void)load_file(guest, out, head_of());
	pm_reader_close(&reader);
	pm_record_free(rec);
	pm_qemu_emit_free(emit);
	close(out);
	return status;
}

static int
without_round(struct pm_record *rec)
{
	return rec->type != PM_TYPE_ROUND;
}

static int
with_another_round(struct pm_record *rec)
{
	if (rec->type == PM_TYPE_ROUND)
		rec->payload[9] ^= 1;
	return 1;
}

static int
without_a_page(struct pm_record *rec)
{
	return rec->type != PM_TYPE_PAGES || rec->region != 1;
}

static int
with_another_byte(struct pm_record *rec)
{
	if (rec->type == PM_TYPE_PAGES && rec->region == 1 && rec->stored > 0)
		rec->payload[7] ^= 1;
	return 1;
}

static int
without_a_head(struct pm_record *rec)
{
	return rec->type != PM_TYPE_OPAQUE || rec->payload[0] != 'Q';
}

static int
with_same(struct pm_record *rec)
{
	if (rec->type != PM_TYPE_PAGES || rec->stored == 0)
		return 1;
	rec->entries = 1;
	rec->stored = rec->decoded = 0;
	rec->entry[0] = pm_entry_of(rec->entry[0].page, PM_SAME, 1);
	return 1;
}

static int
with_a_broken_delta(struct pm_record *rec)
{
	if (rec->type != PM_TYPE_PAGES || rec->stored == 0)
		return 1;
	rec->entries = 1;
	rec->stored = rec->decoded = 3;
	memcpy(rec->payload, "\xff\x7f\1", 3);
	rec->entry[0] = pm_entry_of(rec->entry[0].page, PM_DELTA, 3);
	return 1;
}

static int
with_deltas_of_nothing(struct pm_record *rec)
{
	if (rec->type != PM_TYPE_PAGES || rec->stored == 0)
		return 1;
	rec->entries = 1;
	rec->stored = rec->decoded = 3;
	memcpy(rec->payload, "\0\1x", 3);
	rec->entry[0] = pm_entry_of(rec->entry[0].page, PM_DELTA, 3);
	return 1;
}

static int
with_pages_of_16_kib(struct pm_record *rec)
{
	if (rec->type == PM_TYPE_STREAM)
		rec->payload[2] = 14;
	return 1;
}

static int
with_a_long_length(struct pm_record *rec)
{
	static unsigned seen;

	/* Of a page that was sent: QEMU takes lengths of two bytes. */
	if (rec->type != PM_TYPE_PAGES || rec->stored == 0 ||
	    rec->region != 0 || seen++ == 0)
		return 1;
	rec->entries = 1;
	rec->stored = rec->decoded = 6;
	memcpy(rec->payload, "\x80\x80\0\1x", 6);
	rec->stored = rec->decoded = 5;
	rec->entry[0] = pm_entry_of(rec->entry[0].page, PM_DELTA, 5);
	return 1;
}

static int
as_it_is(struct pm_record *rec)
{
	(void)rec;
	return 1;
}

static void
test_refusals(void)
{
	static struct guest guest;
	struct memory stream = { 0 };
	struct migration m;

	m_whole(&m);
	capture_all(&m, NULL, &stream);
	CHECK(feed(&stream, as_it_is, &guest) == PM_END && guest.devices > 0);
	CHECK(feed(&stream, without_round, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_another_round, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, without_a_page, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_another_byte, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, without_a_head, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_same, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_a_broken_delta, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_deltas_of_nothing, &guest) ==
	    PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_pages_of_16_kib, &guest) == PM_ERR_CORRUPT);
	CHECK(guest.devices == 0);
	CHECK(feed(&stream, with_a_long_length, &guest) == PM_ERR_CORRUPT);
	CHECK(strstr(fault.text, "QEMU does not decode") != NULL);
	CHECK(guest.devices == 0);
	free(stream.bytes);
	free(m.bytes);
}

/* What is spoilt on the way to the encoder does not become a delta. */
static void
test_encoder(void)
{
	struct pm_delta *delta = new_delta(0, 1 << 20);
	struct pm_record *rec = pm_record_new();
	struct memory stream = { 0 };
	struct pm_reader reader;
	struct migration m;
	enum pm_status status = PM_OK;

	m_whole(&m);
	capture_all(&m, NULL, &stream);
	stream.at = 0;
	fault = (struct pm_fault){ .text = "" };
	CHECK(pm_reader_open_io(&reader, load, &stream, NULL) == PM_OK);
	while (status == PM_OK && pm_reader_next(&reader, rec) == PM_OK) {
		if (rec->type == PM_TYPE_PAGES && rec->stored > 0 &&
		    reader.pages > M_PAGES + M_SMALL)
			rec->payload[100] ^= 4;
		status = pm_delta_step(rec, delta, &fault);
	}
	CHECK(status == PM_ERR_CORRUPT);
	pm_reader_close(&reader);
	pm_record_free(rec);
	pm_delta_free(delta);
	free(stream.bytes);
	free(m.bytes);
}

int
main(void)
{
	test_deltas();
	test_surprise();
	test_random();
	test_chain();
	test_refusals();
	test_encoder();
	return check_done();
}
