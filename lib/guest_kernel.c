/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "guest_kernel.h"

#define KNOWN		"6."		/* versions: 6.0 */
#define MINOR_MAX	19u		/* to 6.19 */
#define LETTERS		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789.+-_~"	/* of its name */
#define FOUR_GIB	(UINT64_C(1) << 32)
#define LOW_MIN		(UINT64_C(1) << 30)	/* RAM below 4 GiB ends
						   there at the least, */
#define LOW_STEP	(UINT64_C(64) << 20)	/* and at such a multiple */
#define RANGE_SIZE	20u		/* packed: start, size, type */
#define IS_RAM		1u
#define RUNNING		3u		/* SYSTEM_RUNNING */
#define NO_PROCESSOR	UINT32_MAX	/* PANIC_CPU_INVALID */
#define PROCESSORS_MAX	8192u
#define UTS_FIELD	65u		/* the third of utsname */

/* A note leads to nothing: try the next.  More is known of a later step. */
static enum pm_status
refuse(struct pm_guest_kernel *kernel, unsigned depth, const char *why)
{
	if (depth > kernel->depth) {
		kernel->depth = depth;
		kernel->why = (struct pm_fault){ .error = 0 };
		(void)pm_fault_set(&kernel->why, PM_ERR_REFUSED, NULL,
		    "%s%s%s", kernel->guest->release,
		    kernel->guest->release[0] != '\0' ? " " : "", why);
	}
	return PM_END;
}

enum pm_status
pm_guest_kernel_no_memory(struct pm_guest_kernel *kernel)
{
	return pm_fault_set(kernel->fault, PM_ERR_SYSTEM, NULL, "%s",
	    strerror(errno));
}

/* "6.1.0-50-amd64": what stands before the second dot is the version. */
static enum pm_status
check_release(struct pm_guest_kernel *kernel)
{
	const char *text = pm_guest_info_find(&kernel->info, "OSRELEASE");
	size_t size = strcspn(text, "\n"), digits = 0;
	unsigned minor = 0;

	if (size == 0 || size >= PM_GUEST_RELEASE_MAX ||
	    strspn(text, LETTERS) < size)
		return refuse(kernel, 1, "the kernel's release has no name");
	memcpy(kernel->guest->release, text, size);
	kernel->guest->release[size] = '\0';
	text = kernel->guest->release;
	if (strncmp(text, KNOWN, strlen(KNOWN)) == 0)
		digits = strspn(text + strlen(KNOWN), "0123456789");
	for (size_t i = 0; i < digits && i < 4; i++)
		minor = minor * 10 + (unsigned)(text[strlen(KNOWN) + i] - '0');
	if (digits == 0 || digits > 4 || minor > MINOR_MAX)
		return refuse(kernel, 2, "is not a kernel that is known here: "
		    "those are 6.0 to 6.19");
	return PM_OK;
}

/* Whether the tables say of two addresses of the kernel what is known. */
static enum pm_status
check_tables(struct pm_guest_kernel *kernel)
{
	const uint64_t address[2] = { kernel->tables, kernel->text };
	uint64_t physical, left;
	enum pm_status status = PM_OK;

	kernel->space.root = kernel->tables + kernel->base;
	for (unsigned i = 0; i < 2 && status == PM_OK; i++) {
		status = pm_guest_space_translate(&kernel->space, address[i],
		    &physical, &left);
		if (status == PM_OK && physical != address[i] + kernel->base)
			status = PM_END;
	}
	return status;
}

/* Put RAM where it is, or the highest place where it may be. */
static enum pm_status
place_tables(struct pm_guest_kernel *kernel)
{
	struct pm_guest_space *space = &kernel->space;
	enum pm_status status = PM_END;

	space->is_read = 0;
	if (kernel->memory->parts > 0) {
		space->parts = kernel->memory->parts;
		memcpy(space->part, kernel->memory->part, sizeof(space->part));
		return check_tables(kernel);
	}
	for (kernel->split = FOUR_GIB; kernel->split >= LOW_MIN;
	    kernel->split -= LOW_STEP) {
		pm_guest_space_split(space, kernel->split);
		if ((status = check_tables(kernel)) != PM_END)
			break;
	}
	return status;
}

/* Find the page tables, which lie among what they map. */
static enum pm_status
find_tables(struct pm_guest_kernel *kernel)
{
	const struct pm_guest_info *info = &kernel->info;
	uint64_t deep, secret;
	enum pm_status status;

	if (!pm_guest_info_number(info, "SYMBOL(swapper_pg_dir)", 16,
	    &kernel->tables) || !pm_guest_info_number(info, "SYMBOL(_stext)",
	    16, &kernel->text) || !pm_guest_info_number(info,
	    "NUMBER(phys_base)", 10, &kernel->base) ||
	    !pm_guest_info_number(info, "NUMBER(pgtable_l5_enabled)", 10,
	    &deep) || !pm_guest_info_number(info, "KERNELOFFSET", 16,
	    &kernel->guest->shift))
		return refuse(kernel, 3, "is not one for x86-64");
	if (pm_guest_info_number(info, "NUMBER(sme_mask)", 10, &secret) &&
	    secret != 0)
		return refuse(kernel, 3, "encrypts its memory");
	kernel->space.levels = kernel->guest->levels = deep != 0 ? 5 : 4;
	/* The kernel is mapped from -2 GiB on. */
	kernel->base += UINT64_C(1) << 31;
	kernel->guest->kernel = kernel->text + kernel->base;
	status = place_tables(kernel);
	return status == PM_END ? refuse(kernel, 3,
	    "has no page tables where they should be") : status;
}

static enum pm_status
find_symbols(struct pm_guest_kernel *kernel)
{
	static const char *const name[PM_GUEST_SYMBOLS] = {
		[PM_GUEST_SYSTEM_STATE] = "system_state",
		[PM_GUEST_PANIC_CPU] = "panic_cpu",
		[PM_GUEST_RAM_MAP] = "e820_table_firmware",
		[PM_GUEST_TOTAL_PAGES] = "_totalram_pages",
		[PM_GUEST_CPU_IDS] = "nr_cpu_ids",
		[PM_GUEST_POISON_EARLY] = "_page_poisoning_enabled_early",
		[PM_GUEST_POISON] = "_page_poisoning_enabled",
		[PM_GUEST_INIT_ON_FREE] = "init_on_free",
	};
	const char *why;
	enum pm_status status;

	for (unsigned i = 0; i < PM_GUEST_SYMBOLS; i++)
		kernel->symbol[i].name = name[i];
	status = pm_guest_symbols_find(&kernel->space, &kernel->info,
	    kernel->symbol, PM_GUEST_SYMBOLS, &why);
	if (status != PM_OK)
		return status == PM_END ? refuse(kernel, 4, why) : status;
	for (unsigned i = 0; i < PM_GUEST_SYMBOLS; i++)
		if (kernel->symbol[i].address == 0 &&
		    i < PM_GUEST_POISON_EARLY)
			return refuse(kernel, 4,
			    "has not the symbols that are looked for");
	return PM_OK;
}

static enum pm_status
get(struct pm_guest_kernel *kernel, enum pm_guest_kernel_symbol which,
    unsigned width, uint64_t *value)
{
	uint64_t address = kernel->symbol[which].address;

	*value = 0;
	return address == 0 ? PM_OK : pm_guest_space_number(&kernel->space,
	    address, width, value);
}

/* What utsname says is what the note does: the one belongs to the other. */
static enum pm_status
check_name(struct pm_guest_kernel *kernel)
{
	uint64_t uts, offset;
	char release[PM_GUEST_RELEASE_MAX] = { 0 };
	enum pm_status status = PM_END;

	if (pm_guest_info_number(&kernel->info, "SYMBOL(init_uts_ns)", 16,
	    &uts) && pm_guest_info_number(&kernel->info,
	    "OFFSET(uts_namespace.name)", 10, &offset))
		status = pm_guest_space_read(&kernel->space, uts + offset +
		    2 * UTS_FIELD, release, sizeof(release) - 1);
	if (status == PM_END || (status == PM_OK && strcmp(release,
	    kernel->guest->release) != 0))
		return refuse(kernel, 6, "has another name in use");
	return status;
}

/*
 * It is up, and has not crashed, and does not look at what it frees.  One that
 * zeroes it has zeroes there anyway, and counts on them: memory that is given
 * to it again need not be zeroes, where nothing is told of a page.
 */
static enum pm_status
check_state(struct pm_guest_kernel *kernel)
{
	uint64_t state, panic, early, poison, zeroes;
	enum pm_status status = check_name(kernel);

	if (status == PM_OK)
		status = get(kernel, PM_GUEST_SYSTEM_STATE, 4, &state);
	if (status == PM_OK)
		status = get(kernel, PM_GUEST_PANIC_CPU, 4, &panic);
	if (status == PM_OK)
		status = get(kernel, PM_GUEST_POISON_EARLY, 1, &early);
	if (status == PM_OK)
		status = get(kernel, PM_GUEST_POISON, 4, &poison);
	if (status == PM_OK)
		status = get(kernel, PM_GUEST_INIT_ON_FREE, 4, &zeroes);
	if (status == PM_END)
		return refuse(kernel, 6, "has symbols that are not there");
	if (status == PM_OK && panic != NO_PROCESSOR)
		return refuse(kernel, 6, "has crashed");
	if (status == PM_OK && state != RUNNING)
		return refuse(kernel, 6, "is starting or coming down");
	if (status == PM_OK && (early != 0 || poison != 0))
		return refuse(kernel, 6, "poisons free pages, and looks "
		    "whether they stay so");
	if (status == PM_OK && zeroes != 0)
		return refuse(kernel, 6, "zeroes free pages itself, and "
		    "counts on it");
	return status;
}

/* Add RAM; ranges that are not whole pages are cut. */
static int
add_range(struct pm_guest_ranges *ram, uint64_t start, uint64_t size)
{
	uint64_t mask = PM_GUEST_PAGE - 1;
	struct pm_guest_range *last = ram->range + ram->count;

	if (start > UINT64_MAX / 2 || size > UINT64_MAX / 2 - mask)
		return 0;
	size = (start + size) & ~mask;
	start = (start + mask) & ~mask;
	if (start >= size)
		return 1;
	if (ram->count > 0 && last[-1].end > start)
		return 0;
	if (ram->count > 0 && last[-1].end == start)
		last[-1].end = size;
	else
		ram->range[ram->count++] = (struct pm_guest_range){ start,
		    size };
	return 1;
}

/* The map of RAM that the firmware gave. */
static enum pm_status
read_ram(struct pm_guest_kernel *kernel)
{
	uint64_t table, count;
	enum pm_status status = get(kernel, PM_GUEST_RAM_MAP, 8, &table);

	kernel->ram.count = 0;
	if (status == PM_OK)
		status = pm_guest_space_number(&kernel->space, table, 4,
		    &count);
	if (status == PM_OK && (count == 0 || count > PM_GUEST_RANGES_MAX))
		status = PM_END;
	for (uint64_t i = 0; status == PM_OK && i < count; i++) {
		uint8_t entry[RANGE_SIZE];

		status = pm_guest_space_read(&kernel->space, table + 4 + i *
		    RANGE_SIZE, entry, sizeof(entry));
		if (status == PM_OK && pm_get_le(entry + 16, 4) == IS_RAM &&
		    !add_range(&kernel->ram, pm_get_le(entry, 8),
		    pm_get_le(entry + 8, 8)))
			status = PM_END;
	}
	return status == PM_OK && kernel->ram.count == 0 ? PM_END : status;
}

/* True when all RAM is in the memory. */
static int
holds_ram(const struct pm_guest_kernel *kernel)
{
	for (size_t i = 0; i < kernel->ram.count; i++) {
		const struct pm_guest_range *range = &kernel->ram.range[i];
		uint64_t at, left;

		if (pm_guest_space_place(&kernel->space, range->start, &at,
		    &left) != PM_OK || left < range->end - range->start)
			return 0;
	}
	return 1;
}

/* True when the RAM of the map is all of the memory, as it is split. */
static int
fits(const struct pm_guest_kernel *kernel)
{
	const struct pm_guest_ranges *ram = &kernel->ram;
	uint64_t end = ram->range[ram->count - 1].end;
	const struct pm_guest_part *high = &kernel->space.part[1];

	return holds_ram(kernel) && (kernel->memory->parts > 0 ||
	    (kernel->space.parts == 1 ? end <= FOUR_GIB
	    : end == high->address + high->size));
}

/*
 * What there is above 4 GiB stands behind all that is below: where that ends
 * is right if the map of RAM, which may itself lie above, says the same.
 */
static enum pm_status
find_ram(struct pm_guest_kernel *kernel)
{
	enum pm_status status = PM_END;
	uint64_t low = kernel->split;

	if (kernel->memory->parts > 0) {
		status = read_ram(kernel);
		if (status == PM_OK && !fits(kernel))
			status = PM_END;
	}
	for (; kernel->memory->parts == 0 && low >= LOW_MIN; low -= LOW_STEP) {
		pm_guest_space_split(&kernel->space, low);
		status = check_tables(kernel);
		if (status == PM_OK)
			status = read_ram(kernel);
		if (status == PM_OK && !fits(kernel))
			status = PM_END;
		if (status != PM_END)
			break;
	}
	return status != PM_END ? status : refuse(kernel, 5,
	    "has RAM that is not in this memory, or another map of it");
}

static enum pm_status
find_pages(struct pm_guest_kernel *kernel)
{
	struct pm_guest *guest = kernel->guest;
	uint64_t processors;
	const char *why = NULL;
	enum pm_status status = get(kernel, PM_GUEST_TOTAL_PAGES, 8,
	    &guest->total);

	if (status == PM_OK)
		status = get(kernel, PM_GUEST_CPU_IDS, 4, &processors);
	if (status == PM_END || (status == PM_OK && (processors == 0 ||
	    processors > PROCESSORS_MAX)))
		return refuse(kernel, 7, "has no number of processors");
	if (status != PM_OK)
		return status;
	guest->free = guest->cache = 0;
	memset(guest->blocks, 0, sizeof(guest->blocks));
	pm_bitmap_clear_all(&guest->map);
	kernel->space.reads_high = 0;
	status = pm_guest_pages_read(guest, &kernel->space, &kernel->info,
	    &kernel->ram, processors, &why);
	/* What is in it, and makes sense, shows that it is there. */
	if (status == PM_OK && kernel->memory->parts == 0 &&
	    kernel->space.parts > 1 && !kernel->space.reads_high) {
		status = PM_END;
		why = "has nothing that shows where its RAM above 4 GiB is";
	}
	if (status == PM_OK && guest->free > guest->total) {
		status = PM_END;
		why = "has more free pages than pages";
	}
	if (status == PM_ERR_SYSTEM)
		return pm_guest_kernel_no_memory(kernel);
	return status == PM_END ? refuse(kernel, 7, why) : status;
}

enum pm_status
pm_guest_kernel_look(struct pm_guest_kernel *kernel)
{
	static enum pm_status (*const step[])(struct pm_guest_kernel *) = {
		check_release, find_tables, find_symbols, find_ram,
		check_state, find_pages,
	};
	enum pm_status status = PM_OK;

	kernel->guest->release[0] = '\0';
	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]) &&
	    status == PM_OK; i++)
		status = step[i](kernel);
	kernel->guest->parts = kernel->space.parts;
	memcpy(kernel->guest->part, kernel->space.part,
	    sizeof(kernel->guest->part));
	return status;
}

