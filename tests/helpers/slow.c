/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * slow.c - pass standard input on, a piece every few milliseconds.
 * usage: slow BYTES MILLISECONDS
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char buf[1u << 20];

int
main(int argc, char *argv[])
{
	struct timespec nap = { 0 };
	size_t most;
	ssize_t got;

	if (argc != 3 || (most = strtoul(argv[1], NULL, 10)) == 0 ||
	    most > sizeof(buf))
		return 2;
	nap.tv_nsec = strtol(argv[2], NULL, 10) * 1000000;
	while ((got = read(STDIN_FILENO, buf, most)) > 0) {
		for (ssize_t at = 0, done; at < got; at += done) {
			done = write(STDOUT_FILENO, buf + at,
			    (size_t)(got - at));
			if (done < 0)
				return 1;
		}
		nanosleep(&nap, NULL);
	}
	return got < 0;
}
