/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * meter.h - counters that one thread advances and another may look at.
 */
#ifndef PM_METER_H
#define PM_METER_H

#include <stdatomic.h>
#include <stdint.h>

struct pm_meter {
	_Atomic uint64_t bytes;		/* of the stream, as it stands there */
	_Atomic uint64_t records;
	_Atomic uint64_t pages;		/* mentioned, whatever their kind */
};

/* Only the thread that owns the meter calls this. */
static inline void
pm_meter_add(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value +
	    atomic_load_explicit(counter, memory_order_relaxed),
	    memory_order_relaxed);
}

static inline uint64_t
pm_meter_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)counter,
	    memory_order_relaxed);
}

#endif /* PM_METER_H */
