/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* pipe2 */
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "check.h"
#include "child.h"
#include "fdio.h"
#include "relay.h"

#define SIZE	(8u << 20)	/* more than the stream has */

static struct pm_record *rec;
static struct pm_fault in_fault, out_fault;

/* The stream, where each record ends in it, and what became of it. */
static uint8_t *stream;
static size_t size;
static size_t end[64];
static int ends;
static struct {
	uint8_t bytes[SIZE];
	size_t size;
} *result;

static enum pm_status
append(void *arg, struct iovec *iov, int count)
{
	(void)arg;
	for (int i = 0; i < count; i++) {
		memcpy(stream + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	end[ends++] = size;
	return PM_OK;
}

static void
put_pages(struct pm_writer *writer, uint32_t first, uint32_t pages)
{
	pm_record_clear(rec, PM_TYPE_PAGES);
	rec->first = first;
	for (uint32_t i = 0; i < pages; i++) {
		rec->entry[i] = pm_entry_of(i, PM_RAW, 4096);
		for (uint32_t at = 0; at < 4096; at++)
			rec->payload[i * 4096 + at] =
			    (uint8_t)((first + i) * 7 + at * (at >> 8));
	}
	rec->entries = pages;
	rec->stored = rec->decoded = pages * 4096;
	if (pm_writer_put(writer, rec) != PM_OK)
		child_fail("put");
}

/* Records below, at and above the size from which payloads are moved. */
static void
make_stream(void)
{
	static const uint32_t pages[] = { 1, 3, 4, 5, 64, 1, 256, 33, 64, 256 };
	struct pm_stream about = { .version = 1, .page_shift = 12 };
	struct pm_region region = { .length = UINT64_C(1000) << 12,
	    .name = "memory" };
	struct pm_writer writer;
	uint32_t at = 0;

	if (pm_writer_open_io(&writer, append, NULL, NULL) != PM_OK)
		child_fail("open");
	pm_record_clear(rec, PM_TYPE_STREAM);
	pm_stream_pack(&about, rec);
	(void)pm_writer_put(&writer, rec);
	pm_record_clear(rec, PM_TYPE_REGION);
	pm_region_pack(&region, 0, rec);
	(void)pm_writer_put(&writer, rec);
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		put_pages(&writer, at, pages[i]);
		at += pages[i];
	}
	(void)pm_writer_end(&writer, (struct pm_digest){ 0, 0 },
	    (struct pm_digest){ 1, 2 }, rec);
	pm_writer_close(&writer);
}

enum kind { PIPE, REGULAR, LOCAL, NETWORK, NULL_DEVICE };

/* Bytes go from ends[1] to ends[0]. */
static void
connect_network(int both[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	both[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&at, length) != 0 ||
	    listen(listener, 1) != 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &length) != 0 ||
	    connect(both[1], (struct sockaddr *)&at, length) != 0 ||
	    (both[0] = accept(listener, NULL, NULL)) < 0)
		child_fail("connect");
	close(listener);
}

static void
make_ends(enum kind kind, int both[2])
{
	char path[] = "/tmp/pm-relay-XXXXXX";

	both[0] = both[1] = -1;
	switch (kind) {
	case PIPE:
		if (pipe2(both, O_CLOEXEC) != 0)
			child_fail("pipe");
		break;
	case REGULAR:
		both[0] = mkstemp(path);
		unlink(path);
		both[1] = open("/dev/null", O_RDONLY);
		break;
	case LOCAL:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both)
		    != 0)
			child_fail("socketpair");
		break;
	case NETWORK:
		connect_network(both);
		break;
	case NULL_DEVICE:
		both[0] = open("/dev/null", O_RDONLY);
		both[1] = open("/dev/null", O_WRONLY);
		break;
	}
}

static int source[2], sink[2];
static size_t given, taken;	/* bytes that there are, that are wanted */
static int slowly;

static void
give(int in, int out)
{
	(void)in;
	(void)out;
	close(source[0]);
	close(sink[0]);
	close(sink[1]);
	for (size_t at = 0, now; at < given; at += now) {
		now = slowly ? at * 7 % 50021 + 1 : 1u << 20;
		if (now > given - at)
			now = given - at;
		if (pm_fd_write(source[1], stream + at, now) != PM_OK)
			return;
		if (slowly && at % 3 == 0)
			child_nap(1);
	}
}

/* Keep all that comes, and end when enough came. */
static void
take(int in, int out)
{
	ssize_t now = 1;

	(void)in;
	(void)out;
	close(sink[1]);
	close(source[0]);
	close(source[1]);
	while (result->size < taken && now > 0) {
		size_t most = slowly ? 30011 : 1u << 20;

		if (most > taken - result->size)
			most = taken - result->size;
		now = read(sink[0], result->bytes + result->size, most);
		if (now > 0)
			result->size += (size_t)now;
		if (slowly && result->size % 3 == 0)
			child_nap(1);
	}
}

/* As pm_relay_run does, but that it never moves anything. */
static enum pm_status
copy_run(struct pm_reader *in, struct pm_writer *out)
{
	enum pm_status status;

	while ((status = pm_reader_next(in, rec)) == PM_OK)
		if ((status = pm_writer_put(out, rec)) != PM_OK)
			return status;
	return status == PM_END ? PM_OK : status;
}

static int copying;
static uint64_t bytes_in, bytes_out;

/* Pass the first bytes of the stream on, to one who wants so many. */
static enum pm_status
pass(enum kind from, enum kind to, size_t first, size_t wanted)
{
	struct child giver = { 0 }, taker = { 0 };
	struct pm_reader in;
	struct pm_writer out;
	enum pm_status status;

	in_fault = out_fault = (struct pm_fault){ .error = 0 };
	given = first;
	taken = wanted;
	result->size = 0;
	make_ends(from, source);
	make_ends(to, sink);
	if (from == REGULAR)
		(void)pm_fd_pwrite(source[0], stream, first, 0);
	else
		giver = child_start(give);
	if (to != REGULAR && to != NULL_DEVICE)
		taker = child_start(take);
	close(source[1]);
	if (to == REGULAR)
		sink[1] = dup(sink[0]);
	close(sink[0]);

	if (pm_writer_open(&out, sink[1], &out_fault) != PM_OK)
		child_fail("open");
	status = pm_reader_open(&in, source[0], &in_fault);
	if (status == PM_OK)
		status = copying ? copy_run(&in, &out)
		    : pm_relay_run(&in, &out, rec);
	bytes_in = pm_meter_get(&in.meter.bytes);
	bytes_out = pm_meter_get(&out.meter.bytes);
	pm_reader_close(&in);
	pm_writer_close(&out);
	close(source[0]);
	if (to == REGULAR) {
		ssize_t got = pread(sink[1], result->bytes, SIZE, 0);

		result->size = got > 0 ? (size_t)got : 0;
	}
	close(sink[1]);
	if (giver.pid != 0)
		child_end(&giver);
	if (taker.pid != 0)
		child_end(&taker);
	return status;
}

static int
came_whole(void)
{
	return result->size == size &&
	    memcmp(result->bytes, stream, size) == 0;
}

static void
test_kinds(void)
{
	int good = 1;

	for (enum kind from = PIPE; from <= NETWORK; from++)
		for (enum kind to = PIPE; to <= NETWORK; to++)
			if (pass(from, to, size, SIZE) != PM_OK ||
			    !came_whole() || bytes_in != size ||
			    bytes_out != size) {
				printf("# from %d to %d\n", (int)from,
				    (int)to);
				good = 0;
			}
	CHECK(good);
	CHECK(pass(PIPE, NULL_DEVICE, size, 0) == PM_OK &&
	    bytes_out == size);
}

/* Cut anywhere, it is told in the same words as if nothing were moved. */
static int
tells_cut(enum kind from, enum kind to, size_t cut)
{
	struct pm_fault words;
	size_t passed;

	copying = 1;
	if (pass(from, to, cut, SIZE) != PM_ERR_TRUNCATED)
		return 0;
	words = in_fault;
	passed = result->size;
	copying = 0;
	return pass(from, to, cut, SIZE) == PM_ERR_TRUNCATED &&
	    strcmp(in_fault.text, words.text) == 0 &&
	    out_fault.text[0] == '\0' &&
	    result->size >= passed && result->size <= cut &&
	    memcmp(result->bytes, stream, result->size) == 0 &&
	    bytes_out == result->size;
}

static void
test_cuts(enum kind from, enum kind to)
{
	int good = 1;

	for (int i = 0; i < ends; i++) {
		size_t start = i > 0 ? end[i - 1] : 0;
		size_t cuts[] = { start, start + 20, start + 56,
		    start + (end[i] - start) / 2, end[i] - 1 };

		for (size_t j = 0; j < sizeof(cuts) / sizeof(cuts[0]); j++)
			if (!tells_cut(from, to, cuts[j])) {
				printf("# %zu\n", cuts[j]);
				good = 0;
			}
	}
	CHECK(good);
}

/* An output that breaks is not the input's fault. */
static void
test_broken_output(enum kind from, enum kind to)
{
	enum pm_status status;

	/* What a socket or pipe holds may be taken for written. */
	status = pass(from, to, size, 300000);
	CHECK(status == PM_ERR_WRITE);
	CHECK(in_fault.text[0] == '\0' && out_fault.error == EPIPE);
	CHECK(result->size == 300000 && bytes_out >= 300000 &&
	    memcmp(result->bytes, stream, 300000) == 0);
}

/* What a relay is asked to look at it reads, and passes on all the same. */
static enum pm_status
look_at_some(struct pm_reader *in, struct pm_writer *out, int *left)
{
	struct pm_relay relay;
	enum pm_status status;

	pm_relay_open(&relay, in, out);
	while ((status = pm_relay_next(&relay, rec)) == PM_OK) {
		*left += in->left > 0;
		if (rec->number % 2 == 0)
			status = pm_reader_payload(in, rec);
		if (status == PM_OK)
			status = pm_relay_put(&relay, rec);
		if (status != PM_OK)
			break;
	}
	return status;
}

static void
test_looking(void)
{
	struct pm_reader in;
	struct pm_writer out;
	struct child giver, taker;
	int left = 0;

	given = size;
	taken = SIZE;
	result->size = 0;
	make_ends(PIPE, source);
	make_ends(PIPE, sink);
	giver = child_start(give);
	taker = child_start(take);
	close(source[1]);
	close(sink[0]);
	CHECK(pm_writer_open(&out, sink[1], &out_fault) == PM_OK &&
	    pm_reader_open(&in, source[0], &in_fault) == PM_OK);
	CHECK(look_at_some(&in, &out, &left) == PM_END);
	CHECK(left == 7);
	pm_reader_close(&in);
	pm_writer_close(&out);
	close(source[0]);
	close(sink[1]);
	child_end(&giver);
	child_end(&taker);
	CHECK(came_whole());
}

/* One that has no descriptor, or none that it knows of, copies. */
static enum pm_status
fetch(void *arg, struct iovec *iov, int count)
{
	size_t *at = arg;

	for (int i = 0; i < count; i++) {
		if (size - *at < iov[i].iov_len)
			return *at == size ? PM_END : PM_ERR_TRUNCATED;
		memcpy(iov[i].iov_base, stream + *at, iov[i].iov_len);
		*at += iov[i].iov_len;
	}
	return PM_OK;
}

static enum pm_status
keep(void *arg, struct iovec *iov, int count)
{
	(void)arg;
	for (int i = 0; i < count; i++) {
		memcpy(result->bytes + result->size, iov[i].iov_base,
		    iov[i].iov_len);
		result->size += iov[i].iov_len;
	}
	return PM_OK;
}

static void
test_memory(void)
{
	struct pm_reader in;
	struct pm_writer out;
	size_t at = 0;

	result->size = 0;
	CHECK(pm_writer_open_io(&out, keep, NULL, NULL) == PM_OK &&
	    pm_reader_open_io(&in, fetch, &at, NULL) == PM_OK);
	CHECK(pm_relay_run(&in, &out, rec) == PM_OK && came_whole());
	pm_reader_close(&in);
	pm_writer_close(&out);
}

/* A way of moving that gives up after some bytes. */
static int moves, movable;

static enum pm_status
move_once(void *arg, struct iovec *head, int from, size_t most,
    size_t *moved)
{
	uint8_t buf[1000];

	if (moves++ >= movable)
		return PM_ERR_REFUSED;
	if (head->iov_len > 0 && pm_fd_write(*(int *)arg, head->iov_base,
	    head->iov_len) != PM_OK)
		return PM_ERR_WRITE;
	head->iov_len = 0;
	*moved = most < sizeof(buf) ? most : sizeof(buf);
	if (pm_fd_read(from, buf, *moved) != PM_OK)
		return PM_ERR_READ;
	return pm_fd_write(*(int *)arg, buf, *moved);
}

static enum pm_status
pull_once(void *arg, int to, size_t most, size_t *moved)
{
	struct iovec none = { NULL, 0 };
	int from = *(int *)arg;

	return move_once(&to, &none, from, most, moved);
}

static void
test_refusal(int by_reader, int after)
{
	struct pm_reader in;
	struct pm_writer out;
	int file[2], pipes[2];
	struct child taker;

	make_ends(REGULAR, file);
	(void)pm_fd_pwrite(file[0], stream, size, 0);
	make_ends(PIPE, pipes);
	sink[0] = pipes[0];
	sink[1] = pipes[1];
	source[0] = source[1] = file[1];
	taken = SIZE;
	result->size = 0;
	taker = child_start(take);
	close(pipes[0]);
	CHECK(pm_writer_open(&out, pipes[1], &out_fault) == PM_OK &&
	    pm_reader_open(&in, file[0], &in_fault) == PM_OK);
	if (by_reader)
		pm_reader_pull(&in, file[0], pull_once);
	else
		pm_writer_push(&out, pipes[1], move_once);
	moves = 0;
	movable = after;
	CHECK(pm_relay_run(&in, &out, rec) == PM_OK && moves == after + 1);
	CHECK(pm_meter_get(&out.meter.records) ==
	    pm_meter_get(&in.meter.records) &&
	    pm_meter_get(&out.meter.pages) == pm_meter_get(&in.meter.pages));
	CHECK(pm_meter_get(&out.meter.bytes) == size &&
	    pm_meter_get(&in.meter.bytes) == size);
	pm_reader_close(&in);
	pm_writer_close(&out);
	close(pipes[1]);
	close(file[0]);
	close(file[1]);
	child_end(&taker);
	CHECK(came_whole());
}

int
main(void)
{
	rec = pm_record_new();
	stream = malloc(SIZE);
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rec == NULL || stream == NULL || result == MAP_FAILED)
		child_fail("memory");
	signal(SIGPIPE, SIG_IGN);
	make_stream();
	test_kinds();
	test_cuts(PIPE, PIPE);
	test_cuts(REGULAR, PIPE);
	test_cuts(NETWORK, PIPE);
	slowly = 1;
	test_kinds();
	test_broken_output(PIPE, PIPE);
	test_broken_output(LOCAL, PIPE);
	test_broken_output(NETWORK, PIPE);
	slowly = 0;
	test_looking();
	test_memory();
	for (int by_reader = 0; by_reader < 2; by_reader++) {
		test_refusal(by_reader, 0);
		test_refusal(by_reader, 1);
		test_refusal(by_reader, 40);
	}
	pm_record_free(rec);
	free(stream);
	return check_done();
}
