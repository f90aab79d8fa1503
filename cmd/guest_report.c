/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <inttypes.h>

#include "cli.h"
#include "guest_input.h"
#include "guest_report.h"
#include "source_guest.h"

/* In units of free(1). */
static uint64_t
kib(uint64_t pages)
{
	return pages << (PM_GUEST_SHIFT - 10);
}

static void
show_json(const struct pm_guest *guest, FILE *out)
{
	fprintf(out, "{\"release\":\"%s\",\"kernel\":%" PRIu64 ",\"shift\":%"
	    PRIu64 ",\"levels\":%u,\"ram\":[", guest->release, guest->kernel,
	    guest->shift, guest->levels);
	for (unsigned i = 0; i < guest->parts; i++)
		fprintf(out, "%s{\"address\":%" PRIu64 ",\"size\":%" PRIu64
		    "}", i > 0 ? "," : "", guest->part[i].address,
		    guest->part[i].size);
	fprintf(out, "],\"pages\":%" PRIu64 ",\"free\":%" PRIu64
	    ",\"cache\":%" PRIu64 ",\"blocks\":[", guest->total, guest->free,
	    guest->cache);
	for (unsigned i = 0; i < guest->orders; i++)
		fprintf(out, "%s%" PRIu64, i > 0 ? "," : "",
		    guest->blocks[i]);
	fputs("]}\n", out);
}

static void
show(const struct pm_guest *guest, FILE *out)
{
	fprintf(out, "Linux %s\n", guest->release);
	fprintf(out, "  kernel  at %#" PRIx64 ", addresses shifted by %#"
	    PRIx64 ", %u levels of page tables\n", guest->kernel,
	    guest->shift, guest->levels);
	for (unsigned i = 0; i < guest->parts; i++)
		fprintf(out, "  ram     %" PRIu64 " KiB at %#" PRIx64 "\n",
		    guest->part[i].size >> 10, guest->part[i].address);
	fprintf(out, "  pages   %" PRIu64 ", %" PRIu64 " KiB\n"
	    "  free    %" PRIu64 ", %" PRIu64 " KiB\n"
	    "  cache   %" PRIu64 ", %" PRIu64 " KiB\n",
	    guest->total, kib(guest->total), guest->free, kib(guest->free),
	    guest->cache, kib(guest->cache));
	fputs("  blocks ", out);
	for (unsigned i = 0; i < guest->orders; i++)
		fprintf(out, " %" PRIu64 "x%" PRIu64 "K", guest->blocks[i],
		    kib(UINT64_C(1) << i));
	fputc('\n', out);
}

void
guest_report(const char *path, FILE *out, int json)
{
	struct pm_source *source = guest_open(path);
	struct pm_fault fault = { .error = 0 };
	struct pm_guest guest;
	struct pm_ram ram;
	enum pm_status status = pm_source_guest_find(source, &guest, &ram,
	    &fault);

	if (status != PM_OK)
		cli_check(pm_fault_set(&cli_fault, status,
		    fault.subject[0] != '\0' ? fault.subject : path, "%s",
		    fault.text));
	if (json)
		show_json(&guest, out);
	else
		show(&guest, out);
	pm_guest_close(&guest);
	pm_ram_close(&ram);
	source->ops->close(source);
}
