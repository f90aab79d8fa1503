/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends that are not ours: other versions and modes of TLS, messages that we
 * never send, and what is no TLS at all.
 */
#define _GNU_SOURCE		/* mallinfo2 */
#include <malloc.h>

#include "certificates.h"

#define SECRET	"0123456789abcdef0123456789abcdef"

static struct pm_tls_keys *secret, *certs;
static gnutls_psk_client_credentials_t psk, other_psk;
static gnutls_psk_server_credentials_t psk_server;
static gnutls_certificate_credentials_t trusting, shown;

static int
tell_secret(gnutls_session_t session, const char *name, gnutls_datum_t *key)
{
	(void)session;
	(void)name;
	key->data = gnutls_malloc(32);
	memcpy(key->data, SECRET, 32);
	key->size = 32;
	return 0;
}

static void
prepare(void)
{
	static const gnutls_datum_t key = { (unsigned char *)SECRET, 32 };
	struct pm_fault fault = { .error = 0 };
	char line[65];

	for (int at = 0; at < 32; at++)
		snprintf(line + 2 * at, 3, "%02x", (unsigned)SECRET[at]);
	write_file("secret", line, 64, 0600);
	if (pm_tls_load_psk(&secret, in_directory("secret"), &fault) != PM_OK)
		give_up(fault.text);
	forget("secret");
	certs = load("server", "ca", "client.example");
	must(gnutls_psk_allocate_client_credentials(&psk), "psk");
	must(gnutls_psk_set_client_credentials(psk, "pm", &key,
	    GNUTLS_PSK_KEY_RAW), "psk");
	must(gnutls_psk_allocate_client_credentials(&other_psk), "psk");
	must(gnutls_psk_set_client_credentials(other_psk, "root", &key,
	    GNUTLS_PSK_KEY_RAW), "psk");
	must(gnutls_psk_allocate_server_credentials(&psk_server), "psk");
	gnutls_psk_set_server_credentials_function(psk_server, tell_secret);
	must(gnutls_certificate_allocate_credentials(&trusting), "none");
	must(gnutls_certificate_allocate_credentials(&shown), "shown");
	must(gnutls_certificate_set_x509_key_file(shown,
	    in_directory("server.crt"), in_directory("server.key"),
	    GNUTLS_X509_FMT_PEM), "shown");
}

static void
release(void)
{
	gnutls_psk_free_client_credentials(psk);
	gnutls_psk_free_client_credentials(other_psk);
	gnutls_psk_free_server_credentials(psk_server);
	gnutls_certificate_free_credentials(trusting);
	gnutls_certificate_free_credentials(shown);
	pm_tls_keys_free(secret);
	pm_tls_keys_free(certs);
}

/* A session of GnuTLS's own, and our end of the same connection. */
struct foreign {
	gnutls_session_t session;
	int fd, code, is_known;
	struct end end;
};

static void
face(struct foreign *foreign, const struct pm_tls_keys *keys, unsigned flags,
    const char *priority, gnutls_credentials_type_t type, void *credentials)
{
	int fds[2], serves = (flags & GNUTLS_SERVER) == 0;

	connect_loopback(fds);
	*foreign = (struct foreign){ .fd = fds[0] };
	open_end(&foreign->end, fds[1], keys, serves);
	must(gnutls_init(&foreign->session, flags | GNUTLS_NONBLOCK |
	    GNUTLS_NO_SIGNAL), "session");
	must(gnutls_priority_set_direct(foreign->session, priority, NULL),
	    priority);
	must(gnutls_credentials_set(foreign->session, type, credentials),
	    "credentials");
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	gnutls_transport_set_int(foreign->session, fds[0]);
}

static void
part(struct foreign *foreign)
{
	pm_channel_close(&foreign->end.channel);
	gnutls_deinit(foreign->session);
	close(foreign->fd);
}

/* Take turns until both are done, in whatever way. */
static void
shake(struct foreign *foreign)
{
	for (;;) {
		struct pollfd pollers[2] = { { foreign->fd, POLLIN, 0 },
		    { -1, POLLIN, 0 } };

		greet(&foreign->end);
		if (foreign->code >= 0 && !foreign->is_known) {
			int code = gnutls_handshake(foreign->session);

			foreign->is_known = code == 0;
			if (code != 0 && gnutls_error_is_fatal(code)) {
				foreign->code = code;
				gnutls_alert_send_appropriate(
				    foreign->session, code);
				shutdown(foreign->fd, SHUT_WR);
			}
		}
		if ((foreign->is_known || foreign->code < 0) &&
		    (foreign->end.is_known || foreign->end.status != PM_OK))
			return;
		if (foreign->is_known || foreign->code < 0)
			pollers[0].fd = -1;
		if (!foreign->end.is_known && foreign->end.status == PM_OK)
			pollers[1].fd = foreign->end.channel.fd;
		if (poll(pollers, 2, PATIENCE_MS) <= 0)
			give_up("handshake");
	}
}

#define TLS13	"NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* Our end refuses that client for this reason. */
static void
refuses(const struct pm_tls_keys *keys, const char *priority,
    gnutls_credentials_type_t type, void *credentials, const char *reason)
{
	struct foreign foreign;

	printf("# a client with %s\n", priority);
	face(&foreign, keys, GNUTLS_CLIENT, priority, type, credentials);
	shake(&foreign);
	CHECK(!foreign.end.is_known && foreign.end.status == PM_ERR_PEER);
	CHECK(says(&foreign.end, reason));
	part(&foreign);
}

#define OLDER		"does not speak TLS 1.3"
#define NO_CIPHER	"agrees to no cipher or group of ours"
#define NO_SECRET	"does not have our key"

static void
test_clients(void)
{
	struct foreign foreign;

	face(&foreign, secret, GNUTLS_CLIENT, TLS13 ":+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk);
	shake(&foreign);
	CHECK(foreign.is_known && foreign.end.is_known);
	CHECK(gnutls_cipher_get(foreign.session) ==
	    GNUTLS_CIPHER_AES_128_GCM || gnutls_cipher_get(foreign.session)
	    == GNUTLS_CIPHER_CHACHA20_POLY1305);
	part(&foreign);
	refuses(secret, TLS13 ":+ECDHE-PSK", GNUTLS_CRD_PSK, other_psk,
	    NO_SECRET);
	refuses(secret, TLS13 ":-KX-ALL:+PSK", GNUTLS_CRD_PSK, psk, NO_SECRET);
	refuses(secret, TLS13, GNUTLS_CRD_CERTIFICATE, trusting, NO_SECRET);
	refuses(secret, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk, OLDER);
	refuses(secret, TLS13 ":-KX-ALL:+ECDHE-PSK:-CIPHER-ALL:+AES-128-CCM",
	    GNUTLS_CRD_PSK, psk, NO_CIPHER);
	refuses(secret, TLS13 ":-KX-ALL:+DHE-PSK:-GROUP-ALL:"
	    "+GROUP-FFDHE2048", GNUTLS_CRD_PSK, psk, NO_CIPHER);
	refuses(certs, TLS13, GNUTLS_CRD_CERTIFICATE, trusting,
	    "has no certificate");
	refuses(certs, "NORMAL:-VERS-ALL:+VERS-TLS1.2",
	    GNUTLS_CRD_CERTIFICATE, trusting, OLDER);
	refuses(certs, "NORMAL:-VERS-ALL:+VERS-TLS1.0:+VERS-TLS1.1",
	    GNUTLS_CRD_CERTIFICATE, trusting, OLDER);
	refuses(certs, TLS13 ":+ECDHE-PSK", GNUTLS_CRD_PSK, psk,
	    "refused our certificate or key");
}

static void
dislikes(const struct pm_tls_keys *keys, const char *priority,
    gnutls_credentials_type_t type, void *credentials, const char *reason)
{
	struct foreign foreign;

	printf("# a server with %s\n", priority);
	face(&foreign, keys, GNUTLS_SERVER, priority, type, credentials);
	shake(&foreign);
	CHECK(!foreign.end.is_known && foreign.end.status == PM_ERR_PEER);
	CHECK(says(&foreign.end, reason));
	part(&foreign);
}

static void
test_servers(void)
{
	struct foreign foreign;

	face(&foreign, secret, GNUTLS_SERVER, TLS13 ":+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk_server);
	shake(&foreign);
	CHECK(foreign.is_known && foreign.end.is_known);
	part(&foreign);
	dislikes(secret, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk_server, OLDER);
	dislikes(secret, TLS13, GNUTLS_CRD_CERTIFICATE, shown, NO_SECRET);
	dislikes(secret, TLS13 ":-KX-ALL:+PSK", GNUTLS_CRD_PSK, psk_server,
	    "refused our key");
}

/* Messages of TLS itself, between the bytes. */
static void
test_own_messages(void)
{
	char text[] = "three", buf[100];
	struct iovec three = { text, 5 };
	struct foreign foreign;
	int turns = 0;
	ssize_t code;
	size_t got;

	face(&foreign, secret, GNUTLS_CLIENT, TLS13 ":+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk);
	shake(&foreign);
	CHECK(gnutls_record_send(foreign.session, "one", 3) == 3);
	/* New keys for both; ours answers with its own. */
	CHECK(gnutls_session_key_update(foreign.session, GNUTLS_KU_PEER) ==
	    0);
	CHECK(gnutls_record_send(foreign.session, "two", 3) == 3);
	CHECK(hear(&foreign.end, buf, sizeof(buf), &got) == PM_OK &&
	    got == 6 && memcmp(buf, "onetwo", 6) == 0);
	CHECK(pm_channel_send(&foreign.end.channel, &three, 1, &got) ==
	    PM_OK && got == 5);
	do
		code = gnutls_record_recv(foreign.session, buf, 5);
	while (code == GNUTLS_E_AGAIN && turns++ < 1000);
	CHECK(code == 5 && memcmp(buf, "three", 5) == 0);
	/* A record of nothing but padding is no end. */
	CHECK(gnutls_record_send2(foreign.session, "", 0, 64, 0) == 0);
	CHECK(pm_channel_recv(&foreign.end.channel, buf, sizeof(buf), &got)
	    == PM_OK && got == 0);
	CHECK(gnutls_record_send(foreign.session, "four", 4) == 4);
	CHECK(hear(&foreign.end, buf, sizeof(buf), &got) == PM_OK &&
	    got == 4 && memcmp(buf, "four", 4) == 0);
	CHECK(gnutls_bye(foreign.session, GNUTLS_SHUT_WR) == 0);
	CHECK(hear(&foreign.end, buf, sizeof(buf), &got) == PM_END);
	part(&foreign);
}

/* One that asks for new keys all the time and reads none of the answers. */
static void
test_many_keys(void)
{
	struct foreign foreign;
	enum pm_status status = PM_OK;
	char byte;
	size_t got;

	face(&foreign, secret, GNUTLS_CLIENT, TLS13 ":+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk);
	shake(&foreign);
	for (int at = 0; at < 100000 && status == PM_OK; at++) {
		(void)gnutls_session_key_update(foreign.session,
		    GNUTLS_KU_PEER);
		status = pm_channel_recv(&foreign.end.channel, &byte, 1,
		    &got);
	}
	CHECK(status == PM_ERR_PEER);
	printf("# %s\n", foreign.end.fault.text);
	part(&foreign);
}

/* Records that the other end wants to be small come to it, all the same. */
static void
test_small_records(void)
{
	static char sent[100000], received[100000];
	struct foreign foreign;
	size_t put = 0, now, left, got = 0;
	struct iovec iov;

	face(&foreign, secret, GNUTLS_CLIENT, TLS13 ":+ECDHE-PSK",
	    GNUTLS_CRD_PSK, psk);
	must((int)gnutls_record_set_max_recv_size(foreign.session, 512),
	    "limit");
	shake(&foreign);
	memset(sent, 'x', sizeof(sent));
	for (int turns = 0; turns < 100000 && got < sizeof(sent); turns++) {
		ssize_t code;

		iov = (struct iovec){ sent + put, sizeof(sent) - put };
		if (pm_channel_send(&foreign.end.channel, &iov, 1, &now) !=
		    PM_OK || pm_channel_flush(&foreign.end.channel, &left) !=
		    PM_OK)
			break;
		put += now;
		code = gnutls_record_recv(foreign.session, received + got,
		    sizeof(received) - got);
		got += code > 0 ? (size_t)code : 0;
	}
	CHECK(put == sizeof(sent) && got == put &&
	    memcmp(sent, received, got) == 0);
	part(&foreign);
}

/* An end that says this, and our own that takes it for what it is. */
static void
test_no_tls(const struct pm_tls_keys *keys, int serves, const void *bytes,
    size_t size, const char *reason)
{
	struct end end;
	int fds[2];

	connect_pair(fds);
	open_end(&end, fds[1], keys, serves);
	greet(&end);
	CHECK(end.status == PM_OK && !end.is_known);
	CHECK(send(fds[0], bytes, size, 0) == (ssize_t)size);
	shutdown(fds[0], SHUT_WR);
	/* It always has something to read. */
	for (int turns = 0; turns < 10; turns++)
		greet(&end);
	CHECK(end.status == PM_ERR_PEER && says(&end, reason));
	close(fds[0]);
	pm_channel_close(&end.channel);
}

static void
test_strangers(void)
{
	static char zeros[100000];
	unsigned state = 1;

	for (int serves = 0; serves < 2; serves++) {
		test_no_tls(secret, serves, "PMW1 hello", 10,
		    "does not speak TLS");
		test_no_tls(certs, serves, "GET / HTTP/1.0\r\n\r\n", 18,
		    "does not speak TLS");
		test_no_tls(certs, serves, zeros, sizeof(zeros),
		    "does not speak TLS");
		test_no_tls(secret, serves, "\x16\x03\x01\x00\x10\x01", 6,
		    "ended the connection before it was secured");
		test_no_tls(secret, serves, "", 0,
		    "ended the connection before it was secured");
	}
	for (size_t at = 0; at < sizeof(zeros); at++) {
		state = state * 1103515245u + 12345u;
		zeros[at] = (char)(state >> 16);
	}
	test_no_tls(secret, 1, zeros, sizeof(zeros), "does not speak TLS");
}

static size_t
memory_used(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* A hello that goes on for a megabyte, in records of that many bytes. */
static void
test_large_hello(size_t size)
{
	unsigned char record[5 + 16384] = { 0x16, 3, 1, (unsigned char)
	    (size >> 8), (unsigned char)size, 1, 0x10, 0, 0 };
	size_t most = 0, before = memory_used(), all = 0;
	struct end end;
	int fds[2];

	connect_pair(fds);
	open_end(&end, fds[1], secret, 1);
	while (end.status == PM_OK && all < 1 << 20 && send(fds[0], record,
	    5 + size, MSG_NOSIGNAL) == (ssize_t)(5 + size)) {
		all += 5 + size;
		greet(&end);
		if (memory_used() - before > most)
			most = memory_used() - before;
		/* The head of the message is in the first alone. */
		if (size >= 4)
			memset(record + 5, 0, 4);
	}
	printf("# %zu bytes for records of %zu\n", most, size);
	CHECK(end.status == PM_ERR_PEER && all < 200000);
	CHECK(says(&end, "says too much before it is known"));
	CHECK(most < 400000);
	pm_channel_close(&end.channel);
	close(fds[0]);
}

/* What a client's first flight is, byte by byte, and what that costs. */
static void
test_slow(void)
{
	int ours[2], theirs[2];
	char hello[4096];
	size_t before, most = 0;
	struct end server, client;
	ssize_t size;

	connect_pair(ours);
	open_end(&client, ours[0], secret, 0);
	greet(&client);
	size = recv(ours[1], hello, sizeof(hello), 0);
	CHECK(size > 100);
	connect_pair(theirs);
	before = memory_used();
	open_end(&server, theirs[1], secret, 1);
	for (ssize_t at = 0; at < size; at++) {
		greet(&server);
		if (server.status != PM_OK ||
		    send(theirs[0], hello + at, 1, 0) != 1)
			break;
		if (memory_used() - before > most)
			most = memory_used() - before;
	}
	greet(&server);
	CHECK(server.status == PM_OK && !server.is_known);
	printf("# %zu bytes for a slow stranger\n", most);
	CHECK(most < 100000);
	pm_channel_close(&server.channel);
	pm_channel_close(&client.channel);
	close(ours[1]);
	close(theirs[0]);
}

int
main(void)
{
	begin();
	make_certs();
	prepare();
	test_clients();
	test_servers();
	test_own_messages();
	test_many_keys();
	test_small_records();
	test_strangers();
	test_large_hello(16384);
	test_large_hello(100);
	test_large_hello(1);
	test_slow();
	release();
	forget_certs();
	return check_done();
}
