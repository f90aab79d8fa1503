/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fdio.h"
#include "relay.h"

/* Shorter payloads are copied in no more time than they are moved. */
#define LEAST_PLAIN	(16u << 10)
#define LEAST_FRAMED	(32u << 10)

void
pm_relay_open(struct pm_relay *relay, struct pm_reader *in,
    struct pm_writer *out)
{
	int framed = (in->pull != NULL) + (out->push != NULL);

	*relay = (struct pm_relay){ .in = in, .out = out,
	    .least = framed > 0 ? LEAST_FRAMED : LEAST_PLAIN };
	/* One side may have a way of its own to move bytes, not both. */
	if (framed > 1 || (framed == 0 && !pm_fd_may_splice(in->fd, out->fd)))
		relay->least = UINT32_MAX;
}

enum pm_status
pm_relay_next(struct pm_relay *relay, struct pm_record *rec)
{
	return pm_reader_head(relay->in, rec, relay->least);
}

static enum pm_status
move_some(struct pm_relay *relay, struct iovec *head, size_t *moved)
{
	struct pm_reader *in = relay->in;
	struct pm_writer *out = relay->out;

	if (out->push != NULL)
		return out->push(out->arg, head, in->fd, in->left, moved);
	if (in->pull != NULL)
		return in->pull(in->arg, out->fd, in->left, moved);
	return pm_fd_splice(in->fd, out->fd, in->left, moved);
}

static enum pm_status
fail(struct pm_relay *relay, const struct pm_record *rec,
    enum pm_status status)
{
	int by_output = relay->out->push != NULL
	    ? status < 0 && status != PM_ERR_READ &&
	    status != PM_ERR_TRUNCATED
	    : status == PM_ERR_WRITE;

	return by_output ? pm_writer_fail(relay->out, status)
	    : pm_reader_fail(relay->in, rec, status);
}

/* All of it, or as far as the kernel does that. */
static enum pm_status
move_payload(struct pm_relay *relay, const struct pm_record *rec,
    struct iovec *head)
{
	struct pm_reader *in = relay->in;
	struct pm_writer *out = relay->out;
	enum pm_status status = PM_OK;

	while (in->left > 0 && status == PM_OK) {
		size_t before = head->iov_len, moved = 0;

		status = move_some(relay, head, &moved);
		in->left -= (uint32_t)moved;
		pm_meter_add(&in->meter.bytes, moved);
		pm_meter_add(&out->meter.bytes, moved + before -
		    head->iov_len);
	}
	if (status == PM_ERR_REFUSED) {
		relay->least = UINT32_MAX;
		return PM_OK;
	}
	return status == PM_OK ? PM_OK : fail(relay, rec, status);
}

enum pm_status
pm_relay_put(struct pm_relay *relay, struct pm_record *rec)
{
	struct pm_reader *in = relay->in;
	struct pm_writer *out = relay->out;
	struct iovec rest[2];
	enum pm_status status = PM_OK;

	if (in->left == 0)
		return pm_writer_put(out, rec);
	rest[0] = pm_writer_seal(out, rec);
	if (out->push == NULL) {
		status = pm_writer_bytes(out, rest, 1);
		rest[0].iov_len = 0;
	}
	if (status == PM_OK)
		status = move_payload(relay, rec, &rest[0]);
	rest[1] = (struct iovec){ rec->payload + rec->stored - in->left,
	    in->left };
	if (status == PM_OK)
		status = pm_reader_payload(in, rec);
	if (status == PM_OK && rest[1].iov_len > 0)
		status = pm_writer_bytes(out, rest, 2);
	if (status == PM_OK)
		pm_writer_count(out, rec);
	return status;
}

enum pm_status
pm_relay_run(struct pm_reader *in, struct pm_writer *out,
    struct pm_record *rec)
{
	struct pm_relay relay;
	enum pm_status status;

	pm_relay_open(&relay, in, out);
	while ((status = pm_relay_next(&relay, rec)) == PM_OK)
		if ((status = pm_relay_put(&relay, rec)) != PM_OK)
			return status;
	return status == PM_END ? PM_OK : status;
}
