/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "version.h"

const char *
pm_version(void)
{
	return PM_VERSION;
}
