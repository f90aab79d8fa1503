/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _XOPEN_SOURCE 700	/* realpath */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "clock.h"

#define MAGIC_1		0x27e0eb	/* CGROUP_SUPER_MAGIC */
#define MAGIC_2		0x63677270	/* CGROUP2_SUPER_MAGIC */
#define PERIOD_US	10000u
#define PERIOD_MAX_US	1000000u	/* the kernel takes no longer one */
#define QUOTA_MIN_US	1000u		/* and no smaller quota */
#define NAP_MIN_NS	20000
#define NAP_MAX_NS	1000000

static enum pm_status
fail(const char *path, struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
	    strerror(errno));
}

/* The beginning of a file, without the end of its last line. */
static int
read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;
	ssize_t got;

	if (fd < 0)
		return 0;
	got = read(fd, text, size - 1);
	error = errno;
	close(fd);
	errno = error;
	if (got < 0)
		return 0;
	while (got > 0 && text[got - 1] == '\n')
		got--;
	text[got] = '\0';
	return 1;
}

/* In one write, which the kernel takes as a whole or not at all. */
static int
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;
	ssize_t put;

	if (fd < 0)
		return 0;
	put = write(fd, text, strlen(text));
	error = errno;
	close(fd);
	errno = error;
	return put >= 0;
}

static char *
path_in(const char *dir, const char *name)
{
	size_t size = strlen(dir) + strlen(name) + 2;
	char *path = malloc(size);

	if (path != NULL)
		snprintf(path, size, "%s/%s", dir, name);
	return path;
}

/* A file of the group and what is in it; none is no failure. */
static enum pm_status
find_file(const struct pm_cgroup *group, struct pm_cgroup_file *file,
    const char *name, struct pm_fault *fault)
{
	char *path = path_in(group->path, name);
	enum pm_status status = PM_OK;

	if (path == NULL)
		return fail(group->path, fault);
	if (read_text(path, file->was, sizeof(file->was))) {
		file->path = path;
		return PM_OK;
	}
	if (errno != ENOENT)
		status = fail(path, fault);
	free(path);
	return status;
}

static enum pm_status
fail_odd(const struct pm_cgroup_file *file, struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_REFUSED, file->path,
	    "says what is not understood");
}

/* What the quota and the period give together. */
static enum pm_status
find_share(struct pm_cgroup *group, struct pm_fault *fault)
{
	long long quota = -1, period = 0;
	int good;

	if (group->quota.path == NULL)
		return PM_OK;
	if (group->version == 1)
		good = sscanf(group->quota.was, "%lld", &quota) == 1 &&
		    sscanf(group->period.was, "%lld", &period) == 1;
	else
		good = sscanf(group->quota.was, "max %lld", &period) == 1 ||
		    sscanf(group->quota.was, "%lld %lld", &quota, &period) ==
		    2;
	if (!good || period <= 0)
		return fail_odd(&group->quota, fault);
	group->share = quota < 0 ? HUGE_VAL : (double)quota / (double)period;
	return PM_OK;
}

/* True when a line of cgroup.events says so; *failed when it cannot tell. */
static int
says_frozen(const struct pm_cgroup *group, int *failed)
{
	char text[256], *path = path_in(group->path, "cgroup.events");

	*failed = path == NULL || !read_text(path, text, sizeof(text));
	free(path);
	return !*failed && (strncmp(text, "frozen 1", 8) == 0 ||
	    strstr(text, "\nfrozen 1") != NULL);
}

static enum pm_status
find_files(struct pm_cgroup *group, struct pm_fault *fault)
{
	enum pm_status status;
	int frozen, failed = 0, one = group->version == 1;

	status = find_file(group, &group->freezer, one ? "freezer.state"
	    : "cgroup.freeze", fault);
	if (status == PM_OK)
		status = find_file(group, &group->quota, one
		    ? "cpu.cfs_quota_us" : "cpu.max", fault);
	if (status == PM_OK && one && group->quota.path != NULL) {
		status = find_file(group, &group->period, "cpu.cfs_period_us",
		    fault);
		if (status == PM_OK && group->period.path == NULL)
			return fail_odd(&group->quota, fault);
	}
	if (status == PM_OK)
		status = find_share(group, fault);
	if (status != PM_OK || group->freezer.path == NULL)
		return status;
	frozen = strcmp(group->freezer.was, one ? "THAWED" : "0") != 0;
	/* One above it may be what is frozen. */
	if (!one && !frozen)
		frozen = says_frozen(group, &failed);
	if (failed)
		return fail(group->path, fault);
	return !frozen ? PM_OK : pm_fault_set(fault, PM_ERR_REFUSED,
	    group->path, "is frozen already");
}

enum pm_status
pm_cgroup_open(struct pm_cgroup *group, const char *dir,
    struct pm_fault *fault)
{
	enum pm_status status;
	struct statfs fs;

	*group = (struct pm_cgroup){ 0 };
	if (statfs(dir, &fs) != 0)
		return fail(dir, fault);
	if (fs.f_type == MAGIC_1)
		group->version = 1;
	else if (fs.f_type == MAGIC_2)
		group->version = 2;
	else
		return pm_fault_set(fault, PM_ERR_REFUSED, dir,
		    "is not in a file system of control groups");
	group->path = realpath(dir, NULL);
	if (group->path == NULL)
		return fail(dir, fault);
	status = find_files(group, fault);
	if (status == PM_OK && !pm_cgroup_can_freeze(group) &&
	    !pm_cgroup_can_limit(group))
		status = pm_fault_set(fault, PM_ERR_REFUSED, dir,
		    "is no control group that can freeze or limit processes");
	if (status != PM_OK)
		pm_cgroup_close(group);
	return status;
}

void
pm_cgroup_close(struct pm_cgroup *group)
{
	free(group->path);
	free(group->freezer.path);
	free(group->quota.path);
	free(group->period.path);
	*group = (struct pm_cgroup){ 0 };
}

/* True when all are frozen; *failed when it cannot be told. */
static int
is_frozen(const struct pm_cgroup *group, int *failed)
{
	char text[PM_CGROUP_TEXT];

	if (group->version == 2)
		return says_frozen(group, failed);
	/* To read it is what makes version 1 look again. */
	*failed = !read_text(group->freezer.path, text, sizeof(text));
	return !*failed && strcmp(text, "FROZEN") == 0;
}

static enum pm_status
fail_freeze(struct pm_cgroup *group, unsigned ms, int failed,
    struct pm_fault *fault)
{
	enum pm_status status;
	int error = failed ? errno : ETIMEDOUT;

	errno = error;
	status = failed ? fail(group->path, fault)
	    : pm_fault_set(fault, PM_ERR_SYSTEM, group->path,
	    "its processes cannot be frozen within %u ms", ms);
	(void)pm_cgroup_thaw(group, NULL);
	errno = error;
	return status;
}

enum pm_status
pm_cgroup_freeze(struct pm_cgroup *group, unsigned ms, struct pm_fault *fault)
{
	uint64_t deadline = pm_clock_us() + (uint64_t)ms * 1000;
	struct timespec ts = { .tv_nsec = NAP_MIN_NS };
	int failed;

	if (!pm_cgroup_can_freeze(group))
		return pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    "is no control group that can freeze processes");
	if (!write_text(group->freezer.path,
	    group->version == 1 ? "FROZEN" : "1"))
		return fail(group->freezer.path, fault);
	group->is_frozen = 1;
	while (!is_frozen(group, &failed)) {
		if (failed || pm_clock_us() >= deadline)
			return fail_freeze(group, ms, failed, fault);
		nanosleep(&ts, NULL);
		if (ts.tv_nsec < NAP_MAX_NS)
			ts.tv_nsec *= 2;
	}
	return PM_OK;
}

enum pm_status
pm_cgroup_thaw(struct pm_cgroup *group, struct pm_fault *fault)
{
	if (!group->is_frozen)
		return PM_OK;
	if (!write_text(group->freezer.path, group->freezer.was))
		return fail(group->freezer.path, fault);
	group->is_frozen = 0;
	return PM_OK;
}

/* Both at once; only version 1 has a period by itself. */
static enum pm_status
set_both(const struct pm_cgroup *group, const char *quota,
    const char *period, struct pm_fault *fault)
{
	const char *path = group->quota.path;

	if (group->period.path != NULL) {
		/*
		 * The kernel looks at each of the two with what it has of
		 * the other, and may refuse the quota now for a share that it
		 * allows with the new period, or the period with the old
		 * quota.
		 */
		(void)write_text(path, quota);
		if (!write_text(group->period.path, period))
			path = group->period.path;
	}
	if (path == group->quota.path && write_text(path, quota))
		return PM_OK;
	if (errno == EINVAL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s is "
		    "refused: a control group above or below it, or the burst "
		    "that it has, does not allow that",
		    path == group->quota.path ? quota : period);
	return fail(path, fault);
}

enum pm_status
pm_cgroup_limit(struct pm_cgroup *group, unsigned permille,
    struct pm_fault *fault)
{
	char quota_text[PM_CGROUP_TEXT], period_text[PM_CGROUP_TEXT];
	uint64_t period = PERIOD_US, quota;
	enum pm_status status;

	if (!pm_cgroup_can_limit(group))
		return pm_fault_set(fault, PM_ERR_REFUSED, group->path,
		    "is no control group that can limit processes");
	permille = permille == 0 ? 1 : permille;
	if (period * permille / 1000 < QUOTA_MIN_US)
		period = PERIOD_MAX_US / permille;
	quota = period * permille / 1000;
	quota = quota < QUOTA_MIN_US ? QUOTA_MIN_US : quota;
	if (group->share <= (double)quota / (double)period)
		return pm_cgroup_unlimit(group, fault);

	snprintf(period_text, sizeof(period_text), "%" PRIu64, period);
	snprintf(quota_text, sizeof(quota_text), group->version == 1
	    ? "%" PRIu64 : "%" PRIu64 " %" PRIu64, quota, period);
	group->is_limited = 1;
	status = set_both(group, quota_text, period_text, fault);
	if (status != PM_OK) {
		int error = errno;

		(void)pm_cgroup_unlimit(group, NULL);
		errno = error;
	}
	return status;
}

enum pm_status
pm_cgroup_unlimit(struct pm_cgroup *group, struct pm_fault *fault)
{
	enum pm_status status;

	if (!group->is_limited)
		return PM_OK;
	status = set_both(group, group->quota.was, group->period.was, fault);
	group->is_limited = status != PM_OK;
	return status;
}

int
pm_cgroup_undo_freeze(const struct pm_cgroup *group, const char **path,
    const char **text)
{
	*path = group->freezer.path;
	*text = group->freezer.was;
	return *path != NULL;
}

int
pm_cgroup_undo_limit(const struct pm_cgroup *group, unsigned step,
    const char **path, const char **text)
{
	const struct pm_cgroup_file *file = step == 1 ? &group->period
	    : &group->quota;
	unsigned steps = group->period.path != NULL ? 3 : 1;

	*path = file->path;
	*text = file->was;
	return step < steps && *path != NULL;
}
