/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* O_TMPFILE, mkostemp */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outfile.h"

static void
directory_of(const char *path, char *out)
{
	char copy[PATH_MAX];

	strcpy(copy, path);
	strcpy(out, dirname(copy));
}

/* PATH with its last part replaced by .LAST.pm-new. */
static enum pm_status
name_passing(struct pm_outfile *file)
{
	char directory[PATH_MAX], copy[PATH_MAX];
	int size;

	directory_of(file->path, directory);
	strcpy(copy, file->path);
	size = snprintf(file->passing, sizeof(file->passing),
	    "%s/.%s.pm-new", directory, basename(copy));
	if (size > 0 && (size_t)size < sizeof(file->passing))
		return PM_OK;
	errno = ENAMETOOLONG;
	return PM_ERR_WRITE;
}

static enum pm_status
open_unnamed(struct pm_outfile *file, mode_t mode)
{
	char directory[PATH_MAX];
	size_t size = strlen(file->path);

	directory_of(file->path, directory);
	file->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		if (size + 8 > sizeof(file->passing)) {
			errno = ENAMETOOLONG;
			return PM_ERR_WRITE;
		}
		memcpy(file->passing, file->path, size);
		memcpy(file->passing + size, ".XXXXXX", 8);
		file->fd = mkostemp(file->passing, O_CLOEXEC);
		file->named = file->fd >= 0;
	}
	return file->fd >= 0 && fchmod(file->fd, mode) == 0 ? PM_OK
	    : PM_ERR_WRITE;
}

enum pm_status
pm_outfile_open(struct pm_outfile *file, const char *path)
{
	mode_t mode = 0600;
	struct stat st;

	*file = (struct pm_outfile){ .fd = -1 };
	if (strlen(path) >= sizeof(file->path)) {
		errno = ENAMETOOLONG;
		return PM_ERR_WRITE;
	}
	strcpy(file->path, path);
	if (stat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode)) {
			file->direct = 1;
			file->fd = open(path, O_WRONLY | O_CLOEXEC);
			return file->fd < 0 ? PM_ERR_WRITE : PM_OK;
		}
		mode = st.st_mode & 07777;
		if (access(path, W_OK) != 0 ||
		    realpath(path, file->path) == NULL)
			return PM_ERR_WRITE;
	} else if (errno != ENOENT || lstat(path, &st) == 0)
		return PM_ERR_WRITE;	/* a link to nothing is no new name */
	return open_unnamed(file, mode);
}

/* linkat(2) will not replace a file and rename(2) will. */
static enum pm_status
link_name(struct pm_outfile *file)
{
	char self[32];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW)
	    == 0)
		return PM_OK;
	if (errno != EEXIST || name_passing(file) != PM_OK)
		return PM_ERR_WRITE;
	/* One that a kill at this very place left behind is in the way. */
	if (unlink(file->passing) != 0 && errno != ENOENT)
		return PM_ERR_WRITE;
	if (linkat(AT_FDCWD, self, AT_FDCWD, file->passing,
	    AT_SYMLINK_FOLLOW) != 0)
		return PM_ERR_WRITE;
	file->named = 1;
	return PM_OK;
}

static void
sync_directory(const char *path)
{
	char directory[PATH_MAX];
	int fd;

	directory_of(path, directory);
	if ((fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

enum pm_status
pm_outfile_publish(struct pm_outfile *file)
{
	if (file->direct)
		return PM_OK;
	if (fsync(file->fd) != 0)
		return PM_ERR_WRITE;
	if (!file->named && link_name(file) != PM_OK)
		return PM_ERR_WRITE;
	if (file->named && rename(file->passing, file->path) != 0)
		return PM_ERR_WRITE;
	file->named = 0;
	sync_directory(file->path);
	return PM_OK;
}

enum pm_status
pm_outfile_commit(struct pm_outfile *file)
{
	enum pm_status status = pm_outfile_publish(file);
	int fd = file->fd;

	if (status != PM_OK) {
		pm_outfile_drop(file);
		return status;
	}
	file->fd = -1;
	return close(fd) == 0 ? PM_OK : PM_ERR_WRITE;
}

void
pm_outfile_drop(struct pm_outfile *file)
{
	int error = errno;

	if (file->fd < 0)
		return;
	if (file->named)
		unlink(file->passing);
	close(file->fd);
	*file = (struct pm_outfile){ .fd = -1 };
	errno = error;
}
