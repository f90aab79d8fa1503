/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <elf.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "core.h"
#include "fdio.h"

#define NOTE_OWNER	"pm"
#define NOTE_REGION	0x504d0001u	/* what put_region writes */
#define NOTE_NAME	24u		/* byte of the name in it */
#define NOTES_MAX	(256u << 20)
#define HEAD_MAX	((uint64_t)sizeof(Elf64_Ehdr) + sizeof(Elf64_Shdr) + \
			    ((uint64_t)PM_MAPPINGS_MAX + 1) * \
			    sizeof(Elf64_Phdr) + NOTES_MAX)

/* Bytes put one behind the other; written only where there is room. */
struct bytes {
	uint8_t *at;		/* NULL: only count */
	uint64_t size;
};

static void
put(struct bytes *out, const void *from, size_t size)
{
	if (out->at != NULL)
		memcpy(out->at + out->size, from, size);
	out->size += size;
}

static void
put_number(struct bytes *out, uint64_t value, unsigned width)
{
	uint8_t bytes[8];

	pm_put_le(bytes, value, width);
	put(out, bytes, width);
}

static void
pad(struct bytes *out, uint64_t to)
{
	while (out->size % to != 0)
		put(out, "", 1);
}

static void
put_note_head(struct bytes *out, const char *owner, uint64_t size,
    uint32_t type)
{
	put_number(out, strlen(owner) + 1, 4);
	put_number(out, size, 4);
	put_number(out, type, 4);
	put(out, owner, strlen(owner) + 1);
	pad(out, 4);
}

static int
has_file(const struct pm_mapping *mapping)
{
	return mapping->name_size > 0 && mapping->name[0] == '/';
}

/* NT_FILE: count, page size, (start, end, offset in pages)..., names. */
static void
put_files(struct bytes *out, const struct pm_maplist *list,
    unsigned page_shift)
{
	uint64_t files = 0, size = 16;

	for (size_t i = 0; i < list->count; i++)
		if (has_file(&list->mapping[i])) {
			files++;
			size += 24 + list->mapping[i].name_size + 1;
		}
	put_note_head(out, "CORE", size, NT_FILE);
	put_number(out, files, 8);
	put_number(out, UINT64_C(1) << page_shift, 8);
	for (size_t i = 0; i < list->count; i++)
		if (has_file(&list->mapping[i])) {
			put_number(out, list->mapping[i].start, 8);
			put_number(out, list->mapping[i].end, 8);
			put_number(out, list->mapping[i].offset >> page_shift,
			    8);
		}
	for (size_t i = 0; i < list->count; i++)
		if (has_file(&list->mapping[i])) {
			put(out, list->mapping[i].name,
			    list->mapping[i].name_size);
			put(out, "", 1);
		}
	pad(out, 4);
}

/* Page shift, then the region, then the mappings as MAP records have them. */
static void
put_region(struct bytes *out, const struct pm_region *region,
    const struct pm_maplist *list, unsigned page_shift)
{
	uint64_t size = NOTE_NAME + strlen(region->name);

	for (size_t i = 0; i < list->count; i++)
		size += 32 + list->mapping[i].name_size;
	put_note_head(out, NOTE_OWNER, size, NOTE_REGION);
	put_number(out, page_shift, 4);
	put_number(out, region->address, 8);
	put_number(out, region->length, 8);
	put_number(out, region->machine, 2);
	put_number(out, strlen(region->name), 2);
	put(out, region->name, strlen(region->name));
	for (size_t i = 0; i < list->count; i++) {
		const struct pm_mapping *mapping = &list->mapping[i];

		put_number(out, mapping->start, 8);
		put_number(out, mapping->end, 8);
		put_number(out, mapping->offset, 8);
		put_number(out, mapping->flags, 4);
		put_number(out, mapping->name_size, 4);
		put(out, mapping->name, mapping->name_size);
	}
	pad(out, 4);
}

static void
put_load(struct bytes *out, const struct pm_mapping *mapping,
    uint64_t offset, uint64_t page_size)
{
	uint64_t size = mapping->end - mapping->start;
	uint32_t flags = mapping->flags;

	put_number(out, PT_LOAD, 4);
	put_number(out, (uint64_t)((flags & PM_MAPPING_READ ? PF_R : 0) |
	    (flags & PM_MAPPING_WRITE ? PF_W : 0) |
	    (flags & PM_MAPPING_EXEC ? PF_X : 0)), 4);
	put_number(out, offset, 8);
	put_number(out, mapping->start, 8);
	put_number(out, 0, 8);
	put_number(out, flags & PM_MAPPING_CARRIED ? size : 0, 8);
	put_number(out, size, 8);
	put_number(out, page_size, 8);
}

static void
put_elf_header(struct bytes *out, unsigned machine, uint64_t headers)
{
	static const unsigned char ident[EI_NIDENT] = {
		ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
		EV_CURRENT, ELFOSABI_NONE,
	};
	int many = headers >= PN_XNUM;

	put(out, ident, sizeof(ident));
	put_number(out, ET_CORE, 2);
	put_number(out, machine, 2);
	put_number(out, EV_CURRENT, 4);
	put_number(out, 0, 8);
	put_number(out, sizeof(Elf64_Ehdr) + (many ? sizeof(Elf64_Shdr) : 0),
	    8);
	put_number(out, many ? sizeof(Elf64_Ehdr) : 0, 8);
	put_number(out, 0, 4);
	put_number(out, sizeof(Elf64_Ehdr), 2);
	put_number(out, sizeof(Elf64_Phdr), 2);
	put_number(out, many ? PN_XNUM : headers, 2);
	put_number(out, many ? sizeof(Elf64_Shdr) : 0, 2);
	put_number(out, (uint64_t)many, 2);
	put_number(out, SHN_UNDEF, 2);
	if (!many)
		return;
	/* A section header that only holds the count, in its sh_info. */
	for (unsigned i = 0; i < 11; i++)
		put_number(out, 0, 4);
	put_number(out, headers, 4);
	put_number(out, 0, 8);
	put_number(out, 0, 8);
}

static uint64_t
round_up(uint64_t value, unsigned page_shift)
{
	uint64_t mask = (UINT64_C(1) << page_shift) - 1;

	return (value + mask) & ~mask;
}

/* Everything before slot 0, or, with nowhere to write, only its size. */
static void
put_head(struct bytes *out, const struct pm_region *region,
    const struct pm_maplist *list, unsigned page_shift)
{
	uint64_t headers = list->count + 1, offset;
	struct bytes notes = { NULL, 0 };

	put_files(&notes, list, page_shift);
	put_region(&notes, region, list, page_shift);
	put_elf_header(out, region->machine, headers);
	offset = out->size + headers * sizeof(Elf64_Phdr);

	put_number(out, PT_NOTE, 4);
	put_number(out, 0, 4);
	put_number(out, offset, 8);
	put_number(out, 0, 8);
	put_number(out, 0, 8);
	put_number(out, notes.size, 8);
	put_number(out, 0, 8);
	put_number(out, 4, 8);
	offset = round_up(offset + notes.size, page_shift);
	for (size_t i = 0; i < list->count; i++) {
		const struct pm_mapping *mapping = &list->mapping[i];

		put_load(out, mapping, offset, UINT64_C(1) << page_shift);
		if ((mapping->flags & PM_MAPPING_CARRIED) != 0)
			offset += mapping->end - mapping->start;
	}
	put_files(out, list, page_shift);
	put_region(out, region, list, page_shift);
	pad(out, UINT64_C(1) << page_shift);
}

/* The same in memory, which the caller frees; NULL when that ran out. */
static uint8_t *
make_head(const struct pm_region *region, const struct pm_maplist *list,
    unsigned page_shift, size_t *size)
{
	struct bytes out = { NULL, 0 };

	put_head(&out, region, list, page_shift);
	*size = (size_t)out.size;
	if ((out.at = malloc(*size)) == NULL)
		return NULL;
	out.size = 0;
	put_head(&out, region, list, page_shift);
	return out.at;
}

enum pm_status
pm_core_write(int fd, const struct pm_region *region,
    const struct pm_maplist *list, unsigned page_shift, uint64_t *data)
{
	enum pm_status status;
	size_t size;
	uint8_t *head = make_head(region, list, page_shift, &size);

	if (head == NULL)
		return PM_ERR_SYSTEM;
	*data = size;
	status = pm_fd_pwrite(fd, head, size, 0);
	free(head);
	return status;
}

int
pm_core_is(int fd, const struct pm_region *region,
    const struct pm_maplist *list, unsigned page_shift, uint64_t *data)
{
	size_t size;
	uint8_t *head = make_head(region, list, page_shift, &size);
	uint8_t *there = head == NULL ? NULL : malloc(size);
	int same = there != NULL &&
	    pm_fd_pread(fd, there, size, 0) == PM_OK &&
	    memcmp(there, head, size) == 0;

	*data = size;
	free(head);
	free(there);
	return same;
}

int
pm_core_detect(int fd)
{
	uint8_t head[18];

	return pm_fd_pread(fd, head, sizeof(head), 0) == PM_OK &&
	    memcmp(head, ELFMAG, SELFMAG) == 0 &&
	    pm_get_le(head + 16, 2) == ET_CORE;
}

/* Read the notes, which stand in the first program header; malloced. */
static uint8_t *
read_notes(int fd, size_t *size)
{
	uint8_t header[sizeof(Elf64_Ehdr)], first[sizeof(Elf64_Phdr)], *notes;
	uint64_t at, bytes, offset;

	if (pm_fd_pread(fd, header, sizeof(header), 0) != PM_OK ||
	    header[EI_CLASS] != ELFCLASS64 || header[EI_DATA] != ELFDATA2LSB)
		return NULL;
	at = pm_get_le(header + offsetof(Elf64_Ehdr, e_phoff), 8);
	if (at > HEAD_MAX ||
	    pm_fd_pread(fd, first, sizeof(first), at) != PM_OK ||
	    pm_get_le(first, 4) != PT_NOTE)
		return NULL;
	offset = pm_get_le(first + offsetof(Elf64_Phdr, p_offset), 8);
	bytes = pm_get_le(first + offsetof(Elf64_Phdr, p_filesz), 8);
	if (offset > HEAD_MAX || bytes == 0 || bytes > NOTES_MAX ||
	    (notes = malloc((size_t)bytes)) == NULL)
		return NULL;
	*size = (size_t)bytes;
	if (pm_fd_pread(fd, notes, *size, offset) == PM_OK)
		return notes;
	free(notes);
	return NULL;
}

/* Our own note among them; its content's size in *size, or NULL. */
static const uint8_t *
find_note(const uint8_t *notes, size_t left, size_t *size)
{
	while (left >= 12) {
		uint64_t owner = round_up(pm_get_le(notes, 4), 2);
		uint64_t content = pm_get_le(notes + 4, 4);
		uint64_t all = 12 + owner + round_up(content, 2);

		if (12 + owner + content > left)
			return NULL;
		if (pm_get_le(notes, 4) == sizeof(NOTE_OWNER) &&
		    memcmp(notes + 12, NOTE_OWNER, sizeof(NOTE_OWNER)) == 0 &&
		    pm_get_le(notes + 8, 4) == NOTE_REGION) {
			*size = (size_t)content;
			return notes + 12 + owner;
		}
		if (all > left)
			return NULL;
		notes += all;
		left -= (size_t)all;
	}
	return NULL;
}

static int
read_region(const uint8_t *note, size_t size, struct pm_region *region,
    unsigned *page_shift)
{
	size_t name;

	if (size < NOTE_NAME)
		return 0;
	*page_shift = (unsigned)pm_get_le(note, 4);
	name = (size_t)pm_get_le(note + NOTE_NAME - 2, 2);
	if (*page_shift < PM_PAGE_SHIFT_MIN ||
	    *page_shift > PM_PAGE_SHIFT_MAX || name == 0 ||
	    name > PM_NAME_MAX || name > size - NOTE_NAME ||
	    memchr(note + NOTE_NAME, '\0', name) != NULL)
		return 0;
	*region = (struct pm_region){
		.address = pm_get_le(note + 4, 8),
		.length = pm_get_le(note + 12, 8),
		.kind = PM_REGION_PROCESS,
		.machine = (unsigned)pm_get_le(note + 20, 2),
		.key = pm_hash_key((const char *)note + NOTE_NAME, name),
	};
	memcpy(region->name, note + NOTE_NAME, name);
	region->old_length = region->length;
	return region->length <= INT64_MAX;
}

/* The mappings behind the region, which the record codec knows to check. */
static enum pm_status
read_mappings(const uint8_t *note, size_t size, unsigned page_shift,
    struct pm_maplist *list)
{
	struct pm_record rec = {
		.page_shift = page_shift,
		.payload = (uint8_t *)(uintptr_t)note,
		.stored = (uint32_t)size,
	};
	struct pm_mapping mapping;
	enum pm_status status;
	uint32_t at = 0;

	while ((status = pm_mapping_unpack(&mapping, &rec, &at, NULL))
	    == PM_OK)
		if ((status = pm_maplist_add(list, &mapping)) != PM_OK)
			return status;
	return status == PM_END ? PM_OK : status;
}

enum pm_status
pm_core_read(int fd, const char *path, struct pm_layout **layout,
    uint64_t *data, struct pm_maplist *list, struct pm_fault *fault)
{
	struct pm_maplist own = { 0 };
	const uint8_t *note = NULL;
	struct pm_region region;
	unsigned page_shift = 0;
	size_t size = 0, notes_size = 0, used;
	uint8_t *notes = read_notes(fd, &notes_size);

	*layout = NULL;
	if (notes != NULL)
		note = find_note(notes, notes_size, &size);
	if (note != NULL && read_region(note, size, &region, &page_shift)) {
		used = NOTE_NAME + strlen(region.name);
		/* All else in the head must be what follows from the note. */
		if (read_mappings(note + used, size - used, page_shift, &own)
		    == PM_OK &&
		    pm_core_is(fd, &region, &own, page_shift, data))
			*layout = pm_maplist_layout(own.mapping, own.count,
			    &region, page_shift);
	}
	free(notes);
	if (*layout != NULL && list != NULL)
		*list = own;
	else
		pm_maplist_clear(&own);
	if (*layout != NULL)
		return PM_OK;
	return pm_fault_set(fault, PM_ERR_REFUSED, path,
	    "is not a core file that pm-apply wrote");
}
