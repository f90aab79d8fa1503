/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pm-info - say what is in a stream, or the id of an image; see pm-info(1).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "codec.h"
#include "guest_report.h"
#include "image_options.h"
#include "proof.h"
#include "source.h"
#include "stream.h"
#include "token.h"

static int list, verify, json, token;
static const char *id_path, *guest_path;

static struct poptOption options[] = {
	{ "list", '\0', POPT_ARG_NONE, &list, 0,
	    "show every record in a line", NULL },
	{ "verify", '\0', POPT_ARG_NONE, &verify, 0,
	    "check all digests that need no target", NULL },
	{ "token", '\0', POPT_ARG_NONE, &token, 0,
	    "say how much of a cut stream there is, to send the rest", NULL },
	{ "json", '\0', POPT_ARG_NONE, &json, 0,
	    "print JSON, an object for each stream or record", NULL },
	{ "id", '\0', POPT_ARG_STRING, &id_path, 0,
	    "print the generation id of the image or core FILE", "FILE" },
	{ "guest", '\0', POPT_ARG_STRING, &guest_path, 0,
	    "show the Linux guest whose memory FILE is, and what is free",
	    "FILE" },
	IMAGE_OPTIONS("of FILE: auto, raw, core, mapped-ram, of a guest qemu (auto)"),
	POPT_TABLEEND
};

static const struct cli_program about = {
	.purpose = "say what is in a page stream",
	.operand = "[STREAM]",
	.memory = "about 4 MiB",
};

/* What one stream held. */
struct sum {
	struct pm_stream stream;
	uint64_t number, offset;	/* of the stream, and its first byte */
	uint64_t records, rounds, opaque, coded;
	uint64_t pages[PM_GONE + 1];
	uint64_t stored, decoded;	/* bytes of PAGES */
	uint64_t delta_bytes;
	uint64_t proved, unproved;	/* records, by --verify */
};

static FILE *out;
static struct pm_reader in;
static struct sum sum;

static const char *const kind_name[] = {
	"?", "raw", "delta", "same", "zero", "gone",
};

static const char *
type_name(unsigned type)
{
	static const char *const name[] = {
		"?", "stream", "region", "map", "pages", "round", "opaque",
		"end",
	};

	return type < sizeof(name) / sizeof(name[0]) ? name[type] : "unknown";
}

static const char *
codec_name(unsigned id)
{
	const struct pm_codec *codec = pm_codec_numbered(id);

	return codec != NULL ? codec->name : "none";
}

static const char *
hex(struct pm_digest digest)
{
	static char text[4][PM_DIGEST_TEXT];
	static unsigned next;
	char *one = text[next++ % 4];

	pm_digest_text(digest, one);
	return one;
}

/* Names may hold anything: a line stays a line, and JSON stays JSON. */
static void
print_name(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20 || c >= 0x7f)
			fprintf(out, json ? "\\u%04x" : "\\x%02x", c);
		else if (c == '\\' || (json && c == '"'))
			fprintf(out, "\\%c", c);
		else
			fputc(c, out);
	}
}

/* 1536 is "1.5 KiB". */
static const char *
human(uint64_t bytes)
{
	static const char *const unit[] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB",
	};
	static char text[4][32];
	static unsigned next;
	char *one = text[next++ % 4];
	double value = (double)bytes;
	unsigned at = 0;

	for (; value >= 1024 && at < 5; at++)
		value /= 1024;
	snprintf(one, sizeof(text[0]), at == 0 ? "%.0f %s" : "%.1f %s", value,
	    unit[at]);
	return one;
}

static void
list_details(const struct pm_record *rec)
{
	struct pm_mapping mapping;
	uint64_t pages[PM_GONE + 1] = { 0 };
	uint32_t at = 0;

	switch (rec->type) {
	case PM_TYPE_STREAM:
		fprintf(out, " from %s page-size %u needs %#" PRIx32
		    " may %#" PRIx32 " cache %" PRIu32,
		    hex(in.stream.from), 1u << in.stream.page_shift,
		    in.stream.needs, in.stream.may, in.stream.cache_pages);
		break;
	case PM_TYPE_REGION:
		fprintf(out, " region %" PRIu32 " address %#" PRIx64
		    " length %" PRIu64 " was %" PRIu64 " name ", rec->region,
		    in.region[rec->region].address,
		    in.region[rec->region].length,
		    in.region[rec->region].old_length);
		print_name(in.region[rec->region].name,
		    strlen(in.region[rec->region].name));
		break;
	case PM_TYPE_MAP:
		while (pm_mapping_unpack(&mapping, rec, &at, NULL) == PM_OK) {
			fprintf(out, "\n    %012" PRIx64 "-%012" PRIx64
			    " %c%c%c%c%c %08" PRIx64 " ", mapping.start,
			    mapping.end,
			    mapping.flags & PM_MAPPING_READ ? 'r' : '-',
			    mapping.flags & PM_MAPPING_WRITE ? 'w' : '-',
			    mapping.flags & PM_MAPPING_EXEC ? 'x' : '-',
			    mapping.flags & PM_MAPPING_SHARED ? 's' : 'p',
			    mapping.flags & PM_MAPPING_CARRIED ? '+' : ' ',
			    mapping.offset);
			print_name(mapping.name, mapping.name_size);
		}
		break;
	case PM_TYPE_PAGES:
		for (uint32_t i = 0; i < rec->entries; i++)
			pages[pm_entry_kind(rec->entry[i])] +=
			    pm_entry_pages(rec->entry[i]);
		fprintf(out, " region %" PRIu32 " first %" PRIu64 " entries %"
		    PRIu32 " codec %s stored %" PRIu32 " decoded %" PRIu32,
		    rec->region, rec->first, rec->entries,
		    codec_name(rec->codec), rec->stored, rec->decoded);
		for (unsigned kind = PM_RAW; kind <= PM_GONE; kind++)
			if (pages[kind] > 0)
				fprintf(out, " %s %" PRIu64, kind_name[kind],
				    pages[kind]);
		fprintf(out, " digest %s", hex(rec->digest));
		break;
	case PM_TYPE_END:
		fprintf(out, " from %s to %s records %" PRIu64 " pages %"
		    PRIu64, hex(in.end.from), hex(in.end.to), in.end.records,
		    in.end.pages);
		break;
	default:
		fprintf(out, " type %u stored %" PRIu32, rec->type,
		    rec->stored);
	}
}

static void
list_json(const struct pm_record *rec)
{
	uint64_t pages[PM_GONE + 1] = { 0 };

	fprintf(out, "{\"stream\":%" PRIu64 ",\"record\":%" PRIu64
	    ",\"offset\":%" PRIu64 ",\"type\":\"%s\",\"number\":%u,"
	    "\"flags\":%u,\"codec\":\"%s\",\"region\":%" PRIu32
	    ",\"first\":%" PRIu64 ",\"entries\":%" PRIu32 ",\"stored\":%"
	    PRIu32 ",\"decoded\":%" PRIu32 ",\"digest\":\"%s\"",
	    sum.number, rec->number, rec->offset, type_name(rec->type),
	    rec->type, rec->flags, codec_name(rec->codec), rec->region,
	    rec->first, rec->entries, rec->stored, rec->decoded,
	    hex(rec->digest));
	for (uint32_t i = 0; rec->type == PM_TYPE_PAGES && i < rec->entries;
	    i++)
		pages[pm_entry_kind(rec->entry[i])] +=
		    pm_entry_pages(rec->entry[i]);
	for (unsigned kind = PM_RAW; kind <= PM_GONE; kind++)
		if (pages[kind] > 0)
			fprintf(out, ",\"%s\":%" PRIu64, kind_name[kind],
			    pages[kind]);
	fputs("}\n", out);
}

static void
show_record(const struct pm_record *rec)
{
	if (json) {
		list_json(rec);
		return;
	}
	fprintf(out, "%" PRIu64 " %" PRIu64 " %s", rec->number, rec->offset,
	    type_name(rec->type));
	list_details(rec);
	fputc('\n', out);
}

/* Hold a record of pages against its digest, and count it. */
static enum pm_status
prove(struct pm_proof *proof, struct pm_record *rec)
{
	enum pm_status status;
	int leans;

	status = pm_proof_check(proof, rec, &in.region[rec->region], &leans,
	    &cli_fault);
	if (status != PM_OK) {
		pm_fault_place(&cli_fault, rec->number, rec->offset);
		return status;
	}
	sum.unproved += (uint64_t)leans;
	sum.proved += !leans;
	return PM_OK;
}

static void
add_up(const struct pm_record *rec)
{
	sum.records++;
	sum.rounds += rec->type == PM_TYPE_ROUND;
	if (rec->type == PM_TYPE_OPAQUE)
		sum.opaque += rec->stored;
	if (rec->type != PM_TYPE_PAGES)
		return;
	sum.coded += rec->codec != PM_CODEC_NONE;
	sum.stored += rec->stored;
	sum.decoded += rec->decoded;
	for (uint32_t i = 0; i < rec->entries; i++) {
		enum pm_kind kind = pm_entry_kind(rec->entry[i]);

		sum.pages[kind] += pm_entry_pages(rec->entry[i]);
		if (kind == PM_DELTA)
			sum.delta_bytes += pm_entry_bytes(rec->entry[i]);
	}
}

static void
show_sum_json(uint64_t bytes)
{
	fprintf(out, "{\"stream\":%" PRIu64 ",\"version\":%u,\"page_size\":%u"
	    ",\"needs\":%" PRIu32 ",\"may\":%" PRIu32 ",\"cache_pages\":%"
	    PRIu32 ",\"from\":\"%s\",\"to\":\"%s\",\"regions\":[",
	    sum.number, in.stream.version, 1u << in.stream.page_shift,
	    in.stream.needs, in.stream.may, in.stream.cache_pages,
	    hex(in.end.from), hex(in.end.to));
	for (uint32_t i = 0; i < in.regions; i++) {
		fprintf(out, "%s{\"name\":\"", i > 0 ? "," : "");
		print_name(in.region[i].name, strlen(in.region[i].name));
		fprintf(out, "\",\"kind\":\"%s\",\"address\":%" PRIu64
		    ",\"length\":%" PRIu64 ",\"old_length\":%" PRIu64 "}",
		    in.region[i].kind == PM_REGION_PROCESS ? "process"
		    : "block", in.region[i].address, in.region[i].length,
		    in.region[i].old_length);
	}
	fprintf(out, "],\"records\":%" PRIu64 ",\"rounds\":%" PRIu64,
	    sum.records, sum.rounds);
	for (unsigned kind = PM_RAW; kind <= PM_GONE; kind++)
		fprintf(out, ",\"%s\":%" PRIu64, kind_name[kind],
		    sum.pages[kind]);
	fprintf(out, ",\"coded_records\":%" PRIu64 ",\"opaque_bytes\":%"
	    PRIu64 ",\"delta_bytes\":%" PRIu64 ",\"payload_bytes\":%" PRIu64
	    ",\"decoded_bytes\":%" PRIu64 ",\"bytes\":%" PRIu64, sum.coded,
	    sum.opaque, sum.delta_bytes, sum.stored, sum.decoded, bytes);
	if (verify)
		fprintf(out, ",\"proved_records\":%" PRIu64
		    ",\"unproved_records\":%" PRIu64, sum.proved,
		    sum.unproved);
	fputs("}\n", out);
}

static void
show_sum(uint64_t bytes)
{
	unsigned shift = in.stream.page_shift;
	uint64_t content = (sum.pages[PM_RAW] + sum.pages[PM_DELTA] +
	    sum.pages[PM_SAME]) << shift;

	if (json) {
		show_sum_json(bytes);
		return;
	}
	fprintf(out, "stream %" PRIu64 ": %s, %" PRIu64 " records, %s\n",
	    sum.number, human(bytes), sum.records,
	    pm_digest_is_zero(in.end.from) ? "full" : "incremental");
	fprintf(out, "  from    %s\n  to      %s\n", hex(in.end.from),
	    hex(in.end.to));
	for (uint32_t i = 0; i < in.regions; i++) {
		fprintf(out, "  region  %" PRIu32 " ", i);
		print_name(in.region[i].name, strlen(in.region[i].name));
		fprintf(out, ", %s at %#" PRIx64 ", %s\n",
		    in.region[i].kind == PM_REGION_PROCESS ? "address space"
		    : "block", in.region[i].address,
		    human(in.region[i].length));
	}
	fprintf(out, "  pages  ");
	for (unsigned kind = PM_RAW; kind <= PM_GONE; kind++)
		if (sum.pages[kind] > 0)
			fprintf(out, " %s %" PRIu64, kind_name[kind],
			    sum.pages[kind]);
	fprintf(out, " of %u bytes\n", 1u << shift);
	if (sum.rounds > 0)
		fprintf(out, "  rounds  %" PRIu64 "\n", sum.rounds);
	if (sum.opaque > 0)
		fprintf(out, "  foreign %" PRIu64 " bytes of another format"
		    "\n", sum.opaque);
	if (content > 0)
		fprintf(out, "  ratio   %s of content in %s: %.2f\n",
		    human(content), human(bytes),
		    (double)content / (double)bytes);
	if (sum.coded > 0)
		fprintf(out, "  coded   %" PRIu64 " records, %s in %s\n",
		    sum.coded, human(sum.decoded), human(sum.stored));
	if (verify)
		fprintf(out, "  proved  %" PRIu64 " records; %" PRIu64
		    " with deltas need the target\n", sum.proved,
		    sum.unproved);
}

static void
show_id(void)
{
	struct pm_source *source = image_open(id_path);
	struct pm_digest id;

	cli_check(pm_source_id(source, &id));
	fprintf(out, json ? "{\"id\":\"%s\"}\n" : "%s\n", hex(id));
	source->ops->close(source);
}

static void
show_stream(int fd)
{
	struct pm_record *rec = pm_record_new();
	struct pm_proof *proof = pm_proof_new();
	enum pm_status status;

	if (proof == NULL || rec == NULL)
		cli_die(CLI_FAILURE, "%s", strerror(errno));
	cli_check(pm_reader_open(&in, fd, &cli_fault));
	cli_watch(&in.meter, NULL, 0);
	while ((status = pm_reader_next(&in, rec)) == PM_OK) {
		if (rec->type == PM_TYPE_STREAM)
			sum = (struct sum){
				.number = in.streams,
				.offset = rec->offset - PM_SIGNATURE_SIZE,
			};
		if (list)
			show_record(rec);
		add_up(rec);
		if (verify && rec->type == PM_TYPE_PAGES &&
		    (status = prove(proof, rec)) != PM_OK)
			break;
		if (rec->type == PM_TYPE_END && !(list && json))
			show_sum(pm_meter_get(&in.meter.bytes) - sum.offset);
	}
	if (status != PM_END) {
		fflush(out);
		cli_check(status);
	}
	pm_proof_free(proof);
	pm_record_free(rec);
	pm_reader_close(&in);
}

/*
 * What of a cut stream has arrived.  Damage behind it is what a power cut
 * leaves, but what is damaged from the start is no stream.
 */
static void
show_token(int fd)
{
	struct pm_token found;
	char text[PM_TOKEN_TEXT];
	enum pm_status status = pm_token_find(fd, &found, &cli_fault);

	if (status != PM_ERR_CORRUPT || found.records == 0)
		cli_check(status);
	else
		cli_warn("%s: %s; the token is that of what stands before",
		    cli_operand() == NULL || strcmp(cli_operand(), "-") == 0
		    ? "<stdin>" : cli_operand(), cli_fault.text);
	pm_token_text(&found, text);
	fprintf(out, json ? "{\"token\":\"%s\"}\n" : "%s\n", text);
}

int
main(int argc, char *argv[])
{
	int fd, report, is_image;

	cli_start(argc, argv, options, &about);
	is_image = id_path != NULL || guest_path != NULL;
	if (is_image && cli_operand() != NULL)
		cli_die(CLI_USAGE, "%s: %s reads an image and no stream",
		    cli_operand(), id_path != NULL ? "--id" : "--guest");
	if (guest_path != NULL && (list || verify))
		cli_die(CLI_USAGE, "--list and --verify are for streams");
	if (!is_image && image_options.regions != NULL)
		cli_die(CLI_USAGE, "--region is for --id and --guest");
	if (token && (list || verify || is_image))
		cli_die(CLI_USAGE, "--token goes with no --list, --verify, "
		    "--id or --guest");
	if (id_path != NULL && guest_path != NULL)
		cli_die(CLI_USAGE, "--id and --guest exclude each other");
	fd = is_image ? -1 : cli_input();
	report = cli_report();
	if ((report = dup(report)) < 0 || (out = fdopen(report, "w")) == NULL)
		cli_die(CLI_FAILURE, "%s: %s", cli_output_name(),
		    strerror(errno));
	if (id_path != NULL)
		show_id();
	else if (guest_path != NULL)
		guest_report(guest_path, out, json);
	else if (token)
		show_token(fd);
	else
		show_stream(fd);
	if (fflush(out) != 0 || fclose(out) != 0)
		cli_die(CLI_FAILURE, "%s: %s", cli_output_name(),
		    strerror(errno));
	return cli_finish();
}
