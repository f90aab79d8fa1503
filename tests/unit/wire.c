/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "bytes.h"
#include "check.h"
#include "record.h"
#include "wire.h"

static struct pm_fault fault;
static uint8_t bytes[PM_WIRE_HELLO_SIZE];

static const struct pm_wire_hello any_hello = {
	.session = "0123456789abcde", .connection = 3, .connections = 5,
	.frames = 0x1234, .break_ms = 0x76543210, .silence_ms = 0x89abcdef,
	.from = 0xfedcba9876543210,
};

static const struct pm_wire_reply any_reply = {
	.code = PM_WIRE_WELCOME, .flags = PM_WIRE_RESUMES,
	.receiver = "edcba9876543210", .frames = 0x4321,
	.break_ms = 0x01234567, .silence_ms = 0xfedcba98,
	.offset = 0x0123456789abcdef,
	.hash = { 0x1122334455667788, 0x99aabbccddeeff00 },
};

/* As wire.h has it, byte by byte. */
static const uint8_t hello_bytes[PM_WIRE_HELLO_SIZE] = {
	0x89, 'P', 'M', 'W', '\r', '\n', 0x1a, '\n', 2, 0, 2, 0, 0, 0, 0, 0,
	'0', '1', '2', '3', '4', '5', '6', '7',
	'8', '9', 'a', 'b', 'c', 'd', 'e', 0,
	3, 0, 0, 0, 5, 0, 0, 0, 0x34, 0x12, 0, 0, 0x10, 0x32, 0x54, 0x76,
	0xef, 0xcd, 0xab, 0x89, 0, 0, 0, 0,
	0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
};

static const uint8_t reply_bytes[PM_WIRE_HELLO_SIZE] = {
	0x89, 'P', 'M', 'W', '\r', '\n', 0x1a, '\n', 2, 0, 2, 0, 0, 0, 0, 0,
	'e', 'd', 'c', 'b', 'a', '9', '8', '7',
	'6', '5', '4', '3', '2', '1', '0', 0,
	1, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x43, 0, 0, 0x67, 0x45, 0x23, 0x01,
	0x98, 0xba, 0xdc, 0xfe, 0, 0, 0, 0,
	0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
	0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
	0x00, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99,
};

static void
test_layout(void)
{
	static const uint8_t head_bytes[PM_WIRE_HEAD_SIZE] = {
		1, 0, 0, 0, 0x78, 0x56, 0x04, 0,
		0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
	};
	const struct pm_wire_head head = { PM_WIRE_DATA, 0x45678,
	    0x0123456789abcdef };

	memset(bytes, 0xa5, sizeof(bytes));
	pm_wire_pack_hello(&any_hello, bytes);
	CHECK(memcmp(bytes, hello_bytes, sizeof(bytes)) == 0);
	memset(bytes, 0xa5, sizeof(bytes));
	pm_wire_pack_reply(&any_reply, bytes);
	CHECK(memcmp(bytes, reply_bytes, sizeof(bytes)) == 0);
	memset(bytes, 0xa5, sizeof(bytes));
	pm_wire_pack_head(&head, bytes);
	CHECK(memcmp(bytes, head_bytes, sizeof(head_bytes)) == 0);
}

static enum pm_status
read_hello(struct pm_wire_hello *hello)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_wire_unpack_hello(hello, bytes, "peer", &fault);
}

static enum pm_status
hello_back(const struct pm_wire_hello *hello)
{
	struct pm_wire_hello back;

	pm_wire_pack_hello(hello, bytes);
	return read_hello(&back);
}

static void
test_hello(void)
{
	struct pm_wire_hello hello, back;

	memset(&back, 0xa5, sizeof(back));
	pm_wire_pack_hello(&any_hello, bytes);
	CHECK(read_hello(&back) == PM_OK &&
	    memcmp(back.session, any_hello.session, 16) == 0 &&
	    back.connection == 3 && back.connections == 5 &&
	    back.frames == 0x1234 && back.break_ms == 0x76543210 &&
	    back.silence_ms == 0x89abcdef && back.from == any_hello.from);

	hello = any_hello;
	hello.connections = PM_WIRE_CONNECTIONS_MAX;
	hello.connection = PM_WIRE_CONNECTIONS_MAX - 1;
	CHECK(hello_back(&hello) == PM_OK);
	hello.connections++;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT &&
	    strcmp(fault.subject, "peer") == 0 &&
	    strcmp(fault.text, "sent a hello that makes no sense") == 0);
	hello.connections = hello.connection;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);
	hello.connections = UINT32_MAX;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);
	hello.connection = hello.connections = 0;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);
	hello.connection = UINT32_MAX;
	hello.connections = 1;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);

	hello = any_hello;
	hello.frames = PM_WIRE_FRAMES_MIN;
	CHECK(hello_back(&hello) == PM_OK);
	hello.frames--;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);
	hello.frames = PM_WIRE_FRAMES_MAX;
	CHECK(hello_back(&hello) == PM_OK);
	hello.frames++;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);

	hello = any_hello;
	hello.silence_ms = 1;
	hello.break_ms = 0;
	hello.from = UINT64_MAX;
	CHECK(hello_back(&hello) == PM_OK);
	hello.silence_ms = 0;
	CHECK(hello_back(&hello) == PM_ERR_CORRUPT);
}

static enum pm_status
read_reply(struct pm_wire_reply *reply)
{
	fault = (struct pm_fault){ .error = 0 };
	return pm_wire_unpack_reply(reply, bytes, "peer", &fault);
}

static enum pm_status
reply_back(const struct pm_wire_reply *reply)
{
	struct pm_wire_reply back;

	pm_wire_pack_reply(reply, bytes);
	return read_reply(&back);
}

static void
test_reply(void)
{
	struct pm_wire_reply reply, back;
	int refused = 1, told = 1;

	memset(&back, 0xa5, sizeof(back));
	pm_wire_pack_reply(&any_reply, bytes);
	CHECK(read_reply(&back) == PM_OK && back.code == PM_WIRE_WELCOME &&
	    back.flags == PM_WIRE_RESUMES &&
	    memcmp(back.receiver, any_reply.receiver, 16) == 0 &&
	    back.frames == 0x4321 && back.break_ms == 0x01234567 &&
	    back.silence_ms == 0xfedcba98 && back.offset == any_reply.offset &&
	    pm_digest_equal(back.hash, any_reply.hash));

	reply = any_reply;
	reply.frames = PM_WIRE_FRAMES_MIN;
	CHECK(reply_back(&reply) == PM_OK);
	reply.frames--;
	CHECK(reply_back(&reply) == PM_ERR_CORRUPT &&
	    strcmp(fault.text, "sent a reply that makes no sense") == 0);
	reply.frames = PM_WIRE_FRAMES_MAX;
	CHECK(reply_back(&reply) == PM_OK);
	reply.frames++;
	CHECK(reply_back(&reply) == PM_ERR_CORRUPT);
	reply = any_reply;
	reply.silence_ms = 0;
	CHECK(reply_back(&reply) == PM_ERR_CORRUPT);

	/* Who is not welcome is told nothing else. */
	reply = (struct pm_wire_reply){ .code = PM_WIRE_BUSY };
	for (; reply.code <= PM_WIRE_TOO_LATE; reply.code++)
		told &= reply_back(&reply) == PM_OK;
	CHECK(told);
	CHECK(reply_back(&reply) == PM_ERR_CORRUPT);
	reply = any_reply;
	reply.code = UINT32_MAX;
	CHECK(reply_back(&reply) == PM_ERR_CORRUPT);

	for (unsigned i = 0; i < 8; i++) {
		pm_wire_pack_reply(&any_reply, bytes);
		bytes[i] ^= 1;
		refused &= read_reply(&back) == PM_ERR_PEER && strcmp(
		    fault.text, "is not a pm-recv; --raw sends to anything")
		    == 0;
	}
	CHECK(refused);
}

/* What both say of a range of versions; 1 when they do not agree. */
static enum pm_status
speak(unsigned newest, unsigned oldest)
{
	struct pm_wire_hello hello;
	struct pm_wire_reply reply;
	enum pm_status status;

	pm_wire_pack_hello(&any_hello, bytes);
	pm_put_le(bytes + 8, newest, 2);
	pm_put_le(bytes + 10, oldest, 2);
	status = read_hello(&hello);
	pm_wire_pack_reply(&any_reply, bytes);
	pm_put_le(bytes + 8, newest, 2);
	pm_put_le(bytes + 10, oldest, 2);
	return read_reply(&reply) == status ? status : PM_END;
}

static void
test_versions(void)
{
	CHECK(speak(2, 2) == PM_OK);
	CHECK(speak(3, 2) == PM_OK);
	CHECK(speak(2, 1) == PM_OK);
	CHECK(speak(UINT16_MAX, 0) == PM_OK);
	CHECK(speak(1, 1) == PM_ERR_PEER && strcmp(fault.text,
	    "speaks versions 1 to 1 of the protocol, this program 2") == 0);
	CHECK(speak(4, 3) == PM_ERR_PEER && strcmp(fault.text,
	    "speaks versions 3 to 4 of the protocol, this program 2") == 0);
	CHECK(speak(1, 3) == PM_ERR_PEER);
	/* What another version says where is not known here. */
	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, PM_WIRE_SIGNATURE, 8);
	CHECK(read_hello(&(struct pm_wire_hello){ .from = 0 }) ==
	    PM_ERR_PEER);
}

static enum pm_status
head_back(uint32_t type, uint32_t size, uint64_t offset, int from_sender)
{
	const struct pm_wire_head head = { type, size, offset };
	struct pm_wire_head back = { ~type, ~size, ~offset };
	enum pm_status status;

	pm_wire_pack_head(&head, bytes);
	fault = (struct pm_fault){ .error = 0 };
	status = pm_wire_unpack_head(&back, bytes, from_sender, "peer",
	    &fault);
	return status != PM_OK || (back.type == type && back.size == size &&
	    back.offset == offset) ? status : PM_END;
}

/* All of a type's sizes and no others are taken, from that side alone. */
static int
is_of(uint32_t type, uint32_t least, uint32_t most, int sender, int receiver)
{
	int good = 1;

	for (int side = 0; side < 2; side++) {
		enum pm_status want = (side ? sender : receiver) ? PM_OK
		    : PM_ERR_CORRUPT;

		good &= head_back(type, least, 7, side) == want &&
		    head_back(type, most, 7, side) == want &&
		    head_back(type, most + 1, 7, side) == PM_ERR_CORRUPT &&
		    head_back(type, UINT32_MAX, 7, side) == PM_ERR_CORRUPT;
		if (least > 0)
			good &= head_back(type, least - 1, 7, side) ==
			    PM_ERR_CORRUPT;
	}
	return good;
}

static void
test_heads(void)
{
	int refused = 1;

	CHECK(is_of(PM_WIRE_DATA, 1, PM_WIRE_DATA_MAX, 1, 0));
	CHECK(is_of(PM_WIRE_END, 0, 0, 1, 0));
	CHECK(is_of(PM_WIRE_ABORT, 0, PM_WIRE_TEXT_MAX, 1, 0));
	CHECK(is_of(PM_WIRE_RESULT, 4, 4 + PM_WIRE_TEXT_MAX, 0, 1));
	CHECK(is_of(PM_WIRE_BYE, 0, 0, 1, 0));
	CHECK(is_of(PM_WIRE_ACK, 0, 0, 0, 1));
	CHECK(is_of(PM_WIRE_PING, 0, 0, 1, 1));

	for (uint32_t type = 0; type < 0x20000; type++)
		if (type < PM_WIRE_DATA || type > PM_WIRE_PING)
			for (int side = 0; side < 2; side++)
				refused &= head_back(type, 0, 0, side) ==
				    PM_ERR_CORRUPT;
	refused &= head_back(PM_WIRE_PING | 1u << 31, 0, 0, 1) ==
	    PM_ERR_CORRUPT;
	CHECK(refused && strcmp(fault.text,
	    "sent a frame that makes no sense") == 0);

	/* No offset of a frame's byte is beyond all numbers. */
	CHECK(head_back(PM_WIRE_DATA, 5, UINT64_MAX - 5, 1) == PM_OK);
	CHECK(head_back(PM_WIRE_DATA, 5, UINT64_MAX - 4, 1) ==
	    PM_ERR_CORRUPT);
	CHECK(head_back(PM_WIRE_END, 0, UINT64_MAX, 1) == PM_OK);
	CHECK(head_back(PM_WIRE_ACK, 0, UINT64_MAX, 0) == PM_OK);
}

static enum pm_wire_kind
tell(const char *text, size_t size)
{
	uint8_t exact[8];

	memcpy(exact, text, size);
	return pm_wire_tell(exact, size);
}

static void
test_tell(void)
{
	int garbage = 1;

	CHECK(tell(PM_WIRE_SIGNATURE, 8) == PM_WIRE_IS_HELLO);
	CHECK(tell(PM_SIGNATURE, 8) == PM_WIRE_IS_STREAM);
	/* The first message of TLS, and an alert, of any of its versions. */
	CHECK(tell("\x16\x03\x01\x02\x00\x01\x00\x01", 8) == PM_WIRE_IS_TLS);
	CHECK(tell("\x16\x03", 2) == PM_WIRE_IS_TLS);
	CHECK(tell("\x15\x03\x03\x00\x02\x02\x28\x00", 8) == PM_WIRE_IS_TLS);

	for (size_t i = 0; i < 8; i++)
		garbage &= tell(PM_WIRE_SIGNATURE, i) == PM_WIRE_IS_GARBAGE &&
		    tell(PM_SIGNATURE, i) == PM_WIRE_IS_GARBAGE;
	CHECK(garbage);
	for (size_t i = 0; i < 8; i++) {
		char text[9] = PM_WIRE_SIGNATURE;

		text[i] ^= 0x20;
		garbage &= tell(text, 8) == PM_WIRE_IS_GARBAGE;
		memcpy(text, PM_SIGNATURE, 8);
		text[i] ^= 0x20;
		garbage &= tell(text, 8) == PM_WIRE_IS_GARBAGE;
	}
	CHECK(garbage);
	CHECK(tell("GET / HT", 8) == PM_WIRE_IS_GARBAGE);
	CHECK(tell("\x16", 1) == PM_WIRE_IS_GARBAGE);
	CHECK(tell("\x16\x02\x03\x03", 4) == PM_WIRE_IS_GARBAGE);
}

int
main(void)
{
	test_layout();
	test_hello();
	test_reply();
	test_versions();
	test_heads();
	test_tell();
	return check_done();
}
