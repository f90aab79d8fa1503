/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls_peer.h - who is at the other end of a TLS connection, and its words.
 *
 * The numbers are those of GnuTLS and of RFC 8446, section 6.
 */
#ifndef PM_TLS_PEER_H
#define PM_TLS_PEER_H

#include "tls_keys.h"

struct gnutls_session_int;

/*
 * Give a session what this end proves itself with, and what it judges the
 * other by: a certificate has to be signed by an authority of ours, to be in
 * its time, for this use and for the name that was expected.  If it is not,
 * the party of the session tells why.  An end that listened accepts no
 * certificate for a pattern of names.  Not 0 when GnuTLS cannot.
 */
int pm_tls_peer_equip(struct gnutls_session_int *);

/*
 * True when the other end proved who it is in the way that was asked for.
 * GnuTLS was told to accept nothing else, but it is us who would pay for it.
 */
int pm_tls_peer_is_proved(struct gnutls_session_int *);

/* What it means that the other end sent this alert: text into buf. */
void pm_tls_peer_alert(const struct pm_tls_keys *, int alert, char *buf,
    size_t size);

/* The same for an error that GnuTLS found; the handshake was over or not. */
void pm_tls_peer_error(const struct pm_tls_keys *, int code, int greeted,
    char *buf, size_t size);

#endif /* PM_TLS_PEER_H */
