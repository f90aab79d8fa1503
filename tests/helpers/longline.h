/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * longline.h - the TCP connections over a line, and how to reset them.
 *
 * A reset counts only if it has the very sequence number that its receiver
 * expects next (RFC 5961, 3.2), or else is answered by a packet that says
 * which that is.  So what each end has sent, been given and acknowledged is
 * followed.  A connection that was reset stays so: whatever one of its ends
 * still sends is answered as by a host that knows of no such connection.
 */
#ifndef LONGLINE_H
#define LONGLINE_H

#include <stdint.h>
#include <string.h>

#define FLOWS		256u
#define RESET_SIZE	40u	/* an IPv4 and a TCP head */

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

struct segment {
	uint32_t from, to;		/* addresses, */
	unsigned from_port, to_port;
	uint32_t seq, ack, end;		/* what follows it */
	unsigned flags;
};

/* By end: 0 or 1. */
struct flow {
	uint32_t address[2];
	unsigned port[2];
	uint32_t sent[2];	/* what follows the last that it sent */
	uint32_t given[2];	/* what follows all that it was given */
	uint32_t top[2];	/* the same, with holes */
	uint32_t acked[2];
	int has[2];		/* it was given something */
	int fin[2];		/* it has ended */
	int dead;
	uint64_t used;
};

static struct flow flows[FLOWS];
static uint64_t flow_clock;

static inline uint32_t
get(const uint8_t *p, unsigned width)
{
	uint32_t value = 0;

	while (width-- > 0)
		value = value << 8 | *p++;
	return value;
}

static inline void
put(uint8_t *p, uint32_t value, unsigned width)
{
	while (width-- > 0) {
		p[width] = (uint8_t)value;
		value >>= 8;
	}
}

/* Whether it is the first fragment of one, or all of it. */
static inline int
read_segment(const uint8_t *packet, size_t size, struct segment *got)
{
	size_t ip, total, tcp;

	if (size < RESET_SIZE || packet[0] >> 4 != 4 || packet[9] != 6 ||
	    (get(packet + 6, 2) & 0x1fff) != 0)
		return 0;
	ip = (packet[0] & 15) * 4u;
	total = get(packet + 2, 2);
	if (ip < 20 || total > size || total < ip + 20)
		return 0;
	tcp = (packet[ip + 12] >> 4) * 4u;
	if (tcp < 20 || total < ip + tcp)
		return 0;
	*got = (struct segment){
		.from = get(packet + 12, 4), .to = get(packet + 16, 4),
		.from_port = get(packet + ip, 2),
		.to_port = get(packet + ip + 2, 2),
		.seq = get(packet + ip + 4, 4),
		.ack = get(packet + ip + 8, 4), .flags = packet[ip + 13],
	};
	got->end = got->seq + (uint32_t)(total - ip - tcp) +
	    ((got->flags & SYN) != 0) + ((got->flags & FIN) != 0);
	return 1;
}

static inline int
is_of(const struct flow *flow, const struct segment *it, unsigned end)
{
	return flow->used > 0 && flow->address[end] == it->from &&
	    flow->port[end] == it->from_port &&
	    flow->address[!end] == it->to && flow->port[!end] == it->to_port;
}

static inline int
is_over(const struct flow *flow)
{
	return flow->used == 0 || flow->dead || (flow->fin[0] && flow->fin[1]);
}

/* That of a segment from an end; the one longest unused makes room. */
static inline struct flow *
find_flow(const struct segment *it, unsigned end)
{
	static struct flow *last = flows;
	struct flow *oldest = flows;

	if (is_of(last, it, end))
		return last;
	for (last = flows; last < flows + FLOWS; last++) {
		if (is_of(last, it, end))
			return last;
		if (last->used < oldest->used)
			oldest = last;
	}
	last = oldest;
	*last = (struct flow){ .used = ++flow_clock };
	last->address[end] = it->from;
	last->address[!end] = it->to;
	last->port[end] = it->from_port;
	last->port[!end] = it->to_port;
	return last;
}

static inline int
is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* An end has sent it. */
static inline void
note_sent(struct flow *flow, const struct segment *it, unsigned end)
{
	if ((it->flags & (SYN | ACK)) == SYN) {
		flow->dead = flow->fin[0] = flow->fin[1] = 0;
		flow->has[0] = flow->has[1] = 0;
		flow->sent[end] = it->end;
	}
	flow->used = ++flow_clock;
	if ((it->flags & SYN) != 0 || is_before(flow->sent[end], it->end))
		flow->sent[end] = it->end;
	if ((it->flags & ACK) != 0)
		flow->acked[end] = it->ack;
	flow->fin[end] |= (it->flags & FIN) != 0;
	if ((it->flags & RST) != 0)
		flow->fin[0] = flow->fin[1] = 1;
}

/* It arrives at an end. */
static inline void
note_given(struct flow *flow, const struct segment *it, unsigned end)
{
	if ((it->flags & SYN) != 0 || !flow->has[end]) {
		flow->has[end] = 1;
		flow->given[end] = flow->top[end] = it->end;
		return;
	}
	if (!is_before(flow->given[end], it->seq) &&
	    is_before(flow->given[end], it->end))
		flow->given[end] = it->end;
	if (is_before(flow->top[end], it->end))
		flow->top[end] = it->end;
}

static inline uint32_t
add_words(const uint8_t *p, size_t size)
{
	uint32_t sum = 0;

	for (size_t at = 0; at < size; at += 2)
		sum += get(p + at, 2);
	return sum;
}

static inline uint32_t
fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16)) & 0xffff;
}

/* A reset for an end, as from the other one. */
static inline void
forge_reset(const struct flow *flow, unsigned end, uint32_t seq,
    uint8_t out[RESET_SIZE])
{
	uint8_t *tcp = out + 20;

	memset(out, 0, RESET_SIZE);
	out[0] = 0x45;
	put(out + 2, RESET_SIZE, 2);
	out[6] = 0x40;			/* not to be fragmented */
	out[8] = 64;
	out[9] = 6;
	put(out + 12, flow->address[!end], 4);
	put(out + 16, flow->address[end], 4);
	put(out + 10, fold(add_words(out, 20)), 2);
	put(tcp, flow->port[!end], 2);
	put(tcp + 2, flow->port[end], 2);
	put(tcp + 4, seq, 4);
	/* One that has only called takes nothing else for an answer. */
	put(tcp + 8, flow->sent[end], 4);
	tcp[12] = 0x50;
	tcp[13] = RST | ACK;
	put(tcp + 16, fold(add_words(out + 12, 28) + 6 + 20), 2);
}

#endif /* LONGLINE_H */
