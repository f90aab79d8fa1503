/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "rate.h"
#include "size.h"

static const char *path;
static uint64_t rate;
static struct stat seen;

/* True when the file says a rate; it is then taken. */
static int
read_file(void)
{
	char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t got;

	if (fd < 0)
		return 0;
	/* What changes while it is read is read again. */
	(void)fstat(fd, &seen);
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return pm_size_parse(text, &rate);
}

void
rate_open(const char *text)
{
	if (*text != '@') {
		rate = cli_size("--rate", text);
		return;
	}
	path = text + 1;
	if (!read_file())
		cli_die(CLI_USAGE, "--rate: %s: holds no size", path);
}

uint64_t
rate_now(void *unused)
{
	struct stat st;

	(void)unused;
	if (path != NULL && stat(path, &st) == 0 &&
	    (st.st_mtim.tv_sec != seen.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != seen.st_mtim.tv_nsec ||
	    st.st_size != seen.st_size || st.st_ino != seen.st_ino)) {
		seen = st;
		if (read_file())
			cli_say("the rate is %llu bytes a second",
			    (unsigned long long)rate);
	}
	return rate;
}
