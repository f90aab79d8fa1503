/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * version.h - which libpm this is.
 */
#ifndef PM_VERSION_H
#define PM_VERSION_H

/* The version that the linked library was built as, such as "0.1.0". */
const char *pm_version(void);

#endif /* PM_VERSION_H */
