/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source_guest.h - the guest whose memory a source is.
 */
#ifndef PM_SOURCE_GUEST_H
#define PM_SOURCE_GUEST_H

#include "free.h"
#include "guest.h"
#include "ram.h"
#include "source.h"

/*
 * Find the Linux guest in a source that stands still (guest.h), and which
 * pages its RAM is.  Regions with addresses are taken for RAM at these;
 * otherwise RAM is what ram.h takes for it.  It fails as pm_guest_open does;
 * PM_ERR_REFUSED for pages that are not of 4 KiB, too.  The guest and its
 * RAM are then to be closed by the caller, and not after a failure.
 */
enum pm_status pm_source_guest_find(struct pm_source *, struct pm_guest *,
    struct pm_ram *, struct pm_fault *);

/* Mark its free pages.  PM_ERR_SYSTEM with errno. */
enum pm_status pm_source_guest_mark(const struct pm_guest *,
    const struct pm_ram *, struct pm_free *);

#endif /* PM_SOURCE_GUEST_H */
