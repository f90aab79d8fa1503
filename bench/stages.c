/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stages.c - run a pipeline, and watch what each stage of it takes.
 * usage: stages LOG MILLISECONDS COMMAND... '|' COMMAND... '|' ...
 *
 * Every so many milliseconds a line goes to LOG: the seconds since the
 * start, and for each stage the seconds of processor time that it had and
 * the bytes that it wrote so far.  The last line is of when all have ended.
 */
#define _GNU_SOURCE		/* F_SETPIPE_SZ, wait4 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STAGES	16

struct stage {
	char **argv;
	pid_t pid;		/* 0 when it has ended */
	double cpu;		/* seconds */
	unsigned long long bytes;
};

static struct stage stage[STAGES];
static int stages;

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static double
seconds(const struct timespec *t)
{
	return (double)t->tv_sec + (double)t->tv_nsec / 1e9;
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return seconds(&t);
}

static double
of_timeval(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* Cut the arguments where the bars are. */
static void
take_stages(char *argv[])
{
	while (argv[0] != NULL) {
		if (stages == STAGES)
			exit(2);
		stage[stages++].argv = argv;
		while (argv[0] != NULL && strcmp(argv[0], "|") != 0)
			argv++;
		if (argv[0] != NULL)
			*argv++ = NULL;
		if (stage[stages - 1].argv[0] == NULL)
			exit(2);
	}
}

static void
become(char *argv[], int in, int out)
{
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		fail("dup2");
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

static void
start(void)
{
	int in = STDIN_FILENO;

	for (int i = 0; i < stages; i++) {
		int pipes[2] = { -1, STDOUT_FILENO };

		if (i + 1 < stages && pipe2(pipes, O_CLOEXEC) != 0)
			fail("pipe");
		if (i + 1 < stages)
			(void)fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
		if ((stage[i].pid = fork()) < 0)
			fail("fork");
		if (stage[i].pid == 0)
			become(stage[i].argv, in, pipes[1]);
		if (i > 0)
			close(in);
		if (i + 1 < stages)
			close(pipes[1]);
		in = pipes[0];
	}
}

/* Of one that has ended, what was seen before stays. */
static void
look(struct stage *s)
{
	clockid_t clock;
	struct timespec t;
	unsigned long long bytes;
	char path[64];
	FILE *file;

	if (clock_getcpuclockid(s->pid, &clock) == 0 &&
	    clock_gettime(clock, &t) == 0 && seconds(&t) > s->cpu)
		s->cpu = seconds(&t);
	snprintf(path, sizeof(path), "/proc/%ld/io", (long)s->pid);
	if ((file = fopen(path, "r")) == NULL)
		return;
	if (fscanf(file, "rchar: %*u wchar: %llu", &bytes) == 1)
		s->bytes = bytes;
	fclose(file);
}

/* How many still run; a stage that failed is told in *bad. */
static int
reap(int *bad)
{
	int running = 0;

	for (int i = 0; i < stages; i++) {
		struct rusage used;
		int how;

		if (stage[i].pid == 0)
			continue;
		look(&stage[i]);
		if (wait4(stage[i].pid, &how, WNOHANG, &used) == 0) {
			running++;
			continue;
		}
		stage[i].pid = 0;
		stage[i].cpu = of_timeval(&used.ru_utime) +
		    of_timeval(&used.ru_stime);
		if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
			fprintf(stderr, "stages: %s failed\n",
			    stage[i].argv[0]);
			*bad = 1;
		}
	}
	return running;
}

int
main(int argc, char *argv[])
{
	struct timespec pause = { 0 };
	int running, bad = 0;
	double began;
	FILE *log;

	if (argc < 4 || (log = fopen(argv[1], "we")) == NULL)
		return 2;
	pause.tv_nsec = strtol(argv[2], NULL, 10) * 1000000;
	take_stages(argv + 3);
	began = now();
	start();
	do {
		running = reap(&bad);
		fprintf(log, "%.6f", now() - began);
		for (int i = 0; i < stages; i++)
			fprintf(log, " %.6f %llu", stage[i].cpu,
			    stage[i].bytes);
		fputc('\n', log);
		if (running > 0)
			nanosleep(&pause, NULL);
	} while (running > 0);
	return fclose(log) != 0 || bad;
}
