/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pace.c - a link of so many bits a second: standard input to output.
 * usage: pace BITS [COUNT]	COUNT is a file for the bytes that passed
 *
 * A piece is delivered when a link of that rate would have carried its last
 * bit.  An idle link saves nothing up but the little that a sleep may come
 * too late.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PIECE	(32u << 10)
#define LATE	0.002		/* seconds */

static char buf[PIECE];

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
sleep_until(double when)
{
	struct timespec t = { .tv_sec = (time_t)when };

	t.tv_nsec = (long)((when - (double)t.tv_sec) * 1e9);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) ==
	    EINTR)
		;
}

static int
put(size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t done = write(STDOUT_FILENO, buf + at, size - at);

		if (done < 0)
			return 0;
		at += (size_t)done;
	}
	return 1;
}

static int
tell(const char *path, unsigned long long bytes)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		return 0;
	fprintf(file, "%llu\n", bytes);
	return fclose(file) == 0;
}

int
main(int argc, char *argv[])
{
	unsigned long long bytes = 0;
	double rate, idle_at = 0;	/* when the link is idle again */
	ssize_t got;

	if (argc < 2 || (rate = strtod(argv[1], NULL) / 8) <= 0)
		return 2;
	while ((got = read(STDIN_FILENO, buf, PIECE)) > 0) {
		double least = now() - LATE;

		if (idle_at < least)
			idle_at = least;
		idle_at += (double)got / rate;
		sleep_until(idle_at);
		if (!put((size_t)got)) {
			perror("pace");
			return 1;
		}
		bytes += (unsigned long long)got;
	}
	if (got < 0 || (argc > 2 && !tell(argv[2], bytes))) {
		perror("pace");
		return 1;
	}
	return 0;
}
