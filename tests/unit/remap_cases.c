/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mappings that change in a stream, one case at a time; remap.c has streams
 * of chance.
 */
#include <signal.h>
#include <sys/resource.h>

#include "check.h"
#include "mapped.h"

/* A stream whose pages 4 to 7 and 12 to 15 are carried and hold something. */
static void
begin_two(void)
{
	memset(memory, 0, sizeof(memory));
	unlink(path);
	start_wire();
	begin_stream(none, PM_NEEDS_DELTA);
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	begin_pages(4);
	for (uint32_t page = 4; page < 16; page++)
		if (page < 8 || page >= 12) {
			memset(memory[page], (int)page, PAGE);
			add_page(PM_RAW, page, NULL);
		}
	put();
}

static void
test_copies(void)
{
	/* The same list again is no change, and costs nothing. */
	begin_two();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	put_end(none, generation());
	CHECK(apply(path, 1, 1) == PM_END && copied == 0);

	/* Nor does another head of that size, or a longer last mapping. */
	begin_two();
	begin_list();
	put_mapping(4, 8, CARRIED | PM_MAPPING_EXEC, "[other]");
	put_mapping(8, 9, PM_MAPPING_WRITE, "/bin/true");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 1) == PM_END && copied == 0);

	begin_two();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 20, CARRIED, "[stack]");
	put();
	begin_pages(19);
	memset(memory[19], 19, PAGE);
	add_page(PM_RAW, 19, NULL);
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied == 0);

	/* But then the table is made of what is read again. */
	unlink(path);
	CHECK(apply(path, 0, 1) == PM_END && copied == 9 * PAGE);
	CHECK(has_table());

	/* Where pages stand in another order, they are copied, once. */
	begin_two();
	for (uint64_t end = 9; end < 12; end++) {
		begin_list();
		put_mapping(4, end, CARRIED, "[heap]");
		put_mapping(12, 16, CARRIED, "[stack]");
		put();
		begin_pages(end - 1);
		memset(memory[end - 1], (int)end, PAGE);
		add_page(PM_RAW, (uint32_t)end - 1, NULL);
		put();
		put_round(generation());
	}
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied == 11 * PAGE);

	/* So they are when the head becomes longer than a page. */
	begin_two();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	for (uint64_t page = 16; page < PAGES; page++)
		put_mapping(page, page + 1, PM_MAPPING_READ, name_of(17));
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied == 8 * PAGE);

	/* The first list may come again behind another. */
	begin_two();
	begin_pages(12);
	add_run(PM_GONE, 12, 4);
	put();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put();
	put_round(generation());
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	begin_pages(12);
	memory[13][5] = 1;
	add_page(PM_RAW, 13, NULL);
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied == 0);
}

/* What comes back after it went is zeroes, and a delta is against these. */
static void
test_return(void)
{
	static const uint8_t zeroes[PAGE];

	begin_two();
	begin_pages(12);
	add_run(PM_GONE, 12, 4);
	put();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put();
	put_round(generation());
	begin_list();
	put_mapping(2, 8, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	put_round(generation());
	begin_pages(12);
	add_page(PM_SAME, 13, zeroes);
	memory[14][77] = 1;
	add_page(PM_DELTA, 14, zeroes);
	CHECK(rec->stored < 10);
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied > 0);
	CHECK(counts.gone == 4);
}

static int
is_refused(int in_place, enum pm_status wants, const char *words)
{
	enum pm_status status = apply(path, in_place, 0);

	if (status == wants && strstr(fault.text, words) != NULL)
		return 1;
	printf("# %d %s\n", status, fault.text);
	return 0;
}

static void
test_lies(void)
{
	struct pm_digest id;

	/* Pages that are carried no more, and have content. */
	begin_two();
	begin_pages(12);
	add_run(PM_GONE, 12, 3);
	put();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put_mapping(12, 16, PM_MAPPING_READ, "[stack]");
	put();
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_CORRUPT, "page 15 has content, and the "
	    "new mappings do not carry it"));
	CHECK(access(path, F_OK) != 0);

	/* A page of a mapping that went. */
	begin_two();
	begin_pages(12);
	add_run(PM_ZERO, 12, 4);
	put();
	begin_list();
	put_mapping(4, 8, CARRIED, "[heap]");
	put();
	begin_pages(12);
	memory[12][0] = 1;
	add_page(PM_RAW, 12, NULL);
	put();
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_CORRUPT, "no place in the file"));

	/* A round that leads elsewhere, behind a new list. */
	begin_two();
	begin_list();
	put_mapping(4, 9, CARRIED, "[heap]");
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	id = generation();
	id.low++;
	put_round(id);
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_MISMATCH, "leads to generation "));

	begin_two();
	begin_list();
	put_mapping(4, 8, CARRIED, "");
	put_mapping(12, PAGES + 1, CARRIED, "");
	put();
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_CORRUPT, "lies outside the region"));

	begin_two();
	begin_list();
	put_mapping(12, 16, CARRIED, "");
	put_mapping(4, 8, CARRIED, "");
	put();
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_CORRUPT, "mappings descend"));

	begin_two();
	begin_list();
	put();
	put_end(none, generation());
	CHECK(is_refused(0, PM_ERR_REFUSED, "without its mappings"));

	/* The last list stands before END, and counts. */
	begin_two();
	begin_pages(4);
	add_run(PM_GONE, 4, 4);
	put();
	begin_list();
	put_mapping(12, 16, CARRIED, "[stack]");
	put();
	put_end(none, generation());
	CHECK(apply(path, 0, 0) == PM_END && copied == 4 * PAGE);
}

/* In place a list may be told again, and not change. */
static void
test_in_place(void)
{
	struct pm_digest from;

	for (int change = 0; change < 2; change++) {
		begin_two();
		from = generation();
		put_end(none, from);
		CHECK(apply(path, 0, 0) == PM_END);
		start_wire();
		begin_stream(from, 0);
		for (int i = 0; i < 2; i++) {
			begin_list();
			put_mapping(4, 8, CARRIED, "[heap]");
			put_mapping(12, 16, CARRIED, i == 0 || !change
			    ? "[stack]" : "[cash]");
			put();
			begin_pages(5);
			memory[5][0]++;
			add_page(PM_RAW, 5, NULL);
			put();
		}
		put_end(from, generation());
		if (change)
			CHECK(is_refused(1, PM_ERR_REFUSED, "which --in-place "
			    "cannot follow"));
		else
			CHECK(apply(path, 1, 0) == PM_END);
	}
	strcat(path, ".pm-torn");
	CHECK(unlink(path) == 0);
	path[strlen(path) - 8] = '\0';
}

/*
 * A window that slides leaves slots of no page behind.  The file is not to
 * grow beyond what it may.
 */
static void
test_window(void)
{
	struct rlimit whole, limit;

	if (getrlimit(RLIMIT_FSIZE, &whole) != 0)
		return;
	memset(memory, 0, sizeof(memory));
	unlink(path);
	start_wire();
	begin_stream(none, 0);
	for (uint32_t page = 0; page + 2 <= PAGES; page++) {
		begin_list();
		put_mapping(page, page + 2, CARRIED, "");
		put();
		begin_pages(page);
		memset(memory[page], 1, PAGE);
		memset(memory[page + 1], 2, PAGE);
		add_page(PM_RAW, page, NULL);
		add_page(PM_RAW, page + 1, NULL);
		put();
		put_round(generation());
		begin_pages(page);
		add_run(PM_GONE, page, page + 2 == PAGES ? 2 : 1);
		put();
	}
	put_end(none, generation());
	limit = whole;
	limit.rlim_cur = 12 * PAGE;
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	CHECK(apply(path, 0, 0) == PM_END && copied > 0);
	CHECK(setrlimit(RLIMIT_FSIZE, &whole) == 0);
	signal(SIGXFSZ, SIG_DFL);
}

/* One page of a process that is too large for memory, over what it was. */
static void
put_far(uint64_t page, int was, int is, struct pm_digest *id)
{
	uint8_t *content = rec->payload;
	struct pm_digest old;

	begin_pages(page);
	memset(content, was, PAGE);
	old = pm_hash_page(pm_hash_content(content, PAGE), process.key, page);
	memset(content, is, PAGE);
	rec->stored = rec->decoded = PAGE;
	rec->entry[rec->entries++] = pm_entry_of(0, PM_RAW, PAGE);
	rec->digest = pm_hash_page(pm_hash_content(content, PAGE),
	    process.key, page);
	*id = pm_digest_add(pm_digest_subtract(*id, old), rec->digest);
	put();
}

/*
 * Each other page of a mapping would stand elsewhere: more pieces than there
 * may be mappings.
 */
static void
test_pieces(void)
{
	uint64_t pages = PM_MAPPINGS_MAX + 5000, length = process.length;
	struct pm_digest id;

	unlink(path);
	start_wire();
	process.length = pages * PAGE;
	begin_stream(none, 0);
	begin_list();
	for (uint64_t page = 0; page < pages; page += 2)
		put_mapping(page, page + 1, CARRIED, "");
	put();
	id = pm_layout_id(&process, 1);
	put_far(2, 0, 1, &id);
	begin_list();
	put_mapping(0, pages, CARRIED, "");
	put();
	put_far(2, 1, 2, &id);
	put_far(pages - 1, 0, 3, &id);
	put_round(id);
	put_end(none, id);
	CHECK(apply(path, 0, 0) == PM_END && copied == PAGE);
	process.length = length;
}

int
main(int argc, char *argv[])
{
	start_mapped(argc, argv);
	test_copies();
	test_return();
	test_lies();
	test_in_place();
	test_window();
	test_pieces();
	end_mapped();
	return check_done();
}
