/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * writer.c - a subject to be moved where there is no guest.
 * usage: writer FILE MIB BUFFER RATE
 *
 * FILE, of so many MiB, is mapped as shared memory.  A third of it is
 * filled: random numbers in hexadecimal.  When that is done "ready" is
 * printed, and from then on RATE MiB a second of other numbers are written
 * to random places of the first BUFFER MiB, for ever.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB	(1u << 20)
#define PIECE	(64u << 10)

static uint64_t state = 1;

static uint64_t
chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void
fill(char *to, size_t size)
{
	for (size_t at = 0; at < size; at += 16) {
		uint64_t number = chance();

		for (unsigned i = 0; i < 16; i++)
			to[at + i] = "0123456789abcdef"[number >> 4 * i & 15];
	}
}

static void
rest(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}

int
main(int argc, char *argv[])
{
	size_t size, buffer;
	double rate;
	char *memory;
	int fd;

	if (argc != 5)
		return 2;
	size = (size_t)strtoul(argv[2], NULL, 10) * MIB;
	buffer = (size_t)strtoul(argv[3], NULL, 10) * MIB;
	rate = strtod(argv[4], NULL) * MIB;
	if (buffer < PIECE || buffer > size / 3)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
		perror(argv[1]);
		return 1;
	}
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		perror(argv[1]);
		return 1;
	}
	fill(memory, size / 3 / PIECE * PIECE);
	puts("ready");
	fflush(stdout);
	while (rate > 0) {
		fill(memory + chance() % (buffer / PIECE) * PIECE, PIECE);
		rest(PIECE / rate);
	}
	for (;;)
		pause();
}
