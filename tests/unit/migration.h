/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migration.h - migration streams as QEMU writes them, put together by hand
 * from what its documentation says of them.
 */
#ifndef MIGRATION_H
#define MIGRATION_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define M_PAGE		4096u
#define M_SAME		0x20u	/* the block of the page before */
#define M_RAM		2u	/* number of its section */
#define M_PAGES		24u	/* of the first block */
#define M_SMALL		3u	/* of the second */

struct migration {
	uint8_t *bytes;
	size_t size, room;
	size_t devices;		/* where their state begins */
	size_t end;		/* and is over */
	int last;		/* block of the last page, for whoever asks */
};

static inline void
m_bytes(struct migration *m, const void *bytes, size_t size)
{
	if (m->size + size > m->room) {
		m->room = 2 * (m->size + size);
		m->bytes = realloc(m->bytes, m->room);
		if (m->bytes == NULL)
			abort();
	}
	memcpy(m->bytes + m->size, bytes, size);
	m->size += size;
}

static inline void
m_number(struct migration *m, uint64_t value, unsigned width)
{
	uint8_t byte;

	while (width-- > 0) {
		byte = (uint8_t)(value >> (8 * width));
		m_bytes(m, &byte, 1);
	}
}

static inline void
m_text(struct migration *m, const char *text)
{
	m_number(m, strlen(text), 1);
	m_bytes(m, text, strlen(text));
}

static inline void
m_open(struct migration *m)
{
	*m = (struct migration){ 0 };
	m_bytes(m, "QEVM", 4);
	m_number(m, 3, 4);
}

static inline void
m_configuration(struct migration *m, const char *machine)
{
	m_number(m, 7, 1);
	m_number(m, strlen(machine), 4);
	m_bytes(m, machine, strlen(machine));
}

static inline void
m_subsection(struct migration *m, const char *name)
{
	m_number(m, 5, 1);
	m_text(m, name);
	m_number(m, 1, 4);
}

static inline void
m_section(struct migration *m, unsigned type, uint32_t id, const char *name,
    uint32_t version)
{
	m_number(m, type, 1);
	m_number(m, id, 4);
	if (name == NULL)
		return;
	m_text(m, name);
	m_number(m, 0, 4);
	m_number(m, version, 4);
}

static inline void
m_footer(struct migration *m, uint32_t id)
{
	m_number(m, 0x7e, 1);
	m_number(m, id, 4);
}

static inline void
m_end_of_ram(struct migration *m)
{
	m_number(m, 0x10, 8);
	m_footer(m, M_RAM);
}

static inline void
m_block(struct migration *m, const char *name, uint64_t pages)
{
	m_text(m, name);
	m_number(m, pages * M_PAGE, 8);
}

/* A section of RAM that starts, with both blocks. */
static inline void
m_start(struct migration *m)
{
	m_section(m, 1, M_RAM, "ram", 4);
	m_number(m, (M_PAGES + M_SMALL) * M_PAGE | 4, 8);
	m_block(m, "pc.ram", M_PAGES);
	m_block(m, "vga.vram", M_SMALL);
	m_end_of_ram(m);
}

/* The head of a page; block NULL is that of the page before. */
static inline void
m_word(struct migration *m, unsigned flag, const char *block, uint64_t page)
{
	m_number(m, page * M_PAGE | flag | (block == NULL ? M_SAME : 0), 8);
	if (block != NULL)
		m_text(m, block);
}

static inline void
m_zero(struct migration *m, const char *block, uint64_t page)
{
	m_word(m, 0x02, block, page);
	m_number(m, 0, 1);
}

/* A page that is different for each seed, and much like those near. */
static inline void
m_page(struct migration *m, const char *block, uint64_t page, unsigned seed)
{
	uint8_t content[M_PAGE];

	m_word(m, 0x08, block, page);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i % 64 + page);
	if (seed == 0)
		memset(content, 0, sizeof(content));
	else
		memcpy(content + seed % 4000, &seed, sizeof(seed));
	m_bytes(m, content, sizeof(content));
}

/* Device state and what follows it. */
static inline void
m_devices(struct migration *m)
{
	static const char state[] = "timers \0{ \x7e and \x02\0 such\0\0";
	static const char text[] = "{\"page_size\": 4096, \"devices\": []}";

	m->devices = m->size;
	for (unsigned i = 0; i < 3; i++) {
		m_section(m, 4, 10 + i, "timer", 2);
		m_bytes(m, state, sizeof(state));
		m_footer(m, 10 + i);
	}
	m_number(m, 0, 1);
	m->end = m->size;
	m_number(m, 6, 1);
	m_number(m, sizeof(text) - 1, 4);
	m_bytes(m, text, sizeof(text) - 1);
}

/* The pages of a first pass, all of both blocks; a page of zeroes is one. */
static inline void
m_first_pass(struct migration *m)
{
	m_section(m, 2, M_RAM, NULL, 0);
	for (unsigned i = 0; i < M_PAGES; i++)
		if (i % 3 == 1)
			m_zero(m, i == 0 ? "pc.ram" : NULL, i);
		else
			m_page(m, i == 0 ? "pc.ram" : NULL, i, i == 5 ? 0 : 7);
	m_end_of_ram(m);
	m_section(m, 2, M_RAM, NULL, 0);
	m_zero(m, "vga.vram", 0);
	m_page(m, NULL, 1, 9);
	m_zero(m, NULL, 2);
	m_end_of_ram(m);
}

/* Two more, of which the last ends in the last section of RAM. */
static inline void
m_more_passes(struct migration *m)
{
	m_section(m, 2, M_RAM, NULL, 0);
	m_page(m, "pc.ram", 2, 11);		/* as before, but for a word */
	m_page(m, NULL, 3, 7);			/* as before */
	m_zero(m, NULL, 6);
	m_page(m, "vga.vram", 0, 9);
	m_page(m, "pc.ram", 1, 8);
	m_end_of_ram(m);
	m_section(m, 3, M_RAM, NULL, 0);
	m_page(m, NULL, 2, 12);
	m_page(m, NULL, 4, 13);
	m_zero(m, "vga.vram", 1);
	m_end_of_ram(m);
}

/* A machine of today. */
static inline void
m_whole(struct migration *m)
{
	m_open(m);
	m_configuration(m, "pc-i440fx-7.2");
	m_start(m);
	m_first_pass(m);
	m_more_passes(m);
	m_devices(m);
}

#endif /* MIGRATION_H */
