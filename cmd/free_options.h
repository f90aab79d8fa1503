/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * free_options.h - the options that say which pages are free.
 */
#ifndef FREE_OPTIONS_H
#define FREE_OPTIONS_H

#include <popt.h>

#include "free.h"
#include "qemu_input.h"
#include "source.h"

struct free_options {
	const char *bitmap;	/* FILE or FILE:REGION, or NULL */
	const char *order;	/* "lsb" or "msb", or NULL */
	const char *guest;	/* "linux", or NULL */
};

extern struct free_options free_options;

/* For the option table of a program. */
#define FREE_OPTIONS							\
	{ "free-bitmap", '\0', POPT_ARG_STRING, &free_options.bitmap, 0, \
	    "leave out pages whose bits are 1: FILE[:REGION]", "FILE" }, \
	{ "bit-order", '\0', POPT_ARG_STRING, &free_options.order, 0,	\
	    "of the bitmap: lsb or msb first (lsb)", "ORDER" },		\
	{ "skip-free", '\0', POPT_ARG_STRING, &free_options.guest, 0,	\
	    "leave out what a guest has no use for, as its memory says: linux", \
	    "GUEST" }

/* Exit when they make no sense; the bitmap is not opened yet. */
void free_parse(int is_live);

/* True when some pages may be free. */
int free_is_asked(void);

/* Open the bitmap, wait for it if it is a pipe, and mark what it says. */
pm_free_find free_find;

/* The source is to be one without its free pages. */
enum pm_status free_leave_out(void *unused, struct pm_source **);

/*
 * The same of a migration stream, whose blocks of RAM were listed: the input
 * is looked into as well.
 */
pm_free_find free_find_in_stream;

/* Count the pages that were marked, if that was asked for. */
void free_report(void);

#endif /* FREE_OPTIONS_H */
