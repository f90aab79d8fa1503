/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* pipe2, environ */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "fdio.h"
#include "savefile.h"

#define VERSION_MAX	2u
#define LEFT_MAX	(16u << 20)	/* bytes behind what was read */
#define LEFT_US		10000000u	/* and how long they are waited for */

static const struct {
	uint32_t format;
	const char *argv[4];
} programs[] = {
	{ PM_SAVEFILE_GZIP, { "gzip", "-dc" } },
	{ PM_SAVEFILE_BZIP2, { "bzip2", "-dc" } },
	{ PM_SAVEFILE_XZ, { "xz", "-dc" } },
	{ PM_SAVEFILE_LZOP, { "lzop", "-dc", "--ignore-warn" } },
	{ PM_SAVEFILE_ZSTD, { "zstd", "-dc" } },
};

static enum pm_status
fail_read(enum pm_status status, struct pm_fault *fault)
{
	if (status == PM_END)
		status = PM_ERR_TRUNCATED;
	return pm_fault_set(fault, status, NULL, "the head of a save image: "
	    "%s", pm_status_text(status));
}

static uint32_t
swapped(uint32_t value)
{
	return value >> 24 | (value >> 8 & 0xff00) | (value & 0xff00) << 8 |
	    value << 24;
}

/* The version is small, so it shows what the byte order is. */
static enum pm_status
unpack(struct pm_savefile_head *head, const uint8_t *in,
    struct pm_fault *fault)
{
	uint32_t field[4];
	const unsigned count = sizeof(field) / sizeof(field[0]);
	int is_big_endian;

	for (unsigned i = 0; i < count; i++)
		field[i] = (uint32_t)pm_get_le(in + PM_SAVEFILE_MAGIC_SIZE +
		    i * 4, 4);
	is_big_endian = field[0] > VERSION_MAX;
	if (is_big_endian)
		for (unsigned i = 0; i < count; i++)
			field[i] = swapped(field[i]);
	if (field[0] > VERSION_MAX)
		return pm_fault_set(fault, PM_ERR_VERSION, NULL,
		    "is a save image of version %" PRIu32 ", and %u is the "
		    "last that is known", field[0] < swapped(field[0])
		    ? field[0] : swapped(field[0]), VERSION_MAX);
	if (field[0] == 0 || field[1] == 0 || field[1] > PM_SAVEFILE_TEXT_MAX)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "the head of a save image: version %" PRIu32 ", %" PRIu32
		    " bytes of description", field[0], field[1]);
	*head = (struct pm_savefile_head){ .format = field[3],
	    .text = field[1], .is_big_endian = is_big_endian };
	return PM_OK;
}

/* Whoever compared less than was read is helped where fd is a file. */
static void
look_back(int fd, uint8_t *in, unsigned seen)
{
	off_t at = lseek(fd, 0, SEEK_CUR);

	if (at >= (off_t)seen)
		(void)pm_fd_pread(fd, in, seen, (uint64_t)at - seen);
}

enum pm_status
pm_savefile_head(struct pm_savefile_head *head, int fd, unsigned seen,
    struct pm_fault *fault)
{
	uint8_t in[PM_SAVEFILE_HEAD_SIZE] = { 0 };
	enum pm_status status;

	if (seen < PM_SAVEFILE_SEEN_MIN || seen > PM_SAVEFILE_MAGIC_SIZE)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "the head of a save image was not read from its start");
	memcpy(in, PM_SAVEFILE_MAGIC, seen);
	look_back(fd, in, seen);
	status = pm_fd_read(fd, in + seen, sizeof(in) - seen);
	if (status != PM_OK)
		return fail_read(status, fault);
	if (memcmp(in, PM_SAVEFILE_PARTIAL, PM_SAVEFILE_MAGIC_SIZE) == 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "is a save image that was never finished");
	if (memcmp(in, PM_SAVEFILE_MAGIC, PM_SAVEFILE_MAGIC_SIZE) != 0)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "begins like a save image and is none");
	return unpack(head, in, fault);
}

/* By reading, since the file may be a pipe. */
static enum pm_status
pass_text(int fd, uint32_t size, struct pm_fault *fault)
{
	uint8_t passed[4096];
	enum pm_status status = PM_OK;

	while (size > 0 && status == PM_OK) {
		uint32_t now = size < sizeof(passed) ? size
		    : (uint32_t)sizeof(passed);

		status = pm_fd_read(fd, passed, now);
		size -= now;
	}
	return status == PM_OK ? PM_OK : fail_read(status, fault);
}

/* Signals are to it as they usually are, whatever they are to us. */
static int
spawn(pid_t *pid, const char *const *argv, int in, int out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t usual, none;
	int error;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	if ((error = posix_spawn_file_actions_init(&actions)) != 0)
		return error;
	if ((error = posix_spawnattr_init(&attributes)) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return error;
	}
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setsigdefault(&attributes, &usual);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
	    POSIX_SPAWN_SETSIGDEF);
	error = posix_spawn_file_actions_adddup2(&actions, in, 0);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, out, 1);
	/* Who calls us says what failed, in one line. */
	if (error == 0)
		error = posix_spawn_file_actions_addopen(&actions, 2,
		    "/dev/null", O_WRONLY, 0);
	if (error == 0)
		error = posix_spawnp(pid, argv[0], &actions, &attributes,
		    (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

static enum pm_status
run(struct pm_savefile *savefile, const char *const *argv, int fd,
    struct pm_fault *fault)
{
	int end[2], error;

	if (pipe2(end, O_CLOEXEC) != 0)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	pm_fd_widen(end[0]);
	error = spawn(&savefile->program, argv, fd, end[1]);
	close(end[1]);
	if (error != 0) {
		close(end[0]);
		savefile->program = 0;
		errno = error;
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
		    "the save image is compressed, and %s cannot be run: %s",
		    argv[0], strerror(error));
	}
	savefile->fd = end[0];
	savefile->name = argv[0];
	return PM_OK;
}

enum pm_status
pm_savefile_open(struct pm_savefile *savefile, int fd, unsigned seen,
    struct pm_fault *fault)
{
	struct pm_savefile_head head;
	enum pm_status status;

	*savefile = (struct pm_savefile){ .fd = -1 };
	if ((status = pm_savefile_head(&head, fd, seen, fault)) != PM_OK)
		return status;
	if (head.format == PM_SAVEFILE_SPARSE)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "is a sparse save image, whose pages stand apart from "
		    "the stream: --format=mapped-ram reads it");
	if ((status = pass_text(fd, head.text, fault)) != PM_OK)
		return status;
	if (head.format == PM_SAVEFILE_RAW) {
		savefile->fd = fd;
		return PM_OK;
	}
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (programs[i].format == head.format)
			return run(savefile, programs[i].argv, fd, fault);
	return pm_fault_set(fault, PM_ERR_VERSION, NULL,
	    "is a save image of a format that is not known, %" PRIu32,
	    head.format);
}

/* True when the program comes to the end of what it writes. */
static int
reach_end(int fd)
{
	struct pollfd more = { .fd = fd, .events = POLLIN };
	uint64_t until = pm_clock_us() + LEFT_US, now;
	uint8_t passed[4096];
	size_t size = 0;
	ssize_t got;

	while (size < LEFT_MAX && (now = pm_clock_us()) < until) {
		if (poll(&more, 1, (int)((until - now) / 1000) + 1) <= 0)
			continue;
		got = read(fd, passed, sizeof(passed));
		if (got == 0)
			return 1;
		size += (size_t)(got > 0 ? got : 0);
	}
	return 0;
}

/*
 * Wait for the program that was there; false where nobody wants to know how
 * children end, so that it is not known.
 */
static int
bury(struct pm_savefile *savefile, int kills, int *how)
{
	pid_t pid = savefile->program, got = pid == 0 ? -1 : 0;

	if (pid != 0)
		close(savefile->fd);
	*savefile = (struct pm_savefile){ .fd = -1 };
	/* One that has ended may be gone, and its number another's. */
	if (pid != 0 && kills && (got = waitpid(pid, how, WNOHANG)) == 0)
		kill(pid, SIGKILL);
	while (got == 0 || (got < 0 && pid != 0 && errno == EINTR))
		got = waitpid(pid, how, 0);
	return got > 0;
}

enum pm_status
pm_savefile_close(struct pm_savefile *savefile, struct pm_fault *fault)
{
	const char *name = savefile->name;
	int ends = savefile->program == 0 || reach_end(savefile->fd);
	int how = 0, known = bury(savefile, !ends, &how);

	errno = 0;
	if (!ends)
		return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
		    "%s, which decompresses the save image, does not come to "
		    "an end", name);
	if (!known)
		return PM_OK;
	if (WIFSIGNALED(how))
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
		    "%s, which decompresses the save image, was ended by "
		    "signal %d", name, WTERMSIG(how));
	return WEXITSTATUS(how) == 0 ? PM_OK : pm_fault_set(fault,
	    PM_ERR_CORRUPT, NULL, "%s, which decompresses the save image, "
	    "ended with status %d", name, WEXITSTATUS(how));
}

void
pm_savefile_drop(struct pm_savefile *savefile)
{
	int error = errno, how;

	(void)bury(savefile, 1, &how);
	errno = error;
}
