/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <stdio.h>

#include "tls_peer.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

static int
refuse(struct pm_tls_party *party, int alert, const char *trouble)
{
	party->alert = alert;
	snprintf(party->trouble, sizeof(party->trouble), "%s", trouble);
	return -1;
}

/* The first that applies is told: that comes first which explains others. */
static const struct {
	unsigned flag;
	int alert;
	const char *trouble;
} verdicts[] = {
	{ GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA,
	    "its certificate is of an unknown authority" },
	{ GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA,
	    "its certificate is signed by one that is no authority" },
	{ GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_BAD_CERTIFICATE,
	    "its certificate has a wrong signature" },
	{ GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED,
	    "its certificate was revoked" },
	{ GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED,
	    "its certificate is not yet valid" },
	{ GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED,
	    "its certificate has expired" },
	{ GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE,
	    "its certificate is too weak" },
	{ GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	    "its certificate is for another purpose" },
};

static int
refuse_status(struct pm_tls_party *party, unsigned status)
{
	for (size_t at = 0; at < COUNT(verdicts); at++)
		if ((status & verdicts[at].flag) != 0)
			return refuse(party, verdicts[at].alert,
			    verdicts[at].trouble);
	return refuse(party, GNUTLS_A_BAD_CERTIFICATE,
	    "its certificate is not valid");
}

/* True when the first certificate is for the name that was expected. */
static int
has_name(gnutls_session_t session, const struct pm_tls_party *party)
{
	unsigned count = 0, flags = party->serves
	    ? GNUTLS_VERIFY_DO_NOT_ALLOW_WILDCARDS : 0;
	const gnutls_datum_t *list = gnutls_certificate_get_peers(session,
	    &count);
	gnutls_x509_crt_t cert;
	int good;

	if (list == NULL || count == 0 || gnutls_x509_crt_init(&cert) != 0)
		return 0;
	good = gnutls_x509_crt_import(cert, &list[0], GNUTLS_X509_FMT_DER)
	    == 0 && gnutls_x509_crt_check_hostname2(cert,
	    party->keys->peer_name, flags) != 0;
	gnutls_x509_crt_deinit(cert);
	return good;
}

static int
check(gnutls_session_t session)
{
	struct pm_tls_party *party = gnutls_session_get_ptr(session);
	const char *purpose = party->serves ? GNUTLS_KP_TLS_WWW_CLIENT
	    : GNUTLS_KP_TLS_WWW_SERVER;
	gnutls_typed_vdata_st wanted = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)purpose,
	};
	unsigned status = 0;
	int code;

	party->is_checked = 0;
	code = gnutls_certificate_verify_peers(session, &wanted, 1, &status);
	if (code == GNUTLS_E_NO_CERTIFICATE_FOUND)
		return refuse(party, GNUTLS_A_CERTIFICATE_REQUIRED,
		    "has no certificate");
	if (code != 0)
		return refuse(party, GNUTLS_A_BAD_CERTIFICATE,
		    "its certificate cannot be checked");
	if (status != 0)
		return refuse_status(party, status);
	if (!has_name(session, party)) {
		party->alert = GNUTLS_A_ACCESS_DENIED;
		snprintf(party->trouble, sizeof(party->trouble),
		    "its certificate is not for %s", party->keys->peer_name);
		return -1;
	}
	party->is_checked = 1;
	return 0;
}

int
pm_tls_peer_equip(gnutls_session_t session)
{
	const struct pm_tls_party *party = gnutls_session_get_ptr(session);
	const struct pm_tls_keys *keys = party->keys;

	if (keys->certs == NULL)
		return gnutls_credentials_set(session, GNUTLS_CRD_PSK,
		    party->serves ? (void *)keys->server
		    : (void *)keys->client);
	gnutls_session_set_verify_function(session, check);
	if (party->serves) {
		gnutls_certificate_server_set_request(session,
		    GNUTLS_CERT_REQUIRE);
		/* Whom we trust is no business of a stranger. */
		gnutls_certificate_send_x509_rdn_sequence(session, 1);
	}
	return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE,
	    keys->certs);
}

int
pm_tls_peer_is_proved(gnutls_session_t session)
{
	const struct pm_tls_party *party = gnutls_session_get_ptr(session);

	if (gnutls_protocol_get_version(session) != GNUTLS_TLS1_3 ||
	    gnutls_session_is_resumed(session))
		return 0;
	if (party->keys->certs == NULL)
		return gnutls_kx_get(session) == GNUTLS_KX_ECDHE_PSK &&
		    gnutls_auth_get_type(session) == GNUTLS_CRD_PSK;
	return party->is_checked &&
	    gnutls_auth_get_type(session) == GNUTLS_CRD_CERTIFICATE;
}

static const struct {
	int alert;
	const char *text;
} alerts[] = {
	{ GNUTLS_A_BAD_RECORD_MAC,
	    "received a record that is damaged or replayed" },
	{ GNUTLS_A_BAD_CERTIFICATE, "refused our certificate" },
	{ GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	    "refused our certificate: it is for another purpose" },
	{ GNUTLS_A_CERTIFICATE_REVOKED,
	    "refused our certificate: it was revoked" },
	{ GNUTLS_A_CERTIFICATE_EXPIRED,
	    "refused our certificate: it has expired or is not yet valid" },
	{ GNUTLS_A_CERTIFICATE_UNKNOWN, "refused our certificate" },
	{ GNUTLS_A_UNKNOWN_CA,
	    "refused our certificate: it is of an unknown authority" },
	{ GNUTLS_A_ACCESS_DENIED,
	    "refused our certificate: it is for another name" },
	{ GNUTLS_A_CERTIFICATE_REQUIRED, "wants a certificate of us" },
	{ GNUTLS_A_PROTOCOL_VERSION, "does not speak TLS 1.3" },
	{ GNUTLS_A_INTERNAL_ERROR, "failed, and does not say how" },
	{ GNUTLS_A_USER_CANCELED, "gave up" },
};

void
pm_tls_peer_alert(const struct pm_tls_keys *keys, int alert, char *buf,
    size_t size)
{
	const char *name;

	for (size_t at = 0; at < COUNT(alerts); at++)
		if (alerts[at].alert == alert) {
			snprintf(buf, size, "%s", alerts[at].text);
			return;
		}
	switch (alert) {
	/* As implementations differ in which of these they send. */
	case GNUTLS_A_HANDSHAKE_FAILURE:
	case GNUTLS_A_ILLEGAL_PARAMETER:
	case GNUTLS_A_DECRYPT_ERROR:
	case GNUTLS_A_INSUFFICIENT_SECURITY:
	case GNUTLS_A_MISSING_EXTENSION:
	case GNUTLS_A_UNKNOWN_PSK_IDENTITY:
		snprintf(buf, size, "%s", keys->certs == NULL
		    ? "refused our key"
		    : "refused our certificate or key");
		return;
	default:
		name = gnutls_alert_get_name((gnutls_alert_description_t)
		    alert);
		snprintf(buf, size, "refused us: alert %d, %s", alert,
		    name != NULL ? name : "unknown");
	}
}

void
pm_tls_peer_error(const struct pm_tls_keys *keys, int code, int greeted,
    char *buf, size_t size)
{
	const char *text = NULL;

	switch (code) {
	case GNUTLS_E_PREMATURE_TERMINATION:
		text = greeted ? "was cut off in the middle"
		    : "ended the connection before it was secured";
		break;
	case GNUTLS_E_DECRYPTION_FAILED:
		text = "sent a record that is damaged or replayed";
		break;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		text = "does not speak TLS 1.3";
		break;
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
#ifdef GNUTLS_E_CERTIFICATE_REQUIRED
	case GNUTLS_E_CERTIFICATE_REQUIRED:
#endif
		text = "has no certificate";
		break;
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
		text = "agrees to no cipher or group of ours";
		break;
	/* What a server finds when the client's proof does not fit. */
	case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
		if (!greeted && keys->certs == NULL)
			text = "does not have our key";
		break;
	default:
		break;
	}
	if (text != NULL)
		snprintf(buf, size, "%s", text);
	else
		snprintf(buf, size, "does not keep to TLS: %s",
		    gnutls_strerror(code));
}
