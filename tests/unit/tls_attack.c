/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Someone between the two ends, who cuts the connection, changes a byte of
 * it, or plays back what was said before.
 */
#define _GNU_SOURCE
#include "secured.h"

#define MESSAGE		40000u
#define TAPE		100000u

/* What someone between the ends does to the bytes of one of them. */
struct between {
	int from;			/* whose bytes: 0 or 1 */
	size_t cut_at;			/* these many go through */
	size_t flip_at;			/* that one is changed */
	unsigned char flip;		/* by these bits */
	size_t passed[2];		/* bytes of each */
	unsigned char tape[TAPE];	/* those of the one */
};

#define NOWHERE	SIZE_MAX

static struct pm_tls_keys *keys;
static unsigned char message[MESSAGE], heard[2 * MESSAGE];

/* Hand on what came; 0 when nothing did. */
static int
carry(struct between *between, const int fds[2], int from)
{
	unsigned char buf[4096];
	ssize_t got = recv(fds[from], buf, sizeof(buf), MSG_DONTWAIT);
	size_t at = between->passed[from];

	if (got == 0)
		shutdown(fds[!from], SHUT_WR);
	if (got <= 0)
		return 0;
	if (from == between->from) {
		if (at + (size_t)got >= between->cut_at) {
			got = (ssize_t)(between->cut_at - at);
			shutdown(fds[from], SHUT_RD);
		}
		if (between->flip_at >= at &&
		    between->flip_at < at + (size_t)got)
			buf[between->flip_at - at] ^= between->flip;
		if (at + (size_t)got <= TAPE)
			memcpy(between->tape + at, buf, (size_t)got);
	}
	between->passed[from] += (size_t)got;
	return send(fds[!from], buf, (size_t)got, MSG_NOSIGNAL) == got;
}

/* Say the message, and hear what the other says of it. */
struct talk {
	size_t said, heard;
	int is_over;			/* the end was heard */
	enum pm_status status;
};

static void
talk(struct end *end, struct talk *talk, int speaks)
{
	struct iovec iov = { message + talk->said, MESSAGE - talk->said };
	enum pm_status status;
	size_t now;

	greet(end);
	if (end->status != PM_OK || !end->is_known || talk->is_over)
		return;
	if (speaks && talk->said < MESSAGE) {
		end->status = pm_channel_send(&end->channel, &iov, 1, &now);
		talk->said += now;
		if (talk->said == MESSAGE && end->status == PM_OK)
			end->status = pm_channel_shut(&end->channel);
	} else if (speaks)
		end->status = pm_channel_flush(&end->channel, &now);
	else {
		status = pm_channel_recv(&end->channel, heard + talk->heard,
		    sizeof(heard) - talk->heard, &now);
		talk->heard += now;
		talk->is_over = status == PM_END;
		end->status = talk->is_over ? PM_OK : status;
	}
	if (end->status != PM_OK)
		pm_channel_close(&end->channel);
}

/*
 * The client says the message and the other hears it, until nothing moves any
 * more.  What the listener made of it.
 */
static void
converse(struct between *between, struct end ends[2], struct talk talks[2])
{
	int first[2], second[2], carriers[2];
	int idle = 0;

	connect_pair(first);
	connect_pair(second);
	open_end(&ends[0], first[0], keys, 0);
	open_end(&ends[1], second[0], keys, 1);
	carriers[0] = first[1];
	carriers[1] = second[1];
	memset(talks, 0, 2 * sizeof(talks[0]));
	between->passed[0] = between->passed[1] = 0;
	while (idle < 4) {
		int moved = 0;

		for (int at = 0; at < 2; at++)
			if (ends[at].status == PM_OK)
				talk(&ends[at], &talks[at], at == 0);
		moved += carry(between, carriers, 0);
		moved += carry(between, carriers, 1);
		if (between->passed[between->from] >= between->cut_at) {
			shutdown(carriers[0], SHUT_RDWR);
			shutdown(carriers[1], SHUT_RDWR);
		}
		idle = moved ? 0 : idle + 1;
	}
	close_ends(ends);
	close(carriers[0]);
	close(carriers[1]);
}

static struct between between;
static struct end ends[2];
static struct talk talks[2];

static void
undisturbed(int from)
{
	between.from = from;
	between.cut_at = between.flip_at = NOWHERE;
	converse(&between, ends, talks);
}

static int
heard_all(void)
{
	return talks[1].is_over && talks[1].heard == MESSAGE &&
	    memcmp(message, heard, MESSAGE) == 0;
}

/* What was heard before the end is what was said, or nothing. */
static int
heard_truth(void)
{
	return talks[1].heard <= MESSAGE &&
	    memcmp(message, heard, talks[1].heard) == 0;
}

static void
test_cut(int from)
{
	size_t size, orderly = 0, silent = 0, false_bytes = 0, untold = 0;

	undisturbed(from);
	CHECK(heard_all());
	size = between.passed[from];
	printf("# %zu bytes of %s\n", size, from ? "server" : "client");
	for (size_t at = 0; at < size; at += at < 3000 ||
	    at > size - 300 ? CHECK_STRIDE : 97) {
		between.cut_at = at;
		converse(&between, ends, talks);
		/* The server's own bytes are over before the client's are. */
		orderly += talks[1].is_over ? 1 : 0;
		silent += from == 0 && ends[1].status != PM_ERR_PEER;
		untold += ends[1].status != PM_OK &&
		    ends[1].fault.text[0] == '\0';
		false_bytes += !heard_truth();
	}
	CHECK(orderly == 0);
	CHECK(silent == 0);
	CHECK(untold == 0);
	CHECK(false_bytes == 0);
}

/*
 * True for what means nothing by RFC 8446, 5.1, 5.2 and D.4: the version in
 * the head of a record that is not encrypted, what is in one that only looks
 * like an older TLS, and the type outside of one that is encrypted, whose
 * true type is inside.  *head says that it is in the head of a record.
 */
static int
means_nothing(size_t at, const unsigned char *tape, size_t size, int *head)
{
	size_t from = 0, next = 0;

	while (next <= at && next + 5 <= size) {
		from = next;
		next = from + 5 + ((size_t)tape[from + 3] << 8 |
		    tape[from + 4]);
	}
	*head = at < from + 5;
	switch (tape[from]) {
	case 20:
		return at == from + 1 || at == from + 2 || at == from + 5;
	case 23:
		return at == from;
	default:
		return at == from + 1 || at == from + 2;
	}
}

/* Every byte of the handshake and of heads, and some of the others. */
static size_t
next_place(size_t at, const unsigned char *tape, size_t size)
{
	int head = 0;

	while (++at < size && at % 7 != 0 && at >= 600 / CHECK_STRIDE) {
		(void)means_nothing(at, tape, size, &head);
		if (head)
			break;
	}
	return at;
}

static void
test_flip(int from)
{
	static unsigned char tape[TAPE];
	int head;
	size_t size, accepted = 0, harmless = 0, false_bytes = 0, passed = 0;

	undisturbed(from);
	size = between.passed[from];
	memcpy(tape, between.tape, sizeof(tape));
	for (size_t at = 0; at < size; at = next_place(at, tape, size)) {
		between.flip_at = at;
		between.flip = (unsigned char)(1u << at % 8);
		converse(&between, ends, talks);
		false_bytes += !heard_truth();
		if (!talks[1].is_over)
			continue;
		passed++;
		if (means_nothing(at, tape, size, &head) && heard_all())
			harmless++;
		else {
			accepted++;
			printf("# byte %zu of %zu\n", at, size);
		}
	}
	printf("# of %zu that were changed %zu meant nothing\n", passed,
	    harmless);
	CHECK(accepted == 0);
	CHECK(false_bytes == 0);
}

/* Said again to a new listener, the same bytes say nothing. */
static void
test_replay(void)
{
	struct end server;
	struct talk talk_again = { .said = 0 };
	size_t size, at = 0;
	int fds[2];

	undisturbed(0);
	CHECK(heard_all());
	size = between.passed[0];
	connect_pair(fds);
	open_end(&server, fds[1], keys, 1);
	while (server.status == PM_OK && at < size) {
		ssize_t put = send(fds[0], between.tape + at, size - at,
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		at += put > 0 ? (size_t)put : 0;
		talk(&server, &talk_again, 0);
	}
	shutdown(fds[0], SHUT_WR);
	for (int turns = 0; turns < 10; turns++)
		talk(&server, &talk_again, 0);
	CHECK(server.status == PM_ERR_PEER && !server.is_known);
	CHECK(talk_again.heard == 0 && !talk_again.is_over);
	CHECK(says(&server, "sent a record that is damaged or replayed"));
	pm_channel_close(&server.channel);
	close(fds[0]);
}

/* A record that comes a second time in the same connection. */
static void
test_repeat(void)
{
	unsigned char record[1000];
	struct end pair[2];
	int first[2], second[2];
	char buf[100], text[] = "once";
	struct iovec iov = { text, 4 };
	size_t put, got;
	ssize_t size;
	int moved = 1;

	connect_pair(first);
	connect_pair(second);
	open_end(&pair[0], first[0], keys, 0);
	open_end(&pair[1], second[0], keys, 1);
	between.cut_at = between.flip_at = NOWHERE;
	between.passed[0] = between.passed[1] = 0;
	while (moved) {
		greet(&pair[0]);
		greet(&pair[1]);
		moved = carry(&between, (int[2]){ first[1], second[1] }, 0);
		moved |= carry(&between, (int[2]){ first[1], second[1] }, 1);
	}
	CHECK(pair[0].is_known && pair[1].is_known);
	CHECK(pm_channel_send(&pair[0].channel, &iov, 1, &put) == PM_OK);
	size = recv(first[1], record, sizeof(record), MSG_DONTWAIT);
	CHECK(size == 4 + 22);
	CHECK(send(second[1], record, (size_t)size, 0) == size);
	CHECK(send(second[1], record, (size_t)size, 0) == size);
	CHECK(pm_channel_recv(&pair[1].channel, buf, sizeof(buf), &got) ==
	    PM_OK && got == 4 && memcmp(buf, text, 4) == 0);
	/* What came before it was good, and was to be given first. */
	CHECK(pair[1].fault.text[0] == '\0' &&
	    pm_channel_is_ready(&pair[1].channel));
	CHECK(pm_channel_recv(&pair[1].channel, buf, sizeof(buf), &got) ==
	    PM_ERR_PEER && got == 0);
	CHECK(says(&pair[1], "sent a record that is damaged or replayed"));
	CHECK(pm_channel_recv(&pair[1].channel, buf, sizeof(buf), &got) ==
	    PM_ERR_PEER && got == 0);
	CHECK(pm_channel_send(&pair[1].channel, &iov, 1, &put) ==
	    PM_ERR_PEER && put == 0);
	/* And the one that was framed is told. */
	CHECK(carry(&between, (int[2]){ first[1], second[1] }, 1));
	CHECK(pm_channel_recv(&pair[0].channel, buf, sizeof(buf), &got) ==
	    PM_ERR_PEER);
	CHECK(says(&pair[0], "received a record that is damaged or "
	    "replayed"));
	close_ends(pair);
	close(first[1]);
	close(second[1]);
}

int
main(void)
{
	begin();
	for (size_t at = 0; at < MESSAGE; at++)
		message[at] = (unsigned char)(at * 7 + at / 251);
	keys = new_secret("secret");
	test_cut(0);
	test_cut(1);
	test_flip(0);
	test_flip(1);
	test_replay();
	test_repeat();
	pm_tls_keys_free(keys);
	return check_done();
}
