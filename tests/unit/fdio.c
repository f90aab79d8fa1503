/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* pipe2, F_GETPIPE_SZ */
#include <sys/time.h>

#include "check.h"
#include "child.h"
#include "fdio.h"

#define SIZE	(300u << 10)		/* more than a pipe holds */

static uint8_t sent[SIZE], got[SIZE];
static volatile sig_atomic_t interruptions;

static void
note_signal(int number)
{
	(void)number;
	interruptions++;
}

/* From now on system calls of this process fail with EINTR now and then. */
static void
interrupt_often(suseconds_t us)
{
	struct itimerval every = { { 0, us }, { 0, us } };
	struct sigaction action = { .sa_handler = note_signal };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void
set_nonblocking(int fd)
{
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		child_fail("fcntl");
}

/* Give all in small pieces, slowly enough to be waited for. */
static void
give_slowly(int in, int out)
{
	(void)in;
	for (size_t at = 0, size = 1; at < SIZE; at += size) {
		size = at % 3001 + 7;
		if (size > SIZE - at)
			size = SIZE - at;
		child_tell(out, sent + at, size);
		if (at / 4096 % 8 == 0)
			child_nap(2);
	}
}

/* Take all slowly, and tell whether it was right. */
static void
take_slowly(int in, int out)
{
	uint8_t buf[5000];
	size_t at = 0;
	ssize_t now;
	char good = 1;

	while (at < SIZE && (now = read(in, buf, sizeof(buf))) > 0) {
		good &= memcmp(buf, sent + at, (size_t)now) == 0;
		at += (size_t)now;
		if (at / 4096 % 8 == 0)
			child_nap(2);
	}
	good &= at == SIZE;
	child_tell(out, &good, 1);
}

static int
was_read(enum pm_status status)
{
	int good = status == PM_OK && memcmp(sent, got, SIZE) == 0;

	memset(got, 0, SIZE);
	return good;
}

static void
test_reads(int nonblocking)
{
	struct child child = child_start(give_slowly);
	struct iovec iov[5] = {
		{ got, 1 }, { got, 0 }, { got + 1, 4095 },
		{ got + 4096, SIZE - 4096 }, { got, 0 },
	};

	if (nonblocking)
		set_nonblocking(child.from);
	CHECK(was_read(pm_fd_readv(child.from, iov, 5)));
	CHECK(pm_fd_read(child.from, got, 1) == PM_END);
	CHECK(child_end(&child) == 0);

	child = child_start(give_slowly);
	if (nonblocking)
		set_nonblocking(child.from);
	CHECK(was_read(pm_fd_read(child.from, got, SIZE)));
	child_end(&child);
}

static void
test_writes(int nonblocking)
{
	struct child child = child_start(take_slowly);
	struct iovec iov[4] = {
		{ sent, 3 }, { sent, 0 }, { sent + 3, 100000 },
		{ sent + 100003, SIZE - 100003 },
	};
	char good = 0;

	if (nonblocking)
		set_nonblocking(child.to);
	CHECK(pm_fd_writev(child.to, iov, 4) == PM_OK);
	CHECK(child_hear(child.from, &good, 1) && good);
	child_end(&child);

	child = child_start(take_slowly);
	if (nonblocking)
		set_nonblocking(child.to);
	CHECK(pm_fd_write(child.to, sent, SIZE) == PM_OK);
	CHECK(child_hear(child.from, &good, 1) && good);
	child_end(&child);
}

static void
test_ends(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	CHECK(pm_fd_read(ends[0], got, 0) == PM_OK);
	CHECK(pm_fd_write(ends[1], sent, 10) == PM_OK);
	close(ends[1]);
	CHECK(pm_fd_read(ends[0], got, 4) == PM_OK);
	CHECK(pm_fd_read(ends[0], got, 7) == PM_ERR_TRUNCATED);
	CHECK(pm_fd_read(ends[0], got, 7) == PM_END);
	CHECK(pm_fd_write(ends[0], sent, 1) == PM_ERR_WRITE &&
	    errno == EBADF);
	close(ends[0]);
	CHECK(pm_fd_read(-1, got, 1) == PM_ERR_READ && errno == EBADF);
}

static void
test_failures(void)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), ends[2];

	CHECK(pm_fd_write(full, sent, SIZE) == PM_ERR_WRITE &&
	    errno == ENOSPC);
	CHECK(pm_fd_pwrite(full, sent, 1, 0) == PM_ERR_WRITE &&
	    errno == ENOSPC);
	close(full);
	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK(pm_fd_write(ends[1], sent, 1) == PM_ERR_WRITE &&
	    errno == EPIPE);
	signal(SIGPIPE, SIG_DFL);
	close(ends[1]);
}

static void
test_places(void)
{
	char path[] = "/tmp/pm-fdio-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	CHECK(pm_fd_pwrite(fd, sent, SIZE, 1000) == PM_OK);
	CHECK(lseek(fd, 0, SEEK_CUR) == 0);
	CHECK(was_read(pm_fd_pread(fd, got, SIZE, 1000)));
	CHECK(pm_fd_pread(fd, got, 1001, 0) == PM_OK &&
	    got[999] == 0 && got[1000] == sent[0]);
	CHECK(pm_fd_pread(fd, got, 2, SIZE + 999) == PM_ERR_TRUNCATED);
	CHECK(pm_fd_pread(fd, got, 2, SIZE + 1000) == PM_END);
	CHECK(pm_fd_pread(fd, got, 0, SIZE + 1000) == PM_OK);
	CHECK(pm_fd_pread(fd, got, 1, UINT64_MAX) == PM_ERR_READ);
	CHECK(lseek(fd, 0, SEEK_CUR) == 0);
	errno = 99;
	pm_fd_widen(fd);
	CHECK(errno == 99);
	close(fd);
}

static void
test_widen(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	errno = 99;
	pm_fd_widen(ends[1]);
	/* A user may have used up what the kernel allows. */
	CHECK(fcntl(ends[0], F_GETPIPE_SZ) >= 4096 && errno == 99);
	pm_fd_widen(-1);
	CHECK(errno == 99);
	close(ends[0]);
	close(ends[1]);
}

int
main(void)
{
	for (size_t i = 0; i < SIZE; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	test_ends();
	test_failures();
	test_places();
	test_widen();
	test_reads(0);
	test_reads(1);
	test_writes(0);
	test_writes(1);
	interrupt_often(300);
	test_reads(0);
	test_reads(1);
	test_writes(0);
	test_writes(1);
	interrupt_often(0);
	CHECK(interruptions > 20);
	return check_done();
}
