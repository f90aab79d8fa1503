/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* SEEK_DATA */
#include <errno.h>
#include <unistd.h>

#include "holes.h"

static void
ask(struct pm_holes *holes, int fd, uint64_t size, uint64_t offset)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;

	if (data < 0)
		data = errno == ENXIO ? (off_t)size : (off_t)offset;
	hole = (uint64_t)data >= size ? data : lseek(fd, data, SEEK_HOLE);
	if (hole < data)
		hole = (off_t)size;
	holes->hole_from = offset;
	holes->hole_to = (uint64_t)data;
	holes->data_to = (uint64_t)hole > offset ? (uint64_t)hole : size;
}

int
pm_holes_at(struct pm_holes *holes, int fd, uint64_t size, uint64_t offset,
    uint64_t *until)
{
	*until = UINT64_MAX;
	if (offset >= size)
		return 1;
	/* A call for each page would be slow: 23 ms each on some systems. */
	if (offset < holes->hole_from || offset >= holes->data_to)
		ask(holes, fd, size, offset);
	*until = offset < holes->hole_to ? holes->hole_to : holes->data_to;
	return offset < holes->hole_to;
}

void
pm_holes_forget(struct pm_holes *holes)
{
	*holes = (struct pm_holes){ 0 };
}
