/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "procfs.h"
#include "stop.h"

static enum pm_status
fail(struct pm_stop *stop)
{
	return pm_fault_set(stop->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

static enum pm_status
refuse(struct pm_stop *stop, const char *why)
{
	return pm_fault_set(stop->fault, PM_ERR_REFUSED, NULL, "%s", why);
}

static int
can(const struct pm_stop *stop, int (*able)(const struct pm_cgroup *))
{
	for (size_t i = 0; i < stop->groups; i++)
		if (able(&stop->group[i]))
			return 1;
	return 0;
}

static enum pm_status
open_groups(struct pm_stop *stop)
{
	const char *const *dir = stop->how.cgroup;
	enum pm_status status = PM_OK;

	for (; dir != NULL && *dir != NULL && status == PM_OK; dir++) {
		if (stop->groups == PM_STOP_GROUPS)
			return refuse(stop, "too many control groups");
		status = pm_cgroup_open(&stop->group[stop->groups], *dir,
		    stop->fault);
		stop->groups += status == PM_OK;
	}
	if (status == PM_OK && stop->how.throttle &&
	    !can(stop, pm_cgroup_can_limit))
		return refuse(stop, "no control group is given that can "
		    "limit processors");
	return status;
}

static void
add_debt(struct pm_stop *stop, const char *path, const char *text)
{
	stop->debt[stop->debts++] = (struct pm_debt){ path, text, NULL };
}

/* All that may have to be undone. */
static void
list_debts(struct pm_stop *stop)
{
	const char *path, *text;

	for (size_t i = 0; i < stop->groups; i++) {
		const struct pm_cgroup *group = &stop->group[i];

		stop->freeze_debt[i] = stop->debts;
		if (pm_cgroup_undo_freeze(group, &path, &text))
			add_debt(stop, path, text);
		stop->limit_debt[i] = stop->debts;
		while (stop->debts < PM_STOP_DEBTS - 1 &&
		    pm_cgroup_undo_limit(group, stop->limit_debts[i], &path,
		    &text)) {
			add_debt(stop, path, text);
			stop->limit_debts[i]++;
		}
	}
	stop->command_debt = stop->debts;
	if (stop->how.resume_command != NULL)
		stop->debt[stop->debts++].command = stop->how.resume_command;
}

enum pm_status
pm_stop_open(struct pm_stop *stop, const struct pm_stop_options *how,
    struct pm_fault *fault)
{
	enum pm_status status;

	*stop = (struct pm_stop){ .how = *how, .fault = fault,
	    .guardian = { .fd = -1 } };
	if ((status = open_groups(stop)) != PM_OK)
		return status;
	list_debts(stop);
	return stop->debts == 0 ? PM_OK : pm_guardian_start(&stop->guardian,
	    stop->debt, stop->debts, fault);
}

/* Who is traced by another cannot be stopped by us, which to find now. */
static enum pm_status
check_traced(struct pm_stop *stop, pid_t pid)
{
	char text[4096];
	uint64_t tracer = 0;

	if (pm_procfs_read(pid, "status", text, sizeof(text)))
		tracer = pm_procfs_number(text, "\nTracerPid:\t");
	return tracer == 0 ? PM_OK : pm_fault_set(stop->fault,
	    PM_ERR_REFUSED, NULL, "process %d may not be traced: process %d "
	    "does already", (int)pid, (int)tracer);
}

enum pm_status
pm_stop_check(struct pm_stop *stop, const pid_t *pid, size_t count)
{
	int by_command = stop->how.stop_command != NULL && stop->how.alone;
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < count && status == PM_OK && !by_command &&
	    !can(stop, pm_cgroup_can_freeze); i++)
		status = check_traced(stop, pid[i]);
	for (size_t i = 0; i < stop->groups && status == PM_OK; i++)
		status = pm_cgroup_check(&stop->group[i], pid, count,
		    stop->fault);
	return status;
}

/* Owe debts that follow each other, or settle them. */
static enum pm_status
account(struct pm_stop *stop, enum pm_status (*how)(struct pm_guardian *,
    unsigned debt, struct pm_fault *), unsigned debt, unsigned debts)
{
	enum pm_status status = PM_OK;

	for (unsigned i = 0; i < debts && status == PM_OK; i++)
		status = how(&stop->guardian, debt + i, stop->fault);
	return status;
}

static enum pm_status
owe(struct pm_stop *stop, unsigned debt, unsigned debts)
{
	return account(stop, pm_guardian_owe, debt, debts);
}

static enum pm_status
settle(struct pm_stop *stop, unsigned debt, unsigned debts)
{
	return account(stop, pm_guardian_settle, debt, debts);
}

enum pm_status
pm_stop_limit(struct pm_stop *stop, unsigned permille)
{
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < stop->groups && status == PM_OK; i++) {
		if (!pm_cgroup_can_limit(&stop->group[i]))
			continue;
		if (!stop->has_limited)
			status = owe(stop, stop->limit_debt[i],
			    stop->limit_debts[i]);
		if (status == PM_OK)
			status = pm_cgroup_limit(&stop->group[i], permille,
			    stop->fault);
	}
	stop->has_limited = 1;
	return status;
}

static enum pm_status
freeze_groups(struct pm_stop *stop)
{
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < stop->groups && status == PM_OK; i++) {
		if (!pm_cgroup_can_freeze(&stop->group[i]))
			continue;
		status = owe(stop, stop->freeze_debt[i], 1);
		if (status == PM_OK)
			status = pm_cgroup_freeze(&stop->group[i],
			    PM_FREEZE_MS, stop->fault);
	}
	return status;
}

static enum pm_status
freeze_each(struct pm_stop *stop)
{
	enum pm_status status = PM_OK;

	stop->freeze = calloc(stop->processes + 1, sizeof(stop->freeze[0]));
	if (stop->freeze == NULL)
		return fail(stop);
	for (size_t i = 0; i < stop->processes && status == PM_OK; i++) {
		status = pm_freeze_begin(&stop->freeze[i], stop->process[i],
		    PM_FREEZE_MS, stop->fault);
		stop->freezes += status == PM_OK;
	}
	return status;
}

static enum pm_status
run_stop(struct pm_stop *stop)
{
	enum pm_status status = PM_OK;

	if (stop->how.resume_command != NULL)
		status = owe(stop, stop->command_debt, 1);
	stop->has_run = 1;
	return status != PM_OK ? status : pm_guardian_run(
	    stop->how.stop_command, stop->how.out, stop->fault);
}

/* They get back what they had. */
static enum pm_status
unlimit(struct pm_stop *stop)
{
	enum pm_status status = PM_OK;

	if (!stop->has_limited)
		return PM_OK;
	stop->has_limited = 0;
	for (size_t i = 0; i < stop->groups && status == PM_OK; i++) {
		status = pm_cgroup_unlimit(&stop->group[i], stop->fault);
		if (status == PM_OK)
			status = settle(stop, stop->limit_debt[i],
			    stop->limit_debts[i]);
	}
	return status;
}

enum pm_status
pm_stop_begin(struct pm_stop *stop, const pid_t *pid, size_t count)
{
	enum pm_status status = PM_OK;

	stop->process = malloc((count + 1) * sizeof(pid[0]));
	if (stop->process == NULL)
		return fail(stop);
	memcpy(stop->process, pid, count * sizeof(pid[0]));
	stop->processes = count;
	stop->has_stopped = 1;
	/* Who may hardly run takes long to come to a stop. */
	status = unlimit(stop);
	if (status == PM_OK && stop->how.stop_command != NULL)
		status = run_stop(stop);
	if (status != PM_OK || (stop->how.stop_command != NULL &&
	    stop->how.alone))
		return status;
	return can(stop, pm_cgroup_can_freeze) ? freeze_groups(stop)
	    : freeze_each(stop);
}

int
pm_stop_holds(const struct pm_stop *stop)
{
	for (size_t i = 0; i < stop->freezes; i++)
		if (!pm_freeze_holds(&stop->freeze[i]))
			return 0;
	for (size_t i = 0; i < stop->processes; i++)
		if (kill(stop->process[i], 0) != 0 && errno == ESRCH)
			return 0;
	return stop->has_stopped;
}

static enum pm_status
thaw(struct pm_stop *stop, int stay)
{
	enum pm_status status = PM_OK;

	for (size_t i = 0; i < stop->groups && status == PM_OK; i++) {
		struct pm_cgroup *group = &stop->group[i];

		if (!pm_cgroup_can_freeze(group) || !group->is_frozen)
			continue;
		if (!stay)
			status = pm_cgroup_thaw(group, stop->fault);
		if (status == PM_OK)
			status = settle(stop, stop->freeze_debt[i], 1);
	}
	return status;
}

static enum pm_status
resume(struct pm_stop *stop, int stay)
{
	enum pm_status status = PM_OK;

	if (!stop->has_run)
		return PM_OK;
	stop->has_run = 0;
	if (stop->how.resume_command == NULL)
		return PM_OK;
	if (!stay)
		status = pm_guardian_run(stop->how.resume_command,
		    stop->how.out, stop->fault);
	return status != PM_OK ? status
	    : settle(stop, stop->command_debt, 1);
}

enum pm_status
pm_stop_end(struct pm_stop *stop, enum pm_stop_then then)
{
	enum pm_status status = unlimit(stop), next;
	int by_command = stop->how.stop_command != NULL && stop->how.alone;

	/*
	 * A signal that comes while all threads are held is seen before any
	 * of them runs.
	 */
	for (size_t i = 0; i < stop->processes && stop->has_stopped; i++)
		if (then == PM_STOP_KILL)
			(void)kill(stop->process[i], SIGKILL);
		else if (then == PM_STOP_STAY && stop->freezes > 0 &&
		    !by_command)
			(void)kill(stop->process[i], SIGSTOP);
	for (size_t i = 0; i < stop->freezes; i++)
		(void)pm_freeze_end(&stop->freeze[i]);
	stop->freezes = 0;
	next = thaw(stop, then == PM_STOP_STAY);
	status = status != PM_OK ? status : next;
	next = resume(stop, then != PM_STOP_RESUME);
	stop->is_over = 1;
	return status != PM_OK ? status : next;
}

void
pm_stop_close(struct pm_stop *stop)
{
	if (!stop->is_over)
		(void)pm_stop_end(stop, PM_STOP_RESUME);
	/* Whatever could not be undone here is the guardian's. */
	(void)pm_guardian_end(&stop->guardian, stop->fault);
	for (size_t i = 0; i < stop->groups; i++)
		pm_cgroup_close(&stop->group[i]);
	free(stop->freeze);
	free(stop->process);
	*stop = (struct pm_stop){ .guardian = { .fd = -1 } };
}
