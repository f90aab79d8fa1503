/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "maps.h"

#define TEXT_STEP	(64u << 10)
#define DELETED		" (deleted)"

/* A number in that base and the character behind it; 0 when it is not so. */
static int
take_number(char **next, int base, char behind, uint64_t *value)
{
	char *end;

	/* strtoull would take blanks and signs. */
	if (strchr("0123456789abcdef", **next) == NULL || **next == '\0')
		return 0;
	errno = 0;
	*value = strtoull(*next, &end, base);
	if (errno != 0 || *end != behind)
		return 0;
	*next = end + 1;
	return 1;
}

static int
take_access(char **next, struct pm_map *map)
{
	const char *p = *next;

	if (strnlen(p, 5) < 5 || p[4] != ' ')
		return 0;
	map->read = p[0] == 'r';
	map->write = p[1] == 'w';
	map->exec = p[2] == 'x';
	map->shared = p[3] == 's';
	*next += 5;
	return 1;
}

/* The kernel writes a newline within a name as \012, and nothing else so. */
static void
undo_escapes(char *name)
{
	char *out = name;

	for (const char *in = name; *in != '\0'; out++)
		if (strncmp(in, "\\012", 4) == 0) {
			*out = '\n';
			in += 4;
		} else
			*out = *in++;
	*out = '\0';
}

/* line is NUL terminated: start-end rwxp offset major:minor inode   name */
static int
parse_line(char *line, struct pm_map *map)
{
	uint64_t major, minor;
	char *p = line;

	if (!take_number(&p, 16, '-', &map->start) ||
	    !take_number(&p, 16, ' ', &map->end) || !take_access(&p, map) ||
	    !take_number(&p, 16, ' ', &map->offset) ||
	    !take_number(&p, 16, ':', &major) || major > UINT_MAX ||
	    !take_number(&p, 16, ' ', &minor) || minor > UINT_MAX)
		return 0;
	map->major = (unsigned)major;
	map->minor = (unsigned)minor;
	/* Where there is no name the line may end behind the inode. */
	if (!take_number(&p, 10, ' ', &map->inode)) {
		if (!take_number(&p, 10, '\0', &map->inode))
			return 0;
		p--;
	}
	p += strspn(p, " ");
	undo_escapes(p);
	map->name = p;
	return map->start < map->end;
}

static size_t
count_lines(const char *text)
{
	size_t lines = 0;

	while ((text = strchr(text, '\n')) != NULL) {
		lines++;
		text++;
	}
	return lines;
}

enum pm_status
pm_maps_parse(struct pm_maps *maps, char *text, struct pm_fault *fault)
{
	uint64_t behind = 0;

	*maps = (struct pm_maps){ .text = text };
	maps->map = calloc(count_lines(text) + 1, sizeof(maps->map[0]));
	if (maps->map == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, NULL, "%s",
		    strerror(errno));
	while (*text != '\0') {
		struct pm_map *map = &maps->map[maps->count];
		char *end = strchr(text, '\n');

		if (end != NULL)
			*end = '\0';
		if (end == NULL || !parse_line(text, map)) {
			errno = EPROTO;
			return pm_fault_set(fault, PM_ERR_SYSTEM, NULL,
			    "line %zu of a list of mappings is not understood",
			    maps->count + 1);
		}
		text = end + 1;
		/*
		 * Of a list that was made while it changed, one that grew or
		 * was merged may be listed again.
		 */
		if (map->end <= behind)
			continue;
		if (map->start < behind) {
			if (map->inode != 0)
				map->offset += behind - map->start;
			map->start = behind;
		}
		behind = map->end;
		maps->count++;
	}
	return PM_OK;
}

/* All of fd as text, or NULL with errno. */
static char *
read_text(int fd)
{
	size_t size = 0, room = 0;
	char *text = NULL, *more;
	ssize_t got;

	for (;;) {
		if (room - size < TEXT_STEP) {
			room += room / 2 + 2 * TEXT_STEP;
			more = realloc(text, room);
			if (more == NULL)
				break;
			text = more;
		}
		got = read(fd, text + size, room - size - 1);
		if (got == 0) {
			text[size] = '\0';
			return text;
		}
		if (got > 0)
			size += (size_t)got;
		else if (errno != EINTR)
			break;
	}
	free(text);
	return NULL;
}

enum pm_status
pm_maps_read(struct pm_maps *maps, pid_t pid, struct pm_fault *fault)
{
	char path[32], *text = NULL;
	int fd;

	*maps = (struct pm_maps){ .count = 0 };
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		text = read_text(fd);
		close(fd);
	}
	if (text == NULL)
		return pm_fault_set(fault, PM_ERR_SYSTEM, path, "%s",
		    strerror(errno));
	return pm_maps_parse(maps, text, fault);
}

void
pm_maps_free(struct pm_maps *maps)
{
	free(maps->map);
	free(maps->text);
	*maps = (struct pm_maps){ .count = 0 };
}

size_t
pm_maps_find(const struct pm_maps *maps, uint64_t address)
{
	size_t from = 0, to = maps->count;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (maps->map[at].end <= address)
			from = at + 1;
		else
			to = at;
	}
	return from;
}

static int
is_match(const char *name, const char *glob)
{
	/* "[heap]" is a name first, and a set of letters only then. */
	return strcmp(name, glob) == 0 || fnmatch(glob, name, 0) == 0;
}

int
pm_maps_match(const struct pm_map *map, const char *glob)
{
	const char *name = map->name[0] != '\0' ? map->name : "[anon]";
	size_t size = strlen(name), tail = strlen(DELETED);
	char bare[PATH_MAX];

	if (is_match(name, glob))
		return 1;
	if (size < tail || size - tail >= sizeof(bare) ||
	    strcmp(name + size - tail, DELETED) != 0)
		return 0;
	memcpy(bare, name, size - tail);
	bare[size - tail] = '\0';
	return is_match(bare, glob);
}
