/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * differ - the numbers of the pages in which two files of one size differ, a
 * line each, with "zero" behind those that are empty in the second:
 * differ ONE OTHER.
 */
#include <stdio.h>
#include <string.h>

#define PAGE 4096

int
main(int argc, char *argv[])
{
	static char one[PAGE], other[PAGE];
	FILE *files[2];

	if (argc != 3 || (files[0] = fopen(argv[1], "r")) == NULL ||
	    (files[1] = fopen(argv[2], "r")) == NULL) {
		perror("differ");
		return 2;
	}
	for (unsigned long page = 0;; page++) {
		size_t size = fread(one, 1, PAGE, files[0]);

		if (fread(other, 1, PAGE, files[1]) != size ||
		    (size != PAGE && size != 0)) {
			fprintf(stderr, "differ: other sizes\n");
			return 2;
		}
		if (size == 0)
			return ferror(files[0]) || ferror(files[1]) ? 2 : 0;
		if (memcmp(one, other, PAGE) == 0)
			continue;
		printf("%05lu%s\n", page, other[0] == 0 &&
		    memcmp(other, other + 1, PAGE - 1) == 0 ? " zero" : "");
	}
}
