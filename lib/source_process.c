/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "freeze.h"
#include "process.h"
#include "source.h"

struct frozen {
	struct pm_source source;	/* first: what the ops are given */
	struct pm_freeze freeze;
	struct pm_process process;
};

static struct frozen *
frozen_of(struct pm_source *source)
{
	return (struct frozen *)source;
}

static enum pm_status
span_of(struct pm_source *source, uint32_t region, uint64_t page,
    struct pm_span *span)
{
	(void)region;
	return pm_process_span(&frozen_of(source)->process, page, span);
}

static enum pm_status
read_pages(struct pm_source *source, uint32_t region, uint64_t page,
    uint32_t pages, uint8_t *out, uint32_t *got, struct pm_fault *fault)
{
	(void)region;
	return pm_process_read(&frozen_of(source)->process, page, pages, out,
	    got, fault);
}

static enum pm_status
judge(struct pm_source *source)
{
	struct frozen *frozen = frozen_of(source);

	if (!pm_freeze_holds(&frozen->freeze)) {
		errno = ESRCH;
		return pm_process_fail(&frozen->process, source->fault,
		    "freeze");
	}
	source->frozen_us = pm_freeze_end(&frozen->freeze);
	return PM_OK;
}

static void
close_process(struct pm_source *source)
{
	struct frozen *frozen = frozen_of(source);

	(void)pm_freeze_end(&frozen->freeze);
	pm_process_close(&frozen->process);
	free(frozen);
}

static const struct pm_source_ops process_ops = {
	span_of, read_pages, NULL, judge, close_process
};

static enum pm_status
open_frozen(struct frozen *frozen, const char *const *glob)
{
	struct pm_source *source = &frozen->source;
	struct pm_process *process = &frozen->process;
	enum pm_status status;

	status = pm_process_open(process, frozen->freeze.pid,
	    frozen->freeze.through, source->fault);
	if (status == PM_OK)
		status = pm_process_list(process, glob);
	source->page_shift = process->page_shift;
	source->regions = 1;
	source->region = &process->region;
	source->mappings = process->maps.count;
	source->mapping = process->mapping;
	return status;
}

enum pm_status
pm_source_open_process(struct pm_source **source, pid_t pid,
    const struct pm_process_options *options, struct pm_fault *fault)
{
	struct frozen *frozen = calloc(1, sizeof(*frozen));
	enum pm_status status;

	*source = NULL;
	if (frozen == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	frozen->source.ops = &process_ops;
	frozen->source.fault = fault;
	frozen->process.mem = frozen->process.pagemap.fd =
	    frozen->process.file.fd = -1;
	status = pm_freeze_begin(&frozen->freeze, pid, PM_FREEZE_MS, fault);
	if (status == PM_OK)
		status = open_frozen(frozen, options->glob);
	*source = &frozen->source;
	if (status == PM_OK && options->frozen != NULL)
		status = options->frozen(options->arg, source);
	if (status == PM_OK && options->spool != NULL)
		status = pm_source_spool(source, options->spool, fault);
	if (status != PM_OK) {
		(*source)->ops->close(*source);
		*source = NULL;
	}
	return status;
}
