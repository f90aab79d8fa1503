/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE		/* strdup, mkostemp, MAP_ANONYMOUS */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "mapfile.h"
#include "maps.h"

static enum pm_status
parse(struct pm_maps *maps, const char *text)
{
	struct pm_fault fault = { .error = 0 };

	return pm_maps_parse(maps, strdup(text), &fault);
}

static void
test_lines(void)
{
	struct pm_maps maps;

	CHECK(parse(&maps,
	    "00400000-00452000 r-xp 00001000 08:02 173521   /usr/bin/a b\n"
	    "00651000-00652000 rw-s 0000a000 103:12 4294967297       "
	    "/tmp/one\\012two (deleted)\n"
	    "7f0000000000-7f0000001000 ---p 00000000 00:00 0 \n"
	    "7f0000001000-7f0000002000 rw-p 00000000 00:00 0\n"
	    "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0    [stack]\n"
	    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  "
	    "[vsyscall]\n") == PM_OK);
	CHECK(maps.count == 6);
	CHECK(maps.map[0].start == 0x400000 && maps.map[0].end == 0x452000);
	CHECK(maps.map[0].read && !maps.map[0].write && maps.map[0].exec);
	CHECK(!maps.map[0].shared && maps.map[0].offset == 0x1000);
	CHECK(maps.map[0].major == 8 && maps.map[0].minor == 2);
	CHECK(maps.map[0].inode == 173521);
	CHECK(strcmp(maps.map[0].name, "/usr/bin/a b") == 0);
	CHECK(maps.map[1].shared && maps.map[1].write);
	CHECK(maps.map[1].major == 0x103 && maps.map[1].minor == 0x12);
	CHECK(maps.map[1].inode == 4294967297u);
	CHECK(strcmp(maps.map[1].name, "/tmp/one\ntwo (deleted)") == 0);
	CHECK(!maps.map[2].read && strcmp(maps.map[2].name, "") == 0);
	CHECK(strcmp(maps.map[3].name, "") == 0);
	CHECK(strcmp(maps.map[4].name, "[stack]") == 0);
	CHECK(maps.map[5].end == 0xffffffffff601000u);

	CHECK(pm_maps_find(&maps, 0) == 0);
	CHECK(pm_maps_find(&maps, 0x451fff) == 0);
	CHECK(pm_maps_find(&maps, 0x452000) == 1);
	CHECK(pm_maps_find(&maps, 0x7f0000001000) == 3);
	CHECK(pm_maps_find(&maps, 0xffffffffff601000u) == 6);
	pm_maps_free(&maps);
}

static void
test_bad_lines(void)
{
	static const char *const bad[] = {
		"x\n",
		"00400000-00452000 r-xp 00000000 08:02 17",	/* no newline */
		"00452000-00400000 r-xp 00000000 08:02 17\n",
		"00400000-00400000 r-xp 00000000 08:02 17\n",
		"00400000 00452000 r-xp 00000000 08:02 17\n",
		"00400000- 0452000 r-xp 00000000 08:02 17\n",
		"00400000-00452000 r-x 00000000 08:02 17\n",
		"00400000-00452000 r-xp 00000000 08 17\n",
		"00400000-00452000 r-xp 00000000 08:02 \n",
		"10000000000000000-20000000000000000 r-xp 0 08:02 1\n",
	};
	struct pm_maps maps;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		enum pm_status status = parse(&maps, bad[i]);

		if (status == PM_OK)
			printf("# taken: %s", bad[i]);
		CHECK(status == PM_ERR_SYSTEM);
		pm_maps_free(&maps);
	}
	CHECK(parse(&maps, "") == PM_OK && maps.count == 0);
	pm_maps_free(&maps);
}

/* A list that changed while it was read says some things twice. */
static void
test_changing(void)
{
	struct pm_maps maps;

	CHECK(parse(&maps, "2000-3000 r-xp 0 0:0 0\n"
	    "1000-2000 r-xp 0 0:0 0\n2000-3000 r-xp 0 0:0 0\n"
	    "2000-5000 r-xp 7000 1:2 3\n4000-6000 rw-p 0 0:0 0\n") ==
	    PM_OK);
	CHECK(maps.count == 3 && maps.map[0].start == 0x2000 &&
	    maps.map[0].end == 0x3000);
	CHECK(maps.map[1].start == 0x3000 && maps.map[1].end == 0x5000 &&
	    maps.map[1].offset == 0x8000);
	CHECK(maps.map[2].start == 0x5000 && maps.map[2].end == 0x6000 &&
	    maps.map[2].offset == 0);
	pm_maps_free(&maps);
}

static void
test_names(void)
{
	struct pm_map map = { .name = "/tmp/a b (deleted)" };

	CHECK(pm_maps_match(&map, "/tmp/a b (deleted)"));
	CHECK(pm_maps_match(&map, "/tmp/a b"));
	CHECK(pm_maps_match(&map, "/*"));
	CHECK(pm_maps_match(&map, "*/a ?"));
	CHECK(!pm_maps_match(&map, "/tmp/a"));
	CHECK(!pm_maps_match(&map, "[anon]"));
	map.name = "[heap]";
	CHECK(pm_maps_match(&map, "[heap]"));
	CHECK(pm_maps_match(&map, "\\[heap]"));
	CHECK(pm_maps_match(&map, "*"));
	CHECK(!pm_maps_match(&map, "[stack]"));
	map.name = "";
	CHECK(pm_maps_match(&map, "[anon]"));
	CHECK(pm_maps_match(&map, "\\[anon*"));
	CHECK(!pm_maps_match(&map, "[heap]"));
}

/* This process has a file whose name is as odd as can be. */
static void
test_own(void)
{
	char path[] = "/tmp/pm maps\nXXXXXX";
	struct pm_fault fault = { .error = 0 };
	struct pm_maps maps;
	int fd = mkostemp(path, O_CLOEXEC);
	void *at;
	size_t found;

	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0);
	at = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED);
	CHECK(pm_maps_read(&maps, getpid(), &fault) == PM_OK);
	found = pm_maps_find(&maps, (uintptr_t)at);
	CHECK(found < maps.count &&
	    maps.map[found].start == (uintptr_t)at &&
	    strcmp(maps.map[found].name, path) == 0 &&
	    maps.map[found].shared && maps.map[found].inode != 0);
	CHECK(pm_mapfile_kind(getpid(), &maps.map[found]) ==
	    PM_MAPFILE_FILE);
	pm_maps_free(&maps);
	unlink(path);
	CHECK(pm_maps_read(&maps, getpid(), &fault) == PM_OK);
	found = pm_maps_find(&maps, (uintptr_t)at);
	CHECK(found < maps.count && strcmp(maps.map[found].name, path) != 0 &&
	    pm_maps_match(&maps.map[found], path));
	pm_maps_free(&maps);
	close(fd);
	CHECK(pm_maps_read(&maps, INT_MAX, &fault) == PM_ERR_SYSTEM);
}

static void
test_kinds(void)
{
	struct pm_map map = { .start = 4096, .end = 8192, .name = "" };

	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_NONE);
	map.name = "[anon:scratch]";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_NONE);
	map.name = "[vvar_vclock]";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_KERNEL);
	map.name = "[vdso]";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_FILE);
	map.inode = 1;
	map.name = "/dev/no-such-device";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_DEVICE);
	map.name = "/sys/bus/pci/devices/0000:00:02.0/resource0";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_DEVICE);
	map.name = "/dev/shm/no-such-file";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_FILE);
	map.name = "/dev/zero (deleted)";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_FILE);
	map.name = "/anon_hugepage (deleted)";
	CHECK(pm_mapfile_kind(getpid(), &map) == PM_MAPFILE_NONE);
}

int
main(void)
{
	test_lines();
	test_changing();
	test_bad_lines();
	test_names();
	test_own();
	test_kinds();
	return check_done();
}
