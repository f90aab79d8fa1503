/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "status.h"

const char *
pm_status_text(enum pm_status status)
{
	switch (status) {
	case PM_OK:
		return "success";
	case PM_END:
		return "end of stream";
	case PM_ERR_READ:
	case PM_ERR_WRITE:
	case PM_ERR_SYSTEM:
		return strerror(errno);
	case PM_ERR_TRUNCATED:
		return "stream ends early";
	case PM_ERR_CORRUPT:
		return "stream is corrupt";
	case PM_ERR_VERSION:
		return "stream needs a newer version of this program";
	case PM_ERR_MISMATCH:
		return "target is not what the stream starts from";
	case PM_ERR_REFUSED:
		return "refused";
	case PM_ERR_PEER:
		return "the other end failed";
	}
	return "unknown status";
}
