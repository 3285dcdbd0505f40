/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter, and the descriptor by which somebody else answers for it. After
 * the installation each system call may wait for that somebody, or be fatal: so
 * the server is told before it, reads the descriptor's number from the slot
 * page, takes the descriptor with pidfd_getfd, and lets the stage go by a word
 * in memory for which the stage looks without asking the kernel.
 */
#include "stage.h"
#include "text.h"

static int install(struct stage *st, uint64_t flags)
{
	struct {
		unsigned short len;
		const void *filter;
	} program = {(unsigned short)(len_of(st, 0) / 8), text_of(st, 0)};

	return (int)syscall(SYS_seccomp, K_SECCOMP_SET_FILTER, (unsigned)flags, &program);
}

#ifndef SPIN_CYCLES
#define SPIN_CYCLES (1ull << 38) /* a minute or two */
#endif

/* The more it waits the longer it rests in between. A server that has not come
 * by then is dead: better to end than to burn a CPU until somebody looks. What
 * the process did not run for does not count. */
static void spin_until_go(struct stage *st)
{
	uint64_t spent = 0, last = __builtin_ia32_rdtsc(), now;

	for (unsigned rest = 1; __atomic_load_n(&st->slot->go, __ATOMIC_ACQUIRE) < st->slot->phase; rest += rest < 1024) {
		for (unsigned n = 0; n < rest; n++)
			__builtin_ia32_pause();
		now = __builtin_ia32_rdtsc();
		spent += now - last < 1u << 24 ? now - last : 0;
		last = now;
		if (spent > SPIN_CYCLES)
			__builtin_trap();
	}
}

/* TSYNC is for other threads, of which there are none, and does not go with a
 * listener. The descriptor stays open until the execve: to close it is a call. */
static int install_listener(struct stage *st)
{
	struct k_sigaction end = {0};
	int fd;

	if (announce(st, 'N'))
		return -1;
	/* Of the trap below; the handler makes a call. */
	syscall(SYS_rt_sigaction, SIGILL, &end, NULL, sizeof end.mask);
	say(st, "install seccomp filter with a listener");
	fd = install(st, (st->step->a & ~K_SECCOMP_TSYNC) | K_SECCOMP_NEW_LISTENER);
	if (fd < 0)
		return -1;
	__atomic_store_n(&st->slot->listener, fd + 1, __ATOMIC_RELEASE);
	spin_until_go(st);
	__atomic_store_n(&st->slot->listener, 0, __ATOMIC_RELEASE);
	return 0;
}

int do_seccomp(struct stage *st)
{
	if (st->step->flags & STEP_LISTENER)
		return install_listener(st);
	say(st, "install seccomp filter");
	return install(st, st->step->a);
}
