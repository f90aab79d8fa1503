/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mappers.h"
#include "procfs.h"

struct search {
	struct pm_mappers *found;
	struct pm_map file;		/* device and inode, as mapped */
	struct stat st;
	int writers;
	struct pm_fault *fault;
};

static enum pm_status
fail(struct search *search, const char *what)
{
	return pm_fault_set(search->fault, PM_ERR_SYSTEM, what, "%s",
	    strerror(errno));
}

/* How the file looks in a list of mappings. */
static enum pm_status
look_at_own(struct search *search, int fd)
{
	long size = sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	struct pm_maps maps;
	enum pm_status status;
	size_t at;

	if (fstat(fd, &search->st) != 0 || page == MAP_FAILED) {
		status = fail(search, "mapping the file");
		if (page != MAP_FAILED)
			munmap(page, (size_t)size);
		return status;
	}
	status = pm_maps_read(&maps, getpid(), search->fault);
	if (status == PM_OK) {
		at = pm_maps_find(&maps, (uint64_t)(uintptr_t)page);
		if (at < maps.count)
			search->file = maps.map[at];
		pm_maps_free(&maps);
	}
	munmap(page, (size_t)size);
	return status;
}

static int
is_of_file(const struct search *search, const struct pm_map *map)
{
	return map->shared && map->inode == search->file.inode &&
	    map->major == search->file.major &&
	    map->minor == search->file.minor;
}

static enum pm_status
add_mapper(struct search *search, pid_t pid, const struct pm_maps *maps,
    size_t count)
{
	struct pm_mappers *found = search->found;
	struct pm_mapper *mapper = realloc(found->mapper,
	    (found->count + 1) * sizeof(mapper[0]));

	if (mapper == NULL)
		return fail(search, "list of processes");
	found->mapper = mapper;
	mapper += found->count;
	*mapper = (struct pm_mapper){ .pid = pid,
	    .map = calloc(count, sizeof(mapper->map[0])) };
	if (mapper->map == NULL)
		return fail(search, "list of mappings");
	found->count++;
	for (size_t at = 0; at < maps->count; at++)
		if (is_of_file(search, &maps->map[at]))
			mapper->map[mapper->count++] = maps->map[at];
	return PM_OK;
}

/* Whether the process has the file open to write. */
static int
is_writer(const struct search *search, pid_t pid)
{
	char path[64], text[256];
	struct dirent *entry;
	struct stat st;
	int is = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return 0;
	while (!is && (entry = readdir(dir)) != NULL) {
		char *flags;

		if (fstatat(dirfd(dir), entry->d_name, &st, 0) != 0 ||
		    st.st_dev != search->st.st_dev ||
		    st.st_ino != search->st.st_ino)
			continue;
		snprintf(path, sizeof(path), "fdinfo/%.32s", entry->d_name);
		if (pm_procfs_read(pid, path, text, sizeof(text)) &&
		    (flags = strstr(text, "flags:")) != NULL)
			is = (strtoul(flags + 6, NULL, 8) & O_ACCMODE) !=
			    O_RDONLY;
	}
	closedir(dir);
	return is;
}

static enum pm_status
look_at(struct search *search, pid_t pid)
{
	struct pm_fault ignored = { 0 };
	enum pm_status status = PM_OK;
	struct pm_maps maps;
	size_t count = 0;

	if (pm_maps_read(&maps, pid, &ignored) != PM_OK) {
		search->found->unseen += ignored.error == EACCES ||
		    ignored.error == EPERM;
		return PM_OK;
	}
	for (size_t at = 0; at < maps.count; at++)
		count += (size_t)is_of_file(search, &maps.map[at]);
	if (count > 0)
		status = add_mapper(search, pid, &maps, count);
	else if (search->writers && search->found->writer == 0 &&
	    is_writer(search, pid))
		search->found->writer = pid;
	pm_maps_free(&maps);
	return status;
}

static int
by_pid(const void *a, const void *b)
{
	const struct pm_mapper *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

enum pm_status
pm_mappers_find(struct pm_mappers *found, int fd, int writers,
    struct pm_fault *fault)
{
	struct search search = { .found = found, .writers = writers,
	    .fault = fault };
	enum pm_status status = look_at_own(&search, fd);
	struct dirent *entry;
	DIR *dir;

	*found = (struct pm_mappers){ 0 };
	if (status != PM_OK)
		return status;
	if ((dir = opendir("/proc")) == NULL)
		return fail(&search, "/proc");
	while (status == PM_OK && (entry = readdir(dir)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid())
			status = look_at(&search, pid);
	}
	closedir(dir);
	if (found->count > 1)
		qsort(found->mapper, found->count, sizeof(found->mapper[0]),
		    by_pid);
	if (status != PM_OK)
		pm_mappers_free(found);
	return status;
}

/* Files in some order, and within them by offset. */
static int
by_file(const void *a, const void *b)
{
	const struct pm_map *x = *(const struct pm_map *const *)a;
	const struct pm_map *y = *(const struct pm_map *const *)b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->major != y->major)
		return x->major < y->major ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int
is_same_file(const struct pm_map *a, const struct pm_map *b)
{
	return a->inode == b->inode && a->major == b->major &&
	    a->minor == b->minor;
}

/* Mappings of one process that are looked for among those of all. */
struct marks {
	const struct pm_map *map;
	const struct pm_map **sorted;
	size_t count;
	unsigned char *elsewhere;
};

static void
mark(const struct marks *marks, const struct pm_map *other, int is_own)
{
	struct pm_map first = *other;
	const struct pm_map *key = &first;
	uint64_t end = other->offset + (other->end - other->start);
	size_t low = 0, high = marks->count;

	first.offset = 0;
	while (low < high) {
		size_t at = low + (high - low) / 2;

		if (by_file(&marks->sorted[at], &key) < 0)
			low = at + 1;
		else
			high = at;
	}
	for (; low < marks->count; low++) {
		const struct pm_map *map = marks->sorted[low];

		if (!is_same_file(map, other) || map->offset >= end)
			break;
		if (other->offset < map->offset + (map->end - map->start) &&
		    (!is_own || map->start >= other->end ||
		    map->end <= other->start))
			marks->elsewhere[map - marks->map] = 1;
	}
}

static void
mark_all(const struct marks *marks, pid_t pid, size_t *unseen)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	struct pm_maps maps;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct pm_fault ignored = { 0 };
		pid_t other = (pid_t)strtol(entry->d_name, NULL, 10);

		if (other <= 0)
			continue;
		if (pm_maps_read(&maps, other, &ignored) != PM_OK) {
			*unseen += ignored.error == EACCES ||
			    ignored.error == EPERM;
			continue;
		}
		for (size_t at = 0; at < maps.count; at++)
			if (maps.map[at].shared && maps.map[at].write &&
			    maps.map[at].inode != 0)
				mark(marks, &maps.map[at], other == pid);
		pm_maps_free(&maps);
	}
	if (dir != NULL)
		closedir(dir);
}

enum pm_status
pm_mappers_mark(pid_t pid, const struct pm_map *map, size_t count,
    unsigned char *elsewhere, size_t *unseen, struct pm_fault *fault)
{
	struct marks marks = { map, calloc(count + 1, sizeof(map)), count,
	    elsewhere };

	*unseen = 0;
	if (marks.sorted == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	for (size_t i = 0; i < count; i++)
		marks.sorted[i] = &map[i];
	qsort(marks.sorted, count, sizeof(marks.sorted[0]), by_file);
	memset(elsewhere, 0, count);
	mark_all(&marks, pid, unseen);
	free(marks.sorted);
	return PM_OK;
}

void
pm_mappers_free(struct pm_mappers *found)
{
	for (size_t i = 0; i < found->count; i++)
		free(found->mapper[i].map);
	free(found->mapper);
	*found = (struct pm_mappers){ 0 };
}
