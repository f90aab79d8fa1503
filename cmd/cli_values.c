/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* sched_getaffinity */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "size.h"

uint64_t
cli_size(const char *option, const char *text)
{
	uint64_t value;

	if (!pm_size_parse(text, &value))
		cli_die(CLI_USAGE, "%s: %s: not a size", option, text);
	return value;
}

uint64_t
cli_time(const char *option, const char *text)
{
	static const struct {
		const char *name;
		uint64_t us;
	} unit[] = {
		{ "us", 1 }, { "ms", 1000 }, { "s", 1000000 },
		{ "m", 60000000 }, { "h", UINT64_C(3600000000) },
	};
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]) && errno == 0 &&
	    isdigit((unsigned char)*text); i++)
		if (strcmp(end, unit[i].name) == 0 &&
		    value <= INT64_MAX / unit[i].us)
			return value * unit[i].us;
	cli_die(CLI_USAGE, "%s: %s: not a time, such as 300ms, 2s, 5m or 1h",
	    option, text);
}

long
cli_number(const char *option, const char *text, long least, long most)
{
	const char *digits = *text == '-' ? text + 1 : text;
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*digits) || *end != '\0')
		cli_die(CLI_USAGE, "%s: %s: not a number", option, text);
	if (errno != 0 || value < least || value > most)
		cli_die(CLI_USAGE, "%s: %s: not in %ld..%ld", option, text,
		    least, most);
	return value;
}

const char *
cli_default(const char *text, const char *variable)
{
	if (text == NULL && (text = getenv(variable)) != NULL && *text == '\0')
		return NULL;
	return text;
}

unsigned
cli_threads(const char *text, unsigned useful)
{
	const char *from = text != NULL ? "--threads" : "PM_THREADS";
	cpu_set_t set;

	if ((text = cli_default(text, "PM_THREADS")) != NULL)
		return (unsigned)cli_number(from, text, 1, 64);
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	return (unsigned)CPU_COUNT(&set) < useful
	    ? (unsigned)CPU_COUNT(&set) : useful;
}

void
cli_keep(const char *option, const char *path)
{
	if (path != NULL && cli_is_same(path, cli_output_name()))
		cli_die(CLI_USAGE, "%s: %s: is the output", option, path);
}
