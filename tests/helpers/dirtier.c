/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dirtier.c - fill and change memory of a machine of QEMU from outside.
 * usage: dirtier SOCKET ADDRESS MIB text|random|mixed SEED PAGES
 *
 * SOCKET is that of -qtest.  So many mebibytes from the physical ADDRESS are
 * filled with lines of text or with random bytes, and "ready" is printed.
 * Then so many PAGES a second are chosen at random, and four random words of
 * each are changed; if "mixed", the pages are text, and now and then one
 * becomes zeroes or is written anew.  At SIGTERM it sees to it that all
 * writes are done, prints how many pages it changed, and ends.  What it
 * writes depends on SEED alone.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PAGE	4096u
#define AT_ONCE	(4 * PAGE)	/* bytes of a command */
#define AHEAD	64u		/* commands whose answers are not there yet */
#define WORDS	4

enum kind { TEXT, RANDOM, MIXED };

static int sock;
static uint64_t seed;
static unsigned waiting;	/* answers */
static char line[2 * AT_ONCE];
static size_t used;
static volatile sig_atomic_t asked;

static void
fail(const char *what)
{
	fprintf(stderr, "dirtier: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static uint64_t
chance(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void
attach(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(name.sun_path))
		exit(2);
	strcpy(name.sun_path, path);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (sock < 0 || connect(sock, (struct sockaddr *)&name, sizeof(name))
	    != 0)
		fail(path);
}

/* Answers are lines of OK. */
static void
listen_for(unsigned most)
{
	char said[3 * AHEAD];
	ssize_t got;

	while (waiting > most) {
		got = recv(sock, said, sizeof(said), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			fail("recv");
		for (ssize_t i = 0; i < got; i++) {
			if (strchr("OK\n", said[i]) == NULL)
				fail("an answer other than OK");
			waiting -= said[i] == '\n';
		}
	}
}

static void
say(void)
{
	ssize_t done;

	line[used++] = '\n';
	for (size_t at = 0; at < used; at += (size_t)done) {
		done = send(sock, line + at, used - at, MSG_NOSIGNAL);
		if (done < 0 && errno != EINTR)
			fail("send");
		if (done < 0)
			done = 0;
	}
	waiting++;
	used = 0;
	listen_for(AHEAD);
}

static void
spell(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(line + used, sizeof(line) - used, format,
	    args);
	va_end(args);
}

static void
spell_base64(const unsigned char *from, size_t size)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t bits = (uint32_t)from[i] << 16;

		bits |= left > 1 ? (uint32_t)from[i + 1] << 8 : 0;
		bits |= left > 2 ? from[i + 2] : 0;
		line[used++] = digit[bits >> 18];
		line[used++] = digit[bits >> 12 & 63];
		line[used++] = left > 1 ? digit[bits >> 6 & 63] : '=';
		line[used++] = left > 2 ? digit[bits & 63] : '=';
	}
}

static void
write_text(unsigned char *to, size_t size)
{
	static const char *const word[] = {
		"balance", "of", "the", "account", "was", "changed", "by",
		"request", "from", "user", "session", "expired", "with",
		"status", "ok", "timeout",
	};
	size_t at = 0;

	while (at < size) {
		uint64_t bits = chance();
		char said[96];
		int length = snprintf(said, sizeof(said),
		    "%s %s %s %06u %s %s %u\n", word[bits & 15],
		    word[bits >> 4 & 15], word[bits >> 8 & 15],
		    (unsigned)(bits >> 12 & 0xfffff), word[bits >> 32 & 15],
		    word[bits >> 36 & 15], (unsigned)(bits >> 40 & 0xfff));
		size_t most = size - at;

		if (most > (size_t)length)
			most = (size_t)length;
		memcpy(to + at, said, most);
		at += most;
	}
}

/* Some pages anew. */
static void
fill(uint64_t address, size_t size, enum kind kind)
{
	unsigned char bytes[AT_ONCE];

	if (kind != RANDOM)
		write_text(bytes, size);
	for (size_t i = 0; kind == RANDOM && i < size; i += 8) {
		uint64_t word = chance();

		memcpy(bytes + i, &word, 8);
	}
	spell("b64write 0x%llx 0x%zx ", (unsigned long long)address, size);
	spell_base64(bytes, size);
	say();
}

static void
change(uint64_t page, enum kind kind)
{
	uint64_t what = kind == MIXED ? chance() % 16 : 15;

	if (what == 0) {
		spell("memset 0x%llx 0x%x 0x00", (unsigned long long)page,
		    PAGE);
		say();
	} else if (what == 1) {
		fill(page, PAGE, chance() % 2 == 0 ? TEXT : RANDOM);
	}
	for (unsigned i = 0; what > 1 && i < WORDS; i++) {
		uint64_t at = page + chance() % (PAGE / 8) * 8;

		spell("writeq 0x%llx 0x%llx", (unsigned long long)at,
		    (unsigned long long)chance());
		say();
	}
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask };
	struct timespec nap = { 0, 2000000 };
	uint64_t address, size, pace, began, done = 0;
	enum kind kind;

	if (argc != 7)
		return 2;
	address = strtoull(argv[2], NULL, 0);
	size = strtoull(argv[3], NULL, 10) << 20;
	kind = argv[4][0] == 't' ? TEXT : argv[4][0] == 'r' ? RANDOM : MIXED;
	seed = strtoull(argv[5], NULL, 10);
	pace = strtoull(argv[6], NULL, 10);
	attach(argv[1]);
	sigaction(SIGTERM, &action, NULL);
	for (uint64_t at = 0; at < size && !asked; at += AT_ONCE)
		fill(address + at, AT_ONCE, kind);
	listen_for(0);
	puts("ready");
	fflush(stdout);
	began = now();
	while (!asked) {
		for (uint64_t due = (now() - began) * pace / 1000000;
		    done < due && !asked; done++)
			change(address + chance() % (size / PAGE) * PAGE, kind);
		listen_for(0);
		nanosleep(&nap, NULL);
	}
	listen_for(0);
	printf("changed %llu\n", (unsigned long long)done);
	return 0;
}
