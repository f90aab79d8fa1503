/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* F_SETPIPE_SZ */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "fdio.h"

#define PIPE_SIZE	(1 << 20)

/* True when the failed call should be made again, after waiting for fd. */
static int
should_retry(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	if (errno == EINTR)
		return 1;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return 0;
	return poll(&pfd, 1, -1) >= 0 || errno == EINTR;
}

/* Skip done bytes of what is left; returns the buffers still to do. */
static int
advance(struct iovec **iov, int count, size_t done)
{
	while (count > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
	return count;
}

enum pm_status
pm_fd_readv(int fd, struct iovec *iov, int count)
{
	int begun = 0;

	count = advance(&iov, count, 0);
	while (count > 0) {
		ssize_t got = readv(fd, iov, count);

		if (got == 0)
			return begun ? PM_ERR_TRUNCATED : PM_END;
		if (got < 0) {
			if (should_retry(fd, POLLIN))
				continue;
			return PM_ERR_READ;
		}
		begun = 1;
		count = advance(&iov, count, (size_t)got);
	}
	return PM_OK;
}

enum pm_status
pm_fd_writev(int fd, struct iovec *iov, int count)
{
	count = advance(&iov, count, 0);
	while (count > 0) {
		ssize_t put = writev(fd, iov, count);

		if (put < 0) {
			if (should_retry(fd, POLLOUT))
				continue;
			return PM_ERR_WRITE;
		}
		count = advance(&iov, count, (size_t)put);
	}
	return PM_OK;
}

enum pm_status
pm_fd_read(int fd, void *buf, size_t size)
{
	struct iovec iov = { buf, size };

	return pm_fd_readv(fd, &iov, 1);
}

enum pm_status
pm_fd_write(int fd, const void *buf, size_t size)
{
	struct iovec iov = { (void *)(uintptr_t)buf, size };

	return pm_fd_writev(fd, &iov, 1);
}

enum pm_status
pm_fd_pread(int fd, void *buf, size_t size, uint64_t offset)
{
	char *next = buf;
	size_t left = size;

	while (left > 0) {
		ssize_t got = pread(fd, next, left, (off_t)offset);

		if (got == 0)
			return left == size ? PM_END : PM_ERR_TRUNCATED;
		if (got < 0) {
			if (errno == EINTR)
				continue;
			return PM_ERR_READ;
		}
		next += got;
		left -= (size_t)got;
		offset += (uint64_t)got;
	}
	return PM_OK;
}

enum pm_status
pm_fd_pwrite(int fd, const void *buf, size_t size, uint64_t offset)
{
	const char *next = buf;

	while (size > 0) {
		ssize_t put = pwrite(fd, next, size, (off_t)offset);

		if (put < 0) {
			if (errno == EINTR)
				continue;
			return PM_ERR_WRITE;
		}
		next += put;
		size -= (size_t)put;
		offset += (uint64_t)put;
	}
	return PM_OK;
}

void
pm_fd_widen(int fd)
{
	int error = errno;
	int size = fcntl(fd, F_GETPIPE_SZ);

	if (size > 0 && size < PIPE_SIZE)
		(void)fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
	errno = error;
}
