/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "converge.h"
#include "live.h"
#include "procfs.h"
#include "sweep.h"

#define STOP_US		3000u	/* what a stop takes, without scans */
#define SCAN_GIB_US	4000u	/* a last look at as much memory */
#define FAULT_NS	1500u	/* what a first write to a page costs */
#define TIME_FIRST	14	/* utime of /proc/PID/stat; see proc(5) */
#define REST_US		100000u	/* that a round takes, or else waits */
#define RELISTS		3	/* while mappings change quickly */

struct live {
	struct pm_subject *subject;
	struct pm_stop *stop;
	const struct pm_live_options *opt;
	struct pm_live_counts *counts;
	struct pm_fault *fault;
	struct pm_gather gather;
	struct pm_sweep sweep;
	struct pm_converge converge;
	uint64_t began, round_began, pace_began, pace_cpu;
	uint64_t raw, bytes, put_off, looked, look_us, written;
	double processors;		/* that the subject uses unhindered */
	uint64_t used;			/* by it, when the round began */
	uint64_t napped_us;		/* by us, in this round */
	uint64_t scan_us;		/* a list and a look at all took */
	uint32_t round;
	int fd;
};

/* Sleep as long as it takes to have used no more than our share. */
static void
pace(void *arg)
{
	struct live *live = arg;
	uint64_t used = pm_clock_of(CLOCK_PROCESS_CPUTIME_ID) - live->pace_cpu;
	uint64_t least = used * 100 / live->opt->cpu_percent;
	uint64_t passed = pm_clock_us() - live->pace_began;
	struct timespec nap;

	if (least <= passed)
		return;
	nap.tv_sec = (time_t)((least - passed) / 1000000);
	nap.tv_nsec = (long)((least - passed) % 1000000 * 1000);
	nanosleep(&nap, NULL);
	live->napped_us += pm_clock_us() - live->pace_began - passed;
}

/* Microseconds of processor time that the subject has used. */
static uint64_t
used_by_subject(const struct live *live)
{
	uint64_t ticks = 0;

	for (size_t i = 0; i < live->subject->processes; i++)
		for (int field = 0; field < 2; field++)
			ticks += pm_procfs_field(live->subject->process[i],
			    TIME_FIRST + field);
	return ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void
begin_round(struct live *live)
{
	live->round++;
	live->napped_us = 0;
	live->round_began = pm_clock_us();
	live->raw = live->gather.raw;
	live->bytes = pm_meter_get(&live->gather.out->meter.bytes);
	live->put_off = live->sweep.put_off;
	live->looked = live->sweep.looked;
	live->look_us = live->sweep.look_us;
	live->used = used_by_subject(live);
}

/* Count what the round did; how many a second the reader took is its speed. */
static enum pm_status
end_round(struct live *live)
{
	struct pm_live_counts *counts = live->counts;
	struct pm_live_round *round = &counts->round;
	enum pm_status status;
	uint64_t us;

	status = pm_sweep_mark(&live->sweep, live->round);
	us = pm_clock_us() - live->round_began;
	*round = (struct pm_live_round){
		.pages = live->gather.raw - live->raw, .us = us,
		.bytes = pm_meter_get(&live->gather.out->meter.bytes) -
		    live->bytes,
		.put_off = live->sweep.put_off - live->put_off,
	};
	counts->rounds = live->round;
	counts->put_off = live->sweep.put_off;
	pm_converge_round(&live->converge, round->pages,
	    us > live->napped_us ? us - live->napped_us : 0,
	    live->sweep.looked - live->looked,
	    live->sweep.look_us - live->look_us);
	if (live->converge.share == 1000 && us > 0)
		live->processors = (double)(used_by_subject(live) -
		    live->used) / (double)us;
	return status;
}

/*
 * A round in which nearly all is written again before it is sent takes no
 * time: give it some, for the subject to come to rest.
 */
static void
wait_a_little(const struct live *live)
{
	const struct pm_live_round *round = &live->counts->round;
	uint64_t least = live->opt->max_downtime_us / 2;
	struct timespec nap = { 0 };

	if (least > REST_US || round->pages == 0)
		least = REST_US;
	if (round->put_off <= round->pages || round->us >= least)
		return;
	nap.tv_nsec = (long)(least - round->us) * 1000;
	nanosleep(&nap, NULL);
}

/* See what there is, and what of it was written. */
static enum pm_status
look(struct live *live)
{
	uint64_t began = pm_clock_us(), us = began - live->round_began;
	enum pm_status status = PM_OK;
	int lost = 1;

	live->written = live->sweep.written;
	for (int i = 0; i < RELISTS && lost && status == PM_OK; i++) {
		began = pm_clock_us();
		status = pm_sweep_list(&live->sweep);
		if (status == PM_OK)
			status = pm_sweep_collect(&live->sweep);
		lost = 0;
		for (size_t v = 0; v < live->sweep.knowns; v++)
			lost |= live->sweep.known[v].is_lost &&
			    !live->sweep.known[v].is_blind;
	}
	live->scan_us = pm_clock_us() - began;
	live->counts->round.pending = live->sweep.pending.count;
	if (us > 0)
		live->counts->dirty_rate = (live->sweep.written -
		    live->written) * 1000000 / us;
	return status;
}

/* How long the subject would stand still, if it was stopped now. */
static enum pm_status
expect(struct live *live, double *us)
{
	const struct pm_sweep *sweep = &live->sweep;
	uint64_t pending = sweep->pending.count, doubt = 0;
	uint64_t maybe = sweep->guessed < pending ? sweep->guessed : pending;
	uint64_t send = pending - maybe;
	uint64_t scan_us = (sweep->ledger.held.count * sweep->page_size >> 10)
	    * SCAN_GIB_US / (1u << 20);
	/* Mappings are listed, and each scanned for more than one thing. */
	uint64_t stop_us = STOP_US + (scan_us > 2 * live->scan_us ? scan_us
	    : 2 * live->scan_us);
	enum pm_status status = PM_OK;

	/* As many of them as in the last round will have been. */
	send += live->converge.sent < maybe ? live->converge.sent : maybe;
	*us = pm_converge_expect(&live->converge, send, pending, stop_us);
	if (*us <= (double)live->opt->max_downtime_us) {
		status = pm_sweep_doubt(&live->sweep, &doubt);
		*us = pm_converge_expect(&live->converge, send, pending +
		    doubt, stop_us);
	}
	live->counts->expected_us = (uint64_t)*us;
	live->counts->round.expected_us = (uint64_t)*us;
	return status;
}

static enum pm_status
slow_down(struct live *live, unsigned was)
{
	unsigned share = live->converge.share;
	double processors = live->processors > 0.01 ? live->processors : 1;

	if (share == was)
		return PM_OK;
	live->counts->share_permille = share;
	return pm_stop_limit(live->stop,
	    (unsigned)(processors * share) + 1);
}

static enum pm_status
fail(struct live *live)
{
	return pm_fault_set(live->fault, PM_ERR_REFUSED, NULL,
	    "not converging: after %u rounds the last pages would take %.1f "
	    "ms, and %.1f are allowed", live->round,
	    (double)live->counts->expected_us / 1000,
	    (double)live->opt->max_downtime_us / 1000);
}

/* Rounds, until what is left fits. */
static enum pm_status
run_rounds(struct live *live)
{
	enum pm_converge_next next = PM_CONVERGE_ROUND;
	enum pm_status status = PM_OK;

	for (;;) {
		unsigned was = live->converge.share;
		double us = 0;

		status = look(live);
		if (status == PM_OK)
			status = expect(live, &us);
		if (live->opt->told != NULL && status == PM_OK)
			live->opt->told(live->opt->arg, live->counts);
		if (status != PM_OK)
			return status;
		next = pm_converge_next(&live->converge, us,
		    live->sweep.pending.count, live->round,
		    pm_clock_us() - live->began);
		if (next != PM_CONVERGE_ROUND)
			break;
		if ((status = slow_down(live, was)) != PM_OK)
			return status;
		begin_round(live);
		status = pm_sweep_send(&live->sweep);
		if (status == PM_OK)
			status = end_round(live);
		if (status != PM_OK)
			return status;
		wait_a_little(live);
	}
	return next == PM_CONVERGE_FAIL ? fail(live) : PM_OK;
}

/* Whether what stands still is what was copied, and stood all the time. */
static enum pm_status
check(struct live *live)
{
	enum pm_status status = live->subject->ops->check(live->subject);

	if (status != PM_OK || pm_stop_holds(live->stop))
		return status;
	errno = ESRCH;
	return pm_fault_set(live->fault, PM_ERR_SYSTEM, NULL,
	    "a process died while it was copied");
}

/* Processes that have come since would run on. */
static enum pm_status
check_processes(struct live *live)
{
	const struct pm_subject *subject = live->subject;

	for (size_t i = 0; i < subject->processes; i++) {
		size_t at = 0;

		while (at < live->stop->processes &&
		    live->stop->process[at] != subject->process[i])
			at++;
		if (at == live->stop->processes)
			return pm_fault_set(live->fault, PM_ERR_SYSTEM, NULL,
			    "process %d began to use the memory as it was "
			    "stopped", (int)subject->process[i]);
	}
	return PM_OK;
}

static enum pm_status
finish(struct live *live)
{
	struct pm_live_counts *counts = live->counts;
	const struct pm_subject *subject = live->subject;
	enum pm_status status;
	uint64_t stopped;
	int left = 0;

	live->sweep.is_still = 1;
	live->sweep.pace = NULL;
	begin_round(live);
	status = pm_stop_check(live->stop, subject->process,
	    subject->processes);
	stopped = pm_clock_us();
	if (status == PM_OK)
		status = pm_stop_begin(live->stop, subject->process,
		    subject->processes);
	if (status == PM_OK)
		status = check(live);
	if (status == PM_OK)
		status = pm_sweep_list(&live->sweep);
	if (status == PM_OK)
		status = check_processes(live);
	if (status == PM_OK)
		status = pm_sweep_settle(&live->sweep);
	if (status == PM_OK)
		status = pm_sweep_send(&live->sweep);
	if (status == PM_OK)
		status = end_round(live);
	if (status == PM_OK)
		status = check(live);
	counts->to = live->sweep.id;
	if (status == PM_OK)
		status = pm_writer_end(live->gather.out, counts->from,
		    counts->to, live->gather.rec);
	if (status != PM_OK)
		return status;
	counts->downtime_us = pm_clock_us() - stopped;
	if (live->fd >= 0 && ioctl(live->fd, FIONREAD, &left) == 0 && left > 0)
		counts->left_in_pipe = (uint64_t)left;
	return pm_stop_end(live->stop, live->opt->then);
}

/* What it cost the subject: faults, and standing still to be watched. */
static void
estimate_slowdown(struct live *live)
{
	struct pm_live_counts *counts = live->counts;
	uint64_t us = live->sweep.written * FAULT_NS / 1000 +
	    live->sweep.held_us;

	for (size_t i = 0; i < live->sweep.knowns; i++)
		if (i == 0 || live->sweep.known[i].tracker !=
		    live->sweep.known[i - 1].tracker)
			us += live->sweep.known[i].tracker->stopped_us;
	if (counts->total_us > counts->downtime_us)
		counts->slowdown_permille = us * 1000 / (counts->total_us -
		    counts->downtime_us);
}

static void
count(struct live *live)
{
	struct pm_live_counts *counts = live->counts;

	for (size_t i = 0; i < live->sweep.knowns &&
	    live->subject->is_disjoint; i++)
		counts->pages += (live->sweep.known[i].end -
		    live->sweep.known[i].start) / live->sweep.page_size;
	if (!live->subject->is_disjoint)
		counts->pages = live->subject->pages;
	counts->read = live->sweep.looked;
	counts->equal = live->sweep.equal;
	counts->raw = live->gather.raw;
	counts->zero = live->gather.zero;
	counts->gone = live->gather.gone;
	counts->blocked_us = live->gather.blocked_us;
	counts->total_us = pm_clock_us() - live->began;
	counts->cpu_us = pm_clock_of(CLOCK_PROCESS_CPUTIME_ID) - live->pace_cpu;
	estimate_slowdown(live);
}

enum pm_status
pm_live_run(struct pm_subject *subject, struct pm_stop *stop,
    const struct pm_live_options *opt, struct pm_writer *out, int fd,
    struct pm_live_counts *counts, struct pm_fault *fault)
{
	struct live live = {
		.subject = subject, .stop = stop, .opt = opt,
		.counts = counts, .fault = fault, .fd = fd,
		.gather = { .out = out, .record_size = opt->record_size },
		.converge = { .max_downtime_us = opt->max_downtime_us,
		    .max_rounds = opt->max_rounds, .force = opt->force,
		    .deadline_us = opt->deadline_us,
		    .may_throttle = opt->throttle, .share = 1000 },
		.began = pm_clock_us(), .pace_began = pm_clock_us(),
		.pace_cpu = pm_clock_of(CLOCK_PROCESS_CPUTIME_ID),
	};
	enum pm_status status;

	*counts = (struct pm_live_counts){ .share_permille = 1000 };
	status = pm_sweep_open(&live.sweep, subject, &live.gather, fault);
	live.sweep.find_free = opt->find_free;
	live.sweep.find_arg = opt->find_arg;
	if (status == PM_OK)
		status = subject->ops->list(subject);
	if (status == PM_OK)
		status = pm_stop_check(stop, subject->process,
		    subject->processes);
	if (opt->cpu_percent > 0) {
		live.sweep.pace = pace;
		live.sweep.pace_arg = &live;
	}
	if (status == PM_OK && !pm_older_is_empty(opt->older))
		status = pm_sweep_load(&live.sweep, opt->older,
		    &counts->from);
	counts->setup_us = pm_clock_us() - live.began;
	begin_round(&live);
	if (status == PM_OK)
		status = pm_sweep_begin(&live.sweep, opt->older);
	if (status == PM_OK)
		status = end_round(&live);
	if (status == PM_OK)
		status = run_rounds(&live);
	if (status == PM_OK)
		status = finish(&live);
	if (status == PM_OK && opt->save != NULL)
		status = pm_sweep_save(&live.sweep,
		    opt->save(&subject->about));
	count(&live);
	pm_sweep_close(&live.sweep);
	return status;
}
