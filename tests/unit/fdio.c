/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* pipe2, F_GETPIPE_SZ */
#include <arpa/inet.h>
#include <sys/socket.h>
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

/* Both ends of a connection of that domain; bytes go from [1] to [0]. */
static void
connect_ends(int domain, int ends[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	sigset_t all, before;
	int listener;

	if (domain == AF_UNIX) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
			child_fail("socketpair");
		return;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, size) != 0 ||
	    listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &size) != 0 ||
	    connect(ends[1], (struct sockaddr *)&at, size) != 0 ||
	    (ends[0] = accept(listener, NULL, NULL)) < 0)
		child_fail("connect");
	close(listener);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static int
file_of(const uint8_t *bytes, size_t size)
{
	char path[] = "/tmp/pm-fdio-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	if (pm_fd_pwrite(fd, bytes, size, 0) != PM_OK)
		child_fail(path);
	return fd;
}

/* All of sent, from one to the other. */
static enum pm_status
splice_all(int from, int to)
{
	enum pm_status status = PM_OK;
	size_t moved;

	for (size_t at = 0; at < SIZE && status == PM_OK; at += moved) {
		status = pm_fd_splice(from, to, SIZE - at, &moved);
		if ((status == PM_OK) != (moved > 0) || moved > SIZE - at)
			return PM_ERR_CORRUPT;
	}
	return status;
}

static int extra[2];		/* a connection, for a child to use */

static void
give_extra_slowly(int in, int out)
{
	(void)out;
	close(extra[0]);
	give_slowly(in, extra[1]);
}

static void
take_extra_slowly(int in, int out)
{
	(void)in;
	close(extra[1]);
	take_slowly(extra[0], out);
}

/* Into a child's pipe, from what has another child or a file behind it. */
static void
test_splice_from(int from, struct child *giver, int nonblocking)
{
	struct child taker = child_start(take_slowly);
	size_t moved = 1;
	char good = 0;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	if (nonblocking) {
		set_nonblocking(from);
		set_nonblocking(taker.to);
	}
	CHECK(pm_fd_may_splice(from, taker.to));
	CHECK(splice_all(from, taker.to) == PM_OK);
	CHECK(pm_fd_splice(from, ends[1], 1, &moved) == PM_END &&
	    moved == 0);
	close(ends[0]);
	close(ends[1]);
	CHECK(child_hear(taker.from, &good, 1) && good);
	child_end(&taker);
	if (giver != NULL)
		CHECK(child_end(giver) == 0);
}

static void
test_splice_to_socket(int from, struct child *giver)
{
	struct child taker;
	char good = 0;

	connect_ends(AF_UNIX, extra);
	taker = child_start(take_extra_slowly);
	close(extra[0]);
	set_nonblocking(extra[1]);
	CHECK(pm_fd_may_splice(from, extra[1]));
	CHECK(splice_all(from, extra[1]) == PM_OK);
	CHECK(child_hear(taker.from, &good, 1) && good);
	child_end(&taker);
	close(extra[1]);
	if (giver != NULL)
		CHECK(child_end(giver) == 0);
}

static void
test_splices(int nonblocking)
{
	static const int domain[] = { AF_UNIX, AF_INET };
	struct child giver = child_start(give_slowly);
	int file;

	test_splice_from(giver.from, &giver, nonblocking);
	giver = child_start(give_slowly);
	test_splice_to_socket(giver.from, &giver);
	file = file_of(sent, SIZE);
	test_splice_from(file, NULL, nonblocking);
	if (lseek(file, 0, SEEK_SET) != 0)
		child_fail("lseek");
	test_splice_to_socket(file, NULL);
	close(file);
	for (size_t i = 0; i < 2; i++) {
		connect_ends(domain[i], extra);
		giver = child_start(give_extra_slowly);
		close(extra[1]);
		test_splice_from(extra[0], &giver, nonblocking);
		close(extra[0]);
	}
}

/* Where splicing does not pay, or is not possible. */
static void
test_no_splice(void)
{
	int local[2], network[2], ends[2], file = file_of(sent, 10);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t moved;

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	connect_ends(AF_UNIX, local);
	connect_ends(AF_INET, network);
	CHECK(!pm_fd_may_splice(ends[0], network[1]));
	CHECK(!pm_fd_may_splice(file, network[1]));
	CHECK(!pm_fd_may_splice(local[0], network[1]));
	CHECK(!pm_fd_may_splice(local[0], file));
	CHECK(!pm_fd_may_splice(ends[0], file));
	CHECK(!pm_fd_may_splice(ends[0], null));
	CHECK(!pm_fd_may_splice(null, ends[1]));
	CHECK(!pm_fd_may_splice(-1, ends[1]) &&
	    !pm_fd_may_splice(ends[0], -1));

	CHECK(pm_fd_write(network[1], sent, 10) == PM_OK);
	CHECK(pm_fd_splice(network[0], local[1], 10, &moved) ==
	    PM_ERR_REFUSED && moved == 0);
	CHECK(pm_fd_read(network[0], got, 10) == PM_OK &&
	    memcmp(got, sent, 10) == 0);

	/* Whose failure it is. */
	close(local[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK(pm_fd_write(ends[1], sent, 10) == PM_OK);
	CHECK(pm_fd_splice(ends[0], local[1], 10, &moved) == PM_ERR_WRITE &&
	    errno == EPIPE);
	CHECK(pm_fd_splice(file, local[1], 10, &moved) == PM_ERR_WRITE &&
	    errno == EPIPE);
	close(null);
	CHECK(pm_fd_splice(null, ends[1], 10, &moved) == PM_ERR_READ &&
	    errno == EBADF);
	close(ends[0]);
	CHECK(pm_fd_splice(file, ends[1], 10, &moved) == PM_ERR_WRITE &&
	    errno == EPIPE);
	signal(SIGPIPE, SIG_DFL);
	close(ends[1]);
	close(local[1]);
	close(network[0]);
	close(network[1]);
	close(file);
}

/* A connection that is reset is no end of the input. */
static void
test_reset(int domain)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	int connection[2], ends[2];
	size_t moved;

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	connect_ends(domain, connection);
	/* A unix socket is reset when what it was sent is lost. */
	CHECK(pm_fd_write(connection[0], sent, 1) == PM_OK);
	(void)setsockopt(connection[1], SOL_SOCKET, SO_LINGER, &at_once,
	    sizeof(at_once));
	close(connection[1]);
	CHECK(pm_fd_splice(connection[0], ends[1], 10, &moved) ==
	    PM_ERR_READ && errno == ECONNRESET);
	close(connection[0]);
	close(ends[0]);
	close(ends[1]);
}

static void
test_await(void)
{
	int ends[2], file = file_of(sent, 10);
	struct child child;
	size_t size;

	if (pipe2(ends, O_CLOEXEC) != 0)
		child_fail("pipe");
	CHECK(pm_fd_write(ends[1], sent, 10) == PM_OK);
	CHECK(pm_fd_await(ends[0], &size) == PM_OK && size == 10);
	close(ends[1]);
	CHECK(pm_fd_await(ends[0], &size) == PM_OK && size == 10);
	CHECK(pm_fd_read(ends[0], got, 10) == PM_OK);
	CHECK(pm_fd_await(ends[0], &size) == PM_END && size == 0);
	close(ends[0]);
	CHECK(pm_fd_await(ends[0], &size) == PM_ERR_REFUSED && size == 0);

	CHECK(pm_fd_await(file, &size) == PM_OK && size == 10);
	CHECK(lseek(file, 7, SEEK_SET) == 7);
	CHECK(pm_fd_await(file, &size) == PM_OK && size == 3);
	/* One of /proc says that it is empty, and is not. */
	CHECK(lseek(file, 10, SEEK_SET) == 10);
	CHECK(pm_fd_await(file, &size) == PM_ERR_REFUSED && size == 0);
	/* What FIONREAD cannot tell, and takes for nothing or less. */
	for (int64_t end = INT64_C(3) << 30; end < INT64_C(6) << 30;
	    end += INT64_C(1) << 30) {
		CHECK(ftruncate(file, end) == 0 &&
		    lseek(file, 0, SEEK_SET) == 0);
		CHECK(pm_fd_await(file, &size) == PM_OK && size > 0 &&
		    (int64_t)size <= end);
	}
	close(file);

	/* It waits. */
	child = child_start(give_slowly);
	for (size_t at = 0; at < SIZE; at += size) {
		if (pm_fd_await(child.from, &size) != PM_OK ||
		    size > SIZE - at ||
		    pm_fd_read(child.from, got + at, size) != PM_OK)
			break;
	}
	CHECK(was_read(PM_OK));
	CHECK(pm_fd_await(child.from, &size) == PM_END);
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
	test_no_splice();
	test_reset(AF_UNIX);
	test_reset(AF_INET);
	test_await();
	test_reads(0);
	test_reads(1);
	test_writes(0);
	test_writes(1);
	test_splices(0);
	test_splices(1);
	interrupt_often(300);
	test_reads(0);
	test_reads(1);
	test_writes(0);
	test_writes(1);
	test_splices(0);
	test_splices(1);
	interrupt_often(0);
	CHECK(interruptions > 20);
	return check_done();
}
