/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pagecache.h"
#include "record.h"

#define SLOTS_MAX	24

/* The same cache, told plainly: a list, the page used last in front. */
struct model {
	unsigned slots, used;
	struct { uint64_t key, page, round; uint8_t content; }
	    item[SLOTS_MAX], scratch;
	uint64_t round;
};

static unsigned
model_find(const struct model *model, uint64_t key, uint64_t page)
{
	unsigned at = 0;

	while (at < model->used && (model->item[at].key != key ||
	    model->item[at].page != page))
		at++;
	return at;
}

static void
model_remove(struct model *model, unsigned at)
{
	model->used--;
	memmove(&model->item[at], &model->item[at + 1],
	    (model->used - at) * sizeof(model->item[0]));
}

static void
model_use(struct model *model, unsigned at)
{
	model->scratch = model->item[at];
	model_remove(model, at);
	memmove(&model->item[1], &model->item[0],
	    model->used++ * sizeof(model->item[0]));
	model->item[0] = model->scratch;
	model->item[0].round = model->round;
}

/* 0 when it is not admitted. */
static int
model_admit(struct model *model, uint64_t key, uint64_t page, int *evicted)
{
	*evicted = 0;
	if (model->used == model->slots) {
		if (model->slots == 0 ||
		    model->item[model->used - 1].round == model->round)
			return 0;
		model->used--;
		*evicted = 1;
	}
	model->item[model->used].key = key;
	model->item[model->used].page = page;
	model->used++;
	model_use(model, model->used - 1);
	return 1;
}

/* One operation on both; 0 when they differ. */
static int
agree_on(struct pm_pagecache *cache, struct model *model, int what)
{
	uint64_t key = (uint64_t)(rand() % 2), page = (uint64_t)(rand() % 30);
	unsigned at = model_find(model, key, page);
	uint8_t *content = NULL, mark = (uint8_t)rand();
	int evicted = 0, evicts = 0;

	if (what == 0) {
		model->round++;
		pm_pagecache_begin_round(cache);
		return 1;
	}
	if (what == 1) {
		if (at < model->used)
			model_remove(model, at);
		pm_pagecache_remove(cache, key, page);
		return pm_pagecache_find(cache, key, page) == NULL;
	}
	if (at == model->used) {
		if (pm_pagecache_use(cache, key, page) != NULL)
			return 0;
		content = pm_pagecache_admit(cache, key, page, &evicted);
		if (model_admit(model, key, page, &evicts) !=
		    (content != NULL) || evicted != evicts)
			return 0;
	} else {
		content = what == 2 ? pm_pagecache_find(cache, key, page)
		    : pm_pagecache_use(cache, key, page);
		if (content == NULL || *content != model->item[at].content)
			return 0;
		if (what != 2) {
			model_use(model, at);
			at = 0;
		}
	}
	if (content != NULL) {
		memset(content, mark, 4096);
		at = model_find(model, key, page);
		model->item[at].content = mark;
	}
	return 1;
}

/* True when the cache holds what the model does, and nothing else. */
static int
hold_the_same(struct pm_pagecache *cache, const struct model *model)
{
	unsigned found = 0;
	uint64_t key, page;

	for (uint32_t i = 0; i < pm_pagecache_slots(cache); i++) {
		const uint8_t *content = pm_pagecache_at(cache, i, &key,
		    &page);
		unsigned at;

		if (content == NULL)
			continue;
		at = model_find(model, key, page);
		if (at == model->used ||
		    content[4095] != model->item[at].content)
			return 0;
		found++;
	}
	return found == model->used;
}

static int
agrees_with_the_model(unsigned slots, int operations)
{
	struct pm_pagecache *cache = pm_pagecache_new(slots, 12);
	struct model model = { .slots = slots };
	int ok = cache != NULL;

	for (int i = 0; ok && i < operations; i++) {
		int what = rand() % 40;

		if (i % 1000 == 999) {
			pm_pagecache_clear(cache);
			model.used = 0;
		}
		ok = agree_on(cache, &model, what < 5 ? what : 3) &&
		    hold_the_same(cache, &model);
	}
	pm_pagecache_free(cache);
	return ok;
}

/* A working set twice the cache, round after round: half of it hits. */
static int
large_working_set_hits(void)
{
	struct pm_pagecache *cache = pm_pagecache_new(16, 12);
	int hits = 0, evicted;

	for (int round = 0; cache != NULL && round < 10; round++) {
		pm_pagecache_begin_round(cache);
		for (uint64_t page = 0; page < 32; page++)
			if (pm_pagecache_use(cache, 1, page) != NULL)
				hits++;
			else
				pm_pagecache_admit(cache, 1, page, &evicted);
	}
	pm_pagecache_free(cache);
	return hits >= 9 * 8;
}

int
main(void)
{
	srand(3);
	CHECK(agrees_with_the_model(0, 2000));
	CHECK(agrees_with_the_model(1, 5000));
	CHECK(agrees_with_the_model(2, 5000));
	CHECK(agrees_with_the_model(7, 20000));
	CHECK(agrees_with_the_model(SLOTS_MAX, 20000));
	CHECK(large_working_set_hits());
	/* No more than 5 % besides the pages. */
	CHECK(pm_pagecache_memory(16384, 12) <= (UINT64_C(16384) << 12) / 100
	    * 105);
	CHECK(pm_pagecache_memory(UINT32_MAX, 16) > UINT64_C(1) << 47);
	return check_done();
}
