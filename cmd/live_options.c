/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "live_options.h"

#define MAX_DOWNTIME	"300ms"
#define MAX_ROUNDS	"30"

struct live_options live_options;

static struct pm_stop stop;

/* Of each round, as they end. */
static uint64_t round_pages[PM_LIVE_ROUNDS + 1];
static uint64_t round_bytes[PM_LIVE_ROUNDS + 1];
static uint64_t round_us[PM_LIVE_ROUNDS + 1];

/* Options that have no sense without another. */
static void
check_options(int has_pid)
{
	const struct live_options *opt = &live_options;
	const struct {
		const char *name;
		int is_given;
	} own[] = {
		{ "tracker", opt->tracker != NULL },
		{ "uffd-socket", opt->uffd_socket != NULL },
		{ "verify", opt->verify },
		{ "max-downtime", opt->max_downtime != NULL },
		{ "max-rounds", opt->max_rounds != NULL },
		{ "deadline", opt->deadline != NULL },
		{ "force", opt->force },
		{ "throttle", opt->throttle },
		{ "cgroup", opt->cgroup != NULL },
		{ "stop-command", opt->stop_command != NULL },
		{ "resume-command", opt->resume_command != NULL },
		{ "then", opt->then != NULL },
		{ "cpu-limit", opt->cpu_limit != NULL },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i].is_given && !opt->live)
			cli_die(CLI_USAGE, "--%s is for --live", own[i].name);
	if (opt->tracker != NULL && strcmp(opt->tracker, "uffd") != 0 &&
	    strcmp(opt->tracker, "soft-dirty") != 0 &&
	    strcmp(opt->tracker, "hash") != 0)
		cli_die(CLI_USAGE, "--tracker: %s: not uffd, soft-dirty or "
		    "hash", opt->tracker);
	if (opt->uffd_socket != NULL && !has_pid)
		cli_die(CLI_USAGE, "--uffd-socket is for --pid");
	if (opt->uffd_socket != NULL && opt->tracker != NULL &&
	    strcmp(opt->tracker, "uffd") != 0)
		cli_die(CLI_USAGE, "--uffd-socket is for --tracker=uffd");
	if (opt->throttle && opt->cgroup == NULL)
		cli_die(CLI_USAGE, "--throttle takes a --cgroup");
	if (opt->resume_command != NULL && opt->stop_command == NULL)
		cli_die(CLI_USAGE, "--resume-command takes a --stop-command");
}

static enum pm_stop_then
then(void)
{
	const char *text = live_options.then;

	if (text == NULL || strcmp(text, "resume") == 0)
		return PM_STOP_RESUME;
	if (strcmp(text, "stop") == 0)
		return PM_STOP_STAY;
	if (strcmp(text, "kill") == 0)
		return PM_STOP_KILL;
	cli_die(CLI_USAGE, "--then: %s: not resume, stop or kill", text);
}

void
live_parse(struct pm_live_options *how, int has_pid)
{
	check_options(has_pid);
	how->max_downtime_us = cli_time("--max-downtime",
	    live_options.max_downtime != NULL ? live_options.max_downtime
	    : MAX_DOWNTIME);
	how->max_rounds = (unsigned)cli_number("--max-rounds",
	    live_options.max_rounds != NULL ? live_options.max_rounds
	    : MAX_ROUNDS, 1, PM_LIVE_ROUNDS);
	how->deadline_us = live_options.deadline == NULL ? 0
	    : cli_time("--deadline", live_options.deadline);
	how->cpu_percent = live_options.cpu_limit == NULL ? 0 : (unsigned)
	    cli_number("--cpu-limit", live_options.cpu_limit, 1, 100);
	how->throttle = live_options.throttle;
	how->force = live_options.force;
	how->then = then();
}

struct pm_subject *
live_open(pid_t pid, struct pm_source *source, const char *path,
    const char *const *glob)
{
	struct pm_subject_options how = {
		.tracker = live_options.tracker, .glob = glob,
		.uffd_socket = live_options.uffd_socket,
		.verify = live_options.verify,
	};
	struct pm_stop_options stop_how = {
		.cgroup = (const char *const *)live_options.cgroup,
		.stop_command = live_options.stop_command,
		.resume_command = live_options.resume_command,
		/* The memory of a process is all of it, that of a file not. */
		.alone = source != NULL,
		.out = STDERR_FILENO, .throttle = live_options.throttle,
	};
	struct pm_subject *subject;

	cli_check(pm_stop_open(&stop, &stop_how, &cli_fault));
	cli_check(source != NULL ? pm_subject_open_file(&subject, source,
	    path, &how, &cli_fault)
	    : pm_subject_open_process(&subject, pid, &how, &cli_fault));
	return subject;
}

static void
note_round(const struct pm_live_counts *counts)
{
	unsigned at = counts->rounds - 1;

	round_pages[at] = counts->round.pages;
	round_bytes[at] = counts->round.bytes;
	round_us[at] = counts->round.us;
}

static void
tell_round(void *arg, const struct pm_live_counts *counts)
{
	const struct pm_live_round *round = &counts->round;
	const struct pm_subject *subject = arg;

	note_round(counts);
	if (counts->rounds == 1)
		cli_say("tracker %s%s%s", subject->tracking,
		    subject->why[0] != '\0' ? ": " : "", subject->why);
	cli_say("round %u: %llu pages, %llu bytes in %llu ms; %llu pages "
	    "pending, %llu put off; %llu ms if it was stopped now",
	    counts->rounds, (unsigned long long)round->pages,
	    (unsigned long long)round->bytes,
	    (unsigned long long)round->us / 1000,
	    (unsigned long long)round->pending,
	    (unsigned long long)round->put_off,
	    (unsigned long long)round->expected_us / 1000);
}

static void
tell(const struct pm_subject *subject, const struct pm_live_counts *counts)
{
	note_round(counts);
	cli_note("tracker", subject->tracking);
	cli_count("rounds", counts->rounds);
	cli_list("round_pages", round_pages, counts->rounds);
	cli_list("round_bytes", round_bytes, counts->rounds);
	cli_list("round_us", round_us, counts->rounds);
	cli_count("pages_put_off", counts->put_off);
	cli_count("dirty_pages_rate", counts->dirty_rate);
	cli_count("setup_us", counts->setup_us);
	cli_count("total_us", counts->total_us);
	cli_count("cpu_us", counts->cpu_us);
	cli_count("expected_downtime_us", counts->expected_us);
	cli_count("downtime_us", counts->downtime_us);
	cli_count("left_in_pipe", counts->left_in_pipe);
	cli_count("slowdown_permille", counts->slowdown_permille);
	cli_count("share_permille", counts->share_permille);
}

void
live_run(struct pm_subject *subject, struct pm_live_options *how,
    struct pm_writer *out, int fd, struct pm_live_counts *counts)
{
	enum pm_status status;

	how->told = tell_round;
	how->arg = subject;
	status = pm_live_run(subject, &stop, how, out, fd, counts,
	    &cli_fault);
	/* All goes on before anybody can see us end. */
	pm_stop_close(&stop);
	cli_check(status);
	if (subject->verify && !live_options.verify)
		cli_say("memory is pinned, and may be written unseen: all of "
		    "it was looked at while it was stopped");
	if (subject->unseen > 0)
		cli_say("%zu processes cannot be looked into: what they write "
		    "to shared memory is not seen", subject->unseen);
	tell(subject, counts);
}
