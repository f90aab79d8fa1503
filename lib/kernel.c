/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel.h"

static int
can_run(const struct pm_kernel *kernel)
{
#if PM_KERNEL_X86
	if (kernel == &pm_kernel_avx512)
		return __builtin_cpu_supports("avx512bw") &&
		    __builtin_cpu_supports("bmi") &&
		    __builtin_cpu_supports("popcnt");
	if (kernel == &pm_kernel_avx2)
		return __builtin_cpu_supports("avx2") &&
		    __builtin_cpu_supports("bmi") &&
		    __builtin_cpu_supports("popcnt");
#endif
	(void)kernel;
	return 1;
}

/* The best first; each is as long as it needs to be to end with portable. */
static const struct pm_kernel *const sets[] = {
#if PM_KERNEL_X86
	&pm_kernel_avx512, &pm_kernel_avx2, &pm_kernel_sse2,
#endif
	&pm_kernel_portable,
};

#define SETS	(sizeof(sets) / sizeof(sets[0]))

/* Cheap enough for every page: a processor's features are a word in memory. */
const struct pm_kernel *
pm_kernel_best(void)
{
	unsigned at = 0;

	while (!can_run(sets[at]))
		at++;
	return sets[at];
}

const struct pm_kernel *
pm_kernel_at(unsigned at)
{
	for (unsigned i = 0; i < SETS; i++)
		if (can_run(sets[i]) && at-- == 0)
			return sets[i];
	return NULL;
}
