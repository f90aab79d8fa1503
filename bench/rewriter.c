/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rewriter.c - a process that writes its memory again and again.
 * usage: rewriter MIB HOT
 *
 * It has so many MiB, all of them filled, and writes to each page of the
 * first HOT of them, round and round.  When it begins "ready" is printed.
 * At each SIGUSR1 it prints what has been since the last: the longest time,
 * in microseconds, from one write to the next, and how many writes there
 * were in a second.
 */
#define _GNU_SOURCE		/* MAP_ANONYMOUS */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	4096u

static volatile sig_atomic_t asked;

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static uint64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
fill(uint64_t *at, size_t words)
{
	uint64_t state = 1;

	while (words-- > 0) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		*at++ = state;
	}
}

static void
run(char *memory, size_t hot)
{
	uint64_t since = now(), last = since, longest = 0, writes = 0, n = 0;

	for (;; n++)
		for (size_t at = 0; at < hot; at += PAGE) {
			uint64_t then = now();

			*(uint64_t *)(memory + at + n * 8 % PAGE) = n + at;
			writes++;
			if (then - last > longest)
				longest = then - last;
			last = then;
			if (!asked)
				continue;
			asked = 0;
			printf("%llu %.0f\n", (unsigned long long)longest /
			    1000, (double)writes * 1e9 /
			    (double)(then - since + 1));
			fflush(stdout);
			writes = longest = 0;
			since = last = now();
		}
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask, .sa_flags = SA_RESTART };
	size_t size, hot;
	void *memory;

	if (argc != 3)
		return 2;
	size = (size_t)strtoul(argv[1], NULL, 10) << 20;
	hot = (size_t)strtoul(argv[2], NULL, 10) << 20;
	if (size == 0 || hot == 0 || hot > size)
		return 2;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	fill(memory, size / sizeof(uint64_t));
	sigaction(SIGUSR1, &action, NULL);
	puts("ready");
	fflush(stdout);
	run(memory, hot);
	return 0;
}
