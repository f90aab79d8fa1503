/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the guest finder that stand alone: the text of a note, and
 * addresses by page tables.
 */
#include "check.h"
#include "guest_info.h"
#include "guest_space.h"
#include "made_guest.h"

static struct made made;
static struct pm_guest_info info;
static uint8_t page[PM_GUEST_INFO_BYTES];

static int
takes(const char *text, size_t size)
{
	memset(page, 0, sizeof(page));
	memcpy(page, text, size);
	return pm_guest_info_take(&info, page);
}

static int
takes_text(const char *text)
{
	return takes(text, strlen(text));
}

/* A number is that, or there is none and the value stays what it was. */
static int
is_number(const char *value, unsigned base, uint64_t expected)
{
	char text[256];
	uint64_t number = 77;

	snprintf(text, sizeof(text), "OSRELEASE=6\nKEYS=1\nKEY(a)=2\nKE=3\n"
	    "KEY=%s\nKEY=4\n", value);
	return takes_text(text) && pm_guest_info_number(&info, "KEY", base,
	    &number) == (expected != 77) && number == expected;
}

static void
test_numbers(void)
{
	CHECK(is_number("0", 10, 0));
	CHECK(is_number("0", 16, 0));
	CHECK(is_number("00012", 10, 12));
	CHECK(is_number("12", 16, 18));
	CHECK(is_number("ff", 16, 255));
	CHECK(is_number("ff", 10, 77));
	CHECK(is_number("FF", 16, 77));
	CHECK(is_number("0x10", 16, 77));
	CHECK(is_number("", 10, 77));
	CHECK(is_number("-", 10, 77));
	CHECK(is_number("--1", 10, 77));
	CHECK(is_number("+1", 10, 77));
	CHECK(is_number(" 1", 10, 77));
	CHECK(is_number("1 ", 10, 77));
	CHECK(is_number("1=2", 10, 77));
	CHECK(is_number("-1", 10, UINT64_MAX));
	CHECK(is_number("-0", 10, 0));
	CHECK(is_number("-129", 10, UINT64_MAX - 128));
	CHECK(is_number("-80", 16, UINT64_MAX - 127));
	CHECK(is_number("18446744073709551615", 10, UINT64_MAX));
	CHECK(is_number("18446744073709551616", 10, 77));
	CHECK(is_number("18446744073709551620", 10, 77));
	CHECK(is_number("184467440737095516150", 10, 77));
	CHECK(is_number("ffffffffffffffff", 16, UINT64_MAX));
	CHECK(is_number("10000000000000000", 16, 77));
	CHECK(is_number("-9223372036854775808", 10, UINT64_C(1) << 63));
	CHECK(is_number("-9223372036854775809", 10, 77));
	CHECK(is_number("-18446744073709551615", 10, 77));
	CHECK(is_number("99999999999999999999999999999999999999", 10, 77));
}

static void
test_text(void)
{
	static char lengthy[PM_GUEST_INFO_MAX + 2] = "OSRELEASE=6\n";
	uint64_t value;

	CHECK(!takes_text(""));
	CHECK(!takes_text("OSRELEASE"));
	CHECK(!takes_text("OSRELEASE="));
	CHECK(!takes_text("OSRELEASE=6.1"));
	CHECK(takes_text("OSRELEASE=\n"));
	CHECK(*pm_guest_info_find(&info, "OSRELEASE") == '\n');
	CHECK(takes_text("OSRELEASE=6.1\n\nA=1\n"));
	CHECK(strcmp(pm_guest_info_find(&info, "A"), "1\n") == 0);
	CHECK(pm_guest_info_find(&info, "") == NULL);
	CHECK(pm_guest_info_find(&info, "B") == NULL);
	CHECK(pm_guest_info_find(&info, "1") == NULL);
	CHECK(!takes_text("OSRELEASE=6.1\nA=1"));
	CHECK(!takes_text("OSRELEASE=6.1\nA=\t1\n"));
	CHECK(!takes_text("OSRELEASE=6.1\r\n"));
	CHECK(!takes_text("OSRELEASE=6.1\n\x7f\n"));
	CHECK(!takes_text("OSRELEASE=6.1\n\xff\n"));
	/* What follows the end is not looked at. */
	CHECK(takes("OSRELEASE=6\n\0A=1\n", 18));
	CHECK(info.size == 12 && pm_guest_info_find(&info, "A") == NULL);
	/* A page that is full; and one whose line goes on behind it. */
	memset(lengthy + 12, 'x', PM_GUEST_INFO_MAX - 12);
	CHECK(!takes_text(lengthy));
	lengthy[PM_GUEST_INFO_MAX - 1] = '\n';
	CHECK(takes_text(lengthy) && info.size == PM_GUEST_INFO_MAX);
	CHECK(!pm_guest_info_number(&info, "A", 10, &value));
	lengthy[PM_GUEST_INFO_MAX - 1] = 'x';
	lengthy[PM_GUEST_INFO_MAX] = '\n';
	CHECK(!takes_text(lengthy));
}

static int
leads_to(struct pm_guest_space *space, uint64_t address, uint64_t expected,
    uint64_t bytes)
{
	uint64_t physical = 0, left = 0;

	return pm_guest_space_translate(space, address, &physical, &left) ==
	    PM_OK && physical == expected && left == bytes;
}

static int
leads_nowhere(struct pm_guest_space *space, uint64_t address)
{
	uint64_t physical, left;
	uint8_t byte;

	return pm_guest_space_translate(space, address, &physical, &left) ==
	    PM_END && pm_guest_space_read(space, address, &byte, 1) == PM_END;
}

/* Where the tables have the page at an address. */
static uint64_t
find_entry(uint64_t physical)
{
	uint64_t at = MADE_TABLES;

	while (pm_get_le(made.ram + at, 8) != (physical | MADE_PRESENT))
		at += 8;
	return at;
}

static void
test_space(unsigned levels)
{
	static struct pm_guest_space space;
	struct pm_guest_memory memory;
	uint64_t value, sign, entry;
	uint8_t bytes[4096];

	made = (struct made){ .form = MADE_PARTS, .levels = levels,
	    .nodes = 1 };
	made_open(&made);
	memory = made_memory(&made);
	space = (struct pm_guest_space){ .memory = &memory, .parts = 2,
	    .levels = levels, .root = MADE_TABLES, .work = UINT64_MAX };
	memcpy(space.part, memory.part, sizeof(space.part));
	CHECK(leads_to(&space, made_image(&made, MADE_TEXT + 5),
	    MADE_TEXT + 5, MADE_LARGE - 5));
	CHECK(leads_to(&space, made_direct(&made, 0), 0, MADE_LARGE));
	CHECK(leads_to(&space, made.array + 65, MADE_ARRAY + 65, 4096 - 65));
	CHECK(leads_to(&space, made.array + 4096 + 1,
	    made_array_page(&made, 1) + 1, 4095));
	CHECK(leads_to(&space, made_page(&made, MADE_PAGES - 1),
	    MADE_HIGH + (MADE_ARRAY_HIGH - MADE_LOW) + 4096 - 64, 64));
	CHECK(leads_nowhere(&space, made_image(&made, MADE_TEXT) - 1));
	CHECK(leads_nowhere(&space, made_direct(&made, MADE_LOW)));
	CHECK(leads_nowhere(&space, 0));
	CHECK(leads_nowhere(&space, UINT64_MAX));
	/* Addresses that have the bits, and not the sign. */
	sign = UINT64_C(1) << (levels == 5 ? 56 : 47);
	CHECK(leads_nowhere(&space, made.array & (2 * sign - 1)));
	CHECK(leads_nowhere(&space, made.array ^ UINT64_C(1) << 63));
	CHECK(leads_nowhere(&space, made.array ^ sign));
	/* Across pages that lie apart, and as far as there are some. */
	CHECK(pm_guest_space_read(&space, made.array + 4000, bytes, 200) ==
	    PM_OK && memcmp(bytes, made.ram + made_array_page(&made, 0) + 4000,
	    96) == 0 && memcmp(bytes + 96, made.ram + made_array_page(&made, 1),
	    104) == 0);
	CHECK(pm_guest_space_read(&space, made_direct(&made, MADE_LOW) - 9,
	    bytes, 10) == PM_END);
	CHECK(pm_guest_space_number(&space, made_direct(&made, MADE_LOW) - 8,
	    8, &value) == PM_OK);
	/* A page whose table says that it is outside of RAM. */
	made_map(&made, made.array, UINT64_C(0x7ffffffff000), 0);
	space.is_read = 0;
	CHECK(leads_to(&space, made.array, UINT64_C(0x7ffffffff000), 4096));
	CHECK(pm_guest_space_read(&space, made.array, bytes, 1) == PM_END);
	/* What is not present leads nowhere, and there is no larger page. */
	entry = MADE_TABLES + (made.array >> (3 + 9 * levels)) % 512 * 8;
	made_map(&made, made.array, 0x5000, 0);
	made.ram[entry] |= 0x80;
	space.is_read = 0;
	CHECK(leads_to(&space, made.array, 0x5000, 4096));
	made.ram[entry] &= 0xfe;
	space.is_read = 0;
	CHECK(leads_nowhere(&space, made.array));
	made.ram[entry] |= 1;
	made.ram[find_entry(0x5000)] &= 0xfe;
	space.is_read = 0;
	CHECK(leads_nowhere(&space, made.array));
	CHECK(leads_to(&space, made.array + 4096, made_array_page(&made, 1),
	    4096));
	/* A part that ends within a large page. */
	space.part[0].size -= 4096;
	CHECK(pm_guest_space_read(&space, made_direct(&made, MADE_LOW -
	    4097), bytes, 1) == PM_OK);
	CHECK(pm_guest_space_read(&space, made_direct(&made, MADE_LOW -
	    4097), bytes, 2) == PM_END);
	/* A root that is the page of each level, and so a page itself. */
	made_put(&made, MADE_TABLES + 511 * 8, MADE_TABLES | 0x63, 8);
	CHECK(leads_to(&space, UINT64_MAX - 4095, MADE_TABLES, 4096));
	/* Roots that are nowhere, or so far up that an entry wraps round. */
	for (value = 1; value < 4096; value += 819) {
		space.is_read = 0;
		space.root = 0 - value;
		CHECK(leads_nowhere(&space, made.array));
	}
	/* Nothing is read any more when enough was. */
	space.root = MADE_TABLES;
	space.is_read = 0;
	space.work = 4096 * levels;
	CHECK(leads_nowhere(&space, made.array));
	CHECK(space.work == 0);
	CHECK(pm_guest_space_spend(&space, 1) == PM_END);
	made_close(&made);
}

int
main(void)
{
	test_numbers();
	test_text();
	test_space(4);
	test_space(5);
	return check_done();
}
