/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mutate.c - give a pipeline every bad form of a good stream.
 *
 *	mutate cut STREAM STEP TARGET OLD NEW COMMAND...
 *	mutate XOR STREAM STEP TARGET OLD NEW COMMAND...
 *
 * The commands are joined by arguments "|".  Each prefix of STREAM, or the
 * whole with one byte changed by that number, at every STEP-th byte, goes
 * into the first.  No command may be killed, but by SIGPIPE, or end with a
 * status other than 0 and 3.  If the last ends with 0, the file TARGET must
 * be as NEW, else as OLD, and 3 must have been somebody's status.  Of a cut
 * stream the last status must be 3.  TARGET is made OLD again after each.
 * Says how many were taken and refused.  TARGET "-" is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STAGES	8
#define MOST	(1u << 20)

static char *stage[STAGES][16];
static int stages = 1;
static const char *target;
static int cutting;

static void
fail(const char *what)
{
	perror(what);
	exit(2);
}

static char *
load(const char *path, size_t *size)
{
	char *bytes = malloc(MOST);
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 || bytes == NULL ? -1 : read(fd, bytes, MOST);

	if (got < 0)
		fail(path);
	close(fd);
	*size = (size_t)got;
	return bytes;
}

static void
store(const char *path, const char *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		fail(path);
	close(fd);
}

static int
is_now(const char *bytes, size_t size)
{
	size_t got;
	char *now = load(target, &got);
	int same = got == size && memcmp(now, bytes, size) == 0;

	free(now);
	return same;
}

static pid_t
start(int which, int in, int out)
{
	pid_t pid = fork();
	int null;

	if (pid < 0)
		fail("fork");
	if (pid > 0)
		return pid;
	null = open("/dev/null", O_WRONLY);
	dup2(in, STDIN_FILENO);
	dup2(out >= 0 ? out : null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	for (int fd = 3; fd < 32; fd++)
		close(fd);
	execvp(stage[which][0], stage[which]);
	_exit(99);
}

/* The input fits into a pipe; the statuses of all that ran. */
static void
run(const char *bytes, size_t size, int status[])
{
	pid_t pid[STAGES];
	int in[2], next[2] = { -1, -1 };

	if (pipe(in) != 0)
		fail("pipe");
	if (size > 0 && write(in[1], bytes, size) != (ssize_t)size)
		fail("write");
	close(in[1]);
	for (int i = 0; i < stages; i++) {
		next[0] = next[1] = -1;
		if (i + 1 < stages && pipe(next) != 0)
			fail("pipe");
		pid[i] = start(i, in[0], next[1]);
		close(in[0]);
		if (next[1] >= 0)
			close(next[1]);
		in[0] = next[0];
	}
	for (int i = 0; i < stages; i++)
		if (waitpid(pid[i], &status[i], 0) < 0)
			fail("waitpid");
}

/* NULL, or what is wrong with how it ended. */
static const char *
judge(const int status[], const char *old, size_t old_size, const char *new,
    size_t new_size, int *taken)
{
	int refused = 0;

	for (int i = 0; i < stages; i++) {
		if (WIFSIGNALED(status[i]) && WTERMSIG(status[i]) != SIGPIPE)
			return "was killed";
		if (WIFEXITED(status[i]) && WEXITSTATUS(status[i]) != 0 &&
		    WEXITSTATUS(status[i]) != 3)
			return "ended with another status";
		refused |= WIFEXITED(status[i]) && WEXITSTATUS(status[i]) == 3;
	}
	*taken = status[stages - 1] == 0;
	if (cutting && *taken)
		return "was taken";
	if (!*taken && !refused)
		return "was not refused";
	if (target != NULL && !is_now(*taken ? new : old, *taken ? new_size
	    : old_size))
		return *taken ? "gave a wrong image" : "changed the image";
	return NULL;
}

static void
split(char *argv[])
{
	int at = 0;

	for (; *argv != NULL; argv++)
		if (strcmp(*argv, "|") == 0) {
			stages++;
			at = 0;
		} else if (stages <= STAGES && at < 15)
			stage[stages - 1][at++] = *argv;
	if (stages > STAGES)
		exit(2);
}

int
main(int argc, char *argv[])
{
	size_t size, old_size = 0, new_size = 0, step;
	char *bytes, *old = NULL, *new = NULL;
	const char *wrong = NULL;
	unsigned counts[2] = { 0, 0 };

	if (argc < 8)
		return 2;
	cutting = strcmp(argv[1], "cut") == 0;
	bytes = load(argv[2], &size);
	step = (size_t)atol(argv[3]);
	if (strcmp(argv[4], "-") != 0) {
		target = argv[4];
		old = load(argv[5], &old_size);
		new = load(argv[6], &new_size);
	}
	split(argv + 7);
	for (size_t at = 0; at < size; at += step) {
		int status[STAGES], taken = 0;

		if (target != NULL && (at == 0 || !is_now(old, old_size)))
			store(target, old, old_size);
		if (!cutting)
			bytes[at] = (char)(bytes[at] ^ atoi(argv[1]));
		run(bytes, cutting ? at : size, status);
		if (!cutting)
			bytes[at] = (char)(bytes[at] ^ atoi(argv[1]));
		wrong = judge(status, old, old_size, new, new_size, &taken);
		counts[taken]++;
		if (wrong == NULL)
			continue;
		printf("byte %zu %s:", at, wrong);
		for (int i = 0; i < stages; i++)
			printf(" %s %#x", stage[i][0], (unsigned)status[i]);
		putchar('\n');
		break;
	}
	if (wrong == NULL)
		printf("taken %u refused %u\n", counts[1], counts[0]);
	free(bytes);
	free(old);
	free(new);
	return wrong != NULL;
}
