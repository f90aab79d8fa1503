/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_info.h - the text that Linux keeps for readers of its crash dumps.
 *
 * It is lines of KEY=VALUE, such as SYMBOL(_stext)=ffffffff81000000, in a
 * page of its own and, behind the head of an ELF note named VMCOREINFO, in
 * a second place that begins a page too.
 */
#ifndef PM_GUEST_INFO_H
#define PM_GUEST_INFO_H

#include <stddef.h>
#include <stdint.h>

#define PM_GUEST_INFO_HEAD	24u	/* bytes that a text is known by */
#define PM_GUEST_INFO_MAX	4096u
#define PM_GUEST_INFO_BYTES	(PM_GUEST_INFO_HEAD + PM_GUEST_INFO_MAX)

struct pm_guest_info {
	size_t size;
	char text[PM_GUEST_INFO_MAX + 1];
};

/*
 * Whether a text may stand in a page that begins with these
 * PM_GUEST_INFO_HEAD bytes and ten more.
 */
int pm_guest_info_begins(const uint8_t *page);

/*
 * Take the text from a page and what follows it, PM_GUEST_INFO_BYTES.  0 if
 * it is none: no whole lines of printable characters.
 */
int pm_guest_info_take(struct pm_guest_info *, const uint8_t *page);

/* The value of a key, up to the end of its line, or NULL. */
const char *pm_guest_info_find(const struct pm_guest_info *,
    const char *key);

/*
 * A number, decimal or hexadecimal by its base; one with a sign is two's
 * complement.  0 if there is none, or it is more than that.
 */
int pm_guest_info_number(const struct pm_guest_info *, const char *key,
    unsigned base, uint64_t *value);

#endif /* PM_GUEST_INFO_H */
