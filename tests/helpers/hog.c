/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hog.c - fill memory of a guest with what nothing makes smaller, and end.
 * usage: hog MIB [SEED]
 *
 * So many mebibytes are taken and written, every word of them with a number
 * that follows from SEED (1); when all are, each is looked at again.  The
 * status is 0 when all were as written, 1 when one was not, and 2 when there
 * was no such memory.  What is left in pages that nobody has any more is of
 * no use to anyone.  It is linked statically, for guests without a C library.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS	((size_t)(1u << 20) / sizeof(uint64_t))	/* of a MiB */

static uint64_t
next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

int
main(int argc, char *argv[])
{
	size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1, again;
	volatile uint64_t *word;

	if (mib == 0 || mib > SIZE_MAX >> 20) {
		fprintf(stderr, "usage: hog MIB [SEED]\n");
		return 2;
	}
	word = malloc(mib << 20);
	if (word == NULL) {
		perror("hog");
		return 2;
	}
	again = state;
	for (size_t i = 0; i < mib * WORDS; i++)
		word[i] = next(&state);
	for (size_t i = 0; i < mib * WORDS; i++)
		if (word[i] != next(&again)) {
			printf("word %zu is another\n", i);
			return 1;
		}
	printf("filled %zu MiB\n", mib);
	return 0;
}
