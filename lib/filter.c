/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "filter.h"

enum pm_status
pm_filter_run(struct pm_reader *in, struct pm_writer *out, pm_step *step,
    void *state, struct pm_record *rec)
{
	enum pm_status status;

	while ((status = pm_reader_next(in, rec)) == PM_OK) {
		status = step(rec, state, in->fault);
		if (status != PM_OK) {
			if (in->fault != NULL)
				pm_fault_place(in->fault, rec->number,
				    rec->offset);
			return status;
		}
		if ((status = pm_writer_put(out, rec)) != PM_OK)
			return status;
	}
	return status == PM_END ? PM_OK : status;
}
