/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dense.c - the pages of images that are not zero, one behind the other.
 * usage: dense IMAGE... >OUT
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE	4096u

static unsigned char page[PAGE];

static int
copy_pages(int fd)
{
	ssize_t got;

	while ((got = read(fd, page, PAGE)) > 0) {
		memset(page + got, 0, PAGE - (size_t)got);
		if ((page[0] != 0 || memcmp(page, page + 1, PAGE - 1) != 0) &&
		    fwrite(page, PAGE, 1, stdout) != 1)
			return 0;
	}
	return got == 0;
}

int
main(int argc, char *argv[])
{
	if (argc < 2)
		return 2;
	for (int i = 1; i < argc; i++) {
		int fd = open(argv[i], O_RDONLY);

		if (fd < 0 || !copy_pages(fd)) {
			perror(argv[i]);
			return 1;
		}
		close(fd);
	}
	return fflush(stdout) != 0;
}
