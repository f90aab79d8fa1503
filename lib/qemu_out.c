/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "fdio.h"
#include "qemu_out.h"

enum pm_status
pm_qemu_out_flush(struct pm_qemu_out *out)
{
	enum pm_status status = pm_fd_writev(out->fd, out->piece,
	    out->count);

	out->count = 0;
	out->used = 0;
	return status == PM_OK ? PM_OK : pm_fault_set(out->fault, status,
	    NULL, "%s", pm_status_text(status));
}

/* A piece behind another is one with it. */
static void
add(struct pm_qemu_out *out, const void *bytes, size_t size)
{
	struct iovec *next = &out->piece[out->count];

	out->bytes += size;
	if (out->count > 0 && (const uint8_t *)next[-1].iov_base +
	    next[-1].iov_len == bytes) {
		next[-1].iov_len += size;
		return;
	}
	*next = (struct iovec){ (void *)(uintptr_t)bytes, size };
	out->count++;
}

enum pm_status
pm_qemu_out_put(struct pm_qemu_out *out, const void *bytes, size_t size)
{
	enum pm_status status;

	if (out->count == PM_QEMU_OUT_PIECES &&
	    (status = pm_qemu_out_flush(out)) != PM_OK)
		return status;
	add(out, bytes, size);
	return PM_OK;
}

enum pm_status
pm_qemu_out_copy(struct pm_qemu_out *out, const void *bytes, size_t size)
{
	enum pm_status status;
	uint8_t *at;

	if ((out->count == PM_QEMU_OUT_PIECES ||
	    size > PM_QEMU_OUT_SIZE - out->used) &&
	    (status = pm_qemu_out_flush(out)) != PM_OK)
		return status;
	at = out->buf + out->used;
	memcpy(at, bytes, size);
	out->used += size;
	add(out, at, size);
	return PM_OK;
}
