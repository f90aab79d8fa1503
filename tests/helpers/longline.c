/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * longline.c - a line between two network namespaces, as long, slow and bad
 * as is asked.
 * usage: longline NS_A NS_B COUNT [delay=MS] [loss=N] [rate=N] [seed=N]
 *	[mtu=N]
 *
 * NS_A and NS_B are names of ip-netns(8), or paths.  Each gets a device line0
 * that is up, 10.77.0.1 in A and 10.77.0.2 in B, and what IPv4 sends into one
 * comes out of the other: delay milliseconds later, N packets of 10000 left
 * out by a chance that the seed determines, at N bytes a second, each way.
 * 0 is none of it, as is what is not given.  What waits for a slow line is
 * bounded by the bytes that are under way when it is in full use, there and
 * back, or 1 MiB where that is more; the rest is dropped.
 *
 * It prints "ready" when all that can be used, and then obeys lines from
 * standard input, each of which is answered by a line, "ok" or "no":
 *
 *	down		drop all, both ways, as with the cable pulled
 *	up		no more
 *	delay N, loss N, rate N
 *	reset		reset all TCP connections, at both ends
 *	reset one	that which was used last
 *	count		write the file COUNT
 *
 * At the end of the input or SIGTERM it writes that file and ends: a line for
 * each way, forth being from A to B, and one for the resets.
 *
 *	forth packets N bytes N lost N full N cut N
 *	back packets N bytes N lost N full N cut N
 *	resets N
 *
 * The first two count what arrived, the others packets that did not: by
 * chance, for want of room, and because the cable was pulled or the connection
 * had been reset.
 */
#define _GNU_SOURCE		/* ppoll, setns */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "longline.h"
#include "tunnel.h"

#define PACKETS	16384u		/* on the line; a power of two */
#define BATCH	64u		/* packets taken before others are sent on */
#define LEAST	(UINT64_C(1) << 20)	/* bytes that may wait */
#define AHEAD	1000000u	/* ns: how long before it is sent on a packet
				   is given its time */
#define SECOND	UINT64_C(1000000000)

struct packet {
	uint64_t at;		/* when it came; then when it arrives */
	uint32_t size, slot;
};

/*
 * One way, from an end to the other.  gone <= begun <= come count packets:
 * those that have left the line, those whose time of arrival is known, all.
 */
struct lane {
	int from, to;
	struct packet ring[PACKETS];
	uint32_t gone, begun, come;
	uint64_t waiting;	/* bytes of those not begun */
	uint64_t busy;		/* until then by what was begun */
	uint64_t chance;
	uint64_t packets, bytes, lost, full, cut;
};

static struct lane lanes[2];
static uint8_t *slots;		/* room for a packet each */
static uint32_t free_slot[PACKETS], slots_free;
static uint64_t mtu = 9000, delay, loss, rate, seed = 1, resets;
static const char *count_path;
static int is_down;
static volatile sig_atomic_t asked;

static void
fail(const char *what)
{
	fprintf(stderr, "longline: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static uint64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static uint8_t *
bytes_of(uint32_t slot)
{
	return slots + (size_t)slot * mtu;
}

/* True with loss in 10000 cases. */
static int
is_unlucky(struct lane *lane)
{
	lane->chance ^= lane->chance << 13;
	lane->chance ^= lane->chance >> 7;
	lane->chance ^= lane->chance << 17;
	return (lane->chance >> 11) % 10000 < loss;
}

static uint64_t
most_waiting(void)
{
	uint64_t under_way = rate < UINT64_C(1) << 33
	    ? rate * (2 * delay / 1000) / (SECOND / 1000) : UINT64_MAX;

	return under_way > LEAST ? under_way : LEAST;
}

/* Past all that is under way: no cable is needed for it. */
static void
send_reset(const struct flow *flow, unsigned end, uint32_t seq)
{
	uint8_t packet[RESET_SIZE];

	forge_reset(flow, end, seq, packet);
	if (write(lanes[!end].to, packet, sizeof(packet)) < 0)
		lanes[!end].cut++;
}

/* What an end expects next is one of these. */
static void
reset_end(const struct flow *flow, unsigned end)
{
	send_reset(flow, end, flow->acked[end]);
	if (!flow->has[end])
		return;
	if (flow->given[end] != flow->acked[end])
		send_reset(flow, end, flow->given[end]);
	if (flow->top[end] != flow->given[end])
		send_reset(flow, end, flow->top[end]);
}

/* True when it goes on. */
static int
follow(const uint8_t *packet, size_t size, unsigned end)
{
	struct segment it;
	struct flow *flow;

	if (!read_segment(packet, size, &it))
		return 1;
	flow = find_flow(&it, end);
	if (flow->dead && (it.flags & (SYN | ACK)) != SYN) {
		if (!is_down && (it.flags & (ACK | RST)) == ACK)
			send_reset(flow, end, it.ack);
		return 0;
	}
	note_sent(flow, &it, end);
	return 1;
}

static void
take(struct lane *lane, const uint8_t *bytes, size_t size, uint64_t time)
{
	uint32_t slot;

	if (size == 0 || bytes[0] >> 4 != 4)
		return;
	if (!follow(bytes, size, lane == &lanes[1]) || is_down) {
		lane->cut++;
	} else if (is_unlucky(lane)) {
		lane->lost++;
	} else if (slots_free == 1 ||
	    (rate > 0 && lane->waiting + size > most_waiting())) {
		lane->full++;
	} else {
		slot = free_slot[--slots_free];
		lane->ring[lane->come++ % PACKETS] = (struct packet){ time,
		    (uint32_t)size, slot };
		lane->waiting += size;
	}
}

/*
 * Take what an end sends.  The next to be taken is read into the slot that is
 * given away next, so one is always left.
 */
static unsigned
read_some(struct lane *lane)
{
	unsigned taken = 0;

	for (; taken < BATCH; taken++) {
		uint8_t *bytes = bytes_of(free_slot[slots_free - 1]);
		ssize_t size = read(lane->from, bytes, (size_t)mtu);

		if (size < 0)
			break;
		take(lane, bytes, (size_t)size, now());
	}
	return taken;
}

/* Give those their time whose turn it is to be sent. */
static void
begin_some(struct lane *lane, uint64_t time)
{
	while (lane->begun != lane->come) {
		struct packet *it = &lane->ring[lane->begun % PACKETS];

		if (lane->busy < it->at)
			lane->busy = it->at;
		if (rate > 0 && lane->busy > time + AHEAD)
			return;
		if (rate > 0)
			lane->busy += it->size * SECOND / rate;
		it->at = lane->busy + delay;
		lane->waiting -= it->size;
		lane->begun++;
	}
}

static void
hand_over(struct lane *lane, const struct packet *it)
{
	const uint8_t *bytes = bytes_of(it->slot);
	unsigned end = lane == &lanes[0];
	struct segment segment;
	struct flow *flow;

	if (read_segment(bytes, it->size, &segment)) {
		flow = find_flow(&segment, !end);
		if (flow->dead) {
			lane->cut++;
			return;
		}
		note_given(flow, &segment, end);
	}
	if (write(lane->to, bytes, it->size) < 0) {
		lane->cut++;
		return;
	}
	lane->packets++;
	lane->bytes += it->size;
}

static void
send_some(struct lane *lane, uint64_t time)
{
	while (lane->gone != lane->begun) {
		struct packet *it = &lane->ring[lane->gone % PACKETS];

		if (it->at > time)
			return;
		hand_over(lane, it);
		free_slot[slots_free++] = it->slot;
		lane->gone++;
	}
}

static void
drop_all(struct lane *lane)
{
	for (; lane->gone != lane->come; lane->gone++, lane->cut++)
		free_slot[slots_free++] =
		    lane->ring[lane->gone % PACKETS].slot;
	lane->begun = lane->come;
	lane->waiting = 0;
}

/* How many connections were reset. */
static unsigned
reset(int only_one)
{
	struct flow *last = NULL;
	unsigned done = 0;

	/* What the ends have said is known best when all was heard. */
	while (read_some(&lanes[0]) + read_some(&lanes[1]) > 0)
		;
	for (struct flow *it = flows; it < flows + FLOWS; it++)
		if (!is_over(it) && (last == NULL || it->used > last->used))
			last = it;
	for (struct flow *it = flows; it < flows + FLOWS; it++) {
		if (is_over(it) || (only_one && it != last))
			continue;
		it->dead = 1;
		reset_end(it, 0);
		reset_end(it, 1);
		done++;
	}
	resets += done;
	return done;
}

static void
write_counts(void)
{
	FILE *file = fopen(count_path, "w");

	if (file == NULL)
		fail(count_path);
	for (unsigned way = 0; way < 2; way++)
		fprintf(file, "%s packets %ju bytes %ju lost %ju full %ju "
		    "cut %ju\n", way == 0 ? "forth" : "back",
		    (uintmax_t)lanes[way].packets,
		    (uintmax_t)lanes[way].bytes, (uintmax_t)lanes[way].lost,
		    (uintmax_t)lanes[way].full, (uintmax_t)lanes[way].cut);
	fprintf(file, "resets %ju\n", (uintmax_t)resets);
	if (fclose(file) != 0)
		fail(count_path);
}

/* "name=N" or "name N". */
static int
set_value(const char *text)
{
	char name[8], end, mark;
	uintmax_t value;

	if (sscanf(text, "%7[a-z]%c%ju%c", name, &mark, &value, &end) != 3 ||
	    (mark != '=' && mark != ' ') || strchr(text, '-') != NULL)
		return 0;
	if (strcmp(name, "delay") == 0 && value <= 100000)
		delay = value * 1000000;
	else if (strcmp(name, "loss") == 0 && value <= 10000)
		loss = value;
	else if (strcmp(name, "rate") == 0)
		rate = value;
	else if (strcmp(name, "seed") == 0 && slots == NULL)
		seed = value;
	else if (strcmp(name, "mtu") == 0 && slots == NULL &&
	    value >= 576 && value <= 65520)
		mtu = value;
	else
		return 0;
	return 1;
}

/* What was begun at another rate keeps nothing waiting. */
static void
begin_anew(void)
{
	uint64_t time = now();

	for (unsigned way = 0; way < 2; way++)
		if (lanes[way].busy > time)
			lanes[way].busy = time;
}

static void
obey(const char *line)
{
	if (strcmp(line, "down") == 0) {
		is_down = 1;
		drop_all(&lanes[0]);
		drop_all(&lanes[1]);
	} else if (strcmp(line, "up") == 0) {
		is_down = 0;
	} else if (strcmp(line, "reset") == 0) {
		dprintf(1, "ok %u\n", reset(0));
		return;
	} else if (strcmp(line, "reset one") == 0) {
		dprintf(1, "ok %u\n", reset(1));
		return;
	} else if (strcmp(line, "count") == 0) {
		write_counts();
	} else if (set_value(line)) {
		begin_anew();
	} else {
		dprintf(1, "no\n");
		return;
	}
	dprintf(1, "ok\n");
}

static void
listen_to(int fd)
{
	static char text[256];
	static size_t size;
	ssize_t got = read(fd, text + size, sizeof(text) - 1 - size);
	char *end;

	if (got <= 0) {
		asked |= got == 0 || (errno != EAGAIN && errno != EINTR);
		return;
	}
	size += (size_t)got;
	while ((end = memchr(text, '\n', size)) != NULL) {
		*end = '\0';
		obey(text);
		size -= (size_t)(end + 1 - text);
		memmove(text, end + 1, size);
	}
	if (size == sizeof(text) - 1)
		asked = 1;
}

/* When something is to be done next, if nothing comes; 0: nothing is. */
static uint64_t
next_time(const struct lane *lane)
{
	if (lane->gone != lane->begun)
		return lane->ring[lane->gone % PACKETS].at;
	return lane->begun != lane->come ? lane->busy - AHEAD : 0;
}

static void
wait_for(struct pollfd polls[3], const sigset_t *signals)
{
	uint64_t time = now(), first = next_time(&lanes[0]);
	uint64_t second = next_time(&lanes[1]), left;
	struct timespec timeout;

	if (first == 0 || (second != 0 && second < first))
		first = second;
	left = first > time ? first - time : 0;
	timeout = (struct timespec){ (time_t)(left / SECOND),
	    (long)(left % SECOND) };
	if (ppoll(polls, 3, first == 0 ? NULL : &timeout, signals) < 0)
		for (unsigned i = 0; i < 3; i++)
			polls[i].revents = 0;
}

static void
run(const sigset_t *signals)
{
	struct pollfd polls[3] = { { lanes[0].from, POLLIN, 0 },
	    { lanes[1].from, POLLIN, 0 }, { 0, POLLIN, 0 } };

	while (!asked) {
		wait_for(polls, signals);
		for (unsigned way = 0; way < 2; way++) {
			if (polls[way].revents != 0)
				read_some(&lanes[way]);
			begin_some(&lanes[way], now());
			send_some(&lanes[way], now());
		}
		if (polls[2].revents != 0)
			listen_to(0);
	}
}

static void
make_line(const char *a, const char *b)
{
	slots = mmap(NULL, PACKETS * (size_t)mtu, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slots == MAP_FAILED)
		fail("memory");
	while (slots_free < PACKETS) {
		free_slot[slots_free] = PACKETS - 1 - slots_free;
		slots_free++;
	}
	lanes[0].from = lanes[1].to = make_end(a, "10.77.0.1", (unsigned)mtu,
	    PACKETS / 4);
	lanes[1].from = lanes[0].to = make_end(b, "10.77.0.2", (unsigned)mtu,
	    PACKETS / 4);
	/* 0 would stay 0. */
	lanes[0].chance = (2 * seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	lanes[1].chance = (2 * seed + 1) * UINT64_C(0xbf58476d1ce4e5b9);
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask };
	sigset_t blocked, before;

	if (argc < 4)
		return 2;
	for (int i = 4; i < argc; i++)
		if (!set_value(argv[i]))
			return 2;
	count_path = argv[3];
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigdelset(&before, SIGTERM);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Or it would sleep 50 us longer each time. */
	prctl(PR_SET_TIMERSLACK, 1L);
	make_line(argv[1], argv[2]);
	dprintf(1, "ready\n");
	run(&before);
	write_counts();
	return 0;
}
