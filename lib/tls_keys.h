/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tls_keys.h - what tells a friend from a stranger: a secret or certificates.
 *
 * Loaded once from files and shared by all connections, which have to end
 * before it is freed.  Both ends use the same kind.  A secret is one file
 * that both have.  With certificates each end has its own, and shows it to
 * the other.
 *
 * A file that holds something secret must be readable by its owner alone.
 * What this process keeps of a secret is wiped when it is freed.
 */
#ifndef PM_TLS_KEYS_H
#define PM_TLS_KEYS_H

#include <stddef.h>

#include "fault.h"

#define PM_TLS_SECRET_MIN	32u	/* bytes, before they are written in */
#define PM_TLS_SECRET_MAX	64u	/* hexadecimal */

struct pm_tls_keys {		/* for the eyes of the other tls files alone */
	struct gnutls_priority_st *priority;
	struct gnutls_certificate_credentials_st *certs;	/* or NULL */
	struct gnutls_psk_client_credentials_st *client;
	struct gnutls_psk_server_credentials_st *server;
	char *peer_name;		/* what the certificate has to be for */
	unsigned char secret[PM_TLS_SECRET_MAX];
	size_t size;			/* of the secret; 0 for none */
};

/*
 * What GnuTLS hands back to the functions that it calls: gnutls_session_set_
 * ptr is given one of these.
 */
struct pm_tls_party {
	const struct pm_tls_keys *keys;
	int serves;			/* this end listened */
	int is_checked;			/* the other's certificate is good, */
	int alert;			/* or what to tell it, */
	char trouble[200];		/* and what to say of it here */
};

/*
 * Write a new secret of 32 random bytes to a file of mode 0600.
 * PM_ERR_REFUSED when there is such a file, PM_ERR_SYSTEM when it cannot be
 * written; then no file is left.
 */
enum pm_status pm_tls_make_key(const char *path, struct pm_fault *);

/*
 * Load a secret: one line of 64 to 128 hexadecimal digits.  PM_ERR_SYSTEM
 * when it cannot be read, PM_ERR_REFUSED when it is something else or others
 * may read it.  *keys is NULL then.
 */
enum pm_status pm_tls_load_psk(struct pm_tls_keys **keys, const char *path,
    struct pm_fault *);

/*
 * Load the certificate of this end with those that lead to its authority,
 * its private key, and the authorities that the other end's is to come from;
 * all in PEM.  That certificate has to be for peer_name, a name of the DNS
 * or an address.  Fails as pm_tls_load_psk does.
 */
enum pm_status pm_tls_load_certs(struct pm_tls_keys **keys, const char *cert,
    const char *key, const char *authorities, const char *peer_name,
    struct pm_fault *);

/* NULL does nothing. */
void pm_tls_keys_free(struct pm_tls_keys *);

#endif /* PM_TLS_KEYS_H */
