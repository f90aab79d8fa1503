/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* environ */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "outfile.h"
#include "report.h"
#include "version.h"

static const char *program = "pm";
static const struct cli_program *about;
static const char *operand;
static const char *input_name;		/* of the input stream, if any */
static const char *target_name;		/* set by cli_target */
static const char *output_name;		/* NULL when -o was not given */
static const char *stats_name;
static char **command;
static char *progress_text;
static int progress_fd = -1;
static int verbose, quiet, committed;
static struct pm_outfile outfile = { .fd = -1 };

struct pm_fault cli_fault;

static struct poptOption common_options[] = {
	{ "output", 'o', POPT_ARG_STRING, &output_name, 0,
	    "write to FILE, whole or not at all", "FILE" },
	{ "stats", '\0', POPT_ARG_STRING, &stats_name, 0,
	    "write counters to FILE as JSON", "FILE" },
	{ "progress", '\0', POPT_ARG_STRING, &progress_text, 0,
	    "write a line of JSON to descriptor FD each second", "FD" },
	{ "verbose", 'v', POPT_ARG_NONE, &verbose, 0,
	    "say on stderr what was done", NULL },
	{ "quiet", 'q', POPT_ARG_NONE, &quiet, 0,
	    "do not warn", NULL },
	{ "help", 'h', POPT_ARG_NONE, NULL, 'h', "show this help", NULL },
	{ "version", 'V', POPT_ARG_NONE, NULL, 'V', "show the version", NULL },
	POPT_TABLEEND
};

/*
 * Names come from outside: nothing of them may steer a terminal.  A line is
 * written at once, for our neighbours may be writing theirs.
 */
static void
say(const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	flockfile(stderr);
	report_clear();
	fprintf(stderr, "%s: %s\n", program, text);
	funlockfile(stderr);
}

_Noreturn void
cli_die(enum cli_exit code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
	if (code == CLI_USAGE)
		fprintf(stderr, "Try '%s --help'.\n", program);
	pm_outfile_drop(&outfile);
	exit((int)code);
}

void
cli_warn(const char *fmt, ...)
{
	va_list ap;

	if (quiet)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void
cli_say(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

static const char *
shown(const char *name, const char *standard)
{
	return name == NULL || strcmp(name, "-") == 0 ? standard : name;
}

const char *
cli_output_name(void)
{
	return shown(output_name, "<stdout>");
}

/* The file that a status speaks of, if its fault does not name another. */
static const char *
subject_of(enum pm_status status)
{
	const char *input = shown(input_name, "<stdin>");

	switch (status) {
	case PM_ERR_WRITE:
	case PM_ERR_MISMATCH:
		return target_name != NULL ? target_name : cli_output_name();
	case PM_ERR_READ:
	case PM_ERR_TRUNCATED:
	case PM_ERR_CORRUPT:
	case PM_ERR_VERSION:
		return input;
	default:
		return NULL;
	}
}

enum cli_exit
cli_exit_of(enum pm_status status)
{
	switch (status) {
	case PM_ERR_TRUNCATED:
	case PM_ERR_CORRUPT:
	case PM_ERR_VERSION:
	case PM_ERR_MISMATCH:
		return CLI_BAD_STREAM;
	default:
		return CLI_FAILURE;
	}
}

void
cli_check(enum pm_status status)
{
	const char *subject = cli_fault.subject, *text = cli_fault.text;

	if (status == PM_OK || status == PM_END)
		return;
	if (text[0] == '\0')
		text = pm_status_text(status);
	if (subject[0] == '\0')
		subject = subject_of(status);
	else if (strcmp(subject, "/dev/stdin") == 0)
		subject = "<stdin>";
	if (subject == NULL || subject[0] == '\0')
		cli_die(cli_exit_of(status), "%s", text);
	cli_die(cli_exit_of(status), "%s: %s", subject, text);
}

/* Flush what stdio holds for stdout; help must not vanish silently. */
static void
flush_or_die(void)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		cli_die(CLI_FAILURE, "<stdout>: %s", strerror(errno));
}

/*
 * A closed standard descriptor would be handed to the next file opened.
 * Fill each with one that fails when used the way it is meant to be.
 */
static void
fill_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			_exit(CLI_FAILURE);
}

/*
 * When our reader leaves we die of SIGPIPE, as our neighbours expect, even
 * if the parent ignored or blocked it, as systemd does for its services.
 */
static void
default_sigpipe(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static _Noreturn void
answer(int what, poptContext popt)
{
	if (what == 'h') {
		printf("%s - %s\n", program, about->purpose);
		poptPrintHelp(popt, stdout, 0);
		if (about->memory != NULL)
			printf("\nMemory: %s\n", about->memory);
		printf("Exit status: 0 done, 1 system or peer failed, "
		    "2 usage, 3 bad stream.\n");
	} else
		printf("%s %s\n", program, pm_version());
	flush_or_die();
	if (close(STDOUT_FILENO) != 0)
		cli_die(CLI_FAILURE, "<stdout>: %s", strerror(errno));
	exit(CLI_OK);
}

/* Cut a command behind "--" off, before popt would take it for operands. */
static int
cut_command(int argc, char *argv[])
{
	for (int i = 1; about->takes_command && i < argc; i++)
		if (strcmp(argv[i], "--") == 0) {
			if (argv[i + 1] == NULL)
				cli_die(CLI_USAGE, "--: no command follows");
			command = &argv[i + 1];
			argv[i] = NULL;
			return i;
		}
	return argc;
}

static int
is_same(const struct stat *a, const struct stat *b)
{
	return S_ISREG(a->st_mode) && a->st_dev == b->st_dev &&
	    a->st_ino == b->st_ino;
}

int
cli_is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && is_same(&x, &y);
}

/* True when that file is standard input, or what the operand names. */
static int
is_input(const struct stat *file)
{
	struct stat in;

	return (fstat(STDIN_FILENO, &in) == 0 && is_same(&in, file)) ||
	    (operand != NULL && stat(operand, &in) == 0 &&
	    is_same(&in, file));
}

static void
check_report_options(void)
{
	struct stat st;

	if (stats_name != NULL && stat(stats_name, &st) == 0 &&
	    is_input(&st))
		cli_die(CLI_USAGE, "--stats: %s: is the input", stats_name);
	if (progress_text == NULL)
		return;
	/* Else the next file to be opened might get that number. */
	progress_fd = (int)cli_number("--progress", progress_text, 0, 1 << 20);
	if (fcntl(progress_fd, F_GETFD) < 0)
		cli_die(CLI_USAGE, "--progress: %s: is not open",
		    progress_text);
}

void
cli_start(int argc, char *argv[], struct poptOption *own,
    const struct cli_program *what)
{
	struct poptOption all[] = {
		{ NULL, '\0', POPT_ARG_INCLUDE_TABLE, own, 0,
		    "Options:", NULL },
		{ NULL, '\0', POPT_ARG_INCLUDE_TABLE, common_options, 0,
		    "Common options:", NULL },
		POPT_TABLEEND
	};
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	char **environment = environ;
	const char *extra;
	char usage[128];
	static poptContext popt;
	int rc;

	fill_standard_fds();
	default_sigpipe();
	about = what;
	if (argc > 0)
		program = slash != NULL ? slash + 1 : argv[0];
	argc = cut_command(argc, argv);

	/* POSIXLY_CORRECT would have it read the same words differently. */
	environ = NULL;
	popt = poptGetContext(program, argc, (const char **)argv, all, 0);
	environ = environment;
	if (popt == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(ENOMEM));
	snprintf(usage, sizeof(usage), "[OPTION...] %s%s",
	    what->operand != NULL ? what->operand : "",
	    what->takes_command ? " [-- COMMAND...]" : "");
	poptSetOtherOptionHelp(popt, usage);
	while ((rc = poptGetNextOpt(popt)) > 0)
		answer(rc, popt);
	if (rc < -1)
		cli_die(CLI_USAGE, "%s: %s", poptBadOption(popt,
		    POPT_BADOPTION_NOALIAS), poptStrerror(rc));

	/* popt frees its operands with the context, so that is kept. */
	operand = poptGetArg(popt);
	extra = operand == NULL ? NULL
	    : what->operand == NULL ? operand : poptGetArg(popt);
	if (extra != NULL)
		cli_die(CLI_USAGE, "%s: one operand too many", extra);
	if (operand == NULL && what->needs_operand)
		cli_die(CLI_USAGE, "%s is missing", what->operand);
	check_report_options();
	report_start(program, verbose && !quiet, progress_fd);
}

const char *
cli_operand(void)
{
	return operand;
}

char **
cli_command(void)
{
	return command;
}

int
cli_is_verbose(void)
{
	return verbose;
}

int
cli_input(void)
{
	struct stat in, target;
	int fd = STDIN_FILENO;

	if (about->operand != NULL && strcmp(about->operand, "[STREAM]") == 0)
		input_name = operand;
	if (input_name != NULL && strcmp(input_name, "-") != 0 &&
	    (fd = open(input_name, O_RDONLY | O_CLOEXEC)) < 0)
		cli_check(PM_ERR_READ);
	if (isatty(fd))
		cli_die(CLI_USAGE, "a page stream is not read from a terminal");
	if (fstat(fd, &in) != 0)
		cli_check(PM_ERR_READ);
	if (S_ISREG(in.st_mode))
		report_expect((uint64_t)in.st_size);
	if (target_name != NULL && stat(target_name, &target) == 0 &&
	    is_same(&in, &target))
		cli_die(CLI_USAGE, "%s: is both input and target",
		    target_name);
	return fd;
}

static int
open_output(void)
{
	const char *name = cli_output_name();
	int is_stdout = name != output_name;
	struct stat st;

	if ((is_stdout ? fstat(STDOUT_FILENO, &st) : stat(output_name, &st))
	    == 0 && is_input(&st))
		cli_die(CLI_USAGE, "%s: is both input and output", name);
	if (is_stdout && progress_fd == STDOUT_FILENO)
		cli_die(CLI_USAGE, "--progress: 1: is the output");
	if (is_stdout)
		return STDOUT_FILENO;
	if (pm_outfile_open(&outfile, name) != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", name, strerror(errno));
	return outfile.fd;
}

int
cli_output(void)
{
	if (output_name == NULL && isatty(STDOUT_FILENO))
		cli_die(CLI_USAGE, "a page stream is not written to a "
		    "terminal; redirect it, or force it with -o -");
	return open_output();
}

const char *
cli_kept(void)
{
	return output_name;
}

int
cli_report(void)
{
	return open_output();
}

void
cli_source(const char *name)
{
	input_name = name;
}

void
cli_target(const char *path)
{
	target_name = path;
}

void
cli_watch(const struct pm_meter *in, const struct pm_meter *out,
    uint64_t total_pages)
{
	report_watch(in, out, total_pages);
}

void
cli_count(const char *name, uint64_t value)
{
	report_count(name, value);
}

void
cli_note(const char *name, const char *text)
{
	report_note(name, text);
}

void
cli_list(const char *name, const uint64_t *values, unsigned count)
{
	report_list(name, values, count);
}

enum pm_status
cli_commit(void)
{
	if (committed)
		return PM_OK;
	committed = 1;
	if (outfile.fd >= 0)
		return pm_outfile_commit(&outfile);
	return close(STDOUT_FILENO) == 0 ? PM_OK : PM_ERR_WRITE;
}

int
cli_finish(void)
{
	if (cli_commit() != PM_OK)
		cli_die(CLI_FAILURE, "%s: %s", cli_output_name(),
		    strerror(errno));
	report_finish(verbose);
	if (stats_name != NULL && !report_write(stats_name))
		cli_die(CLI_FAILURE, "%s: %s", stats_name, strerror(errno));
	return CLI_OK;
}
