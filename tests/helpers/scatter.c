/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scatter.c - an image of chance, for the tests.
 *
 *	scatter SEED BYTES FILE		make FILE
 *	scatter SEED BYTES FILE -	change it, and its length
 *
 * A new image has holes, zeroes that were written, and pages of text and of
 * noise.  A change touches a part of the pages: some bytes of one, all of
 * it, or it becomes zeroes or a hole.  One seed gives one image.
 */
#define _GNU_SOURCE		/* fallocate */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE	4096u

static uint64_t state;
static uint8_t page[PAGE];

static uint64_t
chance(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
fill_text(void)
{
	unsigned number = (unsigned)chance(1u << 20);

	for (size_t at = 0; at < PAGE;) {
		char line[32];
		int size = snprintf(line, sizeof(line), "line %u of it\n",
		    number++);

		for (int i = 0; i < size && at < PAGE; i++)
			page[at++] = (uint8_t)line[i];
	}
}

static void
fill_noise(void)
{
	for (size_t at = 0; at < PAGE; at++)
		page[at] = (uint8_t)chance(256);
}

static void
put(int fd, uint64_t offset, uint64_t end)
{
	size_t size = end - offset < PAGE ? (size_t)(end - offset) : PAGE;

	if (pwrite(fd, page, size, (off_t)offset) != (ssize_t)size)
		fail("pwrite");
}

static void
put_new(int fd, uint64_t offset, uint64_t end)
{
	uint64_t kind = chance(4);

	memset(page, 0, sizeof(page));
	if (kind == 0)
		fill_noise();
	else if (kind < 3)
		fill_text();
	put(fd, offset, end);
}

static void
change(int fd, uint64_t offset, uint64_t end)
{
	switch (chance(4)) {
	case 0:
		put_new(fd, offset, end);
		break;
	case 1:
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)offset, PAGE) != 0)
			fail("fallocate");
		break;
	default:
		memset(page, 0, sizeof(page));
		if (pread(fd, page, PAGE, (off_t)offset) < 0)
			fail("pread");
		for (uint64_t i = 1 + chance(20); i > 0; i--)
			page[chance(PAGE)] = (uint8_t)chance(256);
		put(fd, offset, end);
	}
}

int
main(int argc, char *argv[])
{
	uint64_t end, run = 0;
	int fd, changing = argc == 5, active = 0;

	if (argc < 4)
		return 2;
	state = strtoull(argv[1], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
	end = strtoull(argv[2], NULL, 10);
	fd = open(argv[3], O_RDWR | O_CREAT | (changing ? 0 : O_TRUNC), 0600);
	if (fd < 0 || ftruncate(fd, (off_t)end) != 0)
		fail(argv[3]);
	for (uint64_t at = 0; at < end; at += PAGE, run--) {
		if (run == 0) {
			run = 1 + chance(12);
			active = chance(changing ? 4 : 3) == 0;
		}
		if (active && changing)
			change(fd, at, end);
		else if (active)
			put_new(fd, at, end);
	}
	return close(fd) != 0;
}
