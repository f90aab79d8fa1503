/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * net_options.h - the options of both ends of a connection.
 */
#ifndef NET_OPTIONS_H
#define NET_OPTIONS_H

#include <stdint.h>

#include <popt.h>

#include "net.h"
#include "tls_keys.h"

struct net_options {
	const char *psk, *cert, *key, *ca, *peer;
	const char *reconnect, *keep_alive, *window;
	int insecure;
};

extern struct net_options net_options;

/* For the option table of a program. */
#define NET_OPTIONS							\
	{ "tls-psk", '\0', POPT_ARG_STRING, &net_options.psk, 0,	\
	    "encrypt, with the key in FILE at both ends", "FILE" },	\
	{ "tls-cert", '\0', POPT_ARG_STRING, &net_options.cert, 0,	\
	    "encrypt, and show this certificate", "FILE" },		\
	{ "tls-key", '\0', POPT_ARG_STRING, &net_options.key, 0,	\
	    "its private key", "FILE" },				\
	{ "tls-ca", '\0', POPT_ARG_STRING, &net_options.ca, 0,		\
	    "who has to have signed that of the other end", "FILE" },	\
	{ "tls-peer", '\0', POPT_ARG_STRING, &net_options.peer, 0,	\
	    "whom that has to be for", "NAME" },			\
	{ "insecure", '\0', POPT_ARG_NONE, &net_options.insecure, 0,	\
	    "take other machines without TLS, readable on the way", NULL }, \
	{ "reconnect", '\0', POPT_ARG_STRING, &net_options.reconnect, 0, \
	    "how long a break may last; 0 for no break (30s)", "TIME" }, \
	{ "keep-alive", '\0', POPT_ARG_STRING, &net_options.keep_alive, 0, \
	    "how long the other end may be silent (20s)", "TIME" },	\
	{ "window", '\0', POPT_ARG_STRING, &net_options.window, 0,	\
	    "bytes under way, at most (32M)", "SIZE" }

/* Look the operand up, and load keys; or exit. */
void net_open(struct pm_net *, struct pm_tls_keys **, int listens);

/* The values of options, or exit. */
uint64_t net_break_us(void);
uint64_t net_silence_us(void);
uint32_t net_frames(void);

#endif /* NET_OPTIONS_H */
