/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "image.h"
#include "move.h"

#define PAGE	4096u

static char path[] = "/tmp/pm-image-XXXXXX";
static struct pm_image image;
static struct pm_fault fault;
static uint8_t *buf;

/* A file of 64 pages and 5 bytes, written from page 16 to 31. */
static void
make_file(struct pm_image *made, struct pm_layout *layout)
{
	static uint8_t bytes[16 * PAGE];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i / PAGE + 1);
	if (fd < 0 || ftruncate(fd, 64 * PAGE + 5) != 0 ||
	    pwrite(fd, bytes, sizeof(bytes), 16 * PAGE) < 0 ||
	    pwrite(fd, "tail!", 5, 64 * PAGE) < 0)
		exit(1);
	pm_image_take(made, fd, layout, 0, path, &fault);
}

static struct pm_layout *
two_regions(uint64_t a, uint64_t b)
{
	struct pm_region region[2] = {
		{ .length = a, .name = "a", .key = pm_hash_key("a", 1) },
		{ .length = b, .name = "b", .key = pm_hash_key("b", 1) },
	};

	return pm_layout_of_blocks(region, 2, 12, 0);
}

static int
is_all(const uint8_t *bytes, size_t size, int value)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != value)
			return 0;
	return 1;
}

static void
test_reading(void)
{
	uint64_t pages;
	int data;

	make_file(&image, two_regions(20 * PAGE, 44 * PAGE + 5));
	CHECK(pm_image_span(&image, 0, 0, &data, &pages) == PM_OK && !data &&
	    pages == 16);
	CHECK(pm_image_span(&image, 0, 16, &data, &pages) == PM_OK && data &&
	    pages == 4);
	CHECK(pm_image_span(&image, 1, 0, &data, &pages) == PM_OK && data &&
	    pages == 12);
	CHECK(pm_image_span(&image, 1, 12, &data, &pages) == PM_OK && !data);
	CHECK(pm_image_span(&image, 1, 44, &data, &pages) == PM_OK && data &&
	    pages == 1);
	CHECK(pm_image_span(&image, 1, 45, &data, &pages) == PM_OK && !data &&
	    pages == UINT64_MAX);
	memset(buf, 0x5a, 32 * PAGE);
	CHECK(pm_image_read(&image, 0, 10, 20, buf) == PM_OK);
	CHECK(is_all(buf, 6 * PAGE, 0) && is_all(buf + 6 * PAGE, PAGE, 1) &&
	    is_all(buf + 9 * PAGE, PAGE, 4));
	CHECK(is_all(buf + 10 * PAGE, 10 * PAGE, 0));	/* behind the end */
	CHECK(pm_image_read(&image, 1, 44, 1, buf) == PM_OK);
	CHECK(memcmp(buf, "tail!", 5) == 0 && is_all(buf + 5, PAGE - 5, 0));
	pm_image_close(&image);
	pm_image_close(&image);
}

static void
test_writing(void)
{
	struct stat before, after;
	struct pm_digest id;

	make_file(&image, two_regions(20 * PAGE, 80 * PAGE));
	memset(buf, 7, 2 * PAGE);
	CHECK(pm_image_write(&image, 1, 70, 2, buf) == PM_OK);
	CHECK(image.size == 92 * PAGE);
	CHECK(pm_image_write(&image, 1, 79, 2, buf) == PM_ERR_CORRUPT);
	CHECK(pm_image_write(&image, 0, 20, 1, buf) == PM_ERR_CORRUPT);
	memset(buf, 0, 2 * PAGE);
	CHECK(pm_image_read(&image, 1, 71, 1, buf) == PM_OK &&
	    is_all(buf, PAGE, 7));
	/* Holes where that can be; none behind the end of the file. */
	CHECK(fstat(image.fd, &before) == 0);
	CHECK(pm_image_punch(&image, 0, 16, 1000) == PM_OK);
	CHECK(pm_image_punch(&image, 1, 0, 1000) == PM_OK);
	CHECK(fstat(image.fd, &after) == 0);
	CHECK(after.st_size == before.st_size);
	CHECK(after.st_blocks < before.st_blocks || before.st_blocks == 0);
	CHECK(pm_image_id(&image, buf, &id) == PM_OK);
	CHECK(pm_digest_equal(id, pm_layout_id(image.layout->region, 2)));
	pm_image_close(&image);
}

/* The pages of two regions, moved to a file where they stand elsewhere. */
static void
test_moving(void)
{
	char other[] = "/tmp/pm-image-XXXXXX";
	int fd = mkstemp(other);
	struct pm_image to;
	struct pm_digest was, is;
	struct pm_move move = { .from = &image, .to = &to, .copy = 1,
	    .buf = buf };
	struct pm_region region[2];

	unlink(other);
	make_file(&image, two_regions(20 * PAGE, 44 * PAGE + 5));
	region[0] = image.layout->region[1];
	region[1] = image.layout->region[0];
	region[1].length = 18 * PAGE;
	pm_image_take(&to, fd, pm_layout_of_blocks(region, 2, 12, 0), 0,
	    other, &fault);
	CHECK(!pm_move_is_still(&image, &to));
	CHECK(pm_move_run(&move) == PM_OK);
	CHECK(move.read == 17 * PAGE && move.copied == 15 * PAGE);
	CHECK(pm_image_id(&image, buf, &was) == PM_OK &&
	    pm_digest_equal(was, move.was));
	CHECK(pm_image_id(&to, buf, &is) == PM_OK &&
	    pm_digest_equal(is, move.is));
	CHECK(pm_image_read(&to, 1, 16, 2, buf) == PM_OK &&
	    is_all(buf, PAGE, 1) && is_all(buf + PAGE, PAGE, 2));
	pm_image_close(&image);
	pm_image_close(&to);
}

/* Without SEEK_DATA, as of a pipe, all that there is is data. */
static void
test_holes(void)
{
	struct pm_holes holes = { 0 };
	uint64_t until;
	int fd[2];

	CHECK(pm_holes_at(&holes, -1, 100, 100, &until) &&
	    until == UINT64_MAX);
	if (pipe(fd) != 0)
		exit(1);
	CHECK(!pm_holes_at(&holes, fd[0], 100, 5, &until) && until == 100);
	CHECK(!pm_holes_at(&holes, fd[0], 100, 99, &until) && until == 100);
	pm_holes_forget(&holes);
	make_file(&image, two_regions(20 * PAGE, 44 * PAGE + 5));
	CHECK(pm_holes_at(&holes, image.fd, image.size, 0, &until) &&
	    until == 16 * PAGE);
	CHECK(!pm_holes_at(&holes, image.fd, image.size, 17 * PAGE, &until) &&
	    until == 32 * PAGE);
	/* It remembers, until it is told to forget. */
	CHECK(!pm_holes_at(&holes, fd[0], image.size, 18 * PAGE, &until) &&
	    until == 32 * PAGE);
	pm_holes_forget(&holes);
	CHECK(!pm_holes_at(&holes, fd[0], image.size, 0, &until) &&
	    until == image.size);
	pm_image_close(&image);
	close(fd[0]);
	close(fd[1]);
}

int
main(void)
{
	int fd = mkstemp(path);

	buf = pm_record_buffer();
	if (fd < 0 || buf == NULL)
		return 1;
	close(fd);
	test_reading();
	test_writing();
	test_moving();
	test_holes();
	unlink(path);
	free(buf);
	return check_done();
}
