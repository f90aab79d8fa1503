/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bytes.h"
#include "guest_symbols.h"

#define TOKENS		256u
#define TOKENS_SIZE	(TOKENS * 64u)	/* of all, with their ends */
#define SYMBOLS_MAX	(4u << 20)
#define NAME_MAX_SIZE	512u
#define NAME_COST	64u		/* bytes that one counts for, besides
					   its own */
#define BUFFER		PM_GUEST_PAGE
#define SELF		"_stext"	/* the symbol that both tell of */

struct tables {
	struct pm_guest_space *space;
	uint64_t symbols, names, offsets, base;
	uint64_t self;			/* address of SELF */
	uint8_t token[TOKENS_SIZE + 1];
	uint16_t start[TOKENS];		/* of each, in token */

	/* The names are read from one end to the other. */
	uint64_t next;			/* address behind the buffer */
	size_t at, end;
	uint8_t buffer[BUFFER];
};

static enum pm_status
fill(struct tables *tables)
{
	/* What lies behind the last name need not be there. */
	size_t size = PM_GUEST_PAGE - (size_t)(tables->next % PM_GUEST_PAGE);
	enum pm_status status = pm_guest_space_read(tables->space,
	    tables->next, tables->buffer, size);

	tables->at = 0;
	tables->end = size;
	tables->next += size;
	return status;
}

static enum pm_status
next_byte(struct tables *tables, uint8_t *byte)
{
	enum pm_status status = PM_OK;

	if (tables->at == tables->end)
		status = fill(tables);
	if (status == PM_OK)
		*byte = tables->buffer[tables->at++];
	return status;
}

/* The next name, without its first letter, which says of what kind it is;
   PM_END if it is longer than any, or empty. */
static enum pm_status
next_name(struct tables *tables, char name[NAME_MAX_SIZE])
{
	uint8_t byte = 0;
	size_t length, size = 0, skipped = 0;
	enum pm_status status = next_byte(tables, &byte);

	length = byte;
	if (status == PM_OK && (byte & 0x80) != 0) {
		status = next_byte(tables, &byte);
		length = (length & 0x7f) | (size_t)byte << 7;
	}
	for (; length > 0 && status == PM_OK; length--) {
		const uint8_t *from;

		status = next_byte(tables, &byte);
		for (from = tables->token + tables->start[byte]; *from != '\0'
		    && size < NAME_MAX_SIZE - 1; from++)
			if (skipped == 0)
				skipped = 1;
			else
				name[size++] = (char)*from;
		if (size == NAME_MAX_SIZE - 1)
			break;
	}
	if (status == PM_OK && (size == 0 || size == NAME_MAX_SIZE - 1))
		return PM_END;
	name[size] = '\0';
	return status == PM_OK ? pm_guest_space_spend(tables->space,
	    NAME_COST + size) : status;
}

static enum pm_status
read_tokens(struct tables *tables, uint64_t table, uint64_t index)
{
	uint8_t raw[TOKENS * 2];
	size_t size = TOKENS_SIZE, now;
	enum pm_status status = pm_guest_space_read(tables->space, index, raw,
	    sizeof(raw));

	if (status != PM_OK)
		return status;
	/* Up to where there is something, for it is shorter than that. */
	for (size_t at = 0; at < size && status == PM_OK; at += now) {
		now = PM_GUEST_PAGE - (size_t)((table + at) % PM_GUEST_PAGE);
		if (now > size - at)
			now = size - at;
		status = pm_guest_space_read(tables->space, table + at,
		    tables->token + at, now);
		if (status == PM_END && at > 0) {
			status = PM_OK;
			break;
		}
	}
	for (unsigned i = 0; i < TOKENS; i++) {
		tables->start[i] = (uint16_t)pm_get_le(raw + 2 * i, 2);
		if (tables->start[i] >= TOKENS_SIZE)
			return status == PM_OK ? PM_END : status;
	}
	return status;
}

/*
 * What the offset of a symbol stands for has changed: one from the base on;
 * or, if it is negative, one from the base on down, and else an address.
 */
static uint64_t
address_of(const struct tables *tables, uint32_t offset, int is_signed)
{
	int32_t number = (int32_t)offset;

	if (!is_signed)
		return tables->base + offset;
	return number >= 0 ? offset : tables->base - 1 -
	    (uint64_t)(int64_t)number;
}

static enum pm_status
read_offset(const struct tables *tables, uint64_t symbol, uint32_t *offset)
{
	uint64_t value;
	enum pm_status status = pm_guest_space_number(tables->space,
	    tables->offsets + 4 * symbol, 4, &value);

	*offset = (uint32_t)value;
	return status;
}

/* Note where in the tables the symbols are, and SELF: its number plus 1. */
static enum pm_status
find_names(struct tables *tables, struct pm_guest_symbol *wanted,
    size_t count, uint64_t *self)
{
	char name[NAME_MAX_SIZE];

	*self = 0;
	for (uint64_t i = 0; i < tables->symbols; i++) {
		enum pm_status status = next_name(tables, name);

		if (status != PM_OK)
			return status;
		if (strcmp(name, SELF) == 0)
			*self = i + 1;
		for (size_t k = 0; k < count; k++)
			if (wanted[k].address == 0 &&
			    strcmp(name, wanted[k].name) == 0)
				wanted[k].address = i + 1;
	}
	return *self != 0 ? PM_OK : PM_END;
}

static enum pm_status
resolve(struct tables *tables, struct pm_guest_symbol *wanted, size_t count,
    uint64_t self)
{
	enum pm_status status;
	uint32_t offset;
	int is_signed;

	if ((status = read_offset(tables, self - 1, &offset)) != PM_OK)
		return status;
	is_signed = address_of(tables, offset, 0) != tables->self;
	if (address_of(tables, offset, is_signed) != tables->self)
		return PM_END;
	for (size_t i = 0; i < count && status == PM_OK; i++) {
		if (wanted[i].address == 0)
			continue;
		status = read_offset(tables, wanted[i].address - 1, &offset);
		wanted[i].address = address_of(tables, offset, is_signed);
	}
	return status;
}

static int
get(const struct pm_guest_info *info, const char *key, uint64_t *value)
{
	return pm_guest_info_number(info, key, 16, value);
}

enum pm_status
pm_guest_symbols_find(struct pm_guest_space *space,
    const struct pm_guest_info *info, struct pm_guest_symbol *wanted,
    size_t count, const char **why)
{
	struct tables tables = { .space = space };
	uint64_t symbols, token, index, base, self;
	enum pm_status status;

	for (size_t i = 0; i < count; i++)
		wanted[i].address = 0;
	*why = "does not tell where its symbols are";
	if (!get(info, "SYMBOL(kallsyms_num_syms)", &symbols) ||
	    !get(info, "SYMBOL(kallsyms_names)", &tables.names) ||
	    !get(info, "SYMBOL(kallsyms_token_table)", &token) ||
	    !get(info, "SYMBOL(kallsyms_token_index)", &index) ||
	    !get(info, "SYMBOL(kallsyms_offsets)", &tables.offsets) ||
	    !get(info, "SYMBOL(kallsyms_relative_base)", &base) ||
	    !get(info, "SYMBOL(" SELF ")", &tables.self))
		return PM_END;
	*why = "has symbols that make no sense";
	tables.next = tables.names;
	status = pm_guest_space_number(space, symbols, 4, &tables.symbols);
	if (status == PM_OK)
		status = pm_guest_space_number(space, base, 8, &tables.base);
	if (status == PM_OK && tables.symbols > SYMBOLS_MAX)
		return PM_END;
	if (status == PM_OK)
		status = read_tokens(&tables, token, index);
	if (status == PM_OK)
		status = find_names(&tables, wanted, count, &self);
	return status == PM_OK ? resolve(&tables, wanted, count, self)
	    : status;
}
