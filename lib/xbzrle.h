/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xbzrle.h - the bytes of a page that differ from an older copy of it.
 *
 *	delta  = { zrun nzrun }
 *	zrun   = length			bytes that are the same
 *	nzrun  = length byte...		bytes that are not, as they are now
 *	length = unsigned LEB128
 *
 * These are QEMU's bytes.  An nzrun ends at the first byte that is the
 * same, however short the zrun behind it; the same bytes at the end of the
 * page are left out, so equal pages give no bytes at all.  Lengths are
 * below 2^14, as QEMU's decoder needs them, for pages of up to 16 KiB.
 */
#ifndef PM_XBZRLE_H
#define PM_XBZRLE_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "status.h"

/*
 * Encode new against old, both a page of size bytes, a power of two from
 * 4096 to PM_PAGE_MAX, into at most room bytes of out.  Returns the bytes
 * used, or room + 1 when the delta is longer than room; out is then
 * undefined.
 */
size_t pm_xbzrle_encode(const uint8_t *old, const uint8_t *new, size_t size,
    uint8_t *out, size_t room);

/*
 * Turn page, the older copy, into the newer one.  PM_ERR_CORRUPT when in is
 * no delta of such a page, which is then undefined.  A length takes at most
 * 3 bytes and may be longer than it must, as QEMU's decoder has it within
 * its 2; an nzrun of 0, and a zrun of 0 but for the first, are refused.
 */
enum pm_status pm_xbzrle_decode(uint8_t *page, size_t size,
    const uint8_t *in, size_t in_size, struct pm_fault *);

#endif /* PM_XBZRLE_H */
