/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * core.h - the memory of a process as an ELF core file.
 *
 * One PT_LOAD for each mapping at its address: those that were carried have
 * their pages in the file, the others are named and have none, as in the
 * kernel's own core files.  NT_FILE names the mapped files, and a note of
 * owner "pm" holds the region, so that a later stream can be checked against
 * the file and applied to it.  There are no threads and no registers: a
 * stream of memory does not hold them.  ELF-64, little-endian; see elf(5).
 */
#ifndef PM_CORE_H
#define PM_CORE_H

#include <stdint.h>

#include "fault.h"
#include "layout.h"
#include "maplist.h"

/* True when the file begins as one of ours or any other ELF core file. */
int pm_core_detect(int fd);

/*
 * Write all that stands before slot 0, which is then at byte *data.
 * PM_ERR_WRITE or PM_ERR_SYSTEM, with errno.
 */
enum pm_status pm_core_write(int fd, const struct pm_region *,
    const struct pm_maplist *, unsigned page_shift, uint64_t *data);

/* True when that is what stands in the file already. */
int pm_core_is(int fd, const struct pm_region *, const struct pm_maplist *,
    unsigned page_shift, uint64_t *data);

/*
 * Read back what pm_core_write wrote: the layout, which the caller frees,
 * where slot 0 stands, and, unless list is NULL, the mappings.
 * PM_ERR_REFUSED for a core file of others, and for one of ours in which a
 * byte before slot 0 is another than we would write.
 */
enum pm_status pm_core_read(int fd, const char *path, struct pm_layout **,
    uint64_t *data, struct pm_maplist *list, struct pm_fault *);

#endif /* PM_CORE_H */
