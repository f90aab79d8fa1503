/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "fdio.h"
#include "image_options.h"
#include "qemu.h"
#include "qemu_input.h"

/*
 * What tells the one from the other is in the first eight bytes.  They may
 * also be those of a raw image, of a guest that chose them; hence the whole
 * of them.
 */
static const char migration[] = PM_QEMU_MAGIC "\0\0\0\3";

static void
peek(struct qemu_input *input)
{
	enum pm_status status;
	struct stat st;
	ssize_t got;

	if (fstat(input->fd, &st) != 0)
		cli_check(PM_ERR_READ);
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		got = lseek(input->fd, 0, SEEK_CUR);
		input->begin = got > 0 ? (uint64_t)got : 0;
		got = pread(input->fd, input->seen, sizeof(input->seen), got);
		input->seen_size = got > 0 ? (size_t)got : 0;
		input->is_file = 1;
		return;
	}
	if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return;
	for (; input->seen_size < sizeof(input->seen); input->seen_size++) {
		status = pm_fd_read(input->fd, input->seen +
		    input->seen_size, 1);
		if (status == PM_END)
			return;
		cli_check(status);
	}
}

static int
begins(const struct qemu_input *input, const char *magic)
{
	return input->seen_size == sizeof(input->seen) &&
	    memcmp(input->seen, magic, sizeof(input->seen)) == 0;
}

/* A file whose pages stand apart is read in another way. */
static int
is_mapped(const struct qemu_input *input)
{
	uint8_t head[4096];
	struct pm_qemu qemu;
	struct pm_qemu_token token;
	ssize_t size = pread(input->fd, head, sizeof(head),
	    lseek(input->fd, 0, SEEK_CUR));
	size_t at = 0;

	if (size < 0 || pm_qemu_open(&qemu, PM_PAGE_SHIFT_MIN) != PM_OK)
		return 0;
	do {
		token = pm_qemu_next(&qemu, head + at, (size_t)size - at);
		at += token.size;
	} while (token.kind == PM_QEMU_IS_BYTES && qemu.ram_id ==
	    PM_QEMU_NONE);
	pm_qemu_close(&qemu);
	return qemu.is_mapped;
}

static int
opens(struct qemu_input *input, const char *path, int wanted)
{
	struct stat st;

	input->fd = STDIN_FILENO;
	if (path == NULL || strcmp(path, "-") == 0) {
		if (wanted && isatty(input->fd))
			cli_die(CLI_USAGE, "a migration stream is not read "
			    "from a terminal");
		return !isatty(input->fd);
	}
	/* To open a pipe is to wait for a writer. */
	if (!wanted && (stat(path, &st) != 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))))
		return 0;
	input->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (input->fd < 0 && wanted)
		cli_die(CLI_FAILURE, "%s: %s", path, strerror(errno));
	cli_source(path);
	input->path = path;
	return input->fd >= 0;
}

int
qemu_find(struct qemu_input *input, const char *path)
{
	int wanted = strcmp(image_options.format, "qemu") == 0;

	*input = (struct qemu_input){ .fd = -1, .path = "/dev/stdin" };
	if (!wanted && strcmp(image_options.format, "auto") != 0)
		return 0;
	if (!opens(input, path, wanted))
		return 0;
	peek(input);
	input->is_save = begins(input, PM_SAVEFILE_MAGIC);
	if (!wanted && input->is_file && begins(input, migration) &&
	    is_mapped(input))
		image_options.format = "mapped-ram";
	if (!wanted && !input->is_save && (!begins(input, migration) ||
	    strcmp(image_options.format, "mapped-ram") == 0)) {
		if (input->fd != STDIN_FILENO)
			close(input->fd);
		return 0;
	}
	if (input->is_file)
		(void)lseek(input->fd, (off_t)input->seen_size, SEEK_CUR);
	if (input->is_save) {
		cli_check(pm_savefile_open(&input->save, input->fd,
		    (unsigned)input->seen_size, &cli_fault));
		input->fd = input->save.fd;
		input->seen_size = 0;
		/* What it is packed by gives it through a pipe. */
		input->is_file &= input->save.program == 0;
		if (input->is_file)
			input->begin = (uint64_t)lseek(input->fd, 0,
			    SEEK_CUR);
	}
	return 1;
}

enum pm_status
qemu_ended(void *arg)
{
	struct qemu_input *input = arg;

	return input->is_save ? pm_savefile_close(&input->save, &cli_fault)
	    : PM_OK;
}

void
qemu_drop(struct qemu_input *input)
{
	if (input->is_save)
		pm_savefile_drop(&input->save);
}
