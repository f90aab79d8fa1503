/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads are looked at, and not processes: version 1 puts each into a group
 * of its own if it is told so, and so do threaded groups of version 2.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "procfs.h"

#define DEPTH_MAX	64u		/* of groups below groups */
#define ANCESTORS_MAX	4096u

struct threads {
	pid_t *tid;
	size_t count, room;
};

static enum pm_status
fail(const char *path, struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
	    strerror(errno));
}

static int
add(struct threads *threads, pid_t tid)
{
	if (threads->count == threads->room) {
		size_t room = threads->room * 2 + 64;
		pid_t *more = realloc(threads->tid, room * sizeof(more[0]));

		if (more == NULL)
			return 0;
		threads->tid = more;
		threads->room = room;
	}
	threads->tid[threads->count++] = tid;
	return 1;
}

static int
ascending(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int
has(const struct threads *threads, pid_t tid)
{
	return threads->count > 0 && bsearch(&tid, threads->tid,
	    threads->count, sizeof(threads->tid[0]), ascending) != NULL;
}

static void
sort(struct threads *threads)
{
	if (threads->count > 0)
		qsort(threads->tid, threads->count, sizeof(threads->tid[0]),
		    ascending);
}

/* What the kernel says of a thread; 0 when it cannot be seen. */
static int
look_up(pid_t tid, pid_t *process, pid_t *parent, int *dead)
{
	char text[4096];
	const char *state;

	if (!pm_procfs_read(tid, "status", text, sizeof(text)) ||
	    (state = strstr(text, "\nState:\t")) == NULL)
		return 0;
	*process = (pid_t)pm_procfs_number(text, "\nTgid:\t");
	*parent = (pid_t)pm_procfs_number(text, "\nPPid:\t");
	*dead = state[8] == 'Z' || state[8] == 'X';
	return 1;
}

static int
exists(pid_t tid)
{
	return kill(tid, 0) == 0 || errno == EPERM;
}

/* Add the numbers that the file of a group has, one to a line. */
static enum pm_status
add_file(struct threads *threads, int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), good = 1;
	char line[32];
	FILE *file;

	if (fd < 0)
		return errno == ENOENT ? PM_OK : PM_ERR_SYSTEM;
	file = fdopen(fd, "r");
	if (file == NULL) {
		close(fd);
		return PM_ERR_SYSTEM;
	}
	errno = 0;
	while (good && fgets(line, sizeof(line), file) != NULL)
		good = add(threads, (pid_t)strtol(line, NULL, 10));
	/* A group that is removed meanwhile has no threads. */
	if (ferror(file) && errno != ENODEV)
		good = 0;
	fclose(file);
	return good ? PM_OK : PM_ERR_SYSTEM;
}

/* Those of a group and of all below it; dir is closed. */
static enum pm_status
add_group(struct threads *threads, int dir, int version, unsigned depth)
{
	enum pm_status status = add_file(threads, dir,
	    version == 1 ? "tasks" : "cgroup.threads");
	struct dirent *entry;
	DIR *list;

	list = fdopendir(dir);
	if (list == NULL) {
		close(dir);
		return PM_ERR_SYSTEM;
	}
	while (status == PM_OK && (entry = readdir(list)) != NULL) {
		int below;

		if (entry->d_name[0] == '.' && (entry->d_name[1] == '\0' ||
		    strcmp(entry->d_name, "..") == 0))
			continue;
		below = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY |
		    O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0 && depth == DEPTH_MAX) {
			close(below);
			errno = ELOOP;
			status = PM_ERR_SYSTEM;
		} else if (below >= 0)
			status = add_group(threads, below, version, depth + 1);
		else if (errno != ENOTDIR && errno != ENOENT)
			status = PM_ERR_SYSTEM;
	}
	closedir(list);
	return status;
}

static enum pm_status
list_members(const struct pm_cgroup *group, struct threads *members,
    struct pm_fault *fault)
{
	int dir = open(group->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || add_group(members, dir, group->version, 0) != PM_OK)
		return fail(group->path, fault);
	sort(members);
	return PM_OK;
}

/* The process of a thread that was asked for, and all its threads. */
static enum pm_status
list_wanted(struct threads *processes, struct threads *wanted, pid_t pid,
    struct pm_fault *fault)
{
	struct dirent *entry;
	pid_t process, parent;
	char path[48];
	int good, dead;
	DIR *list;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	list = pid > 0 && look_up(pid, &process, &parent, &dead)
	    ? opendir(path) : NULL;
	if (list == NULL) {
		errno = ESRCH;
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
		    "process %d does not exist", (int)pid);
	}
	good = add(processes, process);
	while (good && (entry = readdir(list)) != NULL)
		if (entry->d_name[0] != '.')
			good = add(wanted, (pid_t)strtol(entry->d_name, NULL,
			    10));
	closedir(list);
	return good ? PM_OK : fail(NULL, fault);
}

/* True when process is one of those, or descends from one. */
static int
belongs(const struct threads *processes, pid_t process, pid_t parent)
{
	int dead;

	for (unsigned i = 0; i < ANCESTORS_MAX && process > 0; i++) {
		if (has(processes, process))
			return 1;
		process = parent;
		if (process > 0 && !look_up(process, &process, &parent, &dead))
			return 0;
	}
	return 0;
}

static enum pm_status
check_member(const struct pm_cgroup *group, pid_t tid,
    const struct threads *processes, struct pm_fault *fault)
{
	pid_t process, parent;
	int dead;

	/* 0 stands for one that has no number here, in a container's view. */
	if (tid <= 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    "holds a process that cannot be seen");
	if (!look_up(tid, &process, &parent, &dead))
		return !exists(tid) ? PM_OK : pm_fault_set(fault,
		    PM_ERR_REFUSED, group->path, "holds process %d, which "
		    "cannot be seen in /proc", (int)tid);
	if (process == getpid())
		return pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    "holds this process, %d, too", (int)process);
	if (!belongs(processes, process, parent) && exists(tid))
		return pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    "holds process %d too, which no named process started",
		    (int)process);
	return PM_OK;
}

static enum pm_status
compare(const struct pm_cgroup *group, const struct threads *processes,
    const struct threads *wanted, const struct threads *members,
    struct pm_fault *fault)
{
	enum pm_status status = PM_OK;

	for (size_t at = 0; status == PM_OK && at < members->count; at++)
		status = check_member(group, members->tid[at], processes,
		    fault);
	for (size_t at = 0; status == PM_OK && at < wanted->count; at++) {
		pid_t tid = wanted->tid[at], process, parent;
		int dead;

		/* Groups do not list the dead, and processes do. */
		if (has(members, tid) || !look_up(tid, &process, &parent,
		    &dead) || dead)
			continue;
		status = pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    tid == process ? "does not hold process %d"
		    : "does not hold thread %d, which a named process has",
		    (int)tid);
	}
	return status;
}

enum pm_status
pm_cgroup_check(const struct pm_cgroup *group, const pid_t *pid, size_t pids,
    struct pm_fault *fault)
{
	struct threads processes = { 0 }, wanted = { 0 }, members = { 0 };
	enum pm_status status = PM_OK;

	/* Those that come later come into the group of their creator. */
	for (size_t at = 0; status == PM_OK && at < pids; at++)
		status = list_wanted(&processes, &wanted, pid[at], fault);
	if (status == PM_OK)
		status = list_members(group, &members, fault);
	if (status == PM_OK) {
		sort(&processes);
		status = compare(group, &processes, &wanted, &members, fault);
	}
	free(processes.tid);
	free(wanted.tid);
	free(members.tid);
	return status;
}
