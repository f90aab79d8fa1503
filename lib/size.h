/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * size.h - sizes as people write them: "4096", "64M".
 */
#ifndef PM_SIZE_H
#define PM_SIZE_H

#include <stdint.h>

/*
 * Read decimal digits and at most one of K M G T, powers of 1024, into
 * *bytes.  0 when text is anything else or does not fit 63 bits.
 */
int pm_size_parse(const char *text, uint64_t *bytes);

#endif /* PM_SIZE_H */
