/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that nothing is to be done to.
 */
#define _GNU_SOURCE		/* syscall, ppoll */
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <ucontext.h>

#include "injected.h"

#define NOBODY		65534
#define DISPATCH	59		/* PR_SET_SYSCALL_USER_DISPATCH */
#define SMALL		(24u << 10)	/* a stack, with room for a frame */

/* Refused with these words, and the process is well. */
static int
is_refused(pid_t pid, const char *words)
{
	int uffd;

	return inject(pid, &uffd) == PM_ERR_REFUSED && says(words);
}

static void
test_none(void)
{
	struct child child = target(read_bytes, 1);
	pid_t pid = child.pid, dead = fork();
	siginfo_t info;
	int uffd;

	if (dead == 0)
		_exit(0);
	CHECK(is_refused(getpid(), "is this one"));
	CHECK(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT) == 0);
	CHECK(is_refused(dead, "no memory"));
	waitpid(dead, NULL, 0);
	done_with(&child);
	CHECK(inject(pid, &uffd) == PM_ERR_SYSTEM && says("not exist"));
	CHECK(inject(0, &uffd) == PM_ERR_SYSTEM);
	CHECK(inject(-1, &uffd) == PM_ERR_SYSTEM);
}

static void
trace_another(int in, int out)
{
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, WUNTRACED);
	shared->tid = pid;
	child_tell(out, "", 1);
	child_linger(in);
	kill(pid, SIGKILL);
}

static void
test_traced(void)
{
	struct child child = target(trace_another, 0);
	char words[64];

	snprintf(words, sizeof(words), "process %d does already",
	    (int)child.pid);
	CHECK(is_refused(shared->tid, words));
	CHECK(child_end(&child) == 0);
}

/*
 * Stacks like those of coroutines, with something else below them that a
 * frame would reach into.
 */
static struct {
	uint8_t *below, *stack;		/* SMALL bytes each */
} heap;

static void
fill_below(void)
{
	memset(heap.below, 0x5a, SMALL);
}

/* Where we are there is room for 10 KiB, then comes what must stay. */
static void
watch_below(void)
{
	for (;;) {
		for (size_t at = 0; at < SMALL; at++)
			shared->bad += heap.below[at] != 0x5a;
		shared->count++;
	}
}

static void
run_there(int out)
{
	static ucontext_t there, back;

	fill_below();
	getcontext(&there);
	there.uc_stack.ss_sp = heap.stack;
	there.uc_stack.ss_size = 10u << 10;
	there.uc_link = &back;
	makecontext(&there, watch_below, 0);
	child_tell(out, "", 1);
	swapcontext(&back, &there);
}

static void
run_on_heap(int in, int out)
{
	(void)in;
	heap.below = malloc(2 * SMALL);
	heap.stack = heap.below + SMALL;
	run_there(out);
}

/* Anonymous memory with something like a guard below it; where it is. */
static uint8_t *
run_on_arena(size_t guard)
{
	uint8_t *memory = mmap(NULL, guard + (64u << 20), PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED ||
	    mprotect(memory + guard, 2u << 20, PROT_READ | PROT_WRITE) != 0)
		_exit(1);
	memory += guard;
	heap.below = memory + (1u << 20);
	heap.stack = heap.below + SMALL;
	return memory;
}

static void
run_above_page(int in, int out)
{
	(void)in;
	run_on_arena(4096);
	run_there(out);
}

/* As in a runtime that has all on its heap, what is a thread's own too. */
static void
run_above_reserve(int in, int out)
{
	uint8_t *memory = run_on_arena(4u << 20);

	(void)in;
	(void)memory;
#ifdef __x86_64__
	memory += 3u << 19;
	memcpy(memory - 1024, (char *)__builtin_thread_pointer() - 1024, 2048);
	syscall(SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, memory);
#endif
	run_there(out);
}

/* Where only one thread is on such a stack another one will do. */
static void
run_beside(int in, int out)
{
	pthread_t thread;

	pthread_create(&thread, NULL, count_forever, NULL);
	run_on_heap(in, out);
}

static void
test_beside(void)
{
	struct child child = target(run_beside, 0);
	int uffd;

	CHECK(inject(child.pid, &uffd) == PM_OK && is_of_use(uffd));
	close(uffd);
	CHECK(is_well());
	done_with(&child);
}

/* A thread that waits for its child to become another program stops late. */
static void
wait_for_child(int in, int out)
{
	pid_t pid;

	(void)in;
	child_tell(out, "", 1);
	for (;;) {
		pid = vfork();
		if (pid == 0) {
			shared->tid = 1;
			/* At first longer than anybody waits for it. */
			child_nap(shared->count == 0 ? 4000 : 1);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		shared->tid = 0;
		shared->count++;
	}
}

static void
test_late(void)
{
	struct child child = target(wait_for_child, 0);
	int uffd;

	while (shared->tid == 0)
		child_nap(1);
	CHECK(inject(child.pid, &uffd) == PM_ERR_SYSTEM &&
	    says("does not respond"));
	CHECK(is_well());
	done_with(&child);
}

static void
watch_on_signal(int number)
{
	(void)number;
	watch_below();
}

static void
run_on_alternate(int in, int out)
{
	static uint8_t memory[2 * SMALL];
	stack_t stack = { .ss_sp = memory + SMALL, .ss_size = SMALL };
	struct sigaction action = { .sa_handler = watch_on_signal,
	    .sa_flags = SA_ONSTACK };

	(void)in;
	heap.below = memory;
	fill_below();
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	child_tell(out, "", 1);
	raise(SIGUSR1);
}

static void
test_small_stack(child_body *body)
{
	struct child child = target(body, 0);

	CHECK(is_well());
	CHECK(is_refused(child.pid, "stack"));
	CHECK(is_well());
	done_with(&child);
}

static void
filter_calls(unsigned action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(1);
}

static void
drop_privileges(void)
{
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 ||
	    setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) != 0))
		_exit(1);
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void
be_killed_for_it(int in, int out)
{
	filter_calls(SECCOMP_RET_KILL_PROCESS);
	spin_with_state(in, out);
}

static void
be_denied_it(int in, int out)
{
	filter_calls(SECCOMP_RET_ERRNO | EPERM);
	spin_with_state(in, out);
}

static void
be_nobody(int in, int out)
{
	drop_privileges();
	wait_long(in, out);
}

static void
be_nobody_and_killed(int in, int out)
{
	drop_privileges();
	be_killed_for_it(in, out);
}

/* What a process without privileges is told; words is NULL for success. */
static int
without_privileges(pid_t pid, const char *words)
{
	int uffd, status;
	pid_t tracer;

	fflush(stdout);
	tracer = fork();
	if (tracer == 0) {
		drop_privileges();
		status = inject(pid, &uffd);
		if (status != (words == NULL ? PM_OK : PM_ERR_REFUSED) ||
		    (words != NULL && strstr(fault.text, words) == NULL)) {
			printf("# %s\n", fault.text);
			fflush(stdout);
			_exit(1);
		}
		_exit(0);
	}
	return waitpid(tracer, &status, 0) == tracer && status == 0;
}

static void
test_seccomp(void)
{
	struct child child = target(be_nobody_and_killed, 0);

	CHECK(without_privileges(child.pid, "seccomp"));
	CHECK(is_well());
	done_with(&child);
	child = target(be_nobody, 0);
	CHECK(without_privileges(child.pid, NULL));
	CHECK(is_well() && shared->early == 0);
	done_with(&child);
}

static void
test_suspended(child_body *body)
{
	struct child child = target(body, 0);
	int uffd, status = inject(child.pid, &uffd);

	if (status != PM_OK && strstr(fault.text, "seccomp") != NULL)
		printf("ok %d - # SKIP %s\n", ++check_run, fault.text);
	else
		CHECK(status == PM_OK && is_of_use(uffd));
	if (uffd >= 0)
		close(uffd);
	CHECK(is_well());
	done_with(&child);
}

static void
have_calls_redirected(int in, int out)
{
	static volatile char selector;

	if (prctl(DISPATCH, 1, 0, 0, &selector) != 0)
		shared->tid = -1;
	read_bytes(in, out);
}

static void
test_redirected(void)
{
	struct child child = target(have_calls_redirected, 1);

	if (shared->tid == -1)
		printf("ok %d - # SKIP this kernel redirects no system call\n",
		    ++check_run);
	else
		CHECK(is_refused(child.pid, "redirected"));
	CHECK(is_well());
	done_with(&child);
}

static void
no_more_files(int in, int out)
{
	struct { unsigned long soft, hard; } none = { 0, 0 };

	syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, &none, NULL);
	read_bytes(in, out);
}

static void
test_no_descriptor(void)
{
	struct child child = target(no_more_files, 1);

	CHECK(is_refused(child.pid, "no descriptor left"));
	CHECK(is_well());
	done_with(&child);
}

#if defined(__x86_64__) && __has_include(<sys/rseq.h>)
#include <sys/rseq.h>

/*
 * Stay in a restartable sequence until the kernel aborts it, again and
 * again.  Where it is not aborted, this stays for ever.
 */
static void
restart_sequence(int in, int out)
{
	struct rseq *rseq = (struct rseq *)((char *)
	    __builtin_thread_pointer() + __rseq_offset);

	(void)in;
	child_tell(out, "", 1);
	while (__rseq_size != 0) {
		__asm__ volatile(
		    ".pushsection .data.rel.sequence, \"aw\"\n\t"
		    ".balign 32\n"
		    "3:\t.long 0, 0\n\t"
		    ".quad 1f, 2f - 1f, 4f\n\t"
		    ".popsection\n\t"
		    "leaq 3b(%%rip), %%rax\n\t"
		    "movq %%rax, 8(%0)\n"
		    "1:\tjmp 1b\n"
		    "2:\tnop\n\t"
		    ".byte 0x0f, 0xb9, 0x3d\n\t"
		    ".long 0x53053053\n"
		    "4:\n"
		    : : "r" (rseq) : "rax", "memory");
		shared->count++;
	}
	for (;;)
		shared->count++;
}

static void
test_sequence(void)
{
	struct child child = target(restart_sequence, 0);
	int refused = 0, uffd;

	for (int i = 0; i < 5; i++) {
		refused += inject(child.pid, &uffd) == PM_ERR_REFUSED &&
		    says("restartable");
		if (uffd >= 0)
			close(uffd);
	}
	printf("# %d of 5 refused\n", refused);
	CHECK(__rseq_size == 0 || refused > 0);
	CHECK(is_well());
	done_with(&child);
}
#else
static void
test_sequence(void)
{
}
#endif

static char narrow[] = "/tmp/pm-narrow-XXXXXX";

static void
run_narrow(int in, int out)
{
	dup2(in, 0);
	dup2(out, 1);
	execl(narrow, narrow, (char *)NULL);
	_exit(1);
}

static void
test_narrow(void)
{
	struct child child;
	char command[256], byte = 0;
	int fd = mkstemp(narrow);

	if (fd < 0)
		child_fail(narrow);
	close(fd);
	snprintf(command, sizeof(command), "echo 'int main(void) { char c;"
	    " write(1, \"\", 1); while (read(0, &c, 1) == 1) write(1, &c, 1);"
	    " return 0; }' | cc -m32 -w -x c -o %s - 2>/dev/null", narrow);
	if (system(command) != 0) {
		printf("ok %d - # SKIP no compiler for 32 bits\n",
		    ++check_run);
		unlink(narrow);
		return;
	}
	child = child_start(run_narrow);
	CHECK(child_hear(child.from, &byte, 1));
	CHECK(is_refused(child.pid, "32-bit"));
	CHECK(child_tell(child.to, "y", 1) &&
	    child_hear(child.from, &byte, 1) && byte == 'y');
	CHECK(child_end(&child) == 0);
	unlink(narrow);
}

int
main(void)
{
	if (!prepare()) {
		printf("1..0 # SKIP needs x86_64 and userfaultfd\n");
		return 0;
	}
	test_none();
	test_traced();
	test_small_stack(run_on_heap);
	test_small_stack(run_above_page);
	test_small_stack(run_above_reserve);
	test_small_stack(run_on_alternate);
	test_beside();
	test_late();
	test_seccomp();
	test_suspended(be_killed_for_it);
	test_suspended(be_denied_it);
	test_redirected();
	test_no_descriptor();
	test_sequence();
	test_narrow();
	return check_done();
}
