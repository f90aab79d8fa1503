/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli.h - what every pm program does at its edges.
 *
 * Options, messages, its two streams, its counters and its exit status.
 * Only the files of cmd/ may print, exit or know of popt.
 */
#ifndef CLI_H
#define CLI_H

#include <stdint.h>

#include <popt.h>

#include "fault.h"
#include "meter.h"
#include "status.h"

/* Exit statuses, the same for every program; see pm(7). */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILURE = 1,	/* the system or the other end failed us */
	CLI_USAGE = 2,		/* the command line asked for nonsense */
	CLI_BAD_STREAM = 3,	/* the input is truncated, corrupt or too new,
				   or not meant for this target */
};

/* What a program is, for --help and for the command line. */
struct cli_program {
	const char *purpose;	/* "compress the pages of a stream" */
	const char *operand;	/* shown in --help: "[STREAM]"; NULL: none */
	int needs_operand;
	int takes_command;	/* "-- COMMAND ARG..." may follow */
	const char *memory;	/* what it takes, for --help */
};

/* The fault that all library calls of a program are given. */
extern struct pm_fault cli_fault;

/*
 * Parse the command line: the options every program has, the program's own
 * and at most one operand.  Answers --help and --version itself.
 */
void cli_start(int argc, char *argv[], struct poptOption *own,
    const struct cli_program *);

/* The operand, or NULL; and the command behind "--", or NULL. */
const char *cli_operand(void);
char **cli_command(void);

int cli_is_verbose(void);

/*
 * The values of options given as text, or exit: a size such as "64M" in
 * bytes, a time such as "300ms" in microseconds, a number in a range, the
 * number of threads (text may be NULL: PM_THREADS, else the processors,
 * useful at most), a number that a variable may give.
 */
uint64_t cli_size(const char *option, const char *text);
uint64_t cli_time(const char *option, const char *text);
long cli_number(const char *option, const char *text, long least, long most);
unsigned cli_threads(const char *text, unsigned useful);
const char *cli_default(const char *text, const char *variable);

/*
 * The descriptors of the streams: cli_input is the operand or standard
 * input, cli_output standard output or -o.  They exit rather than use a
 * terminal or one file for both.  cli_report is for text: a terminal will do.
 */
int cli_input(void);
int cli_output(void);
int cli_report(void);

/* For messages: the name that -o gave, or "<stdout>". */
const char *cli_output_name(void);

/* The file that -o gave, to be used as it is, or NULL. */
const char *cli_kept(void);

/* Exit when the file that an option names would be replaced by -o. */
void cli_keep(const char *option, const char *path);

/* True when both paths lead to one regular file. */
int cli_is_same(const char *a, const char *b);

/* Return when status is good; otherwise say why not, and exit. */
void cli_check(enum pm_status status);

/*
 * The name of the target or base that PM_ERR_MISMATCH and PM_ERR_WRITE
 * speak of where the output is not a stream.
 */
void cli_target(const char *path);

/* The name of what the stream comes from, where that is no file. */
void cli_source(const char *name);

/* The exit status that cli_check would choose. */
enum cli_exit cli_exit_of(enum pm_status status);

/* What to show while it runs: meters of both ends, and the bytes expected. */
void cli_watch(const struct pm_meter *in, const struct pm_meter *out,
    uint64_t total_pages);

/*
 * Add a counter, a text that needs no quoting, or a list of values, which
 * must stay, to --stats and -v.
 */
void cli_count(const char *name, uint64_t value);
void cli_note(const char *name, const char *text);
void cli_list(const char *name, const uint64_t *values, unsigned count);

/* One line on stderr, unless -q; and only with -v. */
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Make the output durable, or close it: after this it has arrived.
 * PM_ERR_WRITE with errno.
 */
enum pm_status cli_commit(void);

/* Commit, unless that was done; report, and return the exit status. */
int cli_finish(void);

/* Say what went wrong, then exit.  No capital, no full stop, no newline. */
_Noreturn void cli_die(enum cli_exit, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* CLI_H */
