/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* flock */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"
#include "kept.h"
#include "record.h"
#include "sender.h"

/* True when a file without a whole record may become a stream. */
static int
begins_stream(int fd)
{
	char begin[PM_SIGNATURE_SIZE];
	ssize_t size = pread(fd, begin, sizeof(begin), 0);

	return size >= 0 && memcmp(begin, PM_SIGNATURE, (size_t)size) == 0;
}

void
kept_open(struct kept *kept, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	enum pm_status status;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		cli_die(CLI_FAILURE, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		cli_die(CLI_USAGE, "--resume: %s: not a file", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		cli_die(CLI_FAILURE, "%s: another pm-recv writes to it",
		    path);
	*kept = (struct kept){ .fd = fd };
	status = pm_token_find(fd, &kept->have, &cli_fault);
	if (!begins_stream(fd))
		cli_die(CLI_BAD_STREAM, "%s: is no page stream", path);
	if (status != PM_OK && kept->have.offset > 0)
		cli_die(cli_exit_of(status), "%s: %s; to go on before that, "
		    "truncate -s %" PRIu64, path, cli_fault.text,
		    kept->have.offset);
	cli_source(path);
	cli_check(status);
	cli_source(cli_operand());
}

void
kept_cut(struct kept *kept)
{
	if (ftruncate(kept->fd, (off_t)kept->have.offset) != 0 ||
	    lseek(kept->fd, (off_t)kept->have.offset, SEEK_SET) < 0)
		cli_die(CLI_FAILURE, "%s: %s", cli_kept(), strerror(errno));
	if (kept->have.offset > 0)
		cli_say("goes on at byte %" PRIu64, kept->have.offset);
	pm_receive_attend(&sender_session);
}

enum pm_status
kept_read(struct kept *kept, struct iovec *iov, int count)
{
	enum pm_status status = PM_OK;

	for (int i = 0; i < count && status == PM_OK; i++) {
		status = pm_fd_pread(kept->fd, iov[i].iov_base,
		    iov[i].iov_len, kept->at);
		kept->at += iov[i].iov_len;
	}
	pm_receive_attend(&sender_session);
	return status;
}
