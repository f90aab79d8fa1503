/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * made_note.h - the note of a made guest, and its kernel's symbols.
 *
 * The texts are what kernel/vmcore_info.c of Linux writes, of which only those
 * lines stand here that are asked for, and some that look like them.  The
 * symbols are what scripts/kallsyms.c writes, with tokens chosen by hand.
 */
#ifndef MADE_NOTE_H
#define MADE_NOTE_H

#include <inttypes.h>
#include <stdarg.h>

#include "made_layout.h"

#define MADE_SYMBOLS	11u

static const char made_note_lines[] =
	"PAGESIZE=4096\n"
	"OFFSET(uts_namespace.name)=4\n"
	"LENGTH(mem_section)=4096\n"
	"SIZE(mem_section)=16\n"
	"OFFSET(mem_section.section_mem_map)=0\n"
	"NUMBER(SECTION_SIZE_BITS)=21\n"
	"NUMBER(MAX_PHYSMEM_BITS)=46\n"
	"SIZE(page)=64\n"
	"SIZE(pglist_data)=4096\n"
	"SIZE(zone)=1216\n"
	"SIZE(free_area)=72\n"
	"SIZE(list_head)=16\n"
	"OFFSET(page.flags)=0\n"
	"OFFSET(page._refcount)=52\n"
	"OFFSET(page.mapping)=24\n"
	"OFFSET(page.lru)=8\n"
	"OFFSET(page._mapcount)=48\n"
	"OFFSET(page.private)=40\n"
	"OFFSET(page.compound_head)=8\n"
	"OFFSET(pglist_data.node_zones)=0\n"
	"OFFSET(pglist_data.nr_zones)=2496\n"
	"OFFSET(zone.free_area)=192\n"
	"OFFSET(zone.vm_stat)=1024\n"
	"OFFSET(free_area.free_list)=0\n"
	"OFFSET(list_head.next)=0\n"
	"OFFSET(list_head.prev)=8\n"
	"LENGTH(zone.free_area)=11\n"
	"LENGTH(free_area.free_list)=4\n"
	"NUMBER(NR_FREE_PAGES)=0\n"
	"NUMBER(PG_lru)=4\n"
	"NUMBER(PG_private)=13\n"
	"NUMBER(PG_swapbacked)=19\n"
	"NUMBER(PG_head_mask)=65536\n"
	"NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-129\n"
	"NUMBER(sme_mask)=0\n";

/* Put the text where it is: a page of its own, and an ELF note. */
static inline void
made_put_note(struct made *made)
{
	size_t size = strlen(made->note);
	uint8_t *elf = made->ram + MADE_ELF;

	memset(made->ram + MADE_PLAIN, 0, 4096);
	memcpy(made->ram + MADE_PLAIN, made->note, size);
	memset(elf, 0, 2 * 4096);
	pm_put_le(elf, sizeof("VMCOREINFO"), 4);
	pm_put_le(elf + 4, size, 4);
	memcpy(elf + 12, "VMCOREINFO", sizeof("VMCOREINFO"));
	memcpy(elf + 24, made->note, size);
}

static inline void
made_add_line(struct made *made, const char *fmt, ...)
{
	size_t size = strlen(made->note);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(made->note + size, MADE_NOTE_MAX - size, fmt, ap);
	va_end(ap);
}

/* Change the line of a key, or take it out for a value that is NULL. */
static inline void
made_set(struct made *made, const char *key, const char *value)
{
	char rest[MADE_NOTE_MAX], *line = made->note;
	size_t size = strlen(key);

	while (strncmp(line, key, size) != 0 || line[size] != '=')
		if ((line = strchr(line, '\n') + 1) == (char *)1 ||
		    *line == '\0')
			abort();
	snprintf(rest, sizeof(rest), "%s", strchr(line, '\n') + 1);
	*line = '\0';
	if (value != NULL)
		made_add_line(made, "%s=%s\n", key, value);
	made_add_line(made, "%s", rest);
	made_put_note(made);
}

static inline void
made_add_symbol(struct made *made, const char *name, uint64_t physical)
{
	made_add_line(made, "SYMBOL(%s)=%" PRIx64 "\n", name,
	    made_image(made, physical));
}

static inline void
made_write_note(struct made *made)
{
	made->note[0] = '\0';
	made_add_line(made, "OSRELEASE=" MADE_RELEASE "\n%s", made_note_lines);
	made_add_symbol(made, "init_uts_ns", MADE_UTS);
	made_add_symbol(made, "swapper_pg_dir", MADE_TABLES);
	made_add_symbol(made, "_stext", MADE_TEXT);
	made_add_symbol(made, "kallsyms_names", MADE_NAMES);
	made_add_symbol(made, "kallsyms_num_syms", MADE_COUNT);
	made_add_symbol(made, "kallsyms_token_table", MADE_TOKENS);
	made_add_symbol(made, "kallsyms_token_index", MADE_INDEX);
	made_add_symbol(made, "kallsyms_offsets", MADE_OFFSETS);
	made_add_symbol(made, "kallsyms_relative_base", MADE_BASE);
	made_add_line(made, "SYMBOL(mem_section)=%" PRIx64 "\n",
	    made_direct(made, MADE_ROOTS));
	if (made->nodes > 1) {
		made_add_symbol(made, "node_data", MADE_NODE_DATA);
		made_add_line(made, "LENGTH(node_data)=4\n");
	} else
		made_add_symbol(made, "contig_page_data", MADE_NODE);
	made_add_line(made, "NUMBER(phys_base)=%" PRId64 "\n",
	    (int64_t)(MADE_TEXT - 0x1000000) - (int64_t)made->shift);
	made_add_line(made, "NUMBER(pgtable_l5_enabled)=%d\n",
	    made->levels == 5);
	made_add_line(made, "KERNELOFFSET=%" PRIx64 "\n", made->shift);
	made_put_note(made);
}

/* Besides those of single letters, which stand for themselves. */
static const char *const made_token[] = { "", "system_", "_page_poisoning",
    "enabled", "D_page" };

/* The longest token that a text begins with. */
static inline uint8_t
made_token_of(const char *text)
{
	uint8_t best = (uint8_t)text[0];
	size_t size = 1;

	for (uint8_t i = 1; i < sizeof(made_token) / sizeof(made_token[0]);
	    i++)
		if (strlen(made_token[i]) > size && strncmp(text,
		    made_token[i], strlen(made_token[i])) == 0) {
			best = i;
			size = strlen(made_token[i]);
		}
	return best;
}

static inline uint8_t *
made_put_name(uint8_t *to, const char *text)
{
	uint8_t token[512];
	size_t tokens = 0;

	while (*text != '\0') {
		uint8_t one = made_token_of(text);

		token[tokens++] = one;
		text += one < 5 ? strlen(made_token[one]) : 1;
	}
	*to++ = (uint8_t)(tokens < 128 ? tokens : 128 | tokens % 128);
	if (tokens >= 128)
		*to++ = (uint8_t)(tokens >> 7);
	memcpy(to, token, tokens);
	return to + tokens;
}

static inline void
made_write_tokens(struct made *made)
{
	uint8_t *token = made->ram + MADE_TOKENS, *to = token;

	for (unsigned i = 0; i < 256; i++) {
		char letter[2] = { i > ' ' && i < 127 ? (char)i : '\0', '\0' };
		const char *text = i < 5 ? made_token[i] : letter;

		made_put(made, MADE_INDEX + 2 * i, (uint64_t)(to - token), 2);
		memcpy(to, text, strlen(text) + 1);
		to += strlen(text) + 1;
	}
}

static inline void
made_write_symbols(struct made *made)
{
	char lengthy[400] = "t";
	const struct {
		const char *text;	/* what it is, and its name */
		uint64_t at;
	} symbol[MADE_SYMBOLS] = {
		{ "Afixed_percpu_data", 0 },
		{ "T_stext", MADE_TEXT },
		{ lengthy, MADE_TEXT + 16 },
		{ "Dsystem_state", MADE_STATE },
		{ "Dpanic_cpu", MADE_PANIC },
		{ "De820_table_firmware", MADE_RAM_MAP },
		{ "B_totalram_pages", MADE_TOTAL },
		{ "Bnr_cpu_ids", MADE_CPUS },
		{ "D_page_poisoning_enabled_early", MADE_EARLY },
		{ "D_page_poisoning_enabled", MADE_POISON },
		{ "Dinit_on_free", MADE_ZEROES },
	};
	uint8_t *to = made->ram + MADE_NAMES;

	memset(lengthy + 1, 'x', 300);
	made_put(made, MADE_COUNT, MADE_SYMBOLS, 4);
	made_put(made, MADE_BASE, made_image(made, MADE_TEXT), 8);
	made_write_tokens(made);
	for (unsigned i = 0; i < MADE_SYMBOLS; i++) {
		uint64_t offset = symbol[i].at - MADE_TEXT;

		/* The first is no address in the kernel, but a number. */
		if (symbol[i].at == 0)
			offset = 0;
		else if (!made->is_unsigned)
			offset = ~offset;
		made_put(made, MADE_OFFSETS + 4 * i, offset, 4);
		to = made_put_name(to, symbol[i].text);
	}
}

#endif /* MADE_NOTE_H */
