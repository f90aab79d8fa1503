/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * churn.c - a process whose mappings never rest.
 * usage: churn SEED FILE
 *
 * Three threads map, unmap, move, resize, protect, drop, free and write
 * memory of all kinds, at most 30 MiB in all, and fork, without pause.  FILE
 * is made, to be mapped privately.  Of every page it is known what its first
 * word is.  "ready" is printed once all threads run; at SIGUSR1 they end, and
 * "intact" is printed if no word was ever another than it should.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	4096u
#define PAGES	64u		/* of a slot at most */
#define SLOTS	40u		/* of a thread */
#define THREADS	3u
#define RW	(PROT_READ | PROT_WRITE)

enum kind { NONE, ANON, HUGE, SHARED, MEMFD, FILE_PRIVATE };

struct slot {
	enum kind kind;
	uint8_t *at;
	size_t pages;
	int prot;
	uint64_t word[PAGES];
	unsigned char freed[PAGES];	/* it may be 0 too */
};

struct churn {
	pthread_t thread;
	uint64_t seed;
	struct slot slot[SLOTS];
	int has_begun;
};

static struct churn churns[THREADS];
static int file;
static volatile sig_atomic_t asked;

static void
fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static uint64_t
chance(struct churn *churn)
{
	churn->seed ^= churn->seed << 13;
	churn->seed ^= churn->seed >> 7;
	churn->seed ^= churn->seed << 17;
	return churn->seed;
}

static size_t
below(struct churn *churn, size_t limit)
{
	return (size_t)(chance(churn) >> 11) % limit;
}

/* What the file says of a page. */
static uint64_t
filed(size_t page)
{
	return 0x9e3779b97f4a7c15u * (page + 1);
}

static uint64_t *
word_of(const struct slot *slot, size_t page)
{
	return (uint64_t *)(void *)(slot->at + page * PAGE);
}

static void
check(const struct slot *slot)
{
	if ((slot->prot & PROT_READ) == 0)
		return;
	for (size_t i = 0; i < slot->pages; i++) {
		uint64_t is = *word_of(slot, i);

		if (is == slot->word[i] || (is == 0 && slot->freed[i]))
			continue;
		printf("kind %d, page %zu of %zu: %llx, not %llx\n",
		    (int)slot->kind, i, slot->pages, (unsigned long long)is,
		    (unsigned long long)slot->word[i]);
		fflush(stdout);
		_exit(1);
	}
}

/* What pages are that nobody has written. */
static void
reset(struct slot *slot, size_t from, size_t pages)
{
	for (size_t i = from; i < from + pages; i++) {
		slot->word[i] = slot->kind == FILE_PRIVATE ? filed(i) : 0;
		slot->freed[i] = 0;
	}
}

static void
make(struct churn *churn, struct slot *slot)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;

	slot->kind = (enum kind)(1 + below(churn, 5));
	slot->pages = 1 + below(churn, PAGES);
	slot->prot = RW;
	if (slot->kind == SHARED)
		flags = MAP_SHARED | MAP_ANONYMOUS;
	if (slot->kind == FILE_PRIVATE)
		flags = MAP_PRIVATE, fd = file;
	if (slot->kind == MEMFD) {
		flags = MAP_SHARED;
		fd = memfd_create("churn", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, PAGES * PAGE) != 0)
			fail("memfd_create");
	}
	slot->at = mmap(NULL, slot->pages * PAGE, RW, flags, fd, 0);
	if (slot->at == MAP_FAILED)
		fail("mmap");
	if (slot->kind == HUGE)
		(void)madvise(slot->at, slot->pages * PAGE, MADV_HUGEPAGE);
	if (slot->kind == MEMFD)
		close(fd);
	reset(slot, 0, slot->pages);
}

static void
drop(struct slot *slot)
{
	check(slot);
	if (munmap(slot->at, slot->pages * PAGE) != 0)
		fail("munmap");
	slot->kind = NONE;
}

static void
scribble(struct churn *churn, struct slot *slot)
{
	for (size_t n = below(churn, 20); n > 0; n--) {
		size_t page = below(churn, slot->pages);

		slot->word[page] = *word_of(slot, page) = chance(churn);
		*(word_of(slot, page) + below(churn, 512)) =
		    slot->word[page];
		*word_of(slot, page) = slot->word[page];
		slot->freed[page] = 0;
	}
}

static void
advise(struct churn *churn, struct slot *slot)
{
	size_t from = below(churn, slot->pages);
	size_t pages = 1 + below(churn, slot->pages - from);
	int shared = slot->kind == SHARED || slot->kind == MEMFD;
	int frees = !shared && slot->kind != FILE_PRIVATE &&
	    below(churn, 2) == 0;

	if (madvise(slot->at + from * PAGE, pages * PAGE, shared
	    ? MADV_REMOVE : frees ? MADV_FREE : MADV_DONTNEED) != 0)
		fail("madvise");
	if (!frees)
		reset(slot, from, pages);
	else
		memset(slot->freed + from, 1, pages);
	/*
	 * A hole in shared memory that is read before it is written is what
	 * nobody can know of but by looking at all.
	 */
	for (size_t i = from; shared && i < from + pages; i++)
		slot->word[i] = *word_of(slot, i) = chance(churn);
}

static void
protect(struct churn *churn, struct slot *slot)
{
	static const int prot[] = { PROT_NONE, PROT_READ, RW };

	slot->prot = slot->prot != RW ? RW : prot[below(churn, 3)];
	if (mprotect(slot->at, slot->pages * PAGE, slot->prot) != 0)
		fail("mprotect");
}

static void
resize(struct churn *churn, struct slot *slot)
{
	size_t pages = 1 + below(churn, PAGES);
	void *at;

	/* What is shared and anonymous ends where it was made to end. */
	if (slot->kind == SHARED && pages > slot->pages)
		pages = slot->pages;
	at = mremap(slot->at, slot->pages * PAGE, pages * PAGE,
	    MREMAP_MAYMOVE);
	if (at == MAP_FAILED)
		fail("mremap");
	slot->at = at;
	if (pages > slot->pages && slot->kind != MEMFD)
		reset(slot, slot->pages, pages - slot->pages);
	if (pages > slot->pages && slot->kind == MEMFD)
		for (size_t i = slot->pages; i < pages; i++) {
			slot->word[i] = *word_of(slot, i);
			slot->freed[i] = 0;
		}
	slot->pages = pages;
}

/* A child writes to what is its own. */
static void
breed(struct churn *churn)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (child > 0) {
		if (waitpid(child, NULL, 0) != child)
			fail("waitpid");
		return;
	}
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &churn->slot[i];

		if (slot->kind != NONE && slot->kind != SHARED &&
		    slot->kind != MEMFD && slot->prot == RW)
			scribble(churn, slot);
	}
	_exit(0);
}

static void
step(struct churn *churn)
{
	struct slot *slot = &churn->slot[below(churn, SLOTS)];

	if (slot->kind == NONE)
		make(churn, slot);
	else if (slot->prot != RW)
		protect(churn, slot);
	else switch (below(churn, 16)) {
	case 0:
		drop(slot);
		break;
	case 1:
	case 2:
		advise(churn, slot);
		break;
	case 3:
		protect(churn, slot);
		break;
	case 4:
		resize(churn, slot);
		break;
	case 5:
		if (below(churn, 64) == 0)
			breed(churn);
		break;
	case 6:
		check(slot);
		break;
	default:
		scribble(churn, slot);
	}
}

static void *
run(void *arg)
{
	struct churn *churn = arg;

	for (unsigned steps = 0; !asked; steps++) {
		step(churn);
		if (steps == 1000)
			__atomic_store_n(&churn->has_begun, 1,
			    __ATOMIC_RELEASE);
	}
	for (size_t i = 0; i < SLOTS; i++)
		if (churn->slot[i].kind != NONE)
			check(&churn->slot[i]);
	return NULL;
}

static void
ask(int signal)
{
	(void)signal;
	asked = 1;
}

static void
make_file(const char *path)
{
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0)
		fail(path);
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t page[PAGE / 8] = { filed(i) };

		if (write(file, page, PAGE) != PAGE)
			fail(path);
	}
}

int
main(int argc, char *argv[])
{
	struct sigaction action = { .sa_handler = ask };

	if (argc != 3)
		return 2;
	make_file(argv[2]);
	sigaction(SIGUSR1, &action, NULL);
	for (size_t i = 0; i < THREADS; i++) {
		churns[i].seed = strtoul(argv[1], NULL, 10) * 2654435761u + i +
		    1;
		if ((errno = pthread_create(&churns[i].thread, NULL, run,
		    &churns[i])) != 0)
			fail("pthread_create");
	}
	for (size_t i = 0; i < THREADS; i++)
		while (!__atomic_load_n(&churns[i].has_begun,
		    __ATOMIC_ACQUIRE) && !asked)
			usleep(1000);
	puts("ready");
	fflush(stdout);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(churns[i].thread, NULL);
	puts("intact");
	return 0;
}
