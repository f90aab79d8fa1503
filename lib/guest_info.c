/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bytes.h"
#include "guest_info.h"

#define NAME	"VMCOREINFO"

static const char first[] = "OSRELEASE=";

static int
is_note(const uint8_t *page)
{
	return pm_get_le(page, 4) == sizeof(NAME) &&
	    pm_get_le(page + 8, 4) == 0 &&
	    memcmp(page + 12, NAME, sizeof(NAME)) == 0;
}

int
pm_guest_info_begins(const uint8_t *page)
{
	return memcmp(is_note(page) ? page + PM_GUEST_INFO_HEAD : page, first,
	    sizeof(first) - 1) == 0;
}

int
pm_guest_info_take(struct pm_guest_info *info, const uint8_t *page)
{
	size_t room = PM_GUEST_INFO_MAX;

	if (!pm_guest_info_begins(page))
		return 0;
	if (is_note(page)) {
		if (pm_get_le(page + 4, 4) < room)
			room = (size_t)pm_get_le(page + 4, 4);
		page += PM_GUEST_INFO_HEAD;
	}
	for (info->size = 0; info->size < room; info->size++) {
		uint8_t byte = page[info->size];

		if (byte == '\0')
			break;
		if (byte != '\n' && (byte < ' ' || byte > '~'))
			return 0;
		info->text[info->size] = (char)byte;
	}
	info->text[info->size] = '\0';
	return info->size > 0 && info->text[info->size - 1] == '\n';
}

const char *
pm_guest_info_find(const struct pm_guest_info *info, const char *key)
{
	size_t size = strlen(key);
	const char *line = info->text;

	while (*line != '\0') {
		if (strncmp(line, key, size) == 0 && line[size] == '=')
			return line + size + 1;
		line = strchr(line, '\n') + 1;
	}
	return NULL;
}

static unsigned
digit_of(char c)
{
	return c >= '0' && c <= '9' ? (unsigned)(c - '0')
	    : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

int
pm_guest_info_number(const struct pm_guest_info *info, const char *key,
    unsigned base, uint64_t *value)
{
	const char *text = pm_guest_info_find(info, key);
	int is_negative = text != NULL && *text == '-';
	uint64_t sum = 0;

	if (text == NULL)
		return 0;
	text += is_negative;
	if (*text == '\n')
		return 0;
	for (; *text != '\n'; text++) {
		unsigned digit = digit_of(*text);

		if (digit >= base || sum > (UINT64_MAX - digit) / base)
			return 0;
		sum = sum * base + digit;
	}
	if (is_negative && sum > (uint64_t)INT64_MAX + 1)
		return 0;
	*value = is_negative ? 0 - sum : sum;
	return 1;
}
