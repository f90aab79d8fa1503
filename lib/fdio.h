/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fdio.h - read and write whole buffers on a descriptor.
 *
 * All restart after EINTR and wait out EAGAIN, so a caller sees only
 * "all of it", "the input ended" or "it failed".  Sizes are in bytes.
 */
#ifndef PM_FDIO_H
#define PM_FDIO_H

#include <stddef.h>
#include <stdint.h>

#include <sys/uio.h>

#include "status.h"

/*
 * Fill buf.  PM_END when the input ended before its first byte,
 * PM_ERR_TRUNCATED when it ended after it.
 */
enum pm_status pm_fd_read(int fd, void *buf, size_t size);

/* The same into several buffers; iov is used up. */
enum pm_status pm_fd_readv(int fd, struct iovec *iov, int count);

/* The same from a place in a file. */
enum pm_status pm_fd_pread(int fd, void *buf, size_t size, uint64_t offset);

/* Write all of buf, or fail. */
enum pm_status pm_fd_write(int fd, const void *buf, size_t size);

/* The same from several buffers; iov is used up. */
enum pm_status pm_fd_writev(int fd, struct iovec *iov, int count);

/* The same to a place in a file. */
enum pm_status pm_fd_pwrite(int fd, const void *buf, size_t size,
    uint64_t offset);

/*
 * Ask for a pipe of 1 MiB: 256 KiB records over the usual 64 KiB run at half
 * the speed.  Does nothing where fd is no pipe or the kernel says no.
 */
void pm_fd_widen(int fd);

#endif /* PM_FDIO_H */
