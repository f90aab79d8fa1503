/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wide.c - run a command with a standard output of 1 MiB, if it is a pipe.
 * usage: wide COMMAND...
 *
 * The programs enlarge their pipes.  With this, what they are measured
 * beside has pipes of the same size.
 */
#define _GNU_SOURCE		/* F_SETPIPE_SZ */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
	if (argc < 2)
		return 2;
	/* It fails on what is no pipe, which is as good. */
	(void)fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 1 << 20);
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
