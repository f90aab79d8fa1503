/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ramfile.h - a migration file as QEMU writes it with mapped-ram, and the
 * stream that it writes without.
 *
 * Both are made here from QEMU's documentation and nothing of the library,
 * since no QEMU at hand writes such files.  Of the pages without a bit in
 * the file, the stream says that they are zeroes.
 */
#ifndef RAMFILE_H
#define RAMFILE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RAMFILE_BLOCKS	4u
#define RAMFILE_ALIGN	(UINT64_C(1) << 20)

struct ramfile {
	unsigned shift;			/* of pages */
	uint32_t section;		/* RAM's number */
	int no_footers, parts, command, other, bits, libvirt;
	uint64_t seed;
	uint64_t changed;		/* of so many pages, one has changed */

	/* What came of it: bytes in the file. */
	uint64_t start;			/* of QEMU's */
	uint64_t list;			/* of blocks */
	uint64_t header[RAMFILE_BLOCKS], bitmap[RAMFILE_BLOCKS];
	uint64_t pages[RAMFILE_BLOCKS], rest, devices, end;
};

static const struct {
	const char *name;
	uint64_t pages;
} ramfile_block[RAMFILE_BLOCKS] = {
	{ "pc.ram", 40001 },		/* more than is looked at once */
	{ "0000:00:02.0/vga.vram", 64 },
	{ "/rom@etc/acpi/tables", 3 },
	{ "pc.bios", 130 },
};

/* A place in one of the two files. */
struct ramfile_out {
	int fd;
	uint64_t at;
};

static inline uint64_t
ramfile_chance(uint64_t seed, uint64_t block, uint64_t page)
{
	uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
	    (block << 40 | page) * UINT64_C(0xbf58476d1ce4e5b9);

	x ^= x >> 31;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 29;
}

/*
 * The content of a page; 0 where it was never written.  Most of the first
 * block was not, some of the others was written with zeroes.
 */
static inline int
ramfile_page(const struct ramfile *file, uint64_t block, uint64_t page,
    uint8_t *out)
{
	uint64_t what = ramfile_chance(file->seed, block, page), x;
	size_t size = (size_t)1 << file->shift;

	memset(out, 0, size);
	if (block == 0 ? page % 4096 >= 100 && page < 39990 : what % 3 == 0)
		return 0;
	if (what % 7 == 0)
		return 1;
	if (file->changed != 0 && ramfile_chance(3, block, page) %
	    file->changed == 0)
		what++;
	for (size_t i = 0; i < size; i += 8) {
		x = what % 2 == 0 ? what : ramfile_chance(what, 77, i);
		memcpy(out + i, &x, 8);
	}
	return 1;
}

static inline void
ramfile_bytes(struct ramfile_out *out, const void *bytes, size_t size)
{
	if (out == NULL)
		return;
	if (pwrite(out->fd, bytes, size, (off_t)out->at) != (ssize_t)size) {
		printf("Bail out! a file cannot be written\n");
		exit(1);
	}
	out->at += size;
}

static inline void
ramfile_number(struct ramfile_out *out, uint64_t value, unsigned width)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < width; i++)
		bytes[i] = (uint8_t)(value >> 8 * (width - 1 - i));
	ramfile_bytes(out, bytes, width);
}

static inline void
ramfile_text(struct ramfile_out *out, const char *text)
{
	ramfile_number(out, strlen(text), 1);
	ramfile_bytes(out, text, strlen(text));
}

static inline void
ramfile_footer(const struct ramfile *file, struct ramfile_out *out)
{
	if (file->no_footers)
		return;
	ramfile_number(out, 0x7e, 1);
	ramfile_number(out, file->section, 4);
}

static inline void
ramfile_configuration(const struct ramfile *file, struct ramfile_out *out,
    int mapped)
{
	static const char machine[] = "pc-i440fx-9.0";
	unsigned capabilities = (unsigned)(mapped + file->other);

	ramfile_bytes(out, "QEVM", 4);
	ramfile_number(out, 3, 4);
	ramfile_number(out, 7, 1);
	ramfile_number(out, sizeof(machine) - 1, 4);
	ramfile_bytes(out, machine, sizeof(machine) - 1);
	if (file->bits) {
		ramfile_number(out, 5, 1);
		ramfile_text(out, "configuration/target-page-bits");
		ramfile_number(out, 1, 4);
		ramfile_number(out, file->shift, 4);
	}
	if (capabilities > 0) {
		ramfile_number(out, 5, 1);
		ramfile_text(out, "configuration/capabilities");
		ramfile_number(out, 1, 4);
		ramfile_number(out, capabilities, 4);
		if (mapped)
			ramfile_text(out, "mapped-ram");
		if (file->other)
			ramfile_text(out, "x-some-other");
	}
	if (file->bits) {
		ramfile_number(out, 5, 1);
		ramfile_text(out, "configuration/uuid");
		ramfile_number(out, 1, 4);
		ramfile_bytes(out, "0123456789abcdef", 16);
	}
}

/* Up to the list of blocks. */
static inline void
ramfile_start(const struct ramfile *file, struct ramfile_out *out, int mapped)
{
	uint64_t total = 0;

	ramfile_configuration(file, out, mapped);
	if (file->command) {
		ramfile_number(out, 8, 1);
		ramfile_number(out, 2, 2);
		ramfile_number(out, 4, 2);
		ramfile_number(out, 99, 4);
	}
	ramfile_number(out, 1, 1);
	ramfile_number(out, file->section, 4);
	ramfile_text(out, "ram");
	ramfile_number(out, 0, 4);
	ramfile_number(out, 4, 4);
	for (unsigned i = 0; i < RAMFILE_BLOCKS; i++)
		total += ramfile_block[i].pages << file->shift;
	ramfile_number(out, total | 4, 8);
}

/* One block: its header, its bitmap, its pages. */
static inline void
ramfile_map(struct ramfile *file, struct ramfile_out *out, unsigned i)
{
	uint64_t pages = ramfile_block[i].pages;
	size_t size = (size_t)((pages + 63) / 64 * 8);
	uint8_t *bitmap = calloc(1, size), *page = malloc(1u << file->shift);
	struct ramfile_out at = *out;

	file->header[i] = out->at;
	file->bitmap[i] = out->at + 28;
	file->pages[i] = (file->bitmap[i] + size + RAMFILE_ALIGN - 1) /
	    RAMFILE_ALIGN * RAMFILE_ALIGN;
	ramfile_number(out, 1, 4);
	ramfile_number(out, UINT64_C(1) << file->shift, 8);
	ramfile_number(out, file->bitmap[i], 8);
	ramfile_number(out, file->pages[i], 8);
	for (uint64_t n = 0; n < pages; n++) {
		if (!ramfile_page(file, i, n, page))
			continue;
		bitmap[n / 8] = (uint8_t)(bitmap[n / 8] | 1u << n % 8);
		at.at = file->pages[i] + (n << file->shift);
		ramfile_bytes(&at, page, (size_t)1 << file->shift);
	}
	at.at = file->bitmap[i];
	ramfile_bytes(&at, bitmap, size);
	out->at = file->pages[i] + (pages << file->shift);
	free(bitmap);
	free(page);
}

/* The pages of one block as the stream has them. */
static inline void
ramfile_stream(const struct ramfile *file, struct ramfile_out *out,
    unsigned i)
{
	size_t size = (size_t)1 << file->shift;
	uint8_t *page = malloc(size);

	for (uint64_t n = 0; n < ramfile_block[i].pages; n++) {
		int some = 0;

		(void)ramfile_page(file, i, n, page);
		for (size_t at = 0; at < size && !some; at++)
			some = page[at] != 0;
		ramfile_number(out, n << file->shift | (some ? 8 : 2) |
		    (n > 0 ? 0x20 : 0), 8);
		if (n == 0)
			ramfile_text(out, ramfile_block[i].name);
		ramfile_bytes(out, page, some ? size : 1);
	}
	free(page);
}

/* What both have behind the pages. */
static inline void
ramfile_rest(struct ramfile *file, struct ramfile_out *out)
{
	static const char json[] = "{\"devices\": {}}";

	file->rest = out->at;
	for (int i = 0; i < file->parts; i++) {
		ramfile_number(out, 2, 1);
		ramfile_number(out, file->section, 4);
		ramfile_number(out, 0x10, 8);
		ramfile_footer(file, out);
	}
	if (file->command) {
		ramfile_number(out, 8, 1);
		ramfile_number(out, 11, 2);
		ramfile_number(out, 0, 2);
	}
	ramfile_number(out, 3, 1);
	ramfile_number(out, file->section, 4);
	ramfile_number(out, 0x10, 8);
	ramfile_footer(file, out);
	file->devices = out->at;
	ramfile_number(out, 4, 1);
	ramfile_number(out, 9, 4);
	ramfile_text(out, "timer");
	ramfile_number(out, 0, 4);
	ramfile_number(out, 2, 4);
	for (unsigned i = 0; i < 100000; i++)
		ramfile_number(out, ramfile_chance(file->seed, 9, i), 4);
	ramfile_number(out, 0x7e, 1);
	ramfile_number(out, 9, 4);
	ramfile_number(out, 0, 1);
	ramfile_number(out, 6, 1);
	ramfile_number(out, sizeof(json) - 1, 4);
	ramfile_bytes(out, json, sizeof(json) - 1);
	file->end = out->at;
}

/* What libvirt puts before it. */
static inline void
ramfile_libvirt(struct ramfile_out *out)
{
	static const uint8_t number[76] = { 2, 0, 0, 0, 200, 0, 0, 0, 1, 0, 0,
	    0, 6 };
	char text[200];

	memset(text, '<', sizeof(text));
	ramfile_bytes(out, "LibvirtQemudSave", 16);
	ramfile_bytes(out, number, sizeof(number));
	ramfile_bytes(out, text, sizeof(text));
}

/* Make the file; then the stream, unless its descriptor is below 0. */
static inline void
ramfile_make(struct ramfile *file, int fd, int stream_fd)
{
	struct ramfile_out out = { fd, 0 }, stream = { stream_fd, 0 };
	struct ramfile copy;

	if (file->libvirt)
		ramfile_libvirt(&out);
	file->start = out.at;
	ramfile_start(file, &out, 1);
	file->list = out.at;
	for (unsigned i = 0; i < RAMFILE_BLOCKS; i++) {
		ramfile_text(&out, ramfile_block[i].name);
		ramfile_number(&out, ramfile_block[i].pages << file->shift, 8);
		ramfile_map(file, &out, i);
	}
	ramfile_number(&out, 0x10, 8);
	ramfile_footer(file, &out);
	ramfile_rest(file, &out);
	if (stream_fd < 0)
		return;

	ramfile_start(file, &stream, 0);
	for (unsigned i = 0; i < RAMFILE_BLOCKS; i++) {
		ramfile_text(&stream, ramfile_block[i].name);
		ramfile_number(&stream, ramfile_block[i].pages << file->shift,
		    8);
	}
	ramfile_number(&stream, 0x10, 8);
	ramfile_footer(file, &stream);
	ramfile_number(&stream, 2, 1);
	ramfile_number(&stream, file->section, 4);
	for (unsigned i = 0; i < RAMFILE_BLOCKS; i++)
		ramfile_stream(file, &stream, i);
	ramfile_number(&stream, 0x10, 8);
	ramfile_footer(file, &stream);
	copy = *file;
	ramfile_rest(&copy, &stream);
}

#endif /* RAMFILE_H */
