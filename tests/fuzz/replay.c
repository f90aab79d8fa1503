/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replay.c - run a fuzz target over files, without a fuzzer.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE_MAX_OF_A_FILE	((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of just that size, so that a sanitizer sees a byte too far. */
static int
replay(const char *path, uint8_t *buf)
{
	FILE *file = fopen(path, "rb");
	uint8_t *copy;
	size_t size;

	if (file == NULL) {
		perror(path);
		return 1;
	}
	size = fread(buf, 1, SIZE_MAX_OF_A_FILE, file);
	fclose(file);
	if ((copy = malloc(size > 0 ? size : 1)) == NULL)
		return 1;
	for (size_t i = 0; i < size; i++)
		copy[i] = buf[i];
	(void)LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	return 0;
}

int
main(int argc, char *argv[])
{
	uint8_t *buf = malloc(SIZE_MAX_OF_A_FILE);
	int failed = buf == NULL;

	for (int i = 1; i < argc && !failed; i++)
		failed = replay(argv[i], buf);
	free(buf);
	return failed;
}
