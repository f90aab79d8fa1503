/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* memfd_create, MAP_ANONYMOUS, pipe2 */
#include <sys/resource.h>

#include "memory.h"

/* Two sources that tell the same of the same process. */
static int
are_alike(struct pm_source *a, struct pm_source *b, uint64_t *data)
{
	uint64_t pages = a->region->length >> a->page_shift, page = 0;
	struct pm_span left, right;
	uint32_t got[2], now;
	uint8_t *other = malloc(PAGES * page_size);
	int alike = 1;

	*data = 0;
	while (page < pages && alike) {
		if (a->ops->span(a, 0, page, &left) != PM_OK ||
		    b->ops->span(b, 0, page, &right) != PM_OK)
			break;
		if (left.pages > right.pages)
			left.pages = right.pages;
		if (left.kind == PM_SPAN_DATA && left.pages > PAGES)
			left.pages = PAGES;
		now = (uint32_t)left.pages;
		if (left.kind == PM_SPAN_DATA && right.kind == left.kind) {
			alike = a->ops->read(a, 0, page, now, buf,
			    &got[0], NULL) == PM_OK && b->ops->read(b, 0,
			    page, now, other, &got[1], NULL) == PM_OK &&
			    got[0] == got[1] && got[0] > 0 && memcmp(buf, other, got[0] *
			    page_size) == 0;
			left.pages = got[0];
			*data += got[0];
		} else if (left.kind == PM_SPAN_DATA)
			alike = a->ops->read(a, 0, page, 1, buf, &got[0],
			    NULL) == PM_OK && got[0] == 0 &&
			    right.kind == PM_SPAN_GONE && (left.pages = 1);
		else
			alike = left.kind == right.kind;
		page += left.pages;
	}
	free(other);
	return alike && page == pages;
}

static void
test_spool(void)
{
	struct places is;
	struct child child = start(&is);
	struct pm_source *spooled = open_process(child.pid, NULL, "/tmp");
	struct pm_source *direct;
	uint64_t data = 0;

	/* The child stands in read(2) all the time, so nothing changes. */
	CHECK(spooled != NULL && spooled->frozen_us > 0);
	direct = open_process(child.pid, NULL, NULL);
	CHECK(direct != NULL && are_alike(direct, spooled, &data));
	printf("# %llu pages alike\n", (unsigned long long)data);
	CHECK(data > 50 && spooled->page_bytes >= data * page_size);
	direct->ops->close(direct);
	CHECK(spooled->regions == 1 && spooled->mappings > 10);
	CHECK(strcmp(spooled->region->name, "process") == 0);
	CHECK(spooled->ops->done(spooled) == PM_OK);
	spooled->ops->close(spooled);
	CHECK(open_process(child.pid, NULL, "/no/such/directory") == NULL);
	CHECK(strcmp(fault.subject, "/no/such/directory") == 0);
	CHECK(child_end(&child) == 0);
}

/* A file that may not grow is as good as a disk that is full. */
static void
spool_in_vain(int in, int out)
{
	struct rlimit limit = { 65536, 65536 };
	pid_t pid;
	char good;

	if (!child_hear(in, &pid, sizeof(pid)))
		_exit(1);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	good = open_process(pid, NULL, "/tmp") == NULL &&
	    strcmp(fault.subject, "/tmp") == 0 && fault.error == EFBIG;
	child_tell(out, &good, 1);
	child_linger(in);
}

static void
test_full_spool(void)
{
	struct places is;
	struct child child = start(&is), other = child_start(spool_in_vain);
	char byte = 0;

	CHECK(child_tell(other.to, &child.pid, sizeof(child.pid)));
	CHECK(child_hear(other.from, &byte, 1) && byte == 1);
	/* It was let go, though the one who froze it is still there. */
	CHECK(child_tell(child.to, "w", 1));
	CHECK(child_hear(child.from, &byte, 1) && byte == 1);
	CHECK(child_end(&other) == 0);
	CHECK(child_end(&child) == 0);
}

int
main(void)
{
	prepare();
	test_spool();
	test_full_spool();
	free(buf);
	return check_done();
}
