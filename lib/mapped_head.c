/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fdio.h"
#include "mapped_ram.h"
#include "qemu.h"

#define CONFIGURED	"configuration/"
#define CAPABILITY	"mapped-ram"
#define RAM_VERSION	4u
#define CAPABILITIES_MAX	1024u
#define HEAD_MAX	(16u << 20)	/* bytes before the first page */

/* Of machines that as a rule run on processors of their own, big-endian. */
#define BIG_ENDIAN_PREFIX	"s390-"

static enum pm_status
fail(const struct pm_mapped_cursor *cur, enum pm_status status,
    const char *why)
{
	return pm_fault_set(cur->fault, status, cur->path, "%s", why);
}

enum pm_status
pm_mapped_look(struct pm_mapped_cursor *cur, size_t size)
{
	enum pm_status status;

	if (cur->at > cur->end || size > cur->end - cur->at)
		return fail(cur, PM_ERR_TRUNCATED, "the migration ends early");
	if (cur->bytes != NULL) {
		memcpy(cur->in, cur->bytes + cur->at, size);
		return PM_OK;
	}
	status = pm_fd_pread(cur->fd, cur->in, size, cur->at);
	return status == PM_OK ? PM_OK : pm_fault_set(cur->fault,
	    status == PM_ERR_READ ? PM_ERR_READ : PM_ERR_TRUNCATED, cur->path,
	    "%s", pm_status_text(status));
}

enum pm_status
pm_mapped_take(struct pm_mapped_cursor *cur, size_t size)
{
	enum pm_status status = pm_mapped_look(cur, size);

	cur->at += status == PM_OK ? size : 0;
	return status;
}

enum pm_status
pm_mapped_keep(struct pm_mapped_cursor *cur, const void *bytes, size_t size)
{
	struct pm_mapped_ram *ram = cur->ram;
	uint8_t *head = ram->head;

	if (size > HEAD_MAX - ram->head_size)
		return fail(cur, PM_ERR_REFUSED, "has too much before its "
		    "pages");
	if (size > ram->head_room - ram->head_size) {
		size_t room = 2 * ram->head_room + PM_MAPPED_PIECE + size;

		if ((head = realloc(head, room)) == NULL)
			return fail(cur, PM_ERR_SYSTEM, strerror(errno));
		ram->head = head;
		ram->head_room = room;
	}
	memcpy(head + ram->head_size, bytes, size);
	ram->head_size += size;
	return PM_OK;
}

enum pm_status
pm_mapped_pass(struct pm_mapped_cursor *cur, size_t size)
{
	enum pm_status status = pm_mapped_take(cur, size);

	return status == PM_OK ? pm_mapped_keep(cur, cur->in, size) : status;
}

enum pm_status
pm_mapped_take_text(struct pm_mapped_cursor *cur, size_t behind)
{
	enum pm_status status = pm_mapped_look(cur, 1);

	return status != PM_OK ? status : pm_mapped_take(cur,
	    1 + (size_t)cur->in[0] + behind);
}

static int
is_text(const uint8_t *in, const char *text)
{
	return in[0] == strlen(text) && memcmp(in + 1, text, in[0]) == 0;
}

static enum pm_status
pass_magic(struct pm_mapped_cursor *cur)
{
	enum pm_status status = pm_mapped_pass(cur, 8);

	if (status == PM_OK && memcmp(cur->in, PM_QEMU_MAGIC,
	    PM_QEMU_MAGIC_SIZE) != 0)
		return fail(cur, PM_ERR_REFUSED, "is no migration of QEMU");
	if (status == PM_OK && pm_qemu_get(cur->in + 4, 4) != PM_QEMU_VERSION)
		return fail(cur, PM_ERR_REFUSED, "is a migration of QEMU of a "
		    "version other than 3");
	return status;
}

static enum pm_status
keep_text(struct pm_mapped_cursor *cur, const char *text)
{
	uint8_t size = (uint8_t)strlen(text);
	enum pm_status status = pm_mapped_keep(cur, &size, 1);

	return status == PM_OK ? pm_mapped_keep(cur, text, size) : status;
}

/*
 * The list of capabilities with this one, or without it; no list if that was
 * all.
 */
static enum pm_status
pass_capabilities(struct pm_mapped_cursor *cur, size_t start, int *is_mapped)
{
	struct pm_mapped_ram *ram = cur->ram;
	enum pm_status status = pm_mapped_take(cur, 4);
	uint64_t count, kept = 0;
	size_t number = ram->head_size;
	uint8_t none[4] = { 0 };

	count = pm_qemu_get(cur->in, 4);
	if (status == PM_OK && count > CAPABILITIES_MAX)
		return fail(cur, PM_ERR_CORRUPT, "has too many capabilities");
	if (status == PM_OK)
		status = pm_mapped_keep(cur, none, sizeof(none));
	for (uint64_t i = 0; i < count && status == PM_OK; i++) {
		status = pm_mapped_take_text(cur, 0);
		if (status != PM_OK)
			break;
		if (is_text(cur->in, CAPABILITY)) {
			*is_mapped = 1;
			continue;	/* it comes last, if it is to come */
		}
		if (is_text(cur->in, "x-ignore-shared"))
			return fail(cur, PM_ERR_REFUSED, "was made with the "
			    "capability x-ignore-shared, whose memory it does "
			    "not hold");
		status = pm_mapped_keep(cur, cur->in, 1 + (size_t)cur->in[0]);
		kept++;
	}
	if (status == PM_OK && cur->adds) {
		status = keep_text(cur, CAPABILITY);
		kept++;
	}
	if (status != PM_OK)
		return status;
	if (kept == 0)
		ram->head_size = start;
	else
		pm_qemu_put(ram->head + number, kept, 4);
	return PM_OK;
}

static enum pm_status
pass_page_bits(struct pm_mapped_cursor *cur)
{
	enum pm_status status = pm_mapped_pass(cur, 4);
	uint64_t bits = pm_qemu_get(cur->in, 4);

	if (status == PM_OK && (bits < PM_PAGE_SHIFT_MIN ||
	    bits > PM_PAGE_SHIFT_MAX))
		return fail(cur, PM_ERR_REFUSED, "has pages that are not of 4 "
		    "to 64 KiB");
	if (status == PM_OK)
		cur->ram->page_shift = (unsigned)bits;
	return status;
}

/* What is known of capabilities: mapped-ram is one, and there is a list. */
struct known {
	int is_mapped, has_list;
};

static enum pm_status
pass_subsection(struct pm_mapped_cursor *cur, struct known *known)
{
	size_t start = cur->ram->head_size;
	const size_t prefix = sizeof(CONFIGURED) - 1;
	enum pm_status status = pm_mapped_pass(cur, 1);

	if (status == PM_OK)
		status = pm_mapped_take_text(cur, 4);
	if (status == PM_OK)
		status = pm_mapped_keep(cur, cur->in,
		    1 + (size_t)cur->in[0] + 4);
	if (status != PM_OK)
		return status;
	if (cur->in[0] > prefix && memcmp(cur->in + 1, CONFIGURED, prefix)
	    == 0) {
		if (is_text(cur->in, CONFIGURED "capabilities")) {
			known->has_list = 1;
			return pass_capabilities(cur, start,
			    &known->is_mapped);
		}
		if (is_text(cur->in, CONFIGURED "target-page-bits"))
			return pass_page_bits(cur);
		if (is_text(cur->in, CONFIGURED "uuid"))
			return pm_mapped_pass(cur, 16);
	}
	return fail(cur, PM_ERR_REFUSED, "has a configuration that is not "
	    "known");
}

/* A list of this one alone. */
static enum pm_status
add_capabilities(struct pm_mapped_cursor *cur)
{
	static const uint8_t type = PM_QEMU_SUBSECTION;
	static const uint8_t numbers[8] = { 0, 0, 0, 1, 0, 0, 0, 1 };
	enum pm_status status = pm_mapped_keep(cur, &type, 1);

	if (status == PM_OK)
		status = keep_text(cur, CONFIGURED "capabilities");
	if (status == PM_OK)
		status = pm_mapped_keep(cur, numbers, sizeof(numbers));
	return status == PM_OK ? keep_text(cur, CAPABILITY) : status;
}

static int
is_big_endian(const uint8_t *machine, size_t size)
{
	const size_t prefix = sizeof(BIG_ENDIAN_PREFIX) - 1;

	return size >= prefix && memcmp(machine, BIG_ENDIAN_PREFIX, prefix)
	    == 0;
}

static enum pm_status
pass_configuration(struct pm_mapped_cursor *cur)
{
	enum pm_status status = pm_mapped_pass(cur, 5);
	uint64_t size = pm_qemu_get(cur->in + 1, 4);
	struct known known = { 0, 0 };

	if (status == PM_OK && (cur->in[0] != PM_QEMU_CONFIGURATION ||
	    size > PM_NAME_MAX))
		return fail(cur, PM_ERR_REFUSED, "has no configuration");
	if (status == PM_OK)
		status = pm_mapped_pass(cur, (size_t)size);
	if (status == PM_OK && is_big_endian(cur->in, (size_t)size))
		return fail(cur, PM_ERR_REFUSED, "is of a machine that is not "
		    "little-endian");
	while (status == PM_OK && (status = pm_mapped_look(cur, 1)) == PM_OK &&
	    cur->in[0] == PM_QEMU_SUBSECTION)
		status = pass_subsection(cur, &known);
	if (status == PM_OK && cur->adds && !known.has_list)
		return add_capabilities(cur);
	if (status == PM_OK && !cur->adds && !known.is_mapped)
		return fail(cur, PM_ERR_REFUSED, "was made without the "
		    "capability mapped-ram; --format=qemu reads it");
	return status;
}

/* Commands, and then the start of RAM. */
static enum pm_status
pass_start(struct pm_mapped_cursor *cur)
{
	enum pm_status status;
	size_t size;

	while ((status = pm_mapped_look(cur, 5)) == PM_OK &&
	    cur->in[0] == PM_QEMU_COMMAND) {
		size = PM_MAPPED_SECTION + (size_t)pm_qemu_get(cur->in + 3, 2);
		if (size > PM_MAPPED_PIECE)
			return fail(cur, PM_ERR_REFUSED, "has a command that "
			    "is too long");
		if ((status = pm_mapped_pass(cur, size)) != PM_OK)
			return status;
	}
	if (status != PM_OK)
		return status;
	cur->section = (uint32_t)pm_qemu_get(cur->in + 1, 4);
	if (cur->in[0] != PM_QEMU_START)
		return fail(cur, PM_ERR_REFUSED, "does not begin with RAM");
	if ((status = pm_mapped_pass(cur, PM_MAPPED_SECTION)) == PM_OK)
		status = pm_mapped_take_text(cur, 8);
	if (status != PM_OK)
		return status;
	size = 1 + (size_t)cur->in[0];
	if (!is_text(cur->in, "ram") ||
	    pm_qemu_get(cur->in + size + 4, 4) != RAM_VERSION)
		return fail(cur, PM_ERR_REFUSED, "does not begin with RAM of "
		    "version 4");
	return pm_mapped_keep(cur, cur->in, size + 8);
}

enum pm_status
pm_mapped_head(struct pm_mapped_cursor *cur)
{
	enum pm_status status = pass_magic(cur);

	if (status == PM_OK)
		status = pass_configuration(cur);
	return status == PM_OK ? pass_start(cur) : status;
}
