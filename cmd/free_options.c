/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "free_options.h"
#include "guest_input.h"
#include "source_guest.h"

#define SENT	"--skip-free: all pages are sent: "

struct free_options free_options;

static const char *region;	/* NULL: the largest */
static char *path;
static enum pm_free_order order;
static uint64_t marked;

/* A name with colons may be that of a file; if not, a region follows it. */
static void
parse_bitmap(void)
{
	char *colon;

	path = strdup(free_options.bitmap);
	if (path == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	colon = strrchr(path, ':');
	if (access(path, F_OK) == 0 || (colon == NULL && *path != '\0'))
		return;
	if (colon == NULL || colon == path || colon[1] == '\0')
		cli_die(CLI_USAGE, "--free-bitmap: %s: not FILE or "
		    "FILE:REGION", path);
	*colon = '\0';
	region = colon + 1;
}

void
free_parse(int is_live)
{
	const char *text = free_options.order;

	if (free_options.guest != NULL &&
	    strcmp(free_options.guest, "linux") != 0)
		cli_die(CLI_USAGE, "--skip-free: %s: not linux",
		    free_options.guest);
	if (free_options.guest != NULL && is_live)
		cli_die(CLI_USAGE, "--skip-free is not for --live: a guest "
		    "has to stand still to be looked into");
	if (text != NULL && free_options.bitmap == NULL)
		cli_die(CLI_USAGE, "--bit-order is for --free-bitmap");
	if (text != NULL && strcmp(text, "msb") == 0)
		order = PM_FREE_MSB;
	else if (text != NULL && strcmp(text, "lsb") != 0)
		cli_die(CLI_USAGE, "--bit-order: %s: not lsb or msb", text);
	if (free_options.bitmap == NULL)
		return;
	parse_bitmap();
	cli_keep("--free-bitmap", path);
	/* Better now than when a process stands still for it. */
	if (access(path, R_OK) != 0)
		cli_die(CLI_FAILURE, "%s: %s", path, strerror(errno));
}

int
free_is_asked(void)
{
	return free_options.bitmap != NULL || free_options.guest != NULL;
}

/* What can't be found out is sent. */
static enum pm_status
find_in_guest(struct pm_source *source, struct pm_free *marks)
{
	struct pm_fault why = { .error = 0 };
	struct pm_guest guest;
	struct pm_ram ram;
	enum pm_status status = pm_source_guest_find(source, &guest, &ram,
	    &why);

	if (status == PM_ERR_REFUSED) {
		cli_warn(SENT "%s", why.text);
		return PM_OK;
	}
	if (status != PM_OK)
		return pm_fault_set(&cli_fault, status, why.subject, "%s",
		    why.text);
	if (pm_source_guest_mark(&guest, &ram, marks) != PM_OK)
		status = pm_fault_set(&cli_fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	else
		cli_say("Linux %s has %llu pages, and %llu are free",
		    guest.release, (unsigned long long)guest.total,
		    (unsigned long long)guest.free);
	pm_guest_close(&guest);
	pm_ram_close(&ram);
	return status;
}

enum pm_status
free_find(void *unused, const struct pm_source *source, struct pm_free *marks)
{
	struct pm_ram ram;
	enum pm_status status;
	int fd;

	(void)unused;
	status = pm_ram_open(&ram, source, region, &cli_fault);
	if (status != PM_OK)
		return status;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		status = pm_free_read(marks, &ram, fd, path, order,
		    &cli_fault);
	else
		status = pm_fault_set(&cli_fault, PM_ERR_READ, path, "%s",
		    strerror(errno));
	if (fd >= 0)
		close(fd);
	pm_ram_close(&ram);
	marked = marks->pages;
	return status;
}

/* Both say what is free: a page that one of them names is left out. */
static enum pm_status
find_all(struct pm_source *source, const struct pm_source *within,
    struct pm_free *marks)
{
	enum pm_status status = PM_OK;

	if (free_options.bitmap != NULL)
		status = free_find(NULL, within, marks);
	if (status == PM_OK && source != NULL)
		status = find_in_guest(source, marks);
	marked = marks->pages;
	return status;
}

/* Both were read from the same file, and it may have changed in between. */
static int
is_same(const struct pm_source *a, const struct pm_source *b)
{
	if (a->regions != b->regions || a->page_shift != b->page_shift)
		return 0;
	for (uint32_t i = 0; i < a->regions; i++)
		if (a->region[i].key != b->region[i].key ||
		    a->region[i].length != b->region[i].length)
			return 0;
	return 1;
}

/* What is wrong with a stream is told when it is sent. */
static struct pm_fault fault;

static struct pm_source *
look_into(const struct qemu_input *input, const struct pm_source *within)
{
	struct pm_source *source = NULL;
	enum pm_status status = guest_open_stream(&source, input, &fault);

	if (status == PM_OK && !is_same(source, within)) {
		(void)pm_fault_set(&fault, PM_ERR_REFUSED, NULL,
		    "the migration stream changed while it was read");
		source->ops->close(source);
		source = NULL;
	}
	if (source == NULL)
		cli_warn(SENT "%s", fault.text);
	return source;
}

enum pm_status
free_find_in_stream(void *arg, const struct pm_source *within,
    struct pm_free *marks)
{
	struct pm_source *source = free_options.guest != NULL
	    ? look_into(arg, within) : NULL;
	enum pm_status status = find_all(source, within, marks);

	if (status == PM_OK && source != NULL &&
	    (status = source->ops->done(source)) != PM_OK)
		(void)pm_fault_set(&cli_fault, status, fault.subject, "%s",
		    fault.text);
	if (source != NULL)
		source->ops->close(source);
	return status;
}

enum pm_status
free_leave_out(void *unused, struct pm_source **source)
{
	struct pm_free marks;
	enum pm_status status;

	(void)unused;
	if (!free_is_asked())
		return PM_OK;
	if (pm_free_open(&marks, *source) != PM_OK)
		return pm_fault_set(&cli_fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	status = find_all(free_options.guest != NULL ? *source : NULL,
	    *source, &marks);
	if (status == PM_OK)
		status = pm_source_without(source, &marks, &cli_fault);
	if (status != PM_OK)
		pm_free_close(&marks);
	return status;
}

void
free_report(void)
{
	if (free_is_asked())
		cli_count("pages_free", marked);
}
