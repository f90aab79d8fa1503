/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagemap.h - which pages of a process hold something.
 *
 * A page that is in no page table of a process was never touched; finding
 * that out here, not by reading it, leaves it untouched.  The kernel is
 * asked by PAGEMAP_SCAN where it has it (Linux 6.7) and page by page
 * where not; only the first knows pages that are the kernel's page of
 * zeroes.  Answers are good while the process stands still.
 */
#ifndef PM_PAGEMAP_H
#define PM_PAGEMAP_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include "fault.h"
#include "pagescan.h"

#define PM_PAGEMAP_RANGES	PM_PAGESCAN_RANGES

enum pm_pagemap_way {
	PM_PAGEMAP_ANY,		/* the best that the kernel has */
	PM_PAGEMAP_SCAN,	/* these are for tests */
	PM_PAGEMAP_ENTRIES,
};

struct pm_pagemap_range {
	uint64_t start, end;	/* addresses */
};

struct pm_pagemap {
	int fd;
	int has_scan;
	unsigned page_shift;
	/* All that is held in [from, to), ascending and not adjoining. */
	uint64_t from, to;
	size_t ranges;
	struct pm_pagemap_range *range;
	uint64_t *entry;		/* of /proc/PID/pagemap, a window */
};

/*
 * Start on a process, or on that of a thread; way names how to ask.
 * PM_ERR_SYSTEM with fault filled, also when the kernel lacks that way.
 */
enum pm_status pm_pagemap_open(struct pm_pagemap *, pid_t,
    enum pm_pagemap_way way, unsigned page_shift, struct pm_fault *);

/*
 * What begins at address: *held is 1 for pages in memory or swapped out, 0
 * for none, up to *until, which is not above end.  Both addresses are of
 * whole pages; what lies between should be mapped.  errno tells what failed.
 */
enum pm_status pm_pagemap_span(struct pm_pagemap *, uint64_t address,
    uint64_t end, int *held, uint64_t *until);

/* Release all; one that failed to open too. */
void pm_pagemap_close(struct pm_pagemap *);

#endif /* PM_PAGEMAP_H */
