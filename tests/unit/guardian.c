/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that owe, and die.  This one takes in orphans, and so can wait
 * for the guardians of the dead.
 */
#define _GNU_SOURCE		/* pipe2 */
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check.h"
#include "child.h"
#include "guardian.h"

#define HANG_MS		(PM_GUARDIAN_MS + 10000)

static char dir[] = "/tmp/pm-guardian.XXXXXX";
static struct pm_fault fault;

static char *
in_dir(const char *name)
{
	static char path[8][64];
	static unsigned at;

	at = (at + 1) % 8;
	snprintf(path[at], sizeof(path[at]), "%s/%s", dir, name);
	return path[at];
}

static void
fill(const char *name, const char *text)
{
	FILE *file = fopen(in_dir(name), "w");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
		child_fail(name);
}

static int
holds(const char *name, const char *text)
{
	char got[256] = "";
	FILE *file = fopen(in_dir(name), "r");
	size_t size;

	if (file == NULL)
		return 0;
	size = fread(got, 1, sizeof(got) - 1, file);
	got[size] = '\0';
	fclose(file);
	if (strcmp(got, text) != 0)
		printf("# %s holds: %s\n", name, got);
	return strcmp(got, text) == 0;
}

/* It is there, soon. */
static int
appears(const char *name)
{
	for (unsigned i = 0; i < HANG_MS && access(in_dir(name), F_OK) != 0;
	    i++)
		child_nap(1);
	return access(in_dir(name), F_OK) == 0;
}

static int
says(const char *words)
{
	if (strstr(fault.text, words) != NULL)
		return 1;
	printf("# %s: %s\n", fault.subject, fault.text);
	return 0;
}

/* Into two files, by three commands that leave a note, and in vain. */
static struct pm_debt debt[6];

static void
name_debts(void)
{
	static char command[3][128], path[2][64];

	for (unsigned i = 0; i < 2; i++)
		memcpy(path[i], in_dir(i == 0 ? "a" : "b"), sizeof(path[i]));
	debt[0] = (struct pm_debt){ path[0], "old a\n", NULL };
	debt[1] = (struct pm_debt){ path[1], "old b\n", NULL };
	for (unsigned i = 0; i < 3; i++) {
		snprintf(command[i], sizeof(command[i]), "echo %u >>%s/log",
		    i + 2, dir);
		debt[i + 2].command = command[i];
	}
	debt[5] = (struct pm_debt){ "/nonexistent/file", "x", NULL };
}

static void
reset(void)
{
	fault = (struct pm_fault){ .error = 0 };
	fill("a", "new a, and longer\n");
	fill("b", "new b\n");
	fill("log", "");
}

static struct pm_guardian guardian;

/* What a subject does; a digit owes, and a letter settles: a is debt 0. */
static void
follow(const char *script)
{
	for (; *script != '\0'; script++) {
		enum pm_status status = *script >= 'a'
		    ? pm_guardian_settle(&guardian, (unsigned)(*script - 'a'),
		    &fault)
		    : pm_guardian_owe(&guardian, (unsigned)(*script - '0'),
		    &fault);

		if (status != PM_OK)
			_exit(3);
	}
}

static const char *script;

static void
owe_and_linger(int in, int out)
{
	setpgid(0, 0);
	if (pm_guardian_start(&guardian, debt, 6, &fault) != PM_OK)
		_exit(2);
	follow(script);
	child_tell(out, &guardian.pid, sizeof(guardian.pid));
	child_linger(in);
}

static struct child
subject(const char *what, child_body *body, pid_t *guard)
{
	struct child child;

	script = what;
	reset();
	child = child_start(body);
	if (!child_hear(child.from, guard, sizeof(*guard)))
		child_fail("no guardian");
	return child;
}

/* Wait for a guardian, now ours, to end. */
static int
has_ended(pid_t guard, long ms)
{
	while (waitpid(guard, NULL, WNOHANG) == 0 && ms-- > 0)
		child_nap(1);
	return ms > 0;
}

/* One that is killed after such a script leaves the files and the log so. */
static int
killed(const char *what, const char *a, const char *b, const char *log)
{
	pid_t guard;
	struct child child = subject(what, owe_and_linger, &guard);

	if (!holds("a", "new a, and longer\n") || !holds("b", "new b\n"))
		return 0;
	kill(child.pid, SIGKILL);
	child_end(&child);
	return has_ended(guard, 10000) && holds("a", a) && holds("b", b) &&
	    holds("log", log);
}

static void
test_killed(void)
{
	const char *a = "new a, and longer\n", *b = "new b\n";

	CHECK(killed("", a, b, ""));
	CHECK(killed("0", "old a\n", b, ""));
	CHECK(killed("0a", a, b, ""));
	CHECK(killed("1", a, "old b\n", ""));
	CHECK(killed("01", "old a\n", "old b\n", ""));
	CHECK(killed("01a", a, "old b\n", ""));
	CHECK(killed("01b", "old a\n", b, ""));
	CHECK(killed("01aba0", "old a\n", b, ""));
	CHECK(killed("2", a, b, "2\n"));
	CHECK(killed("234", a, b, "4\n3\n2\n"));
	CHECK(killed("342", a, b, "2\n4\n3\n"));
	CHECK(killed("234d", a, b, "4\n2\n"));
	CHECK(killed("234d3", a, b, "3\n4\n2\n"));
	CHECK(killed("23234", a, b, "4\n3\n2\n"));
	/* One that cannot be paid, and ones that there are not. */
	CHECK(killed("052", "old a\n", b, "2\n"));
	CHECK(killed("0789j", "old a\n", b, ""));
}

/* Signals to the group, and to the guardian, as far as they can be blocked. */
static void
test_group(void)
{
	static const int number[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
	    SIGKILL };
	struct child child;
	pid_t guard;

	for (unsigned i = 0; i < 5; i++) {
		child = subject("0", owe_and_linger, &guard);
		for (unsigned j = 0; j < 4; j++)
			kill(guard, number[j]);
		kill(guard, SIGUSR1);
		kill(guard, SIGALRM);
		CHECK(kill(-child.pid, number[i]) == 0);
		CHECK(WIFSIGNALED(child_end(&child)));
		CHECK(has_ended(guard, 10000) && holds("a", "old a\n"));
	}
}

/* The line of /proc/PID/status with signals that are blocked. */
static unsigned long long
blocked(pid_t pid)
{
	char path[64], line[256];
	unsigned long long mask = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "SigBlk:", 7) == 0)
			mask = strtoull(line + 7, NULL, 16);
	if (file != NULL)
		fclose(file);
	return mask;
}

static int
descriptors(pid_t pid)
{
	struct dirent *entry;
	char path[64];
	int count = 0;
	DIR *list;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	list = opendir(path);
	while (list != NULL && (entry = readdir(list)) != NULL)
		count += entry->d_name[0] != '.';
	if (list != NULL)
		closedir(list);
	return count;
}

static void
test_what_it_is(void)
{
	const unsigned long long must = UINT64_MAX >> 1 &
	    ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) |
	    3ull << 31);	/* the C library keeps two for itself */
	pid_t guard;
	struct child child = subject("", owe_and_linger, &guard);
	char path[64], name[32] = "";
	FILE *file;

	CHECK(descriptors(guard) == 1);
	CHECK((blocked(guard) & must) == must);
	CHECK(getsid(guard) == guard && getpgid(guard) == guard);
	CHECK((blocked(child.pid) & must) == 0);
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)guard);
	file = fopen(path, "r");
	CHECK(file != NULL && fgets(name, sizeof(name), file) != NULL &&
	    strcmp(name, "pm-guardian\n") == 0);
	if (file != NULL)
		fclose(file);
	close(child.to);
	CHECK(child_end(&child) == 0 && has_ended(guard, 10000));
}

/* As on a kernel without close_range(2). */
static void
refuse_close_range(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
#ifdef SYS_close_range
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
#endif
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		sizeof(filter) / sizeof(filter[0]), filter
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(4);
}

static void
without_close_range(int in, int out)
{
	refuse_close_range();
	owe_and_linger(in, out);
}

/* One whose descriptor is the lowest, or the standard ones are closed. */
static void
without_standard(int in, int out)
{
	int high = fcntl(in, F_DUPFD_CLOEXEC, 10);

	close(in);
	out = fcntl(out, F_DUPFD_CLOEXEC, 10);
	for (int fd = 0; fd < 10; fd++)
		close(fd);
	owe_and_linger(high, out);
}

static int
is_at_end(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&pfd, 1, 5000) == 1 && read(fd, &byte, 1) == 0;
}

/* A reader of what we write sees the end though the guardian still works. */
static void
test_reader(child_body *body)
{
	static char command[128];
	struct pm_debt kept = debt[2];
	struct child child;
	pid_t guard;
	int fd;

	CHECK(mkfifo(in_dir("fifo"), 0600) == 0);
	snprintf(command, sizeof(command), "cat %s/fifo >>%s/log", dir, dir);
	debt[2].command = command;
	child = subject("2", body, &guard);
	debt[2] = kept;
	CHECK(descriptors(guard) == 1);
	kill(child.pid, SIGKILL);
	CHECK(is_at_end(child.from));
	CHECK(WIFSIGNALED(child_end(&child)));
	CHECK(waitpid(guard, NULL, WNOHANG) == 0);
	fd = open(in_dir("fifo"), O_WRONLY);
	CHECK(fd >= 0 && child_tell(fd, "read\n", 5));
	close(fd);
	CHECK(has_ended(guard, 10000) && holds("log", "read\n"));
	unlink(in_dir("fifo"));
}

static enum pm_status
start(void)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_guardian_start(&guardian, debt, 6, &fault);
}

static void
test_end(void)
{
	pid_t pid;

	reset();
	CHECK(start() == PM_OK);
	follow("0123b");
	pid = guardian.pid;
	CHECK(pm_guardian_end(&guardian, &fault) == PM_OK);
	CHECK(holds("a", "old a\n") && holds("b", "new b\n") &&
	    holds("log", "3\n2\n"));
	CHECK(kill(pid, 0) != 0 && errno == ESRCH);
	CHECK(pm_guardian_end(&guardian, &fault) == PM_OK);
	CHECK(pm_guardian_owe(&guardian, 0, &fault) == PM_ERR_SYSTEM);

	reset();
	CHECK(start() == PM_OK);
	follow("0a");
	CHECK(pm_guardian_end(&guardian, &fault) == PM_OK);
	CHECK(holds("a", "new a, and longer\n"));

	/* What cannot be paid is told, and does not keep back the others. */
	CHECK(start() == PM_OK);
	follow("052");
	CHECK(pm_guardian_end(&guardian, &fault) == PM_ERR_SYSTEM &&
	    strcmp(fault.subject, "/nonexistent/file") == 0 &&
	    says("could not be written"));
	CHECK(holds("a", "old a\n") && holds("log", "2\n"));
}

static void
test_guardian_killed(void)
{
	CHECK(start() == PM_OK);
	follow("0");
	kill(guardian.pid, SIGKILL);
	while (pm_guardian_owe(&guardian, 1, NULL) == PM_OK)
		child_nap(1);
	CHECK(pm_guardian_owe(&guardian, 1, &fault) == PM_ERR_SYSTEM &&
	    says("is gone"));
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_guardian_end(&guardian, &fault) == PM_ERR_SYSTEM &&
	    says("signal 9"));
}

/* It blocks signals and has no descriptors; commands have both as usual. */
static void
test_commands(void)
{
	static char command[256];
	struct pm_debt kept = debt[2];

	snprintf(command, sizeof(command), "cd %s; for i in 0 1 2; do f="
	    "$(readlink /proc/$$/fd/$i); echo $f >>log; done; kill -TERM $$;"
	    " echo alive >>log", dir);
	debt[2].command = command;
	reset();
	CHECK(start() == PM_OK);
	follow("2");
	CHECK(pm_guardian_end(&guardian, &fault) == PM_ERR_SYSTEM &&
	    strcmp(fault.subject, command) == 0 && says("failed"));
	CHECK(holds("log", "/dev/null\n/dev/null\n/dev/null\n"));
	debt[2] = kept;
}

static _Atomic int enough;

static void *
allocate(void *unused)
{
	while (!enough)
		free(strdup("memory, so that others hold the lock of it"));
	return unused;
}

static void
test_threads(void)
{
	pthread_t thread[3];
	int good = 0;

	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, allocate, NULL);
	for (int i = 0; i < 50; i++) {
		reset();
		if (start() != PM_OK)
			break;
		follow("02");
		good += pm_guardian_end(&guardian, &fault) == PM_OK &&
		    holds("a", "old a\n") && holds("log", "2\n");
	}
	enough = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	CHECK(good == 50);
}

/* Change the file and change it back, for ever. */
static void
come_and_go(int in, int out)
{
	int fd = open(in_dir("a"), O_WRONLY);

	(void)in;
	if (pm_guardian_start(&guardian, debt, 6, &fault) != PM_OK)
		_exit(2);
	child_tell(out, &guardian.pid, sizeof(guardian.pid));
	for (;;) {
		follow("0");
		(void)!pwrite(fd, "new a\n", 6, 0);
		(void)!pwrite(fd, "old a\n", 6, 0);
		follow("a");
	}
}

/* Killed anywhere, it leaves the file as it was. */
static void
test_any_time(void)
{
	struct timespec ts = { .tv_nsec = 0 };
	int good = 0;

	for (int i = 0; i < 100; i++) {
		pid_t guard;
		struct child child;

		fill("a", "old a\n");
		child = child_start(come_and_go);
		child_hear(child.from, &guard, sizeof(guard));
		ts.tv_nsec = i * 7919 % 1000 * 1000;
		nanosleep(&ts, NULL);
		kill(child.pid, SIGKILL);
		child_end(&child);
		good += has_ended(guard, 10000) && holds("a", "old a\n");
	}
	CHECK(good == 100);
}

static void
test_run(void)
{
	char got[8] = "";
	int pair[2];

	fault = (struct pm_fault){ .error = 0 };
	CHECK(pipe2(pair, O_CLOEXEC) == 0);
	CHECK(pm_guardian_run("cat; echo said", pair[1], &fault) == PM_OK);
	close(pair[1]);
	CHECK(read(pair[0], got, sizeof(got)) == 5 &&
	    memcmp(got, "said\n", 5) == 0);
	CHECK(is_at_end(pair[0]));
	close(pair[0]);
	CHECK(pm_guardian_run("exit 3", 2, &fault) == PM_ERR_SYSTEM &&
	    says("status 3") && strcmp(fault.subject, "exit 3") == 0);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_guardian_run("kill -KILL $$", 2, &fault) == PM_ERR_SYSTEM &&
	    says("signal 9"));
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_guardian_run("true", 1000, &fault) == PM_ERR_SYSTEM &&
	    says("cannot run"));
}

int
main(void)
{
	static char command[128];
	struct child hanging;
	pid_t guard, sleeper = 0;
	FILE *file;

	/* What runs in the background of a shell ignores them. */
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	if (mkdtemp(dir) == NULL || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		child_fail("cannot begin");
	name_debts();

	/* This one hangs in a command while the others are looked at. */
	snprintf(command, sizeof(command), "echo $$ >%s/pid; exec sleep 100",
	    dir);
	debt[1] = (struct pm_debt){ NULL, NULL, command };
	debt[0].path = in_dir("c");
	fill("c", "new c\n");
	hanging = subject("01", owe_and_linger, &guard);
	kill(hanging.pid, SIGKILL);
	child_end(&hanging);
	name_debts();
	CHECK(appears("pid") && holds("c", "new c\n"));

	test_killed();
	test_group();
	test_what_it_is();
	test_reader(owe_and_linger);
	test_reader(without_close_range);
	test_reader(without_standard);
	test_end();
	test_guardian_killed();
	test_commands();
	test_threads();
	test_any_time();
	test_run();
	CHECK(has_ended(guard, HANG_MS) && holds("c", "old a\n"));
	file = fopen(in_dir("pid"), "r");
	CHECK(file != NULL && fscanf(file, "%d", &sleeper) == 1 &&
	    waitpid(sleeper, NULL, WNOHANG) == 0);
	if (sleeper > 2)
		kill(sleeper, SIGKILL);
	if (file != NULL)
		fclose(file);
	snprintf(fault.text, sizeof(fault.text), "rm -r %s", dir);
	CHECK(pm_guardian_run(fault.text, 2, NULL) == PM_OK);
	return check_done();
}
