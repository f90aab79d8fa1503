/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagescan.h - the ioctl PAGEMAP_SCAN of /proc/PID/pagemap.
 *
 * As in <linux/fs.h> of Linux 6.7, which may be newer than the headers that
 * this is built with; see Documentation/admin-guide/mm/pagemap.rst there.
 */
#ifndef PM_PAGESCAN_H
#define PM_PAGESCAN_H

#include <errno.h>
#include <stdint.h>

#include <sys/ioctl.h>

/* What a page can be. */
#define PM_PAGE_WRITTEN		(UINT64_C(1) << 1)
#define PM_PAGE_FILE		(UINT64_C(1) << 2)
#define PM_PAGE_PRESENT		(UINT64_C(1) << 3)
#define PM_PAGE_SWAPPED		(UINT64_C(1) << 4)
#define PM_PAGE_ZERO		(UINT64_C(1) << 5)
#define PM_PAGE_HELD		(PM_PAGE_PRESENT | PM_PAGE_SWAPPED)

/* Protect what was found again; and fail with EPERM where that has no use. */
#define PM_PAGESCAN_PROTECT	(UINT64_C(1) << 0)
#define PM_PAGESCAN_CHECK	(UINT64_C(1) << 1)

/* More of them in one call, and some kernels tell a wrong end. */
#define PM_PAGESCAN_RANGES	512u

struct pm_pagescan_range {
	uint64_t start, end, categories;
};

struct pm_pagescan {
	uint64_t size, flags, start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, returned;
};

/* The number of ranges found, or -1 with errno. */
static inline int
pm_pagescan(int fd, struct pm_pagescan *scan)
{
	int count;

	scan->size = sizeof(*scan);
	do
		count = ioctl(fd, _IOWR('f', 16, struct pm_pagescan), scan);
	while (count < 0 && errno == EINTR);
	return count;
}

#endif /* PM_PAGESCAN_H */
