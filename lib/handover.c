/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* struct ucred */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "handover.h"

#define PATIENCE_S	10

static enum pm_status
fail(const char *path, struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
	    strerror(errno));
}

/* The socket may have been made by a parent, or the descriptor passed on. */
static enum pm_status
check_peer(int sock, const char *path, pid_t pid, struct pm_fault *fault)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		return fail(path, fault);
	return peer.pid == pid ? PM_OK : pm_fault_set(fault, PM_ERR_REFUSED,
	    path, "is served by process %d, not %d", (int)peer.pid, (int)pid);
}

/* Close what came but is no userfaultfd. */
static enum pm_status
check_descriptor(int *fd, const char *path, struct pm_fault *fault)
{
	static const char wants[] = "anon_inode:[userfaultfd]";
	char link[48], name[sizeof(wants)] = "";

	if (*fd < 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "sent no descriptor");
	snprintf(link, sizeof(link), "/proc/self/fd/%d", *fd);
	if (readlink(link, name, sizeof(name)) == sizeof(wants) - 1 &&
	    memcmp(name, wants, sizeof(wants) - 1) == 0)
		return PM_OK;
	close(*fd);
	*fd = -1;
	return pm_fault_set(fault, PM_ERR_REFUSED, path,
	    "sent a descriptor that is no userfaultfd");
}

static enum pm_status
receive(int sock, const char *path, int *fd, struct pm_fault *fault)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char text[4096];
	struct iovec iov = { text, sizeof(text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
	    .msg_control = control.room,
	    .msg_controllen = sizeof(control.room) };
	struct cmsghdr *head;
	ssize_t got;

	do
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return fail(path, fault);
	*fd = -1;
	head = CMSG_FIRSTHDR(&msg);
	if (head != NULL && head->cmsg_level == SOL_SOCKET &&
	    head->cmsg_type == SCM_RIGHTS &&
	    head->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(head), sizeof(int));
	return check_descriptor(fd, path, fault);
}

enum pm_status
pm_handover_take(const char *path, pid_t pid, int *fd, struct pm_fault *fault)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	enum pm_status status;
	int sock;

	*fd = -1;
	if (strlen(path) >= sizeof(name.sun_path)) {
		errno = ENAMETOOLONG;
		return fail(path, fault);
	}
	memcpy(name.sun_path, path, strlen(path));
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return fail(path, fault);
	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience,
	    sizeof(patience)) != 0 || connect(sock,
	    (struct sockaddr *)&name, sizeof(name)) != 0)
		status = fail(path, fault);
	else if ((status = check_peer(sock, path, pid, fault)) == PM_OK)
		status = receive(sock, path, fd, fault);
	close(sock);
	return status;
}
