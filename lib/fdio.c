/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* F_SETPIPE_SZ, splice */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
pm_fd_fill(pm_fd_some *some, void *arg, struct iovec *iov, int count)
{
	int begun = 0;

	for (int i = 0; i < count; i++)
		for (size_t at = 0, got; at < iov[i].iov_len; at += got) {
			enum pm_status status = some(arg,
			    (char *)iov[i].iov_base + at,
			    iov[i].iov_len - at, &got);

			if (status != PM_OK)
				return status == PM_END && begun
				    ? PM_ERR_TRUNCATED : status;
			begun = 1;
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

enum kind {
	OTHER,
	PIPE,
	REGULAR,
	LOCAL,			/* a unix socket */
	NETWORK,		/* any other */
};

static enum kind
kind_of(int fd)
{
	socklen_t size = sizeof(int);
	struct stat st;
	int domain;

	if (fstat(fd, &st) != 0)
		return OTHER;
	if (S_ISFIFO(st.st_mode))
		return PIPE;
	if (S_ISREG(st.st_mode))
		return REGULAR;
	if (!S_ISSOCK(st.st_mode) ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
		return OTHER;
	return domain == AF_UNIX ? LOCAL : NETWORK;
}

/*
 * Into TCP it does not pay: it took a third longer than to copy, most of it
 * in the receiver, who was given packets put together of single pages.
 */
int
pm_fd_may_splice(int from, int to)
{
	enum kind source = kind_of(from);

	switch (kind_of(to)) {
	case PIPE:
		return source != OTHER;
	case LOCAL:
		return source == PIPE || source == REGULAR;
	default:
		return 0;
	}
}

/* However often signals come. */
static void
wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	while (poll(&pfd, 1, -1) < 0 && errno == EINTR)
		;
}

/* Which side it was that failed, as errno says. */
static enum pm_status
blame(int to)
{
	struct pollfd pfd = { .fd = to, .events = POLLOUT };
	int error = errno, broken;

	if (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP)
		return PM_ERR_REFUSED;
	broken = poll(&pfd, 1, 0) > 0 &&
	    (pfd.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
	errno = error;
	return broken ? PM_ERR_WRITE : PM_ERR_READ;
}

enum pm_status
pm_fd_splice(int from, int to, size_t size, size_t *moved)
{
	ssize_t now;

	*moved = 0;
	do {
		/* TCP would wait, in spite of the flag. */
		wait_for(from, POLLIN);
		now = splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK);
		/* One has to be a pipe; a file needs the kernel's own. */
		if (now < 0 && errno == EINVAL)
			now = sendfile(to, from, NULL, size);
	} while (now < 0 && should_retry(to, POLLOUT));
	if (now < 0)
		return blame(to);
	*moved = (size_t)now;
	return now > 0 ? PM_OK : PM_END;
}

/* For FIONREAD a file may be too long, or not say how long it is. */
static enum pm_status
count_file(int fd, off_t end, size_t *size)
{
	off_t at = lseek(fd, 0, SEEK_CUR);

	if (at < 0 || at >= end)
		return PM_ERR_REFUSED;
	*size = (uint64_t)(end - at) < SIZE_MAX ? (size_t)(end - at)
	    : SIZE_MAX;
	return PM_OK;
}

enum pm_status
pm_fd_await(int fd, size_t *size)
{
	struct stat st;
	int count = 0;

	*size = 0;
	if (ioctl(fd, FIONREAD, &count) != 0)
		return PM_ERR_REFUSED;
	if (count <= 0) {
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			return count_file(fd, st.st_size, size);
		wait_for(fd, POLLIN);
		(void)ioctl(fd, FIONREAD, &count);
	}
	*size = (size_t)count;
	return count > 0 ? PM_OK : PM_END;
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
