/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check.h"
#include "size.h"

/* UINT64_MAX, which is no size, stands for a refusal. */
static uint64_t
parsed(const char *text)
{
	uint64_t bytes = 12345;

	if (pm_size_parse(text, &bytes))
		return bytes;
	return bytes == 12345 ? UINT64_MAX : 0;
}

static int
is_refused(const char *text)
{
	return parsed(text) == UINT64_MAX;
}

int
main(void)
{
	CHECK(parsed("0") == 0);
	CHECK(parsed("1") == 1);
	CHECK(parsed("010") == 10);
	CHECK(parsed("4096") == 4096);
	CHECK(parsed("1K") == 1024);
	CHECK(parsed("64M") == 67108864);
	CHECK(parsed("3G") == UINT64_C(3221225472));
	CHECK(parsed("2T") == UINT64_C(2199023255552));
	CHECK(parsed("0T") == 0);

	/* The largest that fits 63 bits, with each unit, and one more. */
	CHECK(parsed("9223372036854775807") == INT64_MAX);
	CHECK(is_refused("9223372036854775808"));
	CHECK(parsed("9007199254740991K") == (uint64_t)INT64_MAX - 1023);
	CHECK(is_refused("9007199254740992K"));
	CHECK(parsed("8388607T") == UINT64_C(8388607) << 40);
	CHECK(is_refused("8388608T"));
	CHECK(is_refused("18446744073709551617"));
	CHECK(is_refused("99999999999999999999999999"));

	CHECK(is_refused(""));
	CHECK(is_refused("K"));
	CHECK(is_refused("-1"));
	CHECK(is_refused("+1"));
	CHECK(is_refused(" 1"));
	CHECK(is_refused("1 "));
	CHECK(is_refused("1k"));
	CHECK(is_refused("1KB"));
	CHECK(is_refused("1KK"));
	CHECK(is_refused("1P"));
	CHECK(is_refused("1.5G"));
	CHECK(is_refused("0x10"));
	CHECK(is_refused("1\n"));
	return check_done();
}
