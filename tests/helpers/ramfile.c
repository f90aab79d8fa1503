/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ramfile.c - a migration file as QEMU writes it with mapped-ram.
 *
 *	ramfile SEED FILE STREAM [libvirt] [changed]
 *
 * STREAM is what the same guest is without that capability.  changed makes
 * one of 50 pages another, of the same guest.
 */
#include "../unit/ramfile.h"

static int
create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	perror(path);
	exit(1);
}

int
main(int argc, char *argv[])
{
	struct ramfile file = { .shift = 12, .section = 2, .parts = 2,
	    .command = 1 };

	if (argc < 4) {
		fprintf(stderr, "usage: ramfile SEED FILE STREAM "
		    "[libvirt] [changed]\n");
		return 2;
	}
	file.seed = strtoull(argv[1], NULL, 10);
	for (int i = 4; i < argc; i++) {
		if (strcmp(argv[i], "libvirt") == 0)
			file.libvirt = 1;
		if (strcmp(argv[i], "changed") == 0)
			file.changed = 50;
	}
	ramfile_make(&file, create(argv[2]), create(argv[3]));
	return 0;
}
