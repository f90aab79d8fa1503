/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bytes.h"
#include "record.h"
#include "wire.h"

#define SIGNATURE_SIZE	8u
#define VERSIONS	8		/* where they stand in both */

uint32_t
pm_wire_ms(uint64_t us)
{
	return us / 1000 < UINT32_MAX ? (uint32_t)(us / 1000) : UINT32_MAX;
}

uint64_t
pm_wire_lesser(uint64_t us, uint32_t ms)
{
	return us < (uint64_t)ms * 1000 ? us : (uint64_t)ms * 1000;
}

enum pm_wire_kind
pm_wire_tell(const uint8_t *bytes, size_t size)
{
	/* The types of TLS records, alert and handshake, and its version. */
	int is_tls = size >= 2 && (bytes[0] == 0x15 || bytes[0] == 0x16) &&
	    bytes[1] == 0x03;

	if (size >= SIGNATURE_SIZE) {
		if (memcmp(bytes, PM_WIRE_SIGNATURE, SIGNATURE_SIZE) == 0)
			return PM_WIRE_IS_HELLO;
		if (memcmp(bytes, PM_SIGNATURE, SIGNATURE_SIZE) == 0)
			return PM_WIRE_IS_STREAM;
	}
	return is_tls ? PM_WIRE_IS_TLS : PM_WIRE_IS_GARBAGE;
}

static void
pack_versions(uint8_t *out)
{
	memset(out, 0, PM_WIRE_HELLO_SIZE);
	memcpy(out, PM_WIRE_SIGNATURE, SIGNATURE_SIZE);
	pm_put_le(out + VERSIONS, PM_WIRE_VERSION, 2);
	pm_put_le(out + VERSIONS + 2, PM_WIRE_VERSION, 2);
}

void
pm_wire_pack_hello(const struct pm_wire_hello *hello,
    uint8_t out[PM_WIRE_HELLO_SIZE])
{
	pack_versions(out);
	memcpy(out + 16, hello->session, PM_WIRE_NAME_SIZE);
	pm_put_le(out + 32, hello->connection, 4);
	pm_put_le(out + 36, hello->connections, 4);
	pm_put_le(out + 40, hello->frames, 4);
	pm_put_le(out + 44, hello->break_ms, 4);
	pm_put_le(out + 48, hello->silence_ms, 4);
	pm_put_le(out + 56, hello->from, 8);
}

void
pm_wire_pack_reply(const struct pm_wire_reply *reply,
    uint8_t out[PM_WIRE_HELLO_SIZE])
{
	pack_versions(out);
	pm_put_le(out + 12, reply->code, 4);
	memcpy(out + 16, reply->receiver, PM_WIRE_NAME_SIZE);
	pm_put_le(out + 32, reply->flags, 4);
	pm_put_le(out + 40, reply->frames, 4);
	pm_put_le(out + 44, reply->break_ms, 4);
	pm_put_le(out + 48, reply->silence_ms, 4);
	pm_put_le(out + 56, reply->offset, 8);
	pm_digest_pack(reply->hash, out + 64);
}

void
pm_wire_pack_head(const struct pm_wire_head *head,
    uint8_t out[PM_WIRE_HEAD_SIZE])
{
	pm_put_le(out, head->type, 4);
	pm_put_le(out + 4, head->size, 4);
	pm_put_le(out + 8, head->offset, 8);
}

static enum pm_status
make_no_sense(const char *what, const char *peer,
    struct pm_fault *fault)
{
	return pm_fault_set(fault, PM_ERR_CORRUPT, peer,
	    "sent %s that makes no sense", what);
}

static enum pm_status
check_versions(const uint8_t *in, const char *peer,
    struct pm_fault *fault)
{
	unsigned newest = (unsigned)pm_get_le(in + VERSIONS, 2);
	unsigned oldest = (unsigned)pm_get_le(in + VERSIONS + 2, 2);

	if (newest >= PM_WIRE_VERSION && oldest <= PM_WIRE_VERSION)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_PEER, peer, "speaks versions %u to "
	    "%u of the protocol, this program %u", oldest, newest,
	    PM_WIRE_VERSION);
}

enum pm_status
pm_wire_unpack_hello(struct pm_wire_hello *hello,
    const uint8_t in[PM_WIRE_HELLO_SIZE], const char *peer,
    struct pm_fault *fault)
{
	enum pm_status status = check_versions(in, peer, fault);

	if (status != PM_OK)
		return status;
	memcpy(hello->session, in + 16, PM_WIRE_NAME_SIZE);
	hello->connection = (uint32_t)pm_get_le(in + 32, 4);
	hello->connections = (uint32_t)pm_get_le(in + 36, 4);
	hello->frames = (uint32_t)pm_get_le(in + 40, 4);
	hello->break_ms = (uint32_t)pm_get_le(in + 44, 4);
	hello->silence_ms = (uint32_t)pm_get_le(in + 48, 4);
	hello->from = pm_get_le(in + 56, 8);
	if (hello->connections > PM_WIRE_CONNECTIONS_MAX ||
	    hello->connection >= hello->connections ||
	    hello->frames < PM_WIRE_FRAMES_MIN ||
	    hello->frames > PM_WIRE_FRAMES_MAX || hello->silence_ms == 0)
		return make_no_sense("a hello", peer, fault);
	return PM_OK;
}

enum pm_status
pm_wire_unpack_reply(struct pm_wire_reply *reply,
    const uint8_t in[PM_WIRE_HELLO_SIZE], const char *peer,
    struct pm_fault *fault)
{
	enum pm_status status;

	if (memcmp(in, PM_WIRE_SIGNATURE, SIGNATURE_SIZE) != 0)
		return pm_fault_set(fault, PM_ERR_PEER, peer,
		    "is not a pm-recv; --raw sends to anything");
	if ((status = check_versions(in, peer, fault)) != PM_OK)
		return status;
	reply->code = (uint32_t)pm_get_le(in + 12, 4);
	memcpy(reply->receiver, in + 16, PM_WIRE_NAME_SIZE);
	reply->flags = (uint32_t)pm_get_le(in + 32, 4);
	reply->frames = (uint32_t)pm_get_le(in + 40, 4);
	reply->break_ms = (uint32_t)pm_get_le(in + 44, 4);
	reply->silence_ms = (uint32_t)pm_get_le(in + 48, 4);
	reply->offset = pm_get_le(in + 56, 8);
	reply->hash = pm_digest_unpack(in + 64);
	if (reply->code > PM_WIRE_TOO_LATE)
		return make_no_sense("a reply", peer, fault);
	if (reply->code == PM_WIRE_WELCOME &&
	    (reply->frames < PM_WIRE_FRAMES_MIN ||
	    reply->frames > PM_WIRE_FRAMES_MAX || reply->silence_ms == 0))
		return make_no_sense("a reply", peer, fault);
	return PM_OK;
}

/* The least and the most bytes that a type may have, for each side. */
static const struct {
	uint32_t least, most;
	int sender, receiver;
} sizes[] = {
	[PM_WIRE_DATA] = { 1, PM_WIRE_DATA_MAX, 1, 0 },
	[PM_WIRE_END] = { 0, 0, 1, 0 },
	[PM_WIRE_ABORT] = { 0, PM_WIRE_TEXT_MAX, 1, 0 },
	[PM_WIRE_RESULT] = { 4, 4 + PM_WIRE_TEXT_MAX, 0, 1 },
	[PM_WIRE_BYE] = { 0, 0, 1, 0 },
	[PM_WIRE_ACK] = { 0, 0, 0, 1 },
	[PM_WIRE_PING] = { 0, 0, 1, 1 },
};

enum pm_status
pm_wire_unpack_head(struct pm_wire_head *head,
    const uint8_t in[PM_WIRE_HEAD_SIZE], int from_sender, const char *peer,
    struct pm_fault *fault)
{
	head->type = (uint32_t)pm_get_le(in, 4);
	head->size = (uint32_t)pm_get_le(in + 4, 4);
	head->offset = pm_get_le(in + 8, 8);
	if (head->type >= sizeof(sizes) / sizeof(sizes[0]) ||
	    !(from_sender ? sizes[head->type].sender
	    : sizes[head->type].receiver) ||
	    head->size < sizes[head->type].least ||
	    head->size > sizes[head->type].most ||
	    head->offset > UINT64_MAX - head->size)
		return make_no_sense("a frame", peer, fault);
	return PM_OK;
}
