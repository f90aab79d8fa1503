/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * make.c - write the golden streams and their README into a directory.
 */
#include "bad.h"

struct good {
	const char *name;
	void (*write)(void);
	const char *proves;
};

struct refused {
	const char *name;
	hook *spoil;			/* of the small stream, */
	void (*write)(void);		/* or all of it */
	const char *message;		/* that our reader gives */
	const char *proves;
};

static const struct good good[] = {
	{ "empty", good_empty, "the empty memory: no regions, id 0" },
	{ "empty-image", good_empty_image, "an image of no bytes, id 0" },
	{ "zero", good_zero, "1 TiB of zeroes in two runs" },
	{ "full", good_full, "a full stream; the first example of "
	    "pm-stream(5)" },
	{ "incremental", good_incremental, "a delta, a page that is there, "
	    "a run that is gone; the second example" },
	{ "chain", good_chain, "three streams, each from where the last "
	    "one led, the third saying so late" },
	{ "late-from", good_late_from, "from stands in the end record" },
	{ "rounds", good_rounds, "pages again in later rounds; the last "
	    "holds; a generation may be unknown" },
	{ "opaque", good_opaque, "foreign bytes, also before the regions, "
	    "also none" },
	{ "process", good_process, "pages at their addresses, what is not "
	    "mapped is gone, a list of mappings in two records" },
	{ "map", good_map, "a later list of mappings" },
	{ "live", good_live, "mappings that grow, go and come between "
	    "rounds" },
	{ "live-end", good_live_end, "what the one before leads to, at "
	    "once" },
	{ "skippable", good_skippable, "a type not known, marked skippable, "
	    "with fields no known type has" },
	{ "may", good_may, "a feature not known that a reader may ignore" },
	{ "partial", good_partial, "a last page of 904 bytes, padded" },
	{ "regions", good_regions, "regions that grow, go and come" },
	{ "page-64k", good_page_64k, "pages of 64 KiB" },
	{ "raw-zeroes", good_raw_zeroes, "pages of zeroes, written whole" },
	{ "no-raw-zeroes", good_no_raw_zeroes, "the same as runs: what the "
	    "filter in pm-stream(5) makes of them" },
	{ "zlib", good_zlib, "a payload in zlib" },
	{ "lz4", good_lz4, "a payload as a raw LZ4 block" },
	{ "zstd", good_zstd, "a payload as a zstd frame that says neither "
	    "its size nor a checksum" },
};

static const struct refused bad[] = {
	{ "signature-text", signature_text, NULL,
	    "damaged by a transfer in text mode", "CR LF became LF" },
	{ "signature", signature_other, NULL, "not a page-record stream",
	    "other bytes than the signature" },
	{ "cut", cut_short, NULL, "stream ends early",
	    "the last byte is missing" },
	{ "no-end", no_end, NULL, "stream ends early",
	    "the end record is missing" },
	{ "type-0", type_0, NULL, "record type is 0", "a record of no type" },
	{ "entries-many", entries_many, NULL, "larger than the format",
	    "4097 entries" },
	{ "stored-large", stored_large, NULL, "larger than the format",
	    "1 MiB and a byte stored" },
	{ "decoded-large", decoded_large, NULL, "larger than the format",
	    "1 MiB and a byte once decoded" },
	{ "decoded-other", decoded_other, NULL, "sizes contradict the codec",
	    "no codec, and another size once decoded" },
	{ "codec-grows", codec_grows, NULL, "sizes contradict the codec",
	    "a codec that saves nothing" },
	{ "pages-none", pages_none, NULL, "holds no pages",
	    "a PAGES record of no entries" },
	{ "codec-of-region", codec_of_region, NULL, "does not use",
	    "a codec where only PAGES has one" },
	{ "first-of-end", first_of_end, NULL, "does not use",
	    "a first page where only PAGES has one" },
	{ "region-of-end", region_of_end, NULL, "no region names one",
	    "a region where the type has none" },
	{ "check", check_wrong, NULL, "check of the record",
	    "a wrong check" },
	{ "digest", digest_wrong, NULL, "digest of the record",
	    "a wrong digest of a record that is not PAGES" },
	{ "entry-empty", entry_empty, NULL, "entry has no length",
	    "a run of no pages" },
	{ "raw-short", raw_short, NULL, "raw entry is not a page long",
	    "a RAW entry of 4095 bytes" },
	{ "delta-long", delta_long, NULL, "delta is longer than a page",
	    "a DELTA entry of 4097 bytes" },
	{ "overlap", entries_overlap, NULL, "overlap or descend",
	    "a run into the next entry" },
	{ "descend", entries_descend, NULL, "overlap or descend",
	    "an entry before the last one" },
	{ "pages-many", pages_many, NULL, "more than 1 MiB of pages",
	    "257 pages of content in one record" },
	{ "sums", sums, NULL, "do not add up",
	    "a payload shorter than its entries" },
	{ "far", pages_far, NULL, "out of range", "page 2^52" },
	{ "no-stream", no_stream, NULL, "does not begin with a stream record",
	    "a region first" },
	{ "second-stream", second_stream, NULL, "stream record comes twice",
	    "a STREAM record in the middle" },
	{ "stream-short", stream_short, NULL, "stream record is too short",
	    "a STREAM record of 31 bytes" },
	{ "version-0", version_0, NULL, "bad field", "version 0" },
	{ "stream-reserved", stream_reserved, NULL, "bad field",
	    "a byte that must be zero is not" },
	{ "page-shift", page_shift, NULL, "page shift 17",
	    "pages of 128 KiB" },
	{ "from-twice", from_twice, NULL, "from is given twice",
	    "LATE_FROM, and a from in the STREAM record" },
	{ "chain", NULL, put_broken_chain, "the one before it led to",
	    "a second stream from elsewhere" },
	{ "chain-late", NULL, put_broken_late, "the one before it led to",
	    "the same, known at its end" },
	{ "region-late", region_late, NULL, "behind the first page",
	    "a REGION record behind pages" },
	{ "region-number", region_number, NULL, "not numbered in order",
	    "a first region of number 1" },
	{ "name-none", name_none, NULL, "bad name", "a name of no bytes" },
	{ "name-nul", name_nul, NULL, "bad name", "a NUL in a name" },
	{ "name-size", name_size, NULL, "bad name",
	    "bytes behind the name" },
	{ "region-long", region_long, NULL, "region is too long",
	    "a length of 2^63" },
	{ "region-address", region_address, NULL, "bad address",
	    "an address that is not of a page" },
	{ "region-twice", region_twice, NULL, "two regions have one name",
	    "a name again" },
	{ "map-unknown", map_of_unknown, NULL, "unknown region",
	    "mappings of a region not known" },
	{ "mapping-cut", mapping_cut, NULL, "mapping is cut short",
	    "31 bytes of a mapping" },
	{ "map-flags", map_flags, NULL, "not marked skippable",
	    "a MAP record that must not be skipped" },
	{ "mapping-empty", mapping_empty, NULL, "mapping has a bad address",
	    "a mapping that ends where it starts" },
	{ "pages-unknown", pages_of_unknown, NULL, "unknown region",
	    "pages of a region not known" },
	{ "beyond", pages_beyond, NULL, "beyond the end of region 0",
	    "a page behind the last one" },
	{ "delta-undeclared", delta_undeclared, NULL, "declares none",
	    "SAME without the feature DELTA" },
	{ "round", round_bad, NULL, "round mark has a bad field",
	    "a round mark that neither knows nor not" },
	{ "end-short", end_short, NULL, "end record has a bad size",
	    "an END record of 47 bytes" },
	{ "end-records", end_records, NULL, "miscounts",
	    "a record too many in END" },
	{ "end-pages", end_pages, NULL, "miscounts",
	    "a page too few in END" },
	{ "end-from", end_from, NULL, "starts from elsewhere",
	    "END and STREAM differ in from" },
	{ "trailing", NULL, put_trailing, "behind the end record",
	    "a byte behind the end record" },
	{ "digest-pages", digest_of_pages, NULL, "damaged on the way",
	    "a wrong digest of pages, which is for the sink to find" },
	{ "codec-garbage", codec_garbage, NULL, "zlib",
	    "a payload that does not decode, likewise" },
};

static const struct refused unsupported[] = {
	{ "type", newer_type, NULL, "record type 8", "a type not known" },
	{ "flags", newer_flags, NULL, "record flags 0x1",
	    "a flag not known" },
	{ "codec", newer_codec, NULL, "codec 4", "a codec not known" },
	{ "kind", newer_kind, NULL, "entry kind 6", "a kind not known" },
	{ "version", newer_version, NULL, "format version 2",
	    "version 2, with a longer STREAM record" },
	{ "needs", newer_needs, NULL, "features 0x80000000",
	    "a feature not known that a reader must know" },
	{ "region-kind", newer_region, NULL, "region kind 2",
	    "a kind of region not known" },
};

static FILE *
create(const char *directory, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if ((file = fopen(path, "w")) == NULL) {
		perror(path);
		exit(1);
	}
	return file;
}

/* Start a file, and its line in the README. */
static void
begin_file(const char *directory, FILE *readme, const char *class,
    const char *name, const char *proves)
{
	char file[128];

	snprintf(file, sizeof(file), "%s-%s.hex", class, name);
	fprintf(readme, "%-30s %s\n", file, proves);
	text = create(directory, file);
	fprintf(text, "# %s\n", proves);
	held_pages = 0;
}

static void
print_digest(const char *name, struct pm_digest digest, const char *what)
{
	char digits[PM_DIGEST_TEXT];

	pm_digest_text(digest, digits);
	fprintf(text, "%-8s %s  %s\n", name, digits, what);
}

/* The numbers of the worked example: the first stream of the page. */
static void
write_digests(const char *directory)
{
	static uint8_t content[1 << 12];
	uint64_t key = pm_hash_key("memory", 6);
	struct pm_digest set = { 0, 0 }, hash;

	text = create(directory, "digests.txt");
	for (uint64_t page = 1; page <= 2; page++) {
		memset(content, page == 1 ? 'A' : 'B', sizeof(content));
		hash = pm_hash_content(content, sizeof(content));
		print_digest("content", hash, page == 1 ? "of 41 x 4096"
		    : "of 42 x 4096");
		if (page == 1)
			fprintf(text, "%-8s %32.16" PRIx64 "  of \"memory\"\n",
			    "key", key);
		hash = pm_hash_page(hash, key, page);
		print_digest("page", hash, page == 1 ? "1" : "2");
		set = pm_digest_add(set, hash);
	}
	print_digest("record", set, "page 1 + page 2");
	hash = pm_hash_region(key, 0, 8 << 12);
	print_digest("region", hash, "of key, 0, 32768");
	print_digest("to", pm_digest_add(set, hash), "record + region");
	fclose(text);
}

static void
write_refused(const char *directory, FILE *readme, const char *class,
    const struct refused *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		begin_file(directory, readme, class, list[i].name,
		    list[i].proves);
		fprintf(text, "# message: %s\n", list[i].message);
		if (list[i].write != NULL)
			list[i].write();
		else
			put_small(list[i].spoil);
		fclose(text);
	}
	fprintf(readme, "\n");
}

int
main(int argc, char *argv[])
{
	FILE *readme;

	if (argc != 2) {
		fprintf(stderr, "usage: make DIRECTORY\n");
		return 2;
	}
	if ((rec = pm_record_new()) == NULL)
		return 1;
	readme = create(argv[1], "README");
	fprintf(readme, "Streams as text: hexadecimal bytes, \"41 x 4096\" "
	    "for a run of one, and\ncomments.  tests/unhex.sh makes bytes of "
	    "them.  All are written by make.c,\nso that they also pin what "
	    "the library writes.\n\nEvery reader takes these:\n\n");
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		begin_file(argv[1], readme, "good", good[i].name,
		    good[i].proves);
		good[i].write();
		fclose(text);
	}
	fprintf(readme, "\nEvery reader refuses these; a second comment "
	    "holds words of our message:\n\n");
	write_refused(argv[1], readme, "bad", bad,
	    sizeof(bad) / sizeof(bad[0]));
	fprintf(readme, "Those that know only version 1 refuse these as "
	    "newer:\n\n");
	write_refused(argv[1], readme, "unsupported", unsupported,
	    sizeof(unsupported) / sizeof(unsupported[0]));
	fprintf(readme, "digests.txt holds the numbers of the example in "
	    "pm-stream(5), THE DIGEST.\n");
	write_digests(argv[1]);
	pm_record_free(rec);
	return fclose(readme) != 0;
}
