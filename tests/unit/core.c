/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "check.h"
#include "core.h"
#include "fdio.h"

static char path[] = "/tmp/pm-core-XXXXXX";
static int fd;
static struct pm_fault fault;
static struct pm_region process = {
	.kind = PM_REGION_PROCESS, .length = UINT64_C(1) << 47,
	.machine = EM_X86_64, .name = "process",
};

/* So many mappings of two pages, a page apart; each other one is carried. */
static void
fill(struct pm_maplist *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct pm_mapping mapping = {
			.start = UINT64_C(0x400000) + UINT64_C(0x3000) * i,
			.end = UINT64_C(0x402000) + UINT64_C(0x3000) * i,
			.flags = PM_MAPPING_READ | (i % 2 == 0 ?
			    PM_MAPPING_CARRIED | PM_MAPPING_WRITE : 0),
			.name = i % 2 == 0 ? "[heap]" : "/bin/true",
			.name_size = i % 2 == 0 ? 6 : 9,
			.offset = UINT64_C(0x1000) * i,
		};

		if (pm_maplist_add(list, &mapping) != PM_OK)
			exit(1);
	}
}

static void
empty(void)
{
	if (ftruncate(fd, 0) != 0)
		exit(1);
}

static uint64_t
get(uint64_t at, unsigned width)
{
	uint8_t bytes[8] = { 0 };

	if (pm_fd_pread(fd, bytes, width, at) != PM_OK)
		return UINT64_MAX;
	return pm_get_le(bytes, width);
}

static uint64_t
get_header(unsigned which, unsigned offset, unsigned width)
{
	return get(get(offsetof(Elf64_Ehdr, e_phoff), 8) +
	    which * sizeof(Elf64_Phdr) + offset, width);
}

/* What was written is read back, and each load says where it is. */
static void
test_list(unsigned count)
{
	struct pm_maplist list = { 0 }, back = { 0 };
	struct pm_layout *layout;
	uint64_t data, there;
	unsigned wrong = 0, carried = 0;

	printf("# %u mappings\n", count);
	fill(&list, count);
	empty();
	CHECK(pm_core_write(fd, &process, &list, 12, &data) == PM_OK);
	CHECK(data % 4096 == 0 && pm_core_detect(fd));
	CHECK(pm_core_is(fd, &process, &list, 12, &there) && there == data);
	CHECK(pm_core_read(fd, path, &layout, &there, &back, &fault) == PM_OK);
	CHECK(there == data && back.count == count);
	CHECK(layout->slots == 2 * (uint64_t)((count + 1) / 2));
	for (unsigned i = 0; i < count; i++) {
		const struct pm_mapping *a = &list.mapping[i];
		const struct pm_mapping *b = &back.mapping[i];

		wrong += a->start != b->start || a->end != b->end ||
		    a->flags != b->flags || a->offset != b->offset ||
		    strcmp(a->name, b->name) != 0;
		wrong += get_header(i + 1, 0, 4) != PT_LOAD ||
		    get_header(i + 1, offsetof(Elf64_Phdr, p_vaddr), 8)
		    != a->start || get_header(i + 1, offsetof(Elf64_Phdr,
		    p_filesz), 8) != (i % 2 == 0 ? 0x2000 : 0);
		wrong += i % 2 == 0 && get_header(i + 1,
		    offsetof(Elf64_Phdr, p_offset), 8) != data +
		    UINT64_C(0x2000) * carried++;
	}
	CHECK(wrong == 0);
	if (count + 1 < PN_XNUM) {
		CHECK(get(offsetof(Elf64_Ehdr, e_phnum), 2) == count + 1);
		CHECK(get(offsetof(Elf64_Ehdr, e_shnum), 2) == 0);
	} else {
		CHECK(get(offsetof(Elf64_Ehdr, e_phnum), 2) == PN_XNUM);
		CHECK(get(offsetof(Elf64_Ehdr, e_shnum), 2) == 1);
		CHECK(get(get(offsetof(Elf64_Ehdr, e_shoff), 8) +
		    offsetof(Elf64_Shdr, sh_info), 4) == count + 1);
	}
	pm_layout_free(layout);
	pm_maplist_clear(&list);
	pm_maplist_clear(&back);
}

/*
 * No byte outside our own note, from which all of the head follows, may be
 * another, and no prefix of it is one.
 */
static void
test_damage(void)
{
	struct pm_maplist list = { 0 };
	struct pm_layout *layout;
	uint64_t data, there, note, end;
	unsigned taken = 0, unnamed = 0;
	uint8_t byte;

	fill(&list, 3);
	empty();
	(void)pm_core_write(fd, &process, &list, 12, &data);
	end = get_header(0, offsetof(Elf64_Phdr, p_offset), 8) +
	    get_header(0, offsetof(Elf64_Phdr, p_filesz), 8);
	note = end - (24 + 7 + 3 * 32 + 6 + 9 + 6);
	for (uint64_t at = 0; at < data; at++) {
		byte = (uint8_t)(get(at, 1) ^ 0x41);
		(void)pm_fd_pwrite(fd, &byte, 1, at);
		fault = (struct pm_fault){ .error = 0 };
		if (pm_core_read(fd, path, &layout, &there, NULL, &fault)
		    == PM_OK) {
			taken += at < note || at >= end;
			pm_layout_free(layout);
		} else
			unnamed += strcmp(fault.text, "is not a core file "
			    "that pm-apply wrote") != 0;
		byte ^= 0x41;
		(void)pm_fd_pwrite(fd, &byte, 1, at);
	}
	CHECK(taken == 0 && unnamed == 0);
	for (off_t size = (off_t)data - 1; size >= 0; size--) {
		taken += ftruncate(fd, size) != 0;
		taken += pm_core_read(fd, path, &layout, &there, NULL, NULL)
		    == PM_OK;
	}
	CHECK(taken == 0);
	pm_maplist_clear(&list);
}

/* A head as ours would be, of a region or a mapping that cannot be. */
static void
test_lies(void)
{
	struct pm_maplist list = { 0 };
	struct pm_region region = process;
	struct pm_layout *layout;
	uint64_t data;

	fill(&list, 2);
	region.length = UINT64_C(1) << 63;
	(void)pm_core_write(fd, &region, &list, 12, &data);
	CHECK(pm_core_read(fd, path, &layout, &data, NULL, NULL)
	    == PM_ERR_REFUSED);
	region = process;
	region.length = 0x400000;
	(void)pm_core_write(fd, &region, &list, 12, &data);
	CHECK(pm_core_read(fd, path, &layout, &data, NULL, NULL)
	    == PM_ERR_REFUSED);
	(void)pm_core_write(fd, &process, &list, 17, &data);
	CHECK(pm_core_read(fd, path, &layout, &data, NULL, NULL)
	    == PM_ERR_REFUSED);
	CHECK(layout == NULL);
	list.mapping[0].end = list.mapping[0].start;
	(void)pm_core_write(fd, &process, &list, 12, &data);
	CHECK(pm_core_read(fd, path, &layout, &data, NULL, NULL)
	    == PM_ERR_REFUSED);
	pm_maplist_clear(&list);
}

int
main(void)
{
	if ((fd = mkstemp(path)) < 0)
		return 1;
	unlink(path);
	CHECK(!pm_core_detect(fd));
	test_list(0);
	test_list(1);
	test_list(7);
	test_list(PN_XNUM - 2);
	test_list(PN_XNUM - 1);
	test_list(PN_XNUM + 1000);
	test_damage();
	test_lies();
	close(fd);
	return check_done();
}
