/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * child.h - a process to look at, and pipes to talk to it.
 *
 * The child runs a function and ends with status 0 when that returns.  It
 * is killed when its parent ends, so a failing test leaves nothing behind.
 */
#ifndef CHILD_H
#define CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct child {
	pid_t pid;
	int to, from;
};

/* in gives what the parent tells, and ends when it is done with the child. */
typedef void child_body(int in, int out);

static inline void
child_fail(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline struct child
child_start(child_body *body)
{
	struct child child;
	int to[2], from[2];

	fflush(stdout);
	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
		child_fail("pipe");
	child.pid = fork();
	if (child.pid < 0)
		child_fail("fork");
	if (child.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		body(to[0], from[1]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	child.to = to[1];
	child.from = from[0];
	return child;
}

/* Send or receive exactly size bytes; 0 when it did not come to that. */
static inline int
child_tell(int fd, const void *bytes, size_t size)
{
	return write(fd, bytes, size) == (ssize_t)size;
}

static inline int
child_hear(int fd, void *bytes, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t now = read(fd, (char *)bytes + got, size - got);

		if (now <= 0 && !(now < 0 && errno == EINTR))
			return 0;
		got += now > 0 ? (size_t)now : 0;
	}
	return 1;
}

/* Wait until the parent is done with us. */
static inline void
child_linger(int in)
{
	char byte;

	while (read(in, &byte, 1) != 0)
		;
}

/* Done with it: its wait status. */
static inline int
child_end(struct child *child)
{
	int status = -1;

	close(child->to);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(child->from);
	return status;
}

static inline void
child_nap(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* A line of /proc/PID/status as a number, or its first letter. */
static inline long
child_status(pid_t pid, const char *label, char *letter)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, label, strlen(label)) == 0) {
			const char *p = line + strlen(label);

			value = strtol(p, NULL, 10);
			if (letter != NULL)
				*letter = p[strspn(p, " \t")];
		}
	fclose(file);
	return value;
}

#endif /* CHILD_H */
