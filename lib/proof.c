/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>
#include <stdlib.h>

#include "codec.h"
#include "proof.h"

struct pm_proof {
	struct pm_decoders *decoders;
	uint8_t *spare;
};

struct pm_proof *
pm_proof_new(void)
{
	struct pm_proof *proof = calloc(1, sizeof(*proof));

	if (proof == NULL)
		return NULL;
	proof->decoders = pm_decoders_new();
	proof->spare = pm_record_buffer();
	if (proof->decoders == NULL || proof->spare == NULL) {
		pm_proof_free(proof);
		return NULL;
	}
	return proof;
}

void
pm_proof_free(struct pm_proof *proof)
{
	if (proof == NULL)
		return;
	pm_decoders_free(proof->decoders);
	free(proof->spare);
	free(proof);
}

enum pm_status
pm_proof_check(struct pm_proof *proof, struct pm_record *rec,
    const struct pm_region *region, int *leans, struct pm_fault *fault)
{
	size_t size = (size_t)1 << rec->page_shift;
	struct pm_digest digest = { 0, 0 };
	enum pm_status status;
	uint32_t from = 0;

	*leans = 0;
	status = pm_decoders_undo(proof->decoders, rec, &proof->spare, fault);
	if (status != PM_OK)
		return status;
	for (uint32_t i = 0; i < rec->entries; i++) {
		enum pm_kind kind = pm_entry_kind(rec->entry[i]);

		*leans |= kind == PM_DELTA || kind == PM_SAME;
		if (kind == PM_RAW && !*leans)
			digest = pm_digest_add(digest, pm_hash_page(
			    pm_hash_content(rec->payload + from, size),
			    region->key, rec->first + rec->entry[i].page));
		from += pm_entry_bytes(rec->entry[i]);
	}
	if (*leans || pm_digest_equal(digest, rec->digest))
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_CORRUPT, NULL,
	    "region %.64s, pages %" PRIu64 " to %" PRIu64
	    ": were damaged on the way", region->name, rec->first,
	    rec->first + pm_record_span(rec) - 1);
}
