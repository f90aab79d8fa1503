/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "check.h"
#include "ledger.h"

/* Of an address space of 128 TiB, or of what has room in one of 4 GiB. */
#define PAGES	(UINT64_C(1) << (sizeof(void *) == 8 ? 35 : 26))
#define TRIES	20000

static struct pm_digest
digest(uint64_t n)
{
	return (struct pm_digest){ n * 2654435761u + 1, ~n };
}

/* Some near each other, some at the far ends. */
static uint64_t
some_page(uint64_t n)
{
	switch (n % 4) {
	case 0:
		return n % 97;
	case 1:
		return PAGES - 1 - n % 97;
	case 2:
		return (n % 89) * PM_LEDGER_LEAF;
	default:
		return (n % 83) * (PAGES / 83) + n % 3;
	}
}

static void
test_random(void)
{
	static struct {
		uint64_t page;
		struct pm_digest is;
	} model[512];
	struct pm_ledger ledger;
	size_t count = 0, wrong = 0, held = 0;
	uint64_t n = 1;

	CHECK(pm_ledger_open(&ledger, PAGES) == PM_OK);
	for (int i = 0; i < TRIES; i++) {
		struct pm_digest is = { 0, 0 };
		uint64_t page;
		size_t at = 0;

		n = n * 6364136223846793005u + 1442695040888963407u;
		page = some_page(n >> 33);
		if ((n >> 20 & 3) != 0)
			is = digest(n);
		while (at < count && model[at].page != page)
			at++;
		if (at == count) {
			if (count == sizeof(model) / sizeof(model[0]))
				continue;
			wrong += !pm_digest_is_zero(pm_ledger_get(&ledger,
			    page));
			model[count++].page = page;
		}
		wrong += pm_ledger_set(&ledger, page, is) != PM_OK;
		model[at].is = is;
	}
	for (size_t at = 0; at < count; at++) {
		wrong += !pm_digest_equal(pm_ledger_get(&ledger,
		    model[at].page), model[at].is);
		held += !pm_digest_is_zero(model[at].is);
	}
	CHECK(wrong == 0);
	CHECK(count > 300 && held > 200 && ledger.held.count == held);
	pm_ledger_close(&ledger);
}

static void
test_half_zero(void)
{
	struct pm_digest low = { 1, 0 }, high = { 0, 1 };
	struct pm_ledger ledger;

	/* A hash may be 0 in half. */
	CHECK(pm_ledger_open(&ledger, 10) == PM_OK);
	CHECK(pm_ledger_set(&ledger, 9, low) == PM_OK);
	CHECK(pm_digest_equal(pm_ledger_get(&ledger, 9), low));
	CHECK(pm_ledger_set(&ledger, 9, high) == PM_OK);
	CHECK(pm_digest_equal(pm_ledger_get(&ledger, 9), high));
	CHECK(pm_digest_is_zero(pm_ledger_get(&ledger, 0)));
	pm_ledger_close(&ledger);
}

int
main(void)
{
	test_random();
	test_half_zero();
	return check_done();
}
