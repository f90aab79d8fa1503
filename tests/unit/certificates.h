/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * certificates.h - certificates of all kinds, good and bad, in files.
 */
#ifndef CERTIFICATES_H
#define CERTIFICATES_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>

#include "secured.h"

#define DAY	86400
#define CLIENT	1
#define SERVER	2

/* A certificate to make: files NAME.crt and NAME.key. */
struct wanted {
	const char *name, *issuer;	/* NULL: by itself, an authority */
	const char *dns, *ip;
	int purposes;
	long begins, ends;		/* seconds from now */
};

static const struct wanted wanted[] = {
	{ "ca", NULL, NULL, NULL, 0, -DAY, DAY },
	{ "other-ca", NULL, NULL, NULL, 0, -DAY, DAY },
	{ "server", "ca", "server.example", NULL, SERVER, -DAY, DAY },
	{ "client", "ca", "client.example", NULL, CLIENT, -DAY, DAY },
	{ "both", "ca", "client.example", NULL, CLIENT | SERVER, -DAY, DAY },
	{ "any", "ca", "client.example", NULL, 0, -DAY, DAY },
	{ "expired", "ca", "client.example", NULL, CLIENT, -2 * DAY, -DAY },
	{ "early", "ca", "client.example", NULL, CLIENT, DAY, 2 * DAY },
	{ "stranger", "other-ca", "client.example", NULL, CLIENT, -DAY, DAY },
	{ "wrong", "ca", "client.example", NULL, SERVER, -DAY, DAY },
	{ "named", "ca", "other.example", NULL, CLIENT, -DAY, DAY },
	{ "pattern", "ca", "*.some.example", NULL, CLIENT | SERVER, -DAY,
	    DAY },
	{ "four", "ca", NULL, "192.0.2.7", CLIENT | SERVER, -DAY, DAY },
	{ "six", "ca", NULL, "2001:db8::7", CLIENT | SERVER, -DAY, DAY },
	{ "lapsed", "ca", "server.example", NULL, SERVER, -2 * DAY, -DAY },
	{ "signed", "both", "client.example", NULL, CLIENT, -DAY, DAY },
};

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static gnutls_x509_privkey_t keys_made[COUNT(wanted)];
static gnutls_x509_crt_t certs_made[COUNT(wanted)];

static inline void
must(int code, const char *what)
{
	if (code >= 0)
		return;
	printf("Bail out! %s: %s\n", what, gnutls_strerror(code));
	exit(1);
}

static inline size_t
number_of(const char *name)
{
	size_t at = 0;

	while (at < COUNT(wanted) && strcmp(wanted[at].name, name) != 0)
		at++;
	return at;
}

static inline void
name_cert(gnutls_x509_crt_t cert, const struct wanted *one)
{
	unsigned char address[16];
	int is_six;

	must(gnutls_x509_crt_set_dn_by_oid(cert,
	    GNUTLS_OID_X520_COMMON_NAME, 0, one->name,
	    (unsigned)strlen(one->name)), "name");
	if (one->dns != NULL)
		must(gnutls_x509_crt_set_subject_alt_name(cert,
		    GNUTLS_SAN_DNSNAME, one->dns, (unsigned)strlen(one->dns),
		    GNUTLS_FSAN_SET), "dns");
	if (one->ip == NULL)
		return;
	is_six = strchr(one->ip, ':') != NULL;
	inet_pton(is_six ? AF_INET6 : AF_INET, one->ip, address);
	must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_IPADDRESS,
	    address, is_six ? 16 : 4, GNUTLS_FSAN_SET), "ip");
}

static inline int
is_authority(size_t at)
{
	return wanted[at].issuer == NULL;
}

/* To a file, with the certificate of the one that signed it if that is by. */
static inline void
save(const char *name, const char *suffix, const gnutls_datum_t *pem,
    size_t by)
{
	char file[64], text[8192];
	gnutls_datum_t more = { NULL, 0 };
	int size;

	if (strcmp(wanted[by].name, name) != 0)
		must(gnutls_x509_crt_export2(certs_made[by],
		    GNUTLS_X509_FMT_PEM, &more), "pem");
	size = snprintf(text, sizeof(text), "%.*s%.*s", (int)pem->size,
	    (const char *)pem->data, (int)more.size,
	    more.data != NULL ? (const char *)more.data : "");
	snprintf(file, sizeof(file), "%s.%s", name, suffix);
	write_file(file, text, (size_t)size, 0600);
	gnutls_free(pem->data);
	gnutls_free(more.data);
}

static inline void
make_cert(size_t at)
{
	const struct wanted *one = &wanted[at];
	size_t by = one->issuer != NULL ? number_of(one->issuer) : at;
	unsigned char serial = (unsigned char)(at + 1);
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t cert;
	gnutls_datum_t pem;

	must(gnutls_x509_privkey_init(&key), "key");
	must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), "key");
	must(gnutls_x509_crt_init(&cert), "certificate");
	must(gnutls_x509_crt_set_version(cert, 3), "version");
	must(gnutls_x509_crt_set_serial(cert, &serial, 1), "serial");
	must(gnutls_x509_crt_set_key(cert, key), "its key");
	gnutls_x509_crt_set_activation_time(cert, time(NULL) + one->begins);
	gnutls_x509_crt_set_expiration_time(cert, time(NULL) + one->ends);
	name_cert(cert, one);
	gnutls_x509_crt_set_basic_constraints(cert, one->issuer == NULL, -1);
	gnutls_x509_crt_set_key_usage(cert, one->issuer == NULL
	    ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE);
	if ((one->purposes & CLIENT) != 0)
		gnutls_x509_crt_set_key_purpose_oid(cert,
		    GNUTLS_KP_TLS_WWW_CLIENT, 0);
	if ((one->purposes & SERVER) != 0)
		gnutls_x509_crt_set_key_purpose_oid(cert,
		    GNUTLS_KP_TLS_WWW_SERVER, 0);
	certs_made[at] = cert;
	keys_made[at] = key;
	must(gnutls_x509_crt_sign2(cert, certs_made[by], keys_made[by],
	    GNUTLS_DIG_SHA256, 0), "signature");
	must(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), "pem");
	save(one->name, "crt", &pem, by != at && !is_authority(by) ? by : at);
	must(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem),
	    "pem");
	save(one->name, "key", &pem, at);
}

static inline void
make_certs(void)
{
	for (size_t at = 0; at < COUNT(wanted); at++)
		make_cert(at);
}

static inline void
forget_certs(void)
{
	char file[64];

	for (size_t at = 0; at < COUNT(wanted); at++) {
		snprintf(file, sizeof(file), "%s.crt", wanted[at].name);
		forget(file);
		snprintf(file, sizeof(file), "%s.key", wanted[at].name);
		forget(file);
		gnutls_x509_crt_deinit(certs_made[at]);
		gnutls_x509_privkey_deinit(keys_made[at]);
	}
}

static inline enum pm_status
try_load(struct pm_tls_keys **keys, const char *name, const char *ca,
    const char *peer, struct pm_fault *fault)
{
	char cert[32], key[32], authority[32];

	snprintf(cert, sizeof(cert), "%s.crt", name);
	snprintf(key, sizeof(key), "%s.key", name);
	snprintf(authority, sizeof(authority), "%s.crt", ca);
	return pm_tls_load_certs(keys, in_directory(cert), in_directory(key),
	    in_directory(authority), peer, fault);
}

static inline struct pm_tls_keys *
load(const char *name, const char *ca, const char *peer)
{
	struct pm_fault fault = { .error = 0 };
	struct pm_tls_keys *keys = NULL;

	if (try_load(&keys, name, ca, peer, &fault) != PM_OK) {
		printf("# %s\n", fault.text);
		give_up(name);
	}
	return keys;
}

#endif /* CERTIFICATES_H */
