/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * injected.h - processes that notice when something was done to them.
 *
 * Each counts as long as it finds all as it left it, and says otherwise.
 */
#ifndef INJECTED_H
#define INJECTED_H

#include <dirent.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"
#include "child.h"
#include "inject.h"

#define WP_ASYNC	(UINT64_C(1) << 15)	/* UFFD_FEATURE_WP_ASYNC */
#define WAIT_NS		3000000

static volatile struct {
	unsigned long count;		/* grows as the child runs */
	unsigned long bad;		/* what it found wrong */
	unsigned long early;		/* waits that ended with EINTR */
	unsigned long signals;
	int feed;			/* where a byte makes it go on, or 0 */
	int tid;
} *shared;

static struct pm_fault fault;

static inline int
inject(pid_t pid, int *uffd)
{
	uint64_t us = 0;
	enum pm_status status;

	fault = (struct pm_fault){ .error = 0 };
	status = pm_inject_uffd(pid, uffd, &us, &fault);
	if ((status == PM_OK) != (*uffd >= 0) || (status == PM_OK && us == 0))
		child_fail("a status that is not so");
	return status;
}

static inline int
says(const char *words)
{
	if (strstr(fault.text, words) != NULL)
		return 1;
	printf("# %s\n", fault.text);
	return 0;
}

/* True when the descriptor does what it is for. */
static inline int
is_of_use(int uffd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC };

	return ioctl(uffd, UFFDIO_API, &api) == 0;
}

/* True when the child goes around more than once, and finds all well. */
static inline int
is_well(void)
{
	unsigned long before = shared->count;

	for (int tries = 0; tries < 5000 && shared->count < before + 3;
	    tries++) {
		if (shared->feed > 0)
			child_tell(shared->feed, "x", 1);
		child_nap(1);
	}
	return shared->count >= before + 3 && shared->bad == 0;
}

static inline int
descriptors(pid_t pid)
{
	char path[32];
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return count;
}

/* It says that it begins by its first byte. */
static inline struct child
target(child_body *body, int feed)
{
	struct child child;
	char byte;

	memset((void *)(uintptr_t)shared, 0, sizeof(*shared));
	child = child_start(body);
	if (!child_hear(child.from, &byte, 1))
		child_fail("no target");
	if (feed)
		shared->feed = child.to;
	return child;
}

static inline void
done_with(struct child *child)
{
	kill(child->pid, SIGKILL);
	child_end(child);
}

#ifdef __x86_64__
/*
 * Load the vector registers and the red zone, stay for a while, and look.
 * Of AVX-512 only what has no place in AVX is added.
 */
static inline int
keeps_registers(const uint8_t *in, uint8_t *out, int wide)
{
	memset(out, 0, 1024);
	__asm__ volatile(
	    "movq %[in], -128(%%rsp)\n\t"
	    "movq %[out], -8(%%rsp)\n\t"
	    "vmovdqu (%[in]), %%ymm0\n\t"
	    "vmovdqu 32(%[in]), %%ymm7\n\t"
	    "vmovdqu 64(%[in]), %%ymm15\n\t"
	    "testl %[wide], %[wide]\n\t"
	    "jz 1f\n\t"
	    "vmovdqu64 128(%[in]), %%zmm17\n\t"
	    "vmovdqu64 192(%[in]), %%zmm31\n\t"
	    "kmovw %[wide], %%k3\n"
	    "1:\tmovl $200000, %%ecx\n"
	    "2:\tdecl %%ecx\n\t"
	    "jnz 2b\n\t"
	    "vmovdqu %%ymm0, (%[out])\n\t"
	    "vmovdqu %%ymm7, 32(%[out])\n\t"
	    "vmovdqu %%ymm15, 64(%[out])\n\t"
	    "testl %[wide], %[wide]\n\t"
	    "jz 3f\n\t"
	    "vmovdqu64 %%zmm17, 128(%[out])\n\t"
	    "vmovdqu64 %%zmm31, 192(%[out])\n\t"
	    "kmovw %%k3, 256(%[out])\n"
	    "3:\tvzeroupper\n\t"
	    "movq -128(%%rsp), %%rcx\n\t"
	    "movq %%rcx, 264(%[out])\n\t"
	    "movq -8(%%rsp), %%rcx\n\t"
	    "movq %%rcx, 272(%[out])\n\t"
	    :
	    : [in] "r" (in), [out] "r" (out), [wide] "r" (wide)
	    : "rcx", "cc", "memory", "xmm0", "xmm7", "xmm15");
	return memcmp(in, out, 96) == 0 && (!wide ||
	    (memcmp(in + 128, out + 128, 128) == 0 &&
	    (out[256] | out[257] << 8) == (wide & 0xffff))) &&
	    memcmp(out + 264, &in, 8) == 0 && memcmp(out + 272, &out, 8) == 0;
}
#endif

/* Registers, half of the signals blocked, and an alternate stack. */
static inline void
spin_with_state(int in, int out)
{
	static uint8_t pattern[1024], result[1024];
	static char other[65536];
	stack_t stack = { .ss_sp = other, .ss_size = sizeof(other) }, now;
	sigset_t blocked, found;
	int wide = 0;

	(void)in;
#ifdef __x86_64__
	__builtin_cpu_init();
	wide = __builtin_cpu_supports("avx512f") ? 0xa53c : 0;
#else
	(void)result;
	(void)wide;
#endif
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGRTMIN + 20);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	sigaltstack(&stack, NULL);
	child_tell(out, "", 1);
	for (unsigned round = 0;; round++) {
		for (size_t at = 0; at < sizeof(pattern); at++)
			pattern[at] = (uint8_t)(at * 7 + round);
#ifdef __x86_64__
		if (__builtin_cpu_supports("avx") &&
		    !keeps_registers(pattern, result, wide))
			shared->bad++;
#endif
		sigprocmask(SIG_SETMASK, NULL, &found);
		sigaltstack(NULL, &now);
		if (memcmp(&found, &blocked, 8) != 0 || now.ss_flags != 0 ||
		    now.ss_sp != stack.ss_sp || now.ss_size != stack.ss_size)
			shared->bad++;
		shared->count++;
	}
}

static inline uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Waits of all kinds that end by themselves: none earlier than it should. */
static inline void
wait_long(int in, int out)
{
	const struct timespec ts = { .tv_nsec = WAIT_NS };
	int word = 0;

	(void)in;
	child_tell(out, "", 1);
	for (int kind = 0;; kind = (kind + 1) % 4) {
		uint64_t began = now_ns();
		int result = 0;

		errno = 0;
		if (kind == 0)
			result = nanosleep(&ts, NULL);
		else if (kind == 1)
			result = poll(NULL, 0, WAIT_NS / 1000000);
		else if (kind == 2 && (result = (int)syscall(SYS_futex, &word,
		    FUTEX_WAIT, 0, &ts, NULL, 0)) != 0 && errno == ETIMEDOUT)
			result = 0;
		else if (kind == 3)
			result = ppoll(NULL, 0, &ts, NULL);
		if (result != 0 && errno == EINTR)
			shared->early++;
		else if (result != 0 || now_ns() - began < WAIT_NS)
			shared->bad++;
		shared->count++;
	}
}

static inline void
read_bytes(int in, int out)
{
	char byte;

	child_tell(out, "", 1);
	for (;;) {
		ssize_t got = read(in, &byte, 1);

		if (got == 0)
			return;
		if (got != 1 || byte != 'x')
			shared->bad++;
		shared->count++;
	}
}

/* epoll_wait(2) ends with EINTR at any stop, as signal(7) says. */
static inline void
wait_for_events(int in, int out)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC), got;
	char byte;

	epoll_ctl(epoll, EPOLL_CTL_ADD, in, &event);
	child_tell(out, "", 1);
	for (;;) {
		got = epoll_wait(epoll, &event, 1, -1);
		if (got == 1 && read(in, &byte, 1) == 0)
			return;
		if (got != 1 && errno != EINTR)
			shared->bad++;
		shared->count += got == 1;
	}
}

static inline void *
count_forever(void *unused)
{
	(void)unused;
	for (;;)
		shared->count++;
	return NULL;
}

static inline void
spin_in_threads(int in, int out)
{
	pthread_t thread[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, count_forever, NULL);
	child_tell(out, "", 1);
	child_linger(in);
}

/* The first thread ends; the process lives on in another. */
static inline void
leave_first(int in, int out)
{
	pthread_t thread;

	(void)in;
	pthread_create(&thread, NULL, count_forever, NULL);
	child_tell(out, "", 1);
	syscall(SYS_exit, 0);
}

static inline void
await_left(pid_t pid)
{
	for (int tries = 0; tries < 1000 &&
	    child_status(pid, "VmSize:", NULL) != -1; tries++)
		child_nap(1);
}

/* 0 when this kernel or build does not do it at all. */
static inline int
prepare(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	int can = pm_inject_can() && fd >= 0;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		child_fail("mmap");
	if (fd >= 0)
		close(fd);
	return can;
}

#endif /* INJECTED_H */
