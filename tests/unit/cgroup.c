/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real groups, of each version that this system has, with real processes.
 * To make them takes root, as a rule.  The tests run in a child, so that all
 * groups are removed however they end.
 */
#define _GNU_SOURCE		/* MAP_ANONYMOUS, pipe2, syscall */
#include <dirent.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "frozen.h"
#include "guardian.h"

static char root[3][256];	/* mounts: freezer, cpu, version 2 */
static char dir[3][300];	/* of ours in them */
enum { FREEZER, CPU, TWO };

static const char *const control[] = { "freezer", "cpu", "unified" };

static int
put(const char *path, const char *name, const char *text)
{
	char full[600];
	int fd, good;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	fd = open(full, O_WRONLY);
	if (fd < 0)
		return 0;
	good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return good;
}

static int
holds(const char *path, const char *name, const char *text)
{
	char full[600], got[256] = "";
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", path, name);
	file = fopen(full, "r");
	if (file == NULL || fgets(got, sizeof(got), file) == NULL)
		got[0] = '\0';
	if (file != NULL)
		fclose(file);
	got[strcspn(got, "\n")] = '\0';
	if (strcmp(got, text) != 0)
		printf("# %s: %s\n", full, got);
	return strcmp(got, text) == 0;
}

static int
join(const char *path, const char *name, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	return put(path, name, text);
}

static void
skip(const char *what, const char *why)
{
	printf("ok %d - %s # SKIP %s\n", ++check_run, what, why);
}

/* True when a comma-separated list has that word. */
static int
has_word(char *list, const char *word)
{
	for (char *p = strtok(list, ","); p != NULL; p = strtok(NULL, ","))
		if (strcmp(p, word) == 0)
			return 1;
	return 0;
}

static void
find_mounts(void)
{
	char line[1024], where[256], type[64], options[512];
	FILE *file = fopen("/proc/self/mounts", "r");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%*s %255s %63s %511s", where, type,
		    options) != 3)
			continue;
		for (unsigned i = 0; i < TWO; i++) {
			char copy[512];

			memcpy(copy, options, sizeof(copy));
			if (strcmp(type, "cgroup") == 0 &&
			    has_word(copy, control[i]))
				memcpy(root[i], where, sizeof(where));
		}
		if (strcmp(type, "cgroup2") == 0)
			memcpy(root[TWO], where, sizeof(where));
	}
	if (file != NULL)
		fclose(file);
	for (unsigned i = 0; i < 3; i++)
		snprintf(dir[i], sizeof(dir[i]), "%.255s/pm-test-%d", root[i],
		    (int)getpid());
}

/* Make a group; 0, and all that needs it is skipped, where that fails. */
static int
make(unsigned which, const char *what)
{
	char why[128];

	if (root[which][0] == '\0') {
		snprintf(why, sizeof(why), "no mounted control group: %s",
		    control[which]);
	} else if (mkdir(dir[which], 0700) != 0 && errno != EEXIST) {
		snprintf(why, sizeof(why), "cannot make a control group: %s",
		    strerror(errno));
	} else
		return 1;
	skip(what, why);
	return 0;
}

/* End what is in a group of ours, and remove it with those below. */
static void
clean(const char *path)
{
	struct dirent *entry;
	char full[600];
	FILE *procs;
	DIR *list;
	int pid;

	put(path, "freezer.state", "THAWED");
	put(path, "cgroup.freeze", "0");
	snprintf(full, sizeof(full), "%s/cgroup.procs", path);
	procs = fopen(full, "r");
	while (procs != NULL && fscanf(procs, "%d", &pid) == 1)
		if (pid > 2 && pid != getpid())
			kill(pid, SIGKILL);
	if (procs != NULL)
		fclose(procs);
	list = opendir(path);
	while (list != NULL && (entry = readdir(list)) != NULL)
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
			snprintf(full, sizeof(full), "%s/%s", path,
			    entry->d_name);
			clean(full);
		}
	if (list != NULL)
		closedir(list);
	for (int tries = 0; tries < 2000 && rmdir(path) != 0 &&
	    errno == EBUSY; tries++)
		child_nap(1);
}

static enum pm_status
begin(struct pm_cgroup *group, const char *path)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_cgroup_open(group, path, &fault);
}

static enum pm_status
check(struct pm_cgroup *group, pid_t one, pid_t two)
{
	pid_t pid[2] = { one, two };

	fault = (struct pm_fault){ .error = 0 };
	return pm_cgroup_check(group, pid, two != 0 ? 2 : 1, &fault);
}

static enum pm_status
stop(struct pm_cgroup *group, unsigned ms)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_cgroup_freeze(group, ms, &fault);
}

static enum pm_status
limit(struct pm_cgroup *group, unsigned permille)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_cgroup_limit(group, permille, &fault);
}

static void
test_refusals(void)
{
	struct pm_cgroup group;

	CHECK(begin(&group, "/tmp") == PM_ERR_REFUSED && says("is not in"));
	CHECK(begin(&group, "/proc/self") == PM_ERR_REFUSED);
	CHECK(begin(&group, "/nonexistent") == PM_ERR_SYSTEM &&
	    fault.error == ENOENT);
	CHECK(begin(&group, "/proc/self/status") == PM_ERR_REFUSED);
	pm_cgroup_close(&group);
	for (unsigned i = 0; i < 3; i++)
		if (i != CPU && root[i][0] != '\0' &&
		    strcmp(root[i], "/sys/fs/cgroup") != 0)
			CHECK(begin(&group, root[i]) == PM_ERR_REFUSED &&
			    says("is no control group that can"));
}

/* Start a child that is in the group, and its threads with it. */
static struct child
start_in(const char *path, child_body *body)
{
	struct child child = child_start(body);
	char byte;

	if (!child_hear(child.from, &byte, 1) ||
	    !join(path, "cgroup.procs", child.pid))
		child_fail(path);
	return child;
}

static void
only_linger(int in, int out)
{
	child_tell(out, "", 1);
	child_linger(in);
}

static void
with_grandchild(int in, int out)
{
	pid_t pid = fork();

	if (pid != 0) {
		shared->grandchild = pid;
		child_tell(out, "", 1);
	}
	child_linger(in);
	if (pid != 0)
		waitpid(pid, NULL, 0);
}

/* A child asks for itself, and this process is in the group. */
static void
test_own(struct pm_cgroup *group)
{
	struct child child = child_start(only_linger);
	char byte;
	int how;
	pid_t pid;

	CHECK(child_hear(child.from, &byte, 1));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		join(group->path, "cgroup.procs", getpid());
		_exit(check(group, getppid(), 0) == PM_ERR_REFUSED &&
		    strstr(fault.text, "holds this process") != NULL);
	}
	CHECK(waitpid(pid, &how, 0) == pid && WIFEXITED(how) &&
	    WEXITSTATUS(how) == 1);
	CHECK(ended_well(&child));
}

static void
test_members(unsigned which)
{
	struct child child, other, family;
	struct pm_cgroup group;
	char below[400], more[400];
	pid_t grandchild;

	CHECK(begin(&group, dir[which]) == PM_OK);
	child = child_start(spin);
	CHECK(check(&group, child.pid, 0) == PM_ERR_REFUSED &&
	    says("does not hold process"));
	child_end(&child);
	CHECK(check(&group, child.pid, 0) == PM_ERR_SYSTEM &&
	    says("does not exist"));
	child = start_in(dir[which], spin);
	CHECK(check(&group, child.pid, 0) == PM_OK);

	/* A second, in a group two levels below. */
	snprintf(below, sizeof(below), "%s/a", dir[which]);
	snprintf(more, sizeof(more), "%s/a/b", dir[which]);
	CHECK(mkdir(below, 0700) == 0 && mkdir(more, 0700) == 0);
	other = start_in(more, only_linger);
	CHECK(check(&group, child.pid, 0) == PM_ERR_REFUSED &&
	    says("holds process"));
	CHECK(check(&group, other.pid, 0) == PM_ERR_REFUSED);
	CHECK(check(&group, child.pid, other.pid) == PM_OK);
	CHECK(check(&group, other.pid, child.pid) == PM_OK);
	CHECK(ended_well(&other));
	CHECK(check(&group, child.pid, 0) == PM_OK);
	CHECK(ended_well(&child));

	/* Children belong to who made them. */
	family = child_start(with_grandchild);
	child_hear(family.from, below, 1);
	grandchild = shared->grandchild;
	CHECK(join(dir[which], "cgroup.procs", family.pid) &&
	    join(more, "cgroup.procs", grandchild));
	CHECK(check(&group, family.pid, 0) == PM_OK);
	CHECK(check(&group, grandchild, 0) == PM_ERR_REFUSED);
	close(family.to);
	CHECK(ended_well(&family));
	test_own(&group);
	pm_cgroup_close(&group);
	snprintf(below, sizeof(below), "%s/a", dir[which]);
	clean(below);
}

/* Version 1 knows threads by themselves. */
static void
test_thread_outside(void)
{
	struct pm_freeze frozen;
	struct pm_cgroup group;
	struct child child;

	CHECK(begin(&group, dir[FREEZER]) == PM_OK);
	child = start_in(dir[FREEZER], spin);
	CHECK(freeze(&frozen, child.pid, 10000) == PM_OK);
	CHECK(join(root[FREEZER], "tasks", frozen.thread[3].tid));
	shared->tid = frozen.thread[1].tid;
	CHECK(check(&group, child.pid, 0) == PM_ERR_REFUSED &&
	    says("does not hold thread"));
	CHECK(join(dir[FREEZER], "tasks", frozen.thread[3].tid));
	pm_freeze_end(&frozen);
	CHECK(check(&group, shared->tid, 0) == PM_OK);
	CHECK(ended_well(&child));
	pm_cgroup_close(&group);
}

static void
test_freeze(unsigned which)
{
	struct pm_cgroup group, again;
	const char *path, *text;
	struct child child;
	char below[400];

	CHECK(begin(&group, dir[which]) == PM_OK);
	CHECK(pm_cgroup_can_freeze(&group));
	CHECK(group.version == (which == TWO ? 2 : 1));
	CHECK(pm_cgroup_thaw(&group, NULL) == PM_OK);
	child = start_in(dir[which], spin);
	for (int i = 0; i < 3; i++) {
		CHECK(runs());
		CHECK(stop(&group, 10000) == PM_OK && stands());
		CHECK(pm_cgroup_thaw(&group, &fault) == PM_OK && runs());
	}
	snprintf(below, sizeof(below), "%s/below", dir[which]);
	CHECK(mkdir(below, 0700) == 0);
	CHECK(stop(&group, 10000) == PM_OK && stands());
	CHECK(begin(&again, dir[which]) == PM_ERR_REFUSED &&
	    says("is frozen already"));
	CHECK(begin(&again, below) == PM_ERR_REFUSED &&
	    says("is frozen already"));
	CHECK(pm_cgroup_undo_freeze(&group, &path, &text));
	CHECK(put("", path, text) && runs());
	CHECK(pm_cgroup_thaw(&group, &fault) == PM_OK && runs());
	CHECK(begin(&again, below) == PM_OK);
	pm_cgroup_close(&again);
	rmdir(below);
	CHECK(ended_well(&child));
	pm_cgroup_close(&group);
}

/* Freeze that group, and have it undone if we die. */
static const char *to_freeze;

static void
freeze_and_linger(int in, int out)
{
	struct pm_guardian guardian;
	struct pm_cgroup group;
	struct pm_debt debt = { .command = NULL };

	if (begin(&group, to_freeze) != PM_OK ||
	    !pm_cgroup_undo_freeze(&group, &debt.path, &debt.text) ||
	    pm_guardian_start(&guardian, &debt, 1, &fault) != PM_OK ||
	    pm_guardian_owe(&guardian, 0, &fault) != PM_OK ||
	    stop(&group, 10000) != PM_OK)
		_exit(1);
	child_tell(out, "", 1);
	child_linger(in);
}

static void
test_guarded(unsigned which)
{
	struct child child, owes;
	char byte;

	to_freeze = dir[which];
	child = start_in(dir[which], spin);
	CHECK(runs());
	owes = child_start(freeze_and_linger);
	CHECK(child_hear(owes.from, &byte, 1) && stands());
	kill(owes.pid, SIGKILL);
	CHECK(WIFSIGNALED(child_end(&owes)) && runs());
	CHECK(ended_well(&child));
}

/* Read into memory that a userfaultfd has nothing for: that never ends. */
static void
hang(int in, int out)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC), pair[2];
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE |
	    MAP_ANONYMOUS, -1, 0);

	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	if (fd < 0 || page == MAP_FAILED || ioctl(fd, UFFDIO_API, &api) != 0 ||
	    ioctl(fd, UFFDIO_REGISTER, &reg) != 0 || pipe(pair) != 0)
		_exit(2);
	child_tell(pair[1], "x", 1);
	child_tell(out, "", 1);
	child_hear(in, &api, 1);
	(void)!read(pair[0], page, 1);
}

/* State of a process; where it waits is not told to everyone. */
static char
state_of(pid_t pid)
{
	char state = '?';

	child_status(pid, "State:", &state);
	return state;
}

static void
test_unfreezable(unsigned which)
{
	struct child child = child_start(hang);
	struct pm_cgroup group;
	const char *file = which == TWO ? "cgroup.freeze" : "freezer.state";
	char byte;

	if (!child_hear(child.from, &byte, 1)) {
		child_end(&child);
		skip("a process that cannot be frozen",
		    "needs a userfaultfd(2) that waits in the kernel");
		return;
	}
	CHECK(join(dir[which], "cgroup.procs", child.pid));
	CHECK(begin(&group, dir[which]) == PM_OK);
	child_tell(child.to, "", 1);
	child_nap(300);
	printf("# it stands in state %c\n", state_of(child.pid));
	CHECK(stop(&group, 100) == PM_ERR_SYSTEM && errno == ETIMEDOUT);
	CHECK(fault.error == ETIMEDOUT && says("within 100 ms"));
	CHECK(!group.is_frozen);
	CHECK(holds(dir[which], file, which == TWO ? "0" : "THAWED"));
	kill(child.pid, SIGKILL);
	child_end(&child);
	pm_cgroup_close(&group);
}

static double
seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The share of a processor that it gets for 300 ms or more. */
static double
gets(pid_t pid)
{
	clockid_t clock;
	double had, began;

	if (clock_getcpuclockid(pid, &clock) != 0)
		return -1;
	had = seconds(clock);
	began = seconds(CLOCK_MONOTONIC);
	child_nap(300);
	return (seconds(clock) - had) / (seconds(CLOCK_MONOTONIC) - began);
}

/* What the two files of version 1, or the one of version 2, say. */
static int
is_limited(const char *path, const char *quota, const char *period)
{
	char both[64];

	if (strstr(path, root[CPU]) == path)
		return holds(path, "cpu.cfs_quota_us", quota) &&
		    holds(path, "cpu.cfs_period_us", period);
	snprintf(both, sizeof(both), "%s %s", strcmp(quota, "-1") == 0 ? "max"
	    : quota, period);
	return holds(path, "cpu.max", both);
}

static int
set_limit(const char *path, const char *quota, const char *period)
{
	char both[64];

	if (strstr(path, root[CPU]) == path)
		return put(path, "cpu.cfs_quota_us", "-1") &&
		    put(path, "cpu.cfs_period_us", period) &&
		    put(path, "cpu.cfs_quota_us", quota);
	snprintf(both, sizeof(both), "%s %s", strcmp(quota, "-1") == 0 ? "max"
	    : quota, period);
	return put(path, "cpu.max", both);
}

static void
test_limit(const char *path)
{
	struct child child = start_in(path, spin);
	struct pm_cgroup group;
	double share;

	CHECK(begin(&group, path) == PM_OK && pm_cgroup_can_limit(&group));
	CHECK(check(&group, child.pid, 0) == PM_OK);
	CHECK(is_limited(path, "-1", "100000"));
	CHECK(limit(&group, 200) == PM_OK);
	CHECK(is_limited(path, "2000", "10000"));
	share = gets(child.pid);
	printf("# of 0.2, it gets %.3f\n", share);
	CHECK(share > 0 && share < 0.3);
	CHECK(limit(&group, 50) == PM_OK);
	CHECK(is_limited(path, "1000", "20000"));
	CHECK(limit(&group, 3) == PM_OK);
	CHECK(is_limited(path, "1000", "333333"));
	CHECK(limit(&group, 0) == PM_OK);
	CHECK(is_limited(path, "1000", "1000000"));
	CHECK(limit(&group, 1500) == PM_OK);
	CHECK(is_limited(path, "15000", "10000"));
	CHECK(pm_cgroup_unlimit(&group, &fault) == PM_OK);
	CHECK(is_limited(path, "-1", "100000"));
	CHECK(pm_cgroup_unlimit(&group, &fault) == PM_OK);
	CHECK(runs());
	CHECK(ended_well(&child));
	pm_cgroup_close(&group);
}

static void
undo(const struct pm_cgroup *group)
{
	const char *file, *text;

	for (unsigned step = 0; pm_cgroup_undo_limit(group, step, &file,
	    &text); step++)
		(void)put("", file, text);
}

/* It had a limit of its own, with periods longer and shorter than ours. */
static void
test_limited_before(const char *path, const char *quota, const char *period)
{
	struct pm_cgroup group;

	CHECK(set_limit(path, quota, period));
	CHECK(begin(&group, path) == PM_OK && group.share == 0.25);
	CHECK(limit(&group, 500) == PM_OK);
	CHECK(is_limited(path, quota, period));
	CHECK(limit(&group, 100) == PM_OK);
	CHECK(is_limited(path, "1000", "10000"));
	CHECK(limit(&group, 260) == PM_OK);
	CHECK(is_limited(path, quota, period));
	CHECK(limit(&group, 30) == PM_OK);
	CHECK(pm_cgroup_unlimit(&group, &fault) == PM_OK);
	CHECK(is_limited(path, quota, period));
	CHECK(limit(&group, 100) == PM_OK);
	undo(&group);
	CHECK(is_limited(path, quota, period));
	pm_cgroup_close(&group);
	CHECK(set_limit(path, "-1", "100000"));
}

/* One above has less: version 1 refuses then what version 2 allows. */
static void
test_parent(const char *path)
{
	char below[400];
	struct pm_cgroup group;

	snprintf(below, sizeof(below), "%s/a", path);
	CHECK(mkdir(below, 0700) == 0);
	CHECK(set_limit(path, "20000", "100000"));
	CHECK(begin(&group, below) == PM_OK);
	if (group.version == 1) {
		CHECK(limit(&group, 500) == PM_ERR_SYSTEM && errno == EINVAL);
		CHECK(says("above or below") && !group.is_limited);
		CHECK(is_limited(below, "-1", "100000"));
	}
	CHECK(limit(&group, 100) == PM_OK);
	CHECK(is_limited(below, "1000", "10000"));
	CHECK(pm_cgroup_unlimit(&group, &fault) == PM_OK);
	CHECK(is_limited(below, "-1", "100000"));
	pm_cgroup_close(&group);

	/* The same when it has a limit of its own, with a longer period. */
	CHECK(set_limit(below, "15000", "100000"));
	CHECK(begin(&group, below) == PM_OK);
	CHECK(limit(&group, 100) == PM_OK);
	CHECK(is_limited(below, "1000", "10000"));
	CHECK(pm_cgroup_unlimit(&group, &fault) == PM_OK);
	CHECK(is_limited(below, "15000", "100000"));
	CHECK(limit(&group, 100) == PM_OK);
	undo(&group);
	CHECK(is_limited(below, "15000", "100000"));
	pm_cgroup_close(&group);
	CHECK(rmdir(below) == 0 && set_limit(path, "-1", "100000"));
}

static void
test_limits(const char *path)
{
	test_limit(path);
	test_limited_before(path, "50000", "200000");
	test_limited_before(path, "1250", "5000");
	test_parent(path);
}

static void
test_freezes(unsigned which)
{
	test_freeze(which);
	test_members(which);
	test_unfreezable(which);
	test_guarded(which);
}

/* Where there is a controller for processors, groups below may have it. */
static void
test_limits_of_two(void)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/cpu", dir[TWO]);
	if (!put(dir[TWO], "cgroup.subtree_control", "+cpu")) {
		skip("limits of version 2", "it has no cpu controller here");
		return;
	}
	if (mkdir(path, 0700) == 0 && put(path, "cgroup.subtree_control", ""))
		test_limits(path);
}

static int
run(void)
{
	struct pm_cgroup group;

	prepare();
	test_refusals();
	if (make(FREEZER, "the freezer of version 1")) {
		test_freezes(FREEZER);
		test_thread_outside();
		CHECK(begin(&group, dir[FREEZER]) == PM_OK);
		CHECK(limit(&group, 100) == PM_ERR_REFUSED &&
		    says("can limit"));
		pm_cgroup_close(&group);
	}
	if (make(CPU, "the limits of version 1")) {
		test_limits(dir[CPU]);
		CHECK(begin(&group, dir[CPU]) == PM_OK);
		CHECK(stop(&group, 100) == PM_ERR_REFUSED &&
		    says("can freeze"));
		pm_cgroup_close(&group);
	}
	if (make(TWO, "version 2")) {
		test_freezes(TWO);
		test_limits_of_two();
	}
	return check_done();
}

int
main(void)
{
	struct timespec patience = { .tv_sec = 100 };
	sigset_t set, before;
	int how = -1;
	pid_t pid;

	setvbuf(stdout, NULL, _IOLBF, 0);
	find_mounts();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &before);
	pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(run());
	}
	if (sigtimedwait(&set, NULL, &patience) != SIGCHLD)
		kill(pid, SIGKILL);
	for (unsigned i = 0; i < 3; i++)
		if (root[i][0] != '\0')
			clean(dir[i]);
	waitpid(pid, &how, 0);
	return WIFEXITED(how) ? WEXITSTATUS(how) : 1;
}
