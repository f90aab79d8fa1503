/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "fdio.h"
#include "outfile.h"

static char directory[] = "/tmp/pm-outfile-XXXXXX";
static struct pm_outfile file;

static int
holds(const char *path, const char *text)
{
	char bytes[64] = "";
	int fd = open(path, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes) - 1);

	close(fd);
	return got >= 0 && strcmp(bytes, text) == 0;
}

static unsigned
names(void)
{
	DIR *dir = opendir(".");
	unsigned count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count - 2;
}

static mode_t
mode(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static int
write_out(const char *path, const char *text)
{
	return pm_outfile_open(&file, path) == PM_OK &&
	    pm_fd_write(file.fd, text, strlen(text)) == PM_OK;
}

static void
test_names(void)
{
	CHECK(write_out("a", "one") && names() == 0);
	CHECK(pm_outfile_commit(&file) == PM_OK && file.fd == -1);
	CHECK(holds("a", "one") && mode("a") == 0600 && names() == 1);
	CHECK(chmod("a", 0644) == 0 && write_out("a", "two"));
	CHECK(holds("a", "one"));
	CHECK(pm_outfile_commit(&file) == PM_OK);
	CHECK(holds("a", "two") && mode("a") == 0644 && names() == 1);

	CHECK(write_out("a", "three"));
	pm_outfile_drop(&file);
	pm_outfile_drop(&file);
	CHECK(holds("a", "two") && names() == 1);
}

static void
test_publish(void)
{
	CHECK(write_out("a", "first") && pm_outfile_publish(&file) == PM_OK);
	CHECK(holds("a", "first") && file.fd >= 0);
	CHECK(pm_fd_write(file.fd, " more", 5) == PM_OK);
	CHECK(holds("a", "first more"));
	close(file.fd);
}

static void
test_links(void)
{
	CHECK(symlink("a", "link") == 0 && link("a", "other") == 0);
	CHECK(write_out("link", "new") && pm_outfile_commit(&file) == PM_OK);
	CHECK(holds("a", "new") && holds("link", "new"));
	CHECK(readlink("link", (char[8]){ 0 }, 8) == 1);
	CHECK(holds("other", "first more"));
	unlink("link");
	unlink("other");
	CHECK(symlink("nothing", "link") == 0);
	CHECK(pm_outfile_open(&file, "link") == PM_ERR_WRITE &&
	    errno == ENOENT);
	CHECK(unlink("link") == 0 && names() == 1);
}

/* What a kill left between two steps is taken away by the next run. */
static void
test_left_over(void)
{
	int fd = open(".a.pm-new", O_WRONLY | O_CREAT, 0600);

	close(fd);
	CHECK(names() == 2);
	CHECK(write_out("a", "again") && pm_outfile_commit(&file) == PM_OK);
	CHECK(holds("a", "again") && names() == 1);
}

static void
test_failures(void)
{
	static char name[PATH_MAX + 8];

	memset(name, 'x', sizeof(name) - 1);
	CHECK(pm_outfile_open(&file, name) == PM_ERR_WRITE &&
	    errno == ENAMETOOLONG && file.fd == -1);
	CHECK(pm_outfile_open(&file, "missing/a") == PM_ERR_WRITE &&
	    errno == ENOENT);
	pm_outfile_drop(&file);
	CHECK(pm_outfile_open(&file, ".") == PM_ERR_WRITE && errno == EISDIR);
	/* The directory goes away before there is a name. */
	CHECK(mkdir("sub", 0700) == 0 && write_out("sub/a", "text"));
	CHECK(rmdir("sub") == 0);
	CHECK(pm_outfile_commit(&file) == PM_ERR_WRITE && errno == ENOENT);
	CHECK(file.fd == -1 && names() == 1);
	/* A device is written as it is. */
	CHECK(write_out("/dev/null", "text") && file.direct);
	CHECK(pm_outfile_commit(&file) == PM_OK);
	CHECK(access("/dev/null", F_OK) == 0 && names() == 1);
}

int
main(void)
{
	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		return 1;
	test_names();
	test_publish();
	test_links();
	test_left_over();
	test_failures();
	unlink("a");
	CHECK(rmdir(directory) == 0);
	return check_done();
}
