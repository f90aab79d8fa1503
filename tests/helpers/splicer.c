/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splicer.c - a stage of a pipeline that moves pages and never copies them.
 *
 *	splicer [MILLISECONDS]		move standard input to output
 *	splicer --hazard FILE		put FILE there, wrongly
 *
 * Both are pipes, and are made as large as a user may have them.  With a
 * number it rests so long before each piece, of at most 64 KiB.
 *
 * The wrong way is to give the pipe pages of our own memory (vmsplice), and
 * to use them again when the pipe has room, as if they had been read then.
 * Behind one reader that copies they were; behind those that move pages on,
 * they still are on their way, and change there.
 */
#define _GNU_SOURCE		/* splice, vmsplice, F_SETPIPE_SZ */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PIPE	(1u << 20)
#define RING	(2 * PIPE)
#define PIECE	(64u << 10)

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
widen(int fd)
{
	if (fcntl(fd, F_SETPIPE_SZ, PIPE) < 0)
		fail("F_SETPIPE_SZ");
}

static void
pass_on(long ms)
{
	struct timespec rest = { ms / 1000, ms % 1000 * 1000000 };
	ssize_t now;

	widen(STDIN_FILENO);
	do {
		if (ms > 0)
			nanosleep(&rest, NULL);
		now = splice(STDIN_FILENO, NULL, STDOUT_FILENO, NULL,
		    ms > 0 ? PIECE : PIPE, 0);
	} while (now > 0);
	if (now < 0)
		fail("splice");
}

static void
give_away(const char *path)
{
	char *ring = mmap(NULL, RING, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open(path, O_RDONLY);
	ssize_t got;

	if (ring == MAP_FAILED || fd < 0)
		fail(path);
	for (size_t at = 0; (got = read(fd, ring + at, PIECE)) > 0;
	    at = (at + PIECE) % RING) {
		struct iovec piece = { ring + at, (size_t)got };

		while (piece.iov_len > 0) {
			ssize_t put = vmsplice(STDOUT_FILENO, &piece, 1, 0);

			if (put < 0)
				fail("vmsplice");
			piece.iov_base = (char *)piece.iov_base + put;
			piece.iov_len -= (size_t)put;
		}
	}
	if (got < 0)
		fail(path);
	close(fd);
}

int
main(int argc, char *argv[])
{
	widen(STDOUT_FILENO);
	if (argc == 3 && strcmp(argv[1], "--hazard") == 0)
		give_away(argv[2]);
	else
		pass_on(argc == 2 ? atol(argv[1]) : 0);
	return 0;
}
