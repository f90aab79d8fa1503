/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#define COUNTERS_MAX	40

static const char *program;
static int live, progress_fd = -1, line_shown, started;
static atomic_int stopping;
static _Atomic(const struct pm_meter *) meter_in, meter_out;
static _Atomic uint64_t total, total_bytes;
static struct timespec began;
static pthread_t thread;
static struct {
	const char *name;
	const char *text;	/* NULL: value, or values if not NULL */
	uint64_t value;		/* or how many values */
	const uint64_t *values;
} counter[COUNTERS_MAX];
static int counters;

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - began.tv_sec) +
	    (double)(now.tv_nsec - began.tv_nsec) / 1e9;
}

struct sample {
	uint64_t in, out, records, pages, total, total_bytes;
	double seconds;
};

static struct sample
look(void)
{
	const struct pm_meter *in = meter_in, *out = meter_out;
	const struct pm_meter *one = in != NULL ? in : out;
	struct sample sample = { .seconds = seconds(), .total = total,
	    .total_bytes = total_bytes };

	if (in != NULL)
		sample.in = pm_meter_get(&in->bytes);
	if (out != NULL)
		sample.out = pm_meter_get(&out->bytes);
	if (one != NULL) {
		sample.records = pm_meter_get(&one->records);
		sample.pages = pm_meter_get(&one->pages);
	}
	return sample;
}

/* How much is done, from 0 to 1; 0 when nobody knows. */
static double
part_of(const struct sample *sample)
{
	double part = 0;

	if (sample->total > 0)
		part = (double)sample->pages / (double)sample->total;
	else if (sample->total_bytes > 0)
		part = (double)sample->in / (double)sample->total_bytes;
	return part > 1 ? 1 : part;
}

/* The rate is that of the side which moves stream bytes, source or sink. */
static void
format_line(const struct sample *sample, char *text, size_t size)
{
	uint64_t bytes = sample->in > 0 ? sample->in : sample->out;
	double rate = sample->seconds > 0 ? (double)bytes / sample->seconds : 0;
	double part = part_of(sample);
	char tail[64] = "";

	if (part > 0)
		snprintf(tail, sizeof(tail), ", %.0f %%, ETA %.0f s",
		    part * 100, sample->seconds * (1 - part) / part);
	snprintf(text, size, "%" PRIu64 " records, %" PRIu64 " pages, "
	    "%.1f MB in, %.1f MB out, %.1f MB/s%s", sample->records,
	    sample->pages, (double)sample->in / 1e6,
	    (double)sample->out / 1e6, rate / 1e6, tail);
}

/* xz, pv and git agree: only the foreground group of the terminal shows. */
static int
in_foreground(void)
{
	return isatty(STDERR_FILENO) &&
	    tcgetpgrp(STDERR_FILENO) == getpgrp();
}

static void
tick(void)
{
	struct sample sample = look();
	char text[256];

	if (progress_fd >= 0)
		dprintf(progress_fd, "{\"program\":\"%s\",\"seconds\":%.3f,"
		    "\"records\":%" PRIu64 ",\"pages\":%" PRIu64
		    ",\"total_pages\":%" PRIu64 ",\"bytes_in\":%" PRIu64
		    ",\"total_bytes\":%" PRIu64 ",\"bytes_out\":%" PRIu64
		    "}\n", program, sample.seconds, sample.records,
		    sample.pages, sample.total, sample.in,
		    sample.total_bytes, sample.out);
	if (!live || !in_foreground())
		return;
	format_line(&sample, text, sizeof(text));
	flockfile(stderr);
	fprintf(stderr, "\r%s: %s\033[K", program, text);
	fflush(stderr);
	line_shown = 1;
	funlockfile(stderr);
}

static void
answer_signal(void)
{
	struct sample sample = look();
	char text[256];

	format_line(&sample, text, sizeof(text));
	flockfile(stderr);
	report_clear();
	fprintf(stderr, "%s: %s\n", program, text);
	funlockfile(stderr);
}

static void *
watch(void *arg)
{
	struct timespec second = { .tv_sec = 1 };
	int ticking = live || progress_fd >= 0;
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (;;) {
		int got = ticking ? sigtimedwait(&set, NULL, &second)
		    : sigwaitinfo(&set, NULL);

		if (stopping)
			break;
		if (got == SIGUSR1)
			answer_signal();
		else if (got < 0 && errno == EAGAIN)
			tick();
	}
	/* From here, where a lost reader of it cannot end us by SIGPIPE. */
	if (progress_fd >= 0)
		tick();
	return NULL;
}

void
report_start(const char *name, int show, int fd)
{
	sigset_t all, before;

	program = name;
	live = show;
	progress_fd = fd;
	clock_gettime(CLOCK_MONOTONIC, &began);

	/* SIGUSR1 stays blocked in every thread, and is waited for in one. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	started = pthread_create(&thread, NULL, watch, NULL) == 0;
	sigaddset(&before, SIGUSR1);
	if (!started)
		sigdelset(&before, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void
report_watch(const struct pm_meter *in, const struct pm_meter *out,
    uint64_t total_pages)
{
	meter_in = in;
	meter_out = out;
	total = total_pages;
}

void
report_expect(uint64_t bytes)
{
	total_bytes = bytes;
}

void
report_clear(void)
{
	if (line_shown)
		fputs("\r\033[K", stderr);
	line_shown = 0;
}

static void
add(const char *name, const char *text, uint64_t value,
    const uint64_t *values)
{
	if (counters == COUNTERS_MAX)
		return;
	counter[counters].name = name;
	counter[counters].text = text;
	counter[counters].values = values;
	counter[counters++].value = value;
}

void
report_count(const char *name, uint64_t value)
{
	add(name, NULL, value, NULL);
}

void
report_note(const char *name, const char *text)
{
	add(name, text, 0, NULL);
}

void
report_list(const char *name, const uint64_t *values, unsigned count)
{
	add(name, NULL, count, values);
}

/* The value of a counter, or its values with what stands between them. */
static void
put_value(FILE *file, int i, const char *between)
{
	if (counter[i].values == NULL)
		fprintf(file, "%" PRIu64, counter[i].value);
	else
		for (uint64_t n = 0; n < counter[i].value; n++)
			fprintf(file, "%s%" PRIu64, n > 0 ? between : "",
			    counter[i].values[n]);
}

/* VmHWM, not ru_maxrss: that one remembers who we were before exec. */
static uint64_t
peak_rss(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[128];
	uint64_t kib = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "VmHWM: %" SCNu64, &kib) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return kib * 1024;
}

void
report_finish(int verbose)
{
	if (started) {
		stopping = 1;
		pthread_kill(thread, SIGUSR1);
		pthread_join(thread, NULL);
	}
	report_clear();
	report_count("elapsed_us", (uint64_t)(seconds() * 1e6));
	report_count("peak_rss", peak_rss());
	for (int i = 0; verbose && i < counters; i++)
		if (counter[i].text != NULL)
			fprintf(stderr, "%s: %s %s\n", program,
			    counter[i].name, counter[i].text);
		else {
			fprintf(stderr, "%s: %s ", program, counter[i].name);
			put_value(stderr, i, " ");
			fputc('\n', stderr);
		}
}

int
report_write(const char *path)
{
	FILE *file = fopen(path, "we");
	int bad;

	if (file == NULL)
		return 0;
	fprintf(file, "{\"program\":\"%s\"", program);
	for (int i = 0; i < counters; i++)
		if (counter[i].text != NULL)
			fprintf(file, ",\"%s\":\"%s\"", counter[i].name,
			    counter[i].text);
		else {
			int many = counter[i].values != NULL;

			fprintf(file, ",\"%s\":%s", counter[i].name,
			    many ? "[" : "");
			put_value(file, i, ",");
			fputs(many ? "]" : "", file);
		}
	fputs("}\n", file);
	bad = ferror(file);
	return fclose(file) == 0 && !bad;
}
