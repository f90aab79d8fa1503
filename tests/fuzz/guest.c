/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest whose memory is not what its kernel wrote: it is read within its
 * bounds, not without end, and what is found lies within it.
 *
 * The first byte says of what sort the guest is, and what follows: changes
 * of what it has in memory, 12 bytes each, a note's text, or lines of one
 * that stand before the right ones.
 */
#include "../unit/made_guest.h"

#define SORTS		8u
#define CHANGE		12u
#define CHANGES		64u
#define MOST		(UINT64_C(2) << 30)	/* bytes read */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct undo {
	uint64_t at;
	uint8_t bytes[8];
};

static struct made all[SORTS];

static struct made *
made_of(unsigned sort)
{
	struct made *made = &all[sort];

	if (made->ram != NULL)
		return made;
	*made = (struct made){
		.form = sort % 4 > 1 ? MADE_PARTS : (enum made_form)(sort % 4),
		.levels = sort % 4 == 3 ? 5 : 4, .nodes = 1 + sort / 4,
		.is_unsigned = sort % 2, .seed = sort,
	};
	made_open(made);
	return made;
}

/* Of what a pointer may be one. */
static uint64_t
pointer(struct made *made, uint8_t kind, uint64_t value)
{
	switch (kind) {
	case 1:
		return made_image(made, value % MADE_BYTES);
	case 2:
		return made_direct(made, value % MADE_BYTES);
	case 3:
		return made_page(made, value % MADE_PAGES) + PAGE_LRU;
	default:
		return value % MADE_BYTES | 0x63;
	}
}

/* Where in what part, how many bytes, and what of. */
static void
change(struct made *made, const uint8_t *data, struct undo *undo)
{
	unsigned number = data[0] % MADE_AREAS, width = 1u << (data[3] & 3);
	uint64_t words = (made_area[number].end - made_area[number].from) / 8;
	uint64_t value = pm_get_le(data + 4, 8), within = 0;

	undo->at = made_area[number].from + pm_get_le(data + 1, 2) % words *
	    8;
	if ((data[3] & 4) != 0) {
		value = pointer(made, data[3] >> 3 & 3, value);
		width = 8;
	} else
		within = data[3] >> 3 & (8 - width);
	memcpy(undo->bytes, made->ram + undo->at, 8);
	made_put(made, undo->at + within, value, width);
	made->is_data[undo->at >> 12] = 1;
}

static void
look(struct made *made)
{
	struct pm_guest guest;
	struct pm_fault fault;
	enum pm_status status = made_find(made, &guest, &fault);

	if (!made_is_sane(made, &guest, status, &fault) || made->bytes > MOST)
		abort();
	pm_guest_close(&guest);
}

static void
look_at_changes(struct made *made, const uint8_t *data, size_t size)
{
	struct undo undo[CHANGES];
	size_t changes = 0;

	for (; size >= CHANGE && changes < CHANGES; size -= CHANGE) {
		change(made, data, &undo[changes++]);
		data += CHANGE;
	}
	look(made);
	while (changes > 0) {
		changes--;
		memcpy(made->ram + undo[changes].at, undo[changes].bytes, 8);
	}
}

/* A text behind the first line, or all of it. */
static void
look_at_note(struct made *made, const uint8_t *data, size_t size, int is_all)
{
	const char *rest = strchr(made->note, '\n') + 1;
	uint8_t *page = made->ram + MADE_PLAIN;
	size_t before = is_all ? 0 : (size_t)(rest - made->note), room;

	memset(page, 0, 4096);
	memcpy(page, made->note, before);
	if (size > 4096 - before)
		size = 4096 - before;
	memcpy(page + before, data, size);
	room = 4096 - before - size;
	if (room > strlen(rest))
		room = strlen(rest);
	if (!is_all)
		memcpy(page + before + size, rest, room);
	memset(made->ram + MADE_ELF, 0, 8192);
	look(made);
	made_put_note(made);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct made *made;

	if (size == 0)
		return 0;
	made = made_of(data[0] % SORTS);
	if (data[0] / SORTS % 4 < 2)
		look_at_changes(made, data + 1, size - 1);
	else
		look_at_note(made, data + 1, size - 1, data[0] / SORTS % 4 ==
		    3);
	return 0;
}
