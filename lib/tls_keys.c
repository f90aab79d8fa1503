/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _DEFAULT_SOURCE		/* explicit_bzero */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fdio.h"
#include "tls_keys.h"

#define IDENTITY	"pm"		/* of the secret: there is just one */
#define MAKE_SIZE	32u
#define FILE_SIZE	(1u << 20)	/* more than any certificates are */
#define CHAIN_MAX	8u		/* certificates to an authority */
#define KEY_BITS_MAX	8192u		/* a stranger's key costs our time */

/*
 * TLS 1.3, ciphers that authenticate, and keys that are forgotten with the
 * connection, whatever the user's or the system's defaults become.
 */
#define COMMON	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:" \
	"+AES-256-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-GROUP-ALL:" \
	"+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:-KX-ALL:" \
	"%PROFILE_MEDIUM:"

static const char digits[] = "0123456789abcdef";

static enum pm_status
fail_system(struct pm_fault *fault, const char *path)
{
	return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
	    strerror(errno));
}

static enum pm_status
fail_memory(struct pm_fault *fault)
{
	errno = ENOMEM;
	return fail_system(fault, NULL);
}

static enum pm_status
write_key(int fd, const char *path, struct pm_fault *fault)
{
	unsigned char secret[MAKE_SIZE];
	char line[2 * MAKE_SIZE + 1];
	enum pm_status status = PM_OK;

	if (gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof(secret)) != 0)
		return pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "the system gives no random numbers");
	for (size_t at = 0; at < MAKE_SIZE; at++) {
		line[2 * at] = digits[secret[at] >> 4];
		line[2 * at + 1] = digits[secret[at] & 15];
	}
	line[2 * MAKE_SIZE] = '\n';
	/* The umask may have taken more than it should. */
	if (fchmod(fd, 0600) != 0 ||
	    pm_fd_write(fd, line, sizeof(line)) != PM_OK || fsync(fd) != 0)
		status = fail_system(fault, path);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(line, sizeof(line));
	return status;
}

enum pm_status
pm_tls_make_key(const char *path, struct pm_fault *fault)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	enum pm_status status;

	if (fd < 0)
		return errno != EEXIST ? fail_system(fault, path)
		    : pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "is there already, and a key is never replaced");
	status = write_key(fd, path, fault);
	if (close(fd) != 0 && status == PM_OK)
		status = fail_system(fault, path);
	if (status != PM_OK)
		(void)unlink(path);
	return status;
}

/*
 * All of a file, with a zero byte after it that *size leaves out.  A secret
 * one must be its owner's alone.
 */
static enum pm_status
read_file(const char *path, int secret, char **text, size_t *size,
    struct pm_fault *fault)
{
	/* A pipe without a writer would be waited for. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum pm_status status;
	struct stat st;

	*text = NULL;
	if (fd < 0)
		return fail_system(fault, path);
	if (fstat(fd, &st) != 0)
		status = fail_system(fault, path);
	else if (!S_ISREG(st.st_mode))
		status = pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "is no regular file");
	else if (secret && (st.st_mode & 077) != 0)
		status = pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "may be read by others: chmod 600");
	else if (st.st_size > FILE_SIZE)
		status = pm_fault_set(fault, PM_ERR_REFUSED, path,
		    "is too long for a key or certificate");
	else if ((*text = malloc((size_t)st.st_size + 1)) == NULL)
		status = fail_memory(fault);
	else {
		*size = (size_t)st.st_size;
		(*text)[*size] = '\0';
		status = PM_OK;
		if (pm_fd_read(fd, *text, *size) != PM_OK)
			status = pm_fault_set(fault, PM_ERR_REFUSED, path,
			    "cannot be read whole");
	}
	close(fd);
	return status;
}

/* Free what read_file gave, and leave nothing of it. */
static void
wipe_file(char *text, size_t size)
{
	if (text != NULL)
		explicit_bzero(text, size);
	free(text);
}

static int
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
	    (c >= 'A' && c <= 'F');
}

static unsigned
hex(char c)
{
	unsigned value = (unsigned char)c;

	return value <= '9' ? value - '0' : (value | 32u) - 'a' + 10;
}

/* The digits of one line to the bytes of the secret. */
static int
parse_secret(struct pm_tls_keys *keys, const char *text, size_t size)
{
	size_t count = 0;

	while (count < size && is_hex(text[count]))
		count++;
	if (count % 2 != 0 || count < 2 * PM_TLS_SECRET_MIN ||
	    count > 2 * PM_TLS_SECRET_MAX || size - count > 1 ||
	    (size > count && text[count] != '\n'))
		return 0;
	for (keys->size = 0; keys->size < count / 2; keys->size++)
		keys->secret[keys->size] = (unsigned char)
		    (hex(text[2 * keys->size]) << 4 |
		    hex(text[2 * keys->size + 1]));
	return 1;
}

/* GnuTLS frees what it is given, and wipes it before. */
static int
give_secret(gnutls_session_t session, gnutls_datum_t *key)
{
	const struct pm_tls_party *party = gnutls_session_get_ptr(session);
	const struct pm_tls_keys *keys = party->keys;

	key->data = gnutls_malloc(keys->size);
	if (key->data == NULL)
		return -1;
	memcpy(key->data, keys->secret, keys->size);
	key->size = (unsigned)keys->size;
	return 0;
}

static int
secret_of_client(gnutls_session_t session, char **name, gnutls_datum_t *key)
{
	*name = gnutls_strdup(IDENTITY);
	return *name != NULL ? give_secret(session, key) : -1;
}

static int
secret_of_server(gnutls_session_t session, const char *name,
    gnutls_datum_t *key)
{
	/* 1: unknown, and GnuTLS goes on with a random one that fails. */
	return strcmp(name, IDENTITY) == 0 ? give_secret(session, key) : 1;
}

static struct pm_tls_keys *
new_keys(const char *priority)
{
	struct pm_tls_keys *keys = calloc(1, sizeof(*keys));

	if (keys != NULL && gnutls_priority_init(&keys->priority, priority,
	    NULL) != 0) {
		free(keys);
		keys = NULL;
	}
	return keys;
}

enum pm_status
pm_tls_load_psk(struct pm_tls_keys **keys, const char *path,
    struct pm_fault *fault)
{
	enum pm_status status;
	size_t size = 0;
	char *text;

	*keys = NULL;
	status = read_file(path, 1, &text, &size, fault);
	if (status == PM_OK) {
		*keys = new_keys(COMMON "+ECDHE-PSK");
		if (*keys == NULL ||
		    gnutls_psk_allocate_client_credentials(&(*keys)->client)
		    != 0 ||
		    gnutls_psk_allocate_server_credentials(&(*keys)->server)
		    != 0)
			status = fail_memory(fault);
		else if (!parse_secret(*keys, text, size))
			status = pm_fault_set(fault, PM_ERR_REFUSED, path,
			    "is not one line of %u to %u hexadecimal digits",
			    2 * PM_TLS_SECRET_MIN, 2 * PM_TLS_SECRET_MAX);
	}
	wipe_file(text, size);
	if (status != PM_OK) {
		pm_tls_keys_free(*keys);
		*keys = NULL;
		return status;
	}
	gnutls_psk_set_client_credentials_function((*keys)->client,
	    secret_of_client);
	gnutls_psk_set_server_credentials_function((*keys)->server,
	    secret_of_server);
	return PM_OK;
}

static enum pm_status
load_authorities(struct pm_tls_keys *keys, const char *path,
    struct pm_fault *fault)
{
	enum pm_status status;
	gnutls_datum_t data;
	size_t size = 0;
	int count;
	char *text;

	status = read_file(path, 0, &text, &size, fault);
	if (status == PM_OK) {
		data.data = (unsigned char *)text;
		data.size = (unsigned)size;
		count = gnutls_certificate_set_x509_trust_mem(keys->certs,
		    &data, GNUTLS_X509_FMT_PEM);
		if (count <= 0)
			status = pm_fault_set(fault, PM_ERR_REFUSED, path,
			    "holds no certificate in PEM");
	}
	wipe_file(text, size);
	return status;
}

static enum pm_status
fail_pair(int code, const char *cert, const char *key,
    struct pm_fault *fault)
{
	switch (code) {
	case GNUTLS_E_MEMORY_ERROR:
		return fail_memory(fault);
	case GNUTLS_E_CERTIFICATE_KEY_MISMATCH:
		return pm_fault_set(fault, PM_ERR_REFUSED, key,
		    "is not the key of that certificate");
	case GNUTLS_E_DECRYPTION_FAILED:
		return pm_fault_set(fault, PM_ERR_REFUSED, key,
		    "needs a password, which nobody would be asked for");
	default:
		return pm_fault_set(fault, PM_ERR_REFUSED, cert,
		    "it or its key cannot be used: %s",
		    gnutls_strerror(code));
	}
}

static enum pm_status
load_pair(struct pm_tls_keys *keys, const char *cert, const char *key,
    struct pm_fault *fault)
{
	char *cert_text, *key_text = NULL;
	size_t cert_size = 0, key_size = 0;
	enum pm_status status;

	status = read_file(cert, 0, &cert_text, &cert_size, fault);
	if (status == PM_OK)
		status = read_file(key, 1, &key_text, &key_size, fault);
	if (status == PM_OK) {
		gnutls_datum_t certs = { (unsigned char *)cert_text,
		    (unsigned)cert_size };
		gnutls_datum_t secret = { (unsigned char *)key_text,
		    (unsigned)key_size };
		int code = gnutls_certificate_set_x509_key_mem2(keys->certs,
		    &certs, &secret, GNUTLS_X509_FMT_PEM, NULL, 0);

		if (code < 0)
			status = fail_pair(code, cert, key, fault);
	}
	wipe_file(cert_text, cert_size);
	wipe_file(key_text, key_size);
	return status;
}

enum pm_status
pm_tls_load_certs(struct pm_tls_keys **keys, const char *cert,
    const char *key, const char *authorities, const char *peer_name,
    struct pm_fault *fault)
{
	enum pm_status status = PM_OK;
	struct pm_tls_keys *new;

	*keys = NULL;
	if (*peer_name == '\0')
		return pm_fault_set(fault, PM_ERR_REFUSED, cert,
		    "needs the name that the other end's certificate is for");
	new = new_keys(COMMON "+ECDHE-ECDSA:+ECDHE-RSA");
	if (new == NULL || (new->peer_name = strdup(peer_name)) == NULL ||
	    gnutls_certificate_allocate_credentials(&new->certs) != 0)
		status = fail_memory(fault);
	if (status == PM_OK) {
		gnutls_certificate_set_verify_limits(new->certs,
		    KEY_BITS_MAX, CHAIN_MAX);
		status = load_authorities(new, authorities, fault);
	}
	if (status == PM_OK)
		status = load_pair(new, cert, key, fault);
	if (status != PM_OK) {
		pm_tls_keys_free(new);
		return status;
	}
	*keys = new;
	return PM_OK;
}

void
pm_tls_keys_free(struct pm_tls_keys *keys)
{
	if (keys == NULL)
		return;
	if (keys->client != NULL)
		gnutls_psk_free_client_credentials(keys->client);
	if (keys->server != NULL)
		gnutls_psk_free_server_credentials(keys->server);
	if (keys->certs != NULL)
		gnutls_certificate_free_credentials(keys->certs);
	gnutls_priority_deinit(keys->priority);
	free(keys->peer_name);
	explicit_bzero(keys, sizeof(*keys));
	free(keys);
}
