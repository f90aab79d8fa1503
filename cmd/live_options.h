/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * live_options.h - the options of a live copy, and what comes of it.
 */
#ifndef LIVE_OPTIONS_H
#define LIVE_OPTIONS_H

#include <popt.h>

#include "live.h"

struct live_options {
	int live, throttle, force, verify;
	const char *tracker, *uffd_socket, *max_downtime, *max_rounds;
	const char *deadline, *then, *stop_command, *resume_command;
	const char *cpu_limit;
	const char **cgroup;
};

extern struct live_options live_options;

/* For the option table of a program. */
#define LIVE_OPTIONS							\
	{ "live", '\0', POPT_ARG_NONE, &live_options.live, 0,		\
	    "copy while it is in use, in rounds", NULL },		\
	{ "tracker", '\0', POPT_ARG_STRING, &live_options.tracker, 0,	\
	    "find writes by uffd, soft-dirty or hash (best)", "NAME" },	\
	{ "uffd-socket", '\0', POPT_ARG_STRING,				\
	    &live_options.uffd_socket, 0,				\
	    "take a userfaultfd that the process gives", "PATH" },	\
	{ "verify", '\0', POPT_ARG_NONE, &live_options.verify, 0,	\
	    "trust no tracker: look at all while it is stopped", NULL }, \
	{ "max-downtime", '\0', POPT_ARG_STRING,			\
	    &live_options.max_downtime, 0,				\
	    "that it may be stopped (300ms)", "TIME" },			\
	{ "max-rounds", '\0', POPT_ARG_STRING,				\
	    &live_options.max_rounds, 0,				\
	    "before it is not converging (30)", "N" },			\
	{ "deadline", '\0', POPT_ARG_STRING, &live_options.deadline, 0,	\
	    "for all rounds (none)", "TIME" },				\
	{ "force", '\0', POPT_ARG_NONE, &live_options.force, 0,		\
	    "stop it even if it is not converging", NULL },		\
	{ "throttle", '\0', POPT_ARG_NONE, &live_options.throttle, 0,	\
	    "slow it down by --cgroup to have it converge", NULL },	\
	{ "cgroup", '\0', POPT_ARG_ARGV, &live_options.cgroup, 0,	\
	    "of the process, to freeze or slow it", "DIR" },		\
	{ "stop-command", '\0', POPT_ARG_STRING,			\
	    &live_options.stop_command, 0,				\
	    "run to stop it", "COMMAND" },				\
	{ "resume-command", '\0', POPT_ARG_STRING,			\
	    &live_options.resume_command, 0,				\
	    "run to have it go on", "COMMAND" },			\
	{ "then", '\0', POPT_ARG_STRING, &live_options.then, 0,		\
	    "resume, stop or kill it in the end (resume)", "ACTION" },	\
	{ "cpu-limit", '\0', POPT_ARG_STRING, &live_options.cpu_limit, 0, \
	    "of one processor for this program (none)", "PERCENT" }

/* Fill how from the options, or exit when they make no sense together. */
void live_parse(struct pm_live_options *how, int has_pid);

/*
 * Begin on a process, or, if source is not NULL, on the file that it is the
 * image of.  What may have to be undone is undone from here on by whatever
 * death we die, so it comes before the first byte is written.
 */
struct pm_subject *live_open(pid_t pid, struct pm_source *source,
    const char *path, const char *const *glob);

/* Run, with what else is asked for in how, and tell what came of it. */
void live_run(struct pm_subject *, struct pm_live_options *how,
    struct pm_writer *out, int fd, struct pm_live_counts *);

#endif /* LIVE_OPTIONS_H */
