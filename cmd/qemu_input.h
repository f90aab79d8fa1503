/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu_input.h - a migration stream of QEMU as the source of pm-snapshot.
 *
 * It comes on standard input or in a file, as it is or within a saved image
 * of libvirt.
 */
#ifndef QEMU_INPUT_H
#define QEMU_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "savefile.h"

struct qemu_input {
	int fd;
	const char *path;		/* of it */
	int is_file;			/* one that can be looked at anywhere */
	uint64_t begin;			/* of the stream in it */
	int is_save;			/* of libvirt */
	struct pm_savefile save;
	uint8_t seen[8];		/* read already */
	size_t seen_size;
};

/*
 * True when the source, which is path or standard input, is a migration
 * stream: by its first bytes, or because --format says so.
 */
int qemu_find(struct qemu_input *, const char *path);

/*
 * The stream ended: a program that helped has to say that it was whole.  Or
 * it will not be read to its end.
 */
enum pm_status qemu_ended(void *input);
void qemu_drop(struct qemu_input *);

#endif /* QEMU_INPUT_H */
