/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tls.h"
#include "tls_peer.h"
#include "tls_socket.h"

#define HANDSHAKE_MAX	16384u		/* bytes of one message of it */

struct pm_tls {
	struct pm_tls_party party;
	struct pm_tls_socket sock;
	gnutls_session_t session;
	const char *peer;
	struct pm_fault *fault;
	int is_greeted, is_closing, is_shut, is_ended;
	int has_failed;			/* and that was told */
	int has_late;			/* how receiving ended, to be told */
	int late;			/* after what came before: 0 is well */
	int has_received;		/* anything since the handshake */
	int has_early;			/* a byte found when sending failed, */
	unsigned char early;		/* still to be given */
	unsigned char *gathered;	/* a record's worth of small pieces */
};

static enum pm_status
fail_memory(struct pm_fault *fault)
{
	errno = ENOMEM;
	return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

static enum pm_status
fail_lost(struct pm_tls *tls, int error)
{
	return pm_fault_set(tls->fault, PM_ERR_PEER, tls->peer, "%s",
	    strerror(error));
}

/* A failure that was told already. */
static enum pm_status
fail_again(struct pm_tls *tls)
{
	return pm_fault_set(tls->fault, PM_ERR_PEER, tls->peer,
	    "the connection failed before");
}

/*
 * The error that GnuTLS should have named: with an older version of TLS there
 * is no cipher of ours either, and half a record is no wrong record.
 */
static int
reason(const struct pm_tls *tls, int code)
{
	if (code == GNUTLS_E_NO_CIPHER_SUITES &&
	    gnutls_protocol_get_version(tls->session) != GNUTLS_TLS1_3)
		return GNUTLS_E_UNSUPPORTED_VERSION_PACKET;
	if (code == GNUTLS_E_UNEXPECTED_PACKET_LENGTH && tls->sock.is_over)
		return GNUTLS_E_PREMATURE_TERMINATION;
	return code;
}

/* GnuTLS failed: say what that means. */
static enum pm_status
fail(struct pm_tls *tls, int code)
{
	char text[200];

	tls->has_failed = 1;
	if (code == GNUTLS_E_MEMORY_ERROR)
		return fail_memory(tls->fault);
	if (code == GNUTLS_E_PULL_ERROR && tls->sock.error == EMSGSIZE)
		return pm_fault_set(tls->fault, PM_ERR_PEER, tls->peer,
		    "says too much before it is known");
	if (code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PUSH_ERROR)
		return fail_lost(tls, tls->sock.error);
	if (!pm_tls_socket_speaks(&tls->sock))
		return pm_fault_set(tls->fault, PM_ERR_PEER, tls->peer,
		    "does not speak TLS");
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED ||
	    code == GNUTLS_E_WARNING_ALERT_RECEIVED)
		pm_tls_peer_alert(tls->party.keys,
		    (int)gnutls_alert_get(tls->session), text, sizeof(text));
	else
		pm_tls_peer_error(tls->party.keys, reason(tls, code),
		    tls->is_greeted, text, sizeof(text));
	return pm_fault_set(tls->fault, PM_ERR_PEER, tls->peer, "%s",
	    tls->party.trouble[0] != '\0' ? tls->party.trouble : text);
}

/* Tell the other end as well what it did wrong, as far as that goes. */
static enum pm_status
fail_aloud(struct pm_tls *tls, int code)
{
	enum pm_status status = fail(tls, code);

	switch (code) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PULL_ERROR:
	case GNUTLS_E_PUSH_ERROR:
		return status;
	default:
		break;
	}
	if (tls->party.alert != 0)
		(void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL,
		    (gnutls_alert_description_t)tls->party.alert);
	else
		(void)gnutls_alert_send_appropriate(tls->session, code);
	(void)pm_tls_socket_drain(&tls->sock);
	pm_tls_socket_discard(&tls->sock);
	return status;
}

enum pm_status
pm_tls_new(struct pm_tls **out, int fd, const struct pm_tls_keys *keys,
    int serves, const char *peer, struct pm_fault *fault)
{
	struct pm_tls *tls = calloc(1, sizeof(*tls));
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS |
	    GNUTLS_NO_SIGNAL | (serves ? GNUTLS_SERVER
	    : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT);

	*out = NULL;
	if (tls == NULL || gnutls_init(&tls->session, flags) != 0) {
		free(tls);
		return fail_memory(fault);
	}
	tls->party.keys = keys;
	tls->party.serves = serves;
	tls->sock.fd = fd;
	tls->peer = peer;
	tls->fault = fault;
	gnutls_session_set_ptr(tls->session, &tls->party);
	gnutls_transport_set_ptr(tls->session, &tls->sock);
	gnutls_transport_set_pull_function(tls->session, pm_tls_socket_pull);
	gnutls_transport_set_push_function(tls->session, pm_tls_socket_push);
	gnutls_handshake_set_max_packet_length(tls->session, HANDSHAKE_MAX);
	if (gnutls_priority_set(tls->session, keys->priority) != 0 ||
	    pm_tls_peer_equip(tls->session) != 0) {
		pm_tls_free(tls);
		return fail_memory(fault);
	}
	*out = tls;
	return PM_OK;
}

static enum pm_status
settle(struct pm_tls *tls)
{
	if (!pm_tls_peer_is_proved(tls->session)) {
		tls->party.alert = GNUTLS_A_INSUFFICIENT_SECURITY;
		return fail_aloud(tls, GNUTLS_E_INSUFFICIENT_SECURITY);
	}
	tls->gathered = malloc(PM_TLS_RECORD);
	if (tls->gathered == NULL || !pm_tls_socket_buffer(&tls->sock)) {
		tls->has_failed = 1;
		return fail_memory(tls->fault);
	}
	tls->is_greeted = 1;
	return PM_OK;
}

enum pm_status
pm_tls_greet(struct pm_tls *tls, int *done)
{
	enum pm_status status;
	int code;

	*done = tls->is_greeted;
	if (tls->is_greeted)
		return PM_OK;
	if (tls->has_failed)
		return fail_again(tls);
	do
		code = gnutls_handshake(tls->session);
	while (code == GNUTLS_E_INTERRUPTED);
	/* GnuTLS waits for the end of what it takes for a long record. */
	if (code == GNUTLS_E_AGAIN && !pm_tls_socket_speaks(&tls->sock))
		code = GNUTLS_E_UNEXPECTED_PACKET;
	if (code == GNUTLS_E_AGAIN)
		return PM_OK;
	status = code != 0 ? fail_aloud(tls, code) : settle(tls);
	*done = status == PM_OK;
	return status;
}

/*
 * The other end is gone.  When it refused our certificate, that can still be
 * heard: its end of the handshake is over after ours.
 */
static enum pm_status
fail_send(struct pm_tls *tls)
{
	int error = tls->sock.error;
	ssize_t got;

	if (tls->party.serves || tls->has_received || tls->has_failed ||
	    tls->has_late || tls->is_ended)
		return fail_lost(tls, error);
	tls->sock.is_dry = 0;
	got = gnutls_record_recv(tls->session, &tls->early, 1);
	if (got == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return fail(tls, (int)got);
	tls->has_received = tls->has_early = got > 0;
	if (got <= 0 && got != GNUTLS_E_AGAIN && got != GNUTLS_E_INTERRUPTED) {
		tls->has_late = 1;
		tls->late = (int)got;
	}
	return fail_lost(tls, error);
}

enum pm_status
pm_tls_flush(struct pm_tls *tls, size_t *left)
{
	int good = pm_tls_socket_drain(&tls->sock);

	*left = pm_tls_socket_waiting(&tls->sock);
	if (!good)
		return fail_send(tls);
	if (*left > 0 || !tls->is_closing || tls->is_shut)
		return PM_OK;
	tls->is_shut = 1;
	return shutdown(tls->sock.fd, SHUT_WR) == 0 ? PM_OK
	    : fail_lost(tls, errno);
}

/* What is still to be sent of a list of buffers. */
struct rest {
	const struct iovec *iov;
	int count;
	size_t from;			/* in the first of them */
};

static void
skip(struct rest *rest, size_t size)
{
	rest->from += size;
	while (rest->count > 0 && rest->from >= rest->iov->iov_len) {
		rest->from -= rest->iov->iov_len;
		rest->iov++;
		rest->count--;
	}
}

/* The next record: of one buffer where it lies, or of several together. */
static const void *
take(struct pm_tls *tls, const struct rest *rest, size_t *size)
{
	struct rest next = *rest;

	*size = rest->iov->iov_len - rest->from;
	if (*size >= PM_TLS_RECORD || rest->count == 1) {
		if (*size > PM_TLS_RECORD)
			*size = PM_TLS_RECORD;
		return (const char *)rest->iov->iov_base + rest->from;
	}
	*size = 0;
	while (next.count > 0 && *size < PM_TLS_RECORD) {
		size_t piece = next.iov->iov_len - next.from;

		if (piece > PM_TLS_RECORD - *size)
			piece = PM_TLS_RECORD - *size;
		memcpy(tls->gathered + *size, (const char *)next.iov->iov_base
		    + next.from, piece);
		*size += piece;
		skip(&next, piece);
	}
	return tls->gathered;
}

/* Encrypt as much as there is room for, or all. */
static enum pm_status
encrypt(struct pm_tls *tls, struct rest *rest, size_t *put)
{
	while (rest->count > 0 && pm_tls_socket_has_room(&tls->sock)) {
		size_t size;
		const void *data = take(tls, rest, &size);
		/* May take less: the other end may want smaller records. */
		ssize_t done = gnutls_record_send(tls->session, data, size);

		if (done < 0)
			return fail(tls, (int)done);
		*put += (size_t)done;
		skip(rest, (size_t)done);
	}
	return PM_OK;
}

enum pm_status
pm_tls_send(struct pm_tls *tls, const struct iovec *iov, int count,
    size_t *put)
{
	struct rest rest = { iov, count, 0 };
	enum pm_status status;
	size_t left;

	*put = 0;
	if (tls->has_failed)
		return fail_again(tls);
	if (!tls->is_greeted || tls->is_closing)
		return PM_OK;
	skip(&rest, 0);
	status = pm_tls_flush(tls, &left);
	while (status == PM_OK && left == 0 && rest.count > 0) {
		status = encrypt(tls, &rest, put);
		if (status == PM_OK)
			status = pm_tls_flush(tls, &left);
	}
	return status;
}

/* Decrypt until all is full, or what GnuTLS says instead. */
static int
decrypt(struct pm_tls *tls, const struct iovec *iov, int count, size_t *got)
{
	struct rest rest = { iov, count, 0 };

	tls->sock.is_dry = 0;
	skip(&rest, 0);
	while (rest.count > 0) {
		size_t from = tls->sock.in_from;
		ssize_t now = gnutls_record_recv(tls->session,
		    (char *)rest.iov->iov_base + rest.from,
		    rest.iov->iov_len - rest.from);

		/* It also says so after a message of TLS itself. */
		if (now == GNUTLS_E_AGAIN && from != tls->sock.in_from &&
		    tls->sock.in_from < tls->sock.in_to)
			continue;
		if (now <= 0)
			return (int)now;
		tls->has_received = 1;
		*got += (size_t)now;
		skip(&rest, (size_t)now);
	}
	return GNUTLS_E_AGAIN;
}

/* The byte that came while sending failed. */
static enum pm_status
give_early(struct pm_tls *tls, const struct iovec *iov, int count,
    size_t *got)
{
	struct rest rest = { iov, count, 0 };

	skip(&rest, 0);
	if (rest.count == 0)
		return PM_OK;
	*(unsigned char *)rest.iov->iov_base = tls->early;
	tls->has_early = 0;
	*got = 1;
	return PM_OK;
}

/* How receiving ended. */
static enum pm_status
end(struct pm_tls *tls)
{
	tls->has_late = 0;
	if (tls->late != 0)
		return fail_aloud(tls, tls->late);
	tls->is_ended = 1;
	return PM_END;
}

enum pm_status
pm_tls_recv(struct pm_tls *tls, const struct iovec *iov, int count,
    size_t *got)
{
	size_t waited = pm_tls_socket_waiting(&tls->sock);
	int code;

	*got = 0;
	if (tls->is_ended)
		return PM_END;
	if (!tls->is_greeted && !tls->has_failed)
		return PM_OK;
	if (tls->has_early)
		return give_early(tls, iov, count, got);
	if (tls->has_failed)
		return fail_again(tls);
	if (tls->has_late)
		return end(tls);
	code = decrypt(tls, iov, count, got);
	/* An answer that TLS itself owed.  Sending tells when that fails. */
	if (pm_tls_socket_waiting(&tls->sock) > waited)
		(void)pm_tls_socket_drain(&tls->sock);
	if (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED)
		return PM_OK;
	tls->has_late = 1;
	tls->late = code;
	return *got > 0 ? PM_OK : end(tls);
}

short
pm_tls_events(const struct pm_tls *tls, int wants_write)
{
	if (!tls->is_greeted)
		return gnutls_record_get_direction(tls->session) ? POLLOUT
		    : POLLIN;
	return (short)((tls->is_ended ? 0 : POLLIN) | (wants_write ||
	    pm_tls_socket_waiting(&tls->sock) > 0 ? POLLOUT : 0));
}

int
pm_tls_is_ready(const struct pm_tls *tls)
{
	return !tls->is_ended && (tls->has_early || tls->has_late ||
	    tls->sock.in_from < tls->sock.in_to ||
	    gnutls_record_check_pending(tls->session) > 0);
}

enum pm_status
pm_tls_shut(struct pm_tls *tls)
{
	size_t left;

	if (!tls->is_closing && tls->is_greeted && !tls->has_failed)
		(void)gnutls_bye(tls->session, GNUTLS_SHUT_WR);
	tls->is_closing = 1;
	return pm_tls_flush(tls, &left);
}

void
pm_tls_free(struct pm_tls *tls)
{
	if (tls == NULL)
		return;
	gnutls_deinit(tls->session);
	pm_tls_socket_unbuffer(&tls->sock);
	free(tls->gathered);
	free(tls);
}
