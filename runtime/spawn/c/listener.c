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

/* The more it waits the longer it rests in between. */
static void spin_until_go(struct stage *st)
{
	for (unsigned rest = 1; __atomic_load_n(&st->slot->go, __ATOMIC_ACQUIRE) < st->slot->phase; rest += rest < 1024)
		for (unsigned n = 0; n < rest; n++)
			__builtin_ia32_pause();
}

/* TSYNC is for other threads, of which there are none, and does not go with a
 * listener. The descriptor stays open until the execve: to close it is a call. */
static int install_listener(struct stage *st)
{
	int fd;

	if (announce(st, 'N'))
		return -1;
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
