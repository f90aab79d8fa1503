/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * consumer.h - the command that pm-recv gives the stream to.
 *
 * What it prints goes to a file in memory, and to the sender when it
 * succeeded.  All that fails ends the process as sender.h says.
 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <stddef.h>

#include "stream.h"

/* Start it.  Returns the end of a pipe to its standard input, not blocking. */
int consumer_start(char **command);

/*
 * The stream ended before it came to its end: so does the input of the
 * command, which says so, and is waited for.
 */
void consumer_cut_off(void);

/*
 * The stream came to its end, written by out with that status: wait for the
 * command, which has to succeed and to have read all.  Its first size bytes
 * of output are put into said; returns how many there were.
 */
size_t consumer_finish(enum pm_status status, const struct pm_writer *out,
    char *said, size_t size);

#endif /* CONSUMER_H */
