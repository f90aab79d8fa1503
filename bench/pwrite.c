/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pwrite.c - the least that writing changes to a file can take.
 * usage: pwrite OLD NEW TARGET
 *
 * The pages of NEW that differ from OLD are read into memory.  Then, while
 * the clock runs, they are written to TARGET in ascending order, one call
 * for each run of them, and brought to the disk.  The seconds of that, the
 * pages and the runs are printed.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096u
#define CHUNK	(256u * PAGE)

struct run {
	uint64_t page;
	size_t from, pages;	/* in the pages held */
};

static uint8_t old[CHUNK], new[CHUNK];
static uint8_t *held;
static size_t held_pages, runs;
static struct run *run;

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static int
open_file(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		fail(path);
	return fd;
}

/* Read all of buf, with zeroes behind the end of the file. */
static void
read_chunk(int fd, uint8_t *buf, off_t offset)
{
	size_t at = 0;
	ssize_t got = 1;

	while (at < CHUNK && got > 0) {
		got = pread(fd, buf + at, CHUNK - at, offset + (off_t)at);
		if (got < 0)
			fail("read");
		at += (size_t)got;
	}
	memset(buf + at, 0, CHUNK - at);
}

static void
hold_page(uint64_t page, const uint8_t *content)
{
	memcpy(held + held_pages * PAGE, content, PAGE);
	if (runs > 0 && run[runs - 1].page + run[runs - 1].pages == page)
		run[runs - 1].pages++;
	else
		run[runs++] = (struct run){ page, held_pages, 1 };
	held_pages++;
}

static void
hold_changes(int old_fd, int new_fd, uint64_t pages)
{
	uint64_t page = 0;

	while (page < pages) {
		read_chunk(old_fd, old, (off_t)(page * PAGE));
		read_chunk(new_fd, new, (off_t)(page * PAGE));
		for (size_t i = 0; i < CHUNK / PAGE && page < pages; i++)
			if (memcmp(old + i * PAGE, new + i * PAGE, PAGE) == 0)
				page++;
			else
				hold_page(page++, new + i * PAGE);
	}
}

static void
write_run(int fd, const struct run *what)
{
	const uint8_t *from = held + what->from * PAGE;
	size_t size = what->pages * PAGE, at = 0;

	while (at < size) {
		ssize_t put = pwrite(fd, from + at, size - at,
		    (off_t)(what->page * PAGE + at));

		if (put < 0)
			fail("write");
		at += (size_t)put;
	}
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int
main(int argc, char *argv[])
{
	int old_fd, new_fd, fd;
	struct stat st;
	uint64_t pages;
	double began;

	if (argc != 4)
		return 2;
	old_fd = open_file(argv[1], O_RDONLY);
	new_fd = open_file(argv[2], O_RDONLY);
	fd = open_file(argv[3], O_WRONLY);
	if (fstat(new_fd, &st) != 0)
		fail(argv[2]);
	pages = (uint64_t)st.st_size / PAGE;
	held = malloc((size_t)pages * PAGE);
	run = malloc((size_t)pages * sizeof(run[0]));
	if (held == NULL || run == NULL)
		fail("memory");
	hold_changes(old_fd, new_fd, pages);

	began = now();
	for (size_t i = 0; i < runs; i++)
		write_run(fd, &run[i]);
	if (fsync(fd) != 0)
		fail(argv[3]);
	printf("%.6f %zu %zu\n", now() - began, held_pages, runs);
	return 0;
}
