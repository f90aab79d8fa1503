/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sender.h - the sender of a session, as pm-recv speaks to it.
 *
 * There is one session in a process.  Whatever ends it in failure ends the
 * process, once the sender was told.
 */
#ifndef SENDER_H
#define SENDER_H

#include <stddef.h>
#include <sys/types.h>

#include "cli.h"
#include "receive.h"

extern struct pm_receive sender_session;

/*
 * Wait for it as how says, or exit.  The port is told, and written to the
 * file of that name unless that is NULL.
 */
void sender_meet(const struct pm_receive_how *how, const char *port_file);

/*
 * Wait for a child, and for the sender meanwhile, who might think that we
 * are gone.  Returns the exit status as a shell has it.
 */
int sender_wait_for(pid_t pid);

/* Tell it that subject failed with that code, and why. */
void sender_tell_failure(enum cli_exit code, const char *subject,
    const char *text);

/* Tell it what cli_fault says of status, and fail. */
_Noreturn void sender_give_up(enum pm_status status);

/* Our own reader left: tell it, and die of SIGPIPE, as our neighbours expect. */
_Noreturn void sender_die_of_pipe(void);

#endif /* SENDER_H */
