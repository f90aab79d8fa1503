/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* mkfifo with its mode */
#include "certificates.h"

/* What a secret's file with this text and mode is taken for. */
static int
loads(const char *text, mode_t mode, const char *reason)
{
	struct end end = { .fault.error = 0 };
	struct pm_tls_keys *keys;
	enum pm_status status;

	write_file("secret", text, strlen(text), mode);
	status = pm_tls_load_psk(&keys, in_directory("secret"), &end.fault);
	unlink(in_directory("secret"));
	if (reason == NULL) {
		pm_tls_keys_free(keys);
		return status == PM_OK && says(&end, "");
	}
	return status == PM_ERR_REFUSED && keys == NULL &&
	    strstr(end.fault.subject, "/secret") != NULL && says(&end, reason);
}

#define OTHERS	"may be read by others: chmod 600"
#define FORM	"is not one line of 64 to 128 hexadecimal digits"
#define HEX32	"0123456789abcdef0123456789ABCDEF"

static void
test_secret_files(void)
{
	static const mode_t open_modes[] = { 0640, 0604, 0644, 0620, 0602,
	    0610, 0666 };
	char latin[] = HEX32 HEX32 "\n";

	CHECK(loads(HEX32 HEX32 "\n", 0600, NULL));
	CHECK(loads(HEX32 HEX32, 0400, NULL));
	CHECK(loads(HEX32 HEX32 HEX32 HEX32 "\n", 0600, NULL));
	CHECK(loads(HEX32 HEX32 "00\n", 0600, NULL));
	for (size_t at = 0; at < COUNT(open_modes); at++)
		CHECK(loads(HEX32 HEX32 "\n", open_modes[at], OTHERS));
	CHECK(loads("", 0600, FORM));
	CHECK(loads("\n", 0600, FORM));
	CHECK(loads(HEX32 "\n", 0600, FORM));
	CHECK(loads(HEX32 HEX32 "0\n", 0600, FORM));
	CHECK(loads(HEX32 HEX32 HEX32 HEX32 "00\n", 0600, FORM));
	CHECK(loads(HEX32 HEX32 "\n\n", 0600, FORM));
	CHECK(loads(HEX32 HEX32 "\r\n", 0600, FORM));
	CHECK(loads(" " HEX32 HEX32 "\n", 0600, FORM));
	CHECK(loads(HEX32 "\n" HEX32 "\n", 0600, FORM));
	CHECK(loads(HEX32 HEX32 "zz\n", 0600, FORM));
	for (size_t at = 0; at < 64; at += 9) {
		latin[at] = "g/:@G`\xb0~"[at / 9];
		CHECK(loads(latin, 0600, FORM));
		latin[at] = '0';
	}
}

static void
test_no_files(void)
{
	struct pm_fault fault = { .error = 0 };
	struct pm_tls_keys *keys;

	CHECK(pm_tls_load_psk(&keys, in_directory("none"), &fault) ==
	    PM_ERR_SYSTEM && keys == NULL && fault.error == ENOENT);
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_tls_load_psk(&keys, directory, &fault) == PM_ERR_REFUSED &&
	    strcmp(fault.text, "is no regular file") == 0);
	/* Nobody writes to it, and that is not waited for. */
	if (mkfifo(in_directory("fifo"), 0600) != 0)
		give_up("mkfifo");
	fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_tls_load_psk(&keys, in_directory("fifo"), &fault) ==
	    PM_ERR_REFUSED && strcmp(fault.text, "is no regular file") == 0);
	unlink(in_directory("fifo"));
	pm_tls_keys_free(NULL);
}

static size_t
read_whole(const char *name, char *buf, size_t size, mode_t *mode)
{
	int fd = open(in_directory(name), O_RDONLY);
	ssize_t got = read(fd, buf, size);
	struct stat st;

	*mode = fstat(fd, &st) == 0 ? st.st_mode & 07777 : 07777;
	close(fd);
	return got < 0 ? 0 : (size_t)got;
}

static void
test_making(void)
{
	struct end end = { .fault.error = 0 };
	struct pm_tls_keys *keys;
	char first[200], second[200];
	mode_t mode, before;

	before = umask(0777);
	CHECK(pm_tls_make_key(in_directory("new"), &end.fault) == PM_OK);
	umask(0);
	CHECK(pm_tls_make_key(in_directory("too"), &end.fault) == PM_OK);
	umask(before);
	CHECK(read_whole("new", first, sizeof(first), &mode) == 65);
	CHECK(mode == 0600 && first[64] == '\n');
	CHECK(strspn(first, "0123456789abcdef") == 64);
	CHECK(read_whole("too", second, sizeof(second), &mode) == 65);
	CHECK(mode == 0600 && memcmp(first, second, 64) != 0);
	CHECK(pm_tls_load_psk(&keys, in_directory("new"), &end.fault) ==
	    PM_OK);
	pm_tls_keys_free(keys);
	CHECK(pm_tls_make_key(in_directory("new"), &end.fault) ==
	    PM_ERR_REFUSED);
	CHECK(says(&end, "is there already, and a key is never replaced"));
	CHECK(read_whole("new", second, sizeof(second), &mode) == 65 &&
	    memcmp(first, second, 65) == 0);
	end.fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_tls_make_key(in_directory("no/new"), &end.fault) ==
	    PM_ERR_SYSTEM && end.fault.error == ENOENT);
	unlink(in_directory("new"));
	/* Where it points to is not written to either. */
	CHECK(symlink(in_directory("new"), in_directory("link")) == 0);
	end.fault = (struct pm_fault){ .error = 0 };
	CHECK(pm_tls_make_key(in_directory("link"), &end.fault) ==
	    PM_ERR_REFUSED && access(in_directory("new"), F_OK) != 0);
	unlink(in_directory("link"));
	unlink(in_directory("too"));
}

static int
cannot_load(const char *cert, const char *key, const char *ca,
    const char *peer, const char *reason)
{
	struct end end = { .fault.error = 0 };
	struct pm_tls_keys *keys;
	enum pm_status status = pm_tls_load_certs(&keys, in_directory(cert),
	    in_directory(key), in_directory(ca), peer, &end.fault);

	return status != PM_OK && keys == NULL && says(&end, reason);
}

static void
test_cert_files(void)
{
	CHECK(cannot_load("client.crt", "client.key", "ca.crt", "",
	    "needs the name that the other end's certificate is for"));
	CHECK(cannot_load("client.crt", "server.key", "ca.crt", "x",
	    "is not the key of that certificate"));
	CHECK(cannot_load("none.crt", "client.key", "ca.crt", "x",
	    "No such file or directory"));
	CHECK(cannot_load("client.crt", "none.key", "ca.crt", "x",
	    "No such file or directory"));
	CHECK(cannot_load("client.crt", "client.key", "none.crt", "x",
	    "No such file or directory"));
	CHECK(cannot_load("client.crt", "client.key", "client.key", "x",
	    "holds no certificate in PEM"));
	CHECK(cannot_load("client.key", "client.key", "ca.crt", "x",
	    "it or its key cannot be used: Base64 decoding error."));
	chmod(in_directory("client.key"), 0640);
	CHECK(cannot_load("client.crt", "client.key", "ca.crt", "x", OTHERS));
	chmod(in_directory("client.key"), 0600);
}

static void
test_locked_key(void)
{
	gnutls_datum_t pem;

	must(gnutls_x509_privkey_export2_pkcs8(keys_made[number_of("client")],
	    GNUTLS_X509_FMT_PEM, "word", GNUTLS_PKCS_PBES2_AES_256, &pem),
	    "pkcs8");
	write_file("locked.key", pem.data, pem.size, 0600);
	gnutls_free(pem.data);
	CHECK(cannot_load("client.crt", "locked.key", "ca.crt", "x",
	    "needs a password, which nobody would be asked for"));
	unlink(in_directory("locked.key"));
}

/* Let two meet, and have the first hear what the other thinks of it. */
static void
introduce(struct end ends[2], const struct pm_tls_keys *first,
    const struct pm_tls_keys *second)
{
	char byte;
	size_t got;
	int fds[2];

	connect_loopback(fds);
	open_ends(ends, fds, first, second);
	CHECK(meet(ends));
	if (ends[0].status == PM_OK && ends[1].status != PM_OK)
		ends[0].status = hear(&ends[0], &byte, 1, &got);
	close_ends(ends);
}

static void
refused(const struct pm_tls_keys *first, const struct pm_tls_keys *second,
    const char *of_first, const char *of_second)
{
	struct end ends[2];

	introduce(ends, first, second);
	CHECK(ends[0].status == PM_ERR_PEER && says(&ends[0], of_first));
	CHECK(ends[1].status == PM_ERR_PEER && says(&ends[1], of_second));
	CHECK(strcmp(ends[0].fault.subject, "server") == 0);
	CHECK(strcmp(ends[1].fault.subject, "client") == 0);
}

static void
accepted(const struct pm_tls_keys *first, const struct pm_tls_keys *second)
{
	struct end ends[2];

	introduce(ends, first, second);
	CHECK(ends[0].status == PM_OK && says(&ends[0], ""));
	CHECK(ends[1].status == PM_OK && says(&ends[1], ""));
}

static void
test_secrets(void)
{
	struct pm_tls_keys *one = new_secret("one"), *two = new_secret("two");
	struct pm_tls_keys *client = load("client", "ca", "server.example");
	struct pm_tls_keys *server = load("server", "ca", "client.example");

	accepted(one, one);
	refused(one, two, "refused our key", "does not have our key");
	refused(one, server, "does not have our key",
	    "refused our certificate or key");
	refused(client, one, "refused our certificate or key",
	    "does not have our key");
	pm_tls_keys_free(one);
	pm_tls_keys_free(two);
	pm_tls_keys_free(client);
	pm_tls_keys_free(server);
}

/* What a server makes of a client with that certificate, and tells it. */
static void
client_is(const char *client, const char *to_client, const char *to_server)
{
	struct pm_tls_keys *first = load(client, "ca", "server.example");
	struct pm_tls_keys *second = load("server", "ca", "client.example");

	printf("# a client's certificate: %s\n", client);
	if (to_client == NULL)
		accepted(first, second);
	else
		refused(first, second, to_client, to_server);
	pm_tls_keys_free(first);
	pm_tls_keys_free(second);
}

static void
server_is(const char *server, const char *ca, const char *to_client,
    const char *to_server)
{
	struct pm_tls_keys *first = load("client", ca, "server.example");
	struct pm_tls_keys *second = load(server, "ca", "client.example");

	printf("# a server's certificate: %s\n", server);
	refused(first, second, to_client, to_server);
	pm_tls_keys_free(first);
	pm_tls_keys_free(second);
}

#define REFUSED	"refused our certificate: "

static void
test_certificates(void)
{
	client_is("client", NULL, NULL);
	client_is("both", NULL, NULL);
	client_is("any", NULL, NULL);
	client_is("expired", REFUSED "it has expired or is not yet valid",
	    "its certificate has expired");
	client_is("early", REFUSED "it has expired or is not yet valid",
	    "its certificate is not yet valid");
	client_is("stranger", REFUSED "it is of an unknown authority",
	    "its certificate is of an unknown authority");
	client_is("wrong", REFUSED "it is for another purpose",
	    "its certificate is for another purpose");
	client_is("named", REFUSED "it is for another name",
	    "its certificate is not for client.example");
	client_is("signed", REFUSED "it is of an unknown authority",
	    "its certificate is signed by one that is no authority");
	server_is("lapsed", "ca", "its certificate has expired",
	    REFUSED "it has expired or is not yet valid");
	server_is("client", "ca", "its certificate is for another purpose",
	    REFUSED "it is for another purpose");
	server_is("both", "ca", "its certificate is not for server.example",
	    REFUSED "it is for another name");
	server_is("server", "other-ca",
	    "its certificate is of an unknown authority",
	    REFUSED "it is of an unknown authority");
}

/* One that leaves with bytes unread is heard all the same, though late. */
static void
test_unread(void)
{
	struct pm_tls_keys *first = load("client", "ca", "server.example");
	struct pm_tls_keys *second = load("lapsed", "ca", "client.example");
	struct end ends[2];
	int fds[2], off = 0;

	connect_loopback(fds);
	setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &off, sizeof(off));
	open_ends(ends, fds, first, second);
	CHECK(meet(ends));
	CHECK(ends[1].status == PM_ERR_PEER && says(&ends[1], REFUSED
	    "it has expired or is not yet valid"));
	close_ends(ends);
	pm_tls_keys_free(first);
	pm_tls_keys_free(second);
}

/* One that sends before it hears that it was refused hears it all the same. */
static void
test_refused_sender(void)
{
	static char much[1 << 20];
	struct pm_tls_keys *first = load("expired", "ca", "server.example");
	struct pm_tls_keys *second = load("server", "ca", "client.example");
	struct iovec iov = { much, sizeof(much) };
	struct end ends[2];
	int fds[2];

	connect_loopback(fds);
	open_ends(ends, fds, first, second);
	CHECK(meet(ends) && ends[0].is_known && ends[1].status != PM_OK);
	for (int turns = 0; turns < 100 && ends[0].status == PM_OK; turns++) {
		struct pollfd poller = { ends[0].channel.fd, POLLOUT, 0 };
		size_t put;

		ends[0].status = pm_channel_send(&ends[0].channel, &iov, 1,
		    &put);
		(void)poll(&poller, 1, PATIENCE_MS);
	}
	CHECK(ends[0].status == PM_ERR_PEER && says(&ends[0], REFUSED
	    "it has expired or is not yet valid"));
	close_ends(ends);
	pm_tls_keys_free(first);
	pm_tls_keys_free(second);
}

/* Is a certificate taken for that name, by who listens and who connects? */
static void
test_name(const char *cert, const char *name, int by_server, int by_client)
{
	struct pm_tls_keys *shown = load(cert, "ca", "server.example");
	struct pm_tls_keys *wants = load("server", "ca", name);
	struct pm_tls_keys *back = load(cert, "ca", "client.example");
	struct pm_tls_keys *asks = load("client", "ca", name);
	struct end ends[2];

	printf("# %s is %s\n", cert, name);
	introduce(ends, shown, wants);
	CHECK((ends[1].status == PM_OK) == by_server);
	introduce(ends, asks, back);
	CHECK((ends[0].status == PM_OK) == by_client);
	pm_tls_keys_free(shown);
	pm_tls_keys_free(wants);
	pm_tls_keys_free(back);
	pm_tls_keys_free(asks);
}

static void
test_names(void)
{
	test_name("both", "client.example", 1, 1);
	test_name("both", "CLIENT.example", 1, 1);
	test_name("both", "x.client.example", 0, 0);
	test_name("both", "example", 0, 0);
	test_name("both", "both", 0, 0);	/* as it is called besides */
	test_name("pattern", "x.some.example", 0, 1);
	test_name("pattern", "some.example", 0, 0);
	test_name("pattern", "x.y.some.example", 0, 0);
	test_name("four", "192.0.2.7", 1, 1);
	test_name("four", "192.0.2.8", 0, 0);
	test_name("six", "2001:db8::7", 1, 1);
	test_name("six", "2001:db8:0:0::7", 1, 1);
	test_name("six", "2001:db8::8", 0, 0);
}

int
main(void)
{
	begin();
	test_secret_files();
	test_no_files();
	test_making();
	make_certs();
	test_cert_files();
	test_locked_key();
	test_secrets();
	test_certificates();
	test_unread();
	test_refused_sender();
	test_names();
	forget_certs();
	return check_done();
}
