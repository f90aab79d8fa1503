/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * image_options.h - the options that say how an image file is to be read.
 */
#ifndef IMAGE_OPTIONS_H
#define IMAGE_OPTIONS_H

#include <popt.h>

#include "source.h"

struct image_options {
	const char *format;	/* "auto", "raw", "core" or another */
	const char *page_size;
	const char **regions;	/* NAME:ADDRESS:SIZE, or NULL */
};

extern struct image_options image_options;

/* For the option table of a program. */
#define IMAGE_OPTIONS(formats)						\
	{ "format", '\0', POPT_ARG_STRING, &image_options.format, 0,	\
	    formats, "NAME" },						\
	{ "region", '\0', POPT_ARG_ARGV, &image_options.regions, 0,	\
	    "cut a raw image: NAME:ADDRESS:SIZE, in order", "REGION" },	\
	{ "page-size", '\0', POPT_ARG_STRING, &image_options.page_size, 0, \
	    "of a raw image: 4K to 64K (4K)", "SIZE" }

/* The shift of --page-size, or exit. */
unsigned image_page_shift(void);

/* Open the image at path as they say, or exit. */
struct pm_source *image_open(const char *path);

#endif /* IMAGE_OPTIONS_H */
