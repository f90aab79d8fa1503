/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kept.h - the file of pm-recv --resume: what is whole of it stays.
 *
 * Each of these exits when it fails.
 */
#ifndef KEPT_H
#define KEPT_H

#include <sys/uio.h>

#include "receive.h"

struct kept {
	int fd;			/* of the file, locked */
	uint64_t at;		/* how much of it was read */
	struct pm_token have;	/* what is whole of it */
};

/*
 * Open the file at path, and see what it has.  Nothing is done to it yet, and
 * what is not a stream, or is of one that was damaged, is for the user to
 * judge.
 */
void kept_open(struct kept *kept, const char *path);

/* There is a sender, so a record that was cut may go. */
void kept_cut(struct kept *kept);

/*
 * Read what there was, up to have.offset: for the records that follow build
 * on it.  The sender is told meanwhile that we are here.
 */
enum pm_status kept_read(struct kept *kept, struct iovec *iov, int count);

#endif /* KEPT_H */
