/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every set of loops that this processor can run gives the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kernel.h"
#include "record.h"

#if PM_KERNEL_X86
#include <cpuid.h>
#endif

#define CANARY	64u

static uint8_t old[PM_PAGE_MAX], new[PM_PAGE_MAX];
static uint8_t out[2 * PM_PAGE_MAX + CANARY], want[2 * PM_PAGE_MAX];

/* Pages as memory has them: equal, sparse, dense, in runs, or unrelated. */
static void
make_pages(size_t size)
{
	unsigned kind = (unsigned)rand() % 6;

	for (size_t i = 0; i < size; i++)
		old[i] = new[i] = (uint8_t)rand();
	if (kind == 1)
		for (unsigned i = (unsigned)rand() % 40; i > 0; i--)
			new[(size_t)rand() % size]++;
	if (kind == 2)
		for (size_t i = 0; i < size; i++)
			new[i] ^= (uint8_t)(rand() % 8 == 0);
	if (kind == 3)
		for (unsigned i = (unsigned)rand() % 20; i > 0; i--) {
			size_t from = (size_t)rand() % size;

			for (size_t run = (size_t)rand() % 700; run > 0 &&
			    from < size; run--)
				new[from++] ^= 0x55;
		}
	if (kind == 4)
		for (size_t i = 0; i < size; i++)
			new[i] = (uint8_t)rand();
	if (kind == 5)
		for (size_t i = 0; i < size; i++)
			new[i] ^= 0xff;
}

/* As portable does it, in any room, and nothing is written behind that. */
static int
encodes_alike(const struct pm_kernel *kernel, size_t size)
{
	size_t most = 2 * size;
	size_t used = pm_kernel_portable.encode(old, new, size, want, most);
	size_t rooms[] = { most, used, used - (used > 0), used / 2,
	    (size_t)rand() % (used + 20), size / 4 * 3 };

	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		size_t got;

		memset(out + rooms[i], 0xa5, CANARY);
		got = kernel->encode(old, new, size, out, rooms[i]);
		if (used <= rooms[i] ? got != used || memcmp(out, want, used)
		    != 0 : got != rooms[i] + 1)
			return 0;
		for (size_t k = 0; k < CANARY; k++)
			if (out[rooms[i] + k] != 0xa5)
				return 0;
	}
	return 1;
}

static int
hashes_alike(const struct pm_kernel *kernel, size_t size)
{
	size_t some = (size_t)rand() % (size + 1);
	uint64_t is[2], wants[2];

	kernel->hash(new, some, is);
	pm_kernel_portable.hash(new, some, wants);
	return is[0] == wants[0] && is[1] == wants[1];
}

/* One bit anywhere is seen. */
static int
sees_zeroes(const struct pm_kernel *kernel, size_t size)
{
	size_t at = (size_t)rand() % size;
	int good;

	memset(new, 0, size);
	good = kernel->is_zero(new, size);
	new[at] = (uint8_t)(1u << rand() % 8);
	return good && !kernel->is_zero(new, size);
}

static int
agrees(const struct pm_kernel *kernel)
{
	srand(5);
	for (unsigned i = 0; i < 3000; i++) {
		size_t size = (size_t)4096 << (i % 8 == 0 ? rand() % 5 : 0);

		make_pages(size);
		if (!encodes_alike(kernel, size) ||
		    !hashes_alike(kernel, size) || !sees_zeroes(kernel, size))
			return 0;
	}
	return 1;
}

/*
 * The processor knows whether upper halves of its wide registers are in
 * use; they must not be when a kernel is done.  -1: it does not tell.
 */
static int
wide_registers_are_used(void)
{
#if PM_KERNEL_X86
	unsigned a, b, c, d;

	if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 4) != 0 &&
	    __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) != 0) {
		__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
		return (a & 4) != 0;
	}
#endif
	return -1;
}

static int
leaves_narrow(const struct pm_kernel *kernel)
{
	uint64_t got[2];

	make_pages(4096);
	memset(new, 1, 4096);
	kernel->hash(new, 4096, got);
	if (wide_registers_are_used() == 1)
		return 0;
	(void)kernel->is_zero(new, 4096);
	if (wide_registers_are_used() == 1)
		return 0;
	(void)kernel->encode(old, new, 4096, out, 8192);
	return wide_registers_are_used() != 1;
}

int
main(void)
{
	const struct pm_kernel *kernel = NULL;
	unsigned sets = 0;

	for (; pm_kernel_at(sets) != NULL; sets++) {
		kernel = pm_kernel_at(sets);
		printf("# %s\n", kernel->name);
		CHECK(agrees(kernel));
		CHECK(leaves_narrow(kernel));
	}
	CHECK(kernel == &pm_kernel_portable);
	CHECK(pm_kernel_best() == pm_kernel_at(0));
	CHECK(pm_kernel_at(sets + 1) == NULL);
	return check_done();
}
