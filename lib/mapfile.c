/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mapfile.h"

#define XFS_MAGIC	0x58465342

static int
begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static void
link_name(char *path, size_t size, pid_t pid, const struct pm_map *map)
{
	snprintf(path, size, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
	    (int)pid, map->start, map->end);
}

/* Look at the file behind a mapping, without opening it. */
static int
stat_file(pid_t pid, const struct pm_map *map, struct stat *st)
{
	char path[PATH_MAX + 64];

	link_name(path, sizeof(path), pid, map);
	if (stat(path, st) == 0)
		return 1;
	/* By its name it may be another by now. */
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, map->name);
	return map->name[0] == '/' && stat(path, st) == 0 &&
	    st->st_ino == map->inode && major(st->st_dev) == map->major &&
	    minor(st->st_dev) == map->minor;
}

/* Files of /dev that are memory and nothing else. */
static int
is_memory_name(const char *name)
{
	return begins(name, "/dev/shm/") || begins(name, "/dev/hugepages/") ||
	    begins(name, "/dev/zero");
}

enum pm_mapfile_kind
pm_mapfile_kind(pid_t pid, const struct pm_map *map)
{
	const char *name = map->name;
	struct stat st;

	if (map->inode == 0 && (name[0] == '\0' ||
	    strcmp(name, "[heap]") == 0 || begins(name, "[stack") ||
	    begins(name, "[anon:")))
		return PM_MAPFILE_NONE;
	if (begins(name, "[vvar") || begins(name, "[vsyscall") ||
	    begins(name, "[vectors"))
		return PM_MAPFILE_KERNEL;
	/* Huge pages without a file; shared ones live in one nevertheless. */
	if (strcmp(name, "/anon_hugepage (deleted)") == 0)
		return map->shared ? PM_MAPFILE_FILE : PM_MAPFILE_NONE;
	if (begins(name, "/sys/"))
		return PM_MAPFILE_DEVICE;
	if (map->inode == 0 || name[0] == '[')
		return PM_MAPFILE_FILE;
	if (!stat_file(pid, map, &st))
		return begins(name, "/dev/") && !is_memory_name(name)
		    ? PM_MAPFILE_DEVICE : PM_MAPFILE_FILE;
	if (!S_ISCHR(st.st_mode))
		return PM_MAPFILE_FILE;
	/* A private mapping of /dev/zero is anonymous memory. */
	return st.st_rdev != makedev(1, 5) ? PM_MAPFILE_DEVICE
	    : map->shared ? PM_MAPFILE_FILE : PM_MAPFILE_NONE;
}

/* True where a page that was written through a mapping is no hole. */
static int
tells_holes(int fd)
{
	struct statfs fs;
	uint32_t type;

	if (fstatfs(fd, &fs) != 0)
		return 0;
	type = (uint32_t)fs.f_type;
	return type == TMPFS_MAGIC || type == EXT4_SUPER_MAGIC ||
	    type == XFS_MAGIC || type == BTRFS_SUPER_MAGIC;
}

void
pm_mapfile_open(struct pm_mapfile *file, pid_t pid, const struct pm_map *map)
{
	char path[80];
	struct stat st;

	*file = (struct pm_mapfile){ .fd = -1 };
	link_name(path, sizeof(path), pid, map);
	/* To open what is no regular file may have effects, or block. */
	if (map->inode == 0 || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (file->fd < 0)
		return;
	/* Another may have been mapped there since the list was made. */
	if (fstat(file->fd, &st) == 0 && st.st_ino == map->inode &&
	    tells_holes(file->fd))
		file->size = (uint64_t)st.st_size;
	else
		pm_mapfile_close(file);
}

void
pm_mapfile_close(struct pm_mapfile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct pm_mapfile){ .fd = -1 };
}

enum pm_mapfile_span
pm_mapfile_span(struct pm_mapfile *file, const struct pm_map *map,
    unsigned page_shift, uint64_t address, uint64_t *until)
{
	uint64_t mask = (UINT64_C(1) << page_shift) - 1;
	uint64_t base = map->start - map->offset;	/* of offset 0 */
	uint64_t at = address - base, to;
	int is_hole;

	*until = map->end;
	if (file->fd < 0)
		return PM_MAPFILE_DATA;
	if (at >= file->size)
		return PM_MAPFILE_BEYOND;
	is_hole = pm_holes_at(&file->holes, file->fd, file->size, at, &to);
	/* A page that is in part a hole is data; but not for the file's end. */
	if (is_hole && to < file->size)
		to &= ~mask;
	if (to == at) {
		is_hole = 0;
		to++;
	}
	to = (to + mask) & ~mask;
	if (to < map->end - base)
		*until = base + to;
	return is_hole ? PM_MAPFILE_HOLE : PM_MAPFILE_DATA;
}
