/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* IOV_MAX */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"

static enum pm_status
fail_lost(struct pm_channel *channel)
{
	return pm_fault_set(channel->fault, PM_ERR_PEER, channel->peer, "%s",
	    strerror(errno));
}

/* Would block, or not. */
static enum pm_status
judge(struct pm_channel *channel)
{
	return errno == EAGAIN || errno == EWOULDBLOCK ? PM_OK
	    : fail_lost(channel);
}

enum pm_status
pm_channel_open(struct pm_channel *channel, int fd,
    const struct pm_tls_keys *keys, int serves, const char *peer,
    struct pm_fault *fault)
{
	int flags = fcntl(fd, F_GETFL);
	enum pm_status status = PM_OK;

	*channel = (struct pm_channel){ .fd = fd, .peer = peer,
	    .fault = fault };
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
		status = pm_fault_set(fault, PM_ERR_SYSTEM, peer, "%s",
		    strerror(errno));
	else if (keys != NULL)
		status = pm_tls_new(&channel->tls, fd, keys, serves, peer,
		    fault);
	if (status != PM_OK)
		pm_channel_close(channel);
	return status;
}

enum pm_status
pm_channel_greet(struct pm_channel *channel, int *done)
{
	if (channel->tls != NULL)
		return pm_tls_greet(channel->tls, done);
	*done = 1;
	return PM_OK;
}

/* Both calls below take a list that they may change, and do not. */
static struct msghdr
message(const struct iovec *iov, int count)
{
	return (struct msghdr){ .msg_iov = (struct iovec *)(uintptr_t)iov,
	    .msg_iovlen = (size_t)(count > IOV_MAX ? IOV_MAX : count) };
}

enum pm_status
pm_channel_send(struct pm_channel *channel, const struct iovec *iov,
    int count, size_t *put)
{
	struct msghdr out = message(iov, count);
	ssize_t now;

	if (channel->tls != NULL)
		return pm_tls_send(channel->tls, iov, count, put);
	do
		now = sendmsg(channel->fd, &out, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (now < 0 && errno == EINTR);
	*put = now > 0 ? (size_t)now : 0;
	return now >= 0 ? PM_OK : judge(channel);
}

enum pm_status
pm_channel_flush(struct pm_channel *channel, size_t *left)
{
	if (channel->tls != NULL)
		return pm_tls_flush(channel->tls, left);
	*left = 0;
	return PM_OK;
}

static int
is_empty(const struct iovec *iov, int count)
{
	while (count > 0 && iov->iov_len == 0) {
		iov++;
		count--;
	}
	return count == 0;
}

static enum pm_status
recv_clear(struct pm_channel *channel, const struct iovec *iov, int count,
    size_t *got)
{
	struct msghdr in = message(iov, count);
	ssize_t now;

	*got = 0;
	/* Nothing asked for and nothing more to come would look the same. */
	if (is_empty(iov, count))
		return channel->is_ended ? PM_END : PM_OK;
	do
		now = recvmsg(channel->fd, &in, MSG_DONTWAIT);
	while (now < 0 && errno == EINTR);
	if (now < 0)
		return judge(channel);
	*got = (size_t)now;
	channel->is_ended = now == 0;
	return now > 0 ? PM_OK : PM_END;
}

enum pm_status
pm_channel_recvv(struct pm_channel *channel, const struct iovec *iov,
    int count, size_t *got)
{
	return channel->tls != NULL ? pm_tls_recv(channel->tls, iov, count, got)
	    : recv_clear(channel, iov, count, got);
}

enum pm_status
pm_channel_recv(struct pm_channel *channel, void *buf, size_t size,
    size_t *got)
{
	struct iovec iov = { buf, size };

	return pm_channel_recvv(channel, &iov, 1, got);
}

short
pm_channel_events(const struct pm_channel *channel, int wants_write)
{
	if (channel->tls != NULL)
		return pm_tls_events(channel->tls, wants_write);
	return (short)((channel->is_ended ? 0 : POLLIN) |
	    (wants_write ? POLLOUT : 0));
}

int
pm_channel_is_ready(const struct pm_channel *channel)
{
	return channel->tls != NULL && pm_tls_is_ready(channel->tls);
}

enum pm_status
pm_channel_shut(struct pm_channel *channel)
{
	if (channel->tls != NULL)
		return pm_tls_shut(channel->tls);
	return shutdown(channel->fd, SHUT_WR) == 0 ? PM_OK
	    : fail_lost(channel);
}

void
pm_channel_close(struct pm_channel *channel)
{
	pm_tls_free(channel->tls);
	channel->tls = NULL;
	if (channel->fd >= 0)
		close(channel->fd);
	channel->fd = -1;
}
