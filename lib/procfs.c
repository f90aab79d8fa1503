/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procfs.h"

int
pm_procfs_read(pid_t pid, const char *name, char *text, size_t size)
{
	char path[48];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, text, size - 1);
	close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	return 1;
}

uint64_t
pm_procfs_number(const char *status, const char *label)
{
	const char *p = strstr(status, label);

	return p == NULL ? 0 : strtoull(p + strlen(label), NULL, 10);
}

uint64_t
pm_procfs_field(pid_t pid, int n)
{
	char text[1024], *p;

	/* The name of the program may hold spaces and parentheses. */
	if (!pm_procfs_read(pid, "stat", text, sizeof(text)) ||
	    (p = strrchr(text, ')')) == NULL)
		return 0;
	for (int field = 2; field < n && p != NULL; field++)
		p = strchr(p + 1, ' ');
	return p == NULL ? 0 : strtoull(p, NULL, 10);
}

int
pm_procfs_has_memory(pid_t tid)
{
	char text[64];

	return pm_procfs_read(tid, "statm", text, sizeof(text)) &&
	    strncmp(text, "0 ", 2) != 0;
}

enum pm_status
pm_procfs_missing(pid_t pid, struct pm_fault *fault)
{
	int hidden = pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);

	errno = ESRCH;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, hidden
	    ? "process %d cannot be seen in /proc"
	    : "process %d does not exist", (int)pid);
}

/* A thread with memory, or 0. */
static pid_t
find_thread(pid_t pid)
{
	struct dirent *entry;
	pid_t tid = 0;
	char path[32];
	DIR *dir;

	if (pm_procfs_has_memory(pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		tid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (tid > 0 && pm_procfs_has_memory(tid))
			break;
		tid = 0;
	}
	closedir(dir);
	return tid;
}

enum pm_status
pm_procfs_find(pid_t tid, pid_t *pid, pid_t *through, struct pm_fault *fault)
{
	char text[4096];

	*pid = tid;
	if (tid <= 0 || !pm_procfs_read(tid, "status", text, sizeof(text)))
		return pm_procfs_missing(tid, fault);
	*pid = (pid_t)pm_procfs_number(text, "\nTgid:\t");
	if (*pid == getpid())
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "process %d is this one", (int)*pid);
	if ((*through = find_thread(*pid)) != 0)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
	    "process %d has no memory", (int)*pid);
}
