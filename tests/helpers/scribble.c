/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scribble.c - change a file without a trace in its times.
 *
 *	scribble FILE OFFSET
 *
 * Maps FILE, shared, and writes the byte at OFFSET as it is, so that the page
 * is writable from then on; says "ready"; waits for a line; and changes the
 * byte.  On a tmpfs, which never writes the page back, nothing notices.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int
main(int argc, char *argv[])
{
	volatile char *at;
	char line[16];
	long offset;
	int fd;

	if (argc != 3 || (fd = open(argv[1], O_RDWR)) < 0)
		return 2;
	offset = strtol(argv[2], NULL, 10);
	at = mmap(NULL, (size_t)offset + 1, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, 0);
	if (at == MAP_FAILED)
		return 1;
	at[offset] = at[offset];
	puts("ready");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	at[offset] = (char)~at[offset];
	puts("done");
	return 0;
}
