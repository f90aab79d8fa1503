/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"

enum pm_status
pm_fault_set(struct pm_fault *fault, enum pm_status status,
    const char *subject, const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	if (fault == NULL ||
	    __atomic_exchange_n(&fault->taken, 1, __ATOMIC_ACQ_REL) != 0)
		return status;
	snprintf(fault->subject, sizeof(fault->subject), "%s",
	    subject != NULL ? subject : "");
	va_start(ap, fmt);
	vsnprintf(fault->text, sizeof(fault->text), fmt, ap);
	va_end(ap);
	fault->error = status == PM_ERR_READ || status == PM_ERR_WRITE ||
	    status == PM_ERR_SYSTEM ? error : 0;
	errno = error;
	return status;
}

void
pm_fault_place(struct pm_fault *fault, uint64_t record, uint64_t offset)
{
	char text[sizeof(fault->text)];

	if (fault->placed)
		return;
	fault->placed = 1;
	memcpy(text, fault->text, sizeof(text));
	if (snprintf(fault->text, sizeof(fault->text),
	    "record %" PRIu64 " at byte %" PRIu64 ": %s", record, offset,
	    text) < 0)
		fault->text[0] = '\0';
}
