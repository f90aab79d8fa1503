/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * uring.h - reads into buffers that io_uring(7) has pinned.
 *
 * Straight by its system calls, for one read at a time; see
 * io_uring_setup(2), io_uring_enter(2) and io_uring_register(2).
 */
#ifndef URING_H
#define URING_H

#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct uring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

/* False with errno. */
static inline int
uring_open(struct uring *ring, void *buffer, size_t size)
{
	struct io_uring_params p = { 0 };
	struct iovec buf = { buffer, size };
	char *sq, *cq;

	ring->fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (ring->fd < 0)
		return 0;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned),
	    PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries *
	    sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
	    ring->fd, IORING_OFF_CQ_RING);
	ring->sqe = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
	    PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring->sqe == MAP_FAILED)
		return 0;
	ring->sq_tail = (unsigned *)(void *)(sq + p.sq_off.tail);
	ring->sq_mask = (unsigned *)(void *)(sq + p.sq_off.ring_mask);
	ring->sq_array = (unsigned *)(void *)(sq + p.sq_off.array);
	ring->cq_head = (unsigned *)(void *)(cq + p.cq_off.head);
	ring->cq_tail = (unsigned *)(void *)(cq + p.cq_off.tail);
	ring->cq_mask = (unsigned *)(void *)(cq + p.cq_off.ring_mask);
	ring->cqe = (struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
	return syscall(SYS_io_uring_register, ring->fd,
	    IORING_REGISTER_BUFFERS, &buf, 1) == 0;
}

/* Read into the buffer; flags are those of a submission. */
static inline int
uring_read(struct uring *ring, int fd, void *to, size_t size, size_t offset,
    unsigned char flags)
{
	unsigned tail = *ring->sq_tail, at = tail & *ring->sq_mask, head;
	int result;

	ring->sqe[at] = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED, .flags = flags, .fd = fd,
		.addr = (unsigned long)to, .len = (unsigned)size,
		.off = offset, .buf_index = 0,
	};
	ring->sq_array[at] = at;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) != 1)
		return -1;
	head = *ring->cq_head;
	while (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == head)
		(void)syscall(SYS_io_uring_enter, ring->fd, 0, 1,
		    IORING_ENTER_GETEVENTS, NULL, 0);
	result = ring->cqe[head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
	return result;
}

#endif /* URING_H */
