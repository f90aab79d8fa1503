/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fdio.h"
#include "proof.h"
#include "stream.h"
#include "token.h"

/* A descriptor, and the hash of all that was read from it. */
struct intake {
	int fd;
	struct pm_hash *hash;
};

static enum pm_status
read_and_hash(void *arg, struct iovec *iov, int count)
{
	const struct intake *intake = arg;
	int begun = 0;

	for (int i = 0; i < count; i++) {
		enum pm_status status;

		if (iov[i].iov_len == 0)
			continue;
		status = pm_fd_read(intake->fd, iov[i].iov_base,
		    iov[i].iov_len);
		if (status != PM_OK)
			return status == PM_END && begun ? PM_ERR_TRUNCATED
			    : status;
		pm_hash_add(intake->hash, iov[i].iov_base, iov[i].iov_len);
		begun = 1;
	}
	return PM_OK;
}

/* One record more, if it is sound. */
static enum pm_status
step(struct pm_reader *reader, struct pm_record *rec, struct pm_proof *proof,
    struct pm_fault *fault)
{
	enum pm_status status = pm_reader_next(reader, rec);
	int leans;

	if (status != PM_OK || rec->type != PM_TYPE_PAGES)
		return status;
	status = pm_proof_check(proof, rec, &reader->region[rec->region],
	    &leans, fault);
	if (status != PM_OK)
		pm_fault_place(fault, rec->number, rec->offset);
	return status;
}

/* What was read is all sound, and a record ends here. */
static struct pm_token
token_at(const struct pm_reader *reader, const struct intake *intake)
{
	return (struct pm_token){
		.offset = pm_meter_get(&reader->meter.bytes),
		.records = pm_meter_get(&reader->meter.records),
		.hash = pm_hash_sum(intake->hash),
	};
}

static enum pm_status
read_all(struct intake *intake, struct pm_record *rec, struct pm_proof *proof,
    struct pm_token *token, struct pm_fault *fault)
{
	struct pm_reader reader;
	enum pm_status status;

	pm_fd_widen(intake->fd);
	status = pm_reader_open_io(&reader, read_and_hash, intake, fault);
	while (status == PM_OK &&
	    (status = step(&reader, rec, proof, fault)) == PM_OK)
		*token = token_at(&reader, intake);
	pm_reader_close(&reader);
	return status;
}

enum pm_status
pm_token_find(int fd, struct pm_token *token, struct pm_fault *fault)
{
	struct intake intake = { fd, pm_hash_begin() };
	struct pm_proof *proof = pm_proof_new();
	struct pm_record *rec = pm_record_new();
	struct pm_fault found = { .error = 0 };
	enum pm_status status = PM_ERR_SYSTEM;
	struct pm_token none = { .hash = pm_hash_bytes(NULL, 0) };

	*token = none;
	if (intake.hash == NULL || proof == NULL || rec == NULL)
		(void)pm_fault_set(&found, status, NULL, "%s",
		    strerror(errno));
	else
		status = read_all(&intake, rec, proof, token, &found);
	pm_hash_end(intake.hash);
	pm_proof_free(proof);
	pm_record_free(rec);
	/* A cut is what this is for, and no failure. */
	if (status == PM_END || status == PM_ERR_TRUNCATED)
		return PM_OK;
	if (status == PM_ERR_READ || status == PM_ERR_SYSTEM) {
		*token = none;
		errno = found.error;
	}
	return pm_fault_set(fault, status, NULL, "%s", found.text);
}

void
pm_token_text(const struct pm_token *token, char out[PM_TOKEN_TEXT])
{
	char hash[PM_DIGEST_TEXT];

	pm_digest_text(token->hash, hash);
	snprintf(out, PM_TOKEN_TEXT, "%" PRIu64 ":%" PRIu64 ":%s",
	    token->offset, token->records, hash);
}

/* A number as it is printed, and the colon behind it; NULL for no such. */
static const char *
parse_number(const char *text, uint64_t *number)
{
	const char *begin = text;

	*number = 0;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (*number > ((uint64_t)INT64_MAX - digit) / 10)
			return NULL;
		*number = *number * 10 + digit;
	}
	if (text == begin || (*begin == '0' && text != begin + 1))
		return NULL;
	return *text == ':' ? text + 1 : NULL;
}

/* 16 hexadecimal digits, in small letters; NULL for anything else. */
static const char *
parse_half(const char *text, uint64_t *half)
{
	static const char digits[] = "0123456789abcdef";

	*half = 0;
	for (int i = 0; i < 16; i++, text++) {
		const char *digit = *text != '\0' ? strchr(digits, *text)
		    : NULL;

		if (digit == NULL)
			return NULL;
		*half = *half << 4 | (uint64_t)(digit - digits);
	}
	return text;
}

int
pm_token_parse(const char *text, struct pm_token *token)
{
	struct pm_token got;

	if ((text = parse_number(text, &got.offset)) == NULL ||
	    (text = parse_number(text, &got.records)) == NULL ||
	    (text = parse_half(text, &got.hash.high)) == NULL ||
	    (text = parse_half(text, &got.hash.low)) == NULL ||
	    *text != '\0')
		return 0;
	if (got.records > got.offset / PM_HEAD_SIZE ||
	    (got.records == 0) != (got.offset == 0))
		return 0;
	*token = got;
	return 1;
}
