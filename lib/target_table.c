/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "target.h"

int
pm_target_trust(struct pm_target *target, struct pm_table *table)
{
	struct pm_table_stamp stamp;
	struct stat st;

	if (!target->trust_table || fstat(target->old.fd, &st) != 0 ||
	    pm_table_open(table, target->table_path, NULL) != PM_OK)
		return 0;
	stamp = pm_table_stamp_of(&st);
	if (pm_table_stamp_equal(&stamp, &table->stamp) &&
	    pm_layout_equal(table->layout, target->old.layout) &&
	    pm_digest_equal(pm_layout_id(table->layout->region,
	    table->layout->regions), pm_layout_id(target->old.layout->region,
	    target->old.layout->regions)))
		return 1;
	pm_table_close(table);
	return 0;
}

enum pm_status
pm_target_begin_table(struct pm_target *target)
{
	if (!target->trust_table)
		return PM_OK;
	if (pm_outfile_open(&target->table_file, target->table_path) != PM_OK)
		return pm_fault_set(target->fault, PM_ERR_WRITE,
		    target->table_path, "%s", strerror(errno));
	return pm_table_begin(&target->table, target->table_file.fd,
	    target->table_path, target->image.layout, target->fault);
}

void
pm_target_drop_table(struct pm_target *target)
{
	pm_outfile_drop(&target->table_file);
	target->table.fd = -1;		/* it was that of the file */
	pm_table_close(&target->table);
}

/* A table that cannot be kept is done without: the generation stands. */
void
pm_target_commit_table(struct pm_target *target)
{
	struct pm_table_stamp stamp;
	struct stat st;

	if (target->table.fd < 0)
		return;
	target->table.fault = NULL;
	if (fstat(target->image.fd, &st) == 0) {
		stamp = pm_table_stamp_of(&st);
		if (pm_table_seal(&target->table, target->id, &stamp)
		    == PM_OK)
			(void)pm_outfile_commit(&target->table_file);
	}
	pm_target_drop_table(target);
}
