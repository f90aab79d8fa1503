/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guest_report.h - what is known of a Linux guest, for people and programs.
 */
#ifndef GUEST_REPORT_H
#define GUEST_REPORT_H

#include <stdio.h>

/* Look for it in the file at path and print what was found, or exit. */
void guest_report(const char *path, FILE *out, int json);

#endif /* GUEST_REPORT_H */
