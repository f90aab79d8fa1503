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

/*
 * The same from whatever gives some bytes at a time, at least one of at most
 * size, or PM_END, or fails.
 */
typedef enum pm_status pm_fd_some(void *arg, void *buf, size_t size,
    size_t *got);
enum pm_status pm_fd_fill(pm_fd_some *, void *arg, struct iovec *, int count);

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
 * True when it pays to move bytes from one to the other within the kernel,
 * as pm_fd_splice does, and not to read and write them.
 */
int pm_fd_may_splice(int from, int to);

/*
 * Move some bytes, at most size, without copying them: the pages that hold
 * them change hands, or are the page cache's own.  Waits for the first.
 * PM_END when the input ended; PM_ERR_REFUSED when the kernel does not do
 * this between these two.
 *
 * While the kernel waits for a socket it keeps the pipe locked, and whoever
 * is at the other end of that cannot even be killed.  So a socket to write
 * to has to be one that does not block.
 */
enum pm_status pm_fd_splice(int from, int to, size_t size, size_t *moved);

/*
 * Wait for bytes to read, and tell how many there are already, at least.
 * PM_END when there will be none, PM_ERR_REFUSED where that cannot be told.
 */
enum pm_status pm_fd_await(int fd, size_t *size);

/*
 * Ask for a pipe of 1 MiB: 256 KiB records over the usual 64 KiB run at half
 * the speed.  Does nothing where fd is no pipe or the kernel says no.
 */
void pm_fd_widen(int fd);

#endif /* PM_FDIO_H */
