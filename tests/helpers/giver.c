/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * giver.c - write memory without pause, and give a userfaultfd away.
 *
 *	giver FILE MIB USEC [SOCKET [what]]
 *
 * Maps MIB mebibytes of FILE, shared, or of anonymous memory if FILE is "-";
 * fills half of it, says "ready" and writes here and there, with so many
 * microseconds between 64 writes.  Whoever connects to SOCKET is sent a
 * userfaultfd of this process; or, if what is "nothing", no descriptor, and
 * if it is "file", one of /dev/null.  With "own" the memory belongs to a
 * userfaultfd from the beginning.
 */
#define _GNU_SOURCE		/* syscall, MAP_ANONYMOUS */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#define PAGE		4096
#define USER_MODE_ONLY	1

static int
listen_at(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof(name.sun_path))
		exit(2);
	strcpy(name.sun_path, path);
	if (sock < 0 || bind(sock, (struct sockaddr *)&name, sizeof(name))
	    != 0 || listen(sock, 4) != 0 ||
	    fcntl(sock, F_SETFL, O_NONBLOCK) != 0)
		exit(1);
	return sock;
}

static void
give(int to, int fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = "" };
	struct iovec iov = { (void *)(uintptr_t)"uffd", 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *head;

	if (fd >= 0) {
		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(head), &fd, sizeof(int));
	}
	(void)sendmsg(to, &msg, MSG_NOSIGNAL);
}

static void
answer(int sock, const char *what)
{
	int to = accept(sock, NULL, NULL), fd = -1;

	if (to < 0)
		return;
	if (what == NULL)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
		    USER_MODE_ONLY);
	else if (strcmp(what, "file") == 0)
		fd = open("/dev/null", O_RDONLY);
	give(to, fd);
	if (fd >= 0)
		close(fd);
	close(to);
}

static void
own(void *memory, uint64_t size)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { (uintptr_t)memory, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 ||
	    ioctl(fd, UFFDIO_REGISTER, &range) != 0)
		exit(1);
}

static uint64_t
next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

int
main(int argc, char *argv[])
{
	uint64_t seed = 1, size, n;
	int fd = -1, sock = -1;
	struct timespec nap;
	char *memory;

	if (argc < 4)
		return 2;
	size = strtoull(argv[2], NULL, 10) << 20;
	nap = (struct timespec){ 0, strtol(argv[3], NULL, 10) * 1000 };
	if (strcmp(argv[1], "-") != 0 &&
	    ((fd = open(argv[1], O_RDWR | O_CREAT, 0600)) < 0 ||
	    ftruncate(fd, (off_t)size) != 0))
		return 1;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, fd < 0
	    ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return 1;
	if (fd >= 0)
		close(fd);
	for (n = 0; n < size / 2; n += 8)
		*(uint64_t *)(void *)(memory + n) = next(&seed);
	if (argc > 5 && strcmp(argv[5], "own") == 0) {
		memset(memory + size / 2, 1, size / 2);
		own(memory, size);
	}
	if (argc > 4)
		sock = listen_at(argv[4]);
	puts("ready");
	fflush(stdout);
	for (n = 1;; n++) {
		uint64_t at = next(&seed) % (size / PAGE) * PAGE;

		*(volatile uint64_t *)(void *)(memory + at + n % 512 * 8) = n;
		if (n % 64 != 0)
			continue;
		if (nap.tv_nsec > 0)
			nanosleep(&nap, NULL);
		if (sock >= 0)
			answer(sock, argc > 5 ? argv[5] : NULL);
	}
}
