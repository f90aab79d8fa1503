/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "qemu.h"
#include "qemu_tail.h"

#define BEFORE	6u		/* bytes before the JSON: 0, 6, length */

/* A brace stands at that byte; what is before it may announce its length. */
static void
look(struct pm_qemu_tail *tail, const uint8_t before[BEFORE], uint64_t at)
{
	if (before[0] != PM_QEMU_EOF || before[1] != PM_QEMU_VMDESCRIPTION)
		return;
	tail->end[tail->ends++ % PM_QEMU_TAIL_ENDS] = at +
	    pm_qemu_get(before + 2, 4);
}

void
pm_qemu_tail_take(struct pm_qemu_tail *tail, const uint8_t *in, size_t size)
{
	uint8_t edge[2 * BEFORE];
	size_t some = size < BEFORE ? size : BEFORE;

	memcpy(edge, tail->last, BEFORE);
	memcpy(edge + BEFORE, in, some);
	for (size_t i = 0; i < some; i++)
		if (in[i] == '{')
			look(tail, edge + i, tail->size + i);
	for (size_t i = some; i < size; i++) {
		const uint8_t *next = memchr(in + i, '{', size - i);

		if (next == NULL)
			break;
		i = (size_t)(next - in);
		look(tail, next - BEFORE, tail->size + i);
	}
	memcpy(tail->last, size < BEFORE ? edge + size : in + size - BEFORE,
	    BEFORE);
	tail->size += size;
}

int
pm_qemu_tail_is_whole(const struct pm_qemu_tail *tail, int has_footers)
{
	const uint8_t *last = tail->last;

	if (tail->size > 0 && last[BEFORE - 1] == PM_QEMU_EOF &&
	    (!has_footers || (last[0] == PM_QEMU_FOOTER && last[1] == 0 &&
	    last[2] == 0)))
		return 1;
	for (unsigned i = 0; i < PM_QEMU_TAIL_ENDS && i < tail->ends; i++)
		if (tail->end[i] == tail->size)
			return 1;
	return 0;
}
