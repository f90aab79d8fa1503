/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_symbols.h - addresses of a guest's kernel symbols, by its kallsyms.
 *
 * Names are stored in the order of their addresses, each as its length and
 * that many tokens, of which a table says what they stand for; see
 * kernel/kallsyms.c and scripts/kallsyms.c of Linux.  Where the tables are,
 * VMCOREINFO tells since Linux 6.0.
 */
#ifndef PM_GUEST_SYMBOLS_H
#define PM_GUEST_SYMBOLS_H

#include "guest_info.h"
#include "guest_space.h"

struct pm_guest_symbol {
	const char *name;
	uint64_t address;	/* 0: there is none of that name */
};

/*
 * Find the symbols of an array.  PM_END when the tables are not there, or
 * make no sense; *why says what of them.
 */
enum pm_status pm_guest_symbols_find(struct pm_guest_space *,
    const struct pm_guest_info *, struct pm_guest_symbol *, size_t count,
    const char **why);

#endif /* PM_GUEST_SYMBOLS_H */
