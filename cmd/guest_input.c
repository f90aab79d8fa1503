/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli.h"
#include "guest_input.h"
#include "image_options.h"

enum pm_status
guest_open_stream(struct pm_source **source, const struct qemu_input *input,
    struct pm_fault *fault)
{
	if (!input->is_file)
		return pm_fault_set(fault, PM_ERR_REFUSED, NULL,
		    "a migration stream is looked into only in a file, and "
		    "unpacked");
	return pm_source_open_migration(source, input->fd, input->begin,
	    image_page_shift(), fault);
}

struct pm_source *
guest_open(const char *path)
{
	static struct qemu_input input;
	struct pm_source *source;

	if (!qemu_find(&input, path))
		return image_open(path);
	if (image_options.regions != NULL)
		cli_die(CLI_USAGE, "--region: %s is a migration stream", path);
	cli_check(guest_open_stream(&source, &input, &cli_fault));
	return source;
}
